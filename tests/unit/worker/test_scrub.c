/* Memory that is not what it was: found within a round, made again with the same bits, told once.
 */
#include "hydac.pb-c.h"
#include "supply_rig.h"
#include "worker/crew/reply.h"
#include "worker/trust/scrub.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { N0 = 90, N1 = 33, LAYERS = 4, HEADS = 4, ROUND_S = 10 }; /* a round, half of scrub_s */

#define MOST 16

/* What a node said, and the time that its scrub is told. */
static struct hd_finding found[MOST];
static size_t n_found;
static uint64_t now_us;

static void on_found(void *arg, const struct hd_finding *f)
{
    (void)arg;
    cr_assert_lt(n_found, MOST);
    found[n_found++] = *f;
}

static void begin_scrub(struct hd_node *n)
{
    n->o.found = on_found;
    n->sizes.scrub_s = 2 * ROUND_S;
    n_found = 0;
    now_us = 1000000;
    hd_scrub_begin(n, now_us);
}

static uint64_t rounds(const struct hd_node *n)
{
    struct hd_scrub_totals t;
    hd_scrub_totals(n, &t);
    return t.rounds;
}

/* When it is due; repairs what it finds. */
static void slice(struct hd_node *n)
{
    struct hd_error err = {0};
    now_us = hd_scrub_at(n) > now_us ? hd_scrub_at(n) : now_us;
    int rc = hd_scrub_slice(n, now_us, &err);
    cr_assert_geq(rc, 0, "%s", err.text);
    cr_assert_eq(rc == HD_SCRUB_BROKEN, hd_scrub_broken(n));
    cr_assert_eq(hd_scrub_repair(n, &err), 0, "%s", err.text);
    cr_assert_not(hd_scrub_broken(n));
}

static void whole_round(struct hd_node *n)
{
    for (uint64_t end = rounds(n) + 1; rounds(n) < end;)
        slice(n);
}

/* Owns `heads` and has two sequences; a round has found nothing. */
static void open_tiny(struct rig *r, uint64_t heads, enum hd_activations activations)
{
    struct hd_kv_report report;
    struct rig_options o = {.shape = "tiny",
                            .type = HD_Q4_0,
                            .kv = HD_KV_F16,
                            .activations = activations,
                            .threads = 2};
    rig_open(r, &o);
    r->log.level = HD_LOG_ERROR + 1;
    cr_assert_eq(rig_own_heads(r, heads, &(struct hd_assignment){0}, &report), 0);
    hd_kv_report_deinit(&report);
    rig_feed(r, (struct rig_feed){0, LAYERS, 0, N0});
    rig_feed(r, (struct rig_feed){1, LAYERS, 0, N1});
    begin_scrub(r->node);
    whole_round(r->node);
    cr_assert_eq(n_found, 0);
}

static const struct hd_sequence_need both[] = {{.sequence = 0, .base = N0},
                                               {.sequence = 1, .base = N1}};
static const struct hd_assignment need_both = {
    .needs = both, .n_needs = 2, .layers_done = {LAYERS}};

static void expect_lanes(const struct rig *a, const struct rig *b, uint64_t heads)
{
    for (uint32_t h = 0; h < HEADS; h++)
        for (uint32_t l = 0; l < LAYERS && heads >> h & 1; l++) {
            rig_expect_same_lane(a, b, (struct hd_kv_at){0, l, h}, N0);
            rig_expect_same_lane(a, b, (struct hd_kv_at){1, l, h}, N1);
        }
}

static void flip_kv(struct rig *r, struct hd_kv_at at, uint32_t position)
{
    ((uint8_t *)hd_cpu_kv_v(hd_cpu_kv(hd_kv_memory(r->node->kv)), at, position))[3] ^= 0x10;
}

