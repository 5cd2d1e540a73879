/* Weights and K/V rows that are not what they were: found within a round, made again with the same
 * bits, told once. */
#include "hydac.pb-c.h"
#include "scrub_rig.h"
#include "supply_rig.h"
#include "worker/crew/reply.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* ---- Weights ----*/

static size_t parts_of(const struct hd_node *n, struct hd_shard_unit u, uint32_t layer,
                       struct hd_cpu_part parts[HD_PIECE_MAX_CUTS])
{
    struct hd_piece_at at = {u.kind, u.unit, layer};
    return hd_cpu_parts(hd_cpu_weights(hd_shard_memory(n->shard)), at, parts);
}

static void expect_same_piece(const struct hd_node *a, const struct hd_node *b,
                              struct hd_shard_unit u, uint32_t layer)
{
    struct hd_cpu_part x[HD_PIECE_MAX_CUTS], y[HD_PIECE_MAX_CUTS];
    size_t n = parts_of(a, u, layer, x);
    cr_assert_gt(n, 0);
    cr_assert_eq(parts_of(b, u, layer, y), n);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(x[i].bytes, y[i].bytes);
        cr_assert_arr_eq(x[i].data, y[i].data, x[i].bytes);
    }
}

static void flip_weights(struct hd_node *n, struct hd_shard_unit u, uint32_t layer, size_t part)
{
    struct hd_cpu_part parts[HD_PIECE_MAX_CUTS];
    cr_assert_gt(parts_of(n, u, layer, parts), part);
    parts[part].data[parts[part].bytes / 3] ^= 2;
}

Test(scrub, weights_are_packed_anew)
{
    static const struct {
        struct hd_shard_unit u;
        uint32_t layer;
        size_t part;
    } cases[] = {
        {{HD_UNIT_HEAD, 1}, 0, 0}, {{HD_UNIT_HEAD, 3}, 2, 3},  {{HD_UNIT_FFN, 0}, 3, 1},
        {{HD_UNIT_FFN, 2}, 1, 2},  {{HD_UNIT_VOCAB, 1}, 0, 0},
    };
    struct rig r, other;
    scrub_open(&other, 0xf, HD_ACTIVATIONS_Q8);
    scrub_open(&r, 0xf, HD_ACTIVATIONS_Q8);
    uint64_t bytes = hd_shard_bytes(r.node->shard);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        scrub_n_found = 0;
        flip_weights(r.node, cases[i].u, cases[i].layer, cases[i].part);
        scrub_round(r.node);
        cr_assert_eq(scrub_n_found, 1);
        cr_assert_eq(scrub_found->kind, HD_DAMAGE_WEIGHTS);
        cr_assert_eq(scrub_found->unit.kind, cases[i].u.kind);
        cr_assert_eq(scrub_found->unit.unit, cases[i].u.unit);
        cr_assert_eq(scrub_found->layer, cases[i].layer);
        cr_assert(scrub_found->repaired);
        cr_assert_not(scrub_found->replay);
        cr_assert_leq(scrub_found->since_us, ROUND_S * 1100000u);
        cr_assert_geq(scrub_found->since_us, ROUND_S * 500000u);
        expect_same_piece(r.node, other.node, cases[i].u, cases[i].layer);
        cr_assert_eq(hd_shard_bytes(r.node->shard), bytes);
        scrub_round(r.node);
        cr_assert_eq(scrub_n_found, 1, "it is whole again");
    }
    rig_close(&r);
    rig_close(&other);
}

