/* prove.c - the table of kernels of common/math, each of them computed by the device's kernels, so
 * that the known answer test (common/math/self_test.h) and the tests of the CPU's variants are the
 * device's as well. What a device never does for a half-step (log-sum-exp, what the leader adds)
 * and forms of weights that were not compiled are the CPU's.
 *
 * The table's functions know no device; the thread that proves does. */
#include "common/math/half.h"
#include "common/math/kernels_impl.h"
#include "common/math/q8_impl.h"
#include "worker/opencl/impl.h"

#include <stdlib.h>
#include <string.h>

#define INPUTS (UINT64_C(64) << 10) /* bytes of tables that a launch reads */

/* The device as the launches of products.c want it, with buffers for one call. */
struct prover {
    struct hd_opencl o; /* borrowed: cl, programs */
    const struct hd_kernels *cpu;
    cl_mem made[16]; /* of the call */
    unsigned n;
    int rc; /* the first failure stays */
};
static _Thread_local struct prover *now;

static const struct hd_kernels *cpu(void)
{
    return now->cpu;
}

/* ---- Buffers ----*/

static cl_mem room(size_t bytes)
{
    int rc = 0;
    cl_mem m = now->rc == 0 ? hd_cl_buffer(now->o.cl, bytes, &rc, NULL) : NULL;
    now->rc = now->rc == 0 ? rc : now->rc;
    if (m)
        now->made[now->n++] = m;
    return m;
}

static void note(cl_int code)
{
    if (code != CL_SUCCESS && now->rc == 0)
        now->rc = hd_cl_fail(now->o.cl, code, "the known answer test", NULL);
}

static cl_mem put(const void *data, size_t bytes)
{
    struct hd_cl *cl = now->o.cl;
    cl_mem m = room(bytes);
    if (m && bytes > 0)
        note(cl->call.EnqueueWriteBuffer(cl->queue, m, CL_TRUE, 0, bytes, data, 0, NULL, NULL));
    return m;
}

/* Of a failure zeros: another digest. */
static void get(cl_mem m, void *data, size_t bytes)
{
    struct hd_cl *cl = now->o.cl;
    memset(data, 0, bytes);
    if (now->rc == 0)
        note(cl->call.EnqueueReadBuffer(cl->queue, m, CL_TRUE, 0, bytes, data, 0, NULL, NULL));
}

static void end(void)
{
    now->o.cl->call.Finish(now->o.cl->queue);
    while (now->n > 0)
        hd_cl_release(now->o.cl, now->made[--now->n]);
    now->o.in_used = 0;
}

static struct hd_cl_launch launch(struct hd_cl_kernel *k)
{
    return (struct hd_cl_launch){now->o.cl, k, 0, now->rc == 0 ? CL_SUCCESS : CL_INVALID_VALUE};
}

/* ---- Products ----*/

static bool has_form(enum hd_dtype type)
{
    return now->o.programs.products[hd_pack_id(type)] != NULL;
}

/* y [rows][y_stride] of groups [g0, g1). */
static void product(const struct hd_weights *w, size_t g0, size_t g1, struct hd_cl_operand x,
                    float *y, size_t y_stride, size_t rows)
{
    size_t groups = g1 - g0, left = w->outputs - g0 * HD_GROUP;
    size_t outputs = left < groups * HD_GROUP ? left : groups * HD_GROUP;
    cl_mem slabs[HD_CL_SLABS] = {put(w->data + g0 * w->group_bytes, groups * w->group_bytes)};
    struct hd_cl_part part = {.form = hd_pack_id(w->type),
                              .groups = (uint32_t)groups,
                              .group_bytes = (uint32_t)w->group_bytes,
                              .outputs = (uint32_t)outputs,
                              .inputs = (uint32_t)w->inputs};
    struct hd_cl_matrix matrix = {.y_stride = (uint32_t)outputs, .rows = (uint32_t)rows};
    struct hd_cl_plan plan;
    float *all = malloc(rows * outputs * sizeof *all);
    now->o.y = room(rows * outputs * sizeof *all);
    hd_cl_plan(&now->o, &(struct hd_cl_jobs){&part, &matrix, 1, rows}, &plan);
    if (now->rc == 0)
        note(hd_cl_in_send(&now->o));
    if (now->rc == 0)
        note(hd_cl_project(&now->o, &plan, slabs, &x, now->o.y));
    if (all)
        get(now->o.y, all, rows * outputs * sizeof *all);
    for (size_t r = 0; all && r < rows; r++)
        memcpy(y + r * y_stride, all + r * outputs, outputs * sizeof *y);
    now->rc = all ? now->rc : HD_E_NOMEM;
    free(all);
    end();
}

