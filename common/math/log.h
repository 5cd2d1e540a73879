/* log.h - the logarithm behind a log-sum-exp, for whoever sums exponentials himself. */
#ifndef HD_MATH_LOG_H
#define HD_MATH_LOG_H

#include "common/math/half.h"

#include <math.h>

/* Natural logarithm of a positive normal number, in double by plain operations, so that no libm
 * decides: x = m * 2^e, m in [sqrt(1/2), sqrt(2)), log(m) = 2 artanh((m - 1) / (m + 1)). */
static inline double hd_log_of(float x)
{
    uint32_t u = hd_float_bits(x) - 0x3f3504f3u; /* the bits of sqrt(1/2) */
    int e = (int)(int32_t)u >> 23;
    double m = hd_bits_float((u & 0x7fffffu) + 0x3f3504f3u);
    double s = (m - 1.0) / (m + 1.0), z = s * s, series = 0.0;
    for (int odd = 17; odd >= 1; odd -= 2)
        series = series * z + 1.0 / odd;
    return e * 0.693147180559945309417 + 2.0 * s * series;
}

/* The log-sum-exp of values whose maximum and sum of exp(x - max) are these. */
static inline float hd_log_sum(float max, float total)
{
    if (max == -INFINITY) /* no value, or none above zero probability */
        return max;
    if (!(total < INFINITY)) /* not finite: a NaN or an infinity was among the values */
        return total;
    return (float)((double)max + hd_log_of(total));
}

#endif
