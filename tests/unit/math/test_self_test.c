/* The known answer: one for each seed, whoever computes it; and another for whoever computes
 * anything else. */
#include "common/math/kernels_impl.h"
#include "common/math/self_test.h"
#include "math_test.h"

#include <stdatomic.h>

static struct hd_self_test answer(const struct hd_kernels *k, uint64_t seed, struct hd_team *team)
{
    struct hd_self_test t;
    cr_assert_eq(hd_kernels_self_test(k, seed, team, &t), 0);
    return t;
}

static uint64_t right(uint64_t seed)
{
    return answer(hd_kernels_get(HD_ISA_PORTABLE), seed, NULL).digest;
}

Test(self_test, every_variant_and_team_gives_the_answer_of_the_seed)
{
    cr_assert_neq(right(1), right(2));
    for (uint64_t seed = 1; seed < 4; seed++)
        FOR_EACH_ISA(isa, k)
    for (unsigned threads = 1; threads < 6; threads += 2) {
        struct hd_team *team;
        struct hd_team_options o = {.threads = threads, .name = "self-test"};
        cr_assert_eq(hd_team_new(&team, &o), 0);
        struct hd_self_test t = answer(k, seed, team);
        hd_team_free(team);
        cr_assert_not(t.differs);
        cr_assert_eq(t.digest, right(seed), "%s", hd_isa_name(all_isas[isa]));
    }
}

#define KNOWN UINT64_C(0xc41955351e350e23)
/* The answer does not change within a version of the protocol: two daemons may be of two builds. */
Test(self_test, the_answer_is_that_of_the_protocols_version)
{
    cr_assert_eq(right(1), KNOWN, "%016llx", (unsigned long long)right(1));
}

/* ---- Kernels that lie: the portable ones, but for one function ----*/

static const struct hd_kernels *honest(void)
{
    return hd_kernels_get(HD_ISA_PORTABLE);
}

/* As a core with one wrong bit in one element would. */
static void flip(void *at)
{
    *(uint8_t *)at ^= 1;
}

static void lying_matmul(const struct hd_matmul_args *a)
{
    hd_matmul(honest(), a);
    flip(a->y);
}

static void lying_matmul_q8(const struct hd_matmul_q8_args *a)
{
    hd_matmul_q8(honest(), a);
    flip(a->y + (a->rows - 1) * a->y_stride);
}

static void lying_silu(const float *gate, const float *up, float *out, size_t n)
{
    hd_silu_mul(honest(), gate, up, out, n);
    flip(out + n - 1);
}

static void lying_gelu(const float *gate, const float *up, float *out, size_t n)
{
    hd_gelu_mul(honest(), gate, up, out, n);
    flip(out + n - 1);
}

static void lying_clamped(const float *gate, const float *up, struct hd_clamp c, float *out,
                          size_t n)
{
    hd_clamped_mul(honest(), gate, up, c, out, n);
    flip(out + n / 2);
}

static void lying_cap(float *x, float cap, size_t n)
{
    hd_soft_cap(honest(), x, cap, n);
    flip(x);
}

static void lying_norm(const float *x, const float *weight, float eps, float *out, size_t n)
{
    hd_rms_norm(honest(), x, weight, eps, out, n);
    flip(out);
}

static float lying_log_sum_exp(const float *x, size_t n)
{
    return hd_log_sum_exp(honest(), x, n) * (1 + 0x1p-20f);
}

static void lying_rope(float *v, size_t head_dim, const float *cs)
{
    hd_rope(honest(), v, head_dim, cs);
    v[0] *= 1 + 0x1p-9f;
}

static void lying_attention(const struct hd_attention_args *a)
{
    hd_attention(honest(), a);
    flip(a->out);
}

static void lying_kv_store(enum hd_kv_type type, const float *in, void *out, size_t n)
{
    hd_kv_store(honest(), type, in, out, n);
    if (type == HD_KV_F16)
        flip(out);
}

static int lying_fixed_add(int64_t *acc, const float *x, int shift, size_t n)
{
    int rc = hd_fixed_add(honest(), acc, x, shift, n);
    acc[n - 1]++;
    return rc;
}

static void lying_sum_encode(const int32_t *sum, size_t n, void *row)
{
    hd_sum_encode(honest(), sum, n, row);
    flip((uint8_t *)row + 5);
}

static void lying_q8_quantize(const float *x, size_t n, void *prepared)
{
    hd_q8_quantize(honest(), x, n, prepared);
    flip(prepared);
}

