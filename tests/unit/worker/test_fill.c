/* Completing a log: what is asked for and when, what is taken, and what is said at the end. */
#include "rig.h"
#include "worker/share/fill.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { N0 = 200, N1 = 33, LATE = 150, LAYERS = 4 };

/* A worker that has everything, one that came when sequence 0 had LATE positions, and its fill. */
struct pair {
    struct rig whole, late;
    struct hd_pace pace;
    struct hd_fill *fill;
    uint64_t now;
};

/* Positions [first, end), in steps of what the rig takes. */
static void feed(struct rig *r, uint32_t sequence, uint32_t first, uint32_t end)
{
    for (uint32_t p = first; p < end; p += RIG_ROWS)
        rig_feed(r,
                 (struct rig_feed){sequence, LAYERS, p, p + RIG_ROWS < end ? p + RIG_ROWS : end});
}

static void open_pair(struct pair *p, enum hd_activations activations)
{
    struct rig_options o = {.shape = "tiny",
                            .type = HD_Q4_0,
                            .kv = HD_KV_F16,
                            .activations = activations,
                            .threads = 1};
    *p = (struct pair){.now = 1000000};
    rig_open(&p->whole, &o);
    rig_open(&p->late, &o);
    feed(&p->whole, 0, 0, N0);
    feed(&p->whole, 1, 0, N1);
    cr_assert_eq(hd_fill_new(&p->fill, p->late.node, &p->pace), 0);
}

static void close_pair(struct pair *p)
{
    hd_fill_free(p->fill);
    rig_close(&p->whole);
    rig_close(&p->late);
}

/* Sequence 0 has LATE positions in every layer, and sequence 1 N1. */
static void begin(struct pair *p)
{
    const struct hd_sequence_need needs[] = {{.sequence = 0, .base = LATE},
                                             {.sequence = 1, .base = N1}};
    hd_fill_begin(p->fill, &(struct hd_assignment){.needs = needs, .n_needs = 2});
}

static struct hd_log_piece expect_fetch(struct pair *p)
{
    struct hd_fill_action a = hd_fill_next(p->fill, p->now);
    cr_assert_eq(a.what, HD_FILL_FETCH);
    return a.piece;
}

static void expect_state(struct pair *p, uint32_t sequence, bool complete)
{
    struct hd_fill_action a = hd_fill_next(p->fill, p->now);
    cr_assert_eq(a.what, HD_FILL_STATE);
    cr_assert_eq(a.piece.sequence, sequence);
    cr_assert_eq(a.complete, complete);
}

/* Answers a fetch out of the whole log; took_us: the round trip. */
static int answer(struct pair *p, struct hd_log_piece piece, uint64_t took_us)
{
    struct hd_error err = {0};
    size_t bytes = hd_node_row_bytes(p->whole.node), n;
    uint8_t *rows = malloc(piece.count * bytes + 1);
    for (uint32_t i = 0; i < piece.count; i++) {
        struct hd_log_at at = {piece.sequence, piece.layer, piece.position + i};
        const void *row = hd_input_log_rows(p->whole.node->input_log, at, &n);
        cr_assert_not_null(row);
        memcpy(rows + i * bytes, row, bytes);
    }
    p->now += took_us;
    struct hd_log_answer a = {.piece = piece, .rows = rows, .now_us = p->now};
    int rc = hd_fill_rows(p->fill, &a, &err);
    free(rows);
    return rc;
}

static void expect_same_log(const struct pair *p, uint32_t sequence, uint32_t count)
{
    size_t bytes = hd_node_row_bytes(p->whole.node), n;
    for (uint32_t l = 0; l < LAYERS; l++) {
        cr_assert_eq(hd_input_log_count(p->late.node->input_log, sequence, l), count);
        cr_assert_eq(hd_input_log_tail(p->late.node->input_log, sequence, l), 0);
        for (uint32_t i = 0; i < count; i++) {
            struct hd_log_at at = {sequence, l, i};
            cr_assert_arr_eq((const uint8_t *)hd_input_log_rows(p->late.node->input_log, at, &n),
                             (const uint8_t *)hd_input_log_rows(p->whole.node->input_log, at, &n),
                             bytes, "layer %u, position %u", l, i);
        }
    }
}

