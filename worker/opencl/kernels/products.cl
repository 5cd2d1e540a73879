/* products.cl - rows times packed weights of one form (common/math/pack.h): HD_SPAN inputs share a
 * scale of HD_SCALE bytes, quants have HD_BITS, HD_BIAS is subtracted from a nibble, HD_MIN says
 * whether there are minima; HD_FLOAT: 32, 16, 8 (E4M3) or 1 (bf16) for floats, 0 for quants.
 *
 *   project   y = W x of many matrices [outputs][inputs], one launch
 *   reduce    sum over units of round(W x * 2^shift): the last product of a half
 *
 * An output is one chain of fused multiply-adds in block order (q8.h), whatever makes its integers:
 * here the blocks of a row are shared out, the integers rest in local memory, and one work-item
 * walks the chain. mma.cl has the same for many rows on tensor cores. */

#define HEAD_BYTES (GROUP * HD_SCALE * (1 + HD_MIN))
#define SPAN_BYTES (HEAD_BYTES + GROUP * HD_SPAN * HD_BITS / 8)
#define PIECES     (BLOCK / HD_SPAN) /* spans of a block of activations */
#define LINKS      (1 + HD_MIN)     /* of the chain, that a span makes ... */
#define TERMS      (PIECES * LINKS) /* ... and a block */
#define BLOCK_BYTES (PIECES * SPAN_BYTES)

static float load_scale(__global const uchar *at)
{
#if HD_SCALE == 2
    return vload_half(0, (__global const half *)at);
#else
    return *(__global const float *)at;
#endif
}

/* 4 nibbles to 4 signed bytes. */
static uint less_bias(uint nibbles)
{
#if HD_BIAS
    return ((nibbles | 0x80808080u) - HD_BIAS * 0x01010101u) ^ 0x80808080u;
#else
    return nibbles;
#endif
}