static void flip_log(struct rig *r, struct hd_log_at at)
{
    size_t n;
    ((uint8_t *)hd_input_log_rows(r->node->input_log, at, &n))[9] ^= 0x40;
}

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
    open_tiny(&other, 0xf, HD_ACTIVATIONS_Q8);
    open_tiny(&r, 0xf, HD_ACTIVATIONS_Q8);
    uint64_t bytes = hd_shard_bytes(r.node->shard);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        n_found = 0;
        flip_weights(r.node, cases[i].u, cases[i].layer, cases[i].part);
        whole_round(r.node);
        cr_assert_eq(n_found, 1);
        cr_assert_eq(found->kind, HD_DAMAGE_WEIGHTS);
        cr_assert_eq(found->unit.kind, cases[i].u.kind);
        cr_assert_eq(found->unit.unit, cases[i].u.unit);
        cr_assert_eq(found->layer, cases[i].layer);
        cr_assert(found->repaired);
        cr_assert_not(found->replay);
        cr_assert_leq(found->since_us, ROUND_S * 1100000u);
        cr_assert_geq(found->since_us, ROUND_S * 500000u);
        expect_same_piece(r.node, other.node, cases[i].u, cases[i].layer);
        cr_assert_eq(hd_shard_bytes(r.node->shard), bytes);
        whole_round(r.node);
        cr_assert_eq(n_found, 1, "it is whole again");
    }
    rig_close(&r);
    rig_close(&other);
}

Test(scrub, weights_of_a_unit_that_is_only_held_are_loaded_beside_the_steps)
{
    struct rig r;
    open_tiny(&r, 0x7, HD_ACTIVATIONS_Q8);
    struct hd_assignment a = need_both;
    uint32_t head = 3;
    a.hold[HD_UNIT_HEAD] = (struct hd_unit_list){&head, 1};
    hd_node_hold(r.node, &a);
    cr_assert_eq(rig_slices(&r), HD_HOLD_IDLE);
    flip_weights(r.node, (struct hd_shard_unit){HD_UNIT_HEAD, 3}, 2, 0);
    whole_round(r.node);
    cr_assert_eq(n_found, 1);
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
    open_tiny(&r, 0xf, HD_ACTIVATIONS_Q8);
    for (int i = 0; i < 40; i++) {
        slice(r.node);
        rig_own_part(&r, (uint32_t)i % 3, 3); /* the others are surplus, and go */
        hd_node_hold(r.node, &(struct hd_assignment){0});
        rig_slices(&r);
        if (i % 2)
            slice(r.node);
        cr_assert_eq(rig_own_heads(&r, 0xf, &need_both, &report), 0);
        hd_kv_report_deinit(&report);
    }
    whole_round(r.node);
    cr_assert_eq(n_found, 0);
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
    begin_scrub(r.node);
    struct hd_shard_unit u = {HD_UNIT_FFN, 0};
    uint64_t taken = world_totals(&w).fetched + world_totals(&w).kept;
    flip_weights(r.node, u, 1, 0);
    whole_round(r.node);
    cr_assert_eq(n_found, 1);
    cr_assert(found->repaired);
    cr_assert(hd_shard_has(r.node->shard, u, 1));
    cr_assert_eq(world_totals(&w).fetched + world_totals(&w).kept, taken + 1);
    /* When it cannot come nothing is computed any more. */
    n_found = 0;
    world_stop(&w);
    snprintf(command, sizeof command, "rm -r %s/weights", w.dir);
    cr_assert_eq(system(command), 0);
    world_start(&w, PLENTY);
    hd_shard_set_supply(r.node->shard, w.supply);
    w.lies_after = 1;
    flip_weights(r.node, u, 1, 0);
    while (!hd_scrub_broken(r.node))
        cr_assert_geq(hd_scrub_slice(r.node, now_us += 1000000, &err), 0);
    cr_assert_eq(hd_scrub_repair(r.node, &err), HD_E_PROTO);
    cr_assert_not(r.node->assigned);
    cr_assert_eq(n_found, 1);
    cr_assert_not(found->repaired);
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
    open_tiny(&other, 0xf, *activations);
    open_tiny(&r, 0xf, *activations);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct hd_kv_at at = cases[i].at;
        uint64_t rebuilt = hd_kv_counters(r.node->kv, at.layer, at.head)->rebuilt;
        n_found = 0;
        flip_kv(&r, at, cases[i].position);
        whole_round(r.node);
        cr_assert_eq(n_found, 1);
        cr_assert_eq(found->kind, HD_DAMAGE_KV);
        cr_assert_eq(found->sequence, at.sequence);
        cr_assert_eq(found->layer, at.layer);
        cr_assert_eq(found->unit.unit, at.head);
        cr_assert(found->repaired);
        cr_assert_not(found->replay);
        expect_lanes(&r, &other, 0xf);
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
    open_tiny(&r, 0xf, HD_ACTIVATIONS_Q8);
    uint64_t bytes = hd_kv_bytes(r.node->kv), before = rounds(r.node);
    slice(r.node);
    flip_kv(&r, (struct hd_kv_at){0, 2, 1}, 70);
    flip_kv(&r, (struct hd_kv_at){0, 3, 0}, N0); /* behind the last row */
    hd_node_drop(r.node, 0);
    cr_assert_eq(hd_kv_bytes(r.node->kv), bytes, "they are still there");
    rig_feed(&r, (struct rig_feed){0, LAYERS, 0, N1}); /* another sequence with its number */
    cr_assert_eq(n_found, 0);
    uint64_t due = now_us;
    cr_assert_leq(hd_scrub_at(r.node), due, "the next slice is due at once");
    while (dropped(&r) > 0)
        slice(r.node);
    cr_assert_eq(now_us, due, "nothing has to wait for the round");
    cr_assert_eq(rounds(r.node), before);
    cr_assert_eq(n_found, 1);
    cr_assert_eq(found->kind, HD_DAMAGE_KV);
    cr_assert_eq(found->sequence, 0);
    cr_assert_eq(found->layer, 2);
    cr_assert_eq(found->unit.unit, 1);
    cr_assert_not(found->repaired || found->replay);
    cr_assert(strstr(found->text, " position 70,"), "%s", found->text);
    cr_assert_geq(found->since_us, 1);
    cr_assert_lt(hd_kv_bytes(r.node->kv), bytes);
    whole_round(r.node);
    cr_assert_eq(n_found, 1, "the new rows are whole");
    rig_close(&r);
}