RIG_TEST(fill, what_is_missing_is_fetched_beside_the_rows_that_come)
{
    struct pair p;
    open_pair(&p, *activations);
    begin(&p);
    struct hd_log_piece first = expect_fetch(&p);
    cr_assert_eq(first.layer, 0);
    cr_assert_eq(first.position, 0);
    cr_assert_eq(first.count, RIG_ROWS, "as many as a step has");
    feed(&p.late, 0, LATE, N0); /* the sequence goes on: a tail */
    cr_assert_eq(hd_fill_next(p.fill, p.now).what, HD_FILL_NOTHING, "one at a time");
    cr_assert_eq(answer(&p, first, 10), 0);
    struct hd_log_piece second = expect_fetch(&p);
    cr_assert_eq(second.position, RIG_ROWS);
    cr_assert_eq(second.count, LATE - RIG_ROWS, "up to the tail");
    cr_assert_neq(second.id, first.id);
    cr_assert_eq(answer(&p, second, 10), 0);
    cr_assert_eq(hd_input_log_count(p.late.node->input_log, 0, 0), N0);
    for (uint32_t l = 1; l < LAYERS; l++)
        for (int i = 0; i < 2; i++)
            cr_assert_eq(answer(&p, expect_fetch(&p), 10), 0);
    expect_state(&p, 0, true);
    for (uint32_t l = 0; l < LAYERS; l++)
        cr_assert_eq(answer(&p, expect_fetch(&p), 10), 0);
    expect_state(&p, 1, true);
    struct hd_fill_action end = hd_fill_next(p.fill, p.now);
    cr_assert_eq(end.what, HD_FILL_NOTHING);
    cr_assert_eq(end.at_us, UINT64_MAX);
    expect_same_log(&p, 0, N0);
    expect_same_log(&p, 1, N1);
    close_pair(&p);
}

RIG_TEST(fill, a_finished_layer_needs_the_rows_of_the_step_in_hand)
{
    struct pair p;
    open_pair(&p, *activations);
    struct hd_sequence_need need = {.sequence = 1, .base = 30, .inflight = {3}};
    struct hd_assignment a = {.needs = &need, .n_needs = 1, .layers_done = {2}};
    hd_fill_begin(p.fill, &a);
    for (uint32_t l = 0; l < LAYERS; l++) {
        struct hd_log_piece piece = expect_fetch(&p);
        cr_assert_eq(piece.layer, l);
        cr_assert_eq(piece.count, l < 2 ? 33 : 30);
        cr_assert_eq(answer(&p, piece, 1), 0);
    }
    expect_state(&p, 1, true);
    close_pair(&p);
}

RIG_TEST(fill, beside_steps_fetches_are_small_and_rare)
{
    struct pair p;
    open_pair(&p, *activations);
    begin(&p);
    hd_pace_step(&p.pace, p.now);
    struct hd_log_piece piece = expect_fetch(&p);
    size_t small = HD_FILL_BUSY_BYTES / hd_node_row_bytes(p.late.node);
    cr_assert_eq(piece.count, small < RIG_ROWS ? small : RIG_ROWS);
    cr_assert_eq(answer(&p, piece, 500), 0);
    struct hd_fill_action a = hd_fill_next(p.fill, p.now);
    cr_assert_eq(a.what, HD_FILL_NOTHING);
    cr_assert_eq(a.at_us, p.now + 3 * 500);
    cr_assert_eq(hd_fill_next(p.fill, a.at_us - 1).what, HD_FILL_NOTHING);
    cr_assert_eq(hd_fill_next(p.fill, a.at_us).what, HD_FILL_FETCH);
    close_pair(&p);
}

RIG_TEST(fill, an_answer_to_another_fetch_is_passed_over)
{
    struct pair p;
    open_pair(&p, *activations);
    begin(&p);
    struct hd_log_piece piece = expect_fetch(&p), other = piece;
    other.id++;
    cr_assert_eq(answer(&p, other, 1), 0);
    cr_assert_eq(hd_input_log_appended(p.late.node->input_log), 0);
    cr_assert_eq(answer(&p, piece, 1), 0);
    cr_assert_eq(hd_input_log_appended(p.late.node->input_log), piece.count);
    cr_assert_eq(answer(&p, piece, 1), 0, "twice");
    cr_assert_eq(hd_input_log_appended(p.late.node->input_log), piece.count);
    close_pair(&p);
}

RIG_TEST(fill, an_answer_that_was_not_asked_for_is_an_error)
{
    for (int wrong = 0; wrong < 4; wrong++) {
        struct pair p;
        open_pair(&p, *activations);
        begin(&p);
        struct hd_log_piece piece = expect_fetch(&p);
        piece.sequence = wrong == 0 ? 1 : piece.sequence;
        piece.layer += wrong == 1;
        piece.position += wrong == 2;
        piece.count += wrong == 3;
        if (wrong == 0)
            piece.count = N1;
        cr_assert_eq(answer(&p, piece, 1), HD_E_PROTO);
        cr_assert_eq(hd_input_log_appended(p.late.node->input_log), 0);
        close_pair(&p);
    }
}

