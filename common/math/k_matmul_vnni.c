/* Products of packed quants (pack.h) and many prepared Q8 rows (q8_impl.h) by AVX-512 VNNI, for the
 * arithmetic of q8.h.
 *
 * Two groups' quants are unpacked to bytes for a panel of inputs, once for all rows of the call. A
 * tile is up to 6 rows of both groups, and takes 4 inputs of each row at a time: 12 chains of dot
 * products side by side hide their latency of 5 cycles on two units, where a row after the other
 * (k_matmul_q8.c) would need more instructions in flight than the CPU looks ahead; and a word of
 * inputs or of weights once loaded is used 2 or 6 times, since loads would be the next limit. The
 * sums are exact integers and meet the scales in the order and with the operations of
 * k_matmul_q8.c: so the bits are the same. */
#include "common/math/k_panel.h"
#include "common/math/kernels_impl.h"
#include "common/math/q8_impl.h"

#define TILE_ROWS   6 /* with 2 groups: 12 integer sums, 12 float sums, and 8 registers left */
#define TILE_GROUPS 2
#define FEW_ROWS    8 /* fewer do not repay the unpacking, nor do they fill tiles of 4 to 6 */

struct panel {
    const struct hd_matmul_q8_args *a;
    size_t block, n_blocks;
    struct group_panel of[TILE_GROUPS];
};

/* What a tile works on; `rows` is a constant wherever it is inlined. */
struct tile {
    int rows;
    size_t row, group; /* the first ones */
    const uint8_t *x;  /* the first row's first block of the panel */
    size_t stride;
};

HD_INLINE const struct hd_q8_block *block_of(const struct tile *t, int r, size_t b)
{
    return (const struct hd_q8_block *)(const void *)(t->x + (size_t)r * t->stride) + b;
}

/* What undoes the offset of the weights, over a span: all of a block, or its half `h`. */
HD_INLINE int32_t start_of(struct hd_pack p, const struct hd_q8_block *x, unsigned h)
{
    if (p.bits == 4)
        return p.bias ? x->minus8 : 0;
    if (p.low >= 0)
        return 0;
    return p.span == HD_Q8_BLOCK ? x->minus128[0] + x->minus128[1] : x->minus128[h];
}

/* The integer sums over span `h` of block `b`. */
HD_INLINE void dot_span(struct hd_pack p, const struct panel *panel, const struct tile *t, size_t b,
                        unsigned h, v16i sum[TILE_ROWS][TILE_GROUPS])
{
    size_t at = (b * HD_Q8_BLOCK + h * p.span) * HD_GROUP;
#pragma GCC unroll 6
    for (int r = 0; r < t->rows; r++)
        sum[r][0] = sum[r][1] = v16i_set1(start_of(p, block_of(t, r, b), h));
#pragma GCC unroll 8
    for (unsigned i = 0; i < p.span / 4; i++) {
        v16i w0 = v16i_load(panel->of[0].quants + at + (size_t)i * 4 * HD_GROUP);
        v16i w1 = v16i_load(panel->of[1].quants + at + (size_t)i * 4 * HD_GROUP);
#pragma GCC unroll 6
        for (int r = 0; r < t->rows; r++) {
            int32_t four;
            memcpy(&four, block_of(t, r, b)->q + h * p.span + 4 * i, sizeof four);
            sum[r][0] = _mm512_dpbusd_epi32(sum[r][0], w0, v16i_set1(four));
            sum[r][1] = _mm512_dpbusd_epi32(sum[r][1], w1, v16i_set1(four));
        }
    }
}

/* acc and one span: the formulas of hd_matmul_q8. */
HD_INLINE void add_span(struct hd_pack p, const struct panel *panel, const struct tile *t, size_t b,
                        unsigned h, v16 acc[TILE_ROWS][TILE_GROUPS])
{
    v16i sum[TILE_ROWS][TILE_GROUPS];
    size_t piece = b * (HD_Q8_BLOCK / p.span) + h;
    dot_span(p, panel, t, b, h, sum);
#pragma GCC unroll 6
    for (int r = 0; r < t->rows; r++) {
        const struct hd_q8_block *x = block_of(t, r, b);
        v16 d = v16_set1(x->d),
            d_sum = v16_set1(p.span == HD_Q8_BLOCK ? x->d_sum : hd_q8_half_sum(x, h));
#pragma GCC unroll 2
        for (int g = 0; g < TILE_GROUPS; g++) {
            v16 scale = v16_mul(v16_load(panel->of[g].scale[piece]), d);
            acc[r][g] = v16_fma(scale, v16_of_int(sum[r][g]), acc[r][g]);
            if (p.has_min)
                acc[r][g] = v16_fma(v16_load(panel->of[g].min[piece]), d_sum, acc[r][g]);
        }
    }
}

HD_INLINE void run_tile(struct hd_pack p, const struct panel *panel, const struct tile *t)
{
    v16 acc[TILE_ROWS][TILE_GROUPS];
#pragma GCC unroll 6
    for (int r = 0; r < t->rows; r++)
#pragma GCC unroll 2
        for (int g = 0; g < TILE_GROUPS; g++)
            acc[r][g] = panel->block == 0
                            ? v16_set1(0.0f)
                            : take_sums(panel->a, t->row + (size_t)r, t->group + (size_t)g);
    for (size_t b = 0; b < panel->n_blocks; b++)
#pragma GCC unroll 2
        for (unsigned h = 0; h < HD_Q8_BLOCK / p.span; h++)
            add_span(p, panel, t, b, h, acc);
#pragma GCC unroll 6
    for (int r = 0; r < t->rows; r++)
#pragma GCC unroll 2
        for (int g = 0; g < TILE_GROUPS; g++)
            put_sums(panel->a, t->row + (size_t)r, t->group + (size_t)g, acc[r][g]);
}