Test(scrub, weights_of_a_unit_that_is_only_held_are_loaded_beside_the_steps)
{
    struct rig r;
    scrub_open(&r, 0x7, HD_ACTIVATIONS_Q8);
    struct hd_assignment a = scrub_need_both;
    uint32_t head = 3;
    a.hold[HD_UNIT_HEAD] = (struct hd_unit_list){&head, 1};
    hd_node_hold(r.node, &a);
    cr_assert_eq(rig_slices(&r), HD_HOLD_IDLE);
    flip_weights(r.node, (struct hd_shard_unit){HD_UNIT_HEAD, 3}, 2, 0);
    scrub_round(r.node);
    cr_assert_eq(scrub_n_found, 1);
    cr_assert_not(hd_shard_has(r.node->shard, (struct hd_shard_unit){HD_UNIT_HEAD, 3}, 2));
    cr_assert(hd_hold_pending(r.node));
    cr_assert_eq(rig_slices(&r), HD_HOLD_IDLE);
    cr_assert(hd_shard_has(r.node->shard, (struct hd_shard_unit){HD_UNIT_HEAD, 3}, 2));
    rig_close(&r);
}

Test(scrub, units_may_go_and_come_back_in_the_midst_of_a_piece)
{
    struct rig r;
    struct hd_kv_report report;
    scrub_open(&r, 0xf, HD_ACTIVATIONS_Q8);
    for (int i = 0; i < 40; i++) {
        scrub_slice(r.node);
        rig_own_part(&r, (uint32_t)i % 3, 3); /* the others are surplus, and go */
        hd_node_hold(r.node, &(struct hd_assignment){0});
        rig_slices(&r);
        if (i % 2)
            scrub_slice(r.node);
        cr_assert_eq(rig_own_heads(&r, 0xf, &scrub_need_both, &report), 0);
        hd_kv_report_deinit(&report);
    }
    scrub_round(r.node);
    cr_assert_eq(scrub_n_found, 0);
    rig_close(&r);
}

/* A node whose weights come from a leader: what is owned is loaded again before the repair is over.
 */
Test(scrub, weights_come_again_from_the_leader)
{
    struct world w;
    struct rig r;
    struct hd_error err = {0};
    struct hd_kv_report report;
    char command[128];
    world_begin(&w, HD_Q8_0, PLENTY);
    struct hd_team *team;
    cr_assert_eq(hd_team_new(&team, &(struct hd_team_options){.threads = 1, .name = "rig"}), 0);
    struct hd_device_options device = {
        .model = w.outline, .threads = 1, .isa = hd_isa_best(), .team = team};
    struct hd_device *d;
    cr_assert_eq(hd_cpu_device.create(&d, &device, NULL), 0);
    struct hd_node_options o = {.device = d, .log = &w.log, .state_dir = w.dir, .supply = w.supply};
    r = (struct rig){.model = w.outline, .units = w.units, .team = team, .device = d};
    r.kernels = hd_kernels_get(hd_isa_best());
    cr_assert_eq(hd_node_new(&r.node, &o), 0);
    w.log.level = HD_LOG_ERROR + 1;
    struct hd_node_sizes sizes = {.activations = HD_ACTIVATIONS_Q8,
                                  .max_rows = RIG_ROWS,
                                  .max_positions = RIG_POSITIONS,
                                  .max_sequences = RIG_SEQUENCES};
    cr_assert_eq(hd_node_resize(r.node, &sizes, &err), 0);
    cr_assert_eq(rig_own_heads(&r, 1, &(struct hd_assignment){0}, &report), 0);
    hd_kv_report_deinit(&report);
    scrub_begin(r.node);
    struct hd_shard_unit u = {HD_UNIT_FFN, 0};
    uint64_t taken = world_totals(&w).fetched + world_totals(&w).kept;
    flip_weights(r.node, u, 1, 0);
    scrub_round(r.node);
    cr_assert_eq(scrub_n_found, 1);
    cr_assert(scrub_found->repaired);
    cr_assert(hd_shard_has(r.node->shard, u, 1));
    cr_assert_eq(world_totals(&w).fetched + world_totals(&w).kept, taken + 1);
    /* When it cannot come nothing is computed any more. */
    scrub_n_found = 0;
    world_stop(&w);
    snprintf(command, sizeof command, "rm -r %s/weights", w.dir);
    cr_assert_eq(system(command), 0);
    world_start(&w, PLENTY);
    hd_shard_set_supply(r.node->shard, w.supply);
    w.lies_after = 1;
    flip_weights(r.node, u, 1, 0);
    while (!hd_scrub_broken(r.node))
        cr_assert_geq(hd_scrub_slice(r.node, scrub_now_us += 1000000, &err), 0);
    cr_assert_eq(hd_scrub_repair(r.node, &err), HD_E_PROTO);
    cr_assert_not(r.node->assigned);
    cr_assert_eq(scrub_n_found, 1);
    cr_assert_not(scrub_found->repaired);
    hd_node_free(r.node);
    hd_device_free(d);
    hd_team_free(team);
    world_end(&w);
}

