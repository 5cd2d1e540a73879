/* rope.c - sines and cosines of our own: the C library's differ between machines, and with them
 * bits. */
#include "common/model/rope.h"

#include "common/model/model.h"

#define PI   3.14159265358979323846
#define LN_2 0.69314718055994530942

/* The paper's. */
#define BETA_FAST 32.0
#define BETA_SLOW 1.0

static int check_llama3(const struct hd_rope_config *c, struct hd_error *err)
{
    if (!(c->low_freq_factor > 0 && c->high_freq_factor > c->low_freq_factor &&
          c->high_freq_factor <= 1e6))
        return hd_fail(err, HD_E_RANGE,
                       "RoPE factors of low and high frequency %g and %g are not in order",
                       c->low_freq_factor, c->high_freq_factor);
    return 0;
}

static int check_yarn(const struct hd_rope_config *c, struct hd_error *err)
{
    double fast = c->beta_fast != 0 ? c->beta_fast : BETA_FAST,
           slow = c->beta_slow != 0 ? c->beta_slow : BETA_SLOW;

    if (!(slow > 0 && fast >= slow && fast <= 1e6))
        return hd_fail(err, HD_E_RANGE,
                       "beta_fast and beta_slow of RoPE are %g and %g, not in order", fast, slow);
    if (!(c->mscale >= 0 && c->mscale <= 1e3 && c->mscale_all_dim >= 0 && c->mscale_all_dim <= 1e3))
        return hd_fail(err, HD_E_RANGE, "mscale and mscale_all_dim of RoPE are %g and %g",
                       c->mscale, c->mscale_all_dim);
    if (!(c->attention_factor == 0 || (c->attention_factor >= 1e-3 && c->attention_factor <= 1e3)))
        return hd_fail(err, HD_E_RANGE,
                       "attention_factor of RoPE is %g, which is not from 1e-3 to 1e3",
                       c->attention_factor);
    return 0;
}

