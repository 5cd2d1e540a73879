/* Products of packed quants (pack.h) and prepared Q8 rows (q8_impl.h) in the tiles of AMX: 16 rows
 * times 16 outputs at once, for the arithmetic of q8.h.
 *
 * A group's quants are unpacked to signed bytes for a panel of inputs, once for all rows of the
 * call: 4 inputs of each output side by side, which is how TDPBSSD takes its second factor. The
 * product of a span is a tile of exact 32-bit integers. It leaves through memory, since tiles and
 * vectors share no registers, and meets the scales in the order and with the operations of
 * k_matmul_q8.c: so the bits are the same. While it is scaled the next ones are on their way.
 *
 * Rows that do not fill a tile are copied and padded with zeros; so few that their padding would
 * cost more than it brings go through AVX-512 VNNI. */
#include "common/math/k_panel.h"
#include "common/math/kernels_impl.h"
#include "common/math/q8_impl.h"

#define TILE_ROWS 16
#define PANEL     8 /* blocks of inputs: 64 rows of it and the quants stay in the first-level cache */
#define FEW_ROWS  6  /* so many rows cost about as much by AVX-512 as a whole tile */
#define ALONE     12 /* fewer do not repay the unpacking for signed products: by AVX-512 VNNI */

/* Tiles of sums, and so pieces in flight: a product takes 52 cycles, and another begins every 16.
 * Two tiles for rows and two for quants are the other half of all there are. */
#define IN_FLIGHT 4

/* Operand of LDTILECFG: Intel's Software Developer's Manual, volume 1, section 18.2. */
struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};
_Static_assert(sizeof(struct tile_config) == 64, "what LDTILECFG reads");

/* One panel of inputs. */
struct panel {
    const struct hd_matmul_q8_args *a;
    size_t block, n_blocks;
    struct group_panel of;                                    /* of the group in hand */
    _Alignas(64) struct hd_q8_block padded[TILE_ROWS][PANEL]; /* the rows of the last tile */
};

/* Up to 16 rows of the panel; 16 can be read. */
struct rows {
    size_t row, n;
    const uint8_t *x; /* the first row's first block */
    size_t stride;
};

static void configure_tiles(unsigned span)
{
    struct tile_config c = {.palette = 1};
    for (int t = 0; t < 2; t++) { /* [rows][span] */
        c.rows[t] = TILE_ROWS;
        c.row_bytes[t] = (uint16_t)span;
    }
    for (int t = 2; t < 4; t++) { /* [span / 4][outputs][4] */
        c.rows[t] = (uint8_t)(span / 4);
        c.row_bytes[t] = 4 * HD_GROUP;
    }
    for (int t = 4; t < 4 + IN_FLIGHT; t++) { /* [rows][outputs] i32 */
        c.rows[t] = TILE_ROWS;
        c.row_bytes[t] = sizeof(int32_t) * HD_GROUP;
    }
    _tile_loadconfig(&c);
}

/* Where the rows of piece `i` begin. */
HD_INLINE const uint8_t *rows_of_piece(struct hd_pack p, const struct rows *r, size_t i)
{
    size_t per_block = HD_Q8_BLOCK / p.span;
    return r->x + i / per_block * sizeof(struct hd_q8_block) + i % per_block * p.span;
}

/* Begins the products of piece `i`. The compiler wants the numbers of tiles as constants. */
#define START(i, t_rows, t_quants, t_sums)                                                         \
    if ((i) < pieces) {                                                                            \
        _tile_zero(t_sums);                                                                        \
        _tile_loadd(t_rows, rows_of_piece(p, &r, i), r.stride);                                    \
        _tile_loadd(t_quants, panel->of.quants + (i)*p.span * HD_GROUP, 4 * HD_GROUP);             \
        _tile_dpbssd(t_sums, t_rows, t_quants);                                                    \
    }

/* Ends piece `i` and begins the one that takes its tiles. Its sums are taken a turn later: right
 * behind the store they would be waited for. */
