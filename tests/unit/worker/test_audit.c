/* Audits: another node comes to the very bits that the audited one has answered, and to others when
 * one of the two is wrong. */
#include "common/net/answer_digest.h"
#include "rig.h"
#include "supply_rig.h"
#include "worker/trust/audit.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PROMPT = 70, SECOND = 33, CUT = 20, DECODE = 3, WIDE_ROW = 4, BAD_ROW = 21 };

/* What is audited, the auditor, and how much of it is the auditor's own. */
enum overlap { NOTHING, ALL_OWNED, SOME_OWNED, ALL_HELD, OVERLAPS };
struct cluster {
    struct rig worker, auditor;
    uint64_t audited;
    bool late; /* the auditor has seen nothing yet */
};

static uint32_t count_of(const struct rig *r, enum hd_unit_kind kind)
{
    const uint32_t counts[] = {r->units.heads, r->units.ffn_blocks, r->units.vocab_blocks};
    return counts[kind];
}

/* The units of a kind that a node owns, copied: an assignment may change the list. */
struct units {
    uint32_t list[512];
    size_t n;
};
static struct units owned(const struct rig *r, enum hd_unit_kind kind)
{
    struct units u = {.n = hd_shard_owned(r->node->shard, kind).n};
    cr_assert_leq(u.n, 512);
    memcpy(u.list, hd_shard_owned(r->node->shard, kind).list, u.n * sizeof *u.list);
    return u;
}

/* Hold all that there is. */
static void hold_all(struct rig *r)
{
    static uint32_t all[512];
    struct hd_assignment a = {.epoch = 1};
    for (uint32_t i = 0; i < 512; i++)
        all[i] = i;
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        a.hold[k] = (struct hd_unit_list){all, count_of(r, (enum hd_unit_kind)k)};
    hd_node_hold(r->node, &a);
    cr_assert_eq(rig_slices(r), HD_HOLD_IDLE);
}

static void open_cluster(struct cluster *c, struct rig_options o, enum overlap overlap)
{
    char path[128];
    memset(c, 0, sizeof *c);
    rig_open(&c->worker, &o);
    rig_model_path(&c->worker, path, sizeof path);
    o.model = o.model ? o.model : path;
    o.threads = 4 - o.threads;
    rig_open(&c->auditor, &o);
    rig_own_part(&c->worker, 0, 2);
    rig_own_part(&c->auditor, overlap == ALL_OWNED ? 0 : 1, overlap == SOME_OWNED ? 1 : 2);
    if (overlap == ALL_HELD)
        hold_all(&c->auditor);
}

static void open_tiny(struct cluster *c, enum overlap overlap, enum hd_activations activations)
{
    open_cluster(c,
                 (struct rig_options){.shape = "tiny",
                                      .type = HD_Q4_0,
                                      .kv = HD_KV_F16,
                                      .activations = activations,
                                      .threads = 2},
                 overlap);
}

static void close_cluster(struct cluster *c)
{
    rig_close(&c->auditor);
    rig_close(&c->worker);
}

/* ---- Half-steps ----*/

static struct hd_half_output answer(struct rig *r, const struct hd_half_step *step)
{
    struct hd_half_output out = {0};
    struct hd_error err = {0};
    int rc = hd_node_step(r->node, step, &out, &err);
    cr_assert(rc == HD_STEP_DONE || rc == HD_STEP_NOT_OURS, "%s", err.text);
    if (step->units == HD_UNIT_HEAD) {
        hd_node_log_inputs(r->node, step->layer, &step->rows);
        hd_hold_follow(r->node, step->layer, &step->rows);
    }
    return out;
}

/* The digest of what the audited worker sends; the auditor takes part in the step. */
static uint64_t step_digest(struct cluster *c, const struct hd_half_step *step)
{
    struct hd_half_output out = answer(&c->worker, step);
    uint64_t digest = hd_answer_digest(&(struct hd_answer){hd_shared_data(out.payload),
                                                           hd_shared_len(out.payload), out.wide,
                                                           out.bad, out.n_wide, out.n_bad});
    hd_shared_unref(out.payload);
    if (!c->late) {
        out = answer(&c->auditor, step);
        hd_shared_unref(out.payload);
    }
    return digest;
}