Test(scrub, what_was_dropped_cannot_pile_up)
{
    struct rig r;
    open_tiny(&r, 0xf, HD_ACTIVATIONS_Q8);
    hd_node_drop(r.node, 0);
    uint64_t of_one = dropped(&r);
    for (int i = 0; i < 200;
         i++) { /* more than the least slice looks at, and only one slice each */
        rig_feed(&r, (struct rig_feed){0, LAYERS, 0, N0});
        hd_node_drop(r.node, 0);
        cr_assert_geq(hd_scrub_slice(r.node, now_us, &(struct hd_error){0}), 0);
        cr_assert_leq(dropped(&r), 64 * of_one);
    }
    while (dropped(&r) > 0)
        slice(r.node);
    cr_assert_eq(n_found, 0);
    rig_close(&r);
}

Test(scrub, rows_and_weights_of_a_head_that_goes_are_looked_at)
{
    struct rig r;
    struct hd_kv_report report;
    open_tiny(&r, 0xf, HD_ACTIVATIONS_Q8);
    cr_assert_eq(rig_own_heads(&r, 0x7, &need_both, &report), 0); /* head 3 is surplus now */
    hd_kv_report_deinit(&report);
    flip_kv(&r, (struct hd_kv_at){1, 0, 3}, 5);
    flip_weights(r.node, (struct hd_shard_unit){HD_UNIT_HEAD, 3}, 1, 2);
    hd_node_hold(r.node, &need_both);
    rig_slices(&r);
    cr_assert_not(hd_shard_has(r.node->shard, (struct hd_shard_unit){HD_UNIT_HEAD, 3}, 1));
    cr_assert_eq(n_found, 1);
    cr_assert_eq(found[0].kind, HD_DAMAGE_WEIGHTS);
    cr_assert_eq(found[0].layer, 1);
    while (dropped(&r) > 0)
        slice(r.node);
    cr_assert_eq(n_found, 2);
    cr_assert_eq(found[1].kind, HD_DAMAGE_KV);
    cr_assert_eq(found[1].sequence, 1);
    rig_close(&r);
}

