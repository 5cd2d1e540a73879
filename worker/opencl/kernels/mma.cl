/* mma.cl - products of many rows on NVIDIA's tensor cores: mma.sync.m16n8k32 of signed bytes, whose
 * k is a block of activations, so that an instruction makes the integers of one link of the chains
 * of 16 outputs and 8 rows (of Q6_K's spans: m16n8k16). The chains are those of products.cl.
 *
 * A lane of the warp holds of A the quants of outputs `high` and `high + 8`, of B those of row
 * `high`, of C outputs `high`, `high + 8` and rows 2 * low, 2 * low + 1; high = lane / 4, low =
 * lane % 4. Integers have no order: words 2 * low and 2 * low + 1 of a block stand where the
 * instruction has words low and low + 4, for weights and activations alike. */
#if HD_MMA && !HD_FLOAT

/* c = A B of one piece. */
static void multiply(const uint *a, uint b0, uint b1, int *c)
{
#if HD_SPAN == 32
    __asm__("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
            "{%8,%9}, {%10,%10,%10,%10};"
            : "=r"(c[0]), "=r"(c[1]), "=r"(c[2]), "=r"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "r"(0));
#else
    __asm__("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
            "{%7,%7,%7,%7};"
            : "=r"(c[0]), "=r"(c[1]), "=r"(c[2]), "=r"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(b0), "r"(0));
#endif
}

#if HD_MIN && PIECES > 1
/* The sums of a piece of two rows' quants. */
static void sums_of(uint b, int *sums)
{
    const uint ones[4] = {0x01010101u, 0x01010101u, 0x01010101u, 0x01010101u};
    int c[4];
    multiply(ones, b, 0, c);
    sums[0] = c[0];
    sums[1] = c[1];
}
#endif

/* A piece of a group: quants, and what belongs to outputs high and high + 8. */
struct piece {
    uint a[4];
    float scale[2], least[2];
};

static void take_piece(__global const uchar *at, uint high, uint low, struct piece *p)
{
    __global const uint *quants = (__global const uint *)(at + HEAD_BYTES);
    for (uint i = 0; i < 2; i++) {
        p->scale[i] = load_scale(at + (high + 8 * i) * HD_SCALE);
#if HD_MIN
        p->least[i] = load_scale(at + (GROUP + high + 8 * i) * HD_SCALE);
#endif
#if HD_BITS == 4
        uint word = quants[low * GROUP + high + 8 * i];
        p->a[i] = less_bias(word & 0x0f0f0f0fu);
        p->a[i + 2] = less_bias(word >> 4 & 0x0f0f0f0fu);
#elif HD_SPAN == 32
        p->a[i] = quants[2 * low * GROUP + high + 8 * i];
        p->a[i + 2] = quants[(2 * low + 1) * GROUP + high + 8 * i];
#else
        p->a[i] = quants[low * GROUP + high + 8 * i];
#endif
    }
}

static void take_block(__global const uchar *at, uint high, uint low, struct piece *p)
{
    for (uint s = 0; s < PIECES; s++)
        take_piece(at + s * SPAN_BYTES, high, low, &p[s]);
}

#define MOST_TILES 8

/* sums [tiles][4] += one block of 16 outputs and 8 * tiles rows; x and d are the block's. */
static void add_block(const struct piece *p, __global const uint *x, uint x_stride,
                      __global const float2 *d, uint high, uint low, uint tiles, float *sums)
{
    uint2 quants[MOST_TILES];
    float4 scales[MOST_TILES]; /* d, d_sum of two rows */
#pragma unroll
    for (uint t = 0; t < tiles; t++) { /* all are on the way before the first is used */
        __global const uint *xr = x + (t * 8 + high) * x_stride;
        scales[t] = *(__global const float4 *)(d + t * 8 + 2 * low);
#if HD_SPAN == 32
        quants[t] = ((__global const uint2 *)xr)[low];
#else
        quants[t] = (uint2)(xr[low], xr[4 + low]);
#endif
    }
#pragma unroll
    for (uint t = 0; t < tiles; t++) {
        float4 two = scales[t];
#pragma unroll
        for (uint s = 0; s < PIECES; s++) {
            int c[4];
#if HD_SPAN == 32
            multiply(p[s].a, quants[t].x, quants[t].y, c);
#else
            multiply(p[s].a, s == 0 ? quants[t].x : quants[t].y, 0, c);
#endif
            sums[t * 4] = fma(p[s].scale[0] * two.x, (float)c[0], sums[t * 4]);
            sums[t * 4 + 1] = fma(p[s].scale[0] * two.z, (float)c[1], sums[t * 4 + 1]);
            sums[t * 4 + 2] = fma(p[s].scale[1] * two.x, (float)c[2], sums[t * 4 + 2]);
            sums[t * 4 + 3] = fma(p[s].scale[1] * two.z, (float)c[3], sums[t * 4 + 3]);
#if HD_MIN && PIECES > 1
            sums_of(s == 0 ? quants[t].x : quants[t].y, c);
            sums[t * 4] = fma(p[s].least[0], two.x * (float)c[0], sums[t * 4]);
            sums[t * 4 + 1] = fma(p[s].least[0], two.z * (float)c[1], sums[t * 4 + 1]);
            sums[t * 4 + 2] = fma(p[s].least[1], two.x * (float)c[0], sums[t * 4 + 2]);
            sums[t * 4 + 3] = fma(p[s].least[1], two.z * (float)c[1], sums[t * 4 + 3]);
#endif
        }
#if HD_MIN && PIECES == 1
        sums[t * 4] = fma(p[0].least[0], two.y, sums[t * 4]);
        sums[t * 4 + 1] = fma(p[0].least[0], two.w, sums[t * 4 + 1]);
        sums[t * 4 + 2] = fma(p[0].least[1], two.y, sums[t * 4 + 2]);
        sums[t * 4 + 3] = fma(p[0].least[1], two.w, sums[t * 4 + 3]);
#endif
    }
}

