/* attention.c - the attention half: q, k, v -> RoPE -> K/V stored -> attention -> Wo.
 *
 * K/V rows of all the step's rows are stored before any is read: a row at position p sees 0 .. p.
 * Rows whose K/V is valid already (a retry) keep it: the same row would come out. */
#include "worker/cpu/compute_impl.h"

#include <math.h>
#include <string.h>

#define MAX_SEQUENCES 64

struct attention_job {
    struct hd_compute *c;
    const struct hd_half_task *work;
    struct hd_kv *kv;
    uint32_t layer;
    const struct hd_rows *rows;
    struct hd_unit_list heads;
    struct split split;
    bool store_first; /* rows of one sequence see each other: store all before attention */
};

static const struct hd_head_weights *weights_of(const struct hd_half_task *w, size_t slot)
{
    return hd_shard_head(w->from.shard, w->units.list[slot], w->layer);
}

static size_t query_width(const struct hd_compute *c)
{
    return c->n_rep * c->o.model->shape.head_dim;
}

/* Element 0 of a row in the plane of a slot. */
static float *plane_row(const struct hd_compute *c, float *plane, size_t slot, size_t row,
                        size_t width)
{
    return plane + (slot * c->max_rows + row) * width;
}

/* ---- Before: which rows are new, and room for them ----*/

/* Marks the rows of one head that must be stored, reserves their blocks and counts them. */
static int prepare_head(const struct attention_job *j, size_t slot, struct hd_error *err)
{
    struct hd_compute *c = j->c;
    struct hd_kv_at at = {.layer = j->layer, .head = j->heads.list[slot]};
    struct hd_kv_counters *count = hd_kv_counters(j->kv, at.layer, at.head);
    uint32_t next[MAX_SEQUENCES]; /* the position that continues a sequence */
    uint64_t seen = 0;
    for (size_t i = 0; i < j->rows->n; i++) {
        uint32_t p = j->rows->positions[i];
        at.sequence = j->rows->sequences[i];
        if (!(seen >> at.sequence & 1))
            next[at.sequence] = hd_kv_valid(j->kv, at);
        seen |= UINT64_C(1) << at.sequence;
        bool fresh = p >= next[at.sequence];
        if (p > next[at.sequence])
            return hd_fail(err, HD_E_PROTO,
                           "position %u of sequence %u comes where %u of layer %u head %u is next",
                           p, at.sequence, next[at.sequence], at.layer, at.head);
        if (fresh && hd_kv_reserve(j->kv, at, p + 1) < 0)
            return hd_fail(err, HD_E_NOMEM, "out of memory for K/V of sequence %u", at.sequence);
        c->fresh[slot * c->max_rows + i] = fresh;
        next[at.sequence] += fresh;
        count->misses += fresh && !j->work->uncounted;
        count->hits += !fresh && !j->work->uncounted;
    }
    return 0;
}

static int prepare(struct attention_job *j, struct hd_error *err)
{
    uint32_t end = 0;
    uint64_t seen = 0;
    for (size_t i = 0; i < j->rows->n; i++) {
        uint64_t bit = UINT64_C(1) << j->rows->sequences[i];
        j->store_first = j->store_first || (seen & bit);
        seen |= bit;
        if (j->rows->positions[i] >= end)
            end = j->rows->positions[i] + 1;
    }
    if (hd_rope_table_reserve(&j->c->rope, end) < 0)
        return hd_fail(err, HD_E_NOMEM, "out of memory for the angles of %u positions", end);
    int rc = 0;
    for (size_t s = 0; s < j->heads.n && rc == 0; s++)
        rc = prepare_head(j, s, err);
    return rc;
}

/* ---- q, k, v: an item is a range of the concatenated output groups of one head ----*/

struct part {
    const struct hd_weights *w;
    float *y; /* [rows][width] */
    size_t width;
};

static void multiply_part(const struct attention_job *j, const struct split_item *it, size_t base,
                          struct part part)
{
    size_t g0 = it->g0 > base ? it->g0 - base : 0;
    size_t g1 = it->g1 > base ? it->g1 - base : 0;
    if (g1 > part.w->groups)
        g1 = part.w->groups;
    if (g0 >= g1)
        return;
    hd_multiply_inputs(j->c, j->rows,
                       &(struct input_product){.w = part.w,
                                               .g0 = g0,
                                               .g1 = g1,
                                               .row0 = it->row0,
                                               .rows = it->rows,
                                               .y = part.y + g0 * HD_GROUP,
                                               .y_stride = part.width});
}

