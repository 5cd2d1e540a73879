/* Taking over heads: the rebuilt K/V is the lost K/V bit for bit, and nothing else is touched. */
#include "rig.h"
#include "worker/cpu/kv.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { N0 = 90, N1 = 33, LAYERS = 4, HEADS = 4 };

static void feed(struct rig *r, uint32_t layers, uint32_t first, uint32_t end0)
{
    rig_feed(r, (struct rig_feed){0, layers, first, end0});
    if (first == 0)
        rig_feed(r, (struct rig_feed){1, layers, 0, N1});
}

static void open_tiny(struct rig *r, uint64_t heads, unsigned threads,
                      enum hd_activations activations)
{
    struct hd_kv_report report;
    struct rig_options o = {.shape = "tiny",
                            .type = HD_Q4_0,
                            .kv = HD_KV_F16,
                            .activations = activations,
                            .threads = threads};
    rig_open(r, &o);
    cr_assert_eq(rig_own_heads(r, heads, &(struct hd_assignment){0}, &report), 0);
    hd_kv_report_deinit(&report);
}

static const struct hd_sequence_need both[] = {{.sequence = 0, .base = N0},
                                               {.sequence = 1, .base = N1}};

/* What it says of these rows; 0: nothing. */
static uint64_t digest_of(const struct hd_kv_report *r, uint32_t sequence, uint32_t head)
{
    uint64_t digest = 0;
    for (size_t i = 0; i < r->n_digests; i++) {
        if (r->digests[i].sequence != sequence || r->digests[i].head != head)
            continue;
        cr_assert_eq(digest, 0, "once");
        digest = r->digests[i].digest;
    }
    return digest;
}

RIG_TEST(rebuild, every_head_comes_back_bit_for_bit)
{
    struct rig all, other;
    struct hd_kv_report has;
    open_tiny(&all, 0xf, 1, *activations);
    feed(&all, LAYERS, 0, N0);
    struct hd_assignment need_all = {.needs = both, .n_needs = 2, .layers_done = {LAYERS}};
    cr_assert_eq(rig_own_heads(&all, 0x1, &need_all, &has), 0);
    cr_assert_eq(has.n_digests, 2 * HEADS, "of heads that are left over, too");
    for (uint32_t h = 0; h < HEADS; h++) {
        struct hd_kv_report report;
        open_tiny(&other, 0xf & ~(1u << h), 1 + h % 3, *activations);
        feed(&other, LAYERS, 0, N0);
        struct hd_assignment need = {.needs = both, .n_needs = 2, .layers_done = {LAYERS}};
        cr_assert_eq(rig_own_heads(&other, 0xf, &need, &report), 0);
        cr_assert_eq(report.n_heads, 1);
        cr_assert_eq(report.heads[0], h);
        cr_assert_eq(report.n_gaps, 0);
        cr_assert_eq(report.rows_rebuilt, LAYERS * (N0 + N1));
        cr_assert_eq(report.rows_kept, LAYERS * (N0 + N1) * (HEADS - 1));
        cr_assert_eq(report.positions, N0 + N1);
        cr_assert_eq(report.bytes, report.rows_rebuilt * 2 * 32 * sizeof(uint16_t));
        cr_assert_eq(report.flops, report.rows_rebuilt * 4 * 32 * 256);
        for (uint32_t l = 0; l < LAYERS; l++) {
            rig_expect_same_lane(&all, &other, (struct hd_kv_at){0, l, h}, N0);
            rig_expect_same_lane(&all, &other, (struct hd_kv_at){1, l, h}, N1);
            cr_assert_eq(hd_kv_counters(other.node->kv, l, h)->rebuilt, N0 + N1);
            cr_assert_eq(hd_kv_counters(other.node->kv, l, h)->misses, 0);
            cr_assert_eq(hd_kv_counters(other.node->kv, l, (h + 1) % HEADS)->rebuilt, 0);
        }
        for (uint32_t i = 0; i < HEADS; i++)
            for (uint32_t s = 0; s < 2; s++) {
                cr_assert_neq(digest_of(&has, s, i), 0);
                cr_assert_eq(digest_of(&report, s, i), digest_of(&has, s, i));
                cr_assert_neq(digest_of(&has, s, i), digest_of(&has, s, (i + 1) % HEADS));
            }
        hd_kv_report_deinit(&report);
        rig_close(&other);
    }
    hd_kv_report_deinit(&has);
    rig_close(&all);
}

