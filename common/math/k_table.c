/* k_table.c - one variant's kernels as a table of functions; compiled once for each instruction
 * set. */
#include "common/math/kernels_impl.h"

#define TABLE(matmul_q8_fn)                                                                        \
    {                                                                                              \
        .matmul = HD_KFN(matmul), .matmul_q8 = matmul_q8_fn, .q8_encode = HD_KFN(q8_encode),       \
        .q8_prepare = HD_KFN(q8_prepare), .q8_quantize = HD_KFN(q8_quantize),                      \
        .sum_encode = HD_KFN(sum_encode), .sum_add = HD_KFN(sum_add),                              \
        .silu_mul = HD_KFN(silu_mul), .gelu_mul = HD_KFN(gelu_mul),                                \
        .clamped_mul = HD_KFN(clamped_mul), .soft_cap = HD_KFN(soft_cap),                          \
        .rms_norm = HD_KFN(rms_norm), .sum_squares = HD_KFN(sum_squares),                          \
        .log_sum_exp = HD_KFN(log_sum_exp), .exp = HD_KFN(exp), .rope = HD_KFN(rope),              \
        .attention = HD_KFN(attention), .attention_part = HD_KFN(attention_part),                  \
        .attention_fold = HD_KFN(attention_fold), .kv_store = HD_KFN(kv_store),                    \
        .fixed_add = HD_KFN(fixed_add), .fixed_narrow = HD_KFN(fixed_narrow),                      \
        .fixed_sum32 = HD_KFN(fixed_sum32), .fixed_apply = HD_KFN(fixed_apply),                    \
    }

#ifdef __AVX512F__
const struct hd_kernels hd_kernels_avx512 = TABLE(hd_matmul_q8_vnni);
/* For CPUs with AVX-512, but without its VNNI part; for those with AMX beside it. */
const struct hd_kernels hd_kernels_avx512_no_vnni = TABLE(hd_matmul_q8_avx2);
const struct hd_kernels hd_kernels_amx = TABLE(hd_matmul_q8_amx);
#else
const struct hd_kernels HD_KFN(kernels) = TABLE(HD_KFN(matmul_q8));
#endif