static struct hd_half_step half_step(struct cluster *c, const struct rig_rows *rows,
                                     enum hd_unit_kind kind, uint32_t layer)
{
    return rig_step(&c->worker, rows, kind, layer);
}

static void order(struct cluster *c, const struct hd_half_step *step, bool fresh)
{
    struct units units = owned(&c->worker, step->units);
    struct hd_audit_order o = {
        .id = ++c->audited, .fresh = fresh, .units = {units.list, units.n}, .step = *step};
    cr_assert_eq(hd_audit_add(c->auditor.node, &o), 0);
}

/* Does the next audit; returns how many slices it took. */
static unsigned finish(struct cluster *c, struct hd_audit_answer *a)
{
    unsigned slices = 1;
    int rc;
    while ((rc = hd_audit_slice(c->auditor.node, a)) == HD_AUDIT_WORKED)
        slices++;
    cr_assert_eq(rc, HD_AUDIT_DONE);
    return slices;
}

static struct hd_audit_answer audit(struct cluster *c, const struct hd_half_step *step, bool fresh)
{
    struct hd_audit_answer a;
    order(c, step, fresh);
    finish(c, &a);
    cr_assert_eq(a.id, c->audited);
    return a;
}

static void expect_equal(struct cluster *c, const struct hd_half_step *step, uint64_t digest)
{
    for (int fresh = 0; fresh < 2; fresh++) {
        struct hd_audit_answer a = audit(c, step, fresh);
        cr_assert_not(a.cannot, "%s", a.why.text);
        cr_assert_eq(a.digest, digest, "half %d, layer %u, %zu rows%s", (int)step->units,
                     step->layer, step->rows.n, fresh ? ", fresh" : "");
    }
}

/* All halves of a step, in the first and the last layer, as steps and as audits of them. */
static void step_and_audit(struct cluster *c, struct rig_rows *rows, uint64_t seed)
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
            struct hd_half_step step = half_step(c, rows, (enum hd_unit_kind)kind, l);
            uint64_t digest = step_digest(c, &step);
            if (l % (layers - 1) == 0)
                expect_equal(c, &step, digest);
        }
    }
    struct hd_half_step step = half_step(c, rows, HD_UNIT_VOCAB, 0);
    expect_equal(c, &step, step_digest(c, &step));
    free(x);
}

/* A prompt of one sequence; one of another that comes in two groups; then both go on. */
static void converse(struct cluster *c)
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
    enum overlap overlap;
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
    struct cluster c;
    open_cluster(&c, kinds[*kind].o, kinds[*kind].overlap);
    converse(&c);
    close_cluster(&c);
}

/* ---- Steps as they really come: the audit is done when more has been computed ----*/

/* An attention half of `n` rows from a position of sequence 0; returns its digest. */
static uint64_t attend(struct cluster *c, struct rig_rows *rows, uint32_t layer, uint32_t first,
                       size_t n)
{
    float *x = rig_random(RIG_POSITIONS, c->worker.model->shape.dim, 9 + layer);
    rig_rows_of(rows, 0, first, n, x + first * c->worker.model->shape.dim);
    struct hd_half_step step = half_step(c, rows, HD_UNIT_HEAD, layer);
    uint64_t digest = step_digest(c, &step);
    free(x);
    rows->x = NULL;
    return digest;
}

/* The same half-step once more, to be audited. */
static struct hd_half_step same_step(struct cluster *c, struct rig_rows *rows, uint32_t layer)
{
    float *x = rig_random(RIG_POSITIONS, c->worker.model->shape.dim, 9 + layer);
    rows->x = x + rows->positions[0] * c->worker.model->shape.dim;
    struct hd_half_step step = half_step(c, rows, HD_UNIT_HEAD, layer);
    free(x);
    rows->x = NULL;
    return step;
}

