#include "common/math/kernels_impl.h"

const struct hd_kernels HD_KFN(kernels) = {
    .matmul = HD_KFN(matmul),
    .silu_mul = HD_KFN(silu_mul),
    .rms_norm = HD_KFN(rms_norm),
    .sum_squares = HD_KFN(sum_squares),
    .log_sum_exp = HD_KFN(log_sum_exp),
    .exp = HD_KFN(exp),
    .rope = HD_KFN(rope),
    .attention = HD_KFN(attention),
    .kv_store = HD_KFN(kv_store),
    .fixed_add = HD_KFN(fixed_add),
    .fixed_narrow = HD_KFN(fixed_narrow),
    .fixed_sum32 = HD_KFN(fixed_sum32),
    .fixed_apply = HD_KFN(fixed_apply),
};