Test(scrub, without_rounds_nothing_that_goes_is_kept)
{
    struct rig r;
    open_tiny(&r, 0xf, HD_ACTIVATIONS_Q8);
    r.node->sizes.scrub_s = 0;
    hd_scrub_begin(r.node, now_us);
    flip_kv(&r, (struct hd_kv_at){0, 2, 1}, 70);
    hd_node_drop(r.node, 0);
    cr_assert_eq(dropped(&r), 0);
    cr_assert_eq(hd_scrub_at(r.node), UINT64_MAX);
    cr_assert_eq(n_found, 0);
    rig_close(&r);
}

/* A row may be looked at first of all in one round and last of all in the next. */
Test(scrub, two_visits_of_a_row_are_never_further_apart_than_scrub_s)
{
    struct rig r;
    open_tiny(&r, 0xf, HD_ACTIVATIONS_Q8);
    hd_node_drop(r.node, 0);
    struct hd_kv_at at = {1, 0, 0};
    uint64_t last = now_us;
    for (int i = 0; i < 6; i++) {
        while (*hd_kv_seen_us(r.node->kv, at, 0) <= last)
            slice(r.node);
        uint64_t seen = *hd_kv_seen_us(r.node->kv, at, 0);
        cr_assert_leq(seen - last, 2 * ROUND_S * 1000000u);
        last = seen;
        if (i % 2) /* what lies before it comes and goes */
            hd_node_drop(r.node, 0);
        else
            rig_feed(&r, (struct rig_feed){0, LAYERS, 0, N0});
    }
    cr_assert_eq(n_found, 0);
    rig_close(&r);
}

Test(scrub, what_lies_behind_the_last_row_is_nothing)
{
    struct rig r;
    open_tiny(&r, 0xf, HD_ACTIVATIONS_Q8);
    flip_kv(&r, (struct hd_kv_at){0, 0, 0}, N0);
    whole_round(r.node);
    cr_assert_eq(n_found, 0);
    rig_close(&r);
}

Test(scrub, rows_of_a_held_head_come_back_beside_the_steps)
{
    struct rig r, other;
    open_tiny(&other, 0xf, HD_ACTIVATIONS_Q8);
    open_tiny(&r, 0x7, HD_ACTIVATIONS_Q8);
    struct hd_assignment a = need_both;
    uint32_t head = 3;
    a.hold[HD_UNIT_HEAD] = (struct hd_unit_list){&head, 1};
    hd_node_hold(r.node, &a);
    cr_assert_eq(rig_slices(&r), HD_HOLD_IDLE);
    flip_kv(&r, (struct hd_kv_at){0, 2, 3}, 20);
    whole_round(r.node);
    cr_assert_eq(n_found, 1);
    cr_assert_eq(hd_kv_valid(r.node->kv, (struct hd_kv_at){0, 2, 3}), 20);
    cr_assert(hd_hold_pending(r.node));
    cr_assert_eq(rig_slices(&r), HD_HOLD_IDLE);
    expect_lanes(&r, &other, 0xf);
    rig_close(&r);
    rig_close(&other);
}

