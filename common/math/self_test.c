/* self_test.c - see self_test.h. What is computed is fixed: another order, size or function gives
 * another digest, which is another version of the protocol. */
#define XXH_INLINE_ALL /* no library: tests/cross builds this for another machine */
#include "common/math/self_test.h"

#include "common/math/activate.h"
#include "common/math/layer_norm.h"
#include "common/math/q8.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define INPUTS         512 /* two panels of AMX' tiles, and whole blocks of the K types */
#define OUTPUTS        40  /* two groups side by side, and one that is not full */
#define MOST_ROWS      22  /* a whole AMX tile, a padded one; VNNI tiles of 5 and 6 rows */
#define PREPARED_BYTES ((INPUTS / HD_Q8_BLOCK + 1) * 64) /* of a row: hd_q8_prepared_bytes */
#define BLOCKS         5                                 /* of K/V */
#define HEAD_DIM       64
#define N_REP          3
#define POSITIONS      300 /* two segments; the last block is not full */

/* Of each form in which weights are packed at least one. */
static const enum hd_dtype types[] = {HD_F32,  HD_F16,  HD_BF16,  HD_Q4_0,   HD_Q4_1,
                                      HD_Q5_0, HD_Q5_1, HD_Q8_0,  HD_Q2_K,   HD_Q4_K,
                                      HD_Q5_K, HD_Q6_K, HD_NVFP4, HD_IQ4_XS, HD_F8_E4M3};
static const size_t row_counts[] = {1, 3, MOST_ROWS};
#define COUNT(list) (sizeof(list) / sizeof(list)[0])

/* What one thread works on. */
struct bench {
    const struct hd_kernels *k;
    uint64_t seed; /* goes on with each number that is drawn */
    XXH3_state_t hash;
    _Alignas(64) uint8_t weights[OUTPUTS * INPUTS * sizeof(float)];
    _Alignas(64) float x[MOST_ROWS * INPUTS];
    _Alignas(64) float y[MOST_ROWS * INPUTS];
    _Alignas(64) uint8_t prepared[MOST_ROWS * PREPARED_BYTES];
    _Alignas(64) uint8_t kv[2 * BLOCKS * HD_ATTN_BLOCK * HEAD_DIM * sizeof(float)];
    int64_t sum[INPUTS];
    int32_t narrow[INPUTS];
};

static void add(struct bench *b, const void *bytes, size_t n)
{
    XXH3_64bits_update(&b->hash, bytes, n);
}

/* ---- Inputs ----*/

static uint32_t draw(struct bench *b)
{
    b->seed = b->seed * 6364136223846793005u + 1442695040888963407u; /* Knuth, MMIX */
    return (uint32_t)(b->seed >> 32);
}

/* In [-size, size); the product is exact for a power of two. */
static float draw_float(struct bench *b, float size)
{
    return (float)((int32_t)draw(b) >> 8) * 0x1p-23f * size;
}

static void draw_floats(struct bench *b, float *x, size_t n, float size)
{
    for (size_t i = 0; i < n; i++)
        x[i] = draw_float(b, size);
}

/* A block of any bits gets scales of a sensible size where its type has them. */
static void draw_scales(struct bench *b, enum hd_dtype type, uint8_t *block)
{
    size_t bytes = hd_dtype_block_bytes(type);
    size_t at = type == HD_Q6_K ? bytes - 2 : type == HD_Q2_K ? bytes - 4 : 0;
    bool has_min =
        type == HD_Q4_1 || type == HD_Q5_1 || type == HD_Q2_K || type == HD_Q4_K || type == HD_Q5_K;
    float scale = draw_float(b, 0x1p-4f), minimum = draw_float(b, 0x1p-3f);
    uint16_t d = hd_f32_to_f16(scale), m = hd_f32_to_f16(minimum);
    if (type == HD_F8_E4M3) {
        memcpy(block, &scale, sizeof scale);
        for (size_t i = sizeof scale; i < bytes; i++)
            block[i] ^= (block[i] & 0x7F) == 0x7F; /* no NaN */
        return;
    }
    if (type != HD_NVFP4) /* whose scales are bytes, any of them */
        memcpy(block + at, &d, sizeof d);
    if (has_min)
        memcpy(block + at + sizeof d, &m, sizeof m);
}

