/* Fixed point: plain C on doubles and integers. Every step but the one rounding is exact, so the
 * compiler may vectorize as it likes; the loops have no branches, so that it does. */
#include "common/math/half.h"
#include "common/math/kernels_impl.h"
#include "common/math/vec.h"

#include <string.h>

/* 1.5 * 2^52: a double near it has units of 1, so adding it rounds to nearest even and leaves the
 * integer in the low bits. Good for |x| < 2^51; the limit below is 2^50. */
#define ROUNDER_64 0x1.8p52
#define LIMIT      0x1p50 /* 2^62 / 4096 */

static int64_t bits_of(double d)
{
    int64_t i;
    memcpy(&i, &d, sizeof i);
    return i;
}

/* 2^n, by its bits. */
static double power_of_2(int n)
{
    uint64_t u = (uint64_t)(1023 + n) << 52;
    double d;
    memcpy(&d, &u, sizeof d);
    return d;
}

/* The largest |x| by its bits, which are in the order of the values, NaN on top. */
static float largest_of(const float *x, size_t n)
{
    int32_t largest = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t bits = (int32_t)(hd_float_bits(x[i]) & 0x7fffffffu);
        largest = bits > largest ? bits : largest;
    }
    return hd_bits_float((uint32_t)largest);
}

int HD_KFN(fixed_add)(int64_t *acc, const float *x, int shift, size_t n)
{
    double unit = power_of_2(shift);
    int64_t zero = bits_of(ROUNDER_64);
    if (!((double)largest_of(x, n) * unit < LIMIT)) /* false for a NaN, too */
        return HD_E_NUMERIC;
    for (size_t i = 0; i < n; i++)
        acc[i] += bits_of((double)x[i] * unit + ROUNDER_64) - zero;
    return 0;
}

bool HD_KFN(fixed_narrow)(const int64_t *acc, int32_t *out32, size_t n)
{
    int64_t lost = 0;
    for (size_t i = 0; i < n; i++) {
        out32[i] = (int32_t)acc[i];
        lost |= acc[i] ^ out32[i];
    }
    return lost == 0;
}

void HD_KFN(fixed_sum32)(int64_t *acc, const int32_t *in32, size_t n)
{
    for (size_t i = 0; i < n; i++)
        acc[i] += in32[i];
}

void HD_KFN(fixed_apply)(float *residual, const int64_t *acc, int shift, size_t n)
{
    double unit = power_of_2(-shift);
    for (size_t i = 0; i < n; i++)
        residual[i] = (float)((double)residual[i] + hd_double_of(acc[i]) * unit);
}