static void expect_found(const struct hd_kernels *k, const char *what)
{
    cr_assert_neq(answer(k, 1, NULL).digest, right(1), "%s", what);
}

Test(self_test, one_wrong_bit_in_any_kernel_is_another_answer)
{
#define LIE(member, function)                                                                      \
    do {                                                                                           \
        struct hd_kernels k = *honest();                                                           \
        k.member = function;                                                                       \
        expect_found(&k, #member);                                                                 \
    } while (0)
    LIE(matmul, lying_matmul);
    LIE(matmul_q8, lying_matmul_q8);
    LIE(silu_mul, lying_silu);
    LIE(gelu_mul, lying_gelu);
    LIE(clamped_mul, lying_clamped);
    LIE(soft_cap, lying_cap);
    LIE(rms_norm, lying_norm);
    LIE(log_sum_exp, lying_log_sum_exp);
    LIE(rope, lying_rope);
    LIE(attention, lying_attention);
    LIE(kv_store, lying_kv_store);
    LIE(fixed_add, lying_fixed_add);
    LIE(sum_encode, lying_sum_encode);
    LIE(q8_quantize, lying_q8_quantize);
}

/* ---- What no table has: the linker puts these in its place (meson.build) ----*/

static bool erf_lies, relu2_lies, layer_norm_lies, f8_lies;

void __real_hd_gelu_erf_mul(const float *gate, const float *up, float *out, size_t n);
void __wrap_hd_gelu_erf_mul(const float *gate, const float *up, float *out, size_t n);
void __wrap_hd_gelu_erf_mul(const float *gate, const float *up, float *out, size_t n)
{
    __real_hd_gelu_erf_mul(gate, up, out, n);
    if (erf_lies)
        flip(out + n - 1);
}

void __real_hd_relu2_mul(const float *gate, const float *up, float *out, size_t n);
void __wrap_hd_relu2_mul(const float *gate, const float *up, float *out, size_t n);
void __wrap_hd_relu2_mul(const float *gate, const float *up, float *out, size_t n)
{
    __real_hd_relu2_mul(gate, up, out, n);
    if (relu2_lies)
        flip(out + 1);
}

void __real_hd_layer_norm(const float *x, const float *weight, const float *bias, float eps,
                          float *out, size_t n);
void __wrap_hd_layer_norm(const float *x, const float *weight, const float *bias, float eps,
                          float *out, size_t n);
void __wrap_hd_layer_norm(const float *x, const float *weight, const float *bias, float eps,
                          float *out, size_t n)
{
    __real_hd_layer_norm(x, weight, bias, eps, out, n);
    if (layer_norm_lies)
        flip(out);
}

static void matmul_that_lies_of_f8(const struct hd_matmul_args *a)
{
    hd_matmul(honest(), a);
    if (f8_lies && a->w->type == HD_F8_E4M3)
        flip(a->y);
}

Test(self_test, one_wrong_bit_in_what_few_families_have_is_another_answer)
{
    bool *const liars_of[] = {&erf_lies, &relu2_lies, &layer_norm_lies, &f8_lies};
    struct hd_kernels k = *honest();
    k.matmul = matmul_that_lies_of_f8;
    cr_assert_eq(answer(&k, 1, NULL).digest, right(1));
    for (size_t i = 0; i < sizeof liars_of / sizeof *liars_of; i++) {
        *liars_of[i] = true;
        cr_assert_neq(answer(&k, 1, NULL).digest, KNOWN, "%zu", i);
        *liars_of[i] = false;
    }
}

/* ---- One thread that lies ----*/

static atomic_int liars; /* threads that are to lie from now on */
static _Thread_local bool lies;

static void matmul_of_one_thread(const struct hd_matmul_args *a)
{
    hd_matmul(honest(), a);
    if (!lies && atomic_fetch_sub(&liars, 1) == 1)
        lies = true;
    if (lies)
        flip(a->y);
}

Test(self_test, one_thread_of_a_team_that_lies_is_found)
{
    enum { THREADS = 5 };
    struct hd_team *team;
    struct hd_team_options o = {.threads = THREADS, .name = "self-test"};
    struct hd_kernels k = *honest();
    k.matmul = matmul_of_one_thread;
    cr_assert_eq(hd_team_new(&team, &o), 0);
    atomic_store(&liars, 1);
    struct hd_self_test t = answer(&k, 1, team);
    cr_assert(t.differs);
    cr_assert_neq(t.digest, right(1));
    cr_assert_lt(t.thread, THREADS);
    hd_team_free(team);
}
