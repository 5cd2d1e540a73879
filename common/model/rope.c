/* rope.c - sines and cosines of our own: the C library's differ between machines, and with them
 * bits. */
#include "common/model/rope.h"

#include "common/model/model.h"

#define PI 3.14159265358979323846

int hd_rope_check(const struct hd_rope_config *c, struct hd_error *err)
{
    /* The negations refuse NaN too. */
    if (!(c->theta > 1 && c->theta <= 1e15))
        return hd_fail(err, HD_E_RANGE, "RoPE base %g is not from 1 to 1e15", c->theta);
    if (c->scaling == HD_ROPE_PLAIN)
        return 0;
    if (!(c->factor >= 1 && c->factor <= 1e6))
        return hd_fail(err, HD_E_RANGE, "RoPE scaling factor %g is not from 1 to 1e6", c->factor);
    if (c->scaling == HD_ROPE_LINEAR)
        return 0;
    if (!(c->low_freq_factor > 0 && c->high_freq_factor > c->low_freq_factor &&
          c->high_freq_factor <= 1e6))
        return hd_fail(err, HD_E_RANGE,
                       "RoPE factors of low and high frequency %g and %g are not in order",
                       c->low_freq_factor, c->high_freq_factor);
    if (!(c->original_context >= 1 && c->original_context <= 1e9))
        return hd_fail(err, HD_E_RANGE, "RoPE original context %g is not from 1 to 1e9",
                       c->original_context);
    return 0;
}

static double power(double x, uint32_t n)
{
    double r = 1;

    for (; n; n >>= 1, x *= x)
        if (n & 1)
            r *= x;
    return r;
}

/* x^(1/n) for x > 1, by bisection: the same steps everywhere. */
static double root(double x, uint32_t n)
{
    double lo = 1, hi = x;

    for (;;) {
        double mid = lo + (hi - lo) / 2;

        if (mid <= lo || mid >= hi)
            return lo;
        if (power(mid, n) > x) /* infinity compares as it should */
            hi = mid;
        else
            lo = mid;
    }
}

double hd_rope_divisor(const struct hd_rope_config *c, double freq)
{
    if (c->scaling == HD_ROPE_PLAIN)
        return 1;
    if (c->scaling == HD_ROPE_LINEAR)
        return c->factor;
    double turns = c->original_context * freq / (2 * PI); /* within the original context */
    if (turns > c->high_freq_factor)
        return 1;
    if (turns < c->low_freq_factor)
        return c->factor;
    double smooth = (turns - c->low_freq_factor) / (c->high_freq_factor - c->low_freq_factor);
    return 1 / ((1 - smooth) / c->factor + smooth);
}

void hd_rope_frequencies(const struct hd_rope_config *c, uint32_t rotated, double *freq)
{
    uint32_t n = rotated / 2;
    double step = root(c->theta, n); /* theta^(2 / rotated) */

    for (uint32_t i = 0; i < n; i++) {
        double f = 1 / power(step, i);

        freq[i] = f / hd_rope_divisor(c, f);
    }
}

/* ---- Angles ---------------------------------------------------------------------------------*/

/* Taylor series in x^2, from the last term to the first: on |x| <= pi/4 the first term left out
 * is below 2^-53. */
static double sin_small(double x)
{
    double q = x * x, s = 1;

    for (int k = 17; k > 1; k -= 2)
        s = 1 - q / (k * (k - 1)) * s;
    return x * s;
}

static double cos_small(double x)
{
    double q = x * x, s = 1;

    for (int k = 16; k > 0; k -= 2)
        s = 1 - q / (k * (k - 1)) * s;
    return s;
}

void hd_rope_cos_sin(uint32_t pos, double freq, double *cos_out, double *sin_out)
{
    /* pi/2 = high + low; `high` has 31 significant bits, so that quarters * high is exact. */
    const double high = 0x1.921fb544p+0, low = 0x1.0b4611a626331p-34;
    double angle = pos * freq;
    int64_t quarters = (int64_t)(angle / (high + low) + 0.5);
    double x = (angle - (double)quarters * high) - (double)quarters * low;
    double s = sin_small(x), c = cos_small(x);

    switch (quarters & 3) {
    case 0:
        *cos_out = c, *sin_out = s;
        return;
    case 1:
        *cos_out = -s, *sin_out = c;
        return;
    case 2:
        *cos_out = -c, *sin_out = -s;
        return;
    default:
        *cos_out = s, *sin_out = -c;
    }
}

void hd_model_rope(const struct hd_model *m, uint32_t pos, float *cs)
{
    for (uint32_t i = 0; i < m->rope_sets * (m->shape.head_dim / 2); i++) {
        double c, s;

        hd_rope_cos_sin(pos, m->rope_freq[i], &c, &s);
        cs[2 * i] = (float)c;
        cs[2 * i + 1] = (float)s;
    }
}