static void draw_quants(struct bench *b, enum hd_dtype type, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += sizeof(uint32_t)) {
        uint32_t bits = draw(b);
        memcpy(b->weights + i, &bits, sizeof bits);
    }
    for (size_t at = 0; at < bytes; at += hd_dtype_block_bytes(type))
        draw_scales(b, type, b->weights + at);
}

/* [OUTPUTS][INPUTS] of a type, packed. 0 or HD_E_NOMEM. */
static int draw_weights(struct bench *b, enum hd_dtype type, struct hd_weights *w)
{
    size_t row_bytes = hd_dtype_row_bytes(type, INPUTS);
    struct hd_tensor t = {type, OUTPUTS, INPUTS, row_bytes, b->weights};
    struct hd_slice all = {.n_rows = OUTPUTS, .n_cols = INPUTS};
    if (hd_dtype_block(type) > 1) {
        draw_quants(b, type, OUTPUTS * row_bytes);
    } else {
        for (size_t r = 0; r < OUTPUTS; r++) {
            draw_floats(b, b->y, INPUTS, 1.0f);
            hd_quant(type, b->y, INPUTS, b->weights + r * row_bytes); /* these three it knows */
        }
    }
    return hd_weights_init(w, &t, &all);
}

/* ---- Products ----*/

static void multiply(struct bench *b, const struct hd_weights *w, size_t rows)
{
    memset(b->y, 0, rows * OUTPUTS * sizeof *b->y);
    hd_matmul(b->k, &(struct hd_matmul_args){w, 0, w->groups, b->x, INPUTS, b->y, OUTPUTS, rows});
    add(b, b->y, rows * OUTPUTS * sizeof *b->y);
    if (!hd_weights_are_quantized(w))
        return;
    memset(b->y, 0, rows * OUTPUTS * sizeof *b->y);
    hd_matmul_q8(b->k,
                 &(struct hd_matmul_q8_args){w, 0, w->groups, b->prepared,
                                             hd_q8_prepared_bytes(INPUTS), b->y, OUTPUTS, rows});
    add(b, b->y, rows * OUTPUTS * sizeof *b->y);
}

static int test_products(struct bench *b)
{
    struct hd_weights w;
    int rc = 0;
    draw_floats(b, b->x, MOST_ROWS * INPUTS, 2.0f);
    for (size_t r = 0; r < MOST_ROWS; r++)
        hd_q8_quantize(b->k, b->x + r * INPUTS, INPUTS,
                       b->prepared + r * hd_q8_prepared_bytes(INPUTS));
    for (size_t t = 0; t < COUNT(types) && rc == 0; t++) {
        rc = draw_weights(b, types[t], &w);
        for (size_t i = 0; i < COUNT(row_counts) && rc == 0; i++)
            multiply(b, &w, row_counts[i]);
        hd_weights_deinit(&w);
    }
    return rc;
}

/* ---- Rows ----*/

/* Q8 rows of values of many sizes, as they travel and as they stand. */
static void test_q8_rows(struct bench *b)
{
    uint8_t *row = b->prepared + hd_q8_prepared_bytes(INPUTS);
    for (float size = 0x1p-24f; size < 0x1p+20f; size *= 0x1p+11f) {
        draw_floats(b, b->x, INPUTS, size);
        hd_q8_encode(b->k, b->x, INPUTS, row);
        add(b, row, hd_q8_row_bytes(INPUTS));
        hd_q8_prepare(b->k, row, INPUTS, b->prepared);
        add(b, b->prepared, hd_q8_prepared_bytes(INPUTS));
        hd_q8_decode(row, INPUTS, b->y);
        add(b, b->y, INPUTS * sizeof *b->y);
    }
}

