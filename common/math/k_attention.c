/* Attention of one query row over blocks of positions, online softmax: for each block
 *   scores   s[j] = scale * q.k[j], 16 virtual lanes folded
 *   maximum  m' = max(m, s), correction c = exp(m - m')
 *   sums     l = l * c + sum p[j], out = out * c + sum p[j] v[j], p[j] = exp(s[j] - m')
 * The heads that share K and V are worked on HEADS at a time, so that a value is widened once. */
#include "common/math/kernels_impl.h"
#include "common/math/vec.h"

#include <math.h>

#define HEADS 4             /* query heads in one pass over a block */
#define BLOCK HD_ATTN_BLOCK /* positions */

/* The running state of up to HEADS query heads. */
struct heads {
    const struct hd_attention_args *a;
    size_t first;          /* query head */
    float max[HEADS];      /* m */
    float sum[HEADS];      /* l */
    float p[HEADS][BLOCK]; /* scores, then probabilities of the current block */
};

HD_INLINE v16 load_kv(enum hd_kv_type type, const void *block, size_t i)
{
    if (type == HD_KV_F16)
        return v16_load_f16((const uint16_t *)block + i);
    return v16_load((const float *)block + i);
}

/* Scores of positions [j0, j0 + n) of the block, n <= 16; `type` and `heads` are constants. */
HD_INLINE void scores_16(struct heads *h, enum hd_kv_type type, int heads, const void *k, size_t j0,
                         size_t n)
{
    const struct hd_attention_args *a = h->a;
    const float *q = a->q + h->first * a->head_dim;
    v16 lanes[HEADS][16];
    for (size_t j = 0; j < 16; j++) {
        v16 dot[HEADS];
        for (int r = 0; r < heads; r++)
            dot[r] = v16_set1(0.0f);
        for (size_t d = 0; j < n && d < a->head_dim; d += 16) {
            v16 key = load_kv(type, k, (j0 + j) * a->head_dim + d);
            for (int r = 0; r < heads; r++)
                dot[r] = v16_fma(v16_load(q + (size_t)r * a->head_dim + d), key, dot[r]);
        }
        for (int r = 0; r < heads; r++)
            lanes[r][j] = dot[r];
    }
    for (int r = 0; r < heads; r++)
        v16_store(h->p[r] + j0, v16_mul(v16_fold_16(lanes[r]), v16_set1(a->scale)));
}

/* Scores to probabilities; returns the correction of what was summed before. */
static float block_softmax(struct heads *h, int r, size_t n)
{
    float *p = h->p[r];
    for (size_t j = n; j < BLOCK; j++)
        p[j] = -INFINITY; /* probability zero */
    v16 max = v16_set1(h->max[r]);
    for (size_t j = 0; j < BLOCK; j += 16)
        max = v16_max(max, v16_load(p + j));
    float top = v16_fold_max(max);
    v16 sum = v16_set1(0.0f);
    for (size_t j = 0; j < BLOCK; j += 16) {
        v16 e = v16_exp(v16_sub(v16_load(p + j), v16_set1(top)));
        v16_store(p + j, e);
        sum = v16_add(sum, e);
    }
    float correction = HD_KFN(exp)(h->max[r] - top);
    h->max[r] = top;
    h->sum[r] = __builtin_fmaf(h->sum[r], correction, v16_fold(sum));
    return correction;
}

/* out[d, d + 16 * width) of each head = out * correction + sum over j of p[j] * v[j]. */
HD_INLINE void values(struct heads *h, enum hd_kv_type type, int heads, int width, const void *v,
                      size_t n, size_t d, const float *correction)
{
    const struct hd_attention_args *a = h->a;
    float *out = a->out + h->first * a->head_dim + d;
    v16 acc[HEADS][4];
    for (int r = 0; r < heads; r++)
        for (int w = 0; w < width; w++)
            acc[r][w] = v16_mul(v16_load(out + (size_t)r * a->head_dim + (size_t)w * 16),
                                v16_set1(correction[r]));
    for (size_t j = 0; j < n; j++) {
        for (int w = 0; w < width; w++) {
            v16 value = load_kv(type, v, j * a->head_dim + d + (size_t)w * 16);
            for (int r = 0; r < heads; r++)
                acc[r][w] = v16_fma(value, v16_set1(h->p[r][j]), acc[r][w]);
        }
    }
    for (int r = 0; r < heads; r++)
        for (int w = 0; w < width; w++)
            v16_store(out + (size_t)r * a->head_dim + (size_t)w * 16, acc[r][w]);
}

HD_INLINE void attend_block(struct heads *h, enum hd_kv_type type, int heads, size_t b)
{
    const struct hd_attention_args *a = h->a;
    size_t left = a->n_pos - b * BLOCK, n = left < BLOCK ? left : BLOCK, d = 0;
    float correction[HEADS];
    for (size_t j = 0; j < n; j += 16)
        scores_16(h, type, heads, a->k_blocks[b], j, n - j < 16 ? n - j : 16);
    for (int r = 0; r < heads; r++)
        correction[r] = block_softmax(h, r, n);
    for (; d + 64 <= a->head_dim; d += 64)
        values(h, type, heads, 4, a->v_blocks[b], n, d, correction);
    for (; d < a->head_dim; d += 16)
        values(h, type, heads, 1, a->v_blocks[b], n, d, correction);
}

HD_INLINE void attend(const struct hd_attention_args *a, enum hd_kv_type type, int heads,
                      size_t first)
{
    struct heads h = {.a = a, .first = first};
    float *out = a->out + first * a->head_dim;
    for (int r = 0; r < heads; r++)
        h.max[r] = -INFINITY;
    for (size_t i = 0; i < (size_t)heads * a->head_dim; i++)
        out[i] = 0.0f;
    for (size_t b = 0; b * BLOCK < a->n_pos; b++)
        attend_block(&h, type, heads, b);
    for (int r = 0; r < heads; r++) {
        float inverse = h.sum[r] == 0.0f ? 0.0f : 1.0f / h.sum[r]; /* no position: zeros */
        for (size_t d = 0; d < a->head_dim; d++)
            out[(size_t)r * a->head_dim + d] *= inverse;
    }
}

HD_INLINE void attend_all(const struct hd_attention_args *a, enum hd_kv_type type)
{
    size_t r = 0;
    for (; r + 4 <= a->n_rep; r += 4)
        attend(a, type, 4, r);
    switch (a->n_rep - r) {
    case 3:
        attend(a, type, 3, r);
        break;
    case 2:
        attend(a, type, 2, r);
        break;
    case 1:
        attend(a, type, 1, r);
        break;
    }
}

void HD_KFN(attention)(const struct hd_attention_args *a)
{
    if (a->kv_type == HD_KV_F16)
        attend_all(a, HD_KV_F16);
    else
        attend_all(a, HD_KV_F32);
}
