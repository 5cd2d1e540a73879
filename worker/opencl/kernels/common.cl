/* common.cl - what all kernels share: where things lie, and the arithmetic of common/math in single
 * values. Every operation rounds as there: fused where fma is written, nowhere else.
 *
 * The host puts before this text: HD_NVIDIA (inline PTX may be used) and, for products.cl, the form
 * of the weights (common/math/pack.h). */
#pragma OPENCL FP_CONTRACT OFF

#define GROUP    16 /* outputs side by side in packed weights: HD_GROUP */
#define BLOCK    32 /* values that share a scale of activations: HD_Q8_BLOCK */
#define POSITIONS 64 /* of a block of K/V: HD_ATTN_BLOCK */
#define SEGMENT   4  /* blocks: HD_ATTN_SEGMENT */

/* Memory comes in slabs; an address is slab << 48 | offset (memory.h). */
#define SLAB_PARAMS                                                                                \
    __global uchar *s0, __global uchar *s1, __global uchar *s2, __global uchar *s3,                \
        __global uchar *s4, __global uchar *s5, __global uchar *s6, __global uchar *s7,            \
        __global uchar *s8, __global uchar *s9, __global uchar *s10, __global uchar *s11
#define SLABS s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11
#define NOWHERE (~0ul)

static __global uchar *at_address(ulong address, SLAB_PARAMS)
{
    ulong offset = address & 0xfffffffffffful;
    switch ((uint)(address >> 48)) {
    case 0: return s0 + offset;
    case 1: return s1 + offset;
    case 2: return s2 + offset;
    case 3: return s3 + offset;
    case 4: return s4 + offset;
    case 5: return s5 + offset;
    case 6: return s6 + offset;
    case 7: return s7 + offset;
    case 8: return s8 + offset;
    case 9: return s9 + offset;
    case 10: return s10 + offset;
    default: return s11 + offset;
    }
}

/* A matrix of a unit in one half-step: struct hd_cl_matrix. */
struct matrix {
    ulong at;      /* packed weights */
    uint y_stride; /* floats of a row of outputs */
    uint unused;
    uint groups, group_bytes;
    uint outputs, inputs;
    uint x, d;     /* its first row of inputs: a word of quants or a float; a scale */
    uint y;        /* the float of its first output */
    uint rows;     /* how many */
};

/* A row of a head: struct hd_cl_place. */
struct place {
    uint block;    /* of K/V, where the row lies */
    uint position;
    uint list;     /* the first block of its lane in the list of blocks */
    uint store;    /* 1: K and V are to be stored */
    uint set;      /* of angles; ~0u: it is not rotated */
    float scale;   /* of scores */
    float q_scale, k_scale; /* of norms over all heads */
};

/* `order`: a sum may be made in several launches. */
#define IS_FIRST 1
#define IS_LAST  2

/* ---- Single values ----*/

#define EXP_HIGH  89.0f
#define EXP_LOW   -104.0f
#define LOG2_E    1.44269504088896341f
#define LN2_HIGH  0.693359375f
#define LN2_LOW   -2.12194440e-4f
#define ROUNDER   12582912.0f
#define ROUNDER_I 0x4b400000

/* 2^n for n in [-126, 127]; of anything else some number. */
static float power_of_2(int n)
{
    return as_float(((uint)n + 127u) << 23);
}

/* vec.h: v16_exp. */
static float own_exp(float x)
{
    x = EXP_HIGH < x ? EXP_HIGH : x;
    x = EXP_LOW > x ? EXP_LOW : x;
    float t = fma(x, LOG2_E, ROUNDER);
    float n = t - ROUNDER;
    float r = fma(n, -LN2_HIGH, x);
    r = fma(n, -LN2_LOW, r);
    float p = 1.9875691500e-4f;
    p = fma(p, r, 1.3981999507e-3f);
    p = fma(p, r, 8.3334519073e-3f);
    p = fma(p, r, 4.1665795894e-2f);
    p = fma(p, r, 1.6666665459e-1f);
    p = fma(p, r, 5.0000001201e-1f);
    p = fma(p, r * r, r) + 1.0f;
    int whole = as_int(t) - ROUNDER_I;
    int half_of = whole >> 1;
    return (p * power_of_2(half_of)) * power_of_2(whole - half_of);
}

static float own_tanh(float x)
{
    float e = own_exp(x + x);
    return 1.0f - 2.0f / (e + 1.0f);
}

static float silu_mul(float gate, float up)
{
    return gate / (1.0f + own_exp(0.0f - gate)) * up;
}

static float gelu_mul(float gate, float up)
{
    float u = gate * fma(gate * gate, 0.044715f, 1.0f);
    float e = own_exp(u * (-2.0f * 0.797884560802865356f));
    return gate / (1.0f + e) * up;
}

/* activate.c: erf_of. */
static float own_erf(float x)
{
    x = x > 4.0f ? 4.0f : x < -4.0f ? -4.0f : x;
    float s = x * x;
    float p = -2.72614225801306e-10f;
    p = p * s + 2.77068142495902e-08f;
    p = p * s - 2.10102402082508e-06f;
    p = p * s - 5.69250639462346e-05f;
    p = p * s - 7.34990630326855e-04f;
    p = p * s - 2.95459980854025e-03f;
    p = p * s - 1.60960333262415e-02f;
    float q = -1.45660718464996e-05f;
    q = q * s - 2.13374055278905e-04f;
    q = q * s - 1.68282697438203e-03f;
    q = q * s - 7.37332916720468e-03f;
    q = q * s - 1.42647390514189e-02f;
    return x * p / q;
}