#define TURN(i, t_rows, t_quants, t_sums)                                                          \
    if ((i) < pieces) {                                                                            \
        _tile_stored(t_sums, sums[(i) % 2], HD_GROUP * sizeof(int32_t));                           \
        START((i) + IN_FLIGHT, t_rows, t_quants, t_sums)                                           \
        if ((i) > 0)                                                                               \
            add_piece(p, panel, &r, (i)-1, sums[((i)-1) % 2], acc);                                \
    }

/* acc of each row and piece `i`: the formulas of hd_matmul_q8. */
HD_INLINE void add_piece(struct hd_pack p, const struct panel *panel, const struct rows *r,
                         size_t i, const int32_t *sums, v16 acc[TILE_ROWS])
{
    const uint8_t *x = r->x + i / (HD_Q8_BLOCK / p.span) * sizeof(struct hd_q8_block);
    v16 scale = v16_load(panel->of.scale[i]), min = p.has_min ? v16_load(panel->of.min[i]) : scale;
#pragma GCC unroll 16
    for (int j = 0; j < TILE_ROWS; j++, x += r->stride) {
        const struct hd_q8_block *b = (const void *)x;
        v16i sum = v16i_load(sums + j * HD_GROUP);
        acc[j] = v16_fma(v16_mul(scale, v16_set1(b->d)), v16_of_int(sum), acc[j]);
        if (p.has_min && p.span == HD_Q8_BLOCK)
            acc[j] = v16_fma(min, v16_set1(b->d_sum), acc[j]);
        else if (p.has_min)
            acc[j] = v16_fma(min, v16_set1(hd_q8_half_sum(b, i % 2)), acc[j]);
    }
}

HD_INLINE void run_tile(struct hd_pack p, const struct panel *panel, struct rows r, size_t group)
{
    _Alignas(64) int32_t sums[2][TILE_ROWS * HD_GROUP];
    v16 acc[TILE_ROWS];
    size_t pieces = panel->n_blocks * (HD_Q8_BLOCK / p.span);
    START(0, 0, 2, 4)
    START(1, 1, 3, 5)
    START(2, 0, 2, 6)
    START(3, 1, 3, 7)
#pragma GCC unroll 16
    for (size_t j = 0; j < TILE_ROWS; j++)
        acc[j] =
            panel->block > 0 && j < r.n ? take_sums(panel->a, r.row + j, group) : v16_set1(0.0f);
    for (size_t i = 0; i < pieces; i += IN_FLIGHT) {
        TURN(i, 0, 2, 4)
        TURN(i + 1, 1, 3, 5)
        TURN(i + 2, 0, 2, 6)
        TURN(i + 3, 1, 3, 7)
    }
    if (pieces > 0)
        add_piece(p, panel, &r, pieces - 1, sums[(pieces - 1) % 2], acc);
#pragma GCC unroll 16
    for (size_t j = 0; j < TILE_ROWS; j++)
        if (j < r.n)
            put_sums(panel->a, r.row + j, group, acc[j]);
}

/* The panel's blocks of the rows from `row` that do not fill a tile. */
static void pad_rows(struct panel *panel, size_t row, size_t n)
{
    const uint8_t *x = (const uint8_t *)panel->a->x + row * panel->a->x_stride;
    memset(panel->padded, 0, sizeof panel->padded);
    for (size_t j = 0; j < n; j++, x += panel->a->x_stride)
        memcpy(panel->padded[j], x + panel->block * sizeof(struct hd_q8_block),
               panel->n_blocks * sizeof(struct hd_q8_block));
}

/* The first `rows` rows of the unpacked panel, for one group. */
HD_INLINE void run_rows(struct hd_pack p, const struct panel *panel, size_t group, size_t rows)
{
    const struct hd_matmul_q8_args *a = panel->a;
    size_t whole = rows / TILE_ROWS * TILE_ROWS;
    /* The tile instructions read the panel behind the compiler's back. */
    __asm__ volatile("" ::: "memory");
    struct rows r = {.n = TILE_ROWS, .stride = a->x_stride};
    r.x = (const uint8_t *)a->x + panel->block * sizeof(struct hd_q8_block);
    for (; r.row < rows; r.row += TILE_ROWS, r.x += TILE_ROWS * a->x_stride) {
        if (r.row == whole)
            r = (struct rows){whole, rows - whole, (const uint8_t *)panel->padded,
                              sizeof panel->padded[0]};
        run_tile(p, panel, r, group);
    }
}

