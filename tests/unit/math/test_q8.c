/* Products of 8-bit rows: blocks by their definition, sums to the bit in every variant. */
#include "math_test.h"

#include "common/math/block.h"
#include "common/math/kernels_impl.h"
#include "common/math/q8.h"

/* Bytes of one encoded block by the words of q8.h, one value after another. */
static void encode_by_definition(const float *x, uint8_t *out)
{
    float largest = 0.0f;
    bool finite = true;
    for (size_t i = 0; i < HD_Q8_BLOCK; i++) {
        finite = finite && isfinite(x[i]);
        largest = fmaxf(largest, fabsf(x[i]));
    }
    uint16_t half = hd_f32_to_f16(largest / 127.0f);
    memset(out, 0, HD_Q8_BLOCK_BYTES);
    if (!finite || half >= 0x7c00)
        half = 0x7e00;
    float d = hd_f16_to_f32(half);
    memcpy(out, &half, sizeof half);
    for (size_t i = 0; half != 0 && half != 0x7e00 && i < HD_Q8_BLOCK; i++) {
        float q = nearbyintf(x[i] * (1.0f / d));
        out[2 + i] = (uint8_t)(int8_t)fminf(127.0f, fmaxf(-127.0f, q));
    }
}

/* x: [n]: every variant encodes it as defined, and prepares the same from either side. */
static void check_encoding(const float *x, size_t n)
{
    size_t bytes = hd_q8_row_bytes(n), prepared_bytes = hd_q8_prepared_bytes(n);
    uint8_t *expected = malloc(bytes), *row = malloc(bytes);
    uint8_t *first = aligned_alloc(64, prepared_bytes), *other = aligned_alloc(64, prepared_bytes);
    memset(first, 0, prepared_bytes);
    for (size_t b = 0; b < n / HD_Q8_BLOCK; b++)
        encode_by_definition(x + b * HD_Q8_BLOCK, expected + b * HD_Q8_BLOCK_BYTES);
    hd_q8_prepare(hd_kernels_get(HD_ISA_PORTABLE), expected, n, first);
    FOR_EACH_ISA(isa, k)
    {
        memset(row, 0x55, bytes);
        hd_q8_encode(k, x, n, row);
        cr_assert_arr_eq(row, expected, bytes, "%s", hd_isa_name(all_isas[isa]));
        memset(other, 0, prepared_bytes);
        hd_q8_prepare(k, row, n, other);
        cr_assert_arr_eq(other, first, prepared_bytes, "%s", hd_isa_name(all_isas[isa]));
        memset(other, 0, prepared_bytes);
        hd_q8_quantize(k, x, n, other);
        cr_assert_arr_eq(other, first, prepared_bytes, "%s", hd_isa_name(all_isas[isa]));
    }
    free(expected);
    free(row);
    free(first);
    free(other);
}

Test(q8, every_variant_encodes_as_defined)
{
    for (int exponent = -36; exponent <= 26; exponent++) {
        float *x = random_floats((uint64_t)exponent + 99, 2048, ldexpf(1.0f, exponent));
        check_encoding(x, 2048);
        check_encoding(x, 32);
        free(x);
    }
}

Test(q8, encodes_zeros_middles_and_what_is_not_finite)
{
    static const float odd[] = {NAN,    -NAN,   INFINITY, -INFINITY, 3e38f,
                                8.4e6f, 8.3e6f, 1e-42f,   0.0f};
    float x[64] = {0};
    check_encoding(x, 64);
    for (size_t i = 0; i < 64; i++) /* d = 1: halves go to the even neighbour */
        x[i] = i == 5 || i == 40 ? 127.0f : (float)i - 31.5f;
    check_encoding(x, 64);
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        for (size_t at = 0; at < 32; at += 31) {
            float y[64];
            memcpy(y, x, sizeof y);
            y[at] = odd[i];
            check_encoding(y, 64);
        }
    }
}

