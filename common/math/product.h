/* product.h - rows times weights, whatever the rows are made of: the one place that knows f32 rows
 * from Q8 ones. */
#ifndef HD_MATH_PRODUCT_H
#define HD_MATH_PRODUCT_H

#include "common/math/q8.h"

/* Rows of one length: f32 as they are, or Q8 rows prepared for the kernels. */
struct hd_operand {
    const float *x;    /* [rows][stride]; not used when q8 is given */
    size_t stride;     /* floats */
    const uint8_t *q8; /* [rows][q8_stride], or NULL */
    size_t q8_stride;  /* bytes */
};

/* Groups of outputs (HD_GROUP each), and rows. */
struct hd_range {
    size_t g0, g1; /* g1 may lie beyond the last group, and nothing at all may be left */
    size_t row0, rows;
};

/* y[r][o] = W x[row0 + r] for the groups, as hd_matmul and hd_matmul_q8 (of quantized weights):
 * y points at the first output of g0, rows lie `stride` floats apart. */
static inline void hd_product(const struct hd_kernels *k, const struct hd_operand *in,
                              const struct hd_weights *w, struct hd_range at, float *y,
                              size_t stride)
{
    size_t g1 = at.g1 < w->groups ? at.g1 : w->groups;
    if (at.g0 >= g1)
        return;
    if (in->q8)
        hd_matmul_q8(k, &(struct hd_matmul_q8_args){.w = w,
                                                    .g0 = at.g0,
                                                    .g1 = g1,
                                                    .x = in->q8 + at.row0 * in->q8_stride,
                                                    .x_stride = in->q8_stride,
                                                    .y = y,
                                                    .y_stride = stride,
                                                    .rows = at.rows});
    else
        hd_matmul(k, &(struct hd_matmul_args){.w = w,
                                              .g0 = at.g0,
                                              .g1 = g1,
                                              .x = in->x + at.row0 * in->stride,
                                              .x_stride = in->stride,
                                              .y = y,
                                              .y_stride = stride,
                                              .rows = at.rows});
}

#endif
