/* Compact partial sums in the engine: the integers that they stand for, or nothing at all. */
#include "common/math/team.h"
#include "leader/engine/engine.h"
#include "tests/unit/engine/tiny_model.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { DIM = 256, ROWS = 3, BLOCK = 34, WIDE = 1, MANY = 250 };

static struct tiny_model tiny;
static struct hd_engine *engine;

static void on_sequence_open(void *arg, uint32_t sequence, uint32_t max_positions)
{
}

static void on_sequence_close(void *arg, uint32_t sequence)
{
}

static void on_half(void *arg, const struct hd_half_work *work)
{
}

static void on_step(void *arg, uint64_t step)
{
}

static void on_abandoned(void *arg)
{
}

static void on_token(void *arg, const struct hd_token_event *t)
{
}

static void on_end(void *arg, const struct hd_request_end *end)
{
}

static void open_model(void)
{
    tiny_model_open(&tiny, HD_F32);
    cr_assert_eq(tiny.model->shape.dim, DIM);
}

static void close_model(void)
{
    hd_engine_free(engine);
    tiny_model_close(&tiny);
}

TestSuite(sums, .init = open_model, .fini = close_model);

/* An engine that waits for the first half-step of so many rows, which the team shares. */
static void start_many(enum hd_wire wire, unsigned rows, struct hd_team *team)
{
    static const struct hd_request_events events = {.on_token = on_token, .on_end = on_end};
    struct hd_error err = {0};
    struct hd_request *r;
    int32_t ids[MANY];
    for (unsigned i = 0; i < rows; i++)
        ids[i] = 30 + 7 * (int32_t)i % 100;
    struct hd_engine_options o = {
        .model = tiny.model,
        .units = &tiny.units,
        .kernels = hd_kernels_get(HD_ISA_PORTABLE),
        .wire = wire,
        .team = team,
        .ops = {NULL, on_sequence_open, on_sequence_close, on_half, on_step, on_abandoned},
        .max_sequences = 1,
        .max_rows = rows,
        .max_queue = 1,
        .context = MANY + 10,
    };
    struct hd_request_options ro = {.tokens = ids, .n_tokens = rows, .max_tokens = 2};
    hd_engine_free(engine);
    cr_assert_eq(hd_engine_new(&engine, &o, &err), 0, "%s", err.text);
    hd_engine_set_ready(engine, true);
    cr_assert_eq(hd_engine_submit(engine, &ro, &events, NULL, &r, &err), 0, "%s", err.text);
    hd_engine_kick(engine);
    cr_assert_eq(hd_engine_work(engine, 0)->rows, rows);
}

static void start(enum hd_wire wire)
{
    start_many(wire, ROWS, NULL);
}

/* Every sum is three times its place in its block; row 1 is in 64 bits. */
struct answer {
    uint8_t payload[ROWS * DIM * 8];
    uint32_t wide[1];
    struct hd_half_result result;
};

static void put_row(uint8_t **p, bool wide)
{
    for (size_t i = 0; i < DIM; i++) {
        int64_t v = 3 * (int64_t)(i % 32);
        if (wide) {
            memcpy(*p, &v, sizeof v);
            *p += sizeof v;
            continue;
        }
        if (i % 32 == 0) {
            memcpy(*p, (uint8_t[]){3, 0}, 2); /* 3 * 2^-24 */
            *p += 2;
        }
        *(*p)++ = (uint8_t)(i % 32);
    }
}

static void put_compact(struct answer *a)
{
    uint8_t *p = a->payload;
    for (size_t row = 0; row < ROWS; row++)
        put_row(&p, row == WIDE);
    a->wide[0] = WIDE;
    a->result = (struct hd_half_result){.payload = a->payload,
                                        .payload_len = (size_t)(p - a->payload),
                                        .wide = a->wide,
                                        .n_wide = 1};
    cr_assert_eq(a->result.payload_len, 2 * 8 * BLOCK + DIM * 8);
}

/* Adds the result so often and ends the half-step; the rows of the next, [ROWS][DIM]. */
static const float *next_rows(const struct hd_half_result *r, size_t times)
{
    struct hd_error err = {0};
    for (size_t i = 0; i < times; i++)
        cr_assert_eq(hd_engine_use_result(engine, r, &err), 0, "%s", err.text);
    hd_engine_half_done(engine, 0);
    return (const float *)(const void *)hd_engine_work(engine, 0)->x;
}

