/* step.c - one step: the residual stream through the layers, half by half, in one group of rows or
 * in two that take turns. */
#include "leader/engine/engine_impl.h"

#include "common/math/q8.h"
#include "common/model/digests.h"
#include "common/util/clock.h"

#include <math.h>
#include <string.h>

/* Bits of a partial sum below and above the residual's root mean square. A partial is rounded to
 * 2^-SHIFT_BITS of it (a fifth of what f32 itself keeps of the residual's larger elements, summed
 * over some hundred units), and 32 bits then hold 2^(31 - SHIFT_BITS) = 1024 times it: what is
 * larger (the first token's outliers) is sent in 64 bits. The exponent follows the row's own
 * residual, so it is a function of the row alone, whatever the model's scale. */
#define SHIFT_BITS 21
#define SHIFT_MIN  (-40)
#define SHIFT_MAX  56

/* Where the sum is normalised before it is added, it is no matter of the residual's size: such sums
 * are rounded to 2^-POST_NORM_SHIFT, and 32 bits hold up to 64. */
#define POST_NORM_SHIFT 25

/* Where the best few often do not show what a grammar lets come next, all logits are asked for at
 * once: twice costs more. */
#define UNCLEAR 0.3

static enum hd_slot_id post_norm_of(const struct hd_group *p)
{
    return p->half == HD_HALF_FFN ? HD_SLOT_FFN_POST_NORM : HD_SLOT_ATTN_POST_NORM;
}

static enum hd_slot_id bias_of(const struct hd_group *p)
{
    return p->half == HD_HALF_FFN ? HD_SLOT_FFN_BIAS : HD_SLOT_ATTN_BIAS;
}

static int shift_for(const struct hd_engine *e, const struct hd_group *p, const float *residual)
{
    if (p->half != HD_HALF_LOGITS && e->own[post_norm_of(p)])
        return POST_NORM_SHIFT;
    size_t dim = e->o.model->shape.dim;
    float ss = hd_sum_squares(e->o.kernels, residual, dim);
    int exponent = 0;
    if (ss > 0 && isfinite(ss))
        frexp(sqrt((double)ss / (double)dim), &exponent);
    int shift = SHIFT_BITS - exponent;
    return shift < SHIFT_MIN ? SHIFT_MIN : shift > SHIFT_MAX ? SHIFT_MAX : shift;
}

/* ---- Asking for half-steps ----*/

/* The row cannot be computed. If it is of a guess, that comes to light when its turn comes. */
static void spoil(struct hd_row *row)
{
    row->spoiled |= row->drafted;
    row->r->bad |= !row->drafted;
}

/* Of the input that was put last. */
static void route_row(struct hd_engine *e, const struct hd_group *p, size_t at, struct hd_row *row)
{
    size_t used = e->o.model->shape.n_used;
    if (!hd_route_row(&e->route, p->layer, e->normalised, e->experts + at * used,
                      e->weights + at * used))
        spoil(row);
}

/* `at`: its place in the half-step, counted from the step's first row. */
static void put_row(struct hd_engine *e, const struct hd_group *p, size_t at, size_t i)
{
    struct hd_row *row = &e->rows[i];
    const float *residual = e->residual + i * e->o.model->shape.dim;
    if (!hd_input_is_there(e, p))
        hd_put_input(e, p, hd_read_of(e, p, i), e->x + at * e->row_bytes);
    if (p->work.experts)
        route_row(e, p, at, row);
    e->sequences[at] = row->r->sequence;
    e->positions[at] = row->position;
    e->tokens[at] = (uint32_t)row->input;
    row->shift = shift_for(e, p, residual);
    e->shifts[at] = row->shift;
}

/* What is to be known of a sampled row's logits. */
static void put_want(struct hd_engine *e, size_t at, const struct hd_row *row)
{
    const struct hd_request_options *o = &row->r->o;
    bool all = row->all || o->prompt_logprobs || (row->mask > 0 && row->r->unclear > UNCLEAR);
    e->want[at] = all ? 0 : hd_sampling_want(&o->sampling, o->top_logprobs);
    e->temperatures[at] = hd_sampling_temperature(&o->sampling);
}

