/* Fixed point: plain C on doubles and integers. Every step but the one rounding is exact, so the
 * compiler may vectorize as it likes. */
#include "common/math/kernels_impl.h"

#include <math.h>
#include <string.h>

/* 1.5 * 2^52: a double near it has units of 1, so adding it rounds to nearest even and leaves the
 * integer in the low bits. Good for |x| < 2^51; the limit below is 2^50. */
#define ROUNDER 0x1.8p52
#define LIMIT   0x1p50 /* 2^62 / 4096 */

static int64_t bits_of(double d)
{
    int64_t i;
    memcpy(&i, &d, sizeof i);
    return i;
}

int HD_KFN(fixed_add)(int64_t *acc, const float *x, int shift, size_t n)
{
    double unit = ldexp(1.0, shift);
    int64_t zero = bits_of(ROUNDER);
    unsigned bad = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)x[i] * unit;
        bool fits = fabs(d) < LIMIT; /* false for a NaN */
        bad |= !fits;
        acc[i] += bits_of((fits ? d : 0.0) + ROUNDER) - zero;
    }
    return bad ? HD_E_NUMERIC : 0;
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
    double unit = ldexp(1.0, -shift);
    for (size_t i = 0; i < n; i++)
        residual[i] = (float)((double)residual[i] + (double)acc[i] * unit);
}