/* start + the products of 4 signed bytes each. */
static int dot4(uint a, uint b, int start)
{
#if HD_NVIDIA
    int sum;
    __asm__("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(b), "r"(start));
    return sum;
#elif HD_DOT
    return start + dot_4x8packed_ss_int(a, b);
#else
    char4 x = as_char4(a), y = as_char4(b);
    return start + x.x * y.x + x.y * y.y + x.z * y.z + x.w * y.w;
#endif
}

#if !HD_FLOAT
/* A block of one output. */
struct unpacked {
    uint words[8]; /* quants, 4 each, as the words of activations */
    float scale[PIECES];
    float min[PIECES]; /* only where there are minima */
};

static void unpack(__global const uchar *at, uint lane, struct unpacked *u)
{
    for (int s = 0; s < PIECES; s++, at += SPAN_BYTES) {
        __global const uint *quants = (__global const uint *)(at + HEAD_BYTES);
        u->scale[s] = load_scale(at + lane * HD_SCALE);
#if HD_MIN
        u->min[s] = load_scale(at + (GROUP + lane) * HD_SCALE);
#endif
#if HD_BITS == 4
        for (int i = 0; i < 4; i++) {
            uint word = quants[i * GROUP + lane];
            u->words[2 * i] = less_bias(word & 0x0f0f0f0fu);
            u->words[2 * i + 1] = less_bias(word >> 4 & 0x0f0f0f0fu);
        }
#else
        for (int i = 0; i < HD_SPAN / 4; i++)
            u->words[s * (HD_SPAN / 4) + i] = quants[i * GROUP + lane];
#endif
    }
}

/* The links of one block: fma(link.x, link.y, sum). */
static void links_of(const struct unpacked *u, __global const uint *x, float2 d, float2 *link)
{
    uint4 low = ((__global const uint4 *)x)[0], high = ((__global const uint4 *)x)[1];
    const uint words[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
    for (int s = 0; s < PIECES; s++) {
        int sum = 0, of_x = 0;
        for (int i = 0; i < HD_SPAN / 4; i++) {
            sum = dot4(u->words[s * (HD_SPAN / 4) + i], words[s * (HD_SPAN / 4) + i], sum);
            of_x = dot4(0x01010101u, words[s * (HD_SPAN / 4) + i], of_x);
        }
        link[s * LINKS] = (float2)(u->scale[s] * d.x, (float)sum);
#if HD_MIN
        link[s * LINKS + 1] = (float2)(u->min[s], PIECES == 1 ? d.y : d.x * (float)of_x);
#endif
    }
}

#define SPLIT 16                 /* work-items that share the blocks of an output */
#define PANEL (64 / TERMS)       /* blocks whose links rest in local memory */
#define FEW   4                  /* rows of a work-group */

/* `most` rows of a work-group, a constant where it is inlined. */
static void project(SLAB_PARAMS, __global const uchar *in, uint matrices_at,
                    __global const uint *x, __global const float2 *d, uint x_stride, uint d_stride,
                    __global float *y, __local float2 (*links)[PANEL * TERMS][GROUP], uint most)
{
    __global const struct matrix *m =
        (__global const struct matrix *)(in + matrices_at) + get_group_id(1);
    uint lane = get_local_id(0) % GROUP, split = get_local_id(0) / GROUP, group = get_group_id(0);
    uint row0 = get_group_id(2) * most, blocks = m->inputs / BLOCK;
    if (group >= m->groups || row0 >= m->rows)
        return;
    uint rows = most == 1 ? 1 : min(m->rows - row0, most);
    __global const uchar *w = at_address(m->at, SLABS) + (ulong)group * m->group_bytes;
    float sum = 0.0f;
    x += m->x + row0 * x_stride;
    d += m->d + row0;
    for (uint b0 = 0; b0 < blocks; b0 += PANEL) {
        uint n = min(blocks - b0, (uint)PANEL);
        if (most == 1 && n == PANEL) { /* all that is wanted is on the way before it is used */
            struct unpacked u[PANEL / SPLIT];
            for (uint i = 0; i < PANEL / SPLIT; i++)
                unpack(w + (b0 + split + i * SPLIT) * BLOCK_BYTES, lane, &u[i]);
            for (uint i = 0; i < PANEL / SPLIT; i++) {
                uint b = split + i * SPLIT;
                float2 link[TERMS];
                links_of(&u[i], x + (b0 + b) * 8, d[(b0 + b) * d_stride], link);
                for (int t = 0; t < TERMS; t++)
                    links[0][b * TERMS + t][lane] = link[t];
            }
        }
        for (uint b = most == 1 && n == PANEL ? n : split; b < n; b += SPLIT) {
            struct unpacked u;
            unpack(w + (b0 + b) * BLOCK_BYTES, lane, &u);
            for (uint r = 0; r < rows; r++) {
                float2 link[TERMS];
                links_of(&u, x + r * x_stride + (b0 + b) * 8, d[(b0 + b) * d_stride + r], link);
                for (int t = 0; t < TERMS; t++)
                    links[r][b * TERMS + t][lane] = link[t];
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint i = 0; split < rows && i < n * TERMS; i++) {
            float2 link = links[split][i][lane];
            sum = fma(link.x, link.y, sum);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    uint o = group * GROUP + lane;
    if (split < rows && o < m->outputs)
        y[m->y + (row0 + split) * m->y_stride + o] = sum;
}

/* Work-groups [groups][matrices][rows / FEW] of GROUP * SPLIT. x_stride: words of a row. */
__kernel __attribute__((reqd_work_group_size(GROUP * SPLIT, 1, 1))) void
project_few(SLAB_PARAMS, __global const uchar *in, uint matrices_at, __global const uint *x,
            __global const float2 *d, uint x_stride, uint d_stride, __global float *y)
{
    __local float2 links[FEW][PANEL * TERMS][GROUP];
    project(SLABS, in, matrices_at, x, d, x_stride, d_stride, y, links, FEW);
}

__kernel __attribute__((reqd_work_group_size(GROUP * SPLIT, 1, 1))) void
project_one(SLAB_PARAMS, __global const uchar *in, uint matrices_at, __global const uint *x,
            __global const float2 *d, uint x_stride, uint d_stride, __global float *y)
{
    __local float2 links[1][PANEL * TERMS][GROUP];
    project(SLABS, in, matrices_at, x, d, x_stride, d_stride, y, links, 1);
}
#endif

/* ---- Rows of floats ----*/

#define HD_PLAIN (HD_FLOAT && HD_FLOAT != 8) /* without scales */
#if HD_PLAIN
static float weight_of(__global const uchar *w, uint lane, uint i)
{
#if HD_FLOAT == 32
    return ((__global const float *)w)[i * GROUP + lane];
#elif HD_FLOAT == 16
    return vload_half(i * GROUP + lane, (__global const half *)w);
#else
    return as_float((uint)((__global const ushort *)w)[i * GROUP + lane] << 16);
#endif
}
#endif

/* half.h: hd_e4m3_widen, of the lower 8 bits. */
static float e4m3_of(uint b)
{
    return as_float((b & 0x80u) << 24 | (b & 0x7fu) << 20) * 0x1p120f;
}

#define ROWS_F32 4

/* sums[r] = one chain over the inputs, for `rows` rows of x. */
static void chains(__global const uchar *w, uint lane, uint inputs, __global const float *x,
                   uint x_stride, uint rows, float *sums)
{
    for (uint r = 0; r < ROWS_F32; r++)
        sums[r] = 0.0f;
#if HD_PLAIN
    for (uint i = 0; i < inputs; i++) {
        float v = weight_of(w, lane, i);
        for (uint r = 0; r < rows; r++)
            sums[r] = fma(v, x[r * x_stride + i], sums[r]);
    }
#else
    for (uint b = 0; b < inputs / HD_SPAN; b++, w += SPAN_BYTES) {
        __global const uchar *quants = w + HEAD_BYTES;
        float scale = load_scale(w + lane * HD_SCALE);
#if HD_MIN
        float least = load_scale(w + (GROUP + lane) * HD_SCALE);
#endif
        for (uint k = 0; k < HD_SPAN; k++) {
#if HD_BITS == 4
            uint word = ((__global const uint *)quants)[k / 8 * GROUP + lane];
            int q = (int)(word >> (k % 4 * 8 + k / 4 % 2 * 4) & 15u) - HD_BIAS;
#else
            int q = ((__global const char *)quants)[(k / 4 * GROUP + lane) * 4 + k % 4];
#endif
#if HD_MIN
            float v = fma((float)q, scale, least);
#elif HD_FLOAT
            float v = e4m3_of((uint)q) * scale;
#else
            float v = (float)q * scale;
#endif
            for (uint r = 0; r < rows; r++)
                sums[r] = fma(v, x[r * x_stride + b * HD_SPAN + k], sums[r]);
        }
    }
#endif
}

/* Work-groups [groups / 4][matrices][rows / ROWS_F32] of 4 groups. x_stride: floats of a row. */
__kernel __attribute__((reqd_work_group_size(4 * GROUP, 1, 1))) void
project_f32(SLAB_PARAMS, __global const uchar *in, uint matrices_at, __global const float *x,
            __global const float2 *unused, uint x_stride, uint d_stride, __global float *y)
{
    __global const struct matrix *m =
        (__global const struct matrix *)(in + matrices_at) + get_group_id(1);
    uint lane = get_local_id(0) % GROUP, group = get_group_id(0) * 4 + get_local_id(0) / GROUP;
    uint row0 = get_group_id(2) * ROWS_F32, o = group * GROUP + lane;
    if (group >= m->groups || row0 >= m->rows)
        return;
    uint rows = min(m->rows - row0, (uint)ROWS_F32);
    float sums[ROWS_F32];
    chains(at_address(m->at, SLABS) + (ulong)group * m->group_bytes, lane, m->inputs,
           x + m->x + row0 * x_stride, x_stride, rows, sums);
    for (uint r = 0; r < rows && o < m->outputs; r++)
        y[m->y + (row0 + r) * m->y_stride + o] = sums[r];
}

/* ---- The sum over units ----*/

#define UNITS 16 /* work-items that share the units of an output */

/* Adds the work-group's shares of ROWS_F32 rows to the sums [rows][dim]. */
static void add_shares(__local long *share, const long *mine, __global long *sum,
                       __global int *narrow, __global uint *wide, uint row0, uint rows, uint o,
                       uint dim, uint order)
{
    uint l = get_local_id(0);
    for (uint r = 0; r < rows; r++) {
        share[l] = mine[r];
        barrier(CLK_LOCAL_MEM_FENCE);
        if (l < GROUP && o < dim) {
            ulong at = (ulong)(row0 + r) * dim + o;
            long s = order & IS_FIRST ? 0 : sum[at];
            for (uint u = 0; u < UNITS; u++)
                s += share[u * GROUP + l];
            keep_sum(s, at, sum, narrow, wide + row0 + r, order);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}

#define REDUCE_PARAMS                                                                              \
    SLAB_PARAMS, __global const uchar *in, uint matrices_at, uint units, __global const uint *x,   \
        __global const float2 *d, uint x_stride, uint d_stride, uint shifts_at,                    \
        __global long *sum, __global int *narrow, __global uint *bad, __global uint *wide,         \
        uint rows_of_all, uint dim, uint order

/* Work-groups [groups][rows / ROWS_F32] of GROUP * UNITS. */
#if !HD_FLOAT
#define REDUCE_ARGUMENTS                                                                           \
    SLABS, in, matrices_at, units, x, d, x_stride, d_stride, shifts_at, sum, narrow, bad, wide,    \
        rows_of_all, dim, order
#define REDUCE_AHEAD 8 /* blocks of a unit that are on the way together */

/* `most` rows of a work-group, a constant where it is inlined. */
static void reduce(REDUCE_PARAMS, __local long *share, uint most)
{
    uint lane = get_local_id(0) % GROUP, u = get_local_id(0) / GROUP, group = get_group_id(0);
    uint row0 = get_group_id(1) * most, rows = most == 1 ? 1 : min(rows_of_all - row0, most);
    __global const int *shifts = (__global const int *)(in + shifts_at);
    long mine[ROWS_F32] = {0, 0, 0, 0};
    for (; u < units; u += UNITS) {
        __global const struct matrix *m = (__global const struct matrix *)(in + matrices_at) + u;
        __global const uchar *w = at_address(m->at, SLABS) + (ulong)group * m->group_bytes;
        __global const uint *xm = x + m->x + row0 * x_stride;
        __global const float2 *dm = d + m->d + row0;
        float sums[ROWS_F32] = {0.0f, 0.0f, 0.0f, 0.0f};
        uint b = 0, blocks = m->inputs / BLOCK;
        for (; most == 1 && b + REDUCE_AHEAD <= blocks; b += REDUCE_AHEAD) {
            struct unpacked v[REDUCE_AHEAD];
            float2 link[REDUCE_AHEAD][TERMS];
            for (uint i = 0; i < REDUCE_AHEAD; i++)
                unpack(w + (b + i) * BLOCK_BYTES, lane, &v[i]);
            for (uint i = 0; i < REDUCE_AHEAD; i++)
                links_of(&v[i], xm + (b + i) * 8, dm[(b + i) * d_stride], link[i]);
            for (uint i = 0; i < REDUCE_AHEAD; i++)
                for (int t = 0; t < TERMS; t++)
                    sums[0] = fma(link[i][t].x, link[i][t].y, sums[0]);
        }
        for (; b < blocks; b++) {
            struct unpacked v;
            unpack(w + b * BLOCK_BYTES, lane, &v);
            for (uint r = 0; r < rows; r++) {
                float2 link[TERMS];
                links_of(&v, xm + r * x_stride + b * 8, dm[b * d_stride + r], link);
                for (int t = 0; t < TERMS; t++)
                    sums[r] = fma(link[t].x, link[t].y, sums[r]);
            }
        }
        for (uint r = 0; r < rows; r++) {
            long v;
            if (!fixed_of(sums[r], shifts[row0 + r], &v))
                bad[row0 + r] = 1;
            mine[r] += v;
        }
    }
    add_shares(share, mine, sum, narrow, wide, row0, rows, group * GROUP + lane, dim, order);
}

__kernel __attribute__((reqd_work_group_size(GROUP * UNITS, 1, 1))) void reduce_few(REDUCE_PARAMS)
{
    __local long share[UNITS * GROUP];
    reduce(REDUCE_ARGUMENTS, share, ROWS_F32);
}

__kernel __attribute__((reqd_work_group_size(GROUP * UNITS, 1, 1))) void reduce_one(REDUCE_PARAMS)
{
    __local long share[UNITS * GROUP];
    reduce(REDUCE_ARGUMENTS, share, 1);
}
#endif

__kernel __attribute__((reqd_work_group_size(GROUP * UNITS, 1, 1))) void reduce_f32(REDUCE_PARAMS)
{
    __local long share[UNITS * GROUP];
    uint lane = get_local_id(0) % GROUP, u = get_local_id(0) / GROUP, group = get_group_id(0);
    uint row0 = get_group_id(1) * ROWS_F32, rows = min(rows_of_all - row0, (uint)ROWS_F32);
    __global const int *shifts = (__global const int *)(in + shifts_at);
    long mine[ROWS_F32] = {0, 0, 0, 0};
    for (; u < units; u += UNITS) {
        __global const struct matrix *m = (__global const struct matrix *)(in + matrices_at) + u;
        float sums[ROWS_F32];
        chains(at_address(m->at, SLABS) + (ulong)group * m->group_bytes, lane, m->inputs,
               (__global const float *)x + m->x + row0 * x_stride, x_stride, rows, sums);
        for (uint r = 0; r < rows; r++) {
            long v;
            if (!fixed_of(sums[r], shifts[row0 + r], &v))
                bad[row0 + r] = 1;
            mine[r] += v;
        }
    }
    add_shares(share, mine, sum, narrow, wide, row0, rows, group * GROUP + lane, dim, order);
}