Test(sums, add_up_as_the_integers_that_they_stand_for)
{
    static int32_t exact[ROWS * DIM];
    static float want[ROWS * DIM];
    static struct answer a;
    for (size_t i = 0; i < ROWS * DIM; i++)
        exact[i] = 3 * (int32_t)(i % 32);
    struct hd_half_result r = {.payload = (uint8_t *)exact, .payload_len = sizeof exact};
    start(HD_WIRE_EXACT);
    memcpy(want, next_rows(&r, 2), sizeof want);
    start(HD_WIRE_COMPACT);
    put_compact(&a);
    cr_assert_arr_eq(next_rows(&a.result, 2), want, sizeof want);
}

static void expect_refused(const struct hd_half_result *r, const char *why)
{
    struct hd_error err = {0};
    cr_assert_eq(hd_engine_use_result(engine, r, &err), HD_E_PROTO);
    cr_assert_str_eq(err.text, why);
}

Test(sums, that_are_not_what_was_agreed_add_nothing)
{
    static const uint16_t odd[] = {0x7c00, 0x7e00, 0x8001, 0xffff};
    static float want[ROWS * DIM];
    static struct answer a;
    start(HD_WIRE_COMPACT);
    put_compact(&a);
    memcpy(want, next_rows(&a.result, 1), sizeof want);
    start(HD_WIRE_COMPACT);
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        memcpy(a.payload + 8 * BLOCK + DIM * 8 + 7 * BLOCK, &odd[i], 2); /* row 2's last block */
        expect_refused(&a.result,
                       "compact sums of row 2 have a scale that is negative or no number");
    }
    put_compact(&a);
    a.result.payload_len--;
    expect_refused(&a.result, "partial sums of 2591 bytes where 2592 were expected");
    a.result = (struct hd_half_result){.payload = a.payload, .payload_len = ROWS * DIM * 4};
    expect_refused(&a.result, "partial sums of 3072 bytes where 816 were expected");
    put_compact(&a);
    cr_assert_arr_eq(next_rows(&a.result, 1), want, sizeof want);
}

/* Sums of all sizes, two rows of which are in 64 bits. */
struct many {
    uint8_t payload[MANY * DIM * 4 + 2 * DIM * 4];
    uint32_t wide[2];
};

static struct hd_half_result many_sums(struct many *m)
{
    static const uint32_t wide[2] = {7, MANY - 1};
    uint8_t *p = m->payload;
    for (size_t row = 0; row < MANY; row++)
        for (size_t i = 0; i < DIM; i++) {
            int64_t v = (int64_t)((row * DIM + i) * 2654435761u % 400000) - 200000;
            size_t bytes = row == wide[0] || row == wide[1] ? 8 : 4;
            memcpy(p, &v, bytes);
            p += bytes;
        }
    memcpy(m->wide, wide, sizeof wide);
    return (struct hd_half_result){.payload = m->payload,
                                   .payload_len = (size_t)(p - m->payload),
                                   .wide = m->wide,
                                   .n_wide = 2};
}

/* Many rows are shared by threads, and each is what it is without them: also after a reset. */
Test(sums, of_many_rows_are_the_same_by_a_team)
{
    static struct many m;
    static float want[MANY * DIM];
    static int32_t shifts[MANY];
    struct hd_half_result r = many_sums(&m);
    struct hd_team *team;
    struct hd_error err = {0};
    cr_assert_eq(hd_team_new(&team, &(struct hd_team_options){.threads = 3}), 0);
    start_many(HD_WIRE_EXACT, MANY, NULL);
    memcpy(want, next_rows(&r, 2), sizeof want);
    memcpy(shifts, hd_engine_work(engine, 0)->shifts, sizeof shifts);
    start_many(HD_WIRE_EXACT, MANY, team);
    cr_assert_eq(hd_engine_use_result(engine, &r, &err), 0, "%s", err.text);
    hd_engine_reset_half(engine, 0);
    cr_assert_arr_eq(next_rows(&r, 2), want, sizeof want);
    cr_assert_arr_eq(hd_engine_work(engine, 0)->shifts, shifts, sizeof shifts);
    hd_engine_free(engine);
    engine = NULL;
    hd_team_free(team);
}
