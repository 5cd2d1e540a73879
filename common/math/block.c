/* block.c - the bit layouts of the quantized types, each written once: nibbles, high bits, scales.
 */
#include "common/math/block.h"
#include "common/math/block_iq.h"
#include "common/math/half.h"

/* Little-endian 16-bit float at `p`. */
static float half_at(const uint8_t *p)
{
    return hd_half_widen((uint16_t)(p[0] | p[1] << 8));
}

static uint32_t word_at(const uint8_t *p)
{
    uint32_t u;
    memcpy(&u, p, sizeof u);
    return u;
}

/* 16 bytes: low nibbles are values 0..15, high nibbles 16..31. */
static void nibbles_32(const uint8_t *bytes, int bias, int8_t *q)
{
    for (int i = 0; i < 16; i++) {
        q[i] = (int8_t)((bytes[i] & 15) - bias);
        q[i + 16] = (int8_t)((bytes[i] >> 4) - bias);
    }
}

/* Bit i of `high` is the fifth bit of value i. */
static void fifth_bits_32(uint32_t high, int bias, const uint8_t *bytes, int8_t *q)
{
    for (int i = 0; i < 16; i++) {
        int low = (bytes[i] & 15) | (int)((high >> i) & 1u) << 4;
        int upper = (bytes[i] >> 4) | (int)((high >> (i + 16)) & 1u) << 4;
        q[i] = (int8_t)(low - bias);
        q[i + 16] = (int8_t)(upper - bias);
    }
}