static void matmul(const struct hd_matmul_args *a)
{
    if (!has_form(a->w->type)) {
        hd_matmul(cpu(), a);
        return;
    }
    struct hd_cl_operand x = {.x = put(a->x, a->rows * a->x_stride * sizeof *a->x),
                              .x_stride = a->x_stride};
    product(a->w, a->g0, a->g1, x, a->y, a->y_stride, a->rows);
}

static void matmul_q8(const struct hd_matmul_q8_args *a)
{
    size_t blocks = a->w->inputs / HD_Q8_BLOCK;
    size_t stride = (a->rows + HD_CL_ROWS - 1) / HD_CL_ROWS * HD_CL_ROWS;
    int8_t *q = calloc(stride, a->w->inputs);
    float *d = calloc(stride * blocks, 2 * sizeof *d);
    if (!has_form(a->w->type) || !q || !d) {
        hd_matmul_q8(cpu(), a);
    } else {
        for (size_t r = 0; r < a->rows; r++) {
            const struct hd_q8_block *from =
                (const void *)((const uint8_t *)a->x + r * a->x_stride);
            for (size_t b = 0; b < blocks; b++) {
                memcpy(q + r * a->w->inputs + b * HD_Q8_BLOCK, from[b].q, HD_Q8_BLOCK);
                d[2 * (b * stride + r)] = from[b].d;
                d[2 * (b * stride + r) + 1] = from[b].d_sum;
            }
        }
        struct hd_cl_operand x = {.x = put(q, stride * a->w->inputs),
                                  .d = put(d, stride * blocks * 2 * sizeof *d),
                                  .x_stride = a->w->inputs / 4,
                                  .d_stride = stride};
        product(a->w, a->g0, a->g1, x, a->y, a->y_stride, a->rows);
    }
    free(q);
    free(d);
}

/* ---- Rows of 8 bits ----*/

static void make_block(const int8_t *q, const float *d, struct hd_q8_block *b)
{
    int32_t sum[2] = {0, 0};
    memcpy(b->q, q, HD_Q8_BLOCK);
    for (size_t i = 0; i < HD_Q8_BLOCK; i++)
        sum[i / 16] += q[i];
    b->d = d[0];
    b->d_sum = d[1];
    b->minus8 = -8 * (sum[0] + sum[1]);
    b->minus128[0] = -128 * sum[0];
    b->minus128[1] = -128 * sum[1];
    memset(b->unused, 0, sizeof b->unused);
}

static void take_blocks(cl_mem mq, cl_mem md, size_t n, struct hd_q8_block *out)
{
    size_t blocks = n / HD_Q8_BLOCK;
    int8_t *q = malloc(n);
    float *d = malloc(blocks * 2 * sizeof *d);
    if (q && d) {
        get(mq, q, n);
        get(md, d, blocks * 2 * sizeof *d);
        for (size_t b = 0; b < blocks; b++)
            make_block(q + b * HD_Q8_BLOCK, d + 2 * b, &out[b]);
    }
    now->rc = q && d ? now->rc : HD_E_NOMEM;
    free(q);
    free(d);
    end();
}

static void q8_quantize(const float *x, size_t n, void *prepared)
{
    cl_mem q = room(n), d = room(n / HD_Q8_BLOCK * 8);
    struct hd_cl_launch l = launch(&now->o.programs.quantize_values);
    hd_cl_put_buffer(&l, put(x, n * sizeof *x));
    hd_cl_put_u32(&l, n);
    hd_cl_put_buffer(&l, q);
    hd_cl_put_buffer(&l, d);
    note(hd_cl_go(&l, 128, (n + 127) / 128, 1, 1));
    take_blocks(q, d, n, prepared);
}

