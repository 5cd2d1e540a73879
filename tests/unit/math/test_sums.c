/* Compact sums: what is lost is bounded, what is decoded is an integer, all variants agree. */
#include "common/math/half.h"
#include "common/math/q8.h"
#include "math_test.h"

enum { N = 576 };

/* Sums of up to 2^bits; each block has its own size. */
static void random_sums(int32_t *sum, uint64_t seed, int bits)
{
    for (size_t i = 0; i < N; i++) {
        int64_t v = (int64_t)((double)random_float(&seed) * ldexp(1, bits - (int)(i / 32 % 5)));
        sum[i] = (int32_t)(v > INT32_MAX ? INT32_MAX : v);
    }
}

static int64_t largest_of(const int32_t *sum)
{
    int64_t largest = 0;
    for (size_t i = 0; i < HD_Q8_BLOCK; i++)
        largest = llabs((long long)sum[i]) > largest ? llabs((long long)sum[i]) : largest;
    return largest;
}

/* Half a step, of a scale that is itself off by half a unit of 2^-24 at the small end and by 2^-12
 * of it elsewhere; and f32 keeps 24 bits of the sum. */
static double bound_of(int64_t largest)
{
    return (double)largest / 254 * 1.002 + 64 + (double)largest * 0x1p-24;
}

static void check_sums(const int32_t *sum)
{
    uint8_t first[N / 32 * 34], row[N / 32 * 34];
    hd_sum_encode(hd_kernels_get(HD_ISA_PORTABLE), sum, N, first);
    cr_assert(hd_sum_is_valid(first, N));
    FOR_EACH_ISA(isa, k)
    {
        int64_t acc[N] = {0};
        hd_sum_encode(k, sum, N, row);
        cr_assert_arr_eq(row, first, sizeof row, "%s", hd_isa_name(all_isas[isa]));
        hd_sum_add(k, acc, row, N);
        for (size_t i = 0; i < N; i++) {
            double off = fabs((double)(acc[i] - sum[i]));
            cr_assert_leq(off, bound_of(largest_of(sum + i / 32 * 32)), "%d became %lld", sum[i],
                          (long long)acc[i]);
        }
    }
}

Test(sums, every_variant_is_within_its_bound)
{
    int32_t sum[N];
    for (int bits = 0; bits <= 31; bits++) {
        random_sums(sum, (uint64_t)bits + 7, bits);
        check_sums(sum);
    }
    for (size_t i = 0; i < N; i++)
        sum[i] = i % 2 ? INT32_MAX : INT32_MIN;
    check_sums(sum);
}

Test(sums, what_is_tiny_beside_the_residual_becomes_zero)
{
    int32_t sum[N] = {[0] = 63, [32] = -63, [64] = 64, [96] = -64};
    uint8_t row[N / 32 * 34];
    int64_t acc[N] = {0};
    hd_sum_encode(hd_kernels_get(HD_ISA_PORTABLE), sum, N, row);
    hd_sum_add(hd_kernels_get(HD_ISA_PORTABLE), acc, row, N);
    cr_assert_eq(acc[0], 0);
    cr_assert_eq(acc[32], 0);
    cr_assert_eq(acc[64], 64);
    cr_assert_eq(acc[96], -64);
}

/* The value by q8.h's words, for every scale that is valid and every quant. */
Test(sums, are_the_scale_times_the_quant_times_2_to_the_24)
{
    FOR_EACH_ISA(isa, k)
    {
        for (uint32_t half = 0; half < HD_HALF_INFINITY; half += half < 2048 ? 1 : 61) {
            uint8_t row[34] = {(uint8_t)half, (uint8_t)(half >> 8)};
            double d = (double)hd_half_widen((uint16_t)half) * 0x1p24;
            int64_t acc[32];
            cr_assert(hd_sum_is_valid(row, 32));
            for (int q = -128; q < 128; q += 32) {
                for (int i = 0; i < 32; i++) {
                    row[2 + i] = (uint8_t)(q + i);
                    acc[i] = i;
                }
                hd_sum_add(k, acc, row, 32);
                for (int i = 0; i < 32; i++)
                    cr_assert_eq(acc[i], i + (int64_t)(d * (q + i < -127 ? -127 : q + i)));
            }
        }
    }
}

Test(sums, the_order_does_not_matter_nor_that_a_liar_makes_them_wrap)
{
    enum { SENDERS = 7 };
    int32_t sum[N];
    static uint8_t rows[SENDERS][N / 32 * 34];
    FOR_EACH_ISA(isa, k)
    {
        int64_t up[N], down[N];
        for (size_t s = 0; s < SENDERS; s++) {
            random_sums(sum, s + 3, 28 - (int)s);
            hd_sum_encode(k, sum, N, rows[s]);
        }
        for (size_t i = 0; i < N; i++)
            up[i] = down[i] = INT64_MAX - 5;
        for (size_t s = 0; s < SENDERS; s++) {
            hd_sum_add(k, up, rows[s], N);
            hd_sum_add(k, down, rows[SENDERS - 1 - s], N);
        }
        cr_assert_arr_eq(up, down, sizeof up);
    }
}

Test(sums, a_scale_that_no_encoder_makes_is_seen_in_any_block)
{
    static const uint16_t odd[] = {0x7c00, 0x7c01, 0x7e00, 0x7fff, 0x8000, 0x8001, 0xbc00, 0xffff};
    uint8_t row[N / 32 * 34] = {0};
    cr_assert(hd_sum_is_valid(row, N));
    for (size_t b = 0; b < N / 32; b++)
        for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
            row[b * 34] = (uint8_t)odd[i];
            row[b * 34 + 1] = (uint8_t)(odd[i] >> 8);
            cr_assert_not(hd_sum_is_valid(row, N), "%04x", odd[i]);
            row[b * 34] = row[b * 34 + 1] = 0;
        }
    memset(row, 0xff, sizeof row); /* quants may be anything */
    for (size_t b = 0; b < N / 32; b++)
        row[b * 34 + 1] = 0x7b;
    cr_assert(hd_sum_is_valid(row, N), "the largest f16");
}