Test(scrub, without_a_log_the_sequence_is_to_be_replayed)
{
    struct rig r;
    struct rig_rows rows;
    struct hd_half_output out;
    struct hd_error err = {0};
    open_tiny(&r, 0xf, HD_ACTIVATIONS_Q8);
    hd_input_log_drop(r.node->input_log, 0);
    flip_kv(&r, (struct hd_kv_at){0, 2, 1}, 20);
    whole_round(r.node);
    cr_assert_eq(n_found, 1);
    cr_assert(found->replay);
    cr_assert_not(found->repaired);
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
    open_tiny(&r, 0xf, HD_ACTIVATIONS_Q8);
    flip_kv(&r, (struct hd_kv_at){0, 2, 1}, 20);
    flip_log(&r, (struct hd_log_at){0, 2, 70});
    whole_round(r.node);
    cr_assert_eq(n_found, 2);
    cr_assert_eq(found[0].kind, HD_DAMAGE_LOG, "seen when it was to be used");
    cr_assert_eq(found[1].kind, HD_DAMAGE_KV);
    cr_assert(found[1].replay);
    rig_close(&r);
}

/* ---- The log ----*/

/* Puts a row where it was. */
static void append_again(struct rig *r, struct hd_log_at at)
{
    struct hd_error err;
    float *x = rig_random(RIG_POSITIONS, r->model->shape.dim, 100 * (at.sequence + 1) + at.layer);
    uint8_t *rows = rig_encode(r, x, RIG_POSITIONS);
    cr_assert_eq(hd_input_log_append(r->node->input_log, at,
                                     rows + at.position * hd_node_row_bytes(r->node), &err),
                 HD_LOG_KEPT);
    free(rows);
    free(x);
}

Test(scrub, a_row_of_the_log_is_cut_out_and_the_log_can_be_filled)
{
    struct rig r;
    open_tiny(&r, 0xf, HD_ACTIVATIONS_Q8);
    struct hd_log_at at = {0, 3, 65};
    flip_log(&r, at);
    whole_round(r.node);
    cr_assert_eq(n_found, 1);
    cr_assert_eq(found->kind, HD_DAMAGE_LOG);
    cr_assert_eq(found->layer, 3);
    cr_assert_eq(found->sequence, 0);
    cr_assert_eq(hd_input_log_count(r.node->input_log, 0, 3), 65);
    cr_assert_eq(hd_input_log_tail(r.node->input_log, 0, 3), 66);
    rig_feed(&r, (struct rig_feed){0, LAYERS, N0, N0 + 2});
    append_again(&r, at);
    cr_assert_eq(hd_input_log_count(r.node->input_log, 0, 3), N0 + 2);
    whole_round(r.node);
    cr_assert_eq(n_found, 1);
    rig_close(&r);
}

Test(scrub, damage_in_the_log_does_not_get_into_a_rebuild)
{
    struct rig r, other;
    struct hd_kv_report report;
    open_tiny(&other, 0xf, HD_ACTIVATIONS_Q8);
    open_tiny(&r, 0x3, HD_ACTIVATIONS_Q8);
    flip_log(&r, (struct hd_log_at){0, 1, 70});
    flip_log(&r, (struct hd_log_at){0, 1, 30});
    cr_assert_eq(rig_own_heads(&r, 0xf, &need_both, &report), 0);
    cr_assert_eq(report.n_gaps, 1);
    cr_assert_eq(report.gaps[0], 0);
    cr_assert_eq(report.rows_rebuilt, LAYERS * N1 * 2);
    cr_assert_eq(report.rows_kept, LAYERS * N1 * 2);
    cr_assert_eq(report.positions, N1);
    hd_kv_report_deinit(&report);
    cr_assert_eq(n_found, 2, "each row once, whichever heads need it");
    for (uint32_t l = 0; l < LAYERS; l++)
        rig_expect_same_lane(&r, &other, (struct hd_kv_at){1, l, 3}, N1);
    rig_close(&r);
    rig_close(&other);
}

