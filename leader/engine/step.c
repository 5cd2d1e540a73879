/* step.c - one step: the residual stream through the layers, half by half, in one group of rows or
 * in two that take turns. */
#include "leader/engine/engine_impl.h"

#include "common/model/digests.h"
#include "common/util/clock.h"

#include <string.h>

/* Where the best few often do not show what a grammar lets come next, all logits are asked for at
 * once: twice costs more. */
#define UNCLEAR 0.3

/* ---- Asking for half-steps ----*/

/* What is to be known of a sampled row's logits. */
static void put_want(struct hd_engine *e, size_t at, const struct hd_row *row)
{
    const struct hd_request_options *o = &row->r->o;
    bool all = row->all || o->prompt_logprobs || (row->mask > 0 && row->r->unclear > UNCLEAR);
    e->want[at] = all ? 0 : hd_sampling_want(&o->sampling, o->top_logprobs);
    e->temperatures[at] = hd_sampling_temperature(&o->sampling);
}

/* Normalise the rows that take part and hand the half-step out. */
static void issue(struct hd_engine *e, struct hd_group *p)
{
    uint64_t t0 = hd_now_us();
    size_t at = p->first, used = e->o.model->shape.n_used;
    bool routed = used > 0 && p->half == HD_HALF_FFN;
    p->work.experts = routed ? e->experts + p->first * used : NULL;
    p->work.weights = routed ? e->weights + p->first * used : NULL;
    for (size_t i = p->first; i < p->first + p->n_rows; i++) {
        if (p->half == HD_HALF_LOGITS && !e->rows[i].sampled)
            continue;
        if (p->half == HD_HALF_LOGITS)
            put_want(e, at, &e->rows[i]);
        e->row_at[at++] = (uint32_t)i;
    }
    p->state = HD_GROUP_IN_HAND;
    p->work.half = p->half;
    p->work.layer = p->layer;
    p->work.tokens = p->half == HD_HALF_ATTENTION && p->layer == 0 ? e->tokens + p->first : NULL;
    p->work.rows = at - p->first;
    hd_rows_put(e, p);
    e->stats.leader_us += hd_now_us() - t0;
    e->o.ops.half(e->o.ops.arg, &p->work);
}

/* Hands out what can be: strictly in turn. Asking may end the step and begin another. */
static void issue_ready(struct hd_engine *e)
{
    while (e->n_rows > 0 && e->groups[e->turn].state == HD_GROUP_READY) {
        struct hd_group *p = &e->groups[e->turn];
        e->turn = (e->turn + 1) % e->n_groups;
        issue(e, p);
    }
}

static bool any_sampled(const struct hd_engine *e)
{
    for (size_t i = 0; i < e->n_rows; i++)
        if (e->rows[i].sampled)
            return true;
    return false;
}

/* The row's residual is its token's embedding. False: the file's bytes of it are wrong. */
static bool embed(struct hd_engine *e, size_t i)
{
    struct hd_tensor t = e->o.model->embedding;
    size_t token = (size_t)e->rows[i].input, row = token;
    if (e->o.digests) {
        if (!hd_digests_row(e->o.digests, (uint32_t)token, e->embedding))
            return false;
        t.data = e->embedding;
        row = 0;
    }
    float *residual = e->residual + i * t.cols, scale = e->o.model->block.embedding_scale;
    hd_dequant(&t, row, 0, t.cols, residual);
    for (size_t k = 0; k < t.cols && scale != 1; k++)
        residual[k] *= scale;
    return true;
}

/* False: some could not begin; their requests have ended. */
static bool embed_all(struct hd_engine *e)
{
    bool good = true;
    for (size_t i = 0; i < e->n_rows; i++) {
        struct hd_request *r = e->rows[i].r;
        if (r->ended || embed(e, i))
            continue;
        if (e->rows[i].drafted) {
            memset(e->residual + i * e->o.model->shape.dim, 0,
                   e->o.model->shape.dim * sizeof *e->residual);
            hd_row_spoil(&e->rows[i]);
            continue;
        }
        good = false;
        hd_request_end(e, r, HD_FINISH_ERROR, e->o.ops.wrong_row(e->o.ops.arg, e->rows[i].input));
    }
    return good;
}

