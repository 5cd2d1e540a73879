/* Attention of query rows over blocks of positions, online softmax: for each block
 *   scores   s[j] = scale * q.k[j], 16 virtual lanes folded
 *   maximum  m' = max(m, s), correction c = exp(m - m')
 *   sums     l = l * c + sum p[j], out = out * c + sum p[j] v[j], p[j] = exp(s[j] - m')
 * Positions before a row's window have probability zero; blocks of nothing else are left out.
 * Every segment begins anew, so that any thread may compute it; they are folded in their order:
 *   m' = max(m, ms), l = l * exp(m - m') + ls * exp(ms - m'), out likewise
 * The heads of a few rows walk over the blocks together, so that K and V of a block are read from
 * memory once for all of them; in a pass over a block, up to PASS_MAX of them share the widening of
 * each value. */
#include "common/math/kernels_impl.h"
#include "common/math/vec.h"

#include <math.h>

#define BLOCK    HD_ATTN_BLOCK /* positions */
#define WALK_MAX 32            /* query vectors (a head of a row each) that walk together */
#define PASS_MAX 4             /* of them in one pass over a block */
#define ROOM     8192          /* floats: sums of a walk in a segment */

/* What a query vector has of some positions. */
struct sums {
    float *out; /* [head_dim] */
    float max;  /* m */
    float sum;  /* l; 0: it has seen none */
};

struct query {
    const float *q;     /* [head_dim] */
    struct sums now;    /* of the segment in hand */
    struct sums before; /* of those before it */
};

struct walk {
    const struct hd_attention_args *a;
    size_t row, rows;         /* of the call */
    size_t heads;             /* of each row, side by side */
    struct query v[WALK_MAX]; /* [rows][heads] */
    float p[PASS_MAX][BLOCK]; /* scores, then probabilities of the current block */
    float room[ROOM];         /* [rows][heads][head_dim]: of the segment in hand */
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
static float block_softmax(struct sums *v, float *p, const struct pass *t)
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
            acc[r][i] = v16_mul(v16_load(t.v[r].now.out + d + i * 16), v16_set1(correction[r]));
    for (size_t j = t.first; j < t.positions; j++) {
        for (int i = 0; i < width; i++) {
            v16 value = load_kv(type, v, j * w->a->head_dim + d + (size_t)i * 16);
            for (int r = 0; r < t.n; r++)
                acc[r][i] = v16_fma(value, v16_set1(w->p[r][j]), acc[r][i]);
        }
    }
    for (int r = 0; r < t.n; r++)
        for (int i = 0; i < width; i++)
            v16_store(t.v[r].now.out + d + i * 16, acc[r][i]);
}

