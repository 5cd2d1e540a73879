/* Matrix products on packed weights (pack.h). Every output is one chain of fused multiply-adds
 * over its inputs in ascending order, in both ways below, so their bits are the same:
 *
 *   few rows   weights are widened in registers and used for 1, 2 or 4 rows at once; several
 *              groups are in flight to hide the latency of the chains.
 *   many rows  a panel of PANEL inputs of one or two groups is widened once into a scratch that
 *              fits the first-level cache, then register tiles of rows run over it. Between two
 *              panels the sums rest in y: storing and loading an f32 changes nothing. */
#include "common/math/k_products.h"
#include "common/math/kernels_impl.h"

#include <string.h>

#define PANEL     128          /* inputs: a multiple of every span */
#define X_STRIDE  (PANEL + 16) /* rows of x do not fall on the same cache sets */
#define ROW_BLOCK 96           /* rows that share one widening of a panel */
#define FEW_ROWS  4            /* up to so many rows go without the scratch */

/* A register tile: `rows` x `groups` are constants wherever it is inlined. */
struct tile {
    size_t row, group;
    int rows, groups;
};

HD_INLINE const uint8_t *group_data(const struct hd_matmul_args *a, size_t group)
{
    return a->w->data + group * a->w->group_bytes;
}

HD_INLINE float *output_at(const struct hd_matmul_args *a, size_t row, size_t group)
{
    return a->y + row * a->y_stride + (group - a->g0) * HD_GROUP;
}

/* How many true outputs a group has. */
HD_INLINE size_t group_outputs(const struct hd_weights *w, size_t group)
{
    size_t left = w->outputs - group * HD_GROUP;
    return left < HD_GROUP ? left : HD_GROUP;
}

HD_INLINE void put_outputs(const struct hd_matmul_args *a, size_t row, size_t group, v16 v)
{
    v16_store_part(output_at(a, row, group), v, group_outputs(a->w, group));
}

/* What put_outputs stored. */
HD_INLINE v16 take_outputs(const struct hd_matmul_args *a, size_t row, size_t group)
{
    return v16_load_part(output_at(a, row, group), group_outputs(a->w, group), 0.0f);
}

HD_INLINE v16 load_float(struct hd_pack p, const uint8_t *at)
{
    if (p.is_float == HD_PACK_F32)
        return v16_load((const float *)(const void *)at);
    return p.is_float == HD_PACK_F16 ? v16_load_f16(at) : v16_load_bf16(at);
}

/* 8 inputs of a span: one word of each output at 4 bits, two at 8. */
struct eight {
    v16i words[2];
};

HD_INLINE struct eight load_eight(struct hd_pack p, const uint8_t *span, unsigned first)
{
    const uint8_t *at = span + hd_pack_head_bytes(p) + (size_t)first * p.bits * HD_GROUP / 8;
    struct eight e = {{v16i_load(at), v16i_load(p.bits == 4 ? at : at + 4 * HD_GROUP)}};
    return e;
}

/* Scales as `widen` wants them: what v16_byte gives is 2^24 times too large, and a power of two
 * rounds nothing (scales are 0 or at least the smallest f16, 2^-24). */
HD_INLINE v16 quant_scale(struct hd_pack p, const uint8_t *at)
{
    v16 scale = load_scale(p, at);
    return p.bits == 8 && p.is_float == HD_PACK_QUANT ? v16_mul(scale, v16_set1(0x1p-24f)) : scale;
}

/* The f32 values of input k of the 8: q * scale (+ min), the product being exact but that of FP8,
 * which is rounded before it is added. */
HD_INLINE v16 widen(struct hd_pack p, const struct eight *e, unsigned k, v16 scale, v16 min)
{
    if (p.is_float == HD_PACK_F8)
        return v16_mul(v16_f8(e->words[k / 4], k % 4), scale);
    v16 q = p.bits == 4 ? v16_nibble(e->words[0], k % 4 * 8 + k / 4 * 4, p.bias)
                        : v16_byte(e->words[k / 4], k % 4);
    return p.has_min ? v16_fma(q, scale, min) : v16_mul(q, scale);
}

