/* audit_rig.c - half-steps of two nodes, and audits of them. */
#include "audit_rig.h"

#include "common/net/answer_digest.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static uint32_t count_of(const struct rig *r, enum hd_unit_kind kind)
{
    const uint32_t counts[] = {r->units.heads, r->units.ffn_blocks, r->units.vocab_blocks};
    return counts[kind];
}

struct audit_units audit_owned(const struct rig *r, enum hd_unit_kind kind)
{
    struct audit_units u = {.n = hd_shard_owned(r->node->shard, kind).n};
    cr_assert_leq(u.n, 512);
    memcpy(u.list, hd_shard_owned(r->node->shard, kind).list, u.n * sizeof *u.list);
    return u;
}

/* Hold all that there is, or of the heads the weights. */
static void hold_all(struct rig *r, bool bare)
{
    static uint32_t all[512];
    struct hd_assignment a = {.epoch = 1};
    for (uint32_t i = 0; i < 512; i++)
        all[i] = i;
    for (int k = 0; k < (bare ? HD_UNIT_HEAD + 1 : HD_UNIT_KINDS); k++)
        a.hold[k] = (struct hd_unit_list){all, count_of(r, (enum hd_unit_kind)k)};
    if (bare)
        a.bare = a.hold[HD_UNIT_HEAD];
    hd_node_hold(r->node, &a);
    cr_assert_eq(rig_slices(r), HD_HOLD_IDLE);
}

void audit_open(struct audit_rig *c, struct rig_options o, enum audit_overlap overlap)
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
    if (overlap == ALL_HELD || overlap == HEADS_BARE)
        hold_all(&c->auditor, overlap == HEADS_BARE);
}

void audit_open_tiny(struct audit_rig *c, enum audit_overlap overlap,
                     enum hd_activations activations)
{
    audit_open(c,
               (struct rig_options){.shape = "tiny",
                                    .type = HD_Q4_0,
                                    .kv = HD_KV_F16,
                                    .activations = activations,
                                    .threads = 2},
               overlap);
}

void audit_close(struct audit_rig *c)
{
    rig_close(&c->auditor);
    rig_close(&c->worker);
}

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
uint64_t audit_step_digest(struct audit_rig *c, const struct hd_half_step *step)
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

struct hd_half_step audit_half_step(struct audit_rig *c, const struct rig_rows *rows,
                                    enum hd_unit_kind kind, uint32_t layer)
{
    return rig_step(&c->worker, rows, kind, layer);
}

void audit_order(struct audit_rig *c, const struct hd_half_step *step, bool fresh)
{
    struct audit_units units = audit_owned(&c->worker, step->units);
    struct hd_audit_order o = {
        .id = ++c->audited, .fresh = fresh, .units = {units.list, units.n}, .step = *step};
    cr_assert_eq(hd_audit_add(c->auditor.node, &o), 0);
}

/* Does the next audit; returns how many slices it took. */
unsigned audit_finish(struct audit_rig *c, struct hd_audit_answer *a)
{
    unsigned slices = 1;
    int rc;
    while ((rc = hd_audit_slice(c->auditor.node, a)) == HD_AUDIT_WORKED)
        slices++;
    cr_assert_eq(rc, HD_AUDIT_DONE);
    return slices;
}

struct hd_audit_answer audit_now(struct audit_rig *c, const struct hd_half_step *step, bool fresh)
{
    struct hd_audit_answer a;
    audit_order(c, step, fresh);
    audit_finish(c, &a);
    cr_assert_eq(a.id, c->audited);
    return a;
}

/* An attention half of `n` rows from a position of sequence 0; returns its digest. */
uint64_t audit_attend(struct audit_rig *c, struct rig_rows *rows, uint32_t layer, uint32_t first,
                      size_t n)
{
    float *x = rig_random(RIG_POSITIONS, c->worker.model->shape.dim, 9 + layer);
    rig_rows_of(rows, 0, first, n, x + first * c->worker.model->shape.dim);
    struct hd_half_step step = audit_half_step(c, rows, HD_UNIT_HEAD, layer);
    uint64_t digest = audit_step_digest(c, &step);
    free(x);
    rows->x = NULL;
    return digest;
}

/* The same half-step once more, to be audited. */
struct hd_half_step audit_same_step(struct audit_rig *c, struct rig_rows *rows, uint32_t layer)
{
    float *x = rig_random(RIG_POSITIONS, c->worker.model->shape.dim, 9 + layer);
    rows->x = x + rows->positions[0] * c->worker.model->shape.dim;
    struct hd_half_step step = audit_half_step(c, rows, HD_UNIT_HEAD, layer);
    free(x);
    rows->x = NULL;
    return step;
}
