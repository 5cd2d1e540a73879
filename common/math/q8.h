/* q8.h - 8-bit activations, and products of them with quantized weights in integers.
 *
 * A **Q8 row** is what travels and what is logged: GGML's Q8_0 blocks. 32 consecutive values are an
 * f16 scale d (little-endian), then 32 int8 q: 34 bytes, value = d * q. A **prepared row** is the
 * same for the kernels of this host: never sent, never stored.
 *
 * The arithmetic, the same bits in every variant (RN: to nearest even):
 *   d = f16 RN(amax / 127), amax = max |x| of the block, the quotient rounded to f32 first
 *   q = RN(x * (1 / d)), quotient and product rounded to f32, clamped to [-127, 127]
 *   d = 0: every q is 0. An x that is not finite, or a d that would not be: d is a NaN (0x7e00) and
 *   every q is 0, so that whatever is computed from the row is a NaN and is found out. */
#ifndef HD_MATH_Q8_H
#define HD_MATH_Q8_H

#include "common/math/kernels.h"

#define HD_Q8_BLOCK       32 /* values that share a scale; every n below is a multiple */
#define HD_Q8_BLOCK_BYTES 34

/* Bytes of a Q8 row, and of a prepared one (a multiple of 64), of n values. */
size_t hd_q8_row_bytes(size_t n);
size_t hd_q8_prepared_bytes(size_t n);

/* x: [n] -> a Q8 row of hd_q8_row_bytes(n), any alignment. */
void hd_q8_encode(const struct hd_kernels *k, const float *x, size_t n, void *row);
/* A Q8 row -> a prepared one of hd_q8_prepared_bytes(n), 64-byte aligned. A q of -128, which no
 * encoder makes, is taken as -127. */
void hd_q8_prepare(const struct hd_kernels *k, const void *row, size_t n, void *prepared);
/* Encode, then prepare: the same bits, for values that never travel. */
void hd_q8_quantize(const struct hd_kernels *k, const float *x, size_t n, void *prepared);
/* out: [n] = d * q, exact. A q of -128 as above. */
void hd_q8_decode(const void *row, size_t n, float *out);

/* ---- Compact sums: partial sums (kernels.h, fixed point) that fit 32 bits, as a Q8 row of
 * sum * 2^-24. Every f16 is a multiple of 2^-24, so what a quant stands for, d * q * 2^24, is an
 * integer again: decoded sums are added like any others, and their order cannot matter. Of a block
 * each is off by at most 1/254 of the largest, and by no less than that of 64 tells it from 0. */
void hd_sum_encode(const struct hd_kernels *k, const int32_t *sum, size_t n, void *row);
/* acc[i] += d * q * 2^24, modulo 2^64. A q of -128 as above. The row is valid. */
void hd_sum_add(const struct hd_kernels *k, int64_t *acc, const void *row, size_t n);
/* Every scale is a finite number that is not negative, as all scales of encoders are. */
bool hd_sum_is_valid(const void *row, size_t n);

/* True if the weights are of a quantized type, so that hd_matmul_q8 takes them. */
bool hd_weights_are_quantized(const struct hd_weights *w);

/* As hd_matmul, but x are prepared rows of w->inputs values. For an output of a row
 *   acc = 0; for each span of the weights' inputs (32, in Q2_K, Q3_K, Q6_K and some others 16),
 *   ascending:
 *     acc = fma(RN(dw * dx), isum, acc)     isum = sum of qw * qx over the span, an exact integer
 *     acc = fma(mw, RN(dx * qsum), acc)     types with minima; qsum = sum of qx over the span
 * in f32, dw, mw, qw being the scale, the minimum and the quants that hd_dequant multiplies (so
 * qw = nibble - 8 in Q4_0). Integers have no order: every variant gives the same bits for 1 row and
 * for 512. */
struct hd_matmul_q8_args {
    const struct hd_weights *w; /* of a quantized type */
    size_t g0, g1;
    const void *x;   /* [rows][x_stride], 64-byte aligned */
    size_t x_stride; /* bytes, a multiple of 64 */
    float *y;        /* [rows][y_stride], as in hd_matmul_args */
    size_t y_stride; /* floats */
    size_t rows;
};
void hd_matmul_q8(const struct hd_kernels *k, const struct hd_matmul_q8_args *a);

#endif
