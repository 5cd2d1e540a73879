/* block_iq.c - the IQ and TQ types taken apart. All are exact as 8-bit quants and an f32 scale:
 * where ggml adds a fraction to a quant (an eighth in IQ1) or to a scale (a half), both are taken
 * in that fraction's units. */
#include "common/math/block_iq.h"
#include "common/math/half.h"

/* Little-endian 16 and 32 bits at `p`. */
static unsigned half_word_at(const uint8_t *p)
{
    return p[0] | (unsigned)p[1] << 8;
}

static uint32_t word_at(const uint8_t *p)
{
    uint32_t u;
    memcpy(&u, p, sizeof u);
    return u;
}

static float half_at(const uint8_t *p)
{
    return hd_half_widen((uint16_t)half_word_at(p));
}

/* Nibble number `i`, the low one of each byte first. */
static unsigned nibble_of(const uint8_t *bytes, unsigned i)
{
    return bytes[i / 2] >> i % 2 * 4 & 15u;
}

/* ---- Points of a lattice ----*/

/* 8 values of IQ2: two bits each. */
static void point_of_8(unsigned point, int8_t *q)
{
    static const int8_t values[4] = {8, 25, 43, 0};
    for (int i = 0; i < 8; i++, point >>= 2)
        q[i] = values[point & 3];
}

/* 4 values of IQ3_XXS: three bits each. */
static void point_of_4(unsigned point, int8_t *q)
{
    static const int8_t values[8] = {4, 12, 20, 28, 36, 44, 52, 62};
    for (int i = 0; i < 4; i++, point >>= 3)
        q[i] = values[point & 7];
}

/* 4 values of IQ3_S: odd numbers. */
static void odd_point_of_4(unsigned point, int8_t *q)
{
    for (int i = 0; i < 4; i++, point >>= 3)
        q[i] = (int8_t)(2 * (point & 7) + 1);
}

/* 8 values of IQ1 in eighths: -1, 0 or 1, and an eighth more or less. */
static void eighths_of_8(unsigned point, int delta, int8_t *q)
{
    for (int i = 0; i < 8; i++, point >>= 2)
        q[i] = (int8_t)(((int)(point & 3) - 1) * 8 + delta);
}

static void negate_8(unsigned signs, int8_t *q)
{
    for (int i = 0; i < 8; i++)
        q[i] = (int8_t)(signs >> i & 1 ? -q[i] : q[i]);
}

/* Signs of 8 values in 7 bits: an even number is negative. */
static unsigned even_signs(unsigned seven)
{
    return seven | (unsigned)__builtin_parity(seven) << 7;
}

/* d, then for each 32 values: 4 points, and a word of 4 x 7 signs and the scale. */
void hd_spans_iq2_xxs(const uint8_t *block, struct hd_spans *out)
{
    float d = half_at(block) * 0.125f;
    const uint8_t *at = block + 2;
    for (unsigned j = 0; j < 8; j++, at += 8) {
        uint32_t word = word_at(at + 4);
        for (unsigned i = 0; i < 4; i++) {
            int8_t *q = out->q + 32 * j + 8 * i;
            point_of_8(hd_iq2_xxs_grid[at[i]], q);
            negate_8(even_signs(word >> 7 * i & 127), q);
        }
        out->scale[j] = d * (float)(2 * (word >> 28) + 1);
    }
}

static void scales_iq2(float d, const uint8_t *nibbles, struct hd_spans *out)
{
    for (unsigned k = 0; k < 16; k++)
        out->scale[k] = d * 0.125f * (float)(2 * nibble_of(nibbles, k) + 1);
}

/* d, 32 x (9 bits of a point, 7 of signs), 16 nibbles of scales. */
void hd_spans_iq2_xs(const uint8_t *block, struct hd_spans *out)
{
    for (unsigned i = 0; i < 32; i++) {
        unsigned word = half_word_at(block + 2 + 2 * i);
        point_of_8(hd_iq2_xs_grid[word & 511], out->q + 8 * i);
        negate_8(even_signs(word >> 9), out->q + 8 * i);
    }
    scales_iq2(half_at(block), block + 66, out);
}