/* ---- Few rows ----------------------------------------------------------------------------- */

/* One span of t.groups groups, beginning at input `i`. acc: [rows * groups]. */
HD_INLINE void span_few(struct hd_pack p, struct tile t, const uint8_t *const *span,
                        const float *const *x, v16 *acc)
{
    v16 scale[V16_ROW_GROUPS], min[V16_ROW_GROUPS];
    struct eight e[V16_ROW_GROUPS];
    for (int g = 0; g < t.groups; g++) {
        scale[g] = quant_scale(p, span[g]);
        min[g] = p.has_min ? load_scale(p, span[g] + HD_GROUP * p.scale) : scale[g];
    }
    for (unsigned first = 0; first < p.span; first += 8) {
        for (int g = 0; g < t.groups; g++)
            e[g] = load_eight(p, span[g], first);
#pragma GCC unroll 8
        for (unsigned k = 0; k < 8; k++) {
            for (int g = 0; g < t.groups; g++) {
                v16 w = widen(p, &e[g], k, scale[g], min[g]);
                for (int r = 0; r < t.rows; r++)
                    acc[r * t.groups + g] =
                        v16_fma(w, v16_set1(x[r][first + k]), acc[r * t.groups + g]);
            }
        }
    }
}

HD_INLINE void tile_few_quant(struct hd_pack p, struct tile t, const struct hd_matmul_args *a,
                              v16 *acc)
{
    const uint8_t *span[V16_ROW_GROUPS];
    const float *x[FEW_ROWS];
    for (int g = 0; g < t.groups; g++)
        span[g] = group_data(a, t.group + (size_t)g);
    for (int r = 0; r < t.rows; r++)
        x[r] = a->x + (t.row + (size_t)r) * a->x_stride;
    for (size_t i = 0; i < a->w->inputs; i += p.span) {
        span_few(p, t, span, x, acc);
        for (int g = 0; g < t.groups; g++)
            span[g] += hd_pack_span_bytes(p);
        for (int r = 0; r < t.rows; r++)
            x[r] += p.span;
    }
}

HD_INLINE void tile_few_float(struct hd_pack p, struct tile t, const struct hd_matmul_args *a,
                              v16 *acc)
{
    const uint8_t *base = group_data(a, t.group);
    const float *x = a->x + t.row * a->x_stride;
    for (size_t i = 0; i < a->w->inputs; i++) {
        for (int g = 0; g < t.groups; g++) {
            v16 w = load_float(p, base + (size_t)g * a->w->group_bytes + i * hd_pack_span_bytes(p));
            for (int r = 0; r < t.rows; r++)
                acc[r * t.groups + g] =
                    v16_fma(w, v16_set1(x[(size_t)r * a->x_stride + i]), acc[r * t.groups + g]);
        }
    }
}

HD_INLINE void tile_few(struct hd_pack p, struct tile t, const struct hd_matmul_args *a)
{
    v16 acc[FEW_ROWS * V16_ROW_GROUPS];
    for (int i = 0; i < t.rows * t.groups; i++)
        acc[i] = v16_set1(0.0f);
    if (p.span > 1)
        tile_few_quant(p, t, a, acc);
    else
        tile_few_float(p, t, a, acc);
    for (int r = 0; r < t.rows; r++)
        for (int g = 0; g < t.groups; g++)
            put_outputs(a, t.row + (size_t)r, t.group + (size_t)g, acc[r * t.groups + g]);
}

/* `rows` (a constant) rows from `row`, all groups of the call. */
HD_INLINE void rows_few(struct hd_pack p, const struct hd_matmul_args *a, size_t row, int rows)
{
    int wide = V16_ROW_GROUPS / rows > 0 ? V16_ROW_GROUPS / rows : 1;
    size_t g = a->g0;
    for (; g + (size_t)wide <= a->g1; g += (size_t)wide)
        tile_few(p, (struct tile){row, g, rows, wide}, a);
    for (; wide > 1 && g < a->g1; g++)
        tile_few(p, (struct tile){row, g, rows, 1}, a);
}

