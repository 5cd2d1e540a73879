/* Holding units: made ready in slices, kept current with the steps, owned at no cost. */
#include "rig.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { N0 = 90, N1 = 33, LAYERS = 4, HEADS = 4 };

static void open_tiny(struct rig *r, uint64_t heads, enum hd_activations activations)
{
    struct hd_kv_report report;
    struct rig_options o = {.shape = "tiny",
                            .type = HD_Q4_0,
                            .kv = HD_KV_F16,
                            .activations = activations,
                            .threads = 2};
    rig_open(r, &o);
    cr_assert_eq(rig_own_heads(r, heads, &(struct hd_assignment){0}, &report), 0);
    hd_kv_report_deinit(&report);
}

/* Two sequences, in all layers. */
static void feed(struct rig *r)
{
    rig_feed(r, (struct rig_feed){0, LAYERS, 0, N0});
    rig_feed(r, (struct rig_feed){1, LAYERS, 0, N1});
}

static const struct hd_sequence_need both[] = {{.sequence = 0, .base = N0},
                                               {.sequence = 1, .base = N1}};
static const struct hd_assignment need_both = {
    .needs = both, .n_needs = 2, .layers_done = {LAYERS}};

/* Hold one head besides, for a round (0: none). */
static void hold(struct rig *r, uint32_t head, uint64_t round)
{
    struct hd_assignment a = need_both;
    a.hold[HD_UNIT_HEAD] = (struct hd_unit_list){&head, 1};
    a.epoch = 5;
    a.round = round;
    hd_node_hold(r->node, &a);
}

/* Own these heads, with what the two sequences need. */
static struct hd_kv_report own(struct rig *r, uint64_t heads)
{
    struct hd_kv_report report;
    cr_assert_eq(rig_own_heads(r, heads, &need_both, &report), 0);
    return report;
}

static uint64_t standby_rows(const struct rig *r, uint32_t head)
{
    uint64_t rows = 0;
    for (uint32_t l = 0; l < LAYERS; l++)
        rows += hd_kv_counters(r->node->kv, l, head)->standby;
    return rows;
}

static void expect_lanes(const struct rig *a, const struct rig *b, uint32_t head)
{
    for (uint32_t l = 0; l < LAYERS; l++) {
        rig_expect_same_lane(a, b, (struct hd_kv_at){0, l, head}, N0);
        rig_expect_same_lane(a, b, (struct hd_kv_at){1, l, head}, N1);
    }
}

RIG_TEST(hold, a_prepared_head_is_owned_at_no_cost_and_has_the_same_bits)
{
    struct rig all, other;
    struct hd_kv_report report;
    open_tiny(&all, 0xf, *activations);
    open_tiny(&other, 0x7, *activations);
    feed(&all);
    feed(&other);
    hold(&other, 3, 9);
    cr_assert_eq(rig_slices(&other), HD_HOLD_READY);
    cr_assert_eq(hd_hold_report(other.node, &report), 0);
    cr_assert_eq(report.round, 9);
    cr_assert_eq(report.epoch, 5);
    cr_assert_eq(report.n_heads, 1);
    cr_assert_eq(report.heads[0], 3);
    cr_assert_eq(report.n_gaps, 0);
    cr_assert_eq(report.positions, N0 + N1);
    cr_assert_eq(report.rows_rebuilt, LAYERS * (N0 + N1));
    cr_assert_eq(report.rows_kept, 0);
    cr_assert_eq(report.bytes, report.rows_rebuilt * 2 * 32 * sizeof(uint16_t));
    cr_assert_gt(report.weights_us, 0);
    hd_kv_report_deinit(&report);
    cr_assert_eq(rig_slices(&other), HD_HOLD_IDLE, "a round is reported once");
    report = own(&other, 0xf);
    cr_assert_eq(report.n_heads, 1);
    cr_assert_eq(report.n_ready, 1);
    cr_assert_eq(report.ready[0], 3);
    cr_assert_eq(report.rows_rebuilt, 0);
    cr_assert_eq(report.rows_kept, HEADS * LAYERS * (N0 + N1));
    cr_assert_eq(report.weights_us, 0);
    cr_assert_eq(report.rebuild_us, 0);
    hd_kv_report_deinit(&report);
    expect_lanes(&all, &other, 3);
    rig_close(&all);
    rig_close(&other);
}