static void clear_sums(struct hd_engine *e, const struct hd_group *p)
{
    size_t dim = e->o.model->shape.dim;
    memset(e->acc + p->first * dim, 0, p->n_rows * dim * sizeof *e->acc);
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
        const struct hd_row *row = &e->rows[i];
        if (p->half == HD_HALF_LOGITS && !row->sampled)
            continue;
        if (p->half == HD_HALF_LOGITS)
            put_want(e, at, row);
        put_row(e, p, at++, i);
    }
    if (!hd_input_is_there(e, p))
        hd_put_tails(e, p, at - p->first);
    p->state = HD_GROUP_IN_HAND;
    p->work.half = p->half;
    p->work.layer = p->layer;
    p->work.tokens = p->half == HD_HALF_ATTENTION && p->layer == 0 ? e->tokens + p->first : NULL;
    p->work.rows = at - p->first;
    if (p->half != HD_HALF_LOGITS)
        clear_sums(e, p);
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
            spoil(&e->rows[i]);
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

static bool is_listed(const uint32_t *list, size_t n, size_t *next, uint32_t row)
{
    if (*next < n && list[*next] == row) {
        ++*next;
        return true;
    }
    return false;
}

static void add_wide(int64_t *acc, const uint8_t *payload, size_t dim)
{
    for (size_t i = 0; i < dim; i++) {
        int64_t v;
        memcpy(&v, payload + i * sizeof v, sizeof v);
        acc[i] = (int64_t)((uint64_t)acc[i] + (uint64_t)v); /* a liar's may be any number */
    }
}

/* The scales of compact rows are numbers. */
static int check_scales(const struct hd_engine *e, const struct hd_half_work *w,
                        const struct hd_half_result *r, struct hd_error *err)
{
    size_t dim = e->o.model->shape.dim, next = 0;
    const uint8_t *p = r->payload;
    for (size_t i = 0; i < w->rows; i++) {
        if (is_listed(r->wide, r->n_wide, &next, (uint32_t)i)) {
            p += dim * 8;
            continue;
        }
        if (!hd_sum_is_valid(p, dim))
            return hd_fail(err, HD_E_PROTO,
                           "compact sums of row %zu have a scale that is negative or no number", i);
        p += e->sum_bytes;
    }
    return 0;
}

static int check_rows(const struct hd_engine *e, const struct hd_half_work *w,
                      const struct hd_half_result *r, struct hd_error *err)
{
    size_t dim = e->o.model->shape.dim, rows = w->rows;
    for (size_t i = 0; i < r->n_wide; i++)
        if (r->wide[i] >= rows || (i > 0 && r->wide[i] <= r->wide[i - 1]))
            return hd_fail(err, HD_E_PROTO, "list of wide rows is not ascending or too large");
    size_t want = (rows - r->n_wide) * e->sum_bytes + r->n_wide * dim * 8;
    if (r->payload_len != want)
        return hd_fail(err, HD_E_PROTO, "partial sums of %zu bytes where %zu were expected",
                       r->payload_len, want);
    return e->o.wire == HD_WIRE_COMPACT ? check_scales(e, w, r, err) : 0;
}

static int use_partials(struct hd_engine *e, const struct hd_half_result *r, struct hd_error *err)
{
    const struct hd_group *group = &e->groups[r->group];
    size_t dim = e->o.model->shape.dim, next = 0;
    int rc = check_rows(e, &group->work, r, err);
    if (rc < 0)
        return rc;
    const uint8_t *p = r->payload;
    for (size_t i = 0; i < group->work.rows; i++) {
        int64_t *acc = e->acc + (group->first + i) * dim;
        if (is_listed(r->wide, r->n_wide, &next, (uint32_t)i)) {
            add_wide(acc, p, dim);
            p += dim * 8;
            continue;
        }
        if (e->o.wire == HD_WIRE_COMPACT)
            hd_sum_add(e->o.kernels, acc, p, dim);
        else
            hd_fixed_sum32(e->o.kernels, acc, (const int32_t *)(const void *)p, dim);
        p += e->sum_bytes;
    }
    e->stats.wide_rows += r->n_wide;
    return 0;
}

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