Test(scrub, damage_in_the_log_does_not_get_into_a_held_head)
{
    struct rig r, other;
    struct hd_kv_report report;
    open_tiny(&other, 0xf, HD_ACTIVATIONS_Q8);
    open_tiny(&r, 0x7, HD_ACTIVATIONS_Q8);
    struct hd_assignment a = need_both;
    struct hd_log_at at = {0, 1, 70};
    uint32_t head = 3;
    a.hold[HD_UNIT_HEAD] = (struct hd_unit_list){&head, 1};
    a.round = 9;
    hd_node_hold(r.node, &a);
    flip_log(&r, at);
    cr_assert_eq(rig_slices(&r), HD_HOLD_READY);
    cr_assert_eq(hd_hold_report(r.node, &report), 0);
    cr_assert_eq(report.n_gaps, 1);
    hd_kv_report_deinit(&report);
    cr_assert_eq(n_found, 1);
    cr_assert_leq(hd_kv_valid(r.node->kv, (struct hd_kv_at){0, 1, 3}), 70);
    append_again(&r, at);
    hd_hold_behind(r.node, 1);
    cr_assert_eq(rig_slices(&r), HD_HOLD_IDLE);
    expect_lanes(&r, &other, 0xf);
    rig_close(&r);
    rig_close(&other);
}

Test(scrub, damage_in_the_log_does_not_get_to_another_worker)
{
    struct rig r;
    open_tiny(&r, 0xf, HD_ACTIVATIONS_Q8);
    flip_log(&r, (struct hd_log_at){0, 2, 50});
    Hydac__V1__Fetch fetch = HYDAC__V1__FETCH__INIT;
    fetch.layer = 2;
    fetch.position = 40;
    fetch.count = 30;
    struct hd_reply *reply = hd_reply_new(1);
    cr_assert_eq(hd_reply_rows(reply, &fetch, r.node), 0);
    const Hydac__V1__Rows *m = (const Hydac__V1__Rows *)reply->message;
    cr_assert_eq(m->count, 10);
    cr_assert_eq(hd_shared_len(reply->payload), 10 * hd_node_row_bytes(r.node));
    cr_assert_eq(n_found, 1);
    hd_reply_free(reply);
    fetch.position = 50;
    reply = hd_reply_new(1);
    cr_assert_eq(hd_reply_rows(reply, &fetch, r.node), 0);
    cr_assert_eq(((const Hydac__V1__Rows *)reply->message)->count, 0);
    cr_assert_eq(n_found, 1);
    hd_reply_free(reply);
    rig_close(&r);
}

/* ---- Tables ----*/

Test(scrub, angles_are_computed_again)
{
    struct rig r;
    open_tiny(&r, 0xf, HD_ACTIVATIONS_Q8);
    struct hd_rope_table *t = hd_compute_angles(hd_cpu_compute(r.device));
    float *cs = (float *)hd_rope_table_at(t, 70, 0), was = cs[3];
    cs[3] += 0.25f;
    whole_round(r.node);
    cr_assert_eq(n_found, 1);
    cr_assert_eq(found->kind, HD_DAMAGE_WEIGHTS);
    cr_assert(found->repaired);
    cr_assert(strstr(found->text, "position 70"), "%s", found->text);
    cr_assert_eq(cs[3], was);
    rig_close(&r);
}

Test(scrub, a_damaged_list_of_units_ends_the_session)
{
    struct rig r;
    struct hd_error err = {0};
    open_tiny(&r, 0xf, HD_ACTIVATIONS_Q8);
    ((uint32_t *)hd_shard_owned(r.node->shard, HD_UNIT_FFN).list)[1] ^= 1;
    now_us = hd_scrub_at(r.node);
    cr_assert_eq(hd_scrub_slice(r.node, now_us, &err), HD_E_STATE);
    cr_assert_eq(n_found, 1);
    cr_assert_not(found->repaired);
    rig_close(&r);
}

