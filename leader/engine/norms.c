/* norms.c - what becomes of a row before it is handed out: the norm of the residual, and, for
 * models that normalise q and k over all heads, the scales of these.
 *
 * No worker has all heads, so the leader computes q and k of every row itself, from the very bytes
 * that travel and in one order: the scales are a function of the row alone, travel behind it, and
 * are logged with it. It costs the leader two of a layer's seven products, and its memory their
 * weights. */
#include "leader/engine/engine_impl.h"

#include "common/math/layer_norm.h"
#include "common/math/product.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TILE_ROWS 16 /* that share a pass over the weights */

/* q or k of one layer. */
struct whole_part {
    struct hd_weights w;
    float *bias; /* NULL: none */
};

struct hd_whole_norms {
    struct whole_part *part; /* [layers][2] */
    size_t n_parts;
    uint8_t *prepared; /* [TILE_ROWS] rows for the kernels; NULL: rows are f32 */
    float *y;          /* [TILE_ROWS][width] */
    size_t width;
};

/* out = norm(x), by weights [dim] and a bias; x as it is without weights. */
static void norm_row(const struct hd_engine *e, const float *x, const float *weight,
                     const float *bias, float *out)
{
    const struct hd_model_shape *m = &e->o.model->shape;
    if (!weight)
        memcpy(out, x, m->dim * sizeof *out);
    else if (e->o.model->block.norm == HD_NORM_LAYER)
        hd_layer_norm(x, weight, bias, m->norm_eps, out, m->dim);
    else
        hd_rms_norm(e->o.kernels, x, weight, m->norm_eps, out, m->dim);
}

const float *hd_own_vector(const struct hd_engine *e, const struct hd_group *p,
                           enum hd_slot_id slot)
{
    size_t layer = p->half == HD_HALF_LOGITS ? 0 : p->layer;
    return e->own[slot] ? e->own[slot] + layer * e->o.model->shape.dim : NULL;
}

static const float *norm_of(const struct hd_engine *e, const struct hd_group *p)
{
    return hd_own_vector(e, p,
                         p->half == HD_HALF_LOGITS ? HD_SLOT_OUTPUT_NORM
                         : p->half == HD_HALF_FFN  ? HD_SLOT_FFN_NORM
                                                   : HD_SLOT_ATTN_NORM);
}

static const float *norm_bias_of(const struct hd_engine *e, const struct hd_group *p)
{
    return hd_own_vector(e, p,
                         p->half == HD_HALF_LOGITS ? HD_SLOT_OUTPUT_NORM_BIAS
                         : p->half == HD_HALF_FFN  ? HD_SLOT_FFN_NORM_BIAS
                                                   : HD_SLOT_ATTN_NORM_BIAS);
}

bool hd_input_is_there(const struct hd_engine *e, const struct hd_group *p)
{
    return p->half == HD_HALF_FFN && e->o.model->block.parallel && !e->before;
}

const float *hd_read_of(const struct hd_engine *e, const struct hd_group *p, size_t i)
{
    size_t at = i * e->o.model->shape.dim;
    if (e->before && p->half == HD_HALF_ATTENTION)
        memcpy(e->before + at, e->residual + at, e->o.model->shape.dim * sizeof *e->before);
    return e->before && p->half == HD_HALF_FFN ? e->before + at : e->residual + at;
}

void hd_put_input(const struct hd_engine *e, const struct hd_group *p, const float *residual,
                  float *normalised, uint8_t *x)
{
    size_t dim = e->o.model->shape.dim;
    norm_row(e, residual, norm_of(e, p), norm_bias_of(e, p), normalised);
    if (e->o.activations == HD_ACTIVATIONS_Q8)
        hd_q8_encode(e->o.kernels, normalised, dim, x);
    else
        memcpy(x, normalised, dim * sizeof *normalised);
}

void hd_final_norm(const struct hd_engine *e, const float *residual, float *normalised)
{
    const struct hd_group last = {.half = HD_HALF_LOGITS};
    norm_row(e, residual, norm_of(e, &last), norm_bias_of(e, &last), normalised);
}

/* ---- Norms of q and k over all heads ----*/

static const enum hd_slot_id matrices[2] = {HD_SLOT_Q, HD_SLOT_K},
                             biases[2] = {HD_SLOT_Q_BIAS, HD_SLOT_K_BIAS};