RIG_TEST(audit, rows_that_came_later_do_not_matter_and_steps_are_not_disturbed)
{
    struct cluster c, alone;
    struct rig_rows rows, later;
    open_tiny(&c, SOME_OWNED, *activations);
    open_tiny(&alone, SOME_OWNED, *activations);
    for (uint32_t l = 0; l < 2; l++) {
        uint64_t digest = attend(&c, &rows, l, 0, PROMPT);
        attend(&alone, &later, l, 0, PROMPT);
        struct hd_half_step step = same_step(&c, &rows, l);
        order(&c, &step, false);
        order(&c, &step, true);
        struct hd_audit_answer a;
        cr_assert_eq(hd_audit_slice(c.auditor.node, &a), HD_AUDIT_WORKED);
        for (uint32_t p = PROMPT; p < PROMPT + 5; p++)
            cr_assert_eq(attend(&c, &later, l, p, 1), attend(&alone, &rows, l, p, 1));
        for (int i = 0; i < 2; i++) {
            finish(&c, &a);
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
    close_cluster(&alone);
    close_cluster(&c);
}

RIG_TEST(audit, a_large_batch_is_computed_in_small_slices)
{
    struct cluster c;
    struct rig_rows rows;
    struct hd_audit_answer a;
    open_tiny(&c, ALL_OWNED, *activations);
    uint64_t digest = attend(&c, &rows, 0, 0, RIG_ROWS);
    struct hd_half_step step = same_step(&c, &rows, 0);
    order(&c, &step, false);
    cr_assert_eq(finish(&c, &a), RIG_ROWS / HD_AUDIT_ROWS);
    cr_assert_eq(a.digest, digest);
    close_cluster(&c);
}

/* ---- What is found ----*/

/* One bit of a unit's weights or of a K/V row in a node's memory. */
static void flip(const void *at)
{
    *(uint8_t *)(uintptr_t)at ^= 0x10;
}

static struct hd_half_step spoilt_step(struct cluster *c, struct rig_rows *rows, uint64_t *digest,
                                       struct rig *spoilt)
{
    uint32_t head = hd_shard_owned(c->worker.node->shard, HD_UNIT_HEAD).list[0];
    attend(c, rows, 0, 0, PROMPT);
    flip(hd_cpu_head(hd_cpu_weights(hd_shard_memory(spoilt->node->shard)), head, 0)->o.data + 200);
    flip(hd_cpu_kv_v(hd_cpu_kv(hd_kv_memory(spoilt->node->kv)), (struct hd_kv_at){0, 0, head},
                     PROMPT / 2));
    *digest = attend(c, rows, 0, PROMPT, 1);
    return same_step(c, rows, 0);
}

RIG_TEST(audit, wrong_weights_and_rows_of_the_audited_worker_are_found)
{
    struct cluster c;
    struct rig_rows rows;
    uint64_t digest;
    open_tiny(&c, NOTHING, *activations);
    struct hd_half_step step = spoilt_step(&c, &rows, &digest, &c.worker);
    struct hd_audit_answer a = audit(&c, &step, false), fresh = audit(&c, &step, true);
    cr_assert_neq(a.digest, digest);
    cr_assert_eq(a.digest, fresh.digest);
    close_cluster(&c);
}

/* `fresh` is right though all that the auditor has at hand is wrong; and it leaves nothing. */
RIG_TEST(audit, a_fresh_one_uses_nothing_that_was_there)
{
    struct cluster c;
    struct rig_rows rows;
    uint64_t digest;
    open_tiny(&c, ALL_OWNED, *activations);
    struct hd_half_step step = spoilt_step(&c, &rows, &digest, &c.auditor);
    uint64_t weights = hd_node_weight_bytes(c.auditor.node), kv = hd_node_kv_bytes(c.auditor.node);
    struct hd_audit_answer a = audit(&c, &step, false);
    cr_assert_neq(a.digest, digest);
    order(&c, &step, true);
    cr_assert_eq(hd_audit_slice(c.auditor.node, &a), HD_AUDIT_WORKED);
    cr_assert_gt(hd_node_weight_bytes(c.auditor.node), weights);
    finish(&c, &a);
    cr_assert_eq(a.digest, digest);
    cr_assert_eq(hd_node_weight_bytes(c.auditor.node), weights);
    cr_assert_eq(hd_node_kv_bytes(c.auditor.node), kv);
    close_cluster(&c);
}

/* ---- What is kept ----*/

static uint64_t rows_of(const struct rig *r, uint32_t layer)
{
    uint64_t rows = 0;
    for (uint32_t h = 0; h < r->units.heads; h++)
        rows += hd_kv_valid_total(r->node->kv, layer, h);
    return rows;
}

RIG_TEST(audit, what_was_loaded_serves_the_next_audit_but_its_rows_serve_nobody_else)
{
    struct cluster c;
    struct rig_rows rows;
    struct hd_audit_answer a;
    struct hd_kv_report report;
    open_tiny(&c, NOTHING, *activations);
    uint32_t layers = c.worker.model->shape.n_layers;
    for (uint32_t l = 0; l < layers; l++)
        attend(&c, &rows, l, 0, PROMPT);
    uint64_t before = hd_node_weight_bytes(c.auditor.node);
    uint64_t digest = attend(&c, &rows, 1, PROMPT, 1);
    struct hd_half_step step = same_step(&c, &rows, 1);
    audit(&c, &step, false);
    uint64_t loaded = hd_node_weight_bytes(c.auditor.node);
    cr_assert_gt(loaded, before);
    cr_assert_eq(rows_of(&c.auditor, 1), c.auditor.units.heads * (PROMPT + 1));
    digest = attend(&c, &rows, 1, PROMPT + 1, 1);
    step = same_step(&c, &rows, 1);
    order(&c, &step, false);
    cr_assert_eq(finish(&c, &a), 1, "all of it was there");
    cr_assert_eq(a.digest, digest);
    cr_assert_eq(hd_node_weight_bytes(c.auditor.node), loaded);
    /* All heads become the auditor's: what serves is computed as if no audit had been. */
    struct hd_sequence_need need = {.sequence = 0, .base = PROMPT, .inflight = {2}};
    struct hd_assignment own = {.needs = &need, .n_needs = 1, .layers_done = {2}};
    order(&c, &step, false);
    attend(&c, &rows, 0, PROMPT, 2);
    cr_assert_eq(rig_own_heads(&c.auditor, 0xf, &own, &report), 0);
    cr_assert_eq(report.n_gaps, 0);
    cr_assert_eq(report.rows_rebuilt, 2 * (layers * PROMPT + 2 * 2));
    hd_kv_report_deinit(&report);
    finish(&c, &a);
    cr_assert_eq(a.digest, digest, "an audit may begin before and end after");
    for (size_t i = 0; i < 2; i++) {
        uint32_t h = hd_shard_owned(c.worker.node->shard, HD_UNIT_HEAD).list[i];
        rig_expect_same_lane(&c.worker, &c.auditor, (struct hd_kv_at){0, 1, h}, PROMPT + 2);
        rig_expect_same_lane(&c.worker, &c.auditor, (struct hd_kv_at){0, 0, h}, PROMPT + 2);
        cr_assert_eq(hd_kv_counters(c.auditor.node->kv, 1, h)->rebuilt, PROMPT + 2);
        cr_assert_eq(hd_kv_counters(c.auditor.node->kv, 1, h)->misses, 0);
    }
    close_cluster(&c);
}

/* Audits attention and FFN halves of every layer; returns the weights that are there afterwards. */
static uint64_t audit_all_layers(struct cluster *c)
{
    struct rig_rows rows;
    for (uint32_t l = 0; l < c->worker.model->shape.n_layers; l++) {
        attend(c, &rows, l, 0, 3);
        for (int kind = HD_UNIT_HEAD; kind <= HD_UNIT_FFN; kind++) {
            struct hd_half_step step = same_step(c, &rows, l);
            step.units = (enum hd_unit_kind)kind;
            cr_assert_not(audit(c, &step, false).cannot);
        }
    }
    return hd_node_weight_bytes(c->auditor.node);
}

RIG_TEST(audit, a_few_layers_are_kept_or_all_of_them_when_all_is_audited)
{
    struct cluster c;
    uint64_t own, some, all, whole;
    open_tiny(&c, NOTHING, *activations);
    own = hd_node_weight_bytes(c.auditor.node);
    some = audit_all_layers(&c);
    cr_assert_gt(some, own);
    cr_assert_eq(rows_of(&c.auditor, 0), 2 * 3, "the audited heads' rows went with their weights");
    cr_assert_eq(rows_of(&c.auditor, 3), 4 * 3);
    hd_node_leave(c.auditor.node);
    cr_assert_eq(hd_node_weight_bytes(c.auditor.node), own, "what was owned stays");
    close_cluster(&c);
    open_tiny(&c, NOTHING, *activations);
    c.auditor.node->sizes.audit_every = 1;
    all = audit_all_layers(&c);
    cr_assert_gt(all, some);
    cr_assert_eq(rows_of(&c.auditor, 0), 4 * 3);
    /* An audit of everything, fresh or not, needs no more than all that there is. */
    rig_own_part(&c.auditor, 0, 1);
    whole = hd_node_weight_bytes(c.auditor.node);
    cr_assert_lt(all, whole);
    cr_assert_eq(audit_all_layers(&c), whole, "what is owned is used");
    close_cluster(&c);
}

RIG_TEST(audit, of_vocabulary_blocks_the_latest_are_kept)
{
    struct cluster c;
    struct rig_rows rows;
    float *x;
    open_tiny(&c, NOTHING, *activations);
    x = rig_random(1, c.worker.model->shape.dim, 3);
    rig_rows_of(&rows, 0, 0, 1, x);
    uint64_t own = hd_node_weight_bytes(c.auditor.node), one = 0;
    for (uint32_t i = 0; i < 3; i++) {
        struct hd_audit_answer a;
        struct hd_half_step step = half_step(&c, &rows, HD_UNIT_VOCAB, 0);
        struct hd_audit_order o = {.step = step};
        o.units =
            (struct hd_unit_list){hd_shard_owned(c.worker.node->shard, HD_UNIT_VOCAB).list + i, 1};
        cr_assert_eq(hd_audit_add(c.auditor.node, &o), 0);
        finish(&c, &a);
        cr_assert_not(a.cannot);
        one = one ? one : hd_node_weight_bytes(c.auditor.node) - own;
        cr_assert_gt(one, 0);
        cr_assert_eq(hd_node_weight_bytes(c.auditor.node), own + one);
    }
    free(x);
    close_cluster(&c);
}

/* ---- What it cannot ----*/

static void expect_cannot(struct cluster *c, const char *why)
{
    struct hd_audit_answer a;
    finish(c, &a);
    cr_assert(a.cannot);
    cr_assert_eq(a.digest, 0);
    cr_assert_not_null(strstr(a.why.text, why), "\"%s\" is not in \"%s\"", why, a.why.text);
}

RIG_TEST(audit, a_log_with_a_gap_is_no_basis)
{
    struct cluster c;
    struct rig_rows rows;
    open_tiny(&c, NOTHING, *activations);
    c.late = true;
    uint64_t digest = attend(&c, &rows, 0, 0, PROMPT);
    struct hd_half_step step = same_step(&c, &rows, 0);
    cr_assert_eq(audit(&c, &step, false).digest, digest, "from position 0 nothing is needed");
    hd_node_drop(c.auditor.node, 0);
    attend(&c, &rows, 0, PROMPT, 1);
    for (int fresh = 0; fresh < 2; fresh++) {
        step = same_step(&c, &rows, 0);
        hd_node_log_inputs(c.auditor.node, 0, &step.rows);
        order(&c, &step, fresh);
        expect_cannot(&c, "the log of sequence 0 lacks rows below position 70");
    }
    close_cluster(&c);
}

RIG_TEST(audit, a_sequence_that_is_dropped_is_not_audited)
{
    struct cluster c;
    struct rig_rows rows;
    struct hd_kv_report report;
    open_tiny(&c, NOTHING, *activations);
    attend(&c, &rows, 0, 0, PROMPT);
    struct hd_half_step step = same_step(&c, &rows, 0);
    order(&c, &step, false);
    order(&c, &step, true);
    hd_node_drop(c.auditor.node, 1);
    struct hd_audit_answer a;
    finish(&c, &a);
    cr_assert_not(a.cannot, "it was another sequence");
    cr_assert_eq(hd_audit_slice(c.auditor.node, &a), HD_AUDIT_WORKED, "it is in hand");
    struct hd_sequence_need need = {.sequence = 0, .replayed = true};
    struct hd_assignment again = {.needs = &need, .n_needs = 1};
    cr_assert_eq(rig_own_heads(&c.auditor, 0x1, &again, &report), 0);
    hd_kv_report_deinit(&report);
    expect_cannot(&c, "a sequence was dropped");
    cr_assert_not(hd_audit_pending(c.auditor.node));
    close_cluster(&c);
}

RIG_TEST(audit, so_many_wait_and_none_outlives_the_session)
{
    struct cluster c;
    struct rig_rows rows;
    struct hd_audit_answer a;
    open_tiny(&c, NOTHING, *activations);
    uint64_t digest = attend(&c, &rows, 0, 0, PROMPT);
    struct hd_half_step step = same_step(&c, &rows, 0);
    for (int i = 0; i < HD_AUDITS_MAX; i++)
        order(&c, &step, i % 2);
    struct units units = owned(&c.worker, HD_UNIT_HEAD);
    struct hd_audit_order o = {.units = {units.list, units.n}, .step = step};
    cr_assert_eq(hd_audit_add(c.auditor.node, &o), HD_E_LIMIT);
    finish(&c, &a);
    cr_assert(a.id == 1 && a.digest == digest, "in the order in which they came");
    cr_assert_eq(hd_audit_add(c.auditor.node, &o), 0);
    hd_node_leave(c.auditor.node);
    cr_assert_not(hd_audit_pending(c.auditor.node));
    cr_assert_eq(hd_audit_slice(c.auditor.node, &a), HD_AUDIT_IDLE);
    close_cluster(&c);
}

/* ---- Without a model file: weights come from the leader ----*/

Test(audit, weights_are_asked_for_and_waited_for, .timeout = 60)
{
    struct cluster c;
    struct world w;
    struct hd_node *with_file;
    struct rig_rows rows;
    struct hd_error err = {0};
    char path[128];
    world_begin(&w, HD_Q8_0, PLENTY);
    snprintf(path, sizeof path, "%s/model.gguf", w.dir);
    open_cluster(
        &c,
        (struct rig_options){
            .model = path, .kv = HD_KV_F16, .activations = HD_ACTIVATIONS_Q8, .threads = 2},
        NOTHING);
    with_file = c.auditor.node;
    struct hd_node_options o = with_file->o;
    struct hd_device_options device = with_file->device->o;
    device.model = w.outline;
    cr_assert_eq(hd_cpu_device.create(&o.device, &device, &err), 0);
    o.supply = w.supply;
    cr_assert_eq(hd_node_new(&c.auditor.node, &o), 0);
    cr_assert_eq(hd_node_resize(c.auditor.node, &with_file->sizes, &err), 0);
    uint64_t digest = attend(&c, &rows, 1, 0, PROMPT);
    struct hd_half_step step = same_step(&c, &rows, 1);
    for (int fresh = 0; fresh < 2; fresh++) {
        struct hd_audit_answer a;
        unsigned waits = 0;
        int rc;
        order(&c, &step, fresh);
        while ((rc = hd_audit_slice(c.auditor.node, &a)) != HD_AUDIT_DONE) {
            if (rc == HD_AUDIT_WORKED)
                continue;
            waits++;
            hd_supply_pump(w.supply);
            cr_assert_gt(w.n_asked, 0);
            cr_assert_eq(world_answer(&w, &err), 0, "%s", err.text);
        }
        cr_assert_not(a.cannot, "%s", a.why.text);
        cr_assert_eq(a.digest, digest, "fresh %d", fresh);
        cr_assert(fresh || waits > 0, "nothing was at hand");
    }
    hd_node_free(c.auditor.node);
    hd_device_free(o.device);
    c.auditor.node = with_file;
    close_cluster(&c);
    world_end(&w);
}
