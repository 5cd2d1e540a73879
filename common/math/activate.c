/* activate.c - loops that compilers make vectors of; nothing is fused, so all have the same bits.
 */
#include "common/math/activate.h"

#define SQRT_HALF 0.70710678118654752440f
#define ERF_IS_1  4.0f /* from here on, in f32 */

/* x P(x^2) / Q(x^2), of the degrees 13 and 8: the rational approximation that Eigen and XLA use for
 * f32. A NaN stays one. */
static float erf_of(float x)
{
    x = x > ERF_IS_1 ? ERF_IS_1 : x < -ERF_IS_1 ? -ERF_IS_1 : x;
    float s = x * x;
    float p = -2.72614225801306e-10f;
    p = p * s + 2.77068142495902e-08f;
    p = p * s - 2.10102402082508e-06f;
    p = p * s - 5.69250639462346e-05f;
    p = p * s - 7.34990630326855e-04f;
    p = p * s - 2.95459980854025e-03f;
    p = p * s - 1.60960333262415e-02f;
    float q = -1.45660718464996e-05f;
    q = q * s - 2.13374055278905e-04f;
    q = q * s - 1.68282697438203e-03f;
    q = q * s - 7.37332916720468e-03f;
    q = q * s - 1.42647390514189e-02f;
    return x * p / q;
}

void hd_gelu_erf_mul(const float *gate, const float *up, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = 0.5f * gate[i] * (1.0f + erf_of(gate[i] * SQRT_HALF)) * up[i];
}

void hd_relu2_mul(const float *gate, const float *up, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float x = gate[i] < 0 ? 0 : gate[i]; /* a NaN stays one */
        out[i] = x * x * up[i];
    }
}