static void project_item(void *arg, size_t index, unsigned thread)
{
    struct attention_job *j = arg;
    struct hd_compute *c = j->c;
    struct split_item it = hd_split_item(&j->split, index);
    const struct hd_head_weights *w = weights_of(j->work, it.unit);
    size_t hd = c->o.model->shape.head_dim, width = query_width(c);
    (void)thread;
    struct part q = {&w->q, plane_row(c, c->q, it.unit, it.row0, width), width};
    struct part k = {&w->k, plane_row(c, c->k, it.unit, it.row0, hd), hd};
    struct part v = {&w->v, plane_row(c, c->v, it.unit, it.row0, hd), hd};
    multiply_part(j, &it, 0, q);
    if (!memchr(c->fresh + it.unit * c->max_rows + it.row0, 1, it.rows))
        return;
    multiply_part(j, &it, w->q.groups, k);
    multiply_part(j, &it, w->q.groups + w->k.groups, v);
}

/* ---- K/V ----*/

/* Rotates a K row in place, stores it with its V row and seals both. */
struct kv_row {
    struct hd_kv *kv;
    struct hd_kv_at at;
    uint32_t position;
};
static void store_row(struct hd_compute *c, struct kv_row to, float *k, const float *v)
{
    size_t hd = c->o.model->shape.head_dim;
    enum hd_kv_type type = hd_kv_shape(to.kv)->type;
    hd_rope(c->o.kernels, k, hd, hd_rope_table_at(&c->rope, to.position));
    hd_kv_store(c->o.kernels, type, k, hd_kv_k(to.kv, to.at, to.position), hd);
    hd_kv_store(c->o.kernels, type, v, hd_kv_v(to.kv, to.at, to.position), hd);
    hd_kv_seal(to.kv, to.at, to.position);
}

static struct hd_kv_at lane_of(const struct attention_job *j, size_t slot, size_t row)
{
    return (struct hd_kv_at){j->rows->sequences[row], j->layer, j->heads.list[slot]};
}

static void store_item(void *arg, size_t index, unsigned thread)
{
    struct attention_job *j = arg;
    struct hd_compute *c = j->c;
    size_t slot = index / j->rows->n, row = index % j->rows->n;
    size_t hd = c->o.model->shape.head_dim;
    (void)thread;
    if (c->fresh[slot * c->max_rows + row])
        store_row(c, (struct kv_row){j->kv, lane_of(j, slot, row), j->rows->positions[row]},
                  plane_row(c, c->k, slot, row, hd), plane_row(c, c->v, slot, row, hd));
}

/* K and V of some rows: kv [2][HD_LOG_CHUNK][head_dim]. */
static void multiply_kv(const struct hd_compute *c, const struct hd_head_weights *w,
                        const struct hd_kv_work *work, float *kv)
{
    size_t hd = c->o.model->shape.head_dim, dim = c->o.model->shape.dim;
    struct hd_matmul_args a = {
        .w = &w->k,
        .g1 = w->k.groups,
        .x = (const float *)(const void *)work->x,
        .x_stride = dim,
        .y = kv,
        .y_stride = hd,
        .rows = work->n,
    };
    hd_matmul(c->o.kernels, &a);
    a.w = &w->v;
    a.y = kv + HD_LOG_CHUNK * hd;
    hd_matmul(c->o.kernels, &a);
}

/* The same of Q8 rows; the prepared ones lie behind kv in the scratch. */
static void multiply_kv_q8(const struct hd_compute *c, const struct hd_head_weights *w,
                           const struct hd_kv_work *work, float *kv)
{
    size_t hd = c->o.model->shape.head_dim, dim = c->o.model->shape.dim;
    size_t stride = hd_q8_prepared_bytes(dim);
    uint8_t *x = (uint8_t *)(kv + 2 * HD_LOG_CHUNK * hd);
    for (size_t i = 0; i < work->n; i++)
        hd_q8_prepare(c->o.kernels, work->x + i * c->row_bytes, dim, x + i * stride);
    struct hd_matmul_q8_args a = {
        .w = &w->k,
        .g1 = w->k.groups,
        .x = x,
        .x_stride = stride,
        .y = kv,
        .y_stride = hd,
        .rows = work->n,
    };
    hd_matmul_q8(c->o.kernels, &a);
    a.w = &w->v;
    a.y = kv + HD_LOG_CHUNK * hd;
    hd_matmul_q8(c->o.kernels, &a);
}

void hd_compute_kv(struct hd_compute *c, const struct hd_stores *to, unsigned thread,
                   const struct hd_kv_work *work)
{
    const struct hd_head_weights *w = hd_shard_head(to->shard, work->at.head, work->at.layer);
    size_t hd = c->o.model->shape.head_dim;
    float *k = hd_scratch(c, thread); /* [n][head_dim] */
    float *v = k + HD_LOG_CHUNK * hd; /* [n][head_dim] */
    if (c->q8)
        multiply_kv_q8(c, w, work, k);
    else
        multiply_kv(c, w, work, k);
    for (size_t i = 0; i < work->n; i++)
        store_row(c, (struct kv_row){to->kv, work->at, work->position + (uint32_t)i}, k + i * hd,
                  v + i * hd);
}

