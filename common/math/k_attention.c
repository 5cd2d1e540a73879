/* Attention of query rows over blocks of positions, online softmax: for each block
 *   scores   s[j] = scale * q.k[j], 16 virtual lanes folded
 *   maximum  m' = max(m, s), correction c = exp(m - m')
 *   sums     l = l * c + sum p[j], out = out * c + sum p[j] v[j], p[j] = exp(s[j] - m')
 * Positions before a row's window have probability zero; blocks of nothing else are left out.
 * The heads of a few rows walk over the blocks together, so that K and V of a block are read from
 * memory once for all of them; in a pass over a block, up to PASS_MAX of them share the widening of
 * each value. */
#include "common/math/kernels_impl.h"
#include "common/math/vec.h"

#include <math.h>

#define BLOCK    HD_ATTN_BLOCK /* positions */
#define WALK_MAX 32            /* query vectors (a head of a row each) that walk together */
#define PASS_MAX 4             /* of them in one pass over a block */

/* A query vector, and what is known of it after some blocks. */
struct query {
    const float *q; /* [head_dim] */
    float *out;     /* [head_dim] */
    float max;      /* m */
    float sum;      /* l */
};

struct walk {
    const struct hd_attention_args *a;
    size_t row, rows;         /* of the call */
    size_t heads;             /* of each row, side by side */
    struct query v[WALK_MAX]; /* [rows][heads] */
    float p[PASS_MAX][BLOCK]; /* scores, then probabilities of the current block */
};

/* The part of a walk that one pass over a block takes: `n` vectors, a constant when inlined. */
struct pass {
    struct query *v;
    int n;
    size_t block, first, positions; /* [first, positions) of the block are seen */
    size_t part; /* of a head: its last values, fewer than 16; such heads go one by one */
};

HD_INLINE v16 load_kv(enum hd_kv_type type, const void *block, size_t i)
{
    if (type == HD_KV_F16)
        return v16_load_f16((const uint16_t *)block + i);
    return v16_load((const float *)block + i);
}

/* The first n < 16 of them, and zeros. */
HD_INLINE v16 load_kv_part(enum hd_kv_type type, const void *block, size_t i, size_t n)
{
    if (type == HD_KV_F32)
        return v16_load_part((const float *)block + i, n, 0.0f);
    uint16_t lanes[16] = {0};
    for (size_t k = 0; k < n; k++)
        lanes[k] = ((const uint16_t *)block)[i + k];
    return v16_load_f16(lanes);
}

/* Scores of the positions [j0, j0 + 16) of the block, as far as the pass sees them. */
HD_INLINE void scores_16(struct walk *w, enum hd_kv_type type, struct pass t, size_t j0)
{
    size_t head_dim = w->a->head_dim, whole = head_dim - t.part, n = t.positions - j0;
    const void *k = w->a->k_blocks[t.block];
    v16 lanes[PASS_MAX][16];
    for (size_t j = 0; j < 16; j++) {
        v16 dot[PASS_MAX];
        for (int r = 0; r < t.n; r++)
            dot[r] = v16_set1(0.0f);
        for (size_t d = 0; j < n && d < whole; d += 16) {
            v16 key = load_kv(type, k, (j0 + j) * head_dim + d);
            for (int r = 0; r < t.n; r++)
                dot[r] = v16_fma(v16_load(t.v[r].q + d), key, dot[r]);
        }
        if (j < n && t.part > 0) {
            v16 key = load_kv_part(type, k, (j0 + j) * head_dim + whole, t.part);
            for (int r = 0; r < t.n; r++)
                dot[r] = v16_fma(v16_load_part(t.v[r].q + whole, t.part, 0.0f), key, dot[r]);
        }
        for (int r = 0; r < t.n; r++)
            lanes[r][j] = dot[r];
    }
    for (int r = 0; r < t.n; r++)
        v16_store(w->p[r] + j0, v16_mul(v16_fold_16(lanes[r]), v16_set1(w->a->scale)));
}