Test(q8, decodes_scale_times_quant)
{
    uint8_t row[2 * HD_Q8_BLOCK_BYTES] = {0};
    float out[64];
    uint16_t d = hd_f32_to_f16(0.25f);
    memcpy(row, &d, sizeof d);
    for (size_t i = 0; i < 32; i++)
        row[2 + i] = (uint8_t)(i * 9 - 128);
    row[HD_Q8_BLOCK_BYTES + 1] = 0x7e; /* a NaN */
    hd_q8_decode(row, 64, out);
    cr_assert_eq(out[0], -127 * 0.25f); /* -128 is nobody's */
    for (size_t i = 1; i < 32; i++)
        cr_assert_eq(out[i], (float)(int8_t)(i * 9 - 128) * 0.25f);
    for (size_t i = 32; i < 64; i++)
        cr_assert(isnan(out[i]));
    cr_assert_eq(hd_q8_row_bytes(576), 18 * 34);
    cr_assert_eq(hd_q8_prepared_bytes(576) % 64, 0);
}

/* ---- Products ------------------------------------------------------------------------------*/

static const enum hd_dtype quantized[] = {HD_Q4_0, HD_Q4_1, HD_Q5_0, HD_Q5_1, HD_Q8_0,   HD_Q4_K,
                                          HD_Q5_K, HD_Q6_K, HD_Q2_K, HD_Q3_K, HD_IQ4_XS, HD_IQ2_S};
#define N_QUANTIZED (sizeof quantized / sizeof quantized[0])

/* A product and all that it needs. */
struct product {
    struct hd_tensor t;
    struct hd_weights w;
    uint8_t *wire, *x; /* [rows] Q8 rows, and prepared */
    float *y;          /* [rows][outputs] */
    size_t rows, wire_bytes, x_stride;
};

/* Takes t->data. */
static struct product product_of(struct hd_tensor t, size_t rows)
{
    struct product p = {.t = t, .rows = rows};
    struct hd_slice all = {.n_rows = t.rows, .n_cols = t.cols};
    cr_assert_eq(hd_weights_init(&p.w, &p.t, &all), 0);
    cr_assert(hd_weights_are_quantized(&p.w));
    p.wire_bytes = hd_q8_row_bytes(t.cols);
    p.x_stride = hd_q8_prepared_bytes(t.cols);
    p.wire = malloc(rows * p.wire_bytes + 1);
    p.x = aligned_alloc(64, rows * p.x_stride);
    p.y = random_floats(6, rows * t.rows, 1.0f);
    return p;
}

static void prepare_row(struct product *p, size_t row)
{
    hd_q8_prepare(hd_kernels_get(hd_isa_best()), p->wire + row * p->wire_bytes, p->t.cols,
                  p->x + row * p->x_stride);
}

static struct product product_new(enum hd_dtype type, size_t outputs, size_t inputs, size_t rows)
{
    struct product p = product_of(random_tensor(type, outputs, inputs, 11), rows);
    for (size_t r = 0; r < rows; r++) {
        float *x = random_floats(r + 5, inputs, 2.0f);
        hd_q8_encode(hd_kernels_get(hd_isa_best()), x, inputs, p.wire + r * p.wire_bytes);
        prepare_row(&p, r);
        free(x);
    }
    return p;
}

static void product_free(struct product *p)
{
    hd_weights_deinit(&p->w);
    free((void *)p->t.data);
    free(p->wire);
    free(p->x);
    free(p->y);
}

/* Rows [row, row + rows) and groups [g0, g1) into their place in y. */
static void product_run(const struct hd_kernels *k, struct product *p, const size_t row_range[2],
                        const size_t groups[2])
{
    size_t outputs = p->w.outputs;
    hd_matmul_q8(k, &(struct hd_matmul_q8_args){
                        .w = &p->w,
                        .g0 = groups[0],
                        .g1 = groups[1],
                        .x = p->x + row_range[0] * p->x_stride,
                        .x_stride = p->x_stride,
                        .y = p->y + row_range[0] * outputs + groups[0] * HD_GROUP,
                        .y_stride = outputs,
                        .rows = row_range[1] - row_range[0],
                    });
}

static void product_run_all(const struct hd_kernels *k, struct product *p, size_t rows)
{
    memset(p->y, 0xff, p->rows * p->w.outputs * sizeof *p->y);
    product_run(k, p, (const size_t[]){0, rows}, (const size_t[]){0, p->w.groups});
}

