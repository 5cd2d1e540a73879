/* Products of packed quants (pack.h) and prepared Q8 rows (q8_impl.h), for the arithmetic of q8.h.
 *
 * A lane of a vector is an output. The quants of 32 inputs of a group are unpacked into 8 words a
 * lane once and used for all rows of a tile, whose sums stay in registers. The inputs are taken in
 * panels: the panel of a group's weights stays in the first-level cache for all tiles of a block of
 * rows, the rows' panel in the second for all groups. Between two panels the sums rest in y:
 * storing and loading an f32 changes nothing. A single row takes all inputs at once, and long
 * groups several side by side: more streams from memory. */
#include "common/math/k_products.h"
#include "common/math/kernels_impl.h"
#include "common/math/q8_impl.h"

#define ROW_BLOCK   64    /* rows that share one reading of a panel of weights */
#define PANEL_LINES 256   /* blocks of a tile's rows in a panel: 16 KiB */
#define FEW_GROUPS  4     /* groups side by side for 1 row */
#define LONG_GROUP  32768 /* bytes; shorter groups read faster one by one: measured on Zen 4 */
#define AHEAD       4608 /* bytes; further than the CPU itself reads ahead, which ends with a page */

/* What one tile works on; `rows` and `groups` are constants wherever it is inlined. */
struct tile {
    size_t row, group;
    int rows, groups;
    size_t block, n_blocks; /* the panel: blocks of 32 inputs */
};

/* 32 inputs of a group, unpacked. */
struct unpacked {
    v16i words[8]; /* 4 quants a lane each */
    v16 scale[2];  /* of the halves; of all in [0] when the span is 32 */
    v16 min[2];
};

HD_INLINE void unpack(struct hd_pack p, const uint8_t *at, struct unpacked *u)
{
    const size_t word_bytes = HD_GROUP * sizeof(uint32_t);
    for (unsigned s = 0; s < HD_Q8_BLOCK / p.span; s++, at += hd_pack_span_bytes(p)) {
        const uint8_t *quants = at + hd_pack_head_bytes(p);
        v16i *words = u->words + s * p.span / 4;
        u->scale[s] = load_scale(p, at);
        if (p.has_min)
            u->min[s] = load_scale(p, at + HD_GROUP * p.scale);
        for (unsigned i = 0; p.bits == 4 && i < p.span / 8; i++) {
            v16i w = v16i_load(quants + i * word_bytes);
            words[2 * i] = v16i_nibbles(w, 0);
            words[2 * i + 1] = v16i_nibbles(w, 4);
        }
        for (unsigned i = 0; p.bits == 8 && i < p.span / 4; i++)
            words[i] = v16i_dot_weights(v16i_load(quants + i * word_bytes), p.low);
    }
}

/* Integer sum over half `h` of a block, whatever the variant adds to its weights undone. */
HD_INLINE v16i half_dot(struct hd_pack p, const struct unpacked *u, const struct hd_q8_block *x,
                        int h)
{
    int32_t start = p.low < 0 && V16_DOT_OFFSET != 0 ? x->minus128[h] : 0;
    return v16i_dot((struct v16_dot){4, p.low, p.top}, u->words + 4 * h, x->q + 16 * h,
                    v16i_set1(start));
}

HD_INLINE v16i block_dot(struct hd_pack p, const struct unpacked *u, const struct hd_q8_block *x)
{
    if (p.bits == 4)
        return v16i_dot((struct v16_dot){8, p.low, p.top}, u->words, x->q,
                        v16i_set1(p.bias ? x->minus8 : 0));
    return v16i_add(half_dot(p, u, x, 0), half_dot(p, u, x, 1));
}

/* acc and one block: the formulas of hd_matmul_q8. */
HD_INLINE v16 add_block(struct hd_pack p, const struct unpacked *u, const struct hd_q8_block *x,
                        v16 acc)
{
    v16 d = v16_set1(x->d);
    if (p.span == HD_Q8_BLOCK) {
        acc = v16_fma(v16_mul(u->scale[0], d), v16_of_int(block_dot(p, u, x)), acc);
        return p.has_min ? v16_fma(u->min[0], v16_set1(x->d_sum), acc) : acc;
    }
    for (int h = 0; h < 2; h++) {
        acc = v16_fma(v16_mul(u->scale[h], d), v16_of_int(half_dot(p, u, x, h)), acc);
        if (p.has_min)
            acc = v16_fma(u->min[h], v16_set1(hd_q8_half_sum(x, (unsigned)h)), acc);
    }
    return acc;
}

/* Groups follow each other in memory: what lies behind the last block is mostly wanted next. */
HD_INLINE void fetch_ahead(struct hd_pack p, const uint8_t *block)
{
    for (size_t byte = 0; byte < block_bytes(p); byte += 64)
        __builtin_prefetch(block + AHEAD + byte);
}