RIG_TEST(hold, a_held_head_follows_the_steps_with_the_bits_of_attention)
{
    struct rig all, other;
    open_tiny(&all, 0xf, *activations);
    open_tiny(&other, 0x3, *activations);
    hold(&other, 2, 0);
    cr_assert_eq(rig_slices(&other), HD_HOLD_IDLE, "nothing is answered without a round");
    feed(&all);
    feed(&other);
    cr_assert_eq(standby_rows(&other, 2), LAYERS * (N0 + N1));
    cr_assert_eq(hd_kv_counters(other.node->kv, 0, 2)->misses, 0);
    cr_assert_eq(hd_kv_counters(other.node->kv, 0, 2)->rebuilt, 0);
    expect_lanes(&all, &other, 2);
    rig_feed(&other, (struct rig_feed){0, LAYERS, N0 - 5, N0}); /* a retry: nothing is new */
    cr_assert_eq(standby_rows(&other, 2), LAYERS * (N0 + N1));
    struct hd_kv_report report = own(&other, 0x7);
    cr_assert_eq(report.n_ready, 1);
    cr_assert_eq(report.rows_rebuilt, 0);
    hd_kv_report_deinit(&report);
    rig_close(&all);
    rig_close(&other);
}

RIG_TEST(hold, lanes_that_are_behind_are_left_to_the_slices)
{
    struct rig all, other;
    open_tiny(&all, 0xf, *activations);
    open_tiny(&other, 0x3, *activations);
    rig_feed(&other, (struct rig_feed){0, LAYERS, 0, 70});
    hold(&other, 2, 1);
    rig_feed(&other, (struct rig_feed){0, LAYERS, 70, N0}); /* before any slice */
    rig_feed(&other, (struct rig_feed){1, LAYERS, 0, N1});
    cr_assert_eq(standby_rows(&other, 2), 0);
    cr_assert_eq(rig_slices(&other), HD_HOLD_READY);
    feed(&all);
    expect_lanes(&all, &other, 2);
    rig_close(&all);
    rig_close(&other);
}

RIG_TEST(hold, steps_between_the_slices_are_followed_as_soon_as_a_lane_is_current)
{
    struct rig all, other;
    struct hd_error err;
    open_tiny(&all, 0xf, *activations);
    open_tiny(&other, 0x3, *activations);
    hold(&other, 2, 0);
    for (uint32_t p = 0; p < N0; p++) {
        rig_feed(&other, (struct rig_feed){0, LAYERS, p, p + 1});
        cr_assert_geq(hd_hold_slice(other.node, &err), 0);
    }
    rig_feed(&other, (struct rig_feed){1, LAYERS, 0, N1});
    rig_slices(&other);
    cr_assert_gt(standby_rows(&other, 2), LAYERS * N1);
    feed(&all);
    expect_lanes(&all, &other, 2);
    rig_close(&all);
    rig_close(&other);
}

/* Hold the weights of one head besides, without its K/V. */
static void hold_bare(struct rig *r, uint32_t head, uint64_t round)
{
    struct hd_assignment a = need_both;
    a.hold[HD_UNIT_HEAD] = a.bare = (struct hd_unit_list){&head, 1};
    a.epoch = 5;
    a.round = round;
    hd_node_hold(r->node, &a);
}

RIG_TEST(hold, of_a_bare_head_only_the_rows_are_computed_when_it_is_owned)
{
    struct rig all, other;
    struct hd_kv_report report;
    open_tiny(&all, 0xf, *activations);
    open_tiny(&other, 0x7, *activations);
    feed(&all);
    hold_bare(&other, 3, 9);
    cr_assert_eq(rig_slices(&other), HD_HOLD_READY);
    cr_assert_eq(hd_hold_report(other.node, &report), 0);
    cr_assert_eq(report.n_heads, 0, "nothing of it is valid");
    cr_assert_eq(report.n_gaps, 0);
    cr_assert_gt(report.weights_us, 0);
    hd_kv_report_deinit(&report);
    uint64_t weights = hd_shard_bytes(other.node->shard);
    cr_assert_eq(weights, hd_shard_bytes(all.node->shard));
    feed(&other);
    cr_assert_eq(rig_slices(&other), HD_HOLD_IDLE);
    cr_assert_eq(standby_rows(&other, 3), 0, "no step was followed");
    cr_assert_eq(hd_kv_counters(other.node->kv, 0, 3)->bytes, 0);
    report = own(&other, 0xf);
    cr_assert_eq(report.n_heads, 1);
    cr_assert_eq(report.n_ready, 0);
    cr_assert_eq(report.rows_rebuilt, LAYERS * (N0 + N1));
    cr_assert_eq(report.weights_us, 0, "nothing was packed");
    cr_assert_eq(hd_shard_bytes(other.node->shard), weights);
    hd_kv_report_deinit(&report);
    expect_lanes(&all, &other, 3);
    rig_close(&all);
    rig_close(&other);
}