HD_INLINE void matmul_few(struct hd_pack p, const struct hd_matmul_args *a)
{
    size_t row = 0;
    for (; row + 4 <= a->rows; row += 4)
        rows_few(p, a, row, 4);
    for (; row + 2 <= a->rows; row += 2)
        rows_few(p, a, row, 2);
    if (row < a->rows)
        rows_few(p, a, row, 1);
}

/* ---- Many rows ---------------------------------------------------------------------------- */

/* Widens inputs [i0, i0 + n) of a group to out: [n][16]. */
HD_INLINE void widen_panel(struct hd_pack p, const uint8_t *group, size_t i0, size_t n, float *out)
{
    const uint8_t *span = group + i0 / p.span * hd_pack_span_bytes(p);
    if (p.span == 1) {
        for (size_t i = 0; i < n; i++)
            v16_store(out + i * HD_GROUP, load_float(p, span + i * hd_pack_span_bytes(p)));
        return;
    }
    for (size_t i = 0; i < n; i += p.span, span += hd_pack_span_bytes(p)) {
        v16 scale = quant_scale(p, span);
        v16 min = p.has_min ? load_scale(p, span + HD_GROUP * p.scale) : scale;
        for (unsigned first = 0; first < p.span; first += 8, out += 8 * HD_GROUP) {
            struct eight e = load_eight(p, span, first);
#pragma GCC unroll 8
            for (unsigned k = 0; k < 8; k++)
                v16_store(out + k * HD_GROUP, widen(p, &e, k, scale, min));
        }
    }
}

/* What one pass over a panel works on. */
struct panel {
    const struct hd_matmul_args *a;
    size_t i0, n;     /* inputs */
    size_t row, rows; /* the block of rows */
    const float *x;   /* [rows][X_STRIDE]: a copy of their panel */
    const float *w;   /* [V16_TILE_GROUPS][PANEL][16]: widened */
};

/* y of one tile += panel; t.rows and t.groups are constants. */
HD_INLINE void tile_many(const struct panel *p, struct tile t)
{
    v16 acc[V16_TILE_ROWS][V16_TILE_GROUPS];
    const struct hd_matmul_args *a = p->a;
    for (int r = 0; r < t.rows; r++)
        for (int g = 0; g < t.groups; g++)
            acc[r][g] = p->i0 == 0 ? v16_set1(0.0f)
                                   : take_outputs(a, t.row + (size_t)r, t.group + (size_t)g);
    const float *x = p->x + (t.row - p->row) * X_STRIDE;
    for (size_t i = 0; i < p->n; i++) {
        v16 w[V16_TILE_GROUPS];
        for (int g = 0; g < t.groups; g++)
            w[g] = v16_load(p->w + ((size_t)g * PANEL + i) * HD_GROUP);
#pragma GCC unroll 16
        for (int r = 0; r < t.rows; r++) {
            v16 xi = v16_set1(x[(size_t)r * X_STRIDE + i]);
            for (int g = 0; g < t.groups; g++)
                acc[r][g] = v16_fma(w[g], xi, acc[r][g]);
        }
    }
    for (int r = 0; r < t.rows; r++)
        for (int g = 0; g < t.groups; g++)
            put_outputs(a, t.row + (size_t)r, t.group + (size_t)g, acc[r][g]);
}

#define TILE_CASE(n)                                                                               \
    case n:                                                                                        \
        tile_many(p, (struct tile){row, group, n <= V16_TILE_ROWS ? n : 1, groups});               \
        break;

/* One tile of `rows` <= V16_TILE_ROWS rows; `groups` is a constant. */
HD_INLINE void tile_of_rows(const struct panel *p, size_t row, size_t group, size_t rows,
                            int groups)
{
    switch (rows) {
        TILE_CASE(1)
        TILE_CASE(2)
        TILE_CASE(3)
        TILE_CASE(4)
#if V16_TILE_ROWS > 4
        TILE_CASE(5)
        TILE_CASE(6)
#endif
#if V16_TILE_ROWS > 6
        TILE_CASE(7)
        TILE_CASE(8)
        TILE_CASE(9)
        TILE_CASE(10)
        TILE_CASE(11)
        TILE_CASE(12)
#endif
    }
}