/* The same for the last values of heads that are no multiple of 16. */
HD_INLINE void last_values(const struct walk *w, enum hd_kv_type type, struct pass t, size_t d,
                           const float *correction)
{
    const void *v = w->a->v_blocks[t.block];
    size_t part = w->a->head_dim - d;
    for (int r = 0; r < t.n; r++) {
        float *out = t.v[r].now.out + d;
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
        correction[r] = block_softmax(&t.v[r].now, w->p[r], &t);
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

/* How much of what had this maximum counts beside a greater one. */
HD_INLINE float weight_of(float max, float top)
{
    return HD_KFN(exp)(max - top);
}

/* to += s, which saw something. */
static void fold(struct sums *to, const struct sums *s, size_t head_dim)
{
    float top = to->max > s->max ? to->max : s->max;
    float mine = weight_of(to->max, top), other = weight_of(s->max, top);
    size_t d = 0;
    for (; d + 16 <= head_dim; d += 16)
        v16_store(to->out + d, v16_fma(v16_load(to->out + d), v16_set1(mine),
                                       v16_mul(v16_load(s->out + d), v16_set1(other))));
    for (; d < head_dim; d++)
        to->out[d] = __builtin_fmaf(to->out[d], mine, s->out[d] * other);
    to->sum = __builtin_fmaf(to->sum, mine, s->sum * other);
    to->max = top;
}

static void finish(const struct sums *s, float *out, size_t head_dim)
{
    float inverse = s->sum == 0.0f ? 0.0f : 1.0f / s->sum; /* no position: zeros */
    for (size_t d = 0; d < head_dim; d++)
        out[d] = s->out[d] * inverse;
}

/* The vectors of w->rows rows from w->row, w->heads heads from `head`; what they give comes to
 * `out`, [rows][..heads..] of such strides. */
HD_INLINE void place_vectors(struct walk *w, size_t head, float *out, size_t row_stride,
                             size_t stride)
{
    for (size_t i = 0; i < w->rows * w->heads; i++) {
        size_t row = w->row + i / w->heads, h = head + i % w->heads;
        w->v[i].q = w->a->q + row * w->a->q_stride + h * w->a->head_dim;
        w->v[i].before = (struct sums){out + row * row_stride + h * stride, -INFINITY, 0.0f};
    }
}

/* The first that sees something is summed up in its place. */
HD_INLINE void begin_segment(struct walk *w, size_t segment, size_t head)
{
    size_t head_dim = w->a->head_dim;
    for (size_t i = 0; i < w->rows * w->heads; i++) {
        struct query *v = &w->v[i];
        float *out = v->before.sum == 0.0f ? v->before.out : w->room + i * head_dim;
        size_t n_pos = w->a->n_pos + w->row + i / w->heads;
        v->now = (struct sums){out, -INFINITY, 0.0f};
        if (w->a->sinks && first_seen(w->a, n_pos) / HD_ATTN_SEGMENT == segment) {
            v->now.max = w->a->sinks[head + i % w->heads]; /* as if it had been the first score: */
            v->now.sum = 1;                                /* exp(0) */
        }
        for (size_t d = 0; d < head_dim; d++)
            out[d] = 0.0f;
    }
}

HD_INLINE void attend_segment(struct walk *w, enum hd_kv_type type, size_t segment, size_t head)
{
    const struct hd_attention_args *a = w->a;
    size_t longest = a->n_pos + w->row + w->rows - 1, end = (segment + 1) * HD_ATTN_SEGMENT;
    size_t first = first_seen(a, a->n_pos + w->row), from = segment * HD_ATTN_SEGMENT;
    begin_segment(w, segment, head);
    end = end < longest ? end : longest;
    for (size_t b = (first > from ? first : from) / BLOCK; b * BLOCK < end; b++)
        attend_block(w, type, b);
    for (size_t i = 0; i < w->rows * w->heads; i++) {
        struct query *v = &w->v[i];
        if (v->now.out == v->before.out)
            v->before = v->now;
        else if (v->now.sum != 0.0f)
            fold(&v->before, &v->now, a->head_dim);
    }
}

HD_INLINE void attend(struct walk *w, enum hd_kv_type type, size_t head)
{
    const struct hd_attention_args *a = w->a;
    size_t longest = a->n_pos + w->row + w->rows - 1;
    place_vectors(w, head, a->out, a->out_stride, a->head_dim);
    for (size_t s = first_seen(a, a->n_pos + w->row) / HD_ATTN_SEGMENT;
         s * HD_ATTN_SEGMENT < longest; s++)
        attend_segment(w, type, s, head);
    for (size_t i = 0; i < w->rows * w->heads; i++)
        finish(&w->v[i].before, w->v[i].before.out, a->head_dim);
}

/* Query vectors that may walk together. */
HD_INLINE size_t walk_of(const struct hd_attention_args *a)
{
    size_t most = ROOM / a->head_dim;
    return most < WALK_MAX ? most : WALK_MAX;
}

HD_INLINE void attend_all(const struct hd_attention_args *a, enum hd_kv_type type)
{
    struct walk w;
    size_t walk = walk_of(a);
    w.a = a;
    for (size_t head = 0; head < a->n_rep; head += w.heads) {
        w.heads = a->n_rep - head < walk ? a->n_rep - head : walk;
        for (w.row = 0; w.row < a->rows; w.row += w.rows) {
            size_t most = walk / w.heads;
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

/* ---- One row, segment by segment ----*/

HD_INLINE void attend_part(const struct hd_attention_args *a, enum hd_kv_type type, size_t segment,
                           float *part)
{
    size_t stride = hd_attention_part_floats(a->head_dim), walk = walk_of(a);
    struct walk w;
    w.a = a;
    w.row = 0;
    w.rows = 1;
    for (size_t head = 0; head < a->n_rep; head += w.heads) {
        w.heads = a->n_rep - head < walk ? a->n_rep - head : walk;
        place_vectors(&w, head, part, 0, stride);
        attend_segment(&w, type, segment, head);
        for (size_t i = 0; i < w.heads; i++) {
            w.v[i].before.out[a->head_dim] = w.v[i].before.max;
            w.v[i].before.out[a->head_dim + 1] = w.v[i].before.sum;
        }
    }
}

void HD_KFN(attention_part)(const struct hd_attention_args *a, size_t segment, float *part)
{
    if (a->kv_type == HD_KV_F16)
        attend_part(a, HD_KV_F16, segment, part);
    else
        attend_part(a, HD_KV_F32, segment, part);
}

HD_INLINE struct sums part_of(float *part, size_t head_dim)
{
    return (struct sums){part, part[head_dim], part[head_dim + 1]};
}

void HD_KFN(attention_fold)(const struct hd_attention_args *a, size_t n, float *parts)
{
    size_t stride = hd_attention_part_floats(a->head_dim);
    for (size_t head = 0; head < a->n_rep; head++) {
        struct sums sum = part_of(parts + head * stride, a->head_dim);
        for (size_t i = 1; i < n; i++) {
            struct sums next = part_of(parts + (i * a->n_rep + head) * stride, a->head_dim);
            fold(&sum, &next, a->head_dim);
        }
        finish(&sum, a->out + head * a->head_dim, a->head_dim);
    }
}