RIG_TEST(hold, rows_of_a_head_that_was_owned_go_when_it_is_bare_and_come_when_it_is_held)
{
    struct rig all, other;
    open_tiny(&all, 0xf, *activations);
    open_tiny(&other, 0xf, *activations);
    feed(&all);
    feed(&other);
    uint64_t weights = hd_shard_bytes(other.node->shard), kv = hd_kv_bytes(other.node->kv);
    struct hd_kv_report report = own(&other, 0x7);
    hd_kv_report_deinit(&report);
    hold_bare(&other, 3, 1);
    cr_assert_eq(rig_slices(&other), HD_HOLD_READY);
    cr_assert_eq(hd_shard_bytes(other.node->shard), weights);
    cr_assert_eq(hd_kv_bytes(other.node->kv), kv / 4 * 3);
    cr_assert_eq(hd_hold_report(other.node, &report), 0);
    hd_kv_report_deinit(&report);
    hold(&other, 3, 2);
    cr_assert_eq(rig_slices(&other), HD_HOLD_READY);
    cr_assert_eq(hd_hold_report(other.node, &report), 0);
    cr_assert_eq(report.rows_rebuilt, LAYERS * (N0 + N1));
    cr_assert_eq(report.weights_us, 0);
    hd_kv_report_deinit(&report);
    expect_lanes(&all, &other, 3);
    rig_close(&all);
    rig_close(&other);
}

RIG_TEST(hold, a_later_set_supersedes_a_round)
{
    struct rig r;
    struct hd_error err;
    struct hd_kv_report report;
    open_tiny(&r, 0x3, *activations);
    feed(&r);
    hold(&r, 2, 1);
    cr_assert_eq(hd_hold_slice(r.node, &err), HD_HOLD_WORKED);
    hold(&r, 3, 2);
    cr_assert_eq(rig_slices(&r), HD_HOLD_READY);
    cr_assert_eq(hd_hold_report(r.node, &report), 0);
    cr_assert_eq(report.round, 2);
    cr_assert_eq(report.heads[0], 3);
    hd_kv_report_deinit(&report);
    cr_assert_eq(rig_slices(&r), HD_HOLD_IDLE, "round 1 is not answered any more");
    hold(&r, 2, 3);
    report = own(&r, 0x3); /* an epoch */
    hd_kv_report_deinit(&report);
    cr_assert_eq(rig_slices(&r), HD_HOLD_IDLE);
    rig_close(&r);
}

RIG_TEST(hold, a_head_that_comes_back_before_it_was_released_lacks_only_what_it_missed)
{
    struct rig all, other;
    open_tiny(&all, 0xf, *activations);
    open_tiny(&other, 0xf, *activations);
    feed(&all);
    rig_feed(&other, (struct rig_feed){0, LAYERS, 0, 70});
    rig_feed(&other, (struct rig_feed){1, LAYERS, 0, N1});
    struct hd_kv_report report;
    cr_assert_eq(rig_own_heads(&other, 0x7, &(struct hd_assignment){0}, &report), 0);
    hd_kv_report_deinit(&report);
    rig_feed(&other, (struct rig_feed){0, LAYERS, 70, N0});
    report = own(&other, 0xf);
    cr_assert_eq(report.n_heads, 1);
    cr_assert_eq(report.n_ready, 0);
    cr_assert_eq(report.rows_rebuilt, LAYERS * (N0 - 70));
    cr_assert_eq(report.weights_us, 0);
    hd_kv_report_deinit(&report);
    expect_lanes(&all, &other, 3);
    rig_close(&all);
    rig_close(&other);
}

