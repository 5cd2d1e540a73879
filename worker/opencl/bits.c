/* bits.c - what a driver computes, compared with this CPU operation by operation before it is used,
 * so that one which rounds otherwise is refused by the name of what differs. */
#include "worker/opencl/impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N        512 /* values */
#define OUTPUTS  24
#define ROWS     11 /* few, and enough for tensor cores */
#define HEAD_DIM 32
#define N_REP    3
#define BLOCKS   5 /* of K/V: two segments */

struct bits {
    float x[ROWS * N], y[ROWS * N];
    float out[ROWS * N];
    _Alignas(64) uint8_t prepared[ROWS * 1088]; /* hd_q8_prepared_bytes(N) */
    uint8_t kv[2 * BLOCKS][HD_ATTN_BLOCK * HEAD_DIM * 2];
    struct hd_weights w;
};

/* Values of all sizes, some of them subnormal. */
static void draw(float *x, size_t n, uint64_t seed, int smallest, int largest)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint32_t r = (uint32_t)(seed >> 32);
        int e = smallest + (int)(r % (uint32_t)(largest - smallest + 1));
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        x[i] = ldexpf((float)((int32_t)(seed >> 32) >> 8) * 0x1p-23f, e);
    }
}

/* ---- Operations: what each gives for the same inputs, as bytes ----*/

static size_t exp_bits(const struct hd_kernels *k, struct bits *b)
{
    draw(b->x, N, 1, -4, 7);
    for (size_t i = 0; i < N; i++)
        b->y[i] = 1.0f;
    hd_gelu_mul(k, b->x, b->y, b->out, N);
    return N * sizeof(float);
}

static size_t division_bits(const struct hd_kernels *k, struct bits *b)
{
    draw(b->x, 2 * N, 2, -140, 6);
    hd_silu_mul(k, b->x, b->x + N, b->out, N);
    return N * sizeof(float);
}

static size_t norm_bits(const struct hd_kernels *k, struct bits *b)
{
    draw(b->x, 2 * N, 3, -6, 3);
    hd_rms_norm(k, b->x, b->x + N, 1e-5f, b->out, N);
    return N * sizeof(float);
}

static size_t half_bits(const struct hd_kernels *k, struct bits *b)
{
    draw(b->x, N, 4, -28, 16);
    hd_kv_store(k, HD_KV_F16, b->x, b->out, N);
    return N * 2;
}

static size_t quant_bits(const struct hd_kernels *k, struct bits *b)
{
    draw(b->x, N, 5, -30, 15);
    hd_q8_encode(k, b->x, N, b->out);
    return hd_q8_row_bytes(N);
}

static size_t fixed_bits(const struct hd_kernels *k, struct bits *b)
{
    draw(b->x, N, 6, -40, 20);
    memset(b->out, 0, N * sizeof(int64_t));
    hd_fixed_add(k, (int64_t *)(void *)b->out, b->x, 21, N);
    return N * sizeof(int64_t);
}

static size_t product_f32_bits(const struct hd_kernels *k, struct bits *b)
{
    draw(b->x, ROWS * N, 7, -3, 2);
    hd_matmul(k, &(struct hd_matmul_args){&b->w, 0, b->w.groups, b->x, N, b->out, OUTPUTS, ROWS});
    return ROWS * OUTPUTS * sizeof(float);
}

static size_t product_q8(const struct hd_kernels *k, struct bits *b, size_t rows)
{
    size_t stride = hd_q8_prepared_bytes(N);
    draw(b->x, ROWS * N, 8, -3, 2);
    for (size_t r = 0; r < rows; r++)
        hd_q8_quantize(hd_kernels_get(HD_ISA_PORTABLE), b->x + r * N, N, b->prepared + r * stride);
    hd_matmul_q8(k, &(struct hd_matmul_q8_args){&b->w, 0, b->w.groups, b->prepared, stride, b->out,
                                                OUTPUTS, rows});
    return rows * OUTPUTS * sizeof(float);
}

static size_t product_few_bits(const struct hd_kernels *k, struct bits *b)
{
    return product_q8(k, b, 3);
}

static size_t product_many_bits(const struct hd_kernels *k, struct bits *b)
{
    return product_q8(k, b, ROWS);
}

