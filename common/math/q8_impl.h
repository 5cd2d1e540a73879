/* q8_impl.h - how a prepared row lies in memory. Inside common/math only.
 *
 * [n / 32] blocks, a cache line each, with all that a kernel needs of 32 values: one pointer walks
 * a row. The kernels of x86 multiply unsigned weights; q + 8 or q + 128 instead of q adds 8 or 128
 * times the sum of the activations, so that an integer sum starts at minus that. */
#ifndef HD_MATH_Q8_IMPL_H
#define HD_MATH_Q8_IMPL_H

#include "common/math/q8.h"

struct hd_q8_block {
    int8_t q[HD_Q8_BLOCK];
    float d;
    float d_sum;         /* RN(d * sum of q) */
    int32_t minus8;      /* -8 * sum of q */
    int32_t minus128[2]; /* -128 * sum of each half of q */
    int32_t unused[3];
};

/* RN(d * sum of half `h` of q). */
static inline float hd_q8_half_sum(const struct hd_q8_block *b, unsigned h)
{
    return b->d * (float)(b->minus128[h] / -128);
}

_Static_assert(sizeof(struct hd_q8_block) == 64, "a cache line");

#endif