static void q8_encode(const float *x, size_t n, void *row)
{
    uint8_t *out = row;
    struct hd_q8_block *b = aligned_alloc(64, n / HD_Q8_BLOCK * sizeof *b);
    if (!b) {
        now->rc = HD_E_NOMEM;
        return;
    }
    q8_quantize(x, n, b);
    for (size_t i = 0; i < n / HD_Q8_BLOCK; i++, out += HD_Q8_BLOCK_BYTES) {
        uint16_t half = hd_half_round(b[i].d);
        memcpy(out, &half, sizeof half);
        memcpy(out + 2, b[i].q, HD_Q8_BLOCK);
    }
    free(b);
}

static void q8_prepare(const void *row, size_t n, void *prepared)
{
    size_t blocks = n / HD_Q8_BLOCK;
    cl_mem q = room(n), d = room(blocks * 8);
    struct hd_cl_launch l = launch(&now->o.programs.prepare_rows);
    hd_cl_put_buffer(&l, put(row, hd_q8_row_bytes(n)));
    hd_cl_put_u64(&l, 0);
    hd_cl_put_u32(&l, hd_q8_row_bytes(n));
    hd_cl_put_u32(&l, blocks);
    hd_cl_put_buffer(&l, q);
    hd_cl_put_buffer(&l, d);
    hd_cl_put_u32(&l, 1);
    note(hd_cl_go(&l, 64, (blocks + 63) / 64, 1, 1));
    take_blocks(q, d, n, prepared);
}

static void sum_encode(const int32_t *sum, size_t n, void *row)
{
    cl_mem out = room(hd_q8_row_bytes(n));
    struct hd_cl_launch l = launch(&now->o.programs.compact);
    hd_cl_put_buffer(&l, put(sum, n * sizeof *sum));
    hd_cl_put_buffer(&l, out);
    hd_cl_put_u32(&l, n);
    note(hd_cl_go(&l, 64, (n / HD_Q8_BLOCK + 63) / 64, 1, 1));
    get(out, row, hd_q8_row_bytes(n));
    end();
}

/* ---- Single values ----*/

enum { EXP, SILU, GELU, CAP, CLAMPED };

static void single(uint32_t which, const float *a, const float *b, const float with[2], float *out,
                   size_t n)
{
    cl_mem y = room(n * sizeof *out);
    struct hd_cl_launch l = launch(&now->o.programs.single_values);
    hd_cl_put_u32(&l, which);
    hd_cl_put_buffer(&l, put(a, n * sizeof *a));
    hd_cl_put_buffer(&l, put(b, n * sizeof *b));
    hd_cl_put_buffer(&l, y);
    hd_cl_put_f32(&l, with[0]);
    hd_cl_put_f32(&l, with[1]);
    note(hd_cl_go(&l, 1, n, 1, 1));
    get(y, out, n * sizeof *out);
    end();
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
    cl_mem y = room(bytes);
    struct hd_cl_launch l = launch(&now->o.programs.store_values);
    hd_cl_put_buffer(&l, put(in, n * sizeof *in));
    hd_cl_put_buffer(&l, y);
    hd_cl_put_u32(&l, type == HD_KV_F16);
    note(hd_cl_go(&l, 1, n, 1, 1));
    get(y, out, bytes);
    end();
}

static int fixed_add(int64_t *acc, const float *x, int shift, size_t n)
{
    static const uint32_t none = 0;
    uint32_t is_bad = 0;
    cl_mem sum = put(acc, n * sizeof *acc), bad = put(&none, sizeof none);
    struct hd_cl_launch l = launch(&now->o.programs.fixed_values);
    hd_cl_put_buffer(&l, put(x, n * sizeof *x));
    hd_cl_put_buffer(&l, sum);
    hd_cl_put(&l, sizeof shift, &shift);
    hd_cl_put_buffer(&l, bad);
    note(hd_cl_go(&l, 1, n, 1, 1));
    get(sum, acc, n * sizeof *acc);
    get(bad, &is_bad, sizeof is_bad);
    end();
    return is_bad ? HD_E_NUMERIC : 0;
}

/* ---- Heads ----*/

#define HAS_Q_NORM 8 /* kernels/attention.cl */
#define HAS_Q      32
#define HAS_SINKS  256
#define NO_ANGLES  UINT32_MAX

/* kernels/attention.cl: FINISH_PARAMS. */
struct finish {
    uint32_t n_rep, head_dim, has, rows, f16, block;
    float eps;
};