/* ---- K/V ----*/

RIG_TEST(scrub, kv_rows_are_computed_again_from_the_log)
{
    static const struct {
        struct hd_kv_at at;
        uint32_t position;
    } cases[] = {
        {{0, 0, 0}, 0}, {{0, 3, 2}, 63}, {{0, 1, 3}, 64}, {{0, 2, 1}, N0 - 1}, {{1, 2, 3}, 7}};
    struct rig r, other;
    scrub_open(&other, 0xf, *activations);
    scrub_open(&r, 0xf, *activations);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct hd_kv_at at = cases[i].at;
        uint64_t rebuilt = hd_kv_counters(r.node->kv, at.layer, at.head)->rebuilt;
        scrub_n_found = 0;
        scrub_flip_kv(&r, at, cases[i].position);
        scrub_round(r.node);
        cr_assert_eq(scrub_n_found, 1);
        cr_assert_eq(scrub_found->kind, HD_DAMAGE_KV);
        cr_assert_eq(scrub_found->sequence, at.sequence);
        cr_assert_eq(scrub_found->layer, at.layer);
        cr_assert_eq(scrub_found->unit.unit, at.head);
        cr_assert(scrub_found->repaired);
        cr_assert_not(scrub_found->replay);
        scrub_expect_lanes(&r, &other, 0xf);
        cr_assert_eq(hd_kv_counters(r.node->kv, at.layer, at.head)->rebuilt - rebuilt,
                     (at.sequence ? N1 : N0) - cases[i].position, "no row before it is touched");
    }
    rig_close(&r);
    rig_close(&other);
}

/* ---- What goes is looked at once more ----*/

static uint64_t dropped(const struct rig *r)
{
    return hd_kv_dropped_bytes(r->node->kv);
}

Test(scrub, rows_of_a_sequence_that_ends_are_looked_at_before_they_are_freed)
{
    struct rig r;
    scrub_open(&r, 0xf, HD_ACTIVATIONS_Q8);
    uint64_t bytes = hd_kv_bytes(r.node->kv), before = scrub_rounds(r.node);
    scrub_slice(r.node);
    scrub_flip_kv(&r, (struct hd_kv_at){0, 2, 1}, 70);
    scrub_flip_kv(&r, (struct hd_kv_at){0, 3, 0}, N0); /* behind the last row */
    hd_node_drop(r.node, 0);
    cr_assert_eq(hd_kv_bytes(r.node->kv), bytes, "they are still there");
    rig_feed(&r, (struct rig_feed){0, LAYERS, 0, N1}); /* another sequence with its number */
    cr_assert_eq(scrub_n_found, 0);
    uint64_t due = scrub_now_us;
    cr_assert_leq(hd_scrub_at(r.node), due, "the next slice is due at once");
    while (dropped(&r) > 0)
        scrub_slice(r.node);
    cr_assert_eq(scrub_now_us, due, "nothing has to wait for the round");
    cr_assert_eq(scrub_rounds(r.node), before);
    cr_assert_eq(scrub_n_found, 1);
    cr_assert_eq(scrub_found->kind, HD_DAMAGE_KV);
    cr_assert_eq(scrub_found->sequence, 0);
    cr_assert_eq(scrub_found->layer, 2);
    cr_assert_eq(scrub_found->unit.unit, 1);
    cr_assert_not(scrub_found->repaired || scrub_found->replay);
    cr_assert(strstr(scrub_found->text, " position 70,"), "%s", scrub_found->text);
    cr_assert_geq(scrub_found->since_us, 1);
    cr_assert_lt(hd_kv_bytes(r.node->kv), bytes);
    scrub_round(r.node);
    cr_assert_eq(scrub_n_found, 1, "the new rows are whole");
    rig_close(&r);
}