/* d, 32 low bytes of points, 32 of signs, 32 x 2 high bits of points, 16 nibbles of scales. */
void hd_spans_iq2_s(const uint8_t *block, struct hd_spans *out)
{
    const uint8_t *low = block + 2, *signs = block + 34, *high = block + 66;
    for (unsigned i = 0; i < 32; i++) {
        unsigned point = low[i] | (high[i / 4] >> i % 4 * 2 & 3u) << 8;
        point_of_8(hd_iq2_s_grid[point], out->q + 8 * i);
        negate_8(signs[i], out->q + 8 * i);
    }
    scales_iq2(half_at(block), block + 74, out);
}

/* d, 64 points, for each 32 values a word of 4 x 7 signs and the scale. */
void hd_spans_iq3_xxs(const uint8_t *block, struct hd_spans *out)
{
    float d = half_at(block) * 0.25f;
    const uint8_t *points = block + 2, *words = block + 66;
    for (unsigned i = 0; i < 32; i++) {
        int8_t *q = out->q + 8 * i;
        uint32_t word = word_at(words + i / 4 * 4);
        point_of_4(hd_iq3_xxs_grid[points[2 * i]], q);
        point_of_4(hd_iq3_xxs_grid[points[2 * i + 1]], q + 4);
        negate_8(even_signs(word >> i % 4 * 7 & 127), q);
        out->scale[i / 4] = d * (float)(2 * (word >> 28) + 1);
    }
}

/* d, 64 low bytes of points, 64 high bits, 32 bytes of signs, 8 nibbles of scales. */
void hd_spans_iq3_s(const uint8_t *block, struct hd_spans *out)
{
    const uint8_t *low = block + 2, *high = block + 66, *signs = block + 74;
    for (unsigned i = 0; i < 64; i++) {
        unsigned point = low[i] | (high[i / 8] >> i % 8 & 1u) << 8;
        odd_point_of_4(hd_iq3_s_grid[point], out->q + 4 * i);
    }
    for (unsigned i = 0; i < 32; i++)
        negate_8(signs[i], out->q + 8 * i);
    for (unsigned j = 0; j < 8; j++)
        out->scale[j] = half_at(block) * (float)(2 * nibble_of(block + 106, j) + 1);
}

/* d, 32 low bytes of points, for each 32 values 4 x 3 high bits, 3 of the scale, a sign of the
 * eighth. */
void hd_spans_iq1_s(const uint8_t *block, struct hd_spans *out)
{
    float d = half_at(block) * 0.125f;
    for (unsigned i = 0; i < 32; i++) {
        unsigned word = half_word_at(block + 34 + i / 4 * 2);
        unsigned point = block[2 + i] | (word >> i % 4 * 3 & 7u) << 8;
        eighths_of_8(hd_iq1_grid[point], word & 0x8000 ? -1 : 1, out->q + 8 * i);
        out->scale[i / 4] = d * (float)(2 * (word >> 12 & 7) + 1);
    }
}

/* 32 low bytes of points, 32 nibbles (3 high bits, a sign of the eighth), 4 words: 4 x 3 bits of
 * scales each and, on top, a nibble of d. */
void hd_spans_iq1_m(const uint8_t *block, struct hd_spans *out)
{
    unsigned words[4], half = 0;
    for (unsigned i = 0; i < 4; i++) {
        words[i] = half_word_at(block + 48 + 2 * i);
        half |= words[i] >> 12 << 4 * i;
    }
    for (unsigned i = 0; i < 32; i++) {
        unsigned nibble = nibble_of(block + 32, i), point = block[i] | (nibble & 7) << 8;
        eighths_of_8(hd_iq1_grid[point], nibble & 8 ? -1 : 1, out->q + 8 * i);
    }
    for (unsigned k = 0; k < 16; k++)
        out->scale[k] = hd_half_widen((uint16_t)half) * 0.125f *
                        (float)(2 * (words[k / 4] >> k % 4 * 3 & 7) + 1);
}

