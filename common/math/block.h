/* block.h - a quantized block taken apart: integers, and a scale and a minimum for each span.
 *
 * Every quantized type of ours is value = q * scale (+ min) with q of at most 8 bits and the scale
 * of at most 18 significant bits. The product is therefore exact in f32, and it does not matter
 * whether the addition is fused: hd_dequant, every kernel and ggml agree bit for bit. */
#ifndef HD_MATH_BLOCK_H
#define HD_MATH_BLOCK_H

#include "common/math/tensor.h"

#define HD_BLOCK_MAX 256 /* values in the longest block (K types) */
#define HD_SPANS_MAX 16  /* spans in it (Q6_K: 16 spans of 16) */

struct hd_spans {
    size_t span;               /* values that share a scale: 16 or 32 */
    size_t n;                  /* values in the block */
    int8_t q[HD_BLOCK_MAX];    /* in the order of the columns */
    float scale[HD_SPANS_MAX]; /* [n / span] */
    float min[HD_SPANS_MAX];   /* [n / span], added; meaningful for types that have one */
};

/* Takes one block of a quantized `type` apart. */
void hd_block_spans(enum hd_dtype type, const uint8_t *block, struct hd_spans *out);
/* Only the scales and minima of a Q4_K or Q5_K block. */
void hd_block_k_scales(const uint8_t *block, struct hd_spans *out);
/* True for the types whose values have an added minimum. */
bool hd_block_has_min(enum hd_dtype type);

#endif
