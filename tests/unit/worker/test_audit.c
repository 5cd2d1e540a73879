/* Audits: another node comes to the very bits that the audited one has answered, and to others when
 * one of the two is wrong. */
#include "common/net/answer_digest.h"
#include "audit_rig.h"
#include "supply_rig.h"
#include "worker/trust/audit.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SECOND = 33, CUT = 20, DECODE = 3, WIDE_ROW = 4, BAD_ROW = 21 };

/* ---- Half-steps ----*/

static void expect_equal(struct audit_rig *c, const struct hd_half_step *step, uint64_t digest)
{
    for (int fresh = 0; fresh < 2; fresh++) {
        struct hd_audit_answer a = audit_now(c, step, fresh);
        cr_assert_not(a.cannot, "%s", a.why.text);
        cr_assert_eq(a.digest, digest, "half %d, layer %u, %zu rows%s", (int)step->units,
                     step->layer, step->rows.n, fresh ? ", fresh" : "");
    }
}

/* All halves of a step, in the first and the last layer, as steps and as audits of them. */
static void step_and_audit(struct audit_rig *c, struct rig_rows *rows, uint64_t seed)
{
    uint32_t layers = c->worker.model->shape.n_layers;
    float *x = rig_random(rows->n, c->worker.model->shape.dim, seed);
    rows->x = x;
    if (rows->n > BAD_ROW) {
        x[BAD_ROW * c->worker.model->shape.dim + 5] = NAN;
        rows->shifts[WIDE_ROW] += 20;
    }
    for (uint32_t l = 0; l < layers; l++) {
        for (int kind = HD_UNIT_HEAD; kind <= HD_UNIT_FFN; kind++) {
            struct hd_half_step step = audit_half_step(c, rows, (enum hd_unit_kind)kind, l);
            uint64_t digest = audit_step_digest(c, &step);
            if (l % (layers - 1) == 0)
                expect_equal(c, &step, digest);
        }
    }
    struct hd_half_step step = audit_half_step(c, rows, HD_UNIT_VOCAB, 0);
    expect_equal(c, &step, audit_step_digest(c, &step));
    free(x);
}

/* A prompt of one sequence; one of another that comes in two groups; then both go on. */
static void converse(struct audit_rig *c)
{
    struct rig_rows rows;
    rig_rows_of(&rows, 0, 0, PROMPT, NULL);
    rows.want[3] = 5;
    rows.temperatures[1] = 0.7f;
    rows.temperatures[3] = 1;
    step_and_audit(c, &rows, 1);
    rig_rows_of(&rows, 1, 0, CUT, NULL);
    step_and_audit(c, &rows, 2);
    rig_rows_of(&rows, 1, CUT, SECOND - CUT, NULL);
    step_and_audit(c, &rows, 3);
    for (uint32_t i = 0; i < DECODE; i++) {
        rig_rows_of(&rows, 0, PROMPT + i, 1, NULL);
        rows.n = 2;
        rows.sequences[1] = 1;
        rows.positions[1] = SECOND + i;
        rows.shifts[1] = RIG_SHIFT - 2;
        rows.want[0] = rows.want[1] = 40;
        rows.temperatures[1] = 0;
        step_and_audit(c, &rows, 4 + i);
    }
}

struct kind_of_cluster {
    struct rig_options o;
    enum audit_overlap overlap;
};
#define KIND(name, t, cache, act, w, n, over)                                                      \
    {                                                                                              \
        {.shape = name,                                                                            \
         .type = HD_##t,                                                                           \
         .kv = HD_KV_##cache,                                                                      \
         .activations = HD_ACTIVATIONS_##act,                                                      \
         .wire = HD_WIRE_##w,                                                                      \
         .threads = n},                                                                            \
            over                                                                                   \
    }
static const struct kind_of_cluster kinds[] = {
    KIND("tiny", Q4_0, F16, F32, EXACT, 1, NOTHING),
    KIND("tiny", Q4_0, F16, Q8, EXACT, 3, NOTHING),
    KIND("tiny", Q4_0, F32, Q8, COMPACT, 2, NOTHING),
    KIND("tiny", Q8_0, F16, Q8, EXACT, 1, ALL_OWNED),
    KIND("tiny", Q4_1, F16, Q8, EXACT, 1, SOME_OWNED),
    KIND("tiny", Q4_0, F16, Q8, COMPACT, 1, ALL_HELD),
    KIND("tiny-mha", F16, F32, F32, EXACT, 2, NOTHING),
    KIND("tiny-mha", BF16, F16, F32, COMPACT, 1, SOME_OWNED),
    KIND("tiny-mha", F32, F16, F32, EXACT, 1, ALL_HELD),
    KIND("tiny", Q4_0, F16, Q8, EXACT, 2, HEADS_BARE),
    KIND("tiny-gqa3", Q8_0, F16, Q8, COMPACT, 3, SOME_OWNED),
    KIND("tiny-gqa3", Q4_0, F32, F32, COMPACT, 1, NOTHING),
};
enum { KINDS = sizeof kinds / sizeof *kinds };

ParameterizedTestParameters(audit, the_digest_is_that_of_the_answer)
{
    static size_t numbers[KINDS];
    for (size_t i = 0; i < KINDS; i++)
        numbers[i] = i;
    return cr_make_param_array(size_t, numbers, KINDS);
}

