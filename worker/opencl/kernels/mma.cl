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
#pragma unroll
    for (uint s = 0; s < PIECES; s++)
        take_piece(at + s * SPAN_BYTES, high, low, &p[s]);
}

#define WARPS       8 /* each has a group of outputs, all have the same rows */
#define TILES       8 /* of 8 rows */
#define ROWS        (8 * TILES)
#define MMA_PANEL   4  /* blocks of inputs that rest in local memory */
#define ROW_WORDS   (MMA_PANEL * 8 + 8) /* of a row there: no two lanes meet in a bank */
#define MMA_ITEMS   (32 * WARPS)
#define ROW_PARTS   (MMA_PANEL * 2)               /* 16 bytes each */
#define PARTS_EACH  (ROWS * ROW_PARTS / MMA_ITEMS) /* that a work-item copies */

/* What a work-item has on the way of the next panel of inputs. */
struct ahead {
    uint4 x[PARTS_EACH];
    float2 d;
};

/* x, d: of the first row; blocks behind the last are zeros, and not used. */
static void take_inputs(__global const uint *x, uint x_stride, __global const float2 *d,
                        uint d_stride, uint b0, uint blocks, struct ahead *to)
{
    uint l = get_local_id(0);
#pragma unroll
    for (uint i = 0; i < PARTS_EACH; i++) {
        uint part = (l + i * MMA_ITEMS) % ROW_PARTS, row = (l + i * MMA_ITEMS) / ROW_PARTS;
        to->x[i] = (uint4)(0);
        if (b0 + part / 2 < blocks)
            to->x[i] = *(__global const uint4 *)(x + row * x_stride + b0 * 8 + part * 4);
    }
    to->d = (float2)(0.0f);
    if (b0 + l / ROWS < blocks)
        to->d = d[(b0 + l / ROWS) * d_stride + l % ROWS];
}

static void put_inputs(const struct ahead *from, __local uint *xs, __local float2 *ds)
{
    uint l = get_local_id(0);
#pragma unroll
    for (uint i = 0; i < PARTS_EACH; i++) {
        uint part = (l + i * MMA_ITEMS) % ROW_PARTS, row = (l + i * MMA_ITEMS) / ROW_PARTS;
        *(__local uint4 *)(xs + row * ROW_WORDS + part * 4) = from->x[i];
    }
    ds[l] = from->d;
}

/* sums [tiles][4] += one block of 16 outputs and 8 * tiles rows. */
static void add_block(const struct piece *p, __local const uint *x, __local const float2 *d,
                      uint high, uint low, uint tiles, float *sums)
{
#pragma unroll
    for (uint t = 0; t < TILES; t++) {
        if (t >= tiles)
            continue;
        __local const uint *xr = x + (t * 8 + high) * ROW_WORDS;
        float4 two = *(__local const float4 *)(d + t * 8 + 2 * low); /* d, d_sum of two rows */
#if HD_SPAN == 32
        uint2 quants = ((__local const uint2 *)xr)[low];
#else
        uint2 quants = (uint2)(xr[low], xr[4 + low]);
#endif
#pragma unroll
        for (uint s = 0; s < PIECES; s++) {
            int c[4];
#if HD_SPAN == 32
            multiply(p[s].a, quants.x, quants.y, c);
#else
            multiply(p[s].a, s == 0 ? quants.x : quants.y, 0, c);
#endif
            sums[t * 4] = fma(p[s].scale[0] * two.x, (float)c[0], sums[t * 4]);
            sums[t * 4 + 1] = fma(p[s].scale[0] * two.z, (float)c[1], sums[t * 4 + 1]);
            sums[t * 4 + 2] = fma(p[s].scale[1] * two.x, (float)c[2], sums[t * 4 + 2]);
            sums[t * 4 + 3] = fma(p[s].scale[1] * two.z, (float)c[3], sums[t * 4 + 3]);
#if HD_MIN && PIECES > 1
            sums_of(s == 0 ? quants.x : quants.y, c);
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

/* Work-groups [groups / WARPS][matrices][rows / ROWS] of MMA_ITEMS; else as project_few. Rows up to
 * the next multiple of ROWS are readable. The inputs of the next panel, and the weights of a block
 * of it as soon as this panel's are used, are on the way while a panel is computed. */
__kernel __attribute__((reqd_work_group_size(MMA_ITEMS, 1, 1))) void
project_mma(SLAB_PARAMS, __global const uchar *in, uint matrices_at, __global const uint *x,
            __global const float2 *d, uint x_stride, uint d_stride, __global float *y)
{
    __local uint xs[ROWS * ROW_WORDS] __attribute__((aligned(16)));
    __local float2 ds[MMA_PANEL * ROWS] __attribute__((aligned(16)));
    __global const struct matrix *m =
        (__global const struct matrix *)(in + matrices_at) + get_group_id(1);
    uint lane = get_local_id(0) % 32, high = lane / 4, low = lane % 4;
    uint group = get_group_id(0) * WARPS + get_local_id(0) / 32;
    uint row0 = get_group_id(2) * ROWS;
    if (get_group_id(0) * WARPS >= m->groups || row0 >= m->rows)
        return;
    uint blocks = m->inputs / BLOCK, tiles = min((m->rows - row0 + 7) / 8, (uint)TILES);
    __global const uchar *w =
        at_address(m->at, SLABS) + (ulong)min(group, m->groups - 1) * m->group_bytes;
    struct piece p[MMA_PANEL][PIECES];
    struct ahead ahead;
    float sums[TILES * 4];
#pragma unroll
    for (uint i = 0; i < TILES * 4; i++)
        sums[i] = 0.0f;
    x += m->x + row0 * x_stride;
    d += m->d + row0;
    take_inputs(x, x_stride, d, d_stride, 0, blocks, &ahead);
#pragma unroll
    for (uint b = 0; b < MMA_PANEL; b++)
        if (b < blocks)
            take_block(w + b * BLOCK_BYTES, high, low, p[b]);
    for (uint b0 = 0; b0 < blocks; b0 += MMA_PANEL) {
        put_inputs(&ahead, xs, ds);
        barrier(CLK_LOCAL_MEM_FENCE);
        take_inputs(x, x_stride, d, d_stride, b0 + MMA_PANEL, blocks, &ahead);
#pragma unroll
        for (uint b = 0; b < MMA_PANEL; b++) {
            if (b0 + b < blocks)
                add_block(p[b], xs + b * 8, ds + b * ROWS, high, low, tiles, sums);
            if (b0 + b + MMA_PANEL < blocks)
                take_block(w + (b0 + b + MMA_PANEL) * BLOCK_BYTES, high, low, p[b]);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
#pragma unroll
    for (uint i = 0; i < TILES * 4; i++) {
        uint o = group * GROUP + high + i % 4 / 2 * 8, row = row0 + i / 4 * 8 + 2 * low + i % 2;
        if (group < m->groups && o < m->outputs && row < m->rows)
            y[m->y + row * m->y_stride + o] = sums[i];
    }
}
#endif
