/* vec.h - vectors of 16 f32 lanes: what the kernels are written in.
 *
 * One of four bodies is chosen by the compiler's target flags. Each operation gives the same bits
 * in each body: IEEE single precision, round to nearest even, subnormals kept, fma rounded once.
 *   v16_min(a, b) is a < b ? a : b (so b when either is NaN), v16_max likewise with >.
 *   v16_fold adds the lanes 8+8, 4+4, 2+2, 1+1; v16_fold_16 folds 16 vectors, one lane each.
 *   v16_nibble(w, shift, bias): the nibble at bit `shift` of each 32-bit lane, less bias (0 or 8).
 *   v16_byte(w, k): the signed byte k of each 32-bit lane, times 2^24 (it stays at the top).
 *   v16_f8(w, k): byte k of each 32-bit lane as FP8 E4M3, which is no NaN (half.h).
 *   v16i_nibbles(w, shift): in each byte the nibble at bit `shift` (0 or 4) of that byte.
 *   v16i_dot(s, w, x, start): to each lane of start are added, for each step i < s.n, the products
 *     of the 4 bytes of that lane of w[i] with x[4i .. 4i+3]. x in [-127, 127]; weights in
 *     [s.low, s.top], -128 <= s.low, and s.top < 32 unless s.low < 0. Weights with s.low < 0 went
 *     through v16i_dot_weights first, which may add V16_DOT_OFFSET: start is to make up for it. */
#ifndef HD_MATH_VEC_H
#define HD_MATH_VEC_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef HD_INLINE /* a build may say that calls will do */
#define HD_INLINE static inline __attribute__((always_inline))
#endif

/* What v16i_dot is told about its weights; constants wherever it is inlined. */
struct v16_dot {
    int n;        /* steps of 4 inputs */
    int low, top; /* the range of the weights */
};

#if defined(__AVX512F__)
#include "common/math/vec_avx512.h"
#elif defined(__AVX2__)
#include "common/math/vec_avx2.h"
#elif defined(__ARM_FEATURE_DOTPROD)
#include "common/math/vec_neon.h"
#else
#include "common/math/vec_portable.h"
#endif

/* Lanes [0, n) from memory, the rest `fill`. */
HD_INLINE v16 v16_load_part(const float *p, size_t n, float fill)
{
    if (n >= 16)
        return v16_load(p);
    float lanes[16];
    for (size_t i = 0; i < 16; i++)
        lanes[i] = i < n ? p[i] : fill;
    return v16_load(lanes);
}

HD_INLINE void v16_store_part(float *p, v16 v, size_t n)
{
    if (n >= 16) {
        v16_store(p, v);
        return;
    }
    float lanes[16];
    v16_store(lanes, v);
    for (size_t i = 0; i < n; i++)
        p[i] = lanes[i];
}

#define EXP_HIGH  89.0f   /* beyond: infinity */
#define EXP_LOW   -104.0f /* below: zero */
#define LOG2_E    1.44269504088896341f
#define LN2_HIGH  0.693359375f /* Cody & Waite 1980: ln 2 in two parts */
#define LN2_LOW   -2.12194440e-4f
#define ROUNDER   12582912.0f /* 1.5 * 2^23: adding it rounds to an integer, kept in the low bits */
#define ROUNDER_I 0x4b400000

/* exp(x) = 2^n * exp(r), |r| <= ln2 / 2; polynomial of the Cephes library. The scale is applied
 * in two halves, so that results reach down to the subnormals and up to infinity. */
HD_INLINE v16 v16_exp(v16 x)
{
    x = v16_max(v16_set1(EXP_LOW), v16_min(v16_set1(EXP_HIGH), x)); /* a NaN stays one */
    v16 t = v16_fma(x, v16_set1(LOG2_E), v16_set1(ROUNDER));
    v16 n = v16_sub(t, v16_set1(ROUNDER));
    v16 r = v16_fma(n, v16_set1(-LN2_HIGH), x);
    r = v16_fma(n, v16_set1(-LN2_LOW), r);
    v16 p = v16_set1(1.9875691500e-4f);
    p = v16_fma(p, r, v16_set1(1.3981999507e-3f));
    p = v16_fma(p, r, v16_set1(8.3334519073e-3f));
    p = v16_fma(p, r, v16_set1(4.1665795894e-2f));
    p = v16_fma(p, r, v16_set1(1.6666665459e-1f));
    p = v16_fma(p, r, v16_set1(5.0000001201e-1f));
    p = v16_add(v16_fma(p, v16_mul(r, r), r), v16_set1(1.0f));
    v16i whole = v16i_sub(v16_as_int(t), v16i_set1(ROUNDER_I));
    v16i half = v16i_half(whole);
    v16i rest = v16i_sub(whole, half);
    return v16_mul(v16_mul(p, v16_power_of_2(half)), v16_power_of_2(rest));
}

/* tanh(x), with an error of 2^-23 or so of 1 */
HD_INLINE v16 v16_tanh(v16 x)
{
    v16 e = v16_exp(v16_add(x, x));
    return v16_sub(v16_set1(1.0f), v16_div(v16_set1(2.0f), v16_add(e, v16_set1(1.0f))));
}

/* (double)a, rounded once. Where no instruction converts vectors of it: the upper half, made
 * positive, and the lower half rest in the fractions of doubles near 2^84 and 2^52. */
HD_INLINE double hd_double_of(int64_t a)
{
#if defined(__AVX512DQ__) || defined(__aarch64__)
    return (double)a;
#else
    uint64_t high = ((uint64_t)a >> 32 ^ 0x80000000u) | UINT64_C(0x4530000000000000);
    uint64_t low = ((uint64_t)a & 0xffffffffu) | UINT64_C(0x4330000000000000);
    double h, l;
    memcpy(&h, &high, sizeof h);
    memcpy(&l, &low, sizeof l);
    return (h - (0x1p84 + 0x1p63 + 0x1p52)) + l;
#endif
}

#endif