RIG_TEST(fill, rows_that_nobody_has_are_said_and_the_next_sequence_is_filled)
{
    struct pair p;
    open_pair(&p, *activations);
    begin(&p);
    struct hd_log_piece piece = expect_fetch(&p);
    piece.count = 0;
    cr_assert_eq(answer(&p, piece, 1), 0);
    expect_state(&p, 0, false);
    cr_assert_eq(expect_fetch(&p).sequence, 1);
    close_pair(&p);
}

RIG_TEST(fill, a_log_at_its_limit_is_said)
{
    struct pair p;
    open_pair(&p, *activations);
    size_t chunk = (size_t)LAYERS * HD_LOG_CHUNK * hd_node_row_bytes(p.late.node);
    struct hd_node_sizes sizes = p.late.node->sizes;
    struct hd_error err;
    p.late.node->o.log_limit = 2 * chunk;
    p.late.log.level = HD_LOG_ERROR + 1; /* it says so */
    cr_assert_eq(hd_node_resize(p.late.node, &sizes, &err), 0);
    begin(&p);
    cr_assert_eq(answer(&p, expect_fetch(&p), 1), 0);
    cr_assert_eq(answer(&p, expect_fetch(&p), 1), 0);
    cr_assert_eq(hd_input_log_bytes(p.late.node->input_log), 0, "good for nothing: given up");
    expect_state(&p, 0, false);
    cr_assert_eq(p.late.node->holes, 1, "live rows that are lost from now on are no news");
    close_pair(&p);
}

RIG_TEST(fill, a_dropped_sequence_is_not_spoken_of_any_more)
{
    struct pair p;
    open_pair(&p, *activations);
    begin(&p);
    struct hd_log_piece piece = expect_fetch(&p);
    hd_fill_drop(p.fill, 1);
    cr_assert_eq(expect_fetch(&p).sequence, 1);
    cr_assert_eq(answer(&p, piece, 1), 0, "it comes too late");
    cr_assert_eq(hd_input_log_appended(p.late.node->input_log), 0);
    hd_fill_drop(p.fill, UINT64_MAX);
    cr_assert_eq(hd_fill_next(p.fill, p.now).what, HD_FILL_NOTHING);
    close_pair(&p);
}

RIG_TEST(fill, to_be_asked_again_begins_anew)
{
    struct pair p;
    open_pair(&p, *activations);
    begin(&p);
    struct hd_log_piece piece = expect_fetch(&p);
    begin(&p);
    struct hd_log_piece again = expect_fetch(&p);
    cr_assert_eq(again.sequence, piece.sequence);
    cr_assert_neq(again.id, piece.id);
    close_pair(&p);
}

RIG_TEST(fill, a_worker_that_logs_nothing_says_so)
{
    struct pair p;
    open_pair(&p, *activations);
    p.late.node->o.keep_log = false;
    feed(&p.late, 1, 0, N1);
    cr_assert_eq(hd_input_log_count(p.late.node->input_log, 1, 0), 0);
    begin(&p);
    expect_state(&p, 0, false);
    expect_state(&p, 1, false);
    close_pair(&p);
}

RIG_TEST(fill, held_heads_follow_the_log_as_it_is_filled)
{
    struct pair p;
    struct hd_kv_report report;
    uint32_t head = 2;
    open_pair(&p, *activations);
    struct hd_assignment a = {.round = 1};
    a.hold[HD_UNIT_HEAD] = (struct hd_unit_list){&head, 1};
    hd_node_hold(p.late.node, &a);
    hd_node_hold(p.whole.node, &a);
    rig_slices(&p.whole);
    cr_assert_eq(rig_slices(&p.late), HD_HOLD_READY);
    cr_assert_eq(hd_hold_report(p.late.node, &report), 0);
    hd_kv_report_deinit(&report);
    begin(&p);
    for (uint32_t l = 0; l < 2 * LAYERS; l++) {
        cr_assert_eq(answer(&p, expect_fetch(&p), 1), 0);
        cr_assert_eq(rig_slices(&p.late), HD_HOLD_IDLE);
    }
    feed(&p.late, 0, LATE, N0);
    for (uint32_t l = 0; l < LAYERS; l++)
        rig_expect_same_lane(&p.whole, &p.late, (struct hd_kv_at){0, l, head}, N0);
    close_pair(&p);
}

RIG_TEST(fill, steps_are_coming_for_a_while_after_one)
{
    struct hd_pace pace = {0};
    cr_assert_not(hd_pace_busy(&pace, 5));
    cr_assert_eq(hd_pace_next(&pace, 1000, 10), 1000);
    hd_pace_step(&pace, 1000);
    cr_assert(hd_pace_busy(&pace, 1000 + HD_PACE_BUSY_US - 1));
    cr_assert_eq(hd_pace_next(&pace, 1010, 10), 1040, "a quarter of the time");
    cr_assert_not(hd_pace_busy(&pace, 1000 + HD_PACE_BUSY_US));
}