/* What one output of one row should be. */
struct expected {
    float value;  /* by the words of q8.h */
    double exact; /* sum of dequantized weights times decoded activations */
    double bound; /* of the difference */
};

/* Adds span k of a taken-apart block, beside the q of as many inputs. */
static void add_span(struct expected *e, const struct hd_spans *s, size_t k, const int8_t *x,
                     float d, bool has_min)
{
    int32_t dot = 0, sum = 0;
    double size = 0.0;
    for (size_t i = 0; i < s->span; i++) {
        int q = s->q[k * s->span + i], xi = x[i] < -127 ? -127 : x[i];
        dot += q * xi;
        sum += xi;
        size += fabs((double)(q * xi));
    }
    e->value = fmaf(s->scale[k] * d, (float)dot, e->value);
    e->exact += (double)s->scale[k] * (double)d * dot;
    e->bound += fabs((double)s->scale[k] * (double)d) * size;
    if (!has_min)
        return;
    e->value = fmaf(s->min[k], d * (float)sum, e->value);
    e->exact += (double)s->min[k] * (double)d * sum;
    e->bound += fabs((double)s->min[k] * (double)d * sum);
}

static struct expected expected_of(const struct product *p, size_t output, size_t row)
{
    struct expected e = {0};
    enum hd_dtype type = p->t.type;
    size_t block = hd_dtype_block(type), terms = 0;
    const uint8_t *w = p->t.data + output * p->t.row_bytes, *x = p->wire + row * p->wire_bytes;
    for (size_t i = 0; i < p->t.cols; i += block, w += hd_dtype_block_bytes(type)) {
        struct hd_spans s;
        hd_block_spans(type, w, &s);
        for (size_t k = 0; k < s.n / s.span; k++, terms += 2) {
            size_t at = i + k * s.span;
            const uint8_t *b = x + at / HD_Q8_BLOCK * HD_Q8_BLOCK_BYTES;
            float d = hd_f16_to_f32((uint16_t)(b[0] | b[1] << 8));
            add_span(&e, &s, k, (const int8_t *)b + 2 + at % HD_Q8_BLOCK, d,
                     hd_block_has_min(type));
        }
    }
    e.bound *= (double)(terms + 2) * 0x1p-24; /* an addition each; two products */
    return e;
}

/* The values of rows [0, rows), [rows][outputs]; each within its bound. */
static float *expected_rows(const struct product *p)
{
    size_t outputs = p->w.outputs;
    float *y = malloc(p->rows * outputs * sizeof *y);
    for (size_t i = 0; i < p->rows * outputs; i++) {
        struct expected e = expected_of(p, i % outputs, i / outputs);
        cr_assert_leq(fabs((double)e.value - e.exact), e.bound);
        y[i] = e.value;
    }
    return y;
}

Test(matmul_q8, is_as_defined_for_every_type_variant_and_number_of_rows)
{
    enum { ROWS = 40, OUTPUTS = 83, INPUTS = 768 };
    for (size_t t = 0; t < N_QUANTIZED; t++) {
        struct product p = product_new(quantized[t], OUTPUTS, INPUTS, ROWS);
        float *expected = expected_rows(&p);
        FOR_EACH_ISA(isa, k)
        {
            for (size_t rows = 1; rows <= ROWS; rows++) {
                product_run_all(k, &p, rows);
                cr_assert(same_bits(p.y, expected, rows * OUTPUTS), "%s %s %zu rows",
                          hd_dtype_name((int)quantized[t]), hd_isa_name(all_isas[isa]), rows);
                cr_assert(p.rows == rows || isnan(p.y[rows * OUTPUTS])); /* not written */
            }
        }
        free(expected);
        product_free(&p);
    }
}

