/* rows.c - what the leader does to each row of a half-step: its input, its sums, its residual.
 *
 * Rows do not see one another, so each of the three is a loop over rows that the threads of the
 * team share; few rows are done before another thread is awake. What concerns a request, which
 * several rows may be of, is done behind the loop. */
#include "leader/engine/engine_impl.h"

#include "common/math/q8.h"
#include "common/math/team.h"

#include <math.h>
#include <string.h>

#define TEAM_BYTES 131072 /* of residuals; of fewer all threads are not awake before it is done */

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

/* ---- The loop ----*/

struct rows_job {
    struct hd_engine *e;
    const struct hd_group *p;
    const struct hd_half_result *r; /* of an answer */
    bool plain;                     /* nothing comes between the half's sum and the residual */
};

/* fn(job, k, thread) for each of the half-step's first `n` places. */
static void each_row(struct rows_job *job, size_t n, void (*fn)(void *arg, size_t k, unsigned t))
{
    const struct hd_engine *e = job->e;
    bool many = n * e->o.model->shape.dim * sizeof *e->residual >= TEAM_BYTES;
    if (e->o.team && many)
        hd_team_run(e->o.team, n, fn, job);
    else
        for (size_t k = 0; k < n; k++)
            fn(job, k, 0);
}

static float *scratch_of(const struct hd_engine *e, unsigned thread)
{
    return e->scratch + thread * e->scratch_floats;
}

void hd_row_spoil(struct hd_row *row)
{
    row->spoiled |= row->drafted;
    row->r->bad |= !row->drafted;
}

/* Those that are called bad. */
static void spoil_rows(struct hd_engine *e, const struct hd_group *p)
{
    for (size_t i = p->first; i < p->first + p->n_rows; i++)
        if (e->rows[i].bad)
            hd_row_spoil(&e->rows[i]);
}

/* ---- Inputs ----*/

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

static void put_row(void *arg, size_t k, unsigned thread)
{
    const struct rows_job *job = arg;
    struct hd_engine *e = job->e;
    const struct hd_group *p = job->p;
    size_t at = p->first + k, used = e->o.model->shape.n_used;
    struct hd_row *row = &e->rows[e->row_at[at]];
    const float *residual = e->residual + e->row_at[at] * e->o.model->shape.dim;
    float *normalised = scratch_of(e, thread);
    if (!hd_input_is_there(e, p))
        hd_put_input(e, p, hd_read_of(e, p, e->row_at[at]), normalised, e->x + at * e->row_bytes);
    if (p->work.experts && !hd_route_row(&e->route, thread, p->layer, normalised,
                                         e->experts + at * used, e->weights + at * used))
        row->bad = true;
    e->sequences[at] = row->r->sequence;
    e->positions[at] = row->position;
    e->tokens[at] = (uint32_t)row->input;
    row->shift = shift_for(e, p, residual);
    e->shifts[at] = row->shift;
}

void hd_rows_put(struct hd_engine *e, struct hd_group *p)
{
    p->added = false;
    each_row(&(struct rows_job){.e = e, .p = p}, p->work.rows, put_row);
    if (p->work.experts)
        spoil_rows(e, p);
    if (!hd_input_is_there(e, p))
        hd_put_tails(e, p, p->work.rows);
}

/* ---- Sums ----*/

static void add_wide(int64_t *acc, const uint8_t *payload, size_t dim)
{
    for (size_t i = 0; i < dim; i++) {
        int64_t v;
        memcpy(&v, payload + i * sizeof v, sizeof v);
        acc[i] = (int64_t)((uint64_t)acc[i] + (uint64_t)v); /* a liar's may be any number */
    }
}

static size_t wide_bytes(const struct hd_engine *e)
{
    return e->o.model->shape.dim * sizeof(int64_t);
}

/* Where each row of the answer begins; the payload is as long as these say. */
static int find_rows(const struct hd_engine *e, const struct hd_group *p,
                     const struct hd_half_result *r, struct hd_error *err)
{
    size_t rows = p->work.rows, next = 0, at = 0;
    for (size_t i = 0; i < r->n_wide; i++)
        if (r->wide[i] >= rows || (i > 0 && r->wide[i] <= r->wide[i - 1]))
            return hd_fail(err, HD_E_PROTO, "list of wide rows is not ascending or too large");
    for (size_t k = 0; k < rows; k++) {
        bool wide = next < r->n_wide && r->wide[next] == k;
        next += wide;
        e->sums_at[p->first + k] = at;
        at += wide ? wide_bytes(e) : e->sum_bytes;
    }
    if (r->payload_len != at)
        return hd_fail(err, HD_E_PROTO, "partial sums of %zu bytes where %zu were expected",
                       r->payload_len, at);
    return 0;
}

