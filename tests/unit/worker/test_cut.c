/* Rows that are given up: what follows is what would have been without them, on each device, in
 * K/V and log, owned or held, whatever was under way. */
#include "rig.h"
#include "tests/device/reference.h"
#include "worker/share/fill.h"
#include "worker/trust/audit.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* Rows of guesses lie on both sides of a block's end. */
enum { N = HD_ATTN_BLOCK - 2, GUESSED = N + 5, END = N + 8, LAYERS = 4, HEADS = 4 };

static void open_rig(struct rig *r, const struct hd_device_kind *device, uint64_t heads,
                     enum hd_activations activations)
{
    struct hd_kv_report report;
    struct rig_options o = {.shape = "tiny",
                            .type = HD_Q4_0,
                            .kv = HD_KV_F16,
                            .activations = activations,
                            .threads = 2,
                            .device = device};
    rig_open(r, &o);
    cr_assert_eq(rig_own_heads(r, heads, &(struct hd_assignment){0}, &report), 0);
    hd_kv_report_deinit(&report);
}

static void feed(struct rig *r, uint32_t first, uint32_t end)
{
    rig_feed(r, (struct rig_feed){0, LAYERS, first, end});
}

/* Rows of the sequence that will not be: in the first layers only when its step was given up. */
static void guess(struct rig *r, uint32_t layers)
{
    size_t dim = r->model->shape.dim;
    for (uint32_t l = 0; l < layers; l++) {
        struct rig_rows rows;
        struct hd_half_output out = {0};
        struct hd_error err;
        float *x = rig_random(GUESSED - N, dim, 7000 + l);
        rig_rows_of(&rows, 0, N, GUESSED - N, x);
        struct hd_half_step step = rig_step(r, &rows, HD_UNIT_HEAD, l);
        cr_assert_geq(hd_node_step(r->node, &step, &out, &err), 0, "%s", err.text);
        hd_node_log_inputs(r->node, l, &step.rows);
        hd_hold_follow(r->node, l, &step.rows);
        hd_shared_unref(out.payload);
        free(x);
    }
}

static void cut(struct rig *r, uint32_t positions)
{
    struct hd_error err;
    cr_assert_eq(hd_node_cut(r->node, 0, positions, &err), 0, "%s", err.text);
}

/* Same K/V, same log, and all of it what its seals say. */
static void expect_same(const struct rig *a, const struct rig *b, uint32_t end)
{
    size_t bytes = hd_node_row_bytes(a->node), n;
    for (uint32_t l = 0; l < LAYERS; l++) {
        for (uint32_t h = 0; h < HEADS; h++) {
            struct hd_kv_at at = {0, l, h};
            rig_expect_same_lane(a, b, at, end);
            for (uint32_t block = 0; block * HD_ATTN_BLOCK < end; block++)
                cr_assert_eq(hd_kv_bad_row(a->node->kv, at, block), UINT32_MAX);
            cr_assert_eq(hd_kv_digest(a->node->kv, at, end, 1),
                         hd_kv_digest(b->node->kv, at, end, 1));
        }
        cr_assert_eq(hd_input_log_count(a->node->input_log, 0, l), end);
        for (uint32_t p = 0; p < end; p++) {
            struct hd_log_at at = {0, l, p};
            cr_assert_arr_eq((const uint8_t *)hd_input_log_rows(a->node->input_log, at, &n),
                             (const uint8_t *)hd_input_log_rows(b->node->input_log, at, &n), bytes);
        }
        cr_assert_eq(hd_input_log_bad_row(a->node->input_log, (struct hd_log_at){0, l, 0}, end),
                     UINT32_MAX);
    }
}

static void leaves_nothing(const struct hd_device_kind *device, enum hd_activations activations)
{
    struct rig r, never;
    open_rig(&r, device, 0xf, activations);
    open_rig(&never, NULL, 0xf, activations);
    feed(&r, 0, N);
    guess(&r, LAYERS);
    cut(&r, N);
    guess(&r, 2); /* of a step that is given up; then known rows come, and are cut */
    cut(&r, N + 1);
    cut(&r, N);
    feed(&r, N, END);
    cut(&r, END);
    feed(&never, 0, END);
    expect_same(&r, &never, END);
    rig_close(&r);
    rig_close(&never);
}

RIG_TEST(cut, what_follows_is_as_if_nothing_had_been_there)
{
    leaves_nothing(NULL, *activations);
    leaves_nothing(&hd_reference_device, *activations);
}

/* Held heads lose the rows, too, and are made ready of what is there; a round that asked for them
 * is answered all the same. */
RIG_TEST(cut, what_is_held_follows)
{
    static const struct hd_sequence_need need = {.sequence = 0, .base = N, .inflight = {3, 2}};
    static const uint32_t head = 3;
    struct rig r, never;
    struct hd_kv_report report;
    struct hd_assignment a = {.needs = &need,
                              .n_needs = 1,
                              .layers_done = {LAYERS, LAYERS},
                              .hold[HD_UNIT_HEAD] = {&head, 1},
                              .round = 9};
    open_rig(&r, NULL, 0x7, *activations);
    open_rig(&never, NULL, 0xf, *activations);
    feed(&r, 0, N);
    guess(&r, LAYERS);
    hd_node_hold(r.node, &a);
    struct hd_error err;
    for (int i = 0; i < 3; i++) /* some of it is made ready of guesses */
        cr_assert_eq(hd_hold_slice(r.node, &err), HD_HOLD_WORKED);
    cut(&r, N);
    cr_assert_eq(rig_slices(&r), HD_HOLD_READY);
    cr_assert_eq(hd_hold_report(r.node, &report), 0);
    cr_assert_eq(report.n_gaps, 0, "nobody waits for rows that are no more");
    hd_kv_report_deinit(&report);
    feed(&r, N, END);
    rig_slices(&r);
    feed(&never, 0, END);
    expect_same(&r, &never, END);
    rig_close(&r);
    rig_close(&never);
}

