/* vec_portable.h - plain C: loops over 16 lanes, for any host. */
#ifndef HD_MATH_VEC_PORTABLE_H
#define HD_MATH_VEC_PORTABLE_H

#include "common/math/half.h"

#include <math.h>

#define V16_TILE_ROWS   4 /* rows and groups of a register tile (k_matmul.c) */
#define V16_TILE_GROUPS 1
#define V16_ROW_GROUPS  1 /* groups in flight for a single row */
#define V16_Q8_ROWS     2 /* rows of a tile (k_matmul_q8.c) */
#define V16_DOT_OFFSET  0
#define V16_ATTN_SUMS   4 /* sums of k_attention.c that stay in registers */

typedef struct {
    float f[16];
} v16;

typedef struct {
    int32_t i[16];
} v16i;

#define V16_EACH for (int l_ = 0; l_ < 16; l_++)

static inline v16 v16_set1(float f)
{
    v16 r;
    V16_EACH r.f[l_] = f;
    return r;
}

static inline v16 v16_load(const float *p)
{
    v16 r;
    memcpy(&r, p, sizeof r);
    return r;
}

static inline void v16_store(float *p, v16 v)
{
    memcpy(p, &v, sizeof v);
}

/* A call for 16 calls, without which compilers take minutes. */
#ifdef __FP_FAST_FMAF
#define V16_OF_CALLS static inline
#else
#define V16_OF_CALLS static __attribute__((noinline))
#endif

V16_OF_CALLS v16 v16_fma(v16 a, v16 b, v16 c)
{
    V16_EACH c.f[l_] = __builtin_fmaf(a.f[l_], b.f[l_], c.f[l_]);
    return c;
}

static inline v16 v16_mul(v16 a, v16 b)
{
    V16_EACH a.f[l_] *= b.f[l_];
    return a;
}

static inline v16 v16_add(v16 a, v16 b)
{
    V16_EACH a.f[l_] += b.f[l_];
    return a;
}

static inline v16 v16_sub(v16 a, v16 b)
{
    V16_EACH a.f[l_] -= b.f[l_];
    return a;
}

static inline v16 v16_div(v16 a, v16 b)
{
    V16_EACH a.f[l_] /= b.f[l_];
    return a;
}

static inline v16 v16_min(v16 a, v16 b)
{
    V16_EACH a.f[l_] = a.f[l_] < b.f[l_] ? a.f[l_] : b.f[l_];
    return a;
}

static inline v16 v16_max(v16 a, v16 b)
{
    V16_EACH a.f[l_] = a.f[l_] > b.f[l_] ? a.f[l_] : b.f[l_];
    return a;
}

static inline float v16_fold(v16 v)
{
    for (int width = 8; width > 0; width /= 2)
        for (int i = 0; i < width; i++)
            v.f[i] += v.f[i + width];
    return v.f[0];
}

static inline float v16_fold_max(v16 v)
{
    for (int width = 8; width > 0; width /= 2)
        for (int i = 0; i < width; i++)
            v.f[i] = v.f[i] > v.f[i + width] ? v.f[i] : v.f[i + width];
    return v.f[0];
}

static inline v16 v16_fold_16(const v16 a[16])
{
    v16 r;
    V16_EACH r.f[l_] = v16_fold(a[l_]);
    return r;
}

static inline v16 v16_load_f16(const void *p)
{
    uint16_t h[16];
    v16 r;
    memcpy(h, p, sizeof h);
    V16_EACH r.f[l_] = hd_half_widen(h[l_]);
    return r;
}

static inline void v16_store_f16(void *p, v16 v)
{
    uint16_t h[16];
    V16_EACH h[l_] = hd_half_round(v.f[l_]);
    memcpy(p, h, sizeof h);
}

static inline v16 v16_load_bf16(const void *p)
{
    uint16_t h[16];
    v16 r;
    memcpy(h, p, sizeof h);
    V16_EACH r.f[l_] = hd_bfloat_widen(h[l_]);
    return r;
}

static inline v16i v16i_load(const void *p)
{
    v16i r;
    memcpy(&r, p, sizeof r);
    return r;
}

static inline v16 v16_nibble(v16i w, unsigned shift, unsigned bias)
{
    v16 r;
    V16_EACH r.f[l_] = (float)((int)((uint32_t)w.i[l_] >> shift & 15u) - (int)bias);
    return r;
}

static inline v16 v16_byte(v16i w, unsigned k)
{
    v16 r;
    V16_EACH r.f[l_] = (float)(int32_t)((uint32_t)w.i[l_] << (24 - 8 * k) & 0xff000000u);
    return r;
}

static inline v16 v16_f8(v16i w, unsigned k)
{
    v16 r;
    V16_EACH r.f[l_] = hd_e4m3_widen((uint8_t)((uint32_t)w.i[l_] >> 8 * k & 255u));
    return r;
}

static inline v16i v16i_set1(int32_t i)
{
    v16i r;
    V16_EACH r.i[l_] = i;
    return r;
}

static inline v16i v16i_sub(v16i a, v16i b)
{
    V16_EACH a.i[l_] = (int32_t)((uint32_t)a.i[l_] - (uint32_t)b.i[l_]);
    return a;
}

/* Half, rounded down. */
static inline v16i v16i_half(v16i a)
{
    V16_EACH a.i[l_] >>= 1;
    return a;
}

static inline v16i v16_as_int(v16 v)
{
    v16i r;
    memcpy(&r, &v, sizeof r);
    return r;
}

/* 2^n for n in [-126, 127]. */
static inline v16 v16_power_of_2(v16i n)
{
    v16 r;
    V16_EACH r.f[l_] = hd_bits_float(((uint32_t)n.i[l_] + 127u) << 23);
    return r;
}

static inline v16i v16i_add(v16i a, v16i b)
{
    V16_EACH a.i[l_] = (int32_t)((uint32_t)a.i[l_] + (uint32_t)b.i[l_]);
    return a;
}

static inline v16i v16i_and(v16i a, v16i b)
{
    V16_EACH a.i[l_] &= b.i[l_];
    return a;
}

static inline v16i v16i_max(v16i a, v16i b)
{
    V16_EACH a.i[l_] = a.i[l_] > b.i[l_] ? a.i[l_] : b.i[l_];
    return a;
}

static inline int32_t v16i_fold_max(v16i a)
{
    int32_t max = a.i[0];
    V16_EACH max = a.i[l_] > max ? a.i[l_] : max;
    return max;
}

/* 16 bytes of what fits them. */
static inline void v16i_store_i8(int8_t *p, v16i a)
{
    V16_EACH p[l_] = (int8_t)a.i[l_];
}

static inline v16 v16_of_int(v16i a)
{
    v16 r;
    V16_EACH r.f[l_] = (float)a.i[l_];
    return r;
}

static inline v16i v16i_nibbles(v16i w, unsigned shift)
{
    V16_EACH w.i[l_] = (int32_t)((uint32_t)w.i[l_] >> shift & 0x0f0f0f0fu);
    return w;
}

static inline v16i v16i_dot_weights(v16i w, int low)
{
    (void)low;
    return w;
}

static inline v16i v16i_dot(struct v16_dot s, const v16i *w, const int8_t *x, v16i start)
{
    for (int i = 0; i < s.n; i++) {
        int8_t q[16][4];
        memcpy(q, &w[i], sizeof q);
        V16_EACH start.i[l_] += q[l_][0] * x[4 * i] + q[l_][1] * x[4 * i + 1] +
                                q[l_][2] * x[4 * i + 2] + q[l_][3] * x[4 * i + 3];
    }
    return start;
}

#endif
