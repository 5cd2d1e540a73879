/* Choice of the variant and the calls through its table. */
#include "common/math/kernels_impl.h"

#ifdef HD_HAVE_X86_VARIANTS
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef ARCH_REQ_XCOMP_PERM
#define ARCH_REQ_XCOMP_PERM 0x1023 /* Linux, Documentation/arch/x86/xstate.rst */
#endif
#define XFEATURE_XTILEDATA 18
#define CPUID_7_EDX_AMX    (3u << 24) /* AMX-TILE and AMX-INT8 */

/* Not every compiler's __builtin_cpu_supports knows "f16c". */
static bool has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

static const struct hd_kernels *avx2(void)
{
    bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    return has ? &hd_kernels_avx2 : NULL;
}

static const struct hd_kernels *avx512(void)
{
    bool has = avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    if (!has)
        return NULL;
    bool vnni = __builtin_cpu_supports("avx512vnni");
    return vnni ? &hd_kernels_avx512 : &hd_kernels_avx512_no_vnni;
}

/* Whose tiles the kernel lets a process use that asks for them: its threads' state grows by 8 KiB.
 */
static const struct hd_kernels *amx(void)
{
    unsigned a, b, c, d;
    bool has = avx512() == &hd_kernels_avx512 && __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
               (d & CPUID_7_EDX_AMX) == CPUID_7_EDX_AMX;
    bool may = has && syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
    return may ? &hd_kernels_amx : NULL;
}
#endif

#ifdef HD_HAVE_NEON_VARIANT
#include <sys/auxv.h>

#ifndef HWCAP_ASIMDDP
#define HWCAP_ASIMDDP (1 << 20) /* Linux, arch/arm64/include/uapi/asm/hwcap.h */
#endif

static const struct hd_kernels *neon(void)
{
    return getauxval(AT_HWCAP) & HWCAP_ASIMDDP ? &hd_kernels_neon : NULL;
}
#endif

const struct hd_kernels *hd_kernels_get(enum hd_isa isa)
{
    switch (isa) {
    case HD_ISA_PORTABLE:
        return &hd_kernels_portable;
#ifdef HD_HAVE_X86_VARIANTS
    case HD_ISA_AVX2:
        return avx2();
    case HD_ISA_AVX512:
        return avx512();
    case HD_ISA_AMX:
        return amx();
#endif
#ifdef HD_HAVE_NEON_VARIANT
    case HD_ISA_NEON:
        return neon();
#endif
    default:
        return NULL;
    }
}

bool hd_isa_supported(enum hd_isa isa)
{
    return hd_kernels_get(isa) != NULL;
}

enum hd_isa hd_isa_best(void)
{
    static const enum hd_isa by_speed[] = {HD_ISA_AMX, HD_ISA_AVX512, HD_ISA_AVX2, HD_ISA_NEON};
    for (size_t i = 0; i < sizeof by_speed / sizeof by_speed[0]; i++)
        if (hd_isa_supported(by_speed[i]))
            return by_speed[i];
    return HD_ISA_PORTABLE;
}

const char *hd_isa_name(enum hd_isa isa)
{
    static const char *const names[] = {"portable", "avx2", "avx512", "amx", "neon"};
    return isa <= HD_ISA_NEON ? names[isa] : "?";
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

void hd_gelu_mul(const struct hd_kernels *k, const float *gate, const float *up, float *out,
                 size_t n)
{
    k->gelu_mul(gate, up, out, n);
}

void hd_clamped_mul(const struct hd_kernels *k, const float *gate, const float *up,
                    struct hd_clamp c, float *out, size_t n)
{
    k->clamped_mul(gate, up, c, out, n);
}

void hd_soft_cap(const struct hd_kernels *k, float *x, float cap, size_t n)
{
    k->soft_cap(x, cap, n);
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

void hd_attention_part(const struct hd_kernels *k, const struct hd_attention_args *a,
                       size_t segment, float *part)
{
    k->attention_part(a, segment, part);
}

void hd_attention_fold(const struct hd_kernels *k, const struct hd_attention_args *a, size_t n,
                       float *parts)
{
    k->attention_fold(a, n, parts);
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