/* ---- Places in a list of values ----*/

static const int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};
/* E2M1, doubled. */
static const int8_t fp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* n bytes: the low nibbles are places of the first n values, the high ones of the next. */
static void places(const int8_t *values, const uint8_t *bytes, size_t n, int8_t *q)
{
    for (size_t i = 0; i < n; i++) {
        q[i] = values[bytes[i] & 15];
        q[i + n] = values[bytes[i] >> 4];
    }
}

/* d, 16 bytes of places. */
void hd_spans_iq4_nl(const uint8_t *block, struct hd_spans *out)
{
    out->scale[0] = half_at(block);
    places(iq4_values, block + 2, 16, out->q);
}

/* d, 8 x 2 high bits of scales, 8 nibbles of them, 8 x 16 bytes of places. */
void hd_spans_iq4_xs(const uint8_t *block, struct hd_spans *out)
{
    unsigned high = half_word_at(block + 2);
    for (unsigned j = 0; j < 8; j++) {
        int scale = (int)(nibble_of(block + 4, j) | (high >> 2 * j & 3) << 4) - 32;
        out->scale[j] = half_at(block) * (float)scale;
        places(iq4_values, block + 8 + 16 * j, 16, out->q + 32 * j);
    }
}

/* E4M3 without a sign: 4 bits of exponent, bias 7. What is not a number there is 0 in ggml. */
static float fp8_scale(uint8_t byte)
{
    int exponent = byte >> 3 & 15, digits = byte & 7;
    if (byte == 0x7f)
        return 0.0f;
    return exponent == 0 ? (float)digits * 0x1p-9f
                         : (float)(8 + digits) * (float)(1 << exponent) * 0x1p-10f;
}

/* 4 bytes of scales, 4 x 8 bytes of places. */
void hd_spans_nvfp4(const uint8_t *block, struct hd_spans *out)
{
    for (unsigned k = 0; k < 4; k++) {
        out->scale[k] = fp8_scale(block[k]) * 0.5f;
        places(fp4_values, block + 4 + 8 * k, 8, out->q + 16 * k);
    }
}

/* ---- Digits of base 3 ----*/

static void same_scale(float d, struct hd_spans *out)
{
    for (unsigned j = 0; j < 8; j++)
        out->scale[j] = d;
}

/* `digits` digits of each of n bytes, the first digits of all of them first. A byte is the fraction
 * 0.ddddd of base 3, rounded up: 3 times as much has the first digit before the point. */
static void ternary(const uint8_t *bytes, unsigned n, unsigned digits, int8_t *q)
{
    for (unsigned i = 0; i < n; i++) {
        unsigned left = bytes[i];
        for (unsigned j = 0; j < digits; j++) {
            q[j * n + i] = (int8_t)((int)(left * 3 >> 8) - 1);
            left = left * 3 & 255;
        }
    }
}

/* 32 and 16 bytes of 5 digits, 4 of 4 digits, d. */
void hd_spans_tq1_0(const uint8_t *block, struct hd_spans *out)
{
    ternary(block, 32, 5, out->q);
    ternary(block + 32, 16, 5, out->q + 160);
    ternary(block + 48, 4, 4, out->q + 240);
    same_scale(half_at(block + 52), out);
}

/* 64 bytes of 4 x 2 bits, d: each 32 bytes hold four times 32 values. */
void hd_spans_tq2_0(const uint8_t *block, struct hd_spans *out)
{
    for (unsigned i = 0; i < 256; i++)
        out->q[i] = (int8_t)((block[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3) - 1);
    same_scale(half_at(block + 64), out);
}