Test(scrub, what_was_dropped_cannot_pile_up)
{
    struct rig r;
    scrub_open(&r, 0xf, HD_ACTIVATIONS_Q8);
    hd_node_drop(r.node, 0);
    uint64_t of_one = dropped(&r);
    for (int i = 0; i < 200;
         i++) { /* more than the least slice looks at, and only one slice each */
        rig_feed(&r, (struct rig_feed){0, LAYERS, 0, N0});
        hd_node_drop(r.node, 0);
        cr_assert_geq(hd_scrub_slice(r.node, scrub_now_us, &(struct hd_error){0}), 0);
        cr_assert_leq(dropped(&r), 64 * of_one);
    }
    while (dropped(&r) > 0)
        scrub_slice(r.node);
    cr_assert_eq(scrub_n_found, 0);
    rig_close(&r);
}

Test(scrub, rows_and_weights_of_a_head_that_goes_are_looked_at)
{
    struct rig r;
    struct hd_kv_report report;
    scrub_open(&r, 0xf, HD_ACTIVATIONS_Q8);
    cr_assert_eq(rig_own_heads(&r, 0x7, &scrub_need_both, &report), 0); /* head 3 is surplus now */
    hd_kv_report_deinit(&report);
    scrub_flip_kv(&r, (struct hd_kv_at){1, 0, 3}, 5);
    flip_weights(r.node, (struct hd_shard_unit){HD_UNIT_HEAD, 3}, 1, 2);
    hd_node_hold(r.node, &scrub_need_both);
    rig_slices(&r);
    cr_assert_not(hd_shard_has(r.node->shard, (struct hd_shard_unit){HD_UNIT_HEAD, 3}, 1));
    cr_assert_eq(scrub_n_found, 1);
    cr_assert_eq(scrub_found[0].kind, HD_DAMAGE_WEIGHTS);
    cr_assert_eq(scrub_found[0].layer, 1);
    while (dropped(&r) > 0)
        scrub_slice(r.node);
    cr_assert_eq(scrub_n_found, 2);
    cr_assert_eq(scrub_found[1].kind, HD_DAMAGE_KV);
    cr_assert_eq(scrub_found[1].sequence, 1);
    rig_close(&r);
}

Test(scrub, without_rounds_nothing_that_goes_is_kept)
{
    struct rig r;
    scrub_open(&r, 0xf, HD_ACTIVATIONS_Q8);
    r.node->sizes.scrub_s = 0;
    hd_scrub_begin(r.node, scrub_now_us);
    scrub_flip_kv(&r, (struct hd_kv_at){0, 2, 1}, 70);
    hd_node_drop(r.node, 0);
    cr_assert_eq(dropped(&r), 0);
    cr_assert_eq(hd_scrub_at(r.node), UINT64_MAX);
    cr_assert_eq(scrub_n_found, 0);
    rig_close(&r);
}

/* A row may be looked at first of all in one round and last of all in the next. */
Test(scrub, two_visits_of_a_row_are_never_further_apart_than_scrub_s)
{
    struct rig r;
    scrub_open(&r, 0xf, HD_ACTIVATIONS_Q8);
    hd_node_drop(r.node, 0);
    struct hd_kv_at at = {1, 0, 0};
    uint64_t last = scrub_now_us;
    for (int i = 0; i < 6; i++) {
        while (*hd_kv_seen_us(r.node->kv, at, 0) <= last)
            scrub_slice(r.node);
        uint64_t seen = *hd_kv_seen_us(r.node->kv, at, 0);
        cr_assert_leq(seen - last, 2 * ROUND_S * 1000000u);
        last = seen;
        if (i % 2) /* what lies before it comes and goes */
            hd_node_drop(r.node, 0);
        else
            rig_feed(&r, (struct rig_feed){0, LAYERS, 0, N0});
    }
    cr_assert_eq(scrub_n_found, 0);
    rig_close(&r);
}

