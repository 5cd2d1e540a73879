/* Norms, exp and SiLU: how far from the true value, and the same bits in every variant. */
#include "common/math/activate.h"
#include "math_test.h"

static const size_t sizes[] = {1, 15, 16, 17, 31, 64, 576, 1000};
#define N_SIZES (sizeof sizes / sizeof sizes[0])

static double relative_error(float got, double exact)
{
    return fabs(got - exact) / fabs(exact);
}

Test(rowwise, exp_is_within_2e_7_and_the_same_everywhere)
{
    const struct hd_kernels *portable = hd_kernels_get(HD_ISA_PORTABLE);
    for (float x = -87.0f; x < 88.6f; x += 0.0137f) {
        float e = hd_exp(portable, x);
        cr_assert_leq(relative_error(e, exp((double)x)), 2e-7, "exp(%g) = %g", x, e);
        FOR_EACH_ISA(isa, k)
        {
            float other = hd_exp(k, x);
            cr_assert(same_bits(&e, &other, 1));
        }
    }
}

Test(rowwise, exp_at_the_ends)
{
    FOR_EACH_ISA(isa, k)
    {
        cr_assert_eq(hd_exp(k, 0.0f), 1.0f);
        cr_assert_eq(hd_exp(k, -INFINITY), 0.0f);
        cr_assert_eq(hd_exp(k, -200.0f), 0.0f);
        cr_assert_eq(hd_exp(k, 89.0f), INFINITY);
        cr_assert_eq(hd_exp(k, INFINITY), INFINITY);
        cr_assert(isnan(hd_exp(k, NAN)));
        cr_assert_leq(fabs(hd_exp(k, -100.0f) - exp(-100.0)), 0x1p-149); /* a subnormal */
    }
}

Test(rowwise, silu_mul_is_accurate_and_the_same_everywhere)
{
    for (size_t s = 0; s < N_SIZES; s++) {
        size_t n = sizes[s];
        float *gate = random_floats(1, n, 20.0f), *up = random_floats(2, n, 3.0f);
        float *first = malloc(n * sizeof *first), *out = malloc(n * sizeof *out);
        hd_silu_mul(hd_kernels_get(HD_ISA_PORTABLE), gate, up, first, n);
        for (size_t i = 0; i < n; i++)
            cr_assert_leq(relative_error(first[i], gate[i] / (1.0 + exp(-(double)gate[i])) * up[i]),
                          1e-6);
        FOR_EACH_ISA(isa, k)
        {
            hd_silu_mul(k, gate, up, out, n);
            cr_assert(same_bits(first, out, n));
        }
        free(gate);
        free(up);
        free(first);
        free(out);
    }
}

static double clamped(double gate, double up, double alpha, double limit)
{
    double g = gate < limit ? gate : limit, u = up < -limit ? -limit : up < limit ? up : limit;
    return (u + 1) * g / (1 + exp(-alpha * g));
}

Test(rowwise, clamped_mul_is_accurate_and_the_same_everywhere)
{
    static const struct hd_clamp clamps[] = {{1.702f, 7}, {0.5f, 1}};
    for (size_t s = 0; s < N_SIZES; s++) {
        size_t n = sizes[s];
        float *gate = random_floats(1, n, 20.0f), *up = random_floats(2, n, 9.0f);
        float *first = malloc(n * sizeof *first), *out = malloc(n * sizeof *out);
        struct hd_clamp c = clamps[s % 2];
        gate[n / 2] = NAN; /* is not clamped to a number */
        up[n - 1] = NAN;
        hd_clamped_mul(hd_kernels_get(HD_ISA_PORTABLE), gate, up, c, first, n);
        for (size_t i = 0; i < n; i++) {
            double want = clamped(gate[i], up[i], c.alpha, c.limit);
            if (i == n / 2 || i == n - 1)
                cr_assert(isnan(first[i]));
            else
                cr_assert_leq(fabs(first[i] - want), 2e-6 * (fabs(want) + fabs((double)gate[i])));
        }
        FOR_EACH_ISA(isa, k)
        {
            hd_clamped_mul(k, gate, up, c, out, n);
            cr_assert(same_bits(first, out, n));
        }
        free(gate);
        free(up);
        free(first);
        free(out);
    }
}