static void test_rowwise(struct bench *b)
{
    float *gate = b->x, *up = b->x + INPUTS, sums[3];
    size_t n = INPUTS - 5; /* no whole vectors */
    draw_floats(b, gate, n, 32.0f);
    draw_floats(b, up, n, 4.0f);
    hd_silu_mul(b->k, gate, up, b->y, n);
    add(b, b->y, n * sizeof *b->y);
    hd_gelu_mul(b->k, gate, up, b->y, n);
    add(b, b->y, n * sizeof *b->y);
    hd_clamped_mul(b->k, gate, up, (struct hd_clamp){1.5f, 3}, b->y, n);
    add(b, b->y, n * sizeof *b->y);
    hd_gelu_erf_mul(gate, up, b->y, n);
    add(b, b->y, n * sizeof *b->y);
    hd_relu2_mul(gate, up, b->y, n);
    add(b, b->y, n * sizeof *b->y);
    hd_layer_norm(gate, up, up + 5, 0x1p-17f, b->y, n);
    add(b, b->y, n * sizeof *b->y);
    memcpy(b->y, gate, n * sizeof *b->y);
    hd_soft_cap(b->k, b->y, 20.0f, n);
    add(b, b->y, n * sizeof *b->y);
    hd_rms_norm(b->k, gate, up, 0x1p-17f, b->y, n);
    add(b, b->y, n * sizeof *b->y);
    sums[0] = hd_sum_squares(b->k, up, n);
    sums[1] = hd_log_sum_exp(b->k, gate, n);
    sums[2] = hd_exp(b->k, gate[0]);
    add(b, sums, sizeof sums);
}

static void test_sums(struct bench *b)
{
    uint8_t *row = b->prepared;
    memset(b->sum, 0, sizeof b->sum);
    memset(b->narrow, 0, sizeof b->narrow);
    for (int unit = 0; unit < 4; unit++) {
        draw_floats(b, b->x, INPUTS, 8.0f);
        hd_fixed_add(b->k, b->sum, b->x, 24 - unit, INPUTS);
    }
    add(b, b->sum, sizeof b->sum);
    bool fits = hd_fixed_narrow(b->k, b->sum, b->narrow, INPUTS); /* below 2^28 */
    add(b, &fits, sizeof fits);
    add(b, b->narrow, sizeof b->narrow);
    hd_sum_encode(b->k, b->narrow, INPUTS, row);
    add(b, row, hd_q8_row_bytes(INPUTS));
    hd_sum_add(b->k, b->sum, row, INPUTS);
    hd_fixed_sum32(b->k, b->sum, b->narrow, INPUTS);
    add(b, b->sum, sizeof b->sum);
    hd_fixed_apply(b->k, b->x, b->sum, 20, INPUTS);
    add(b, b->x, INPUTS * sizeof *b->x);
}

/* ---- Attention ----*/

static void test_attention(struct bench *b, enum hd_kv_type type)
{
    size_t size = type == HD_KV_F16 ? sizeof(uint16_t) : sizeof(float);
    size_t block = HD_ATTN_BLOCK * HEAD_DIM * size, rows = 2;
    static const float sinks[N_REP] = {-2, 0.5f, 3};
    const void *blocks[2 * BLOCKS];
    memset(b->kv, 0, sizeof b->kv);
    for (size_t i = 0; i < 2 * BLOCKS; i++)
        blocks[i] = b->kv + i * block;
    for (size_t i = 0; i < 2 * POSITIONS; i++) { /* K and V of a position, by turns */
        float *row = b->x, *angles = b->x + HEAD_DIM;
        draw_floats(b, row, 2 * HEAD_DIM, 1.0f);
        if (i % 2 == 0)
            hd_rope(b->k, row, HEAD_DIM, angles);
        size_t position = i / 2 % HD_ATTN_BLOCK, at = i % 2 * BLOCKS + i / 2 / HD_ATTN_BLOCK;
        hd_kv_store(b->k, type, row, b->kv + at * block + position * HEAD_DIM * size, HEAD_DIM);
    }
    add(b, b->kv, 2 * BLOCKS * block);
    draw_floats(b, b->x, rows * N_REP * HEAD_DIM, 4.0f);
    struct hd_attention_args a = {.q = b->x,
                                  .rows = rows,
                                  .n_rep = N_REP,
                                  .head_dim = HEAD_DIM,
                                  .q_stride = N_REP * HEAD_DIM,
                                  .out_stride = N_REP * HEAD_DIM,
                                  .scale = 0.125f,
                                  .kv_type = type,
                                  .k_blocks = blocks,
                                  .v_blocks = blocks + BLOCKS,
                                  .n_pos = POSITIONS + 1 - rows,
                                  .out = b->y};
    hd_attention(b->k, &a);
    add(b, b->y, rows * N_REP * HEAD_DIM * sizeof *b->y);
    a.cap = 2.0f;
    a.window = 70;
    a.sinks = sinks;
    hd_attention(b->k, &a);
    add(b, b->y, rows * N_REP * HEAD_DIM * sizeof *b->y);
}

