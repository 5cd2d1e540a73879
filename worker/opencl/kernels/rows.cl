/* rows.cl - what belongs to rows alone: Q8 rows as they travel, activations, compact sums. */

/* Work-items [blocks of a row][rows]: a Q8 row (34 bytes a block) as products take it. The flags of
 * the sum that comes next are cleared. */
__kernel void prepare_rows(__global const uchar *in, ulong in_at, uint row_bytes, uint blocks,
                           __global uint *q, __global float2 *d, uint d_stride)
{
    uint b = get_global_id(0), row = get_global_id(1);
    if (b >= blocks)
        return;
    __global const ushort *from =
        (__global const ushort *)(in + in_at + (ulong)row * row_bytes + b * 34);
    int sum = 0;
    for (uint i = 0; i < 8; i++) {
        uint word = from[1 + 2 * i] | (uint)from[2 + 2 * i] << 16;
        char4 c = max(as_char4(word), (char4)(-127));
        sum += c.x + c.y + c.z + c.w;
        q[((ulong)row * blocks + b) * 8 + i] = as_uint(c);
    }
    float scale = vload_half(0, (__global const half *)from);
    d[(ulong)b * d_stride + row] = (float2)(scale, scale * (float)sum);
}

#define ACTIVATE_ITEMS 128

/* One of the FFN's blocks in a half-step: struct hd_cl_block. */
struct ffn_block {
    ulong gate, up;   /* biases */
    uint width, q8;   /* q8: what reads the product takes quants */
    uint first, rows; /* its rows of gate and up */
};

#define SILU    0
#define GELU    1 /* by tanh */
#define CLAMPED 2
#define GELU_ERF 3
#define RELU2    4

static float activated(uint activation, float gate, float up, float alpha, float limit)
{
    switch (activation) {
    case GELU: return gelu_mul(gate, up);
    case CLAMPED: return clamped_mul(gate, up, alpha, limit);
    case GELU_ERF: return gelu_erf_mul(gate, up);
    case RELU2: return relu2_mul(gate, up);
    default: return silu_mul(gate, up);
    }
}

/* Work-groups [width_most / ACTIVATE_ITEMS][most rows][blocks]. gate, up: [rows][width_most]; without
 * a gate, up is activated. The product is quantized, scales [width_most / 32][row_stride], or left in
 * gate. */
__kernel __attribute__((reqd_work_group_size(ACTIVATE_ITEMS, 1, 1))) void
activate(SLAB_PARAMS, __global const uchar *in, uint blocks_at, __global float *gate, uint up_at,
         __global char *out_q, __global float2 *out_d, uint row_stride, uint width_most,
         uint activation, uint has_gate, float alpha, float limit, __global uint *flags, uint n_flags)
{
    __local float x[ACTIVATE_ITEMS];
    __local int t[ACTIVATE_ITEMS];
    uint l = get_local_id(0), first = get_group_id(0) * ACTIVATE_ITEMS, i = first + l;
    uint row = get_group_id(1), unit = get_group_id(2);
    uint group = first / ACTIVATE_ITEMS + get_num_groups(0) * (row + get_num_groups(1) * unit);
    for (uint f = group * ACTIVATE_ITEMS + l; f < n_flags;
         f += get_num_groups(0) * get_num_groups(1) * get_num_groups(2) * ACTIVATE_ITEMS)
        flags[f] = 0;
    struct ffn_block b = ((__global const struct ffn_block *)(in + blocks_at))[unit];
    __global const float *up = gate + up_at;
    ulong at = (ulong)(b.first + row) * width_most;
    if (first >= b.width || row >= b.rows)
        return;
    float value = 0.0f;
    if (i < b.width) {
        float g = has_gate ? gate[at + i] : 0.0f, u = up[at + i];
        if (b.gate != NOWHERE)
            g += ((__global const float *)at_address(b.gate, SLABS))[i];
        if (b.up != NOWHERE)
            u += ((__global const float *)at_address(b.up, SLABS))[i];
        value = has_gate ? activated(activation, g, u, alpha, limit)
                         : activated(activation, u, 1.0f, alpha, limit);
        if (!b.q8)
            gate[at + i] = value;
    }
    x[l] = value;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (b.q8)
        quantize(x, min(b.width - first, (uint)ACTIVATE_ITEMS), t, out_q + at + first,
                 out_d + (ulong)(first / BLOCK) * row_stride + b.first + row, row_stride);
}

/* ---- Experts: each has rows of its own ----*/

/* Work-items [words of a row][rows]: rows of inputs side by side, as `of` lists them. Of quants
 * the scales are copied likewise, from [words / 8][d_stride] to [words / 8][out_stride]. */
__kernel void gather_rows(__global const uchar *in, uint of, uint words, __global const uint *x,
                          uint x_at, uint x_stride, __global const float2 *d, uint d_at,
                          uint d_stride, __global uint *out, __global float2 *out_d,
                          uint out_stride)
{
    uint w = get_global_id(0), row = get_global_id(1);
    uint from = ((__global const uint *)(in + of))[row];
    if (w >= words)
        return;
    out[(ulong)row * words + w] = x[x_at + (ulong)from * x_stride + w];
    if (d_stride > 0 && w % 8 == 0)
        out_d[(ulong)(w / 8) * out_stride + row] = d[d_at + (ulong)(w / 8) * d_stride + from];
}