static double gelu(double x)
{
    return x / 2 * (1 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
}

Test(rowwise, gelu_mul_is_accurate_and_the_same_everywhere)
{
    for (size_t s = 0; s < N_SIZES; s++) {
        size_t n = sizes[s];
        float *gate = random_floats(1, n, 20.0f), *up = random_floats(2, n, 3.0f);
        float *first = malloc(n * sizeof *first), *out = malloc(n * sizeof *out);
        hd_gelu_mul(hd_kernels_get(HD_ISA_PORTABLE), gate, up, first, n);
        for (size_t i = 0; i < n; i++)
            cr_assert_leq(fabs(first[i] - gelu(gate[i]) * up[i]), 2e-6 * fabs(gate[i] * up[i]));
        FOR_EACH_ISA(isa, k)
        {
            hd_gelu_mul(k, gate, up, out, n);
            cr_assert(same_bits(first, out, n));
        }
        free(gate);
        free(up);
        free(first);
        free(out);
    }
}

Test(rowwise, soft_cap_is_accurate_and_the_same_everywhere)
{
    static const float caps[] = {1.0f, 30.0f, 50.0f};
    for (size_t s = 0; s < N_SIZES * 3; s++) {
        size_t n = sizes[s / 3];
        float cap = caps[s % 3], *x = random_floats(1, n, 100.0f);
        float *first = malloc(n * sizeof *first), *out = malloc(n * sizeof *out);
        memcpy(first, x, n * sizeof *first);
        hd_soft_cap(hd_kernels_get(HD_ISA_PORTABLE), first, cap, n);
        for (size_t i = 0; i < n; i++)
            cr_assert_leq(fabs(first[i] - cap * tanh((double)x[i] / cap)), 4e-7 * cap);
        FOR_EACH_ISA(isa, k)
        {
            memcpy(out, x, n * sizeof *out);
            hd_soft_cap(k, out, cap, n);
            cr_assert(same_bits(first, out, n));
        }
        free(x);
        free(first);
        free(out);
    }
}

/* The definition: element i to lane i % 16, folded 8+8, 4+4, 2+2, 1+1. */
static float lanes_sum_squares(const float *x, size_t n)
{
    float lane[16] = {0};
    for (size_t i = 0; i < n; i++)
        lane[i % 16] = fmaf(x[i], x[i], lane[i % 16]);
    for (size_t width = 8; width > 0; width /= 2)
        for (size_t i = 0; i < width; i++)
            lane[i] += lane[i + width];
    return lane[0];
}

Test(rowwise, sum_squares_and_rms_norm_follow_their_definition)
{
    for (size_t s = 0; s < N_SIZES; s++) {
        size_t n = sizes[s];
        float *x = random_floats(3, n, 4.0f), *weight = random_floats(4, n, 1.0f);
        float *out = malloc(n * sizeof *out), *expected = malloc(n * sizeof *expected);
        float sum = lanes_sum_squares(x, n);
        float scale = 1.0f / sqrtf(sum / (float)n + 1e-5f);
        for (size_t i = 0; i < n; i++)
            expected[i] = x[i] * scale * weight[i];
        FOR_EACH_ISA(isa, k)
        {
            cr_assert_eq(hd_sum_squares(k, x, n), sum);
            hd_rms_norm(k, x, weight, 1e-5f, out, n);
            cr_assert(same_bits(out, expected, n));
        }
        free(x);
        free(weight);
        free(out);
        free(expected);
    }
}

Test(rowwise, log_sum_exp_is_accurate_and_the_same_everywhere)
{
    for (size_t s = 0; s < N_SIZES; s++) {
        size_t n = sizes[s];
        float *x = random_floats(5, n, 30.0f);
        double sum = 0.0;
        for (size_t i = 0; i < n; i++)
            sum += exp((double)x[i]);
        float first = hd_log_sum_exp(hd_kernels_get(HD_ISA_PORTABLE), x, n);
        cr_assert_leq(fabs(first - log(sum)), 4e-6);
        FOR_EACH_ISA(isa, k)
        {
            float other = hd_log_sum_exp(k, x, n);
            cr_assert(same_bits(&first, &other, 1));
        }
        free(x);
    }
}

Test(rowwise, log_sum_exp_of_extremes)
{
    const float none[] = {-INFINITY, -INFINITY}, one[] = {-INFINITY, 3.5f}, bad[] = {1.0f, NAN};
    const float large[] = {3e38f, 1.0f};
    FOR_EACH_ISA(isa, k)
    {
        cr_assert_eq(hd_log_sum_exp(k, none, 2), -INFINITY);
        cr_assert_eq(hd_log_sum_exp(k, none, 0), -INFINITY);
        cr_assert_eq(hd_log_sum_exp(k, one, 2), 3.5f);
        cr_assert_eq(hd_log_sum_exp(k, large, 2), 3e38f);
        cr_assert(isnan(hd_log_sum_exp(k, bad, 2)));
    }
}

Test(rowwise, rope_rotates_pairs)
{
    enum { DIM = 64 };
    float *v = random_floats(6, DIM, 2.0f), cs[DIM], first[DIM], out[DIM];
    for (size_t i = 0; i < DIM; i += 2) {
        cs[i] = cosf(0.37f * (float)i);
        cs[i + 1] = sinf(0.37f * (float)i);
    }
    memcpy(first, v, sizeof first);
    hd_rope(hd_kernels_get(HD_ISA_PORTABLE), first, DIM, cs);
    for (size_t i = 0; i < DIM; i += 2) {
        cr_assert_float_eq(first[i], v[i] * cs[i] - v[i + 1] * cs[i + 1], 1e-6);
        cr_assert_float_eq(first[i + 1], v[i] * cs[i + 1] + v[i + 1] * cs[i], 1e-6);
    }
    FOR_EACH_ISA(isa, k)
    {
        memcpy(out, v, sizeof out);
        hd_rope(k, out, DIM, cs);
        cr_assert(same_bits(out, first, DIM));
    }
    free(v);
}

Test(rowwise, kv_store_rounds_as_the_conversion_does)
{
    uint64_t seed = 9;
    float in[1000], copy[1000];
    uint16_t out[1000];
    for (size_t i = 0; i < 1000; i++) { /* any bits: subnormals, infinities, NaNs */
        uint32_t u = random_bits(&seed);
        memcpy(&in[i], &u, sizeof u);
        if (i % 2)
            in[i] = random_float(&seed) * (i % 4 == 1 ? 1e-5f : 70000.0f);
    }
    FOR_EACH_ISA(isa, k)
    {
        hd_kv_store(k, HD_KV_F16, in, out, 1000);
        for (size_t i = 0; i < 1000; i++)
            cr_assert_eq(out[i], hd_f32_to_f16(in[i]), "%s %a", hd_isa_name(all_isas[isa]), in[i]);
        hd_kv_store(k, HD_KV_F32, in, copy, 1000);
        cr_assert(same_bits(in, copy, 1000));
    }
}

Test(rowwise, activations_of_few_families)
{
    size_t n = 1000;
    float *gate = random_floats(1, n, 12.0f), *up = random_floats(2, n, 3.0f);
    float *out = calloc(n, sizeof *out);

    gate[0] = 0;
    gate[1] = -60;
    gate[2] = 60;
    gate[3] = NAN;
    hd_gelu_erf_mul(gate, up, out, n);
    for (size_t i = 0; i < n; i++) {
        double x = (double)gate[i], want = x * (1 + erf(x / sqrt(2.0))) / 2 * (double)up[i];
        if (i == 3)
            cr_assert(isnan(out[i]));
        else
            cr_assert_leq(fabs((double)out[i] - want), 5e-7 * fabs(x * (double)up[i]));
    }
    hd_relu2_mul(gate, up, out, n);
    for (size_t i = 0; i < n; i++) {
        double x = gate[i] > 0 ? (double)gate[i] : 0, want = x * x * (double)up[i];
        if (i == 3)
            cr_assert(isnan(out[i]));
        else
            cr_assert_leq(fabs((double)out[i] - want), 3e-7 * fabs(want));
    }
    free(gate);
    free(up);
    free(out);
}