RIG_TEST(hold, units_are_released_one_by_one)
{
    struct rig r;
    struct hd_error err;
    open_tiny(&r, 0xf, *activations);
    feed(&r);
    uint64_t weights = hd_shard_bytes(r.node->shard), kv = hd_kv_bytes(r.node->kv);
    struct hd_kv_report report = own(&r, 0x3);
    hd_kv_report_deinit(&report);
    cr_assert_eq(hd_shard_bytes(r.node->shard), weights);
    cr_assert_eq(hd_hold_slice(r.node, &err), HD_HOLD_WORKED);
    uint64_t one = weights - hd_shard_bytes(r.node->shard);
    cr_assert_gt(one, 0);
    cr_assert_eq(hd_kv_bytes(r.node->kv), kv / 4 * 3);
    cr_assert_eq(hd_hold_slice(r.node, &err), HD_HOLD_WORKED);
    cr_assert_eq(hd_shard_bytes(r.node->shard), weights - 2 * one);
    cr_assert_eq(hd_kv_bytes(r.node->kv), kv / 2);
    cr_assert_eq(hd_hold_slice(r.node, &err), HD_HOLD_IDLE);
    hold(&r, 2, 0);
    rig_slices(&r);
    cr_assert_eq(hd_shard_bytes(r.node->shard), weights - one, "what is held is not surplus");
    cr_assert_eq(hd_kv_bytes(r.node->kv), kv / 4 * 3);
    rig_close(&r);
}

RIG_TEST(hold, a_log_with_a_hole_is_a_gap_until_it_is_filled)
{
    struct rig r;
    struct hd_kv_report report;
    open_tiny(&r, 0, *activations);
    rig_feed(&r, (struct rig_feed){0, LAYERS, 40, N0}); /* from position 40 on */
    rig_feed(&r, (struct rig_feed){1, LAYERS, 0, N1});
    hold(&r, 1, 1);
    cr_assert_eq(rig_slices(&r), HD_HOLD_READY);
    cr_assert_eq(hd_hold_report(r.node, &report), 0);
    cr_assert_eq(report.n_gaps, 1);
    cr_assert_eq(report.gaps[0], 0);
    cr_assert_eq(report.positions, N1);
    hd_kv_report_deinit(&report);
    rig_feed(&r, (struct rig_feed){0, LAYERS, 0, 40});
    hold(&r, 1, 2);
    cr_assert_eq(rig_slices(&r), HD_HOLD_READY);
    cr_assert_eq(hd_hold_report(r.node, &report), 0);
    cr_assert_eq(report.n_gaps, 0);
    cr_assert_eq(hd_kv_valid(r.node->kv, (struct hd_kv_at){0, LAYERS - 1, 1}), N0);
    hd_kv_report_deinit(&report);
    rig_close(&r);
}

RIG_TEST(hold, what_is_replayed_or_dropped_is_forgotten_in_held_heads_too)
{
    struct rig r;
    open_tiny(&r, 0x1, *activations);
    hold(&r, 1, 0);
    rig_slices(&r);
    feed(&r);
    struct hd_sequence_need replayed = {.sequence = 0, .replayed = true};
    struct hd_assignment a = {.needs = &replayed, .n_needs = 1};
    uint32_t held = 1;
    a.hold[HD_UNIT_HEAD] = (struct hd_unit_list){&held, 1};
    struct hd_kv_report report;
    cr_assert_eq(rig_own_heads(&r, 0x1, &a, &report), 0);
    hd_kv_report_deinit(&report);
    cr_assert_eq(hd_kv_valid_total(r.node->kv, 0, 1), N1);
    hd_node_drop(r.node, 1);
    cr_assert_eq(hd_kv_valid_total(r.node->kv, 0, 1), 0);
    rig_feed(&r, (struct rig_feed){0, LAYERS, 0, 3});
    cr_assert_eq(hd_kv_valid_total(r.node->kv, 0, 1), 3);
    rig_close(&r);
}

RIG_TEST(hold, leaving_forgets_what_is_held_and_keeps_the_weights)
{
    struct rig r;
    struct hd_error err;
    open_tiny(&r, 0x1, *activations);
    hold(&r, 1, 4);
    cr_assert_eq(hd_hold_slice(r.node, &err), HD_HOLD_WORKED);
    uint64_t weights = hd_shard_bytes(r.node->shard);
    hd_node_leave(r.node);
    cr_assert_eq(rig_slices(&r), HD_HOLD_IDLE, "no answer to a leader that is gone");
    cr_assert_eq(hd_shard_bytes(r.node->shard), weights);
    struct hd_kv_report report = own(&r, 0x1);
    cr_assert_eq(report.weights_us, 0);
    cr_assert_eq(report.n_heads, 1);
    hd_kv_report_deinit(&report);
    rig_close(&r);
}