/* ---- Rounds ----*/

/* The time of one round when something else is done for up to `busy_us` between two looks at the
 * clock, and whether one was ever early. */
static uint64_t round_time(struct rig *r, uint64_t busy_us)
{
    whole_round(r->node);
    uint64_t begin = now_us, end = rounds(r->node) + 1;
    struct hd_error err = {0};
    while (rounds(r->node) < end) {
        now_us += busy_us;
        if (now_us >= hd_scrub_at(r->node))
            cr_assert_eq(hd_scrub_slice(r->node, now_us, &err), HD_SCRUB_WHOLE);
    }
    return now_us - begin;
}

Test(scrub, rounds_end_in_time_however_busy_the_worker_is)
{
    static const uint64_t busy_us[] = {50, 1000, 20000, 150000, 400000};
    struct rig r;
    open_tiny(&r, 0xf, HD_ACTIVATIONS_Q8);
    for (size_t i = 0; i < sizeof busy_us / sizeof *busy_us; i++) {
        uint64_t took = round_time(&r, busy_us[i]);
        cr_assert_leq(took, ROUND_S * 1100000u, "busy for %u us: %u", (unsigned)busy_us[i],
                      (unsigned)took);
        cr_assert_geq(took, ROUND_S * 500000u, "busy for %u us: %u", (unsigned)busy_us[i],
                      (unsigned)took);
    }
    rig_close(&r);
}

Test(scrub, a_standstill_is_made_up_for_without_a_rush)
{
    struct rig r;
    struct hd_error err = {0};
    open_tiny(&r, 0xf, HD_ACTIVATIONS_Q8);
    whole_round(r.node);
    slice(r.node);
    uint64_t period = hd_scrub_at(r.node) - now_us, end = rounds(r.node) + 1;
    now_us += ROUND_S * 500000u;
    uint64_t begin = now_us;
    while (rounds(r.node) < end) {
        cr_assert_eq(hd_scrub_slice(r.node, now_us, &err), HD_SCRUB_WHOLE);
        cr_assert_geq(hd_scrub_at(r.node) - now_us, period / 2);
        now_us = hd_scrub_at(r.node);
    }
    cr_assert_leq(now_us - begin, ROUND_S * 600000u);
    rig_close(&r);
}

Test(scrub, rounds_that_found_nothing_are_counted_apart)
{
    struct rig r;
    struct hd_scrub_totals t;
    open_tiny(&r, 0xf, HD_ACTIVATIONS_Q8);
    uint64_t began_us = now_us;
    whole_round(r.node);
    hd_scrub_totals(r.node, &t);
    cr_assert_eq(t.rounds, 2);
    cr_assert_eq(t.clean_began_us, began_us);
    flip_kv(&r, (struct hd_kv_at){0, 2, 1}, 20);
    whole_round(r.node);
    hd_scrub_totals(r.node, &t);
    cr_assert_eq(t.rounds, 3);
    cr_assert_eq(t.clean_began_us, began_us);
    r.node->sizes.scrub_s = 0;
    hd_scrub_begin(r.node, now_us);
    cr_assert_eq(hd_scrub_at(r.node), UINT64_MAX, "0: never");
    rig_close(&r);
}

Test(scrub, sequences_may_go_while_a_round_is_with_them)
{
    struct rig r;
    open_tiny(&r, 0xf, HD_ACTIVATIONS_Q8);
    for (int i = 0; i < 60; i++) {
        slice(r.node);
        hd_node_drop(r.node, (uint32_t)i % 2);
        slice(r.node);
        rig_feed(&r, (struct rig_feed){(uint32_t)i % 2, LAYERS, 0, 20 + (uint32_t)i});
    }
    hd_node_forget(r.node);
    whole_round(r.node);
    hd_node_leave(r.node);
    whole_round(r.node);
    cr_assert_eq(n_found, 0);
    rig_close(&r);
}