static void put_finish(struct hd_cl_launch *l, cl_mem y, cl_mem vectors, cl_mem cs, struct finish f)
{
    hd_cl_put_buffer(l, y);
    hd_cl_put_u32(l, 0);
    hd_cl_put_u32(l, 0);
    hd_cl_put_buffer(l, vectors);
    hd_cl_put_buffer(l, cs);
    hd_cl_put_u32(l, f.head_dim);
    hd_cl_put_u32(l, f.rows);
    hd_cl_put_u32(l, f.n_rep);
    hd_cl_put_u32(l, f.head_dim);
    hd_cl_put_u32(l, f.has);
    hd_cl_put_f32(l, f.eps);
    hd_cl_put_u32(l, f.f16);
    hd_cl_put_u32(l, f.block);
}

/* One vector v [n] through finish_rows: normalised by `weight`, or rotated by `cs`. */
static void finish(const float *v, size_t n, const float *weight, float eps, const float *cs,
                   float *out)
{
    struct hd_cl_place place = {.set = cs ? 0 : NO_ANGLES};
    size_t n_vectors = hd_cl_vectors(1, n);
    float *vectors = calloc(n_vectors, sizeof *vectors);
    if (!vectors) {
        now->rc = HD_E_NOMEM;
        return;
    }
    if (weight)
        memcpy(vectors + 4 * n, weight, n * sizeof *weight); /* q_norm is the fifth: n_rep is 1 */
    cl_mem y = put(v, n * sizeof *v), slabs[HD_CL_SLABS] = {y};
    struct hd_cl_launch l = launch(&now->o.programs.finish_rows);
    hd_cl_put_slabs(&l, slabs);
    hd_cl_put_buffer(&l, put(&place, sizeof place));
    hd_cl_put_u32(&l, 0);
    put_finish(&l, y, put(vectors, n_vectors * sizeof *vectors), cs ? put(cs, n * sizeof *cs) : y,
               (struct finish){.n_rep = 1,
                               .head_dim = (uint32_t)n,
                               .has = HAS_Q | (weight ? HAS_Q_NORM : 0),
                               .rows = 1,
                               .eps = eps});
    hd_cl_put_buffer(&l, y);
    hd_cl_put_u32(&l, 0);
    hd_cl_put_local(&l, 4 * n * sizeof(float));
    note(hd_cl_go(&l, 64, 1, 1, 1));
    free(vectors);
    get(y, out, n * sizeof *out);
    end();
}

static void rms_norm(const float *x, const float *weight, float eps, float *out, size_t n)
{
    finish(x, n, weight, eps, NULL, out);
}

static void rope(float *v, size_t head_dim, const float *cs)
{
    finish(v, head_dim, NULL, 0, cs, v);
}

/* K and V of the blocks as the device has them, one behind the other. The caller frees. */
static uint8_t *blocks_of(const struct hd_attention_args *a, size_t blocks, size_t block)
{
    size_t half = a->head_dim * (a->kv_type == HD_KV_F16 ? 2 : 4) * HD_ATTN_BLOCK;
    uint8_t *kv = calloc(blocks, block);
    for (size_t b = 0; kv && b < blocks; b++) {
        memcpy(kv + b * block, a->k_blocks[b], half);
        memcpy(kv + b * block + half, a->v_blocks[b], half);
    }
    return kv;
}

/* The vectors of a head that has sinks alone. */
static cl_mem sinks_of(const struct hd_attention_args *a)
{
    size_t n = hd_cl_vectors(a->n_rep, a->head_dim);
    float *vectors = calloc(n, sizeof *vectors);
    cl_mem m = NULL;
    if (vectors) {
        memcpy(vectors + n - a->n_rep, a->sinks, a->n_rep * sizeof *vectors);
        m = put(vectors, n * sizeof *vectors);
    }
    now->rc = vectors ? now->rc : HD_E_NOMEM;
    free(vectors);
    return m;
}