static float gelu_erf_mul(float gate, float up)
{
    return 0.5f * gate * (1.0f + own_erf(gate * 0.70710678118654752440f)) * up;
}

static float relu2_mul(float gate, float up)
{
    float x = gate < 0.0f ? 0.0f : gate;
    return x * x * up;
}

/* Of two numbers of which one is none, the second. */
static float smaller(float a, float b)
{
    return a < b ? a : b;
}

static float clamped_mul(float gate, float up, float alpha, float limit)
{
    float g = smaller(limit, gate), u = smaller(limit, up);
    u = -limit > u ? -limit : u;
    float e = own_exp(g * -alpha);
    return g / (1.0f + e) * (u + 1.0f);
}

static float soft_cap(float x, float cap, float inverse)
{
    return own_tanh(x * inverse) * cap;
}

/* 16 lanes folded 8+8, 4+4, 2+2, 1+1. */
static float fold(float16 v)
{
    float8 a = v.lo + v.hi;
    float4 b = a.lo + a.hi;
    float2 c = b.lo + b.hi;
    return c.x + c.y;
}

/* k_fixed.c: round(x * 2^shift) to nearest even, by integers alone. False: x is not finite, or the
 * result is not below 2^50. */
static bool fixed_of(float x, int shift, long *out)
{
    uint bits = as_uint(x), e = bits >> 23 & 255u;
    ulong m = bits & 0x7fffffu;
    *out = 0;
    if (e == 255)
        return false;
    if (e == 0)
        e = 1;
    else
        m |= 0x800000u;
    int up = (int)e - 150 + shift, size = 32 - (int)clz((uint)m);
    if (m == 0 || up < -25)
        return true;
    if (size + up > 50)
        return false;
    if (up >= 0) {
        m <<= up;
    } else {
        uint down = (uint)-up;
        ulong rest = m & ((1ul << down) - 1), middle = 1ul << (down - 1);
        m >>= down;
        m += rest > middle || (rest == middle && (m & 1));
    }
    *out = bits >> 31 ? -(long)m : (long)m;
    return true;
}

/* Output `at` is s so far; *wide is set if the last of it needs more than the narrow form has. */
static void keep_sum(long s, ulong at, __global long *sum, __global int *narrow, __global uint *wide,
                     uint order)
{
    sum[at] = s;
    narrow[at] = (int)s;
    if (order & IS_LAST && s != (long)(int)s)
        *wide = 1;
}

/* ---- Activations of 8 bits (q8.h) ----*/

#define INFINITE 0x7f800000u
#define HALF_NAN 0x7e00u

/* half.h: hd_half_round, of what is not negative and not a NaN. */
static uint half_bits(float f)
{
    uint u = as_uint(f);
    if (u >= 0x477ff000u)
        return 0x7c00u;
    if (u < 0x38800000u)
        return as_uint(f + 0.5f) - 0x3f000000u;
    u += 0xfffu + (u >> 13 & 1u);
    return (u - 0x38000000u) >> 13;
}

/* Finite ones, without a sign, and HALF_NAN. */
static float half_value(uint h)
{
    uint e = h >> 10, fraction = h & 0x3ffu;
    if (e == 31)
        return as_float(0x7fc00000u);
    return e == 0 ? (float)fraction * 0x1p-24f : as_float((e + 112) << 23 | fraction << 13);
}

/* The scale of a block whose largest |x| has these bits. */
static uint scale_of(uint largest)
{
    if (largest >= INFINITE)
        return HALF_NAN;
    uint d = half_bits(as_float(largest) / 127.0f);
    return d < 0x7c00u ? d : HALF_NAN;
}

/* A value of a block of that scale; `inverse` is 1 / scale, or 0 where every quant is 0. */
static int quant_of(float x, float inverse)
{
    if (inverse == 0.0f)
        return 0;
    float v = x * inverse;
    v = 127.0f < v ? 127.0f : v;
    v = -127.0f > v ? -127.0f : v;
    return as_int(v + ROUNDER) - ROUNDER_I;
}

static float inverse_of(uint scale)
{
    return scale == 0 || scale == HALF_NAN ? 0.0f : 1.0f / half_value(scale);
}

/* The work-group quantizes x [n], n a multiple of 32, one value a work-item at a time. `t` is
 * [size of the group], which is a multiple of 32. */
static void quantize(__local const float *x, uint n, __local int *t, __global char *q,
                     __global float2 *d, uint d_stride)
{
    uint l = get_local_id(0), size = get_local_size(0), first = l & ~31u;
    for (uint base = 0; base < n; base += size) {
        uint i = base + l;
        bool here = i < n;
        float v = here ? x[i] : 0.0f;
        t[l] = as_int(v) & 0x7fffffff;
        barrier(CLK_LOCAL_MEM_FENCE);
        int largest = 0;
        for (uint j = 0; j < 32; j++)
            largest = max(largest, t[first + j]);
        barrier(CLK_LOCAL_MEM_FENCE);
        uint scale = scale_of((uint)largest);
        int quant = quant_of(v, inverse_of(scale));
        t[l] = quant;
        barrier(CLK_LOCAL_MEM_FENCE);
        if (here)
            q[i] = (char)quant;
        if (here && l == first) {
            int sum = 0;
            for (uint j = 0; j < 32; j++)
                sum += t[first + j];
            float value = half_value(scale);
            d[i / BLOCK * d_stride] = (float2)(value, value * (float)sum);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}