static int load_part(const struct hd_model *m, unsigned which, uint32_t layer, struct whole_part *p)
{
    const struct hd_tensor *t = hd_slot_of(m, matrices[which], layer);
    int rc = hd_weights_init(&p->w, t, &(struct hd_slice){.n_rows = t->rows, .n_cols = t->cols});
    if (rc < 0 || hd_slot_layers(m, biases[which]) == 0)
        return rc;
    p->bias = calloc(t->rows, sizeof *p->bias);
    for (size_t i = 0; p->bias && i < t->rows; i++)
        hd_dequant(hd_slot_of(m, biases[which], layer), i, 0, 1, &p->bias[i]);
    return p->bias ? 0 : HD_E_NOMEM;
}

void hd_whole_norms_free(struct hd_whole_norms *n)
{
    for (size_t i = 0; n && i < n->n_parts; i++) {
        hd_weights_deinit(&n->part[i].w);
        free(n->part[i].bias);
    }
    if (n) {
        free(n->part);
        free(n->prepared);
        free(n->y);
    }
    free(n);
}

int hd_whole_norms_new(struct hd_whole_norms **out, const struct hd_engine *e)
{
    const struct hd_model *m = e->o.model;
    bool q8 = e->o.activations == HD_ACTIVATIONS_Q8;
    *out = NULL;
    if (hd_slot_layers(m, HD_SLOT_Q_WHOLE_NORM) == 0)
        return 0;
    struct hd_whole_norms *n = calloc(1, sizeof *n);
    if (!n)
        return HD_E_NOMEM;
    n->width = hd_size_of(&m->shape, HD_SIZE_Q);
    n->part = calloc(2 * (size_t)m->shape.n_layers, sizeof *n->part);
    n->y = calloc(TILE_ROWS * n->width, sizeof *n->y);
    n->prepared = q8 ? calloc(TILE_ROWS, hd_q8_prepared_bytes(m->shape.dim)) : NULL;
    int rc = n->part && n->y && (n->prepared || !q8) ? 0 : HD_E_NOMEM;
    n->n_parts = n->part ? 2 * (size_t)m->shape.n_layers : 0;
    for (size_t i = 0; rc == 0 && i < n->n_parts; i++)
        rc = load_part(m, i % 2, (uint32_t)(i / 2), &n->part[i]);
    if (rc < 0) {
        hd_whole_norms_free(n);
        return rc;
    }
    *out = n;
    return 0;
}

/* Of rows [rows][row_bytes] as they travel: what q or k of each is multiplied by. */
static void scales_of(const struct hd_engine *e, const struct whole_part *p, const uint8_t *rows,
                      size_t n_rows, float *scale)
{
    const struct hd_whole_norms *n = e->whole;
    size_t dim = e->o.model->shape.dim, stride = hd_q8_prepared_bytes(dim);
    struct hd_operand in = {.x = (const float *)(const void *)rows,
                            .stride = e->row_bytes / sizeof(float),
                            .q8 = n->prepared,
                            .q8_stride = stride};
    for (size_t i = 0; n->prepared && i < n_rows; i++)
        hd_q8_prepare(e->o.kernels, rows + i * e->row_bytes, dim, n->prepared + i * stride);
    hd_product(e->o.kernels, &in, &p->w, (struct hd_range){0, p->w.groups, 0, n_rows}, n->y,
               n->width);
    for (size_t i = 0; i < n_rows; i++) {
        float *y = n->y + i * n->width;
        for (size_t k = 0; p->bias && k < p->w.outputs; k++)
            y[k] += p->bias[k];
        float mean = hd_sum_squares(e->o.kernels, y, p->w.outputs) / (float)p->w.outputs;
        scale[i] = 1.0f / sqrtf(mean + e->o.model->shape.norm_eps);
    }
}

static void put_tail(const struct hd_engine *e, size_t row, struct hd_row_tail tail)
{
    memcpy(e->x + (row + 1) * e->row_bytes - sizeof tail, &tail, sizeof tail);
}

void hd_put_tails(const struct hd_engine *e, const struct hd_group *p, size_t n_rows)
{
    const struct hd_model *m = e->o.model;
    bool attention = p->half == HD_HALF_ATTENTION;
    if (!hd_model_has_tail(m))
        return;
    for (size_t done = 0; done < n_rows; done += TILE_ROWS) {
        size_t first = p->first + done, n = n_rows - done < TILE_ROWS ? n_rows - done : TILE_ROWS;
        float scale[2][TILE_ROWS] = {{0}};
        for (unsigned k = 0; k < 2 && e->whole && attention; k++)
            scales_of(e, &e->whole->part[2 * (size_t)p->layer + k], e->x + first * e->row_bytes, n,
                      scale[k]);
        for (size_t i = 0; i < n; i++) {
            const struct hd_request *r = e->rows[first + i].r;
            bool is_long = attention && m->long_from != 0 && r->n_tokens > m->long_from;
            put_tail(e, first + i, (struct hd_row_tail){scale[0][i], scale[1][i], is_long, 0});
        }
    }
}