/* Scores p of n positions to probabilities; returns the correction of what was summed before. */
static float block_softmax(struct query *v, float *p, const struct pass *t)
{
    for (size_t j = 0; j < t->first; j++)
        p[j] = -INFINITY; /* probability zero */
    for (size_t j = t->positions; j < BLOCK; j++)
        p[j] = -INFINITY;
    v16 max = v16_set1(v->max);
    for (size_t j = 0; j < BLOCK; j += 16)
        max = v16_max(max, v16_load(p + j));
    float top = v16_fold_max(max);
    v16 sum = v16_set1(0.0f);
    for (size_t j = 0; j < BLOCK; j += 16) {
        v16 e = v16_exp(v16_sub(v16_load(p + j), v16_set1(top)));
        v16_store(p + j, e);
        sum = v16_add(sum, e);
    }
    float correction = HD_KFN(exp)(v->max - top);
    v->max = top;
    v->sum = __builtin_fmaf(v->sum, correction, v16_fold(sum));
    return correction;
}

/* out[d, d + 16 * width) of each vector = out * correction + sum over j of p[j] * v[j]. */
HD_INLINE void values(const struct walk *w, enum hd_kv_type type, struct pass t, size_t d,
                      int width, const float *correction)
{
    const void *v = w->a->v_blocks[t.block];
    v16 acc[PASS_MAX][4];
    for (int r = 0; r < t.n; r++)
        for (int i = 0; i < width; i++)
            acc[r][i] = v16_mul(v16_load(t.v[r].out + d + i * 16), v16_set1(correction[r]));
    for (size_t j = t.first; j < t.positions; j++) {
        for (int i = 0; i < width; i++) {
            v16 value = load_kv(type, v, j * w->a->head_dim + d + (size_t)i * 16);
            for (int r = 0; r < t.n; r++)
                acc[r][i] = v16_fma(value, v16_set1(w->p[r][j]), acc[r][i]);
        }
    }
    for (int r = 0; r < t.n; r++)
        for (int i = 0; i < width; i++)
            v16_store(t.v[r].out + d + i * 16, acc[r][i]);
}

/* The same for the last values of heads that are no multiple of 16. */
HD_INLINE void last_values(const struct walk *w, enum hd_kv_type type, struct pass t, size_t d,
                           const float *correction)
{
    const void *v = w->a->v_blocks[t.block];
    size_t part = w->a->head_dim - d;
    for (int r = 0; r < t.n; r++) {
        float *out = t.v[r].out + d;
        v16 acc = v16_mul(v16_load_part(out, part, 0.0f), v16_set1(correction[r]));
        for (size_t j = t.first; j < t.positions; j++)
            acc = v16_fma(load_kv_part(type, v, j * w->a->head_dim + d, part), v16_set1(w->p[r][j]),
                          acc);
        v16_store_part(out, acc, part);
    }
}

HD_INLINE void attend_pass(struct walk *w, enum hd_kv_type type, struct pass t)
{
    int width = V16_ATTN_SUMS / t.n < 4 ? V16_ATTN_SUMS / t.n : 4;
    size_t step = (size_t)width * 16, d = 0;
    float correction[PASS_MAX];
    for (size_t j = 0; j < t.positions; j += 16)
        scores_16(w, type, t, j);
    for (int r = 0; r < t.n && w->a->cap > 0; r++)
        HD_KFN(soft_cap)(w->p[r], w->a->cap, t.positions);
    for (int r = 0; r < t.n; r++)
        correction[r] = block_softmax(&t.v[r], w->p[r], &t);
    for (; d + step <= w->a->head_dim; d += step)
        values(w, type, t, d, width, correction);
    for (; d + 16 <= w->a->head_dim; d += 16)
        values(w, type, t, d, 1, correction);
    if (t.part > 0)
        last_values(w, type, t, d, correction);
}

#define PASS_CASE(count)                                                                           \
    case count:                                                                                    \
        t.n = count;                                                                               \
        t.part = 0;                                                                                \
        attend_pass(w, type, t);                                                                   \
        break;

