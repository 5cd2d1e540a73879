/* reference.h - the half-steps once more, naively and in double, from the model's own tensors. */
#ifndef HD_TESTS_WORKER_REFERENCE_H
#define HD_TESTS_WORKER_REFERENCE_H

#include "common/model/model.h"

/* Attention half of the last of n rows (positions 0 .. n-1, x: [n][dim]); out: [dim]. */
void reference_attention(const struct hd_model *m, uint32_t layer, const float *x, size_t n,
                         double *out);
/* FFN half of one row x [dim]; out: [dim]. */
void reference_ffn(const struct hd_model *m, uint32_t layer, const float *x, double *out);
/* Logits of one row x [dim]; out: [vocab]. */
void reference_logits(const struct hd_model *m, const float *x, double *out);

#endif
