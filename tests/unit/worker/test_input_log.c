/* The input log: prefixes without holes, limits that hold, files that cannot grow. */
#include "worker/share/input_log.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { LAYERS = 2, DIM = 48, POSITIONS = 200 };
/* Two layers of 64 rows of 192 bytes: six pages. */
#define CHUNK_BYTES  ((uint64_t)LAYERS * HD_LOG_CHUNK * DIM * sizeof(float))
#define WITH_DIGESTS (CHUNK_BYTES + (uint64_t)LAYERS * HD_LOG_CHUNK * 4) /* of a row 4 bytes */

static char dir[64];

static void make_dir(void)
{
    strcpy(dir, "/tmp/hydac-log-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
}

static void remove_dir(void)
{
    /* Fails if a file was left behind. */
    cr_assert_eq(rmdir(dir), 0);
}

static struct hd_input_log *make(const char *where, uint64_t limit)
{
    struct hd_input_log_options o = {
        .dir = where,
        .layers = LAYERS,
        .row_bytes = DIM * sizeof(float),
        .sequences = 3,
        .max_positions = POSITIONS,
        .limit = limit,
    };
    struct hd_input_log *log;
    cr_assert_eq(hd_input_log_new(&log, &o), 0);
    return log;
}

static int append(struct hd_input_log *log, uint32_t s, uint32_t l, uint32_t p,
                  struct hd_error *err)
{
    float row[DIM];
    for (int i = 0; i < DIM; i++)
        row[i] = (float)(s * 1000000 + l * 100000 + p * 100) + (float)i;
    return hd_input_log_append(log, (struct hd_log_at){s, l, p}, row, err);
}

TestSuite(input_log, .init = make_dir, .fini = remove_dir);

Test(input_log, rows_come_back_chunk_by_chunk)
{
    struct hd_input_log *log = make(dir, 1 << 20);
    struct hd_error err;
    for (uint32_t p = 0; p < 150; p++)
        for (uint32_t l = 0; l < LAYERS; l++)
            cr_assert_eq(append(log, 1, l, p, &err), HD_LOG_KEPT);
    cr_assert_eq(hd_input_log_count(log, 1, 0), 150);
    cr_assert_eq(hd_input_log_count(log, 0, 0), 0);
    cr_assert_eq(hd_input_log_appended(log), 300);
    cr_assert_eq(hd_input_log_bytes(log), 3 * WITH_DIGESTS);
    uint32_t seen = 0;
    while (seen < 150) {
        size_t n;
        const float *x = hd_input_log_rows(log, (struct hd_log_at){1, 1, seen}, &n);
        cr_assert_not_null(x);
        for (size_t i = 0; i < n; i++) {
            float first = (float)(1000000 + 100000 + (seen + i) * 100);
            cr_assert_eq(x[i * DIM], first);
            cr_assert_eq(x[i * DIM + DIM - 1], first + DIM - 1);
        }
        seen += (uint32_t)n;
    }
    cr_assert_eq(seen, 150);
    size_t n;
    cr_assert_null(hd_input_log_rows(log, (struct hd_log_at){1, 1, 150}, &n));
    cr_assert_eq(n, 0);
    hd_input_log_drop(log, 1);
    cr_assert_eq(hd_input_log_bytes(log), 0);
    cr_assert_eq(hd_input_log_count(log, 1, 0), 0);
    hd_input_log_free(log);
}

/* Rows [first, end) of a layer of sequence 0, each of which must be kept. */
static void keep(struct hd_input_log *log, uint32_t layer, uint32_t first, uint32_t end)
{
    struct hd_error err;
    for (uint32_t p = first; p < end; p++)
        cr_assert_eq(append(log, 0, layer, p, &err), HD_LOG_KEPT, "position %u", p);
}

/* Without a folder. */
Test(input_log, in_memory)
{
    struct hd_input_log *log = make("", 3 * CHUNK_BYTES);
    struct hd_error err;
    size_t n;
    for (uint32_t p = 0; p < 150; p++)
        for (uint32_t l = 0; l < LAYERS; l++)
            cr_assert_eq(append(log, 1, l, p, &err), HD_LOG_KEPT);
    const float *row = hd_input_log_rows(log, (struct hd_log_at){1, 1, 130}, &n);
    cr_assert_not_null(row);
    cr_expect_eq(n, 20);
    cr_expect_eq(row[0], 1113000);
    cr_expect_eq(append(log, 2, 0, 0, &err), HD_LOG_GAP); /* the limit holds here too */
    hd_input_log_free(log);
}

Test(input_log, folders_that_cannot_be_used)
{
    struct hd_error err = {0};
    cr_expect_eq(hd_input_log_try_dir(dir, &err), 0, "%s", err.text);
    cr_expect_eq(hd_input_log_try_dir("/proc", &err), HD_E_IO);
    cr_expect_not_null(strstr(err.text, "/proc"), "%s", err.text);
}

Test(input_log, a_repeated_row_is_not_written_again)
{
    struct hd_input_log *log = make(dir, 1 << 20);
    keep(log, 0, 0, 2);
    keep(log, 0, 0, 2);
    keep(log, 0, 7, 9);
    keep(log, 0, 7, 9);
    cr_assert_eq(hd_input_log_appended(log), 4);
    hd_input_log_free(log);
}

Test(input_log, a_row_that_skips_some_begins_a_tail_and_the_prefix_grows_into_it)
{
    struct hd_input_log *log = make(dir, 1 << 20);
    size_t n;
    keep(log, 0, 0, 3);
    keep(log, 0, 100, 102);
    cr_assert_eq(hd_input_log_count(log, 0, 0), 3);
    cr_assert_eq(hd_input_log_tail(log, 0, 0), 100);
    cr_assert_eq(hd_input_log_tail(log, 0, 1), 0, "each layer has its own");
    cr_assert_null(hd_input_log_rows(log, (struct hd_log_at){0, 0, 100}, &n), "not the prefix");
    cr_assert_eq(hd_input_log_bytes(log), 2 * WITH_DIGESTS);
    keep(log, 0, 3, 99);
    keep(log, 0, 102, 103);
    cr_assert_eq(hd_input_log_count(log, 0, 0), 99);
    cr_assert_eq(hd_input_log_tail(log, 0, 0), 100);
    keep(log, 0, 99, 100);
    cr_assert_eq(hd_input_log_count(log, 0, 0), 103);
    cr_assert_eq(hd_input_log_tail(log, 0, 0), 0);
    const float *x = hd_input_log_rows(log, (struct hd_log_at){0, 0, 98}, &n);
    cr_assert_eq(n, 5);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(x[i * DIM], (float)((98 + i) * 100));
    keep(log, 0, 150, 151); /* and again */
    cr_assert_eq(hd_input_log_tail(log, 0, 0), 150);
    hd_input_log_free(log);
}

Test(input_log, beside_a_tail_only_what_continues_it_or_the_prefix_is_kept)
{
    struct hd_input_log *log = make(dir, 1 << 20);
    struct hd_error err;
    keep(log, 0, 100, 102);
    cr_assert_eq(append(log, 0, 0, 1, &err), HD_LOG_GAP);
    cr_assert_eq(err.code, 0);
    cr_assert_eq(append(log, 0, 0, 99, &err), HD_LOG_GAP);
    cr_assert_eq(append(log, 0, 0, 103, &err), HD_LOG_GAP);
    keep(log, 0, 102, 103);
    keep(log, 0, 0, 1);
    hd_input_log_free(log);
}

Test(input_log, only_chunks_with_rows_are_claimed)
{
    struct hd_input_log *log = make(dir, 2 * CHUNK_BYTES);
    struct hd_error err;
    keep(log, 0, 3 * HD_LOG_CHUNK, 3 * HD_LOG_CHUNK + 1);
    cr_assert_eq(hd_input_log_bytes(log), WITH_DIGESTS);
    keep(log, 0, 0, HD_LOG_CHUNK);
    cr_assert_eq(hd_input_log_bytes(log), 2 * WITH_DIGESTS);
    cr_assert_eq(append(log, 0, 0, HD_LOG_CHUNK, &err), HD_LOG_GAP, "the prefix is bounded, too");
    cr_assert_eq(err.code, HD_E_LIMIT);
    cr_assert_eq(hd_input_log_bytes(log), 0, "what has a gap is given up");
    hd_input_log_free(log);
}

Test(input_log, the_limit_holds_for_all_sequences_together)
{
    struct hd_input_log *log = make(dir, 2 * CHUNK_BYTES);
    struct hd_error err;
    for (uint32_t p = 0; p < HD_LOG_CHUNK; p++) {
        cr_assert_eq(append(log, 0, 0, p, &err), HD_LOG_KEPT);
        cr_assert_eq(append(log, 1, 0, p, &err), HD_LOG_KEPT);
    }
    cr_assert_eq(append(log, 0, 0, HD_LOG_CHUNK, &err), HD_LOG_GAP);
    cr_assert_eq(err.code, HD_E_LIMIT);
    cr_assert_eq(append(log, 0, 0, HD_LOG_CHUNK + 1, &err), HD_LOG_GAP);
    cr_assert_eq(err.code, 0, "said once");
    cr_assert_eq(hd_input_log_count(log, 0, 0), 0);
    cr_assert_eq(hd_input_log_bytes(log), WITH_DIGESTS, "a log with a gap takes no space");
    cr_assert_eq(append(log, 2, 0, 0, &err), HD_LOG_KEPT, "so that the next one has it");
    cr_assert_eq(append(log, 1, 0, HD_LOG_CHUNK, &err), HD_LOG_GAP);
    cr_assert_eq(err.code, HD_E_LIMIT);
    cr_assert_eq(append(log, 1, 0, 0, &err), HD_LOG_GAP, "not before it is asked for");
    hd_input_log_try_again(log, 1);
    cr_assert_eq(append(log, 1, 0, 0, &err), HD_LOG_KEPT);
    hd_input_log_free(log);
}

/* What is being completed gives way to what is whole. */
Test(input_log, a_log_that_is_not_whole_makes_room)
{
    struct hd_input_log *log = make(dir, 2 * CHUNK_BYTES);
    struct hd_error err;
    keep(log, 0, 0, HD_LOG_CHUNK);
    cr_assert_eq(append(log, 1, 0, 5, &err), HD_LOG_KEPT);
    cr_assert_eq(hd_input_log_tail(log, 1, 0), 5);
    keep(log, 0, HD_LOG_CHUNK, HD_LOG_CHUNK + 1);
    cr_assert_eq(hd_input_log_count(log, 0, 0), HD_LOG_CHUNK + 1);
    cr_assert_eq(hd_input_log_tail(log, 1, 0), 0);
    cr_assert_eq(append(log, 1, 0, 6, &err), HD_LOG_GAP);
    cr_assert_eq(hd_input_log_bytes(log), 2 * WITH_DIGESTS);
    hd_input_log_free(log);
}

Test(input_log, positions_beyond_the_maximum_are_a_gap)
{
    struct hd_input_log *log = make(dir, 1 << 20);
    struct hd_error err;
    for (uint32_t p = 0; p < POSITIONS; p++)
        cr_assert_eq(append(log, 0, 0, p, &err), HD_LOG_KEPT);
    cr_assert_eq(append(log, 0, 0, POSITIONS, &err), HD_LOG_GAP);
    hd_input_log_free(log);
}

Test(input_log, a_missing_folder_is_a_gap_with_a_reason)
{
    char where[128];
    snprintf(where, sizeof where, "%s/none", dir);
    struct hd_input_log *log = make(where, 1 << 20);
    struct hd_error err;
    cr_assert_eq(append(log, 0, 0, 0, &err), HD_LOG_GAP);
    cr_assert_eq(err.code, HD_E_IO);
    cr_assert(strstr(err.text, where), "%s", err.text);
    hd_input_log_free(log);
}

Test(input_log, a_file_that_cannot_grow_is_a_gap_and_given_up)
{
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit small = {.rlim_cur = CHUNK_BYTES, .rlim_max = CHUNK_BYTES};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    struct hd_input_log *log = make(dir, 1 << 20);
    struct hd_error err;
    for (uint32_t p = 0; p < HD_LOG_CHUNK; p++)
        cr_assert_eq(append(log, 0, 1, p, &err), HD_LOG_KEPT);
    cr_assert_eq(append(log, 0, 1, HD_LOG_CHUNK, &err), HD_LOG_GAP);
    cr_assert_eq(err.code, HD_E_IO, "%s", err.text);
    cr_assert_eq(hd_input_log_count(log, 0, 1), 0);
    cr_assert_eq(hd_input_log_bytes(log), 0);
    hd_input_log_free(log);
}

/* ---- Damage ----*/

static void flip(struct hd_input_log *log, uint32_t position)
{
    size_t n;
    float *row = (float *)hd_input_log_rows(log, (struct hd_log_at){0, 0, position}, &n);
    ((uint8_t *)row)[5] ^= 4;
}

Test(input_log, a_row_that_is_not_what_came_is_found)
{
    struct hd_input_log *log = make(dir, 1 << 20);
    keep(log, 0, 0, 70);
    cr_assert_eq(hd_input_log_bad_row(log, (struct hd_log_at){0, 0, 0}, 200), UINT32_MAX);
    flip(log, 66);
    flip(log, 3);
    cr_assert_eq(hd_input_log_bad_row(log, (struct hd_log_at){0, 0, 0}, 200), 3);
    cr_assert_eq(hd_input_log_bad_row(log, (struct hd_log_at){0, 0, 4}, 66), UINT32_MAX);
    cr_assert_eq(hd_input_log_bad_row(log, (struct hd_log_at){0, 0, 4}, 67), 66);
    cr_assert_eq(hd_input_log_bad_row(log, (struct hd_log_at){0, 1, 0}, 200), UINT32_MAX);
    cr_assert(hd_input_log_resident(log, (struct hd_log_at){0, 0, 66}));
    hd_input_log_free(log);
}

Test(input_log, behind_a_row_that_was_cut_out_is_a_tail)
{
    struct hd_input_log *log = make(dir, 1 << 20);
    keep(log, 0, 0, 70);
    hd_input_log_cut(log, (struct hd_log_at){0, 0, 40});
    cr_assert_eq(hd_input_log_count(log, 0, 0), 40);
    cr_assert_eq(hd_input_log_tail(log, 0, 0), 41);
    cr_assert_eq(hd_input_log_end(log, 0, 0), 70);
    hd_input_log_cut(log, (struct hd_log_at){0, 0, 50}); /* in the tail: what lies before it goes */
    cr_assert_eq(hd_input_log_count(log, 0, 0), 40);
    cr_assert_eq(hd_input_log_tail(log, 0, 0), 51);
    keep(log, 0, 70, 72); /* live rows go on */
    keep(log, 0, 40, 51); /* and it is filled */
    cr_assert_eq(hd_input_log_count(log, 0, 0), 72);
    cr_assert_eq(hd_input_log_tail(log, 0, 0), 0);
    hd_input_log_free(log);
}

Test(input_log, the_last_row_leaves_no_tail)
{
    struct hd_input_log *log = make(dir, 1 << 20);
    keep(log, 0, 0, 70);
    hd_input_log_cut(log, (struct hd_log_at){0, 0, 69});
    cr_assert_eq(hd_input_log_count(log, 0, 0), 69);
    cr_assert_eq(hd_input_log_tail(log, 0, 0), 0);
    keep(log, 0, 70, 71); /* a live row begins one */
    hd_input_log_cut(log, (struct hd_log_at){0, 0, 70});
    cr_assert_eq(hd_input_log_tail(log, 0, 0), 0);
    keep(log, 0, 71, 72);
    keep(log, 0, 69, 71);
    cr_assert_eq(hd_input_log_count(log, 0, 0), 72);
    hd_input_log_free(log);
}

Test(input_log, a_tail_of_live_rows_outlives_damage_in_the_prefix)
{
    struct hd_input_log *log = make(dir, 1 << 20);
    keep(log, 0, 0, 30);
    keep(log, 0, 100, 102);
    hd_input_log_cut(log, (struct hd_log_at){0, 0, 10});
    cr_assert_eq(hd_input_log_count(log, 0, 0), 10);
    cr_assert_eq(hd_input_log_tail(log, 0, 0), 100);
    keep(log, 0, 102, 103);
    keep(log, 0, 10, 100);
    cr_assert_eq(hd_input_log_count(log, 0, 0), 103);
    hd_input_log_free(log);
}
