/* prove.c - the table of kernels of common/math, each of them computed by the device's kernels, so
 * that the known answer test (common/math/self_test.h) and the tests of the CPU's variants are the
 * device's as well. What a device never does for a half-step (log-sum-exp, what the leader adds)
 * and forms of weights that were not compiled are the CPU's. */
#include "worker/opencl/prove_impl.h"

#include <string.h>

#define INPUTS (UINT64_C(64) << 10) /* bytes of tables that a launch reads */

_Thread_local struct prover *prove_now;

/* ---- Buffers ----*/

cl_mem prove_room(size_t bytes)
{
    int rc = 0;
    cl_mem m = prove_now->rc == 0 ? hd_cl_buffer(prove_now->o.cl, bytes, &rc, NULL) : NULL;
    prove_now->rc = prove_now->rc == 0 ? rc : prove_now->rc;
    if (m)
        prove_now->made[prove_now->n++] = m;
    return m;
}

void prove_note(cl_int code)
{
    if (code != CL_SUCCESS && prove_now->rc == 0)
        prove_now->rc = hd_cl_fail(prove_now->o.cl, code, "the known answer test", NULL);
}

cl_mem prove_put(const void *data, size_t bytes)
{
    struct hd_cl *cl = prove_now->o.cl;
    cl_mem m = prove_room(bytes);
    if (m && bytes > 0)
        prove_note(
            cl->call.EnqueueWriteBuffer(cl->queue, m, CL_TRUE, 0, bytes, data, 0, NULL, NULL));
    return m;
}

void prove_get(cl_mem m, void *data, size_t bytes)
{
    struct hd_cl *cl = prove_now->o.cl;
    memset(data, 0, bytes);
    if (prove_now->rc == 0)
        prove_note(
            cl->call.EnqueueReadBuffer(cl->queue, m, CL_TRUE, 0, bytes, data, 0, NULL, NULL));
}

void prove_end(void)
{
    prove_now->o.cl->call.Finish(prove_now->o.cl->queue);
    while (prove_now->n > 0)
        hd_cl_release(prove_now->o.cl, prove_now->made[--prove_now->n]);
    prove_now->o.in_used = 0;
}

struct hd_cl_launch prove_launch(struct hd_cl_kernel *k)
{
    return (struct hd_cl_launch){prove_now->o.cl, k, 0,
                                 prove_now->rc == 0 ? CL_SUCCESS : CL_INVALID_VALUE};
}

/* ---- Single values ----*/

enum { EXP, SILU, GELU, CAP, CLAMPED };

static void single(uint32_t which, const float *a, const float *b, const float with[2], float *out,
                   size_t n)
{
    cl_mem y = prove_room(n * sizeof *out);
    struct hd_cl_launch l = prove_launch(&prove_now->o.programs.single_values);
    hd_cl_put_u32(&l, which);
    hd_cl_put_buffer(&l, prove_put(a, n * sizeof *a));
    hd_cl_put_buffer(&l, prove_put(b, n * sizeof *b));
    hd_cl_put_buffer(&l, y);
    hd_cl_put_f32(&l, with[0]);
    hd_cl_put_f32(&l, with[1]);
    prove_note(hd_cl_go(&l, 1, n, 1, 1));
    prove_get(y, out, n * sizeof *out);
    prove_end();
}

static const float plain[2]; /* nothing more is needed */

static void silu_mul(const float *gate, const float *up, float *out, size_t n)
{
    single(SILU, gate, up, plain, out, n);
}

static void gelu_mul(const float *gate, const float *up, float *out, size_t n)
{
    single(GELU, gate, up, plain, out, n);
}

static void clamped_mul(const float *gate, const float *up, struct hd_clamp c, float *out, size_t n)
{
    single(CLAMPED, gate, up, (const float[2]){c.alpha, c.limit}, out, n);
}

static void soft_cap(float *x, float cap, size_t n)
{
    single(CAP, x, x, (const float[2]){cap, 1.0f / cap}, x, n);
}

static float own_exp(float x)
{
    float y;
    single(EXP, &x, &x, plain, &y, 1);
    return y;
}

