/* Choice of the variant and the calls through its table. */
#include "common/math/kernels_impl.h"

#ifdef HD_HAVE_X86_VARIANTS
#include <cpuid.h>

/* Not every compiler's __builtin_cpu_supports knows "f16c". */
static bool has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
#else
static bool has_avx2(void)
{
    return false;
}

static bool has_avx512(void)
{
    return false;
}
#endif

bool hd_isa_supported(enum hd_isa isa)
{
    if (isa == HD_ISA_AVX512)
        return has_avx512();
    return isa == HD_ISA_AVX2 ? has_avx2() : isa == HD_ISA_PORTABLE;
}

enum hd_isa hd_isa_best(void)
{
    if (hd_isa_supported(HD_ISA_AVX512))
        return HD_ISA_AVX512;
    return hd_isa_supported(HD_ISA_AVX2) ? HD_ISA_AVX2 : HD_ISA_PORTABLE;
}

const char *hd_isa_name(enum hd_isa isa)
{
    static const char *const names[] = {"portable", "avx2", "avx512"};
    return isa <= HD_ISA_AVX512 ? names[isa] : "?";
}

const struct hd_kernels *hd_kernels_get(enum hd_isa isa)
{
    if (!hd_isa_supported(isa))
        return NULL;
#ifdef HD_HAVE_X86_VARIANTS
    if (isa == HD_ISA_AVX512)
        return &hd_kernels_avx512;
    if (isa == HD_ISA_AVX2)
        return &hd_kernels_avx2;
#endif
    return &hd_kernels_portable;
}

void hd_matmul(const struct hd_kernels *k, const struct hd_matmul_args *a)
{
    k->matmul(a);
}

void hd_silu_mul(const struct hd_kernels *k, const float *gate, const float *up, float *out,
                 size_t n)
{
    k->silu_mul(gate, up, out, n);
}

void hd_rms_norm(const struct hd_kernels *k, const float *x, const float *weight, float eps,
                 float *out, size_t n)
{
    k->rms_norm(x, weight, eps, out, n);
}

float hd_sum_squares(const struct hd_kernels *k, const float *x, size_t n)
{
    return k->sum_squares(x, n);
}

float hd_log_sum_exp(const struct hd_kernels *k, const float *x, size_t n)
{
    return k->log_sum_exp(x, n);
}

float hd_exp(const struct hd_kernels *k, float x)
{
    return k->exp(x);
}

void hd_rope(const struct hd_kernels *k, float *v, size_t head_dim, const float *cs)
{
    k->rope(v, head_dim, cs);
}

void hd_attention(const struct hd_kernels *k, const struct hd_attention_args *a)
{
    k->attention(a);
}

void hd_kv_store(const struct hd_kernels *k, enum hd_kv_type type, const float *in, void *out,
                 size_t n)
{
    k->kv_store(type, in, out, n);
}

int hd_fixed_add(const struct hd_kernels *k, int64_t *acc, const float *x, int shift, size_t n)
{
    return k->fixed_add(acc, x, shift, n);
}

bool hd_fixed_narrow(const struct hd_kernels *k, const int64_t *acc, int32_t *out32, size_t n)
{
    return k->fixed_narrow(acc, out32, n);
}

void hd_fixed_sum32(const struct hd_kernels *k, int64_t *acc, const int32_t *in32, size_t n)
{
    k->fixed_sum32(acc, in32, n);
}

void hd_fixed_apply(const struct hd_kernels *k, float *residual, const int64_t *acc, int shift,
                    size_t n)
{
    k->fixed_apply(residual, acc, shift, n);
}