HD_INLINE void run_tile(struct hd_pack p, const struct hd_matmul_q8_args *a, struct tile t)
{
    v16 acc[V16_Q8_ROWS][FEW_GROUPS];
    const uint8_t *w = a->w->data + t.group * a->w->group_bytes + t.block * block_bytes(p);
    const uint8_t *x = (const uint8_t *)a->x + t.row * a->x_stride;
    x += t.block * sizeof(struct hd_q8_block);
    for (int r = 0; r < t.rows; r++)
        for (int g = 0; g < t.groups; g++)
            acc[r][g] = t.block == 0 ? v16_set1(0.0f)
                                     : take_sums(a, t.row + (size_t)r, t.group + (size_t)g);
    for (size_t b = 0; b < t.n_blocks; b++) {
        for (int g = 0; g < t.groups; g++) {
            struct unpacked u;
            if (t.rows <
                V16_Q8_ROWS) /* else they are in the cache already, but for the first tile */
                fetch_ahead(p, w + (size_t)g * a->w->group_bytes);
            unpack(p, w + (size_t)g * a->w->group_bytes, &u);
#pragma GCC unroll 8
            for (int r = 0; r < t.rows; r++)
                acc[r][g] =
                    add_block(p, &u, (const void *)(x + (size_t)r * a->x_stride), acc[r][g]);
        }
        w += block_bytes(p);
        x += sizeof(struct hd_q8_block);
    }
    for (int r = 0; r < t.rows; r++)
        for (int g = 0; g < t.groups; g++)
            put_sums(a, t.row + (size_t)r, t.group + (size_t)g, acc[r][g]);
}

#define ROWS_CASE(n)                                                                               \
    case n:                                                                                        \
        t.rows = n;                                                                                \
        run_tile(p, a, t);                                                                         \
        break;

/* One group and a number of rows up to V16_Q8_ROWS. */
HD_INLINE void run_rows(struct hd_pack p, const struct hd_matmul_q8_args *a, struct tile t)
{
    t.groups = 1;
    switch (t.rows) {
        ROWS_CASE(1)
        ROWS_CASE(2)
#if V16_Q8_ROWS > 2
        ROWS_CASE(3)
        ROWS_CASE(4)
#endif
#if V16_Q8_ROWS > 4
        ROWS_CASE(5)
        ROWS_CASE(6)
        ROWS_CASE(7)
        ROWS_CASE(8)
#endif
    }
}

/* One row, all inputs, all groups of the call. */
HD_INLINE void run_one_row(struct hd_pack p, const struct hd_matmul_q8_args *a, struct tile t)
{
    bool is_long = a->w->group_bytes >= LONG_GROUP;
    t.n_blocks = a->w->inputs / HD_Q8_BLOCK;
    t.rows = 1;
    t.groups = FEW_GROUPS;
    for (; is_long && t.group + FEW_GROUPS <= a->g1; t.group += FEW_GROUPS)
        run_tile(p, a, t);
    t.groups = 1;
    for (; t.group < a->g1; t.group++)
        run_tile(p, a, t);
}

/* `rows` rows from t.row in as many tiles as needed, balanced: 9 rows are 5 + 4, not 8 + 1. */
HD_INLINE void run_tiles(struct hd_pack p, const struct hd_matmul_q8_args *a, struct tile t,
                         size_t rows)
{
    size_t tiles = (rows + V16_Q8_ROWS - 1) / V16_Q8_ROWS, first = t.row;
    for (size_t i = 0; i < tiles; i++) {
        t.row = first + rows * i / tiles;
        t.rows = (int)(first + rows * (i + 1) / tiles - t.row);
        run_rows(p, a, t);
    }
}

/* A block of rows from t.row, panel by panel, all groups of the call. */
HD_INLINE void run_panels(struct hd_pack p, const struct hd_matmul_q8_args *a, struct tile t,
                          size_t rows)
{
    size_t blocks = a->w->inputs / HD_Q8_BLOCK;
    size_t panel = PANEL_LINES / (rows < V16_Q8_ROWS ? rows : V16_Q8_ROWS);
    for (; t.block < blocks; t.block += t.n_blocks) {
        t.n_blocks = blocks - t.block < panel ? blocks - t.block : panel;
        for (t.group = a->g0; t.group < a->g1; t.group++)
            run_tiles(p, a, t, rows);
    }
}

HD_INLINE void matmul_q8(struct hd_pack p, const struct hd_matmul_q8_args *a)
{
    struct tile t = {.group = a->g0};
    if (a->rows == 1)
        run_one_row(p, a, t);
    for (size_t left = a->rows > 1 ? a->rows : 0; left > 0;) {
        size_t rows = left < ROW_BLOCK ? left : ROW_BLOCK;
        run_panels(p, a, t, rows);
        t.row += rows;
        left -= rows;
    }
}

/* ---- One function for each packed form ----------------------------------------------------- */

#define X(name, kind, ...)                                                                         \
    static void matmul_##name(const struct hd_matmul_q8_args *a)                                   \
    {                                                                                              \
        if (kind == HD_PACK_QUANT)                                                                 \
            matmul_q8((struct hd_pack){kind, __VA_ARGS__}, a);                                     \
    }
HD_PACKS(X)
#undef X

static void no_inputs(const struct hd_matmul_q8_args *a)
{
    for (size_t r = 0; r < a->rows; r++)
        for (size_t g = a->g0; g < a->g1; g++)
            put_sums(a, r, g, v16_set1(0.0f));
}

void HD_KFN(matmul_q8)(const struct hd_matmul_q8_args *a)
{
    static void (*const matmul[HD_PACK_COUNT])(const struct hd_matmul_q8_args *) = {
#define X(name, ...) matmul_##name,
        HD_PACKS(X)
#undef X
    };
    if (a->w->inputs == 0) /* an empty sum */
        no_inputs(a);
    else
        matmul[hd_pack_id(a->w->type)](a);
}
