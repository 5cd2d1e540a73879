/* prove_impl.h - shared by prove.c (single values, and the table) and prove_*.c: each function of
 * the kernels' table is a call of the device's kernels, with buffers for that call. */
#ifndef HD_WORKER_OPENCL_PROVE_IMPL_H
#define HD_WORKER_OPENCL_PROVE_IMPL_H

#include "common/math/kernels_impl.h"
#include "worker/opencl/impl.h"

/* The device as the launches of products.c want it. */
struct prover {
    struct hd_opencl o; /* borrowed: cl, programs */
    const struct hd_kernels *cpu;
    cl_mem made[16]; /* of the call */
    unsigned n;
    int rc; /* the first failure stays */
};
/* Of the thread that proves: the table's functions know no device. */
extern _Thread_local struct prover *prove_now;

/* What the device does not do is the CPU's. */
static inline const struct hd_kernels *prove_cpu(void)
{
    return prove_now->cpu;
}

/* Buffers of the call; behind a failure NULL. */
cl_mem prove_room(size_t bytes);
cl_mem prove_put(const void *data, size_t bytes);
/* Of a failure zeros: another digest. */
void prove_get(cl_mem m, void *data, size_t bytes);
void prove_note(cl_int code);
/* Waits, and gives the buffers back. */
void prove_end(void);
struct hd_cl_launch prove_launch(struct hd_cl_kernel *k);

/* prove_products.c, prove_heads.c: of the table (common/math/kernels.h) */
void prove_matmul(const struct hd_matmul_args *a);
void prove_matmul_q8(const struct hd_matmul_q8_args *a);
void prove_q8_quantize(const float *x, size_t n, void *prepared);
void prove_q8_encode(const float *x, size_t n, void *row);
void prove_q8_prepare(const void *row, size_t n, void *prepared);
void prove_sum_encode(const int32_t *sum, size_t n, void *row);
void prove_rms_norm(const float *x, const float *weight, float eps, float *out, size_t n);
void prove_rope(float *v, size_t head_dim, const float *cs);
void prove_attention(const struct hd_attention_args *a);

#endif
