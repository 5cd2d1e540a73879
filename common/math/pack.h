/* pack.h - how the weights of one group (16 outputs) lie in memory. Inside common/math only.
 *
 * A group is a row of spans; a span holds, for `span` consecutive inputs of 16 outputs:
 *   scales  [16]                f16 or f32        (quantized types)
 *   minima  [16]                like the scales   (types that have them)
 *   quants  [span / 4][16][4]   int8: a 32-bit word is 4 consecutive inputs of one output, or,
 *           [span / 8][16][4]   at 4 bits, bytes: the low nibble of byte b of word j is input
 *                               8j + b of that output, the high nibble input 8j + 4 + b
 * so that (word & 0x0f0f0f0f) and (word >> 4 & 0x0f0f0f0f) are 4 consecutive inputs each, too.
 * F32, F16 and BF16 have no scales and a span of 1: [1][16] f32, f16 or bf16. FP8 lies as 8-bit
 * quants do, but is of floats: a byte is E4M3. */
#ifndef HD_MATH_PACK_H
#define HD_MATH_PACK_H

#include "common/math/kernels.h"

enum hd_pack_float { HD_PACK_QUANT, HD_PACK_F32, HD_PACK_F16, HD_PACK_BF16, HD_PACK_F8 };

struct hd_pack {
    enum hd_pack_float is_float;
    unsigned span;  /* inputs that share a scale */
    unsigned bits;  /* of a quant or of a float */
    unsigned scale; /* bytes of a scale (and of a minimum): 0, 2 or 4 */
    unsigned bias;  /* subtracted from a nibble */
    int low, top;   /* the smallest and the largest quant as packed */
    bool has_min;
};

/* One form serves several types: (name, types' case labels below, initializer). */
#define HD_PACKS(X)                                                                                \
    X(f32, HD_PACK_F32, 1, 32, 0, 0, 0, 0, false)                                                  \
    X(f16, HD_PACK_F16, 1, 16, 0, 0, 0, 0, false)                                                  \
    X(bf16, HD_PACK_BF16, 1, 16, 0, 0, 0, 0, false)                                                \
    X(q4_0, HD_PACK_QUANT, 32, 4, 2, 8, 0, 15, false)                                              \
    X(q4_1, HD_PACK_QUANT, 32, 4, 2, 0, 0, 15, true)                                               \
    X(q4_k, HD_PACK_QUANT, 32, 4, 4, 0, 0, 15, true)                                               \
    X(q8_0, HD_PACK_QUANT, 32, 8, 2, 0, -128, 127, false)                                          \
    X(q5_1, HD_PACK_QUANT, 32, 8, 2, 0, 0, 31, true)                                               \
    X(q5_k, HD_PACK_QUANT, 32, 8, 4, 0, 0, 31, true)                                               \
    X(q6_k, HD_PACK_QUANT, 16, 8, 4, 0, -32, 31, false)                                            \
    X(q2_k, HD_PACK_QUANT, 16, 8, 4, 0, 0, 3, true)                                                \
    X(i8_32, HD_PACK_QUANT, 32, 8, 4, 0, -128, 127, false)                                         \
    X(i8_16, HD_PACK_QUANT, 16, 8, 4, 0, -128, 127, false)                                         \
    X(f8, HD_PACK_F8, 32, 8, 4, 0, -128, 127, false)

enum hd_pack_id {
#define X(name, ...) HD_PACK_ID_##name,
    HD_PACKS(X)
#undef X
        HD_PACK_COUNT
};

/* The form of a known type: of those without one of their own, one that holds the same values,
 * whatever is smaller in the file. Q5_0 becomes Q8_0's: (q - 16) fits a byte. */
static inline enum hd_pack_id hd_pack_id(enum hd_dtype type)
{
    switch (type) {
    case HD_F32:
        return HD_PACK_ID_f32;
    case HD_F16:
        return HD_PACK_ID_f16;
    case HD_BF16:
        return HD_PACK_ID_bf16;
    case HD_Q4_0:
        return HD_PACK_ID_q4_0;
    case HD_Q4_1:
        return HD_PACK_ID_q4_1;
    case HD_Q4_K:
        return HD_PACK_ID_q4_k;
    case HD_Q5_1:
        return HD_PACK_ID_q5_1;
    case HD_Q5_K:
        return HD_PACK_ID_q5_k;
    case HD_Q3_K:
    case HD_Q6_K:
    case HD_MXFP4: /* twice its values, with half its scale: exact */
        return HD_PACK_ID_q6_k;
    case HD_Q2_K:
        return HD_PACK_ID_q2_k;
    case HD_F8_E4M3:
        return HD_PACK_ID_f8;
    case HD_IQ1_S:
    case HD_IQ2_XXS:
    case HD_IQ3_XXS:
    case HD_IQ3_S:
    case HD_IQ4_XS:
        return HD_PACK_ID_i8_32;
    case HD_IQ1_M:
    case HD_IQ2_XS:
    case HD_IQ2_S:
    case HD_NVFP4:
        return HD_PACK_ID_i8_16;
    case HD_IQ4_NL:
    case HD_Q1_0:
    case HD_TQ1_0:
    case HD_TQ2_0:
    case HD_Q5_0:
    case HD_Q8_0:
    default:
        return HD_PACK_ID_q8_0;
    }
}

static inline struct hd_pack hd_pack_of(enum hd_pack_id id)
{
    static const struct hd_pack packs[] = {
#define X(name, ...) {__VA_ARGS__},
        HD_PACKS(X)
#undef X
    };
    return packs[id];
}

/* Bytes of a span's scales and minima, and of a whole span. */
static inline size_t hd_pack_head_bytes(struct hd_pack p)
{
    return (size_t)HD_GROUP * p.scale * (p.has_min ? 2 : 1);
}

static inline size_t hd_pack_span_bytes(struct hd_pack p)
{
    return hd_pack_head_bytes(p) + (size_t)HD_GROUP * p.span * p.bits / 8;
}

#endif
