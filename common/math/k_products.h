/* k_products.h - what the files with products of packed weights share. Inside common/math only. */
#ifndef HD_MATH_K_PRODUCTS_H
#define HD_MATH_K_PRODUCTS_H

#include "common/math/pack.h"
#include "common/math/q8.h"
#include "common/math/vec.h"

/* The scales, or the minima, of a span. */
HD_INLINE v16 load_scale(struct hd_pack p, const uint8_t *at)
{
    return p.scale == 2 ? v16_load_f16(at) : v16_load((const float *)(const void *)at);
}

/* Bytes of HD_Q8_BLOCK inputs of a group: one span, or two. */
HD_INLINE size_t block_bytes(struct hd_pack p)
{
    return HD_Q8_BLOCK / p.span * hd_pack_span_bytes(p);
}

/* The sums of a row and a group of the call rest in y between two panels of inputs: storing and
 * loading an f32 changes nothing. Only true outputs are there. */
HD_INLINE float *sums_at(const struct hd_matmul_q8_args *a, size_t row, size_t group)
{
    return a->y + row * a->y_stride + (group - a->g0) * HD_GROUP;
}

HD_INLINE size_t outputs_of(const struct hd_matmul_q8_args *a, size_t group)
{
    size_t left = a->w->outputs - group * HD_GROUP;
    return left < HD_GROUP ? left : HD_GROUP;
}

HD_INLINE v16 take_sums(const struct hd_matmul_q8_args *a, size_t row, size_t group)
{
    return v16_load_part(sums_at(a, row, group), outputs_of(a, group), 0.0f);
}

HD_INLINE void put_sums(const struct hd_matmul_q8_args *a, size_t row, size_t group, v16 v)
{
    v16_store_part(sums_at(a, row, group), v, outputs_of(a, group));
}

#endif