/* 6-bit scale and minimum number `j` of 8 from the 12 bytes of a K block. */
static void k_scale_min(const uint8_t *s, int j, int *scale, int *min)
{
    if (j < 4) {
        *scale = s[j] & 63;
        *min = s[j + 4] & 63;
    } else {
        *scale = (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
        *min = (s[j + 4] >> 4) | (s[j] >> 6) << 4;
    }
}

/* Scales and minima that Q4_K and Q5_K share: f16 d, f16 dmin, 12 bytes. */
void hd_block_k_scales(const uint8_t *block, struct hd_spans *out)
{
    float d = half_at(block), dmin = half_at(block + 2);
    for (int j = 0; j < 8; j++) {
        int scale, min;
        k_scale_min(block + 4, j, &scale, &min);
        out->scale[j] = d * (float)scale;
        out->min[j] = -(dmin * (float)min);
    }
}

/* 32 bytes: the nibbles at bit `shift`. */
static void nibbles_of_32(const uint8_t *bytes, int shift, int8_t *q)
{
    for (int i = 0; i < 32; i++)
        q[i] = (int8_t)(bytes[i] >> shift & 15);
}

/* q[32] |= `bits` bits at bit `from` of 32 bytes, above the four that are there. */
static void high_bits_of_32(const uint8_t *bytes, int from, int bits, int8_t *q)
{
    for (int i = 0; i < 32; i++)
        q[i] = (int8_t)(q[i] | (bytes[i] >> from & ((1 << bits) - 1)) << 4);
}

/* d, dmin, scales[12], qs[128]: each 32 bytes hold 32 values low, the next 32 high. */
static void spans_q4_k(const uint8_t *block, struct hd_spans *out)
{
    hd_block_k_scales(block, out);
    for (int row = 0; row < 8; row++)
        nibbles_of_32(block + 16 + row / 2 * 32, row % 2 * 4, out->q + row * 32);
}

/* d, dmin, scales[12], qh[32], qs[128]: as Q4_K; bit i/32 of qh[i%32] is the fifth. */
static void spans_q5_k(const uint8_t *block, struct hd_spans *out)
{
    hd_block_k_scales(block, out);
    for (int row = 0; row < 8; row++) {
        int8_t *q = out->q + row * 32;
        nibbles_of_32(block + 48 + row / 2 * 32, row % 2 * 4, q);
        high_bits_of_32(block + 16, row, 1, q);
    }
}

/* ql[128], qh[64], int8 scales[16], f16 d: halves of 128 values, four rows of 32 in each. */
static void spans_q6_k(const uint8_t *block, struct hd_spans *out)
{
    const uint8_t *ql = block, *qh = block + 128, *scales = block + 192;
    float d = half_at(block + 208);
    for (int row = 0; row < 8; row++) {
        int half = row / 4, quarter = row % 4;
        int8_t *q = out->q + row * 32;
        nibbles_of_32(ql + half * 64 + quarter % 2 * 32, quarter / 2 * 4, q);
        high_bits_of_32(qh + half * 32, quarter * 2, 2, q);
        for (int i = 0; i < 32; i++)
            q[i] = (int8_t)(q[i] - 32);
    }
    for (int j = 0; j < 16; j++)
        out->scale[j] = d * (float)(int8_t)scales[j];
}

/* 4 x 2 bits of each of 64 bytes: each 32 bytes hold four times 32 values. */
static void pairs_of_bits_256(const uint8_t *bytes, int8_t *q)
{
    for (int i = 0; i < 256; i++)
        q[i] = (int8_t)(bytes[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3);
}

/* 16 x (nibble of scale, nibble of minimum), qs[64], f16 d, f16 dmin. */
static void spans_q2_k(const uint8_t *block, struct hd_spans *out)
{
    float d = half_at(block + 80), dmin = half_at(block + 82);
    pairs_of_bits_256(block + 16, out->q);
    for (int j = 0; j < 16; j++) {
        out->scale[j] = d * (float)(block[j] & 15);
        out->min[j] = -(dmin * (float)(block[j] >> 4));
    }
}

/* hmask[32], qs[64], 12 bytes of 16 scales of 6 bits (the low 4, then the high 2), f16 d: bit i/32
 * of hmask[i%32] says that 4 are not to be subtracted. */
static void spans_q3_k(const uint8_t *block, struct hd_spans *out)
{
    const uint8_t *scales = block + 96;
    float d = half_at(block + 108);
    pairs_of_bits_256(block + 32, out->q);
    for (int i = 0; i < 256; i++)
        out->q[i] = (int8_t)(out->q[i] - (block[i % 32] >> i / 32 & 1 ? 0 : 4));
    for (int j = 0; j < 16; j++) {
        int low = scales[j % 8] >> j / 8 * 4 & 15, high = scales[8 + j % 4] >> j / 4 * 2 & 3;
        out->scale[j] = d * (float)((low | high << 4) - 32);
    }
}

/* A scale that is a power of two, 2^(e - 127), then nibbles of E2M1. The quants are twice the
 * values, which are whole then; as packed, the scale is once for each 16 of them. */
static void spans_mxfp4(const uint8_t *block, struct hd_spans *out)
{
    static const int8_t twice[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
    uint32_t bits = block[0] < 2 ? UINT32_C(0x00200000) << block[0] : (block[0] - 1u) << 23;
    nibbles_32(block + 1, 0, out->q);
    for (int i = 0; i < 32; i++)
        out->q[i] = twice[out->q[i]];
    memcpy(&out->scale[0], &bits, sizeof bits);
    out->scale[1] = out->scale[0];
}

/* f16 d, 128 bits: d where one is set, -d where it is not. */
static void spans_q1_0(const uint8_t *block, struct hd_spans *out)
{
    for (unsigned i = 0; i < 128; i++)
        out->q[i] = block[2 + i / 8] >> i % 8 & 1 ? 1 : -1;
    for (unsigned j = 0; j < 4; j++)
        out->scale[j] = half_at(block);
}

/* The types with blocks of 32: an f16 scale, perhaps an f16 minimum, the quants. */
static void spans_32(enum hd_dtype type, const uint8_t *block, struct hd_spans *out)
{
    out->scale[0] = half_at(block);
    if (hd_block_has_min(type))
        out->min[0] = half_at(block + 2);
    if (type == HD_Q8_0)
        memcpy(out->q, block + 2, 32);
    else if (type == HD_Q4_0)
        nibbles_32(block + 2, 8, out->q);
    else if (type == HD_Q4_1)
        nibbles_32(block + 4, 0, out->q);
    else if (type == HD_Q5_0)
        fifth_bits_32(word_at(block + 2), 16, block + 6, out->q);
    else
        fifth_bits_32(word_at(block + 4), 0, block + 8, out->q);
}

struct layout {
    size_t span;
    void (*take)(const uint8_t *block, struct hd_spans *out); /* NULL: spans_32 */
};

static struct layout layout_of(enum hd_dtype type)
{
    static const struct layout layouts[] = {
        [HD_Q2_K] = {16, spans_q2_k},          [HD_Q3_K] = {16, spans_q3_k},
        [HD_Q4_K] = {32, spans_q4_k},          [HD_Q5_K] = {32, spans_q5_k},
        [HD_Q6_K] = {16, spans_q6_k},          [HD_IQ2_XXS] = {32, hd_spans_iq2_xxs},
        [HD_IQ2_XS] = {16, hd_spans_iq2_xs},   [HD_IQ2_S] = {16, hd_spans_iq2_s},
        [HD_IQ3_XXS] = {32, hd_spans_iq3_xxs}, [HD_IQ3_S] = {32, hd_spans_iq3_s},
        [HD_IQ1_S] = {32, hd_spans_iq1_s},     [HD_IQ1_M] = {16, hd_spans_iq1_m},
        [HD_IQ4_NL] = {32, hd_spans_iq4_nl},   [HD_IQ4_XS] = {32, hd_spans_iq4_xs},
        [HD_TQ1_0] = {32, hd_spans_tq1_0},     [HD_TQ2_0] = {32, hd_spans_tq2_0},
        [HD_NVFP4] = {16, hd_spans_nvfp4},     [HD_MXFP4] = {16, spans_mxfp4},
        [HD_Q1_0] = {32, spans_q1_0},
    };
    bool is_there = type < sizeof layouts / sizeof *layouts && layouts[type].take;
    return is_there ? layouts[type] : (struct layout){32, NULL};
}

void hd_block_spans(enum hd_dtype type, const uint8_t *block, struct hd_spans *out)
{
    struct layout layout = layout_of(type);
    out->span = layout.span;
    out->n = hd_dtype_block(type);
    if (layout.take)
        layout.take(block, out);
    else
        spans_32(type, block, out);
}

bool hd_block_has_min(enum hd_dtype type)
{
    return type == HD_Q4_1 || type == HD_Q5_1 || type == HD_Q2_K || type == HD_Q4_K ||
           type == HD_Q5_K;
}
