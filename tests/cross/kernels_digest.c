/* kernels_digest - the bits that every kernel makes of seeded inputs, in every variant of this
 * host.
 *
 * A line each: VARIANT, a tab, what was computed, a tab, the digest (FNV-1a, 64 bits). Lines of the
 * same name must have the same digest on every host: check.py compares. libc alone. */
#include "common/math/q8.h"
#include "common/math/self_test.h"
#include "tests/unit/math/random_input.h"

#include <stdio.h>

#define ROWS_MAX 70

struct digest {
    const struct hd_kernels *kernels;
    const char *variant;
};

static const size_t row_counts[] = {1, 2, 3, 4, 5, 13, ROWS_MAX};
#define N_ROW_COUNTS (sizeof row_counts / sizeof row_counts[0])

static void line(const struct digest *d, const char *name, const void *bytes, size_t n)
{
    const uint8_t *b = bytes;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ b[i]) * 0x100000001b3u;
    printf("%s\t%s\t%016llx\n", d->variant, name, (unsigned long long)h);
}

static void *filled(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!p)
        abort();
    memset(p, 0xff, (bytes + 63) / 64 * 64);
    return p;
}

/* ---- Products ----*/

struct product {
    struct hd_weights w;
    size_t outputs, inputs, rows;
    float *x, *y;      /* [rows][inputs], [rows][outputs] */
    uint8_t *prepared; /* [rows] */
};

static void float_product(const struct digest *d, const struct product *p)
{
    char name[64];
    snprintf(name, sizeof name, "matmul %s %zu", hd_dtype_name((int)p->w.type), p->rows);
    memset(p->y, 0xff, p->rows * p->outputs * sizeof *p->y);
    hd_matmul(d->kernels, &(struct hd_matmul_args){&p->w, 0, p->w.groups, p->x, p->inputs, p->y,
                                                   p->outputs, p->rows});
    line(d, name, p->y, p->rows * p->outputs * sizeof *p->y);
}

static void integer_product(const struct digest *d, const struct product *p)
{
    char name[64];
    size_t stride = hd_q8_prepared_bytes(p->inputs);
    snprintf(name, sizeof name, "matmul_q8 %s %zu", hd_dtype_name((int)p->w.type), p->rows);
    memset(p->y, 0xff, p->rows * p->outputs * sizeof *p->y);
    for (size_t r = 0; r < p->rows; r++)
        hd_q8_quantize(d->kernels, p->x + r * p->inputs, p->inputs, p->prepared + r * stride);
    hd_matmul_q8(d->kernels, &(struct hd_matmul_q8_args){&p->w, 0, p->w.groups, p->prepared, stride,
                                                         p->y, p->outputs, p->rows});
    line(d, name, p->y, p->rows * p->outputs * sizeof *p->y);
}

static void products(const struct digest *d, enum hd_dtype type)
{
    struct product p = {.outputs = 83, .inputs = 768};
    struct hd_tensor t = random_tensor(type, p.outputs, p.inputs, 11);
    struct hd_slice all = {.n_rows = p.outputs, .n_cols = p.inputs};
    if (hd_weights_init(&p.w, &t, &all) < 0)
        abort();
    p.x = random_floats(5, ROWS_MAX * p.inputs, 2.0f);
    p.y = filled(ROWS_MAX * p.outputs * sizeof *p.y);
    p.prepared = filled(ROWS_MAX * hd_q8_prepared_bytes(p.inputs));
    for (size_t i = 0; i < N_ROW_COUNTS; i++) {
        p.rows = row_counts[i];
        float_product(d, &p);
        if (hd_weights_are_quantized(&p.w))
            integer_product(d, &p);
    }
    hd_weights_deinit(&p.w);
    free((void *)t.data);
    free(p.x);
    free(p.y);
    free(p.prepared);
}

/* ---- Rows ----*/

