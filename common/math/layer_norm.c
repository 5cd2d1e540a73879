/* See layer_norm.h. */
#include "common/math/layer_norm.h"

#include <math.h>

void hd_layer_norm(const float *x, const float *weight, const float *bias, float eps, float *out,
                   size_t n)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i];
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    double scale = 1 / sqrt(squares / (double)n + (double)eps);
    for (size_t i = 0; i < n; i++)
        out[i] = (float)(((double)x[i] - mean) * scale * (double)weight[i] +
                         (bias ? (double)bias[i] : 0));
}
