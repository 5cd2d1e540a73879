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

/* Biases of the FFN's blocks: struct hd_cl_biases. */
struct biases {
    ulong gate, up;
    uint width, q8; /* q8: what reads the product takes quants */
};

/* Work-groups [width_most / ACTIVATE_ITEMS][rows][units]. gate, up: [units][row_stride][width_most].
 * The product is quantized or left in gate. */
__kernel __attribute__((reqd_work_group_size(ACTIVATE_ITEMS, 1, 1))) void
activate(SLAB_PARAMS, __global const uchar *in, uint biases_at, __global float *gate, uint up_at,
         __global char *out_q, __global float2 *out_d, uint row_stride,
         uint width_most, uint gelu, __global uint *flags, uint n_flags)
{
    __local float x[ACTIVATE_ITEMS];
    __local int t[ACTIVATE_ITEMS];
    uint l = get_local_id(0), first = get_group_id(0) * ACTIVATE_ITEMS, i = first + l;
    uint row = get_group_id(1), unit = get_group_id(2);
    uint group = first / ACTIVATE_ITEMS + get_num_groups(0) * (row + get_num_groups(1) * unit);
    for (uint f = group * ACTIVATE_ITEMS + l; f < n_flags;
         f += get_num_groups(0) * get_num_groups(1) * get_num_groups(2) * ACTIVATE_ITEMS)
        flags[f] = 0;
    struct biases b = ((__global const struct biases *)(in + biases_at))[unit];
    __global const float *up = gate + up_at;
    ulong plane = (ulong)unit * row_stride + row, at = plane * width_most;
    if (first >= b.width)
        return;
    float value = 0.0f;
    if (i < b.width) {
        float g = gate[at + i], u = up[at + i];
        if (b.gate != NOWHERE)
            g += ((__global const float *)at_address(b.gate, SLABS))[i];
        if (b.up != NOWHERE)
            u += ((__global const float *)at_address(b.up, SLABS))[i];
        value = gelu ? gelu_mul(g, u) : silu_mul(g, u);
        if (!b.q8)
            gate[at + i] = value;
    }
    x[l] = value;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (b.q8)
        quantize(x, min(b.width - first, (uint)ACTIVATE_ITEMS), t, out_q + at + first,
                 out_d + ((ulong)unit * (width_most / BLOCK) + first / BLOCK) * row_stride + row,
                 row_stride);
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
                            __global float *out, float with)
{
    uint i = get_global_id(0);
    float x = a[i], y = b[i];
    switch (which) {
    case 0: out[i] = own_exp(x); break;
    case 1: out[i] = silu_mul(x, y); break;
    case 2: out[i] = gelu_mul(x, y); break;
    case 3: out[i] = soft_cap(x, with, 1.0f / with); break;
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