/* `left` vectors that see as many positions of the block. */
HD_INLINE void attend_vectors(struct walk *w, enum hd_kv_type type, struct pass t, size_t left)
{
    size_t part = w->a->head_dim % 16;
    while (left > 0) {
        size_t n = part              ? 0
                   : left < PASS_MAX ? left
                                     : PASS_MAX; /* 0: of no multiple of 16 values */
        switch (n) {
        case 0:
            n = 1;
            t.n = 1;
            t.part = part;
            attend_pass(w, type, t);
            break;
            PASS_CASE(1)
            PASS_CASE(2)
            PASS_CASE(3)
            PASS_CASE(PASS_MAX)
        }
        t.v += n;
        left -= n;
    }
}

/* The first position that a row sees of so many. */
HD_INLINE size_t first_seen(const struct hd_attention_args *a, size_t n_pos)
{
    return a->window > 0 && n_pos > a->window ? n_pos - a->window : 0;
}

/* Rows that do not see the whole block go one by one, all after them at once. */
HD_INLINE void attend_block(struct walk *w, enum hd_kv_type type, size_t b)
{
    size_t row = 0;
    for (; row < w->rows; row++) {
        size_t n_pos = w->a->n_pos + w->row + row, left = n_pos > b * BLOCK ? n_pos - b * BLOCK : 0;
        size_t first = first_seen(w->a, n_pos), last = first_seen(w->a, n_pos + w->rows - 1 - row);
        struct pass t = {.v = w->v + row * w->heads, .block = b, .positions = left};
        if (first >= (b + 1) * BLOCK) /* behind its window, and those of all after it */
            break;
        t.first = first > b * BLOCK ? first - b * BLOCK : 0;
        if (left > BLOCK)
            t.positions = BLOCK;
        if (left >= BLOCK && last <= b * BLOCK) {
            attend_vectors(w, type, t, (w->rows - row) * w->heads);
            break;
        }
        if (left > 0)
            attend_vectors(w, type, t, w->heads);
    }
}

/* w->rows rows from w->row, w->heads heads from `head`. */
HD_INLINE void attend(struct walk *w, enum hd_kv_type type, size_t head)
{
    const struct hd_attention_args *a = w->a;
    size_t n = w->rows * w->heads, longest = a->n_pos + w->row + w->rows - 1;
    for (size_t i = 0; i < n; i++) {
        size_t row = w->row + i / w->heads, at = (head + i % w->heads) * a->head_dim;
        w->v[i] = (struct query){.q = a->q + row * a->q_stride + at,
                                 .out = a->out + row * a->out_stride + at,
                                 .max = -INFINITY};
        if (a->sinks) { /* as if it had been the first score: exp(0) */
            w->v[i].max = a->sinks[head + i % w->heads];
            w->v[i].sum = 1;
        }
        for (size_t d = 0; d < a->head_dim; d++)
            w->v[i].out[d] = 0.0f;
    }
    for (size_t b = first_seen(a, a->n_pos + w->row) / BLOCK; b * BLOCK < longest; b++)
        attend_block(w, type, b);
    for (size_t i = 0; i < n; i++) {
        float sum = w->v[i].sum, inverse = sum == 0.0f ? 0.0f : 1.0f / sum; /* no position: zeros */
        for (size_t d = 0; d < a->head_dim; d++)
            w->v[i].out[d] *= inverse;
    }
}

HD_INLINE void attend_all(const struct hd_attention_args *a, enum hd_kv_type type)
{
    struct walk w = {.a = a};
    for (size_t head = 0; head < a->n_rep; head += w.heads) {
        w.heads = a->n_rep - head < WALK_MAX ? a->n_rep - head : WALK_MAX;
        for (w.row = 0; w.row < a->rows; w.row += w.rows) {
            size_t most = WALK_MAX / w.heads;
            w.rows = a->rows - w.row < most ? a->rows - w.row : most;
            attend(&w, type, head);
        }
    }
}

void HD_KFN(attention)(const struct hd_attention_args *a)
{
    if (a->kv_type == HD_KV_F16)
        attend_all(a, HD_KV_F16);
    else
        attend_all(a, HD_KV_F32);
}