/* ---- Attention: an item is one row of one head ----*/

static uint8_t *attended_q8(const struct hd_compute *c, size_t slot, size_t row)
{
    return c->attended_q8 + (slot * c->max_rows + row) * hd_q8_prepared_bytes(query_width(c));
}

static void attend_item(void *arg, size_t index, unsigned thread)
{
    struct attention_job *j = arg;
    struct hd_compute *c = j->c;
    size_t slot = index / j->rows->n, row = index % j->rows->n;
    size_t hd = c->o.model->shape.head_dim, width = query_width(c);
    uint32_t position = j->rows->positions[row];
    float *q = plane_row(c, c->q, slot, row, width); /* [n_rep][head_dim] */
    if (!j->store_first)
        store_item(arg, index, thread);
    for (size_t r = 0; r < c->n_rep; r++)
        hd_rope(c->o.kernels, q + r * hd, hd, hd_rope_table_at(&c->rope, position));
    struct hd_kv_view kv = hd_kv_view(j->kv, lane_of(j, slot, row));
    hd_attention(c->o.kernels,
                 &(struct hd_attention_args){.q = q,
                                             .rows = 1,
                                             .n_rep = c->n_rep,
                                             .head_dim = hd,
                                             .scale = 1.0f / sqrtf((float)hd),
                                             .kv_type = hd_kv_shape(j->kv)->type,
                                             .k_blocks = kv.k,
                                             .v_blocks = kv.v,
                                             .n_pos = (size_t)position + 1,
                                             .out = plane_row(c, c->attended, slot, row, width)});
    if (hd_takes_q8(c, &weights_of(j->work, slot)->o))
        hd_q8_quantize(c->o.kernels, plane_row(c, c->attended, slot, row, width), width,
                       attended_q8(c, slot, row));
}

static void commit(const struct attention_job *j)
{
    for (size_t s = 0; s < j->heads.n; s++)
        for (size_t i = 0; i < j->rows->n; i++)
            hd_kv_commit(j->kv, lane_of(j, s, i), j->rows->positions[i] + 1);
}

static struct unit_input output_of(const struct reduction *r, size_t slot)
{
    const struct hd_compute *c = r->c;
    size_t width = query_width(c);
    const struct hd_weights *w = &weights_of(r->work, slot)->o;
    return (struct unit_input){
        .w = w,
        .x = plane_row(c, c->attended, slot, 0, width),
        .stride = width,
        .q8 = hd_takes_q8(c, w) ? attended_q8(c, slot, 0) : NULL,
        .q8_stride = hd_q8_prepared_bytes(width),
    };
}

/* Multiply-adds x 2 of q, k, v and of attention itself: a score and a weighted value for each
 * position and query head. */
static uint64_t count_flops(const struct attention_job *j)
{
    const struct hd_compute *c = j->c;
    uint64_t seen = 0, sum = 0;
    for (size_t i = 0; i < j->rows->n; i++)
        seen += j->rows->positions[i] + 1;
    for (size_t s = 0; s < j->heads.n; s++) {
        const struct hd_head_weights *w = weights_of(j->work, s);
        size_t fresh = 0;
        for (size_t i = 0; i < j->rows->n; i++)
            fresh += c->fresh[s * c->max_rows + i];
        sum += hd_product_flops(&w->q, j->rows->n) + hd_product_flops(&w->k, fresh) +
               hd_product_flops(&w->v, fresh);
    }
    return sum + 4 * seen * query_width(c) * j->heads.n;
}

int hd_compute_attention(struct hd_compute *c, const struct hd_half_task *work,
                         struct hd_half_output *out, struct hd_error *err)
{
    const struct hd_rows *rows = work->rows;
    struct attention_job j = {.c = c,
                              .work = work,
                              .kv = work->from.kv,
                              .layer = work->layer,
                              .rows = rows,
                              .heads = work->units};
    *out = (struct hd_half_output){0};
    int rc = prepare(&j, err);
    if (rc < 0)
        return rc;
    size_t groups = (query_width(c) + 2 * c->o.model->shape.head_dim) / HD_GROUP;
    j.split = hd_split(c, j.heads.n, groups, rows->n);
    hd_prepare_inputs(c, rows);
    hd_team_run(c->o.team, hd_split_items(&j.split), project_item, &j);
    if (j.store_first)
        hd_team_run(c->o.team, j.heads.n * rows->n, store_item, &j);
    hd_team_run(c->o.team, j.heads.n * rows->n, attend_item, &j);
    commit(&j);
    out->flops = count_flops(&j);
    struct reduction r = {.c = c, .work = work, .in = output_of};
    return hd_reduce(&r, out, err);
}