#define ROWS_CASE(n)                                                                               \
    case n:                                                                                        \
        t.rows = n;                                                                                \
        run_tile(p, panel, &t);                                                                    \
        break;

/* All rows in as many tiles as needed, balanced. FEW_ROWS and more make tiles of 4 to 6. */
HD_INLINE void run_rows(struct hd_pack p, const struct panel *panel, size_t group)
{
    const struct hd_matmul_q8_args *a = panel->a;
    const uint8_t *x = (const uint8_t *)a->x + panel->block * sizeof(struct hd_q8_block);
    size_t tiles = (a->rows + TILE_ROWS - 1) / TILE_ROWS;
    for (size_t i = 0; i < tiles; i++) {
        size_t row = a->rows * i / tiles;
        struct tile t = {.row = row, .group = group, .x = x + row * a->x_stride};
        t.stride = a->x_stride;
        switch (a->rows * (i + 1) / tiles - row) {
            ROWS_CASE(4)
            ROWS_CASE(5)
            ROWS_CASE(6)
        }
    }
}

/* Unpacked, packs differ in the span, the minima and what start_of says only: one function for all
 * that agree in these. */
#define RUN_ROWS(name, ...)                                                                        \
    static __attribute__((noinline)) void name(const struct panel *panel, size_t group)            \
    {                                                                                              \
        run_rows((struct hd_pack){__VA_ARGS__}, panel, group);                                     \
    }
RUN_ROWS(rows_of_nibbles, .span = HD_Q8_BLOCK, .bits = 4, .bias = 8)
RUN_ROWS(rows_of_signed, .span = HD_Q8_BLOCK, .bits = 8, .low = -128)
RUN_ROWS(rows_of_min, .span = HD_Q8_BLOCK, .bits = 8, .has_min = true)
RUN_ROWS(rows_of_halves, .span = HD_Q8_BLOCK / 2, .bits = 8, .low = -128)
RUN_ROWS(rows_of_halves_min, .span = HD_Q8_BLOCK / 2, .bits = 8, .has_min = true)
#undef RUN_ROWS

#define X(name, kind, span, bits, scale, bias, low, top, has_min)                                  \
    _Static_assert(kind != HD_PACK_QUANT || ((has_min)     ? (bias) == 0 && (low) == 0             \
                                             : (bits) == 8 ? (low) < 0                             \
                                                           : (bias) != 0),                         \
                   "with minima quants count from 0, else they have signs");
HD_PACKS(X)
#undef X

HD_INLINE void run_rows_of(struct hd_pack p, const struct panel *panel, size_t group)
{
    if (p.span != HD_Q8_BLOCK)
        (p.has_min ? rows_of_halves_min : rows_of_halves)(panel, group);
    else if (p.has_min)
        rows_of_min(panel, group);
    else
        (p.bits == 4 ? rows_of_nibbles : rows_of_signed)(panel, group);
}

/* An even number of groups. */
HD_INLINE void matmul_panels(struct hd_pack p, const struct hd_matmul_q8_args *a)
{
    size_t blocks = a->w->inputs / HD_Q8_BLOCK;
    struct panel panel;
    panel.a = a;
    for (panel.block = 0; panel.block < blocks; panel.block += panel.n_blocks) {
        panel.n_blocks = blocks - panel.block < PANEL_MAX ? blocks - panel.block : PANEL_MAX;
        for (size_t group = a->g0; group < a->g1; group += TILE_GROUPS) {
            for (size_t g = 0; g < TILE_GROUPS; g++)
                unpack_group(p, PANEL_FOR_DOT,
                             &(struct panel_source){a->w, group + g, panel.block, panel.n_blocks,
                                                    TILE_GROUPS * a->w->group_bytes},
                             &panel.of[g]);
            run_rows_of(p, &panel, group);
        }
    }
}

#define X(name, kind, ...)                                                                         \
    static void matmul_##name(const struct hd_matmul_q8_args *a)                                   \
    {                                                                                              \
        if (kind == HD_PACK_QUANT)                                                                 \
            matmul_panels((struct hd_pack){kind, __VA_ARGS__}, a);                                 \
    }
HD_PACKS(X)
#undef X

void hd_matmul_q8_vnni(const struct hd_matmul_q8_args *a)
{
    static void (*const matmul[HD_PACK_COUNT])(const struct hd_matmul_q8_args *) = {
#define X(name, ...) matmul_##name,
        HD_PACKS(X)
#undef X
    };
    struct hd_matmul_q8_args some = *a, rest = *a;
    if (a->rows >= FEW_ROWS && a->w->inputs > 0)
        rest.g0 = some.g1 = a->g1 - (a->g1 - a->g0) % TILE_GROUPS;
    else
        some.g1 = a->g0;
    if (some.g1 > some.g0)
        matmul[hd_pack_id(a->w->type)](&some);
    rest.y += (rest.g0 - a->g0) * HD_GROUP;
    if (rest.g1 > rest.g0)
        hd_matmul_q8_avx512(&rest);
}