static void q8_rows(const struct digest *d)
{
    enum { N = 1024 };
    static const float sizes[] = {1e-9f, 1e-4f, 1.0f, 1e5f, 1e7f};
    uint8_t *row = filled(hd_q8_row_bytes(N)), *prepared = filled(hd_q8_prepared_bytes(N));
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char name[64];
        float *x = random_floats(i + 1, N, sizes[i]), out[N];
        x[77] = i == 2 ? INFINITY : x[77];
        hd_q8_encode(d->kernels, x, N, row);
        snprintf(name, sizeof name, "q8_encode %g", (double)sizes[i]);
        line(d, name, row, hd_q8_row_bytes(N));
        hd_q8_prepare(d->kernels, row, N, prepared);
        snprintf(name, sizeof name, "q8_prepare %g", (double)sizes[i]);
        line(d, name, prepared, hd_q8_prepared_bytes(N));
        hd_q8_decode(row, N, out);
        snprintf(name, sizeof name, "q8_decode %g", (double)sizes[i]);
        line(d, name, out, sizeof out);
        free(x);
    }
    free(row);
    free(prepared);
}

static void element_wise(const struct digest *d)
{
    enum { N = 1003 };
    float *a = random_floats(1, N, 20.0f), *b = random_floats(2, N, 3.0f), out[N];
    hd_silu_mul(d->kernels, a, b, out, N);
    line(d, "silu_mul", out, sizeof out);
    hd_gelu_mul(d->kernels, a, b, out, N);
    line(d, "gelu_mul", out, sizeof out);
    hd_clamped_mul(d->kernels, a, b, (struct hd_clamp){1.7f, 3}, out, N);
    line(d, "clamped_mul", out, sizeof out);
    memcpy(out, a, sizeof out);
    hd_soft_cap(d->kernels, out, 15.0f, N);
    line(d, "soft_cap", out, sizeof out);
    hd_rms_norm(d->kernels, a, b, 1e-5f, out, N);
    line(d, "rms_norm", out, sizeof out);
    out[0] = hd_sum_squares(d->kernels, a, N);
    out[1] = hd_log_sum_exp(d->kernels, a, N);
    line(d, "sums", out, 2 * sizeof *out);
    for (size_t i = 0; i < N; i++)
        out[i] = hd_exp(d->kernels, a[i] * 6.0f);
    line(d, "exp", out, sizeof out);
    memcpy(out, a, sizeof out);
    hd_rope(d->kernels, out, 128, b);
    line(d, "rope", out, sizeof out);
    uint16_t half[N];
    hd_kv_store(d->kernels, HD_KV_F16, a, half, N);
    line(d, "kv_store", half, sizeof half);
    free(a);
    free(b);
}

static void fixed_point(const struct digest *d)
{
    enum { N = 1003 };
    float *a = random_floats(1, N, 20.0f), out[N];
    int64_t acc[N];
    int32_t narrow[N];
    for (size_t i = 0; i < N; i++)
        acc[i] = (int64_t)i * 1000003 - 500000000;
    int r = hd_fixed_add(d->kernels, acc, a, 24, N);
    line(d, r == 0 ? "fixed_add" : "fixed_add refused", acc, sizeof acc);
    bool fits = hd_fixed_narrow(d->kernels, acc, narrow, N);
    line(d, fits ? "fixed_narrow" : "fixed_narrow refused", narrow, sizeof narrow);
    hd_fixed_sum32(d->kernels, acc, narrow, N);
    line(d, "fixed_sum32", acc, sizeof acc);
    memcpy(out, a, sizeof out);
    hd_fixed_apply(d->kernels, out, acc, 24, N);
    line(d, "fixed_apply", out, sizeof out);
    free(a);
}