/* The chains of all blocks of a group, each block's weights on the way before the last is used. */
static void add_blocks(__global const uchar *w, uint blocks, __global const uint *x, uint x_stride,
                       __global const float2 *d, uint d_stride, uint high, uint low, uint tiles,
                       float *sums)
{
    struct piece now[PIECES], next[PIECES];
    take_block(w, high, low, next);
    for (uint b = 0; b < blocks; b++) {
#pragma unroll
        for (uint s = 0; s < PIECES; s++)
            now[s] = next[s];
        if (b + 1 < blocks)
            take_block(w + (b + 1) * BLOCK_BYTES, high, low, next);
        add_block(now, x + b * 8, x_stride, d + b * d_stride, high, low, tiles, sums);
    }
}

#define WARPS 4
#define TILES 8 /* of 8 rows; a warp has a group of outputs */

/* Work-groups [groups / WARPS][matrices][rows / (8 * TILES)] of 32 * WARPS; else as project_few.
 * Rows up to the next 8 * TILES are readable. */
__kernel __attribute__((reqd_work_group_size(32 * WARPS, 1, 1))) void
project_mma(SLAB_PARAMS, __global const uchar *in, uint matrices_at, __global const uint *x,
            __global const float2 *d, uint x_stride, uint d_stride, __global float *y)
{
    __global const struct matrix *m =
        (__global const struct matrix *)(in + matrices_at) + get_group_id(1);
    uint lane = get_local_id(0) % 32, high = lane / 4, low = lane % 4;
    uint group = get_group_id(0) * WARPS + get_local_id(0) / 32;
    uint row0 = get_group_id(2) * 8 * TILES;
    if (group >= m->groups || row0 >= m->rows)
        return;
    __global const uchar *w = at_address(m->at, SLABS) + (ulong)group * m->group_bytes;
    float sums[TILES * 4];
#pragma unroll
    for (uint i = 0; i < TILES * 4; i++)
        sums[i] = 0.0f;
    x += m->x + row0 * x_stride;
    d += m->d + row0;
    add_blocks(w, m->inputs / BLOCK, x, x_stride, d, d_stride, high, low, TILES, sums);
#pragma unroll
    for (uint i = 0; i < TILES * 4; i++) {
        uint o = group * GROUP + high + i % 4 / 2 * 8, row = row0 + i / 4 * 8 + 2 * low + i % 2;
        if (o < m->outputs && row < m->rows)
            y[m->y + row * m->y_stride + o] = sums[i];
    }
}

#define SUM_WARPS 8
#define SUM_TILES 4

/* Work-groups [groups][rows / (8 * SUM_TILES)] of 32 * SUM_WARPS: warps share the units. */
__kernel __attribute__((reqd_work_group_size(32 * SUM_WARPS, 1, 1))) void
reduce_mma(REDUCE_PARAMS)
{
    __local long share[SUM_WARPS / 2][SUM_TILES * 4][32];
    uint lane = get_local_id(0) % 32, high = lane / 4, low = lane % 4;
    uint warp = get_local_id(0) / 32, group = get_group_id(0);
    uint row0 = get_group_id(1) * 8 * SUM_TILES;
    __global const int *shifts = (__global const int *)(in + shifts_at);
    long mine[SUM_TILES * 4];
#pragma unroll
    for (uint i = 0; i < SUM_TILES * 4; i++)
        mine[i] = 0;
    for (uint u = warp; u < units; u += SUM_WARPS) {
        __global const struct matrix *m = (__global const struct matrix *)(in + matrices_at) + u;
        __global const uchar *w = at_address(m->at, SLABS) + (ulong)group * m->group_bytes;
        __global const uint *xm = x + m->x + row0 * x_stride;
        __global const float2 *dm = d + m->d + row0;
        float sums[SUM_TILES * 4];
#pragma unroll
        for (uint i = 0; i < SUM_TILES * 4; i++)
            sums[i] = 0.0f;
        add_blocks(w, m->inputs / BLOCK, xm, x_stride, dm, d_stride, high, low, SUM_TILES, sums);
#pragma unroll
        for (uint i = 0; i < SUM_TILES * 4; i++) {
            uint row = row0 + i / 4 * 8 + 2 * low + i % 2;
            long v = 0;
            if (row < rows_of_all && !fixed_of(sums[i], shifts[row], &v))
                bad[row] = 1;
            mine[i] += v;
        }
    }
    /* Halves of the warps add theirs to the others', until one has all. */
    for (uint half_of = SUM_WARPS / 2; half_of > 0; half_of /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
        for (uint i = 0; warp >= half_of && warp < 2 * half_of && i < SUM_TILES * 4; i++)
            share[warp - half_of][i][lane] = mine[i];
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint i = 0; warp < half_of && i < SUM_TILES * 4; i++)
            mine[i] += share[warp][i][lane];
    }
    for (uint i = 0; warp == 0 && i < SUM_TILES * 4; i++) {
        uint o = group * GROUP + high + i % 4 / 2 * 8, row = row0 + i / 4 * 8 + 2 * low + i % 2;
        if (o >= dim || row >= rows_of_all)
            continue;
        ulong at = (ulong)row * dim + o;
        long s = order & IS_FIRST ? mine[i] : sum[at] + mine[i];
        sum[at] = s;
        narrow[at] = (int)s;
        if (order & IS_LAST && s != (long)(int)s)
            wide[row] = 1;
    }
}
#endif