/* The rows of the LOGITS half are those that are sampled, in order. */
static struct hd_row *row_of(struct hd_engine *e, const struct hd_group *p, size_t at)
{
    size_t i = 0;
    if (p->half != HD_HALF_LOGITS)
        return &e->rows[p->first + at];
    for (;; i++)
        if (e->rows[i].sampled && at-- == 0)
            return &e->rows[i];
}

static int use_bad(struct hd_engine *e, const struct hd_half_result *r, struct hd_error *err)
{
    const struct hd_group *p = &e->groups[r->group];
    for (size_t i = 0; i < r->n_bad; i++) {
        if (r->bad[i] >= p->work.rows)
            return hd_fail(err, HD_E_PROTO, "row %u of %zu is called bad", r->bad[i], p->work.rows);
        row_of(e, p, r->bad[i])->bad = true;
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
        rc = logits ? use_logits(e, r, err) : use_partials(e, r, err);
    e->stats.leader_us += hd_now_us() - t0;
    return rc;
}

void hd_engine_reset_half(struct hd_engine *e, unsigned group)
{
    const struct hd_group *p = &e->groups[group];
    if (!is_in_hand(e, group))
        return;
    hd_drafts_interrupted(e);
    if (p->half == HD_HALF_LOGITS)
        hd_logits_deinit(&e->logits);
    else
        clear_sums(e, p);
    for (size_t i = p->first; i < p->first + p->n_rows; i++)
        e->rows[i].bad = false; /* who said so may be cut off by now */
}

/* ---- Going on ----*/

/* Nothing comes between the half's sum and the residual. */
static bool is_plain(const struct hd_engine *e, const struct hd_group *p)
{
    return !e->own[post_norm_of(p)] && !e->own[bias_of(p)] &&
           !(p->work.experts && e->route.given) && e->o.model->block.residual_scale == 1;
}

/* residual += scale * norm(sum + bias), as far as there are such. */
static void apply_row(struct hd_engine *e, const struct hd_group *p, size_t i)
{
    const struct hd_model_shape *m = &e->o.model->shape;
    const float *bias = hd_own_vector(e, p, bias_of(p)),
                *norm = hd_own_vector(e, p, post_norm_of(p));
    float *sum = e->normalised, *residual = e->residual + i * m->dim;
    memset(sum, 0, m->dim * sizeof *sum);
    hd_fixed_apply(e->o.kernels, sum, e->acc + i * m->dim, e->rows[i].shift, m->dim);
    for (size_t k = 0; k < m->dim && bias; k++)
        sum[k] += bias[k];
    if (p->work.experts)
        hd_route_add(&e->route, p->layer, e->experts + i * m->n_used, e->weights + i * m->n_used,
                     sum);
    if (norm)
        hd_rms_norm(e->o.kernels, sum, norm, m->norm_eps, sum, m->dim);
    for (size_t k = 0; k < m->dim; k++)
        residual[k] += e->o.model->block.residual_scale * sum[k];
}

static void apply_sums(struct hd_engine *e, const struct hd_group *p)
{
    uint64_t t0 = hd_now_us();
    size_t dim = e->o.model->shape.dim;
    bool plain = is_plain(e, p);
    for (size_t i = p->first; i < p->first + p->n_rows; i++) {
        if (e->rows[i].bad)
            spoil(&e->rows[i]);
        if (p->half != HD_HALF_LOGITS && plain)
            hd_fixed_apply(e->o.kernels, e->residual + i * dim, e->acc + i * dim, e->rows[i].shift,
                           dim);
        else if (p->half != HD_HALF_LOGITS)
            apply_row(e, p, i);
    }
    e->stats.leader_us += hd_now_us() - t0;
}

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
    apply_sums(e, p);
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