/* Of `k`, in an answer of which each row is found. */
static bool is_wide(const struct rows_job *job, size_t k)
{
    const struct hd_engine *e = job->e;
    const size_t *at = e->sums_at + job->p->first + k;
    size_t end = k + 1 < job->p->work.rows ? at[1] : job->r->payload_len;
    return end - *at == wide_bytes(e); /* a row is that long only if it is wide */
}

/* The scales of compact rows are numbers. */
static int check_scales(const struct rows_job *job, struct hd_error *err)
{
    const struct hd_engine *e = job->e;
    for (size_t k = 0; k < job->p->work.rows; k++)
        if (!is_wide(job, k) && !hd_sum_is_valid(job->r->payload + e->sums_at[job->p->first + k],
                                                 e->o.model->shape.dim))
            return hd_fail(err, HD_E_PROTO,
                           "compact sums of row %zu have a scale that is negative or no number", k);
    return 0;
}

static void add_row(void *arg, size_t k, unsigned thread)
{
    const struct rows_job *job = arg;
    struct hd_engine *e = job->e;
    size_t dim = e->o.model->shape.dim, at = job->p->first + k;
    const uint8_t *sums = job->r->payload + e->sums_at[at];
    int64_t *acc = e->acc + at * dim;
    (void)thread;
    if (!job->p->added)
        memset(acc, 0, dim * sizeof *acc);
    if (is_wide(job, k))
        add_wide(acc, sums, dim);
    else if (e->o.wire == HD_WIRE_COMPACT)
        hd_sum_add(e->o.kernels, acc, sums, dim);
    else
        hd_fixed_sum32(e->o.kernels, acc, (const int32_t *)(const void *)sums, dim);
}

int hd_rows_add(struct hd_engine *e, const struct hd_half_result *r, struct hd_error *err)
{
    struct hd_group *p = &e->groups[r->group];
    struct rows_job job = {.e = e, .p = p, .r = r};
    int rc = find_rows(e, p, r, err);
    if (rc == 0 && e->o.wire == HD_WIRE_COMPACT)
        rc = check_scales(&job, err);
    if (rc < 0)
        return rc;
    each_row(&job, p->work.rows, add_row);
    p->added = true;
    e->stats.wide_rows += r->n_wide;
    return 0;
}

/* ---- Residuals ----*/

static bool is_plain(const struct hd_engine *e, const struct hd_group *p)
{
    return !e->own[post_norm_of(p)] && !e->own[bias_of(p)] &&
           !(p->work.experts && e->route.given) && e->o.model->block.residual_scale == 1;
}

/* residual += scale * norm(sum + bias), as far as there are such. */
static void apply_sum(const struct hd_engine *e, const struct hd_group *p, size_t i, float *sum)
{
    const struct hd_model_shape *m = &e->o.model->shape;
    const float *bias = hd_own_vector(e, p, bias_of(p)),
                *norm = hd_own_vector(e, p, post_norm_of(p));
    float *residual = e->residual + i * m->dim;
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

static void apply_row(void *arg, size_t k, unsigned thread)
{
    const struct rows_job *job = arg;
    struct hd_engine *e = job->e;
    size_t dim = e->o.model->shape.dim, i = job->p->first + k;
    if (!job->p->added) /* by nobody */
        memset(e->acc + i * dim, 0, dim * sizeof *e->acc);
    if (job->plain)
        hd_fixed_apply(e->o.kernels, e->residual + i * dim, e->acc + i * dim, e->rows[i].shift,
                       dim);
    else
        apply_sum(e, job->p, i, scratch_of(e, thread));
}

void hd_rows_apply(struct hd_engine *e, const struct hd_group *p)
{
    struct rows_job job = {.e = e, .p = p, .plain = is_plain(e, p)};
    spoil_rows(e, p);
    if (p->half != HD_HALF_LOGITS)
        each_row(&job, p->n_rows, apply_row);
}
