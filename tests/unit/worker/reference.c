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

/* v[n] += t, a vector that stands upright and may be empty. */
static void add(const struct hd_tensor *t, double *v, size_t n)
{
    for (size_t i = 0; i < n && t->data; i++) {
        float x;
        hd_dequant(t, i, 0, 1, &x);
        v[i] += (double)x;
    }
}

/* Normalises every head vector of v [n], if there are weights: of all, or of each its own. */
static void normalise(const struct hd_model *m, const struct hd_tensor *t, double *v, size_t n)
{
    size_t hd = m->shape.head_dim;
    for (size_t at = 0; at < n && t->data; at += hd) {
        double *h = v + at, mean = 0, sum = 0;
        for (size_t i = 0; i < hd && m->block.norm == HD_NORM_LAYER; i++)
            mean += h[i] / (double)hd;
        for (size_t i = 0; i < hd; i++)
            sum += (h[i] - mean) * (h[i] - mean);
        for (size_t i = 0; i < hd; i++) {
            float w;
            hd_dequant(t, t->rows == hd ? i : at + i, 0, 1, &w);
            h[i] = (h[i] - mean) * (double)(w + m->block.norm_offset) /
                   sqrt(sum / (double)hd + m->shape.norm_eps);
        }
    }
}

/* Rotates every head vector of v [n] for one position, in the model's own order of rows. */
static void rotate(const struct hd_model *m, uint32_t layer, double *v, size_t n, size_t position)
{
    size_t hd = m->shape.head_dim, half = m->shape.rope_dim / 2;
    bool halves = m->rope_order == HD_ROPE_HALVES;
    enum hd_layer_rope set = m->layers[layer].rope;
    for (size_t h = 0; h < n && set != HD_LAYER_ROPE_NONE; h += hd)
        for (size_t i = 0; i < half; i++) {
            double *a = &v[h + (halves ? i : 2 * i)], *b = &v[h + (halves ? i + half : 2 * i + 1)];
            double angle = (double)position * m->rope_freq[set * (hd / 2) + i], was = *a;
            double c = cos(angle) * (double)m->rope_scale[set],
                   s = sin(angle) * (double)m->rope_scale[set];
            *a = was * c - *b * s;
            *b = was * s + *b * c;
        }
}

static double capped(double x, double cap)
{
    return cap > 0 ? cap * tanh(x / cap) : x;
}

struct heads {
    const struct hd_model *m;
    uint32_t layer;
    size_t n, stride; /* positions; values from one to the next */
};

/* softmax(cap(scale * q k^T)) v for one query head. k, v: [n][stride], already at this head. */
static void attend(const struct heads *a, const double *q, const double *k, const double *v,
                   double *out)
{
    size_t n = a->n, hd = a->m->shape.head_dim, window = a->m->layers[a->layer].window;
    size_t first = window && n > window ? n - window : 0;
    double *score = malloc(n * sizeof *score), max = -INFINITY, sum = 0;
    for (size_t p = first; p < n; p++) {
        score[p] = 0;
        for (size_t i = 0; i < hd; i++)
            score[p] += q[i] * k[p * a->stride + i];
        score[p] = capped(score[p] * (double)a->m->block.attention_scale,
                          (double)a->m->block.attention_cap);
        max = fmax(max, score[p]);
    }
    for (size_t i = 0; i < hd; i++)
        out[i] = 0;
    for (size_t p = first; p < n; p++)
        sum += score[p] = exp(score[p] - max);
    for (size_t p = first; p < n; p++)
        for (size_t i = 0; i < hd; i++)
            out[i] += score[p] / sum * v[p * a->stride + i];
    free(score);
}

/* q, k or v of one row, as attention takes it. */
static void project(const struct hd_model *m, const struct hd_tensor *const t[4], const double *in,
                    double *out)
{
    multiply(t[0], in, out);
    add(t[1], out, t[0]->rows);
    normalise(m, t[2], out, t[0]->rows);
    normalise(m, t[3], out, t[0]->rows);
}

void reference_attention(const struct hd_model *m, uint32_t layer, const float *x, size_t n,
                         double *out)
{
    static const struct hd_tensor none;
    const struct hd_model_shape *s = &m->shape;
    const struct hd_layer *l = &m->layers[layer];
    size_t hd = s->head_dim, kv_width = s->n_kv_heads * hd, n_rep = s->n_heads / s->n_kv_heads;
    double *k = malloc(n * kv_width * sizeof *k), *v = malloc(n * kv_width * sizeof *v);
    double *q = malloc(s->n_heads * hd * sizeof *q), *o = malloc(s->n_heads * hd * sizeof *o);
    struct heads a = {m, layer, n, kv_width};
    for (size_t p = 0; p < n; p++) {
        double *in = widen(x + p * s->dim, s->dim);
        project(m, (const struct hd_tensor *[4]){&l->wk, &l->k_bias, &l->k_norm, &l->k_each_norm},
                in, k + p * kv_width);
        project(m, (const struct hd_tensor *[4]){&l->wv, &l->v_bias, &none, &none}, in,
                v + p * kv_width);
        if (p == n - 1)
            project(m,
                    (const struct hd_tensor *[4]){&l->wq, &l->q_bias, &l->q_norm, &l->q_each_norm},
                    in, q);
        rotate(m, layer, k + p * kv_width, kv_width, p);
        free(in);
    }
    rotate(m, layer, q, s->n_heads * hd, n - 1);
    for (size_t h = 0; h < s->n_heads; h++) {
        size_t at = h / n_rep * hd;
        attend(&a, q + h * hd, k + at, v + at, o + h * hd);
    }
    multiply(&l->wo, o, out);
    free(k);
    free(v);
    free(q);
    free(o);
}

static double activated(const struct hd_model *m, double x)
{
    if (m->block.activation == HD_ACTIVATION_GELU_TANH)
        return x / 2 * (1 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
    if (m->block.activation == HD_ACTIVATION_GELU)
        return x / 2 * (1 + erf(x * 0.70710678118654752440));
    if (m->block.activation == HD_ACTIVATION_RELU2)
        return x > 0 ? x * x : 0;
    return x / (1 + exp(-x));
}

void reference_ffn(const struct hd_model *m, uint32_t layer, const float *x, double *out)
{
    const struct hd_layer *l = &m->layers[layer];
    size_t ffn = m->shape.ffn_dim;
    double *in = widen(x, m->shape.dim);
    double *gate = malloc(ffn * sizeof *gate), *up = malloc(ffn * sizeof *up);
    bool gated = l->gate.rows > 0;
    if (gated)
        multiply(&l->gate, in, gate);
    multiply(&l->up, in, up);
    add(&l->gate_bias, gate, ffn);
    add(&l->up_bias, up, ffn);
    for (size_t i = 0; i < ffn; i++)
        up[i] = gated ? up[i] * activated(m, gate[i]) : activated(m, up[i]);
    multiply(&l->down, up, out);
    free(in);
    free(gate);
    free(up);
}

void reference_logits(const struct hd_model *m, const float *x, double *out)
{
    double *in = widen(x, m->shape.dim);
    multiply(&m->output, in, out);
    add(&m->output_bias, out, m->shape.vocab);
    for (size_t i = 0; i < m->shape.vocab; i++)
        out[i] = capped(out[i] * (double)m->block.logit_scale, (double)m->block.logit_cap);
    free(in);
}
