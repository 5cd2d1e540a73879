/* reference_products.c - one output of one row after the other, out of the file's bytes. */
#include "tests/device/reference_impl.h"

#include "common/math/q8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct hd_kernels *reference_portable(void)
{
    return hd_kernels_get(HD_ISA_PORTABLE);
}

void *reference_room(struct half *h, size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    h->failed = h->failed || !p;
    return p;
}

/* ---- Products ----*/

const struct hd_cut *reference_cut_of(const struct piece *p, enum hd_slot_id slot)
{
    for (unsigned i = 0; i < p->cuts.n; i++)
        if (p->cuts.cut[i].slot == slot)
            return &p->cuts.cut[i];
    return NULL;
}

size_t reference_outputs_of(const struct hd_cut *c)
{
    return hd_slots[c->slot].cut == HD_CUT_COLUMNS ? c->t.rows : c->n_rows;
}

static size_t inputs_of(const struct hd_cut *c)
{
    return hd_slots[c->slot].cut == HD_CUT_COLUMNS ? c->n_cols : c->t.cols;
}

/* The row of the matrix that an output is: pairs that rotate together lie side by side. */
static uint32_t row_of(const struct hd_model *m, const struct hd_cut *c, size_t output)
{
    size_t hd = m->shape.head_dim, head = output / hd, j = output % hd, rotated = m->shape.rope_dim;
    enum hd_cut_how cut = hd_slots[c->slot].cut;
    if ((cut == HD_CUT_ROTATED || cut == HD_CUT_WHOLE) && m->rope_order == HD_ROPE_HALVES &&
        j < rotated)
        output = head * hd + j / 2 + j % 2 * (rotated / 2);
    return (uint32_t)(hd_slots[c->slot].cut == HD_CUT_COLUMNS ? output : c->row0 + output);
}

/* 8-bit rows are multiplied as they are: the weights are quantized, and cut between their blocks.
 */
static bool takes_q8(const struct half *h, const struct hd_cut *c)
{
    size_t block = hd_dtype_block(c->t.type), col0 = inputs_of(c) == c->t.cols ? 0 : c->col0;
    return h->q8 && block > 1 && col0 % block == 0 && inputs_of(c) % block == 0;
}

static float dot(const struct hd_cut *c, uint32_t row, const float *x, float *scratch)
{
    size_t block = hd_dtype_block(c->t.type), n = inputs_of(c), col0 = n == c->t.cols ? 0 : c->col0;
    size_t first = col0 - col0 % block, end = (col0 + n + block - 1) / block * block;
    float sum = 0;
    hd_dequant(&c->t, row, first, (end < c->t.cols ? end : c->t.cols) - first, scratch);
    for (size_t i = 0; i < n; i++)
        sum = fmaf(scratch[col0 - first + i], x[i], sum);
    return sum;
}

static float dot_q8(struct half *h, const struct hd_cut *c, uint32_t row, const void *prepared)
{
    struct hd_weights w;
    float y[HD_GROUP];
    size_t col0 = inputs_of(c) == c->t.cols ? 0 : c->col0;
    struct hd_slice one = {.row_map = &row, .n_rows = 1, .col0 = col0, .n_cols = inputs_of(c)};
    if (hd_weights_init(&w, &c->t, &one) < 0) {
        h->failed = true;
        return 0;
    }
    hd_matmul_q8(reference_portable(),
                 &(struct hd_matmul_q8_args){.w = &w,
                                             .g1 = 1,
                                             .x = prepared,
                                             .x_stride = hd_q8_prepared_bytes(w.inputs),
                                             .y = y,
                                             .y_stride = HD_GROUP,
                                             .rows = 1});
    hd_weights_deinit(&w);
    return y[0];
}

/* y[outputs] of one row: x are floats, or a prepared row where the weights take that. */
void reference_multiply(struct half *h, const struct hd_cut *c, const void *x, float *y)
{
    float *scratch = reference_room(h, (c->t.cols + 1) * sizeof *scratch);
    for (size_t o = 0; o < reference_outputs_of(c) && scratch; o++) {
        uint32_t row = row_of(h->d->o.model, c, o);
        y[o] = takes_q8(h, c) ? dot_q8(h, c, row, x) : dot(c, row, x, scratch);
    }
    h->flops += 2 * reference_outputs_of(c) * inputs_of(c);
    free(scratch);
}

/* Row i of the inputs `x`, as products take it. The caller frees. */
void *reference_input(struct half *h, const void *x, size_t i)
{
    const uint8_t *row = (const uint8_t *)x + i * h->row_bytes;
    size_t bytes = h->q8 ? hd_q8_prepared_bytes(h->shape->dim) : h->row_bytes;
    void *p = reference_room(h, bytes);
    if (p && h->q8)
        hd_q8_prepare(reference_portable(), row, h->shape->dim, p);
    else if (p)
        memcpy(p, row, bytes);
    return p;
}

/* Adds what the last matrix of a unit makes of x [inputs] to the sums of a row, times a weight. */
void reference_add(struct half *h, const struct hd_cut *c, size_t row, const float *x, float weight)
{
    size_t dim = h->shape->dim, n = inputs_of(c);
    float *y = reference_room(h, dim * sizeof *y);
    void *prepared = takes_q8(h, c) ? reference_room(h, hd_q8_prepared_bytes(n)) : NULL;
    if (prepared)
        hd_q8_quantize(reference_portable(), x, n, prepared);
    if (!h->failed) {
        reference_multiply(h, c, prepared ? prepared : x, y);
        for (size_t i = 0; i < dim && weight != 1; i++)
            y[i] *= weight;
        if (hd_fixed_add(reference_portable(), h->sum + row * dim, y, h->task->rows->shifts[row],
                         dim) < 0)
            h->is_bad[row] = 1;
    }
    free(prepared);
    free(y);
}

float reference_value(const struct half *h, const struct hd_cut *c, size_t i)
{
    float v;
    hd_dequant(&c->t, row_of(h->d->o.model, c, i), 0, 1, &v);
    return hd_slots[c->slot].norm ? v + h->d->o.model->block.norm_offset : v;
}

void reference_add_vector(const struct half *h, const struct piece *p, enum hd_slot_id slot,
                          float *y)
{
    const struct hd_cut *c = reference_cut_of(p, slot);
    for (size_t i = 0; c && i < c->n_rows; i++)
        y[i] += reference_value(h, c, i);
}