static void tiles_of_groups(const struct panel *p, size_t group, size_t groups)
{
    /* Balanced: 13 rows are 7 + 6, not 12 + 1. */
    size_t tiles = (p->rows + V16_TILE_ROWS - 1) / V16_TILE_ROWS;
    for (size_t t = 0; t < tiles; t++) {
        size_t first = p->rows * t / tiles, end = p->rows * (t + 1) / tiles;
#if V16_TILE_GROUPS > 1
        if (groups == V16_TILE_GROUPS) {
            tile_of_rows(p, p->row + first, group, end - first, V16_TILE_GROUPS);
            continue;
        }
#endif
        tile_of_rows(p, p->row + first, group, end - first, 1);
    }
}

typedef void widen_fn(const uint8_t *group, size_t i0, size_t n, float *out);

/* All groups of the call for one block of rows and one panel; p->w is the scratch. */
static void panel_groups(const struct panel *p, widen_fn *widen_group, float *w)
{
    const struct hd_matmul_args *a = p->a;
    for (size_t g = a->g0; g < a->g1;) {
        size_t groups = a->g1 - g < V16_TILE_GROUPS ? a->g1 - g : V16_TILE_GROUPS;
        for (size_t j = 0; j < groups; j++)
            widen_group(group_data(a, g + j), p->i0, p->n, w + j * PANEL * HD_GROUP);
        tiles_of_groups(p, g, groups);
        g += groups;
    }
}

static void matmul_many(const struct hd_matmul_args *a, widen_fn *widen_group)
{
    _Alignas(64) float x[ROW_BLOCK * X_STRIDE];
    _Alignas(64) float w[V16_TILE_GROUPS * PANEL * HD_GROUP];
    struct panel p = {.a = a, .x = x, .w = w};
    for (p.row = 0; p.row < a->rows; p.row += p.rows) {
        p.rows = a->rows - p.row < ROW_BLOCK ? a->rows - p.row : ROW_BLOCK;
        for (p.i0 = 0; p.i0 < a->w->inputs; p.i0 += p.n) {
            p.n = a->w->inputs - p.i0 < PANEL ? a->w->inputs - p.i0 : PANEL;
            for (size_t r = 0; r < p.rows; r++)
                memcpy(x + r * X_STRIDE, a->x + (p.row + r) * a->x_stride + p.i0, p.n * sizeof *x);
            panel_groups(&p, widen_group, w);
        }
    }
}

/* ---- One function of each kind for each packed form ---------------------------------------- */

#define X(name, ...)                                                                               \
    static void few_##name(const struct hd_matmul_args *a)                                         \
    {                                                                                              \
        matmul_few((struct hd_pack){__VA_ARGS__}, a);                                              \
    }                                                                                              \
    static void widen_##name(const uint8_t *group, size_t i0, size_t n, float *out)                \
    {                                                                                              \
        widen_panel((struct hd_pack){__VA_ARGS__}, group, i0, n, out);                             \
    }
HD_PACKS(X)
#undef X

void HD_KFN(matmul)(const struct hd_matmul_args *a)
{
    static void (*const few[HD_PACK_COUNT])(const struct hd_matmul_args *) = {
#define X(name, ...) few_##name,
        HD_PACKS(X)
#undef X
    };
    static widen_fn *const widen_group[HD_PACK_COUNT] = {
#define X(name, ...) widen_##name,
        HD_PACKS(X)
#undef X
    };
    enum hd_pack_id id = hd_pack_id(a->w->type);
    if (a->w->inputs == 0) /* an empty sum */
        for (size_t r = 0; r < a->rows; r++)
            for (size_t g = a->g0; g < a->g1; g++)
                put_outputs(a, r, g, v16_set1(0.0f));
    else if (a->rows <= FEW_ROWS)
        few[id](a);
    else
        matmul_many(a, widen_group[id]);
}
