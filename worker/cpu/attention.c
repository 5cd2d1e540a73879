/* attention.c - the attention half: q, k, v -> RoPE -> K/V stored -> attention -> Wo.
 *
 * K/V rows of all the step's rows are stored before any is read: a row at position p sees 0 .. p.
 * Rows whose K/V is there already (a retry) keep it: the same row would come out. */
#include "worker/cpu/attention_impl.h"

#include "common/math/layer_norm.h"

#include <string.h>

/* Which rows of one head are to be stored: [rows]. */
static const uint8_t *fresh_of(const struct attention_job *j, size_t slot)
{
    return j->work->fresh + slot * j->rows->n;
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
    return 0;
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
    struct hd_range at = it->at;
    at.g0 = at.g0 > base ? at.g0 - base : 0;
    at.g1 = at.g1 > base ? at.g1 - base : 0;
    hd_product(j->c->kernels, &j->in, part.w, at, part.y + at.g0 * HD_GROUP, part.width);
}

static void project_item(void *arg, size_t index, unsigned thread)
{
    struct attention_job *j = arg;
    struct hd_compute *c = j->c;
    struct split_item it = hd_split_item(&j->split, index);
    const struct hd_head_weights *w = weights_of(j->work, it.unit);
    size_t hd = c->model->shape.head_dim, width = query_width(c), row0 = it.at.row0;
    (void)thread;
    struct part q = {&w->q, plane_row(c, c->q, it.unit, row0, width), width};
    struct part k = {&w->k, plane_row(c, c->k, it.unit, row0, hd), hd};
    struct part v = {&w->v, plane_row(c, c->v, it.unit, row0, hd), hd};
    multiply_part(j, &it, 0, q);
    if (!memchr(fresh_of(j, it.unit) + row0, 1, it.at.rows))
        return;
    multiply_part(j, &it, w->q.groups, k);
    multiply_part(j, &it, w->q.groups + w->k.groups, v);
}

/* ---- K/V ----*/

static void normalise_heads(const struct hd_compute *c, const struct hd_finish *f, float *v,
                            size_t heads)
{
    const struct hd_model_shape *m = &c->model->shape;
    size_t hd = m->head_dim, stride = f->each->data ? hd : 0;
    const float *weight = hd_vector_of(f->each->data ? f->each : f->norm);
    const float *bias = f->norm_bias->data ? hd_vector_of(f->norm_bias) : NULL;
    for (size_t h = 0; h < heads; h++, v += hd, weight += stride)
        if (c->model->block.norm == HD_NORM_LAYER)
            hd_layer_norm(v, weight, bias, m->norm_eps, v, hd);
        else
            hd_rms_norm(c->kernels, v, weight, m->norm_eps, v, hd);
}

void hd_finish_heads(const struct hd_compute *c, const struct hd_finish *f, float *v, size_t heads)
{
    const struct hd_model_shape *m = &c->model->shape;
    size_t n = heads * m->head_dim;
    if (f->bias->data)
        hd_add_vector(v, hd_vector_of(f->bias), n);
    for (size_t i = 0; i < n && f->whole->data; i++)
        v[i] = v[i] * f->scale * hd_vector_of(f->whole)[i];
    if (f->norm->data || f->each->data)
        normalise_heads(c, f, v, heads);
}

void hd_rotate(const struct hd_compute *c, uint32_t layer, uint32_t position,
               const struct hd_row_tail *tail, float *v)
{
    enum hd_layer_rope rope = hd_model_rope_set(c->model, layer, tail);
    if (rope != HD_LAYER_ROPE_NONE)
        hd_rope(c->kernels, v, c->model->shape.head_dim,
                hd_rope_table_at(&c->rope, position, rope));
}

/* Finishes a K and a V row in place, stores them and seals both. */
struct kv_row {
    const struct hd_head_weights *w;
    struct hd_cpu_kv *kv;
    struct hd_kv_at at;
    uint32_t position;
    const uint8_t *x; /* its input */
};
static void store_row(struct hd_compute *c, struct kv_row to, float *k, float *v)
{
    size_t hd = c->model->shape.head_dim;
    static const struct hd_weights none;
    struct hd_row_tail tail = hd_model_tail(c->model, to.x, c->row_bytes);
    const struct hd_head_weights *w = to.w;
    hd_finish_heads(c,
                    &(struct hd_finish){&w->k_bias, &w->k_norm, &w->k_norm_bias, &w->k_each_norm,
                                        &w->k_whole_norm, tail.k_scale},
                    k, 1);
    hd_finish_heads(c, &(struct hd_finish){&w->v_bias, &none, &none, &none, &none, 0}, v, 1);
    hd_rotate(c, to.at.layer, to.position, &tail, k);
    hd_kv_store(c->kernels, c->kv_type, k, hd_cpu_kv_k(to.kv, to.at, to.position), hd);
    hd_kv_store(c->kernels, c->kv_type, v, hd_cpu_kv_v(to.kv, to.at, to.position), hd);
    hd_cpu_kv_seal(to.kv, to.at, to.position);
}

void hd_attention_store_item(void *arg, size_t index, unsigned thread)
{
    struct attention_job *j = arg;
    struct hd_compute *c = j->c;
    size_t slot = index / j->rows->n, row = index % j->rows->n;
    size_t hd = c->model->shape.head_dim;
    (void)thread;
    if (fresh_of(j, slot)[row])
        store_row(c,
                  (struct kv_row){weights_of(j->work, slot), j->kv, lane_of(j, slot, row),
                                  j->rows->positions[row], input_of(j, row)},
                  plane_row(c, c->k, slot, row, hd), plane_row(c, c->v, slot, row, hd));
}

