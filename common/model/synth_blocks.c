/* Blocks of the quantized types that are not made by rounding values: their bits are random, and
 * then the scale is set. A model of random weights is no worse for it, and every type is as easy.
 */
#include "common/model/synth_impl.h"

#include <math.h>
#include <string.h>

#define BLOCK_MAX 256 /* values */

/* Where a block's f16 scale is, and its f16 minimum; -1: none. */
struct places {
    int scale, min;
    double centre; /* of the quants, where there is a minimum */
};

static struct places places_of(enum hd_dtype type)
{
    switch (type) {
    case HD_Q4_1:
        return (struct places){0, 2, 7.5};
    case HD_Q5_1:
        return (struct places){0, 2, 15.5};
    case HD_Q2_K:
        return (struct places){80, 82, 1.5};
    case HD_Q3_K:
        return (struct places){108, -1, 0};
    case HD_Q4_K:
        return (struct places){0, 2, 7.5};
    case HD_Q5_K:
        return (struct places){0, 2, 15.5};
    case HD_Q6_K:
        return (struct places){208, -1, 0};
    case HD_TQ1_0:
        return (struct places){52, -1, 0};
    case HD_TQ2_0:
        return (struct places){64, -1, 0};
    case HD_IQ1_M:
    case HD_MXFP4:
    case HD_NVFP4:
        return (struct places){-1, -1, 0};
    default:
        return (struct places){0, -1, 0};
    }
}

static void put_half(uint8_t *block, int at, double v)
{
    uint16_t half = hd_f32_to_f16((float)v);

    if (at >= 0)
        memcpy(block + at, &half, sizeof half);
}

/* So that the mean is 0: every span's minimum is as large as its scale, and one d serves both. */
static void balance(enum hd_dtype type, uint8_t *block)
{
    if (type == HD_Q2_K) {
        for (int j = 0; j < 16; j++)
            block[j] = (uint8_t)((block[j] & 15) * 17);
    } else if (type == HD_TQ2_0) { /* two bits that are both set would be 2, beside -1, 0 and 1 */
        for (int i = 0; i < 64; i++)
            block[i] = (uint8_t)(block[i] & ~((block[i] & block[i] >> 1 & 0x55) << 1));
    } else if (type == HD_Q4_K || type == HD_Q5_K) {
        for (int j = 4; j < 8; j++) {
            block[4 + j] = block[j]; /* 6 bits, and 2 of the scale and the minimum 4 places on */
            block[8 + j] = (uint8_t)((block[8 + j] & 15) * 17);
        }
    }
}

/* Each 16 values' scale: E4M3 without a sign, next to 2 * v. */
static void put_fp8(uint8_t *block, double v)
{
    double best = INFINITY;
    uint8_t byte = 0;

    for (int b = 1; b < 0x7f; b++) {
        int e = b >> 3, m = b & 7;
        double is = e == 0 ? m * 0x1p-9 : (8 + m) * (double)(1 << e) * 0x1p-10;

        if (fabs(is - 2 * v) < best) {
            best = fabs(is - 2 * v);
            byte = (uint8_t)b;
        }
    }
    memset(block, byte, 4);
}

/* A power of two: the one below v or the one above, so that squares have the mean that v's have. */
static void put_power(uint8_t *block, double v)
{
    int e = 0;
    double over = 2 * frexp(v, &e); /* v is so many times 2^(e - 1) */
    bool above = block[16] < (over * over - 1) / 3 * 256;

    block[0] = v > 0 ? (uint8_t)(126 + e + above) : 0;
}

/* d = v, and the minimum that belongs to it. */
static void set_scale(enum hd_dtype type, double v, uint8_t *block)
{
    struct places at = places_of(type);
    double sign = type == HD_Q4_1 || type == HD_Q5_1 ? -1 : 1; /* added there, subtracted in K */

    put_half(block, at.scale, v);
    put_half(block, at.min, sign * at.centre * v);
    if (type == HD_NVFP4)
        put_fp8(block, v);
    if (type == HD_MXFP4)
        put_power(block, v);
    if (type == HD_IQ1_M) {
        uint16_t half = hd_f32_to_f16((float)v);

        for (int i = 0; i < 4; i++) /* a nibble on top of each word of scales */
            block[49 + 2 * i] = (uint8_t)((block[49 + 2 * i] & 15) | (half >> 4 * i & 15) << 4);
    }
}

static double deviation_of(enum hd_dtype type, const uint8_t *block)
{
    size_t n = hd_dtype_block(type);
    struct hd_tensor t = {type, 1, n, hd_dtype_block_bytes(type), block};
    float values[BLOCK_MAX];
    double sum = 0;

    hd_dequant(&t, 0, 0, n, values);
    for (size_t i = 0; i < n; i++)
        sum += (double)values[i] * (double)values[i];
    return sqrt(sum / (double)n);
}

void hd_synth_blocks(enum hd_dtype type, uint64_t seed, double deviation, size_t n, uint8_t *out)
{
    size_t bytes = hd_dtype_block_bytes(type);

    for (size_t b = 0; b < n; b++, out += bytes) {
        for (size_t i = 0; i < bytes; i++)
            out[i] =
                (uint8_t)(hd_synth_mix(seed + (b * bytes + i + 1) * 0x9E3779B97F4A7C15u) >> 56);
        balance(type, out);
        set_scale(type, 1, out);
        double is = deviation_of(type, out);
        set_scale(type, is > 0 ? deviation / is : 0, out);
    }
}