ParameterizedTest(size_t *kind, audit, the_digest_is_that_of_the_answer, .timeout = 120)
{
    struct audit_rig c;
    audit_open(&c, kinds[*kind].o, kinds[*kind].overlap);
    converse(&c);
    audit_close(&c);
}

/* ---- Steps as they really come: the audit is done when more has been computed ----*/

RIG_TEST(audit, rows_that_came_later_do_not_matter_and_steps_are_not_disturbed)
{
    struct audit_rig c, alone;
    struct rig_rows rows, later;
    audit_open_tiny(&c, SOME_OWNED, *activations);
    audit_open_tiny(&alone, SOME_OWNED, *activations);
    for (uint32_t l = 0; l < 2; l++) {
        uint64_t digest = audit_attend(&c, &rows, l, 0, PROMPT);
        audit_attend(&alone, &later, l, 0, PROMPT);
        struct hd_half_step step = audit_same_step(&c, &rows, l);
        audit_order(&c, &step, false);
        audit_order(&c, &step, true);
        struct hd_audit_answer a;
        cr_assert_eq(hd_audit_slice(c.auditor.node, &a), HD_AUDIT_WORKED);
        for (uint32_t p = PROMPT; p < PROMPT + 5; p++)
            cr_assert_eq(audit_attend(&c, &later, l, p, 1), audit_attend(&alone, &rows, l, p, 1));
        for (int i = 0; i < 2; i++) {
            audit_finish(&c, &a);
            cr_assert_eq(a.digest, digest);
        }
        for (uint32_t h = 0; h < c.auditor.units.heads; h++) {
            const struct hd_kv_counters *with = hd_kv_counters(c.auditor.node->kv, l, h);
            const struct hd_kv_counters *without = hd_kv_counters(alone.auditor.node->kv, l, h);
            cr_assert_eq(with->hits, without->hits);
            cr_assert_eq(with->misses, without->misses);
            cr_assert_eq(with->rebuilt, without->rebuilt);
        }
    }
    audit_close(&alone);
    audit_close(&c);
}

RIG_TEST(audit, a_large_batch_is_computed_in_small_slices)
{
    struct audit_rig c;
    struct rig_rows rows;
    struct hd_audit_answer a;
    audit_open_tiny(&c, ALL_OWNED, *activations);
    uint64_t digest = audit_attend(&c, &rows, 0, 0, RIG_ROWS);
    struct hd_half_step step = audit_same_step(&c, &rows, 0);
    audit_order(&c, &step, false);
    cr_assert_eq(audit_finish(&c, &a), RIG_ROWS / HD_AUDIT_ROWS);
    cr_assert_eq(a.digest, digest);
    audit_close(&c);
}

/* ---- What is found ----*/

/* One bit of a unit's weights or of a K/V row in a node's memory. */
static void flip(const void *at)
{
    *(uint8_t *)(uintptr_t)at ^= 0x10;
}

static struct hd_half_step spoilt_step(struct audit_rig *c, struct rig_rows *rows, uint64_t *digest,
                                       struct rig *spoilt)
{
    uint32_t head = hd_shard_owned(c->worker.node->shard, HD_UNIT_HEAD).list[0];
    audit_attend(c, rows, 0, 0, PROMPT);
    flip(hd_cpu_head(hd_cpu_weights(hd_shard_memory(spoilt->node->shard)), head, 0)->o.data + 200);
    flip(hd_cpu_kv_v(hd_cpu_kv(hd_kv_memory(spoilt->node->kv)), (struct hd_kv_at){0, 0, head},
                     PROMPT / 2));
    *digest = audit_attend(c, rows, 0, PROMPT, 1);
    return audit_same_step(c, rows, 0);
}

RIG_TEST(audit, wrong_weights_and_rows_of_the_audited_worker_are_found)
{
    struct audit_rig c;
    struct rig_rows rows;
    uint64_t digest;
    audit_open_tiny(&c, NOTHING, *activations);
    struct hd_half_step step = spoilt_step(&c, &rows, &digest, &c.worker);
    struct hd_audit_answer a = audit_now(&c, &step, false), fresh = audit_now(&c, &step, true);
    cr_assert_neq(a.digest, digest);
    cr_assert_eq(a.digest, fresh.digest);
    audit_close(&c);
}

/* `fresh` is right though all that the auditor has at hand is wrong; and it leaves nothing. */
RIG_TEST(audit, a_fresh_one_uses_nothing_that_was_there)
{
    struct audit_rig c;
    struct rig_rows rows;
    uint64_t digest;
    audit_open_tiny(&c, ALL_OWNED, *activations);
    struct hd_half_step step = spoilt_step(&c, &rows, &digest, &c.auditor);
    uint64_t weights = hd_node_weight_bytes(c.auditor.node), kv = hd_node_kv_bytes(c.auditor.node);
    struct hd_audit_answer a = audit_now(&c, &step, false);
    cr_assert_neq(a.digest, digest);
    audit_order(&c, &step, true);
    cr_assert_eq(hd_audit_slice(c.auditor.node, &a), HD_AUDIT_WORKED);
    cr_assert_gt(hd_node_weight_bytes(c.auditor.node), weights);
    audit_finish(&c, &a);
    cr_assert_eq(a.digest, digest);
    cr_assert_eq(hd_node_weight_bytes(c.auditor.node), weights);
    cr_assert_eq(hd_node_kv_bytes(c.auditor.node), kv);
    audit_close(&c);
}