RIG_TEST(rebuild, the_digests_do_not_depend_on_threads_or_on_what_is_owned_beside)
{
    struct rig a, b;
    struct hd_kv_report ra, rb;
    open_tiny(&a, 0, 1, *activations);
    open_tiny(&b, 0x2, 3, *activations);
    feed(&a, LAYERS, 0, N0);
    feed(&b, LAYERS, 0, N0);
    struct hd_assignment need = {.needs = both, .n_needs = 2, .layers_done = {LAYERS}};
    cr_assert_eq(rig_own_heads(&a, 0x5, &need, &ra), 0);
    cr_assert_eq(rig_own_heads(&b, 0x7, &need, &rb), 0);
    for (uint32_t s = 0; s < 2; s++) {
        cr_assert_eq(digest_of(&ra, s, 0), digest_of(&rb, s, 0));
        cr_assert_eq(digest_of(&ra, s, 2), digest_of(&rb, s, 2));
        cr_assert_eq(digest_of(&ra, s, 1), 0);
        cr_assert_neq(digest_of(&rb, s, 1), 0);
    }
    cr_assert_eq(ra.rows_rebuilt, 2 * LAYERS * (N0 + N1));
    cr_assert_eq(ra.rows_kept, 0);
    hd_kv_report_deinit(&ra);
    hd_kv_report_deinit(&rb);
    rig_close(&a);
    rig_close(&b);
}

/* They are of what is needed alone, and of rows as they were computed: one that is wrong shows. */
RIG_TEST(rebuild, the_digests_are_of_the_rows_that_are_needed)
{
    struct rig a, b;
    struct hd_kv_report ra, rb;
    struct hd_sequence_need swapped[] = {both[1], both[0]}, less[] = {both[0], both[1]};
    less[1].base = N1 - 1;
    open_tiny(&a, 0x7, 1, *activations);
    open_tiny(&b, 0x7, 3, *activations);
    feed(&a, LAYERS, 0, N0);
    feed(&b, LAYERS, 0, N0 + 3); /* of sequence 0 it has more */
    struct hd_assignment need = {.needs = both, .n_needs = 2, .layers_done = {LAYERS}};
    cr_assert_eq(rig_own_heads(&a, 0x7, &need, &ra), 0);
    need.needs = swapped;
    struct hd_kv_at wrong = {1, LAYERS - 1, 2};
    struct hd_cpu_kv *kv = hd_cpu_kv(hd_kv_memory(b.node->kv));
    ((uint8_t *)hd_cpu_kv_k(kv, wrong, N1 - 1))[1] ^= 1;
    hd_cpu_kv_seal(kv, wrong, N1 - 1); /* computed so */
    cr_assert_eq(rig_own_heads(&b, 0x7, &need, &rb), 0);
    for (uint32_t h = 0; h < 3; h++) {
        cr_assert_eq(digest_of(&ra, 0, h), digest_of(&rb, 0, h));
        cr_assert_eq(digest_of(&ra, 1, h) == digest_of(&rb, 1, h), h != 2);
    }
    hd_kv_report_deinit(&ra);
    hd_kv_report_deinit(&rb);
    need.needs = less;
    cr_assert_eq(rig_own_heads(&a, 0x7, &need, &ra), 0);
    cr_assert_eq(rig_own_heads(&b, 0x7, &need, &rb), 0);
    cr_assert_eq(digest_of(&ra, 1, 2), digest_of(&rb, 1, 2), "what is not needed is not in it");
    hd_kv_report_deinit(&ra);
    hd_kv_report_deinit(&rb);
    rig_close(&a);
    rig_close(&b);
}

RIG_TEST(rebuild, the_interrupted_step_is_needed_in_the_finished_layers_only)
{
    struct rig r;
    struct hd_kv_report report;
    open_tiny(&r, 0x1, 2, *activations);
    feed(&r, LAYERS, 0, N0);
    feed(&r, 3, N0,
         N0 + 1); /* layers 0 and 1 were finished; layer 2 was sent, not answered by all */
    struct hd_sequence_need needs[] = {{.sequence = 0, .base = N0, .inflight = {1}},
                                       {.sequence = 1, .base = N1}};
    struct hd_assignment need = {.needs = needs, .n_needs = 2, .layers_done = {2}};
    cr_assert_eq(rig_own_heads(&r, 0x3, &need, &report), 0);
    cr_assert_eq(report.n_gaps, 0);
    cr_assert_eq(report.rows_rebuilt, LAYERS * (N0 + N1) + 2);
    for (uint32_t l = 0; l < LAYERS; l++) {
        cr_assert_eq(hd_kv_valid(r.node->kv, (struct hd_kv_at){0, l, 1}), N0 + (l < 2));
        cr_assert_eq(hd_kv_valid(r.node->kv, (struct hd_kv_at){0, l, 0}), N0 + (l < 3),
                     "rows ahead stay: they are the retry's hits");
    }
    hd_kv_report_deinit(&report);
    /* Saying it again changes nothing. */
    cr_assert_eq(rig_own_heads(&r, 0x3, &need, &report), 0);
    cr_assert_eq(report.rows_rebuilt, 0);
    cr_assert_eq(report.n_heads, 0);
    hd_kv_report_deinit(&report);
    rig_close(&r);
}