/* A log that is being completed does not take what was cut, whenever it comes. */
Test(cut, what_is_on_its_way_is_not_taken)
{
    struct rig whole, late;
    struct hd_pace pace = {0};
    struct hd_fill *fill;
    struct hd_error err;
    struct hd_sequence_need need = {.sequence = 0, .base = GUESSED};
    open_rig(&whole, NULL, 0xf, HD_ACTIVATIONS_Q8);
    open_rig(&late, NULL, 0xf, HD_ACTIVATIONS_Q8);
    feed(&whole, 0, N);
    guess(&whole, LAYERS);
    cr_assert_eq(hd_fill_new(&fill, late.node, &pace), 0);
    hd_fill_begin(fill, &(struct hd_assignment){.needs = &need, .n_needs = 1});
    struct hd_fill_action asked = hd_fill_next(fill, 1);
    cr_assert_eq(asked.what, HD_FILL_FETCH);
    cr_assert_eq(asked.piece.count, GUESSED);
    hd_fill_cut(fill, 0, N);
    cr_assert_eq(hd_node_cut(late.node, 0, N, &err), 0);
    size_t n;
    const void *rows = hd_input_log_rows(whole.node->input_log, (struct hd_log_at){0, 0, 0}, &n);
    struct hd_log_answer old = {.piece = asked.piece, .rows = rows, .now_us = 2};
    old.piece.count = 1;
    cr_assert_eq(hd_fill_rows(fill, &old, &err), 0);
    cr_assert_eq(hd_input_log_count(late.node->input_log, 0, 0), 0, "it was asked for before");
    struct hd_fill_action again = hd_fill_next(fill, 3);
    cr_assert_eq(again.what, HD_FILL_FETCH);
    cr_assert_gt(again.piece.id, asked.piece.id);
    cr_assert_eq(again.piece.count, N);
    hd_fill_cut(fill, 0, N);
    old = (struct hd_log_answer){.piece = again.piece, .rows = rows, .now_us = 4};
    cr_assert_eq(hd_fill_rows(fill, &old, &err), 0);
    cr_assert_eq(hd_input_log_count(late.node->input_log, 0, 0), N, "what stays is");
    hd_fill_free(fill);
    rig_close(&whole);
    rig_close(&late);
}

/* Rows behind a gap of the log: some of them, all of them. */
Test(cut, a_tail_is_cut_too)
{
    struct rig r;
    struct hd_error err;
    open_rig(&r, NULL, 0, HD_ACTIVATIONS_Q8);
    struct hd_input_log *log = r.node->input_log;
    uint8_t *row = calloc(1, hd_node_row_bytes(r.node));
    for (uint32_t p = 0; p < 20; p++)
        if (p < 4 || p >= 10)
            cr_assert_eq(hd_input_log_append(log, (struct hd_log_at){0, 1, p}, row, &err),
                         HD_LOG_KEPT);
    cut(&r, 15);
    cr_assert_eq(hd_input_log_tail(log, 0, 1), 10);
    cr_assert_eq(hd_input_log_end(log, 0, 1), 15);
    cr_assert_eq(hd_input_log_count(log, 0, 1), 4);
    cut(&r, 10);
    cr_assert_eq(hd_input_log_tail(log, 0, 1), 0);
    cr_assert_eq(hd_input_log_end(log, 0, 1), 4);
    cr_assert_eq(hd_input_log_append(log, (struct hd_log_at){0, 1, 12}, row, &err), HD_LOG_KEPT);
    cut(&r, 3);
    cr_assert_eq(hd_input_log_tail(log, 0, 1), 0);
    cr_assert_eq(hd_input_log_count(log, 0, 1), 3);
    cr_assert_eq(hd_input_log_append(log, (struct hd_log_at){0, 1, 3}, row, &err), HD_LOG_KEPT);
    cr_assert_eq(hd_input_log_count(log, 0, 1), 4);
    free(row);
    rig_close(&r);
}

/* What others share stays. */
Test(cut, rows_that_are_shared_are_refused)
{
    struct rig r;
    struct hd_error err;
    open_rig(&r, NULL, 0xf, HD_ACTIVATIONS_Q8);
    feed(&r, 0, END);
    hd_node_share(r.node, 1, (struct hd_kv_share){0, HD_ATTN_BLOCK});
    cr_assert_eq(hd_node_cut(r.node, 0, HD_ATTN_BLOCK - 1, &err), HD_E_PROTO);
    cr_assert_eq(hd_node_cut(r.node, 1, HD_ATTN_BLOCK - 1, &err), HD_E_PROTO);
    cr_assert_str_eq(err.text, "SequenceCut: sequence 1 to 63 positions, 64 of them are shared");
    cr_assert_eq(hd_kv_valid(r.node->kv, (struct hd_kv_at){0, 0, 0}), END, "nothing was cut");
    cr_assert_eq(hd_node_cut(r.node, 1, HD_ATTN_BLOCK, &err), 0);
    cr_assert_eq(hd_node_cut(r.node, 0, HD_ATTN_BLOCK, &err), 0);
    cr_assert_eq(hd_kv_valid(r.node->kv, (struct hd_kv_at){0, 0, 0}), HD_ATTN_BLOCK);
    rig_close(&r);
}