static void attention(const struct hd_attention_args *a)
{
    enum { MOST = 64 };
    size_t n = a->n_rep * a->head_dim, blocks = (a->n_pos + a->rows - 2) / HD_ATTN_BLOCK + 1;
    size_t block = HD_ATTN_BLOCK * (2 * a->head_dim * (a->kv_type == HD_KV_F16 ? 2 : 4) + 4);
    struct hd_cl_place places[MOST] = {{0}};
    uint32_t list[MOST];
    uint8_t *kv = blocks_of(a, blocks, block);
    float *q = malloc(a->rows * n * sizeof *q);
    if (!kv || !q || a->rows > MOST || blocks > MOST) {
        now->rc = HD_E_NOMEM;
        free(kv);
        free(q);
        return;
    }
    for (size_t r = 0; r < a->rows; r++) {
        places[r] = (struct hd_cl_place){
            .position = (uint32_t)(a->n_pos + r - 1), .set = NO_ANGLES, .scale = a->scale};
        memcpy(q + r * n, a->q + r * a->q_stride, n * sizeof *q);
    }
    for (uint32_t b = 0; b < blocks; b++)
        list[b] = b;
    uint32_t places_at, list_at;
    memcpy(hd_cl_in_add(&now->o, a->rows * sizeof *places, &places_at), places,
           a->rows * sizeof *places);
    memcpy(hd_cl_in_add(&now->o, blocks * sizeof *list, &list_at), list, blocks * sizeof *list);
    note(hd_cl_in_send(&now->o));
    cl_mem y = put(q, a->rows * n * sizeof *q), slabs[HD_CL_SLABS] = {put(kv, blocks * block)};
    struct hd_cl_launch l = launch(&now->o.programs.attention);
    hd_cl_put_slabs(&l, slabs);
    hd_cl_put_buffer(&l, now->o.in_at);
    hd_cl_put_u32(&l, places_at);
    hd_cl_put_u32(&l, list_at);
    put_finish(&l, y, a->sinks ? sinks_of(a) : y, y,
               (struct finish){.n_rep = (uint32_t)a->n_rep,
                               .head_dim = (uint32_t)a->head_dim,
                               .rows = (uint32_t)a->rows,
                               .has = a->sinks ? HAS_SINKS : 0,
                               .f16 = a->kv_type == HD_KV_F16,
                               .block = (uint32_t)block});
    hd_cl_put_buffer(&l, y);
    hd_cl_put_buffer(&l, y);
    hd_cl_put_u32(&l, a->n_rep);
    hd_cl_put_f32(&l, a->cap);
    hd_cl_put_f32(&l, a->cap > 0 ? 1.0f / a->cap : 0);
    hd_cl_put_u32(&l, a->window);
    hd_cl_put_u32(&l, 1);
    hd_cl_put_u32(&l, 0);
    hd_cl_put_buffer(&l, y);
    hd_cl_put_u32(&l, 0);
    hd_cl_put_local(&l, n * sizeof(float));
    hd_cl_put_local(&l, n * sizeof(float));
    hd_cl_put_local(&l, n * sizeof(float));
    hd_cl_put_local(&l, a->n_rep * HD_ATTN_BLOCK * sizeof(float));
    hd_cl_put_local(&l, sizeof(float));
    hd_cl_put_u32(&l, 0);
    hd_cl_put_local(&l, 16);
    note(hd_cl_go(&l, 128, a->rows, 1, 1));
    get(y, q, a->rows * n * sizeof *q);
    for (size_t r = 0; r < a->rows; r++)
        memcpy(a->out + r * a->out_stride, q + r * n, n * sizeof *q);
    free(kv);
    free(q);
    end();
}

/* ---- The table ----*/

static struct hd_kernels table_of(const struct hd_kernels *of_cpu)
{
    struct hd_kernels k = *of_cpu;
    k.matmul = matmul;
    k.matmul_q8 = matmul_q8;
    k.q8_encode = q8_encode;
    k.q8_prepare = q8_prepare;
    k.q8_quantize = q8_quantize;
    k.sum_encode = sum_encode;
    k.silu_mul = silu_mul;
    k.gelu_mul = gelu_mul;
    k.clamped_mul = clamped_mul;
    k.soft_cap = soft_cap;
    k.rms_norm = rms_norm;
    k.exp = own_exp;
    k.rope = rope;
    k.attention = attention;
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
    now = p;
    return rc;
}

static void finish_proof(struct prover *p)
{
    hd_cl_pinned_free(p->o.cl, &p->o.in);
    hd_cl_release(p->o.cl, p->o.in_at);
    now = NULL;
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
