/* Q8 rows (q8.h): a block is one scale by plain operations and 32 quants in vectors. */
#include "common/math/half.h"
#include "common/math/kernels_impl.h"
#include "common/math/q8_impl.h"
#include "common/math/vec.h"

#include <string.h>

#define INFINITE 0x7f800000 /* the bits of what is not finite, without the sign, are not below */
#define HALF_NAN 0x7e00u
#define SUM_UNIT 0x1p-24f /* of compact sums */

/* The largest |x| of a block by its bits, which are in the order of the values, NaN on top. */
HD_INLINE int32_t largest_bits(v16 a, v16 b)
{
    v16i no_sign = v16i_set1(0x7fffffff);
    return v16i_fold_max(
        v16i_max(v16i_and(v16_as_int(a), no_sign), v16i_and(v16_as_int(b), no_sign)));
}

/* The scale of a block in f16. */
static uint16_t scale_of(int32_t largest)
{
    if (largest >= INFINITE)
        return HALF_NAN;
    uint16_t d = hd_half_round(hd_bits_float((uint32_t)largest) / 127.0f);
    return d < HD_HALF_INFINITY ? d : HALF_NAN;
}

/* 16 quants; |x * inverse| is far below 2^22, where adding ROUNDER rounds to an integer. */
HD_INLINE void put_quants(v16 x, v16 inverse, int8_t *q)
{
    v16 v = v16_mul(x, inverse);
    v = v16_max(v16_set1(-127.0f), v16_min(v16_set1(127.0f), v));
    v16i rounded = v16_as_int(v16_add(v, v16_set1(ROUNDER)));
    v16i_store_i8(q, v16i_sub(rounded, v16i_set1(ROUNDER_I)));
}

/* x: [32] -> q: [32]; returns the scale. */
HD_INLINE uint16_t encode_block(const float *x, int8_t *q)
{
    v16 a = v16_load(x), b = v16_load(x + 16);
    uint16_t half = scale_of(largest_bits(a, b));
    if (half == 0 || half == HALF_NAN) {
        memset(q, 0, HD_Q8_BLOCK);
        return half;
    }
    v16 inverse = v16_set1(1.0f / hd_half_widen(half));
    put_quants(a, inverse, q);
    put_quants(b, inverse, q + 16);
    return half;
}

HD_INLINE void put_block(const float *x, uint8_t *out)
{
    uint16_t half = encode_block(x, (int8_t *)out + 2);
    out[0] = (uint8_t)(half & 255);
    out[1] = (uint8_t)(half >> 8);
}

static int32_t sum_of_16(const int8_t *q)
{
    int32_t sum = 0;
    for (size_t i = 0; i < 16; i++)
        sum += q[i];
    return sum;
}

/* All of a prepared block that follows from its scale and its quants. */
static void complete(struct hd_q8_block *b, uint16_t half)
{
    int32_t low = sum_of_16(b->q), high = sum_of_16(b->q + 16), sum = low + high;
    float d = hd_half_widen(half);
    b->d = d;
    b->d_sum = d * (float)sum;
    b->minus8 = -8 * sum;
    b->minus128[0] = -128 * low;
    b->minus128[1] = -128 * high;
    memset(b->unused, 0, sizeof b->unused);
}

void HD_KFN(q8_encode)(const float *x, size_t n, void *row)
{
    uint8_t *out = row;
    for (size_t i = 0; i < n; i += HD_Q8_BLOCK, out += HD_Q8_BLOCK_BYTES)
        put_block(x + i, out);
}

void HD_KFN(q8_prepare)(const void *row, size_t n, void *prepared)
{
    const uint8_t *in = row;
    struct hd_q8_block *b = prepared;
    for (size_t i = 0; i < n; i += HD_Q8_BLOCK, in += HD_Q8_BLOCK_BYTES, b++) {
        const int8_t *q = (const int8_t *)in + 2;
        for (size_t j = 0; j < HD_Q8_BLOCK; j++)
            b->q[j] = q[j] < -127 ? -127 : q[j];
        complete(b, (uint16_t)(in[0] | in[1] << 8));
    }
}

void HD_KFN(q8_quantize)(const float *x, size_t n, void *prepared)
{
    struct hd_q8_block *b = prepared;
    for (size_t i = 0; i < n; i += HD_Q8_BLOCK, b++)
        complete(b, encode_block(x + i, b->q));
}

/* ---- Compact sums ----*/

void HD_KFN(sum_encode)(const int32_t *sum, size_t n, void *row)
{
    uint8_t *out = row;
    for (size_t i = 0; i < n; i += HD_Q8_BLOCK, out += HD_Q8_BLOCK_BYTES) {
        float x[HD_Q8_BLOCK];
        for (size_t j = 0; j < HD_Q8_BLOCK; j++)
            x[j] = (float)sum[i + j] * SUM_UNIT;
        put_block(x, out);
    }
}

/* The scale times 2^24 is `digits` << `shift`, in integers throughout. */
void HD_KFN(sum_add)(int64_t *acc, const void *row, size_t n)
{
    const uint8_t *in = row;
    for (size_t i = 0; i < n; i += HD_Q8_BLOCK, in += HD_Q8_BLOCK_BYTES) {
        const int8_t *q = (const int8_t *)in + 2;
        uint32_t half = in[0] | (uint32_t)in[1] << 8, exponent = half >> 10;
        int32_t digits = (int32_t)(half & 0x3ffu) | (exponent > 0 ? 0x400 : 0);
        uint32_t shift = exponent > 0 ? exponent - 1 : 0;
        for (size_t j = 0; j < HD_Q8_BLOCK; j++) {
            int64_t v = (q[j] < -127 ? -127 : q[j]) * digits;
            acc[i + j] = (int64_t)((uint64_t)acc[i + j] + ((uint64_t)v << shift));
        }
    }
}