bool hd_step_begin(struct hd_engine *e)
{
    uint64_t now = hd_now_us();
    if (!embed_all(e)) {
        hd_step_abandon(e);
        hd_requests_sweep(e);
        return false;
    }
    for (size_t i = 0; i < e->n_rows; i++) {
        struct hd_request *r = e->rows[i].r;
        if (r->sent <= e->rows[i].position)
            r->sent = e->rows[i].position + 1;
        if (r->started_us == 0) {
            r->started_us = now;
            hd_serving_started(e->o.serving, r->submitted_us, now);
        }
    }
    e->step++;
    hd_pace_begin(&e->pace, now);
    hd_drafts_begun(e);
    hd_groups_form(e);
    issue_ready(e);
    hd_masks_make(e);
    return true;
}

void hd_step_abandon(struct hd_engine *e)
{
    e->n_rows = 0;
    hd_logits_deinit(&e->logits);
}

/* ---- Results ----*/

static int use_logits(struct hd_engine *e, const struct hd_half_result *r, struct hd_error *err)
{
    const struct hd_half_work *w = &e->groups[r->group].work;
    int rc = 0;
    if (!e->logits.row)
        rc = hd_logits_init(&e->logits, e->o.units, e->o.model->shape.vocab, w);
    if (rc < 0)
        return hd_fail(err, rc, "no memory for the logits of %zu rows", w->rows);
    return hd_logits_add(&e->logits, r, err);
}

static int use_bad(struct hd_engine *e, const struct hd_half_result *r, struct hd_error *err)
{
    const struct hd_group *p = &e->groups[r->group];
    for (size_t i = 0; i < r->n_bad; i++) {
        if (r->bad[i] >= p->work.rows)
            return hd_fail(err, HD_E_PROTO, "row %u of %zu is called bad", r->bad[i], p->work.rows);
        e->rows[e->row_at[p->first + r->bad[i]]].bad = true;
    }
    return 0;
}

static bool is_in_hand(const struct hd_engine *e, unsigned group)
{
    return e->n_rows > 0 && group < e->n_groups && e->groups[group].state == HD_GROUP_IN_HAND;
}

int hd_engine_use_result(struct hd_engine *e, const struct hd_half_result *r, struct hd_error *err)
{
    if (!is_in_hand(e, r->group))
        return hd_fail(err, HD_E_PROTO, "a result without a half-step");
    uint64_t t0 = hd_now_us();
    bool logits = e->groups[r->group].half == HD_HALF_LOGITS;
    int rc = use_bad(e, r, err);
    if (rc == 0)
        rc = logits ? use_logits(e, r, err) : hd_rows_add(e, r, err);
    e->stats.leader_us += hd_now_us() - t0;
    return rc;
}

void hd_engine_reset_half(struct hd_engine *e, unsigned group)
{
    struct hd_group *p = &e->groups[group];
    if (!is_in_hand(e, group))
        return;
    hd_drafts_interrupted(e);
    if (p->half == HD_HALF_LOGITS)
        hd_logits_deinit(&e->logits);
    p->added = false;
    for (size_t i = p->first; i < p->first + p->n_rows; i++)
        e->rows[i].bad = false; /* who said so may be cut off by now */
}

/* ---- Going on ----*/

/* The group's next half-step, if there is one. */
static void advance(const struct hd_engine *e, struct hd_group *p)
{
    p->state = HD_GROUP_READY;
    if (p->half == HD_HALF_ATTENTION) {
        p->half = HD_HALF_FFN;
    } else if (p->half == HD_HALF_FFN && p->layer + 1 < e->o.model->shape.n_layers) {
        p->half = HD_HALF_ATTENTION;
        p->layer++;
    } else {
        p->state = HD_GROUP_THROUGH;
    }
}

static bool all_through(const struct hd_engine *e)
{
    for (unsigned g = 0; g < e->n_groups; g++)
        if (e->groups[g].state != HD_GROUP_THROUGH)
            return false;
    return true;
}

void hd_engine_half_done(struct hd_engine *e, unsigned group)
{
    struct hd_group *p = &e->groups[group];
    if (!is_in_hand(e, group))
        return;
    bool layers = p->half != HD_HALF_LOGITS;
    uint64_t t0 = hd_now_us();
    hd_rows_apply(e, p);
    e->stats.leader_us += hd_now_us() - t0;
    advance(e, p);
    bool again = !layers && !hd_step_decide(e);
    if (all_through(e) && !again && !(layers && any_sampled(e))) {
        hd_step_finish(e);
        return;
    }
    if (again)
        hd_drafts_interrupted(e);
    if (again)
        e->step++; /* with other wants it is another half-step: late answers are not taken for it */
    if (all_through(e))
        hd_groups_join(e);
    issue_ready(e);
}

const struct hd_half_work *hd_engine_work(const struct hd_engine *e, unsigned group)
{
    return is_in_hand(e, group) ? &e->groups[group].work : NULL;
}