/* Unpacked, packs differ in the span and in the minima only: one function for all that agree. */
#define RUN_ROWS(name, ...)                                                                        \
    static __attribute__((noinline)) void name(const struct panel *panel, size_t group,            \
                                               size_t rows)                                        \
    {                                                                                              \
        run_rows((struct hd_pack){__VA_ARGS__}, panel, group, rows);                               \
    }
RUN_ROWS(rows_of_blocks, .span = HD_Q8_BLOCK)
RUN_ROWS(rows_of_blocks_min, .span = HD_Q8_BLOCK, .has_min = true)
RUN_ROWS(rows_of_halves, .span = HD_Q8_BLOCK / 2)
RUN_ROWS(rows_of_halves_min, .span = HD_Q8_BLOCK / 2, .has_min = true)
#undef RUN_ROWS

/* The panel, for the first `rows` rows and all groups of the call. */
HD_INLINE void run_panel(struct hd_pack p, struct panel *panel, size_t rows)
{
    const struct hd_matmul_q8_args *a = panel->a;
    size_t whole = rows / TILE_ROWS * TILE_ROWS;
    if (whole < rows)
        pad_rows(panel, whole, rows - whole);
    for (size_t group = a->g0; group < a->g1; group++) {
        unpack_group(
            p, PANEL_SIGNED,
            &(struct panel_source){a->w, group, panel->block, panel->n_blocks, a->w->group_bytes},
            &panel->of);
        if (p.span == HD_Q8_BLOCK)
            (p.has_min ? rows_of_blocks_min : rows_of_blocks)(panel, group, rows);
        else
            (p.has_min ? rows_of_halves_min : rows_of_halves)(panel, group, rows);
    }
}

/* The first `rows` rows of the call. */
HD_INLINE void matmul_tiles(struct hd_pack p, const struct hd_matmul_q8_args *a, size_t rows)
{
    size_t blocks = a->w->inputs / HD_Q8_BLOCK;
    struct panel panel;
    panel.a = a;
    configure_tiles(p.span);
    for (panel.block = 0; panel.block < blocks; panel.block += panel.n_blocks) {
        panel.n_blocks = blocks - panel.block < PANEL ? blocks - panel.block : PANEL;
        run_panel(p, &panel, rows);
    }
    _tile_release();
}

#define X(name, kind, ...)                                                                         \
    static void matmul_##name(const struct hd_matmul_q8_args *a, size_t rows)                      \
    {                                                                                              \
        if (kind == HD_PACK_QUANT)                                                                 \
            matmul_tiles((struct hd_pack){kind, __VA_ARGS__}, a, rows);                            \
    }
HD_PACKS(X)
#undef X

void hd_matmul_q8_amx(const struct hd_matmul_q8_args *a)
{
    static void (*const matmul[HD_PACK_COUNT])(const struct hd_matmul_q8_args *, size_t) = {
#define X(name, ...) matmul_##name,
        HD_PACKS(X)
#undef X
    };
    if (a->rows < ALONE) {
        hd_matmul_q8_vnni(a);
        return;
    }
    size_t rest = a->rows % TILE_ROWS, rows = rest < FEW_ROWS ? a->rows - rest : a->rows;
    if (a->w->inputs == 0)
        rows = 0;
    if (rows > 0)
        matmul[hd_pack_id(a->w->type)](a, rows);
    if (rows == a->rows)
        return;
    struct hd_matmul_q8_args few = *a;
    few.x = (const uint8_t *)a->x + rows * a->x_stride;
    few.y = a->y + rows * a->y_stride;
    few.rows = a->rows - rows;
    hd_matmul_q8_avx512(&few);
}