Test(matmul_q8, a_row_alone_has_the_bits_it_has_among_100)
{
    enum { ROWS = 100, OUTPUTS = 88, INPUTS = 4096 }; /* long enough for groups side by side */
    for (size_t t = 0; t < N_QUANTIZED; t++) {
        struct product p = product_new(quantized[t], OUTPUTS, INPUTS, ROWS);
        float *all = malloc(ROWS * OUTPUTS * sizeof *all);
        FOR_EACH_ISA(isa, k)
        {
            product_run_all(k, &p, ROWS);
            memcpy(all, p.y, ROWS * OUTPUTS * sizeof *all);
            memset(p.y, 0xff, ROWS * OUTPUTS * sizeof *all);
            for (size_t r = 0; r < ROWS; r++)
                product_run(k, &p, (const size_t[]){r, r + 1}, (const size_t[]){0, p.w.groups});
            cr_assert(same_bits(p.y, all, ROWS * OUTPUTS), "%s %s",
                      hd_dtype_name((int)quantized[t]), hd_isa_name(all_isas[isa]));
        }
        free(all);
        product_free(&p);
    }
}

Test(matmul_q8, any_split_of_groups_and_any_blocks_give_the_same_bits)
{
    enum { ROWS = 17 }; /* the last 10 alone are many, too */
    static const size_t inputs[] = {32, 64, 96, 544, 576, 1088};
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        for (size_t t = 0; t < 5; t++) { /* blocks of 32 */
            struct product p = product_new(quantized[t], 16 * 9 + 3, inputs[i], ROWS);
            float *expected = expected_rows(&p);
            FOR_EACH_ISA(isa, k)
            {
                memset(p.y, 0xff, ROWS * p.w.outputs * sizeof *p.y);
                for (size_t g = 0; g < p.w.groups; g += 3) {
                    size_t groups[] = {g, g + 3 < p.w.groups ? g + 3 : p.w.groups};
                    product_run(k, &p, (const size_t[]){0, 1}, groups);
                    product_run(k, &p, (const size_t[]){1, 7}, groups);
                    product_run(k, &p, (const size_t[]){7, ROWS}, groups);
                }
                cr_assert(same_bits(p.y, expected, ROWS * p.w.outputs));
            }
            free(expected);
            product_free(&p);
        }
    }
}

Test(matmul_q8, writes_true_outputs_only_and_zeros_without_inputs)
{
    struct product p = product_new(HD_Q8_0, 5, 64, 6);
    struct hd_slice none = {.n_rows = 5};
    struct hd_weights empty;
    cr_assert_eq(hd_weights_init(&empty, &p.t, &none), 0);
    FOR_EACH_ISA(isa, k)
    {
        float y[6 * 8];
        for (size_t i = 0; i < 48; i++)
            y[i] = -7.0f;
        struct hd_matmul_q8_args a = {&p.w, 0, 1, p.x, p.x_stride, y, 8, 6};
        hd_matmul_q8(k, &a);
        for (size_t i = 0; i < 48; i++)
            cr_assert_eq(i % 8 >= 5, y[i] == -7.0f);
        a.w = &empty;
        hd_matmul_q8(k, &a);
        for (size_t i = 0; i < 48; i++)
            cr_assert_eq(y[i], i % 8 < 5 ? 0.0f : -7.0f);
    }
    hd_weights_deinit(&empty);
    product_free(&p);
}

/* All quants at an end of their range, the activations too: nothing may saturate on the way. */
Test(matmul_q8, ends_of_every_range_are_exact)
{
    static const uint8_t fills[] = {0x00, 0xff, 0x80, 0x7f, 0x81};
    static const int8_t xs[] = {127, -127, -128};
    for (size_t t = 0; t < N_QUANTIZED; t++) {
        size_t block = hd_dtype_block_bytes(quantized[t]);
        for (size_t f = 0; f < sizeof fills; f++) {
            struct hd_tensor tensor = random_tensor(quantized[t], 16, 256, 7);
            size_t scale = scale_place(quantized[t]), min = hd_block_has_min(quantized[t]) ? 2 : 0;
            size_t from = scale == 0 ? 2 + min : 0, end = scale == 0 ? block : scale;
            for (size_t i = 0; i < 16 * tensor.row_bytes; i++)
                if (i % block >= from && i % block < end)
                    ((uint8_t *)tensor.data)[i] = fills[f];
            struct product p = product_of(tensor, 5);
            for (size_t i = 0; i < 5 * p.wire_bytes; i++)
                p.wire[i] = (uint8_t)xs[(i / p.wire_bytes + (i % p.wire_bytes > 99)) % 3];
            for (size_t b = 0; b < 5 * p.wire_bytes; b += HD_Q8_BLOCK_BYTES)
                memcpy(p.wire + b, "\x00\x3c", 2); /* 1 */
            for (size_t r = 0; r < 5; r++)
                prepare_row(&p, r);
            float *expected = expected_rows(&p);
            FOR_EACH_ISA(isa, k)
            {
                product_run_all(k, &p, 5);
                cr_assert(same_bits(p.y, expected, 5 * 16), "%s %s %02x",
                          hd_dtype_name((int)quantized[t]), hd_isa_name(all_isas[isa]), fills[f]);
            }
            free(expected);
            product_free(&p);
        }
    }
}