/* Two groups of rows: the first was a layer ahead, and the sequence was cut between them. */
RIG_TEST(rebuild, each_group_of_the_interrupted_step_is_needed_in_its_own_layers)
{
    struct rig r;
    struct hd_kv_report report;
    open_tiny(&r, 0x1, 2, *activations);
    feed(&r, LAYERS, 0, N0);
    feed(&r, 3, N0, N0 + 2);     /* layers 0 to 2 */
    feed(&r, 2, N0 + 2, N0 + 5); /* layers 0 and 1 */
    struct hd_sequence_need needs[] = {{.sequence = 0, .base = N0, .inflight = {2, 3}},
                                       {.sequence = 1, .base = N1, .inflight = {0, 0}}};
    struct hd_assignment need = {.needs = needs, .n_needs = 2, .layers_done = {3, 2}};
    cr_assert_eq(rig_own_heads(&r, 0x3, &need, &report), 0);
    cr_assert_eq(report.n_gaps, 0);
    cr_assert_eq(report.rows_rebuilt, LAYERS * (N0 + N1) + 5 + 5 + 2);
    for (uint32_t l = 0; l < LAYERS; l++)
        for (uint32_t h = 0; h < 2; h++)
            cr_assert_eq(hd_kv_valid(r.node->kv, (struct hd_kv_at){0, l, h}), N0 + (l < 2    ? 5
                                                                                    : l == 2 ? 2
                                                                                             : 0));
    hd_kv_report_deinit(&report);
    /* The log does not have the second group's rows in that layer. */
    need.layers_done[1] = 3;
    cr_assert_eq(rig_own_heads(&r, 0x7, &need, &report), 0);
    cr_assert_eq(report.n_gaps, 1);
    hd_kv_report_deinit(&report);
    rig_close(&r);
}

RIG_TEST(rebuild, a_log_that_began_late_is_a_gap_and_the_replay_fills_it)
{
    struct rig r;
    struct hd_kv_report report;
    open_tiny(&r, 0x0, 1, *activations);
    feed(&r, LAYERS, 40, N0); /* only sequence 0, from its position 40 on: no prefix */
    struct hd_assignment need = {.needs = both, .n_needs = 1, .layers_done = {LAYERS}};
    cr_assert_eq(rig_own_heads(&r, 0x1, &need, &report), 0);
    cr_assert_eq(report.n_gaps, 1);
    cr_assert_eq(report.gaps[0], 0);
    cr_assert_eq(report.rows_rebuilt, 0);
    hd_kv_report_deinit(&report);
    struct hd_sequence_need replayed = {.sequence = 0, .base = N0, .replayed = true};
    need.needs = &replayed;
    cr_assert_eq(rig_own_heads(&r, 0x1, &need, &report), 0);
    cr_assert_eq(report.n_gaps, 0);
    cr_assert_eq(report.positions, 0);
    hd_kv_report_deinit(&report);
    feed(&r, LAYERS, 0, N0);
    cr_assert_eq(hd_kv_valid(r.node->kv, (struct hd_kv_at){0, 3, 0}), N0);
    cr_assert_eq(hd_input_log_count(r.node->input_log, 0, 3), N0);
    rig_close(&r);
}

RIG_TEST(rebuild, clear_forgets_everything_and_a_lost_head_frees_its_rows)
{
    struct rig r;
    struct hd_kv_report report;
    open_tiny(&r, 0xf, 1, *activations);
    feed(&r, LAYERS, 0, N0);
    uint64_t kv = hd_kv_bytes(r.node->kv), weights = hd_shard_bytes(r.node->shard);
    struct hd_assignment need = {.needs = both, .n_needs = 2, .layers_done = {LAYERS}};
    cr_assert_eq(rig_own_heads(&r, 0x7, &need, &report), 0);
    cr_assert_eq(report.rows_rebuilt, 0);
    cr_assert_eq(report.rows_kept, 3 * LAYERS * (N0 + N1));
    hd_kv_report_deinit(&report);
    cr_assert_eq(hd_kv_bytes(r.node->kv), kv, "an assignment does not wait for this");
    cr_assert_eq(rig_slices(&r), HD_HOLD_IDLE);
    cr_assert_eq(hd_kv_bytes(r.node->kv), kv / 4 * 3);
    cr_assert_lt(hd_shard_bytes(r.node->shard), weights);
    need = (struct hd_assignment){.clear = true};
    cr_assert_eq(rig_own_heads(&r, 0x7, &need, &report), 0);
    hd_kv_report_deinit(&report);
    cr_assert_eq(hd_kv_bytes(r.node->kv), 0);
    cr_assert_eq(hd_input_log_bytes(r.node->input_log), 0);
    rig_close(&r);
}
