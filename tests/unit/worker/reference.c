/* reference.c - no kernels, no packing, no blocks: the formulas as they are written in papers. */
#include "reference.h"

#include <math.h>
#include <stdlib.h>

/* y[rows] = t x */
static void multiply(const struct hd_tensor *t, const double *x, double *y)
{
    float *row = malloc(t->cols * sizeof *row);
    for (size_t r = 0; r < t->rows; r++) {
        hd_dequant(t, r, 0, t->cols, row);
        y[r] = 0;
        for (size_t c = 0; c < t->cols; c++)
            y[r] += (double)row[c] * x[c];
    }
    free(row);
}

static double *widen(const float *x, size_t n)
{
    double *y = malloc(n * sizeof *y);
    for (size_t i = 0; i < n; i++)
        y[i] = (double)x[i];
    return y;
}

/* Rotates every head vector of v [n] for one position, in the model's own order of rows. */
static void rotate(const struct hd_model *m, double *v, size_t n, size_t position)
{
    size_t hd = m->shape.head_dim, half = hd / 2;
    bool halves = m->rope_order == HD_ROPE_HALVES;
    for (size_t h = 0; h < n; h += hd)
        for (size_t i = 0; i < half; i++) {
            double *a = &v[h + (halves ? i : 2 * i)], *b = &v[h + (halves ? i + half : 2 * i + 1)];
            double angle = (double)position * m->rope_freq[i], was = *a;
            *a = was * cos(angle) - *b * sin(angle);
            *b = was * sin(angle) + *b * cos(angle);
        }
}

/* softmax(q k^T / sqrt(hd)) v for one query head. k, v: [n][kv_width], already at this head. */
static void attend(const double *q, const double *k, const double *v, const size_t sizes[3],
                   double *out)
{
    size_t n = sizes[0], hd = sizes[1], stride = sizes[2];
    double *score = malloc(n * sizeof *score), max = -INFINITY, sum = 0;
    for (size_t p = 0; p < n; p++) {
        score[p] = 0;
        for (size_t i = 0; i < hd; i++)
            score[p] += q[i] * k[p * stride + i];
        score[p] /= sqrt((double)hd);
        max = fmax(max, score[p]);
    }
    for (size_t i = 0; i < hd; i++)
        out[i] = 0;
    for (size_t p = 0; p < n; p++)
        sum += score[p] = exp(score[p] - max);
    for (size_t p = 0; p < n; p++)
        for (size_t i = 0; i < hd; i++)
            out[i] += score[p] / sum * v[p * stride + i];
    free(score);
}

void reference_attention(const struct hd_model *m, uint32_t layer, const float *x, size_t n,
                         double *out)
{
    const struct hd_model_shape *s = &m->shape;
    const struct hd_layer *l = &m->layers[layer];
    size_t hd = s->head_dim, kv_width = s->n_kv_heads * hd, n_rep = s->n_heads / s->n_kv_heads;
    double *k = malloc(n * kv_width * sizeof *k), *v = malloc(n * kv_width * sizeof *v);
    double *q = malloc(s->n_heads * hd * sizeof *q), *o = malloc(s->n_heads * hd * sizeof *o);
    for (size_t p = 0; p < n; p++) {
        double *in = widen(x + p * s->dim, s->dim);
        multiply(&l->wk, in, k + p * kv_width);
        multiply(&l->wv, in, v + p * kv_width);
        if (p == n - 1)
            multiply(&l->wq, in, q);
        rotate(m, k + p * kv_width, kv_width, p);
        free(in);
    }
    rotate(m, q, s->n_heads * hd, n - 1);
    for (size_t h = 0; h < s->n_heads; h++) {
        size_t at = h / n_rep * hd;
        attend(q + h * hd, k + at, v + at, (size_t[3]){n, hd, kv_width}, o + h * hd);
    }
    multiply(&l->wo, o, out);
    free(k);
    free(v);
    free(q);
    free(o);
}

void reference_ffn(const struct hd_model *m, uint32_t layer, const float *x, double *out)
{
    const struct hd_layer *l = &m->layers[layer];
    size_t ffn = m->shape.ffn_dim;
    double *in = widen(x, m->shape.dim);
    double *gate = malloc(ffn * sizeof *gate), *up = malloc(ffn * sizeof *up);
    multiply(&l->gate, in, gate);
    multiply(&l->up, in, up);
    for (size_t i = 0; i < ffn; i++)
        up[i] *= gate[i] / (1 + exp(-gate[i]));
    multiply(&l->down, up, out);
    free(in);
    free(gate);
    free(up);
}

void reference_logits(const struct hd_model *m, const float *x, double *out)
{
    double *in = widen(x, m->shape.dim);
    multiply(&m->output, in, out);
    free(in);
}