Test(scrub, what_lies_behind_the_last_row_is_nothing)
{
    struct rig r;
    scrub_open(&r, 0xf, HD_ACTIVATIONS_Q8);
    scrub_flip_kv(&r, (struct hd_kv_at){0, 0, 0}, N0);
    scrub_round(r.node);
    cr_assert_eq(scrub_n_found, 0);
    rig_close(&r);
}

Test(scrub, rows_of_a_held_head_come_back_beside_the_steps)
{
    struct rig r, other;
    scrub_open(&other, 0xf, HD_ACTIVATIONS_Q8);
    scrub_open(&r, 0x7, HD_ACTIVATIONS_Q8);
    struct hd_assignment a = scrub_need_both;
    uint32_t head = 3;
    a.hold[HD_UNIT_HEAD] = (struct hd_unit_list){&head, 1};
    hd_node_hold(r.node, &a);
    cr_assert_eq(rig_slices(&r), HD_HOLD_IDLE);
    scrub_flip_kv(&r, (struct hd_kv_at){0, 2, 3}, 20);
    scrub_round(r.node);
    cr_assert_eq(scrub_n_found, 1);
    cr_assert_eq(hd_kv_valid(r.node->kv, (struct hd_kv_at){0, 2, 3}), 20);
    cr_assert(hd_hold_pending(r.node));
    cr_assert_eq(rig_slices(&r), HD_HOLD_IDLE);
    scrub_expect_lanes(&r, &other, 0xf);
    rig_close(&r);
    rig_close(&other);
}

Test(scrub, without_a_log_the_sequence_is_to_be_replayed)
{
    struct rig r;
    struct rig_rows rows;
    struct hd_half_output out;
    struct hd_error err = {0};
    scrub_open(&r, 0xf, HD_ACTIVATIONS_Q8);
    hd_input_log_drop(r.node->input_log, 0);
    scrub_flip_kv(&r, (struct hd_kv_at){0, 2, 1}, 20);
    scrub_round(r.node);
    cr_assert_eq(scrub_n_found, 1);
    cr_assert(scrub_found->replay);
    cr_assert_not(scrub_found->repaired);
    float *x = rig_random(1, r.model->shape.dim, 5);
    rig_rows_of(&rows, 0, N0, 1, x);
    struct hd_half_step step = rig_step(&r, &rows, HD_UNIT_HEAD, 0);
    cr_assert_eq(hd_node_step(r.node, &step, &out, &err), HD_STEP_NOT_OURS);
    rig_rows_of(&rows, 1, N1, 1, x);
    step = rig_step(&r, &rows, HD_UNIT_HEAD, 0);
    cr_assert_eq(hd_node_step(r.node, &step, &out, &err), HD_STEP_DONE, "others go on");
    hd_shared_unref(out.payload);
    hd_node_drop(r.node, 0);
    rig_rows_of(&rows, 0, 0, 1, x);
    step = rig_step(&r, &rows, HD_UNIT_HEAD, 0);
    cr_assert_eq(hd_node_step(r.node, &step, &out, &err), HD_STEP_DONE, "it begins anew");
    hd_shared_unref(out.payload);
    free(x);
    rig_close(&r);
}

Test(scrub, a_damaged_row_of_the_log_gives_no_kv)
{
    struct rig r;
    scrub_open(&r, 0xf, HD_ACTIVATIONS_Q8);
    scrub_flip_kv(&r, (struct hd_kv_at){0, 2, 1}, 20);
    scrub_flip_log(&r, (struct hd_log_at){0, 2, 70});
    scrub_round(r.node);
    cr_assert_eq(scrub_n_found, 2);
    cr_assert_eq(scrub_found[0].kind, HD_DAMAGE_LOG, "seen when it was to be used");
    cr_assert_eq(scrub_found[1].kind, HD_DAMAGE_KV);
    cr_assert(scrub_found[1].replay);
    rig_close(&r);
}