static void compact_sums(const struct digest *d)
{
    enum { N = 1024 };
    int64_t acc[N] = {0};
    int32_t sum[N];
    uint64_t seed = 9;
    uint8_t *row = filled(hd_q8_row_bytes(N));
    for (size_t i = 0; i < N; i++)
        sum[i] = (int32_t)random_bits(&seed) >> i / 32; /* each block half as large */
    hd_sum_encode(d->kernels, sum, N, row);
    line(d, "sum_encode", row, hd_q8_row_bytes(N));
    hd_sum_add(d->kernels, acc, row, N);
    hd_sum_add(d->kernels, acc, row, N);
    line(d, hd_sum_is_valid(row, N) ? "sum_add" : "sum_add refused", acc, sizeof acc);
    free(row);
}

static void attention(const struct digest *d, enum hd_kv_type type, size_t head_dim, size_t n_rep)
{
    enum { BLOCKS = 5, ROWS = 9 };
    size_t n = BLOCKS * HD_ATTN_BLOCK * head_dim, size = type == HD_KV_F16 ? 2 : 4;
    float *k = random_floats(1, n, 1.0f), *v = random_floats(2, n, 1.0f);
    float *q = random_floats(3, ROWS * n_rep * head_dim, 6.0f);
    float *out = filled(ROWS * n_rep * head_dim * sizeof *out);
    uint8_t *stored = filled(2 * n * size);
    const void *blocks[2][BLOCKS];
    hd_kv_store(d->kernels, type, k, stored, n);
    hd_kv_store(d->kernels, type, v, stored + n * size, n);
    for (size_t b = 0; b < 2 * BLOCKS; b++)
        blocks[b / BLOCKS][b % BLOCKS] = stored + b * HD_ATTN_BLOCK * head_dim * size;
    for (size_t n_pos = 1; n_pos + ROWS <= BLOCKS * HD_ATTN_BLOCK; n_pos += 19) {
        char name[64];
        snprintf(name, sizeof name, "attention %d %zu %zu %zu", (int)type, head_dim, n_rep, n_pos);
        struct hd_attention_args a = {
            .q = q,
            .rows = ROWS,
            .q_stride = n_rep * head_dim,
            .out_stride = n_rep * head_dim,
            .n_rep = n_rep,
            .head_dim = head_dim,
            .scale = 0.125f,
            .kv_type = type,
            .k_blocks = blocks[0],
            .v_blocks = blocks[1],
            .n_pos = n_pos,
            .out = out,
        };
        hd_attention(d->kernels, &a);
        line(d, name, out, ROWS * n_rep * head_dim * sizeof *out);
        a.cap = 3.0f;
        a.window = 100;
        hd_attention(d->kernels, &a);
        strncat(name, " window", sizeof name - strlen(name) - 1);
        line(d, name, out, ROWS * n_rep * head_dim * sizeof *out);
    }
    free(k);
    free(v);
    free(q);
    free(out);
    free(stored);
}

static void known_answers(const struct digest *d)
{
    static const uint64_t seeds[] = {0, 1, 2, 77, UINT64_MAX};
    for (size_t i = 0; i < sizeof seeds / sizeof seeds[0]; i++) {
        char name[64];
        struct hd_self_test t;
        if (hd_kernels_self_test(d->kernels, seeds[i], NULL, &t) < 0)
            abort();
        snprintf(name, sizeof name, "self_test %zu", i);
        line(d, name, &t.digest, sizeof t.digest);
    }
}

int main(void)
{
    FOR_EACH_ISA(isa, k)
    {
        struct digest d = {.kernels = k, .variant = hd_isa_name(all_isas[isa])};
        for (size_t t = 0; t < N_TYPES; t++)
            products(&d, all_types[t]);
        q8_rows(&d);
        compact_sums(&d);
        element_wise(&d);
        fixed_point(&d);
        attention(&d, HD_KV_F16, 64, 3);
        attention(&d, HD_KV_F16, 128, 5);
        attention(&d, HD_KV_F32, 80, 2);
        known_answers(&d);
    }
    return 0;
}
