/* layer_norm.h - LayerNorm: plain C, the same bits everywhere. */
#ifndef HD_MATH_LAYER_NORM_H
#define HD_MATH_LAYER_NORM_H

#include <stddef.h>

/* The mean off, divided by the deviation, times weight [n], plus bias [n] unless that is NULL (Ba
 * et al. 2016, eq. 4): two passes in ascending order, in double. `out` may be `x`. */
void hd_layer_norm(const float *x, const float *weight, const float *bias, float eps, float *out,
                   size_t n);

#endif
