/* kernels_impl.h - the table of one variant, and the names its functions carry.
 *
 * The files k_*.c are compiled once for each instruction set with HD_VARIANT set to its name
 * (common/math/meson.build); vec.h gives them 16-lane vectors. Nothing in them asks which. */
#ifndef HD_MATH_KERNELS_IMPL_H
#define HD_MATH_KERNELS_IMPL_H

#include "common/math/kernels.h"
#include "common/math/q8.h"

struct hd_kernels {
    void (*matmul)(const struct hd_matmul_args *a);
    void (*matmul_q8)(const struct hd_matmul_q8_args *a);
    void (*q8_encode)(const float *x, size_t n, void *row);
    void (*q8_prepare)(const void *row, size_t n, void *prepared);
    void (*q8_quantize)(const float *x, size_t n, void *prepared);
    void (*sum_encode)(const int32_t *sum, size_t n, void *row);
    void (*sum_add)(int64_t *acc, const void *row, size_t n);
    void (*silu_mul)(const float *gate, const float *up, float *out, size_t n);
    void (*gelu_mul)(const float *gate, const float *up, float *out, size_t n);
    void (*clamped_mul)(const float *gate, const float *up, struct hd_clamp c, float *out,
                        size_t n);
    void (*soft_cap)(float *x, float cap, size_t n);
    void (*rms_norm)(const float *x, const float *weight, float eps, float *out, size_t n);
    float (*sum_squares)(const float *x, size_t n);
    float (*log_sum_exp)(const float *x, size_t n);
    float (*exp)(float x);
    void (*rope)(float *v, size_t head_dim, const float *cs);
    void (*attention)(const struct hd_attention_args *a);
    void (*attention_part)(const struct hd_attention_args *a, size_t segment, float *part);
    void (*attention_fold)(const struct hd_attention_args *a, size_t n, float *parts);
    void (*kv_store)(enum hd_kv_type type, const float *in, void *out, size_t n);
    int (*fixed_add)(int64_t *acc, const float *x, int shift, size_t n);
    bool (*fixed_narrow)(const int64_t *acc, int32_t *out32, size_t n);
    void (*fixed_sum32)(int64_t *acc, const int32_t *in32, size_t n);
    void (*fixed_apply)(float *residual, const int64_t *acc, int shift, size_t n);
};

extern const struct hd_kernels hd_kernels_portable, hd_kernels_avx2, hd_kernels_avx512,
    hd_kernels_avx512_no_vnni, hd_kernels_amx, hd_kernels_neon;
/* Of a variant, and in another's table or code, too. */
void hd_matmul_q8_avx2(const struct hd_matmul_q8_args *a);
void hd_matmul_q8_avx512(const struct hd_matmul_q8_args *a);
void hd_matmul_q8_vnni(const struct hd_matmul_q8_args *a);
void hd_matmul_q8_amx(const struct hd_matmul_q8_args *a);

#ifdef HD_VARIANT
#define HD_JOIN_(a, b) hd_##b##_##a
#define HD_JOIN(a, b)  HD_JOIN_(a, b)
#define HD_KFN(name)   HD_JOIN(HD_VARIANT, name) /* e.g. hd_matmul_avx2 */

void HD_KFN(matmul)(const struct hd_matmul_args *a);
void HD_KFN(matmul_q8)(const struct hd_matmul_q8_args *a);
void HD_KFN(q8_encode)(const float *x, size_t n, void *row);
void HD_KFN(q8_prepare)(const void *row, size_t n, void *prepared);
void HD_KFN(q8_quantize)(const float *x, size_t n, void *prepared);
void HD_KFN(sum_encode)(const int32_t *sum, size_t n, void *row);
void HD_KFN(sum_add)(int64_t *acc, const void *row, size_t n);
void HD_KFN(silu_mul)(const float *gate, const float *up, float *out, size_t n);
void HD_KFN(gelu_mul)(const float *gate, const float *up, float *out, size_t n);
void HD_KFN(clamped_mul)(const float *gate, const float *up, struct hd_clamp c, float *out,
                         size_t n);
void HD_KFN(soft_cap)(float *x, float cap, size_t n);
void HD_KFN(rms_norm)(const float *x, const float *weight, float eps, float *out, size_t n);
float HD_KFN(sum_squares)(const float *x, size_t n);
float HD_KFN(log_sum_exp)(const float *x, size_t n);
float HD_KFN(exp)(float x);
void HD_KFN(rope)(float *v, size_t head_dim, const float *cs);
void HD_KFN(attention)(const struct hd_attention_args *a);
void HD_KFN(attention_part)(const struct hd_attention_args *a, size_t segment, float *part);
void HD_KFN(attention_fold)(const struct hd_attention_args *a, size_t n, float *parts);
void HD_KFN(kv_store)(enum hd_kv_type type, const float *in, void *out, size_t n);
int HD_KFN(fixed_add)(int64_t *acc, const float *x, int shift, size_t n);
bool HD_KFN(fixed_narrow)(const int64_t *acc, int32_t *out32, size_t n);
void HD_KFN(fixed_sum32)(int64_t *acc, const int32_t *in32, size_t n);
void HD_KFN(fixed_apply)(float *residual, const int64_t *acc, int shift, size_t n);
#endif

#endif
