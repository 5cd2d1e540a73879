/* Element-wise kernels and sums over one row. */
#include "common/math/half.h"
#include "common/math/kernels_impl.h"
#include "common/math/log.h"
#include "common/math/vec.h"

#include <math.h>

#define GELU_CUBE 0.044715f
#define GELU_ROOT 0.797884560802865356f /* sqrt(2 / pi) */

HD_INLINE v16 silu_mul_16(v16 gate, v16 up)
{
    v16 one = v16_set1(1.0f);
    v16 e = v16_exp(v16_sub(v16_set1(0.0f), gate));
    return v16_mul(v16_div(gate, v16_add(one, e)), up);
}

void HD_KFN(silu_mul)(const float *gate, const float *up, float *out, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        v16_store(out + i, silu_mul_16(v16_load(gate + i), v16_load(up + i)));
    if (i < n) {
        v16 g = v16_load_part(gate + i, n - i, 0.0f), u = v16_load_part(up + i, n - i, 0.0f);
        v16_store_part(out + i, silu_mul_16(g, u), n - i);
    }
}

/* x / (1 + exp(-2 u)) is x (1 + tanh(u)) / 2. */
HD_INLINE v16 gelu_mul_16(v16 gate, v16 up)
{
    v16 one = v16_set1(1.0f), square = v16_mul(gate, gate);
    v16 u = v16_mul(gate, v16_fma(square, v16_set1(GELU_CUBE), one));
    v16 e = v16_exp(v16_mul(u, v16_set1(-2.0f * GELU_ROOT)));
    return v16_mul(v16_div(gate, v16_add(one, e)), up);
}

void HD_KFN(gelu_mul)(const float *gate, const float *up, float *out, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        v16_store(out + i, gelu_mul_16(v16_load(gate + i), v16_load(up + i)));
    if (i < n) {
        v16 g = v16_load_part(gate + i, n - i, 0.0f), u = v16_load_part(up + i, n - i, 0.0f);
        v16_store_part(out + i, gelu_mul_16(g, u), n - i);
    }
}

/* Of two numbers of which one is none v16_min and v16_max take the second: a NaN stays one. */
HD_INLINE v16 clamped_mul_16(v16 gate, v16 up, struct hd_clamp c)
{
    v16 one = v16_set1(1.0f), limit = v16_set1(c.limit);
    v16 g = v16_min(limit, gate), u = v16_max(v16_set1(-c.limit), v16_min(limit, up));
    v16 e = v16_exp(v16_mul(g, v16_set1(-c.alpha)));
    return v16_mul(v16_div(g, v16_add(one, e)), v16_add(u, one));
}

void HD_KFN(clamped_mul)(const float *gate, const float *up, struct hd_clamp c, float *out,
                         size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        v16_store(out + i, clamped_mul_16(v16_load(gate + i), v16_load(up + i), c));
    if (i < n) {
        v16 g = v16_load_part(gate + i, n - i, 0.0f), u = v16_load_part(up + i, n - i, 0.0f);
        v16_store_part(out + i, clamped_mul_16(g, u, c), n - i);
    }
}

void HD_KFN(soft_cap)(float *x, float cap, size_t n)
{
    v16 c = v16_set1(cap), inverse = v16_set1(1.0f / cap);
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        v16_store(x + i, v16_mul(v16_tanh(v16_mul(v16_load(x + i), inverse)), c));
    if (i < n) {
        v16 v = v16_mul(v16_load_part(x + i, n - i, 0.0f), inverse);
        v16_store_part(x + i, v16_mul(v16_tanh(v), c), n - i);
    }
}

float HD_KFN(sum_squares)(const float *x, size_t n)
{
    v16 sum = v16_set1(0.0f);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        v16 v = v16_load(x + i);
        sum = v16_fma(v, v, sum);
    }
    if (i < n) {
        v16 v = v16_load_part(x + i, n - i, 0.0f);
        sum = v16_fma(v, v, sum);
    }
    return v16_fold(sum);
}

void HD_KFN(rms_norm)(const float *x, const float *weight, float eps, float *out, size_t n)
{
    float mean = HD_KFN(sum_squares)(x, n) / (float)n;
    float scale = 1.0f / sqrtf(mean + eps);
    for (size_t i = 0; i < n; i++)
        out[i] = x[i] * scale * weight[i];
}

HD_INLINE v16 row_max(const float *x, size_t n)
{
    v16 max = v16_set1(-INFINITY);
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        max = v16_max(max, v16_load(x + i));
    return i < n ? v16_max(max, v16_load_part(x + i, n - i, -INFINITY)) : max;
}

float HD_KFN(log_sum_exp)(const float *x, size_t n)
{
    float max = v16_fold_max(row_max(x, n));
    if (max == -INFINITY) /* x - max would be none */
        return max;
    v16 m = v16_set1(max), sum = v16_set1(0.0f);
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        sum = v16_add(sum, v16_exp(v16_sub(v16_load(x + i), m)));
    if (i < n)
        sum = v16_add(sum, v16_exp(v16_sub(v16_load_part(x + i, n - i, -INFINITY), m)));
    return hd_log_sum(max, v16_fold(sum));
}

float HD_KFN(exp)(float x)
{
    float lanes[16];
    v16_store(lanes, v16_exp(v16_set1(x)));
    return lanes[0];
}

void HD_KFN(rope)(float *v, size_t head_dim, const float *cs)
{
    for (size_t i = 0; i + 2 <= head_dim; i += 2) {
        float a = v[i], b = v[i + 1], c = cs[i], s = cs[i + 1];
        v[i] = __builtin_fmaf(a, c, -(b * s));
        v[i + 1] = __builtin_fmaf(b, c, a * s);
    }
}

void HD_KFN(kv_store)(enum hd_kv_type type, const float *in, void *out, size_t n)
{
    if (type == HD_KV_F32) {
        memcpy(out, in, n * sizeof *in);
        return;
    }
    uint16_t *half = out;
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        v16_store_f16(half + i, v16_load(in + i));
    for (; i < n; i++)
        half[i] = hd_half_round(in[i]);
}