static size_t attention_bits(const struct hd_kernels *k, struct bits *b)
{
    const void *blocks[2 * BLOCKS];
    for (size_t i = 0; i < 2 * BLOCKS; i++) {
        blocks[i] = b->kv[i];
        draw(b->x, N, 20 + i, -3, 1);
        for (size_t at = 0; at < HD_ATTN_BLOCK * HEAD_DIM; at += N)
            hd_kv_store(hd_kernels_get(HD_ISA_PORTABLE), HD_KV_F16, b->x, b->kv[i] + at * 2, N);
    }
    draw(b->x, N_REP * HEAD_DIM, 13, -2, 3);
    hd_attention(k, &(struct hd_attention_args){.q = b->x,
                                                .rows = 1,
                                                .n_rep = N_REP,
                                                .head_dim = HEAD_DIM,
                                                .q_stride = N_REP * HEAD_DIM,
                                                .out_stride = N_REP * HEAD_DIM,
                                                .scale = 0.25f,
                                                .kv_type = HD_KV_F16,
                                                .k_blocks = blocks,
                                                .v_blocks = blocks + BLOCKS,
                                                .n_pos = 300,
                                                .out = b->out});
    return N_REP * HEAD_DIM * sizeof(float);
}

static const struct operation {
    const char *name;
    size_t (*run)(const struct hd_kernels *k, struct bits *b);
} operations[] = {
    {"fused multiply-adds (a product of floats)", product_f32_bits},
    {"exponential function", exp_bits},
    {"division", division_bits},
    {"square root (a norm)", norm_bits},
    {"conversion to 16-bit floats", half_bits},
    {"rounding to 8 bits", quant_bits},
    {"rounding to fixed point", fixed_bits},
    {"product of 8-bit rows", product_few_bits},
    {"product of many 8-bit rows", product_many_bits},
    {"attention", attention_bits},
};

struct comparison {
    struct bits *mine, *theirs;
    const char *differs; /* NULL: nothing */
};

static void compare(void *arg, const struct hd_kernels *k)
{
    struct comparison *c = arg;
    for (size_t i = 0; i < sizeof operations / sizeof *operations && !c->differs; i++) {
        size_t n = operations[i].run(hd_kernels_get(HD_ISA_PORTABLE), c->mine);
        if (operations[i].run(k, c->theirs) != n || memcmp(c->mine->out, c->theirs->out, n) != 0)
            c->differs = operations[i].name;
    }
}

/* Weights of Q4_0 for both. */
static int make_weights(struct bits *b)
{
    enum { ROW = N / 32 * 18 };
    uint8_t bytes[OUTPUTS * ROW];
    struct hd_tensor t = {HD_Q4_0, OUTPUTS, N, ROW, bytes};
    struct hd_slice all = {.n_rows = OUTPUTS, .n_cols = N};
    for (size_t r = 0; r < OUTPUTS; r++) {
        draw(b->x, N, 20 + r, -4, 0);
        hd_quant(HD_Q4_0, b->x, N, bytes + r * ROW);
    }
    return hd_weights_init(&b->w, &t, &all);
}

static int compare_all(struct hd_cl *cl, struct comparison *c, struct hd_error *err)
{
    struct hd_cl_programs programs;
    int rc = hd_cl_programs_init(&programs, cl, err);
    if (rc == 0)
        rc = hd_cl_programs_add(&programs, HD_PACK_ID_q4_0, err);
    if (rc == 0 && hd_cl_with_kernels(cl, &programs, compare, c) < 0)
        rc = hd_fail(err, HD_E_CONFIG, "compute.device: %s fails hydac's kernels; use cpu",
                     cl->info.name);
    hd_cl_programs_deinit(&programs);
    return rc;
}

int hd_cl_check_bits(struct hd_cl *cl, struct hd_error *err)
{
    struct comparison c = {aligned_alloc(64, (sizeof(struct bits) + 63) / 64 * 64),
                           aligned_alloc(64, (sizeof(struct bits) + 63) / 64 * 64), NULL};
    int rc = c.mine && c.theirs ? 0 : hd_fail(err, HD_E_NOMEM, "out of memory");
    if (rc == 0) {
        memset(c.mine, 0, sizeof *c.mine);
        memset(c.theirs, 0, sizeof *c.theirs);
        rc = make_weights(c.mine);
        c.theirs->w = c.mine->w;
    }
    if (rc == 0)
        rc = compare_all(cl, &c, err);
    if (rc == 0 && c.differs)
        rc =
            hd_fail(err, HD_E_CONFIG,
                    "compute.device: the %s of %s (driver %s) differs from this CPU's in its bits, "
                    "so its answers would too; use cpu, or another driver",
                    c.differs, cl->info.name, cl->info.driver);
    if (c.mine)
        hd_weights_deinit(&c.mine->w);
    free(c.mine);
    free(c.theirs);
    return rc;
}
