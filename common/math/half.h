/* half.h - 16-bit floats by bits alone, so that no CPU feature and no libm decides a result.
 * What the conversion instructions of F16C and AVX-512 do, NaN payloads included. */
#ifndef HD_MATH_HALF_H
#define HD_MATH_HALF_H

#include <stdint.h>
#include <string.h>

#define HD_HALF_INFINITY 0x7c00u /* its bits; those of finite numbers without a sign are below */

static inline uint32_t hd_float_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static inline float hd_bits_float(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline float hd_half_widen(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t exponent = (h >> 10) & 31u, fraction = h & 0x3ffu;
    if (exponent == 31) /* infinity, or a NaN made quiet */
        return hd_bits_float(sign | 0x7f800000u | fraction << 13 | (fraction ? 0x400000u : 0));
    if (exponent == 0) /* zero or subnormal: fraction * 2^-24, exact in f32 */
        return hd_bits_float(sign | hd_float_bits((float)fraction * 0x1p-24f));
    return hd_bits_float(sign | (exponent + 112) << 23 | fraction << 13);
}

/* Round to nearest even; too large becomes infinity. */
static inline uint16_t hd_half_round(float f)
{
    uint32_t u = hd_float_bits(f), sign = (u >> 16) & 0x8000u;
    u &= 0x7fffffffu;
    if (u > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | ((u >> 13) & 0x3ffu));
    if (u >= 0x477ff000u) /* 65520 and more round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (u < 0x38800000u) /* below 2^-14: beside 0.5 a unit in the last place is 2^-24 */
        return (uint16_t)(sign | (hd_float_bits(hd_bits_float(u) + 0.5f) - 0x3f000000u));
    u += 0xfffu + ((u >> 13) & 1u);
    return (uint16_t)(sign | ((u - 0x38000000u) >> 13));
}

static inline float hd_bfloat_widen(uint16_t h)
{
    return hd_bits_float((uint32_t)h << 16);
}

/* FP8 of 4 and 3 bits (Micikevicius et al. 2022; no infinities), but for NaN: 0x7f, 0xff. Its bits
 * are those of an f32 whose exponent is 120 too small, or of a subnormal one: exact. */
static inline float hd_e4m3_widen(uint8_t b)
{
    return hd_bits_float((uint32_t)(b & 0x80u) << 24 | (uint32_t)(b & 0x7fu) << 20) * 0x1p120f;
}

static inline uint16_t hd_bfloat_round(float f)
{
    uint32_t u = hd_float_bits(f);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40u); /* stays a NaN, quiet */
    return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

#endif