static void kv_store(enum hd_kv_type type, const float *in, void *out, size_t n)
{
    size_t bytes = n * (type == HD_KV_F16 ? 2 : 4);
    cl_mem y = prove_room(bytes);
    struct hd_cl_launch l = prove_launch(&prove_now->o.programs.store_values);
    hd_cl_put_buffer(&l, prove_put(in, n * sizeof *in));
    hd_cl_put_buffer(&l, y);
    hd_cl_put_u32(&l, type == HD_KV_F16);
    prove_note(hd_cl_go(&l, 1, n, 1, 1));
    prove_get(y, out, bytes);
    prove_end();
}

static int fixed_add(int64_t *acc, const float *x, int shift, size_t n)
{
    static const uint32_t none = 0;
    uint32_t is_bad = 0;
    cl_mem sum = prove_put(acc, n * sizeof *acc), bad = prove_put(&none, sizeof none);
    struct hd_cl_launch l = prove_launch(&prove_now->o.programs.fixed_values);
    hd_cl_put_buffer(&l, prove_put(x, n * sizeof *x));
    hd_cl_put_buffer(&l, sum);
    hd_cl_put(&l, sizeof shift, &shift);
    hd_cl_put_buffer(&l, bad);
    prove_note(hd_cl_go(&l, 1, n, 1, 1));
    prove_get(sum, acc, n * sizeof *acc);
    prove_get(bad, &is_bad, sizeof is_bad);
    prove_end();
    return is_bad ? HD_E_NUMERIC : 0;
}

/* ---- The table ----*/

static struct hd_kernels table_of(const struct hd_kernels *of_cpu)
{
    struct hd_kernels k = *of_cpu;
    k.matmul = prove_matmul;
    k.matmul_q8 = prove_matmul_q8;
    k.q8_encode = prove_q8_encode;
    k.q8_prepare = prove_q8_prepare;
    k.q8_quantize = prove_q8_quantize;
    k.sum_encode = prove_sum_encode;
    k.silu_mul = silu_mul;
    k.gelu_mul = gelu_mul;
    k.clamped_mul = clamped_mul;
    k.soft_cap = soft_cap;
    k.rms_norm = prove_rms_norm;
    k.exp = own_exp;
    k.rope = prove_rope;
    k.attention = prove_attention;
    k.kv_store = kv_store;
    k.fixed_add = fixed_add;
    return k;
}

static int begin(struct prover *p, struct hd_cl *cl, const struct hd_cl_programs *programs)
{
    *p = (struct prover){.cpu = hd_kernels_get(HD_ISA_PORTABLE)};
    p->o.cl = cl;
    p->o.programs = *programs;
    int rc = hd_cl_in_begin(&p->o, INPUTS, NULL);
    prove_now = p;
    return rc;
}

static void finish_proof(struct prover *p)
{
    hd_cl_pinned_free(p->o.cl, &p->o.in);
    hd_cl_release(p->o.cl, p->o.in_at);
    prove_now = NULL;
}

int hd_cl_with_kernels(struct hd_cl *cl, const struct hd_cl_programs *programs,
                       void (*fn)(void *arg, const struct hd_kernels *k), void *arg)
{
    struct prover p;
    int rc = begin(&p, cl, programs);
    struct hd_kernels k = table_of(p.cpu);
    if (rc == 0)
        fn(arg, &k);
    rc = rc == 0 ? p.rc : rc;
    finish_proof(&p);
    return rc;
}

struct test {
    uint64_t seed;
    struct hd_self_test *out;
    int rc;
};

static void run_test(void *arg, const struct hd_kernels *k)
{
    struct test *t = arg;
    t->rc = hd_kernels_self_test(k, t->seed, NULL, t->out);
}

int hd_cl_prove(struct hd_opencl *o, uint64_t seed, struct hd_self_test *out)
{
    struct test t = {.seed = seed, .out = out};
    int rc = hd_cl_with_kernels(o->cl, &o->programs, run_test, &t);
    return rc < 0 ? rc : t.rc;
}