/* Inputs of a list of rows, ready for products: Q8 rows are prepared in `to`. */
static struct hd_operand list_inputs(const struct hd_compute *c, const struct hd_kv_work *work,
                                     uint8_t *to)
{
    size_t dim = c->model->shape.dim, stride = hd_q8_prepared_bytes(dim);
    if (!c->q8)
        return (struct hd_operand){.x = (const float *)(const void *)work->x,
                                   .stride = c->row_bytes / sizeof(float)};
    for (size_t i = 0; i < work->n; i++)
        hd_q8_prepare(c->kernels, work->x + i * c->row_bytes, dim, to + i * stride);
    return (struct hd_operand){.q8 = to, .q8_stride = stride};
}

struct rows_job {
    struct hd_compute *c;
    const struct hd_device_stores *to;
    const struct hd_kv_work *list;
};

static void rows_item(void *arg, size_t index, unsigned thread)
{
    const struct rows_job *j = arg;
    struct hd_compute *c = j->c;
    const struct hd_kv_work *work = &j->list[index];
    const struct hd_head_weights *w =
        hd_cpu_head(hd_cpu_weights(j->to->weights), work->at.head, work->at.layer);
    size_t hd = c->model->shape.head_dim;
    float *k = hd_scratch(c, thread); /* [n][head_dim] */
    float *v = k + HD_LOG_CHUNK * hd; /* [n][head_dim] */
    struct hd_operand in = list_inputs(c, work, (uint8_t *)(v + HD_LOG_CHUNK * hd));
    hd_product(c->kernels, &in, &w->k, (struct hd_range){0, w->k.groups, 0, work->n}, k, hd);
    hd_product(c->kernels, &in, &w->v, (struct hd_range){0, w->v.groups, 0, work->n}, v, hd);
    for (size_t i = 0; i < work->n; i++)
        store_row(c,
                  (struct kv_row){w, hd_cpu_kv(j->to->kv), work->at, work->position + (uint32_t)i,
                                  work->x + i * c->row_bytes},
                  k + i * hd, v + i * hd);
}

int hd_compute_rows(struct hd_compute *c, const struct hd_device_stores *to,
                    const struct hd_kv_work *list, size_t n)
{
    struct rows_job j = {c, to, list};
    uint32_t end = 0;
    for (size_t i = 0; i < n; i++)
        if (list[i].position + list[i].n > end)
            end = list[i].position + (uint32_t)list[i].n;
    if (hd_rope_table_reserve(&c->rope, end) < 0)
        return HD_E_NOMEM;
    hd_team_run(c->team, n, rows_item, &j);
    return 0;
}

/* ---- The half ----*/

static struct unit_input output_of(const struct reduction *r, size_t slot)
{
    const struct hd_compute *c = r->c;
    size_t width = query_width(c);
    const struct hd_weights *w = &weights_of(r->work, slot)->o;
    return (struct unit_input){
        .w = w,
        .of = {.n = r->work->rows->n},
        .rows =
            {
                .x = plane_row(c, c->attended, slot, 0, width),
                .stride = width,
                .q8 = hd_takes_q8(c, w) ? attended_q8(c, slot, 0) : NULL,
                .q8_stride = hd_q8_prepared_bytes(width),
            },
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
            fresh += fresh_of(j, s)[i];
        sum += hd_product_flops(&w->q, j->rows->n) + hd_product_flops(&w->k, fresh) +
               hd_product_flops(&w->v, fresh);
    }
    return sum + 4 * seen * query_width(c) * j->heads.n;
}

/* Rows of one sequence are neighbours, mostly. */
static void find_shared(const struct attention_job *j)
{
    for (size_t s = 0; s < j->heads.n; s++)
        for (size_t i = 0; i < j->rows->n; i++)
            if (i == 0 || j->rows->sequences[i] != j->rows->sequences[i - 1])
                hd_cpu_kv_find_shared(j->kv, lane_of(j, s, i));
}

int hd_compute_attention(struct hd_compute *c, const struct hd_half_task *work,
                         struct hd_half_output *out, struct hd_error *err)
{
    const struct hd_rows *rows = work->rows;
    struct attention_job j = {.c = c,
                              .work = work,
                              .kv = hd_cpu_kv(work->from.kv),
                              .layer = work->layer,
                              .rows = rows,
                              .heads = work->units};
    *out = (struct hd_half_output){0};
    int rc = prepare(&j, err);
    if (rc < 0)
        return rc;
    find_shared(&j);
    size_t hd = c->model->shape.head_dim; /* q, k and v of a head, each in whole groups */
    size_t groups =
        (query_width(c) + HD_GROUP - 1) / HD_GROUP + 2 * ((hd + HD_GROUP - 1) / HD_GROUP);
    j.split = hd_split(c, j.heads.n, groups, rows->n);
    j.in = hd_inputs(c, rows);
    hd_team_run(c->team, hd_split_items(&j.split), project_item, &j);
    if (j.store_first)
        hd_team_run(c->team, j.heads.n * rows->n, hd_attention_store_item, &j);
    rc = hd_attend(&j, err);
    if (rc < 0)
        return rc;
    out->flops = count_flops(&j);
    struct reduction r = {.c = c, .work = work, .units = work->units.n, .in = output_of};
    return hd_reduce(&r, out, err);
}
