/* activate.h - activations that few families have: plain C, the same bits everywhere, without libm.
 * What they cost is little beside the two products around them. */
#ifndef HD_MATH_ACTIVATE_H
#define HD_MATH_ACTIVATE_H

#include <stddef.h>

/* out[i] = x (1 + erf(x / sqrt(2))) / 2 * up[i], x = gate[i]: GELU as it is defined (Hendrycks &
 * Gimpel 2016); the error of erf is below 5e-7. `out` may be `gate`. */
void hd_gelu_erf_mul(const float *gate, const float *up, float *out, size_t n);
/* out[i] = max(gate[i], 0)^2 * up[i] (So et al. 2021). `out` may be `gate`. */
void hd_relu2_mul(const float *gate, const float *up, float *out, size_t n);

#endif