/* ---- The whole of it ----*/

/* 0 or HD_E_NOMEM. */
static int run_all(const struct hd_kernels *k, uint64_t seed, uint64_t *digest)
{
    struct bench *b = aligned_alloc(64, (sizeof *b + 63) / 64 * 64);
    if (!b)
        return HD_E_NOMEM;
    memset(b, 0, sizeof *b);
    b->k = k;
    b->seed = seed;
    XXH3_64bits_reset(&b->hash);
    int rc = test_products(b);
    test_q8_rows(b);
    test_rowwise(b);
    test_sums(b);
    test_attention(b, HD_KV_F16);
    test_attention(b, HD_KV_F32);
    *digest = XXH3_64bits_digest(&b->hash);
    free(b);
    return rc;
}

struct answer {
    uint64_t digest;
    int rc, cpu;
};

struct job {
    const struct hd_kernels *k;
    uint64_t seed;
    pthread_barrier_t all_here;
    struct answer *answers; /* [threads] */
};

static struct answer run_once(const struct hd_kernels *k, uint64_t seed)
{
    struct answer a = {.cpu = sched_getcpu()};
    a.rc = run_all(k, seed, &a.digest);
    return a;
}

/* Nobody takes a second index before all have one. */
static void run_thread(void *arg, size_t index, unsigned thread)
{
    struct job *job = arg;
    (void)index;
    pthread_barrier_wait(&job->all_here);
    job->answers[thread] = run_once(job->k, job->seed);
}

static bool is_alone(const struct answer *answers, unsigned n, unsigned thread)
{
    unsigned same = 0;
    for (unsigned i = 0; i < n; i++)
        same += answers[i].digest == answers[thread].digest;
    return same * 2 <= n;
}

static int fold(const struct answer *answers, unsigned n, struct hd_self_test *out)
{
    *out = (struct hd_self_test){.digest = answers[0].digest, .cpu = -1};
    int rc = 0;
    for (unsigned i = 0; i < n; i++) {
        rc = answers[i].rc < 0 ? answers[i].rc : rc;
        out->differs = out->differs || answers[i].digest != answers[0].digest;
    }
    if (out->differs) {
        while (!is_alone(answers, n, out->thread))
            out->thread++; /* those that differ cannot all be most of them */
        out->cpu = answers[out->thread].cpu;
        out->digest = XXH3_64bits(answers, n * sizeof *answers);
    }
    out->digest = out->digest ? out->digest : 1;
    return rc;
}

int hd_kernels_self_test(const struct hd_kernels *k, uint64_t seed, struct hd_team *team,
                         struct hd_self_test *out)
{
    unsigned threads = team ? hd_team_threads(team) : 1;
    struct job job = {.k = k, .seed = seed};
    job.answers = calloc(threads, sizeof *job.answers);
    if (!job.answers)
        return HD_E_NOMEM;
    if (pthread_barrier_init(&job.all_here, NULL, threads) != 0) {
        free(job.answers);
        return HD_E_NOMEM;
    }
    if (threads > 1)
        hd_team_run(team, threads, run_thread, &job);
    else
        job.answers[0] = run_once(k, seed);
    int rc = fold(job.answers, threads, out);
    pthread_barrier_destroy(&job.all_here);
    free(job.answers);
    return rc;
}
