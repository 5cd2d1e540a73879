/* logits.cl - of the logits of a row in a vocab block what most clients want: the parts of the
 * log-sum-exp (k_rowwise.c) and the best few, as worker/answer.c finds them. */

#define BEST_ITEMS 128
#define BLOCK_MOST 1024 /* tokens of a vocab block: VOCAB_WIDTH_MAX */

/* What a row asks for: struct hd_cl_ask. */
struct ask {
    uint best;
    float temperature; /* 0: no second sum */
};

/* The first in the order of answers: greater ones, then lower numbers. */
static bool is_before(float a, uint i, float b, uint k)
{
    return a > b || (a == b && i < k);
}

/* max and sum of exp(x - max) of x [n] / by. e: [n], t: [BEST_ITEMS]. */
static float2 sum_of(__local const float *x, uint n, float by, __local float *e, __local float *t)
{
    uint l = get_local_id(0);
    float most = -INFINITY;
    for (uint i = l; i < n; i += BEST_ITEMS) {
        e[i] = by == 1.0f ? x[i] : x[i] / by;
        most = most > e[i] ? most : e[i];
    }
    t[l] = most;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint half_of = BEST_ITEMS / 2; half_of > 0; half_of /= 2) {
        if (l < half_of)
            t[l] = t[l] > t[l + half_of] ? t[l] : t[l + half_of];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    most = t[0];
    for (uint i = l; i < n; i += BEST_ITEMS)
        e[i] = own_exp(e[i] - most);
    barrier(CLK_LOCAL_MEM_FENCE);
    float sum = 0.0f;
    for (uint i = l; l < 16 && i < n; i += 16)
        sum += e[i];
    if (l < 16)
        t[l] = sum;
    barrier(CLK_LOCAL_MEM_FENCE);
    float total = fold(vload16(0, t));
    barrier(CLK_LOCAL_MEM_FENCE);
    return (float2)(most, total);
}

/* Writes the best k of x [n], best first: {token, bits of its logit}. */
static void find_best(__local const float *x, uint n, uint k, uint first_id, __global uint2 *out,
                      __local float *t, __local uint *which)
{
    uint l = get_local_id(0), last_i = 0;
    float last = 0.0f;
    for (uint round = 0; round < k; round++) {
        float top = -INFINITY;
        uint at = ~0u;
        for (uint i = l; i < n; i += BEST_ITEMS) {
            bool is_left = round == 0 || is_before(last, last_i, x[i], i);
            if (is_left && (at == ~0u || is_before(x[i], i, top, at))) {
                top = x[i];
                at = i;
            }
        }
        t[l] = top;
        which[l] = at;
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint half_of = BEST_ITEMS / 2; half_of > 0; half_of /= 2) {
            uint o = l + half_of;
            if (l < half_of && which[o] != ~0u &&
                (which[l] == ~0u || is_before(t[o], which[o], t[l], which[l]))) {
                t[l] = t[o];
                which[l] = which[o];
            }
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        last = t[0];
        last_i = which[0];
        if (l == 0)
            out[round] = (uint2)(first_id + last_i, as_uint(last));
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}

/* Work-items [width][blocks][rows]: to y [rows][blocks][vocab_width] the blocks' biases, whose
 * addresses lie at biases_at. */
__kernel void add_output_bias(SLAB_PARAMS, __global const uchar *in, uint biases_at,
                              __global float *y, uint vocab_width, uint vocab, uint blocks_at)
{
    uint i = get_global_id(0), slot = get_global_id(1), row = get_global_id(2);
    uint first_id = ((__global const uint *)(in + blocks_at))[slot] * vocab_width;
    if (i >= min(vocab - first_id, vocab_width))
        return;
    ulong bias = ((__global const ulong *)(in + biases_at))[slot];
    y[((ulong)row * get_global_size(1) + slot) * vocab_width + i] +=
        ((__global const float *)at_address(bias, SLABS))[i];
}

/* Work-groups [blocks][rows] of BEST_ITEMS. y: [rows][blocks][vocab_width]; out, for each row and
 * block: {max, sum}, {max, sum} at the temperature, then the best, room for k_most. */
__kernel __attribute__((reqd_work_group_size(BEST_ITEMS, 1, 1))) void
best_logits(__global const uchar *in, uint asks_at, uint blocks_at, __global const float *y,
            uint vocab_width, uint vocab, float scale, float cap, float inverse_cap, uint k_most,
            __global uint2 *out)
{
    __local float x[BLOCK_MOST], e[BLOCK_MOST], t[BEST_ITEMS];
    __local uint which[BEST_ITEMS];
    uint slot = get_group_id(0), row = get_group_id(1), l = get_local_id(0);
    struct ask ask = ((__global const struct ask *)(in + asks_at))[row];
    uint first_id = ((__global const uint *)(in + blocks_at))[slot] * vocab_width;
    uint n = min(vocab - first_id, vocab_width);
    ulong item = (ulong)row * get_num_groups(0) + slot;
    y += item * vocab_width;
    out += item * (2 + k_most);
    for (uint i = l; i < n; i += BEST_ITEMS) {
        float v = y[i];
        if (scale != 1.0f)
            v *= scale;
        x[i] = cap > 0.0f ? soft_cap(v, cap, inverse_cap) : v;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    float2 plain = sum_of(x, n, 1.0f, e, t), heated = plain;
    if (ask.temperature > 0.0f && ask.temperature != 1.0f)
        heated = sum_of(x, n, ask.temperature, e, t);
    if (l == 0) {
        out[0] = as_uint2(plain);
        out[1] = as_uint2(heated);
    }
    find_best(x, n, min(ask.best, n), first_id, out + 2, t, which);
}