int hd_rope_check(const struct hd_rope_config *c, struct hd_error *err)
{
    int rc = 0;

    /* The negations refuse NaN too. */
    if (!(c->theta > 1 && c->theta <= 1e15))
        return hd_fail(err, HD_E_RANGE, "RoPE base %g is not from 1 to 1e15", c->theta);
    if (c->scaling == HD_ROPE_PLAIN)
        return 0;
    if (!(c->factor >= 1 && c->factor <= 1e6))
        return hd_fail(err, HD_E_RANGE, "RoPE scaling factor %g is not from 1 to 1e6", c->factor);
    if (c->scaling == HD_ROPE_LINEAR || c->scaling == HD_ROPE_DYNAMIC)
        return 0;
    rc = c->scaling == HD_ROPE_LLAMA3 ? check_llama3(c, err) : check_yarn(c, err);
    if (rc == 0 && !(c->original_context >= 1 && c->original_context <= 1e9))
        return hd_fail(err, HD_E_RANGE, "RoPE original context %g is not from 1 to 1e9",
                       c->original_context);
    return rc;
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

/* x = m 2^e with m in [1, 2); then ln(m) = 2 artanh((m - 1) / (m + 1)), whose argument is at most
 * 1/3: the first term left out is below 2^-60. */
double hd_rope_ln(double x)
{
    double e = 0, s, square, series = 0;

    for (; x >= 2; x /= 2)
        e++;
    for (; x < 1; x *= 2)
        e--;
    s = (x - 1) / (x + 1);
    square = s * s;
    for (int odd = 37; odd >= 1; odd -= 2)
        series = series * square + 1.0 / odd;
    return e * LN_2 + 2 * s * series;
}

/* ---- Scaling --------------------------------------------------------------------------------*/

static double llama3_divisor(const struct hd_rope_config *c, double freq)
{
    double turns = c->original_context * freq / (2 * PI); /* within the original context */

    if (turns > c->high_freq_factor)
        return 1;
    if (turns < c->low_freq_factor)
        return c->factor;
    double smooth = (turns - c->low_freq_factor) / (c->high_freq_factor - c->low_freq_factor);
    return 1 / ((1 - smooth) / c->factor + smooth);
}

static double whole_below(double x)
{
    double down = (double)(int64_t)x;

    return down > x ? down - 1 : down;
}

static double clamped(double x, double lo, double hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

/* Pairs of `rotated` values between which the ramp goes from kept to divided. */
struct ramp {
    double from, to;
};
static struct ramp ramp_of(const struct hd_rope_config *c, uint32_t rotated)
{
    double beta[2] = {c->beta_fast != 0 ? c->beta_fast : BETA_FAST,
                      c->beta_slow != 0 ? c->beta_slow : BETA_SLOW},
           at[2];

    for (int i = 0; i < 2; i++) /* the pair that turns so often */
        at[i] = rotated * hd_rope_ln(c->original_context / (beta[i] * 2 * PI)) /
                (2 * hd_rope_ln(c->theta));
    if (!c->exact_ramp) {
        at[0] = whole_below(at[0]);
        at[1] = -whole_below(-at[1]);
    }
    struct ramp r = {at[0] < 0 ? 0 : at[0], at[1] > rotated - 1 ? rotated - 1 : at[1]};
    if (r.from == r.to)
        r.to += 0.001;
    return r;
}

static double yarn_divisor(const struct hd_rope_config *c, struct ramp r, uint32_t pair)
{
    double divided = clamped((pair - r.from) / (r.to - r.from), 0, 1);

    return 1 / (divided / c->factor + (1 - divided));
}

/* Of a model without any scaling. */
static void plain_frequencies(double theta, uint32_t rotated, double *freq)
{
    uint32_t n = rotated / 2;
    double step = root(theta, n); /* theta^(2 / rotated) */

    for (uint32_t i = 0; i < n; i++)
        freq[i] = 1 / power(step, i);
}

void hd_rope_divisors(const struct hd_rope_config *c, uint32_t rotated, double *divisor)
{
    struct ramp ramp = {0, 1};

    plain_frequencies(c->theta, rotated, divisor);
    if (c->scaling == HD_ROPE_YARN)
        ramp = ramp_of(c, rotated);
    for (uint32_t i = 0; i < rotated / 2; i++)
        divisor[i] = c->scaling == HD_ROPE_LINEAR   ? c->factor
                     : c->scaling == HD_ROPE_LLAMA3 ? llama3_divisor(c, divisor[i])
                     : c->scaling == HD_ROPE_YARN   ? yarn_divisor(c, ramp, i)
                     : c->divisors                  ? c->divisors[i]
                                                    : 1;
}

void hd_rope_frequencies(const struct hd_rope_config *c, uint32_t rotated, double *freq)
{
    double step = root(c->theta, rotated / 2);

    hd_rope_divisors(c, rotated, freq);
    for (uint32_t i = 0; i < rotated / 2; i++)
        freq[i] = 1 / power(step, i) / freq[i];
}

static double mscale(double factor, double by)
{
    return factor > 1 ? 0.1 * by * hd_rope_ln(factor) + 1 : 1;
}

/* By Newton's steps, from above; x >= 1. */
static double square_root(double x)
{
    double r = x, next = (r + 1) / 2;

    for (; next < r; next = (r + x / r) / 2)
        r = next;
    return r;
}

double hd_rope_attention_factor(const struct hd_rope_config *c)
{
    if (c->scaling != HD_ROPE_YARN && c->scaling != HD_ROPE_LONGROPE)
        return 1;
    if (c->attention_factor != 0)
        return c->attention_factor;
    if (c->scaling == HD_ROPE_LONGROPE)
        return c->factor > 1
                   ? square_root(1 + hd_rope_ln(c->factor) / hd_rope_ln(c->original_context))
                   : 1;
    if (c->mscale != 0 && c->mscale_all_dim != 0)
        return mscale(c->factor, c->mscale) / mscale(c->factor, c->mscale_all_dim);
    return mscale(c->factor, 1);
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
    uint32_t pairs = m->shape.head_dim / 2;

    for (uint32_t i = 0; i < m->rope_sets * pairs; i++) {
        /* What is not rotated is not scaled either. */
        double by = m->rope_freq[i] != 0 ? (double)m->rope_scale[i / pairs] : 1, c, s;

        hd_rope_cos_sin(pos, m->rope_freq[i], &c, &s);
        cs[2 * i] = (float)(c * by);
        cs[2 * i + 1] = (float)(s * by);
    }
}