/* The same where all of so many units give to all rows: part [units][rows][dim]. */
__kernel void add_units(__global const uchar *in, uint shifts_at, __global const float *part,
                        uint units, __global long *sum, __global int *narrow, __global uint *bad,
                        __global uint *wide, uint dim, uint order)
{
    uint o = get_global_id(0), row = get_global_id(1), rows = get_global_size(1);
    int shift = ((__global const int *)(in + shifts_at))[row];
    if (o >= dim)
        return;
    ulong at = (ulong)row * dim + o;
    long s = order & IS_FIRST ? 0 : sum[at];
    for (uint u = 0; u < units; u++) {
        long v;
        if (!fixed_of(part[((ulong)u * rows + row) * dim + o], shift, &v))
            bad[row] = 1;
        s += v;
    }
    keep_sum(s, at, sum, narrow, wide + row, order);
}

/* What an expert's block gives to a row: struct hd_cl_term. */
struct term {
    uint at; /* a row of `part` */
    float weight;
};

/* Work-items [dim][rows]: adds the terms of each row, [first[row], first[row + 1]), to its sum, in
 * fixed point. part: [..][dim]. */
__kernel void add_terms(__global const uchar *in, uint first_at, uint terms_at, uint shifts_at,
                        __global const float *part, __global long *sum, __global int *narrow,
                        __global uint *bad, __global uint *wide, uint dim, uint order)
{
    uint o = get_global_id(0), row = get_global_id(1);
    __global const uint *first = (__global const uint *)(in + first_at) + row;
    __global const struct term *terms = (__global const struct term *)(in + terms_at);
    int shift = ((__global const int *)(in + shifts_at))[row];
    if (o >= dim)
        return;
    ulong at = (ulong)row * dim + o;
    long s = order & IS_FIRST ? 0 : sum[at];
    for (uint t = first[0]; t < first[1]; t++) {
        long v;
        if (!fixed_of(part[(ulong)terms[t].at * dim + o] * terms[t].weight, shift, &v))
            bad[row] = 1;
        s += v;
    }
    keep_sum(s, at, sum, narrow, wide + row, order);
}

/* Work-items [blocks of a row][rows]: sums as they travel in compact form (q8.h). */
__kernel void compact(__global const int *narrow, __global uchar *out, uint dim)
{
    uint b = get_global_id(0), row = get_global_id(1);
    if (b >= dim / BLOCK)
        return;
    __global const int *from = narrow + (ulong)row * dim + b * BLOCK;
    __global uchar *to = out + (ulong)row * (dim / BLOCK * 34) + b * 34;
    uint largest = 0;
    for (uint i = 0; i < BLOCK; i++)
        largest = max(largest, as_uint((float)from[i] * 0x1p-24f) & 0x7fffffffu);
    uint scale = scale_of(largest);
    float inverse = inverse_of(scale);
    to[0] = (uchar)(scale & 255);
    to[1] = (uchar)(scale >> 8);
    for (uint i = 0; i < BLOCK; i++)
        to[2 + i] = (uchar)quant_of((float)from[i] * 0x1p-24f, inverse);
}

/* Single values, for the known answer: out[i] = what `which` is of a[i] and b[i]. */
__kernel void single_values(uint which, __global const float *a, __global const float *b,
                            __global float *out, float with, float also)
{
    uint i = get_global_id(0);
    float x = a[i], y = b[i];
    switch (which) {
    case 0: out[i] = own_exp(x); break;
    case 1: out[i] = silu_mul(x, y); break;
    case 2: out[i] = gelu_mul(x, y); break;
    case 3: out[i] = soft_cap(x, with, also); break;
    case 4: out[i] = clamped_mul(x, y, with, also); break;
    default: break;
    }
}

/* ... K/V values as they are stored: out holds what they are as floats again. */
__kernel void store_values(__global const float *a, __global float *out, uint f16)
{
    uint i = get_global_id(0);
    if (f16)
        vstore_half_rte(a[i], i, (__global half *)out);
    else
        out[i] = a[i];
}

/* ... sums in fixed point; a value that cannot be is named in bad[0]. */
__kernel void fixed_values(__global const float *a, __global long *sum, int shift,
                           __global uint *bad)
{
    long v;
    if (!fixed_of(a[get_global_id(0)], shift, &v))
        bad[0] = 1;
    sum[get_global_id(0)] += v;
}

/* ... values as 8-bit activations: work-groups of 128 values. */
__kernel __attribute__((reqd_work_group_size(ACTIVATE_ITEMS, 1, 1))) void
quantize_values(__global const float *a, uint n, __global char *q, __global float2 *d)
{
    __local float x[ACTIVATE_ITEMS];
    __local int t[ACTIVATE_ITEMS];
    uint first = get_group_id(0) * ACTIVATE_ITEMS, i = first + get_local_id(0);
    x[get_local_id(0)] = i < n ? a[i] : 0.0f;
    barrier(CLK_LOCAL_MEM_FENCE);
    quantize(x, min(n - first, (uint)ACTIVATE_ITEMS), t, q + first, d + first / BLOCK, 1);
}
