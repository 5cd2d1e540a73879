/* Partial sums as integers: rounding, overflow that is told, addition in any order. */
#include "math_test.h"

#define N 100

Test(fixed, rounds_to_nearest_even)
{
    const float x[] = {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 0.499f, -7.0f, 1e6f, 0.75f};
    const int64_t expected[] = {0, 2, 2, 0, -2, -2, 0, -7, 1000000, 1};
    FOR_EACH_ISA(isa, k)
    {
        int64_t acc[10] = {0};
        cr_assert_eq(hd_fixed_add(k, acc, x, 0, 10), 0);
        cr_assert_arr_eq(acc, expected, sizeof expected);
    }
}

Test(fixed, matches_the_definition_for_any_shift)
{
    for (int shift = -10; shift <= 40; shift += 5) {
        float *x = random_floats((uint64_t)shift + 50, N, 900.0f);
        FOR_EACH_ISA(isa, k)
        {
            int64_t acc[N] = {0};
            cr_assert_eq(hd_fixed_add(k, acc, x, shift, N), 0);
            for (size_t i = 0; i < N; i++)
                cr_assert_eq(acc[i], (int64_t)nearbyint(ldexp((double)x[i], shift)));
        }
        free(x);
    }
}

Test(fixed, the_order_of_units_does_not_matter)
{
    enum { UNITS = 9 };
    float *x = random_floats(77, UNITS * N, 5.0f);
    FOR_EACH_ISA(isa, k)
    {
        int64_t up[N] = {0}, down[N] = {0};
        for (size_t u = 0; u < UNITS; u++) {
            cr_assert_eq(hd_fixed_add(k, up, x + u * N, 20, N), 0);
            cr_assert_eq(hd_fixed_add(k, down, x + (UNITS - 1 - u) * N, 20, N), 0);
        }
        cr_assert_arr_eq(up, down, sizeof up);
    }
    free(x);
}

Test(fixed, refuses_what_is_too_large_or_not_finite)
{
    const float bad[] = {0x1p50f, -0x1p50f, INFINITY, -INFINITY, NAN, 3e38f};
    FOR_EACH_ISA(isa, k)
    {
        for (size_t b = 0; b < sizeof bad / sizeof bad[0]; b++) {
            for (size_t at = 0; at < 35; at += 17) {
                float x[35] = {0};
                int64_t acc[35] = {0};
                x[at] = bad[b];
                cr_assert_eq(hd_fixed_add(k, acc, x, 0, 35), HD_E_NUMERIC);
            }
        }
        float just[] = {0x1.fffffep49f, -0x1.fffffep49f};
        int64_t acc[2] = {0};
        for (int unit = 0; unit < 4096; unit++)
            cr_assert_eq(hd_fixed_add(k, acc, just, 0, 2), 0);
        cr_assert_eq(acc[0], (int64_t)0x1.fffffep49 * 4096);
        cr_assert_eq(acc[1], -acc[0]);
    }
}

Test(fixed, narrows_only_what_fits_32_bits)
{
    FOR_EACH_ISA(isa, k)
    {
        int64_t acc[40], sum[40];
        int32_t narrow[40];
        for (size_t i = 0; i < 40; i++)
            acc[i] = i % 2 ? INT32_MAX - (int64_t)i : INT32_MIN + (int64_t)i;
        cr_assert(hd_fixed_narrow(k, acc, narrow, 40));
        memset(sum, 0, sizeof sum);
        hd_fixed_sum32(k, sum, narrow, 40);
        cr_assert_arr_eq(sum, acc, sizeof acc);
        acc[33] = (int64_t)INT32_MAX + 1;
        cr_assert_not(hd_fixed_narrow(k, acc, narrow, 40));
        acc[33] = (int64_t)INT32_MIN - 1;
        cr_assert_not(hd_fixed_narrow(k, acc, narrow, 40));
        acc[33] = (int64_t)1 << 32;
        cr_assert_not(hd_fixed_narrow(k, acc, narrow, 40));
    }
}

Test(fixed, apply_adds_the_sum_back_the_same_everywhere)
{
    uint64_t seed = 4;
    int64_t acc[N];
    for (size_t i = 0; i < N; i++)
        acc[i] = (int64_t)((uint64_t)random_bits(&seed) << 20) - ((int64_t)1 << 51);
    float *residual = random_floats(3, N, 100.0f);
    FOR_EACH_ISA(isa, k)
    {
        float out[N];
        memcpy(out, residual, sizeof out);
        hd_fixed_apply(k, out, acc, 24, N);
        for (size_t i = 0; i < N; i++)
            cr_assert_eq(out[i], (float)((double)residual[i] + ldexp((double)acc[i], -24)));
    }
    free(residual);
}

/* Sums of more than 53 bits are rounded once. */
Test(fixed, apply_takes_any_sum)
{
    static const int64_t sums[] = {0,
                                   1,
                                   -1,
                                   INT64_MAX,
                                   INT64_MIN,
                                   INT32_MAX,
                                   INT32_MIN,
                                   0xffffffff,
                                   (1LL << 53) + 1,
                                   -(1LL << 53) - 1,
                                   1LL << 32,
                                   -(1LL << 32),
                                   1LL << 62,
                                   (1LL << 62) + 1023,
                                   -(1LL << 60) - 129};
    enum { SUMS = sizeof sums / sizeof sums[0] };
    FOR_EACH_ISA(isa, k)
    {
        float out[SUMS] = {0};
        hd_fixed_apply(k, out, sums, 3, SUMS);
        for (size_t i = 0; i < SUMS; i++)
            cr_assert_eq(out[i], (float)((double)sums[i] * 0.125), "%s %lld",
                         hd_isa_name(all_isas[isa]), (long long)sums[i]);
    }
}