/* A value that is not finite spoils every output of its row, whatever the weights, and no other. */
Test(matmul_q8, a_row_that_is_not_finite_is_found_out_and_alone)
{
    enum { ROWS = 9, OUTPUTS = 20, INPUTS = 512 };
    static const float bad[] = {NAN, INFINITY, -INFINITY, 1e30f};
    for (size_t t = 0; t < N_QUANTIZED; t++) {
        struct product p = product_new(quantized[t], OUTPUTS, INPUTS, ROWS);
        float *expected = expected_rows(&p);
        FOR_EACH_ISA(isa, k)
        {
            for (size_t b = 0; b < sizeof bad / sizeof bad[0]; b++) {
                size_t row = 2 * b + 1;
                float *x = random_floats(1, INPUTS, 1.0f);
                x[100 * b] = bad[b];
                hd_q8_quantize(k, x, INPUTS, p.x + row * p.x_stride);
                free(x);
            }
            product_run_all(k, &p, ROWS);
            for (size_t r = 0; r < ROWS; r++)
                for (size_t o = 0; o < OUTPUTS; o++)
                    cr_assert(r % 2 ? isnan(p.y[r * OUTPUTS + o])
                                    : p.y[r * OUTPUTS + o] == expected[r * OUTPUTS + o]);
            for (size_t r = 0; r < ROWS; r++)
                prepare_row(&p, r);
        }
        free(expected);
        product_free(&p);
    }
}

Test(matmul_q8, zeros_give_zeros)
{
    for (size_t t = 0; t < N_QUANTIZED; t++) {
        struct product p = product_of(random_tensor(quantized[t], 33, 256, 3), 3);
        memset(p.wire, 0, 3 * p.wire_bytes);
        for (size_t r = 0; r < 3; r++)
            prepare_row(&p, r);
        FOR_EACH_ISA(isa, k)
        {
            product_run_all(k, &p, 3);
            for (size_t i = 0; i < 3 * 33; i++)
                cr_assert_eq(p.y[i], 0.0f);
        }
        product_free(&p);
    }
}

Test(matmul_q8, knows_what_it_takes)
{
    for (size_t t = 0; t < N_TYPES; t++) {
        struct hd_weights w = {.type = all_types[t]};
        cr_assert_eq(hd_weights_are_quantized(&w), hd_dtype_is_quantized(all_types[t]));
    }
}

#ifdef __x86_64__
/* The table that hd_kernels_get gives on such a CPU; this one has what it needs, and more. */
Test(matmul_q8, cpus_with_avx512_but_without_vnni_agree)
{
    enum { ROWS = 11, OUTPUTS = 50, INPUTS = 512 };
    if (!hd_isa_supported(HD_ISA_AVX512))
        cr_skip_test("this CPU has no AVX-512");
    for (size_t t = 0; t < N_QUANTIZED; t++) {
        struct product p = product_new(quantized[t], OUTPUTS, INPUTS, ROWS);
        float *expected = expected_rows(&p);
        product_run_all(&hd_kernels_avx512_no_vnni, &p, ROWS);
        cr_assert(same_bits(p.y, expected, ROWS * OUTPUTS));
        free(expected);
        product_free(&p);
    }
}
#endif
