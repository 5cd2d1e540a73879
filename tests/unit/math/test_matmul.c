/* Products of floats: one chain of fused multiply-adds an output, to the bit, for any number of
 * rows. */
#include "math_test.h"

#include <cblas.h>

/* A product and all that it needs; y: [rows][outputs]. */
struct product {
    struct hd_tensor t;
    struct hd_weights w;
    float *x, *y; /* x: [rows][inputs] */
    size_t rows;
};

static struct product product_new(enum hd_dtype type, size_t outputs, size_t inputs, size_t rows)
{
    struct product p = {.t = random_tensor(type, outputs, inputs, 11), .rows = rows};
    struct hd_slice all = {.n_rows = outputs, .n_cols = inputs};
    cr_assert_eq(hd_weights_init(&p.w, &p.t, &all), 0);
    p.x = random_floats(5, rows * inputs, 2.0f);
    p.y = random_floats(6, rows * outputs, 1.0f);
    return p;
}

static void product_free(struct product *p)
{
    hd_weights_deinit(&p->w);
    free((void *)p->t.data);
    free(p->x);
    free(p->y);
}

/* Rows [row, row + rows) and groups [g0, g1) into their place in y. */
static void product_run(const struct hd_kernels *k, struct product *p, size_t row, size_t rows,
                        size_t g0, size_t g1)
{
    size_t outputs = p->w.outputs;
    struct hd_matmul_args a = {
        .w = &p->w,
        .g0 = g0,
        .g1 = g1,
        .x = p->x + row * p->w.inputs,
        .x_stride = p->w.inputs,
        .y = p->y + row * outputs + g0 * HD_GROUP,
        .y_stride = outputs,
        .rows = rows,
    };
    hd_matmul(k, &a);
}

/* The definition: one chain of fused multiply-adds over what hd_dequant gives. */
static float *chain(const struct product *p)
{
    size_t inputs = p->w.inputs, outputs = p->w.outputs;
    float *y = calloc(p->rows * outputs + 1, sizeof *y), *w = malloc(inputs * sizeof *w);
    cr_assert(y && w);
    for (size_t o = 0; o < outputs; o++) {
        hd_dequant(&p->t, o, 0, inputs, w);
        for (size_t r = 0; r < p->rows; r++)
            for (size_t i = 0; i < inputs; i++)
                y[r * outputs + o] = fmaf(w[i], p->x[r * inputs + i], y[r * outputs + o]);
    }
    free(w);
    return y;
}

Test(matmul, is_one_chain_for_every_type_isa_and_number_of_rows)
{
    static const size_t row_counts[] = {1, 2, 3, 4, 5, 13, 97};
    for (size_t t = 0; t < N_TYPES; t++) {
        struct product p = product_new(all_types[t], 150, 512, 97);
        float *expected = chain(&p);
        FOR_EACH_ISA(isa, k)
        {
            for (size_t c = 0; c < sizeof row_counts / sizeof row_counts[0]; c++) {
                size_t rows = row_counts[c];
                memset(p.y, 0xff, rows * 150 * sizeof *p.y);
                product_run(k, &p, 0, rows, 0, p.w.groups);
                cr_assert(same_bits(p.y, expected, rows * 150), "%s %s %zu rows",
                          hd_dtype_name((int)all_types[t]), hd_isa_name(all_isas[isa]), rows);
            }
        }
        free(expected);
        product_free(&p);
    }
}

Test(matmul, a_row_alone_has_the_bits_it_has_among_512)
{
    enum { ROWS = 512, OUTPUTS = 72, INPUTS = 256 };
    for (size_t t = 0; t < N_TYPES; t++) {
        struct product p = product_new(all_types[t], OUTPUTS, INPUTS, ROWS);
        FOR_EACH_ISA(isa, k)
        {
            product_run(k, &p, 0, ROWS, 0, p.w.groups);
            float *all = malloc(ROWS * OUTPUTS * sizeof *all);
            memcpy(all, p.y, ROWS * OUTPUTS * sizeof *all);
            memset(p.y, 0xff, ROWS * OUTPUTS * sizeof *all);
            for (size_t r = 0; r < ROWS; r++)
                product_run(k, &p, r, 1, 0, p.w.groups);
            cr_assert(same_bits(p.y, all, ROWS * OUTPUTS), "%s %s",
                      hd_dtype_name((int)all_types[t]), hd_isa_name(all_isas[isa]));
            free(all);
        }
        product_free(&p);
    }
}

Test(matmul, any_split_of_the_groups_gives_the_same_bits)
{
    for (size_t t = 0; t < N_TYPES; t++) {
        struct product p = product_new(all_types[t], 16 * 19 + 3, 256, 7);
        float *expected = chain(&p);
        FOR_EACH_ISA(isa, k)
        {
            for (size_t step = 1; step <= p.w.groups; step += 3) {
                memset(p.y, 0xff, 7 * p.w.outputs * sizeof *p.y);
                for (size_t g = 0; g < p.w.groups; g += step) {
                    size_t end = g + step < p.w.groups ? g + step : p.w.groups;
                    product_run(k, &p, 0, 3, g, end);
                    product_run(k, &p, 3, 4, g, end);
                }
                cr_assert(same_bits(p.y, expected, 7 * p.w.outputs));
            }
        }
        free(expected);
        product_free(&p);
    }
}

Test(matmul, floats_may_have_any_number_of_inputs)
{
    static const size_t counts[] = {1, 7, 127, 128, 129, 300};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        struct product p = product_new(HD_BF16, 17, counts[c], 9);
        float *expected = chain(&p);
        FOR_EACH_ISA(isa, k)
        {
            product_run(k, &p, 0, 9, 0, p.w.groups);
            cr_assert(same_bits(p.y, expected, 9 * 17));
            product_run(k, &p, 0, 1, 0, p.w.groups);
            cr_assert(same_bits(p.y, expected, 17));
        }
        free(expected);
        product_free(&p);
    }
}

Test(matmul, writes_true_outputs_only)
{
    struct product p = product_new(HD_Q8_0, 5, 64, 6);
    FOR_EACH_ISA(isa, k)
    {
        float y[6 * 8];
        for (size_t i = 0; i < 48; i++)
            y[i] = -7.0f;
        struct hd_matmul_args a = {&p.w, 0, 1, p.x, 64, y, 8, 6};
        hd_matmul(k, &a);
        for (size_t i = 0; i < 48; i++)
            cr_assert(i % 8 < 5 || y[i] == -7.0f);
    }
    product_free(&p);
}

Test(matmul, agrees_with_openblas_and_with_double)
{
    enum { ROWS = 20, OUTPUTS = 64, INPUTS = 512 };
    for (size_t t = 0; t < N_TYPES; t++) {
        struct product p = product_new(all_types[t], OUTPUTS, INPUTS, ROWS);
        float *w = malloc(OUTPUTS * INPUTS * sizeof *w), *y = malloc(ROWS * OUTPUTS * sizeof *y);
        for (size_t o = 0; o < OUTPUTS; o++)
            hd_dequant(&p.t, o, 0, INPUTS, w + o * INPUTS);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, ROWS, OUTPUTS, INPUTS, 1.0f, p.x,
                    INPUTS, w, INPUTS, 0.0f, y, OUTPUTS);
        product_run(hd_kernels_get(hd_isa_best()), &p, 0, ROWS, 0, p.w.groups);
        for (size_t i = 0; i < ROWS * OUTPUTS; i++) {
            double exact = 0.0, size = 0.0;
            for (size_t j = 0; j < INPUTS; j++) {
                double term = (double)w[i % OUTPUTS * INPUTS + j] * p.x[i / OUTPUTS * INPUTS + j];
                exact += term;
                size += fabs(term);
            }
            cr_assert_lt(fabs(p.y[i] - exact), 1e-5 * size);
            cr_assert_lt(fabs((double)p.y[i] - (double)y[i]), 1e-5 * size);
        }
        free(w);
        free(y);
        product_free(&p);
    }
}

/* Rows by a map and a slice of columns: outputs are those of the full chain over the slice. */
Test(weights, take_a_slice_of_columns_and_rows_by_a_map)
{
    static const uint32_t map[] = {9, 3, 3, 0, 19, 7};
    for (size_t t = 0; t < N_TYPES; t++) {
        struct hd_tensor tensor = random_tensor(all_types[t], 20, 768, 3);
        struct hd_slice s = {.n_rows = 6, .col0 = 256, .n_cols = 256, .row_map = map};
        struct hd_weights w;
        cr_assert_eq(hd_weights_init(&w, &tensor, &s), 0);
        cr_assert_eq(w.groups * w.group_bytes, hd_weights_bytes(&tensor, &s));
        float *x = random_floats(8, 256, 1.0f), row[256], y[6];
        FOR_EACH_ISA(isa, k)
        {
            struct hd_matmul_args a = {&w, 0, 1, x, 256, y, 6, 1};
            hd_matmul(k, &a);
            for (size_t o = 0; o < 6; o++) {
                float expected = 0.0f;
                hd_dequant(&tensor, map[o], 256, 256, row);
                for (size_t i = 0; i < 256; i++)
                    expected = fmaf(row[i], x[i], expected);
                cr_assert(same_bits(&expected, &y[o], 1));
            }
        }
        free(x);
        free((void *)tensor.data);
        hd_weights_deinit(&w);
    }
}

Test(weights, refuse_what_is_outside_the_tensor)
{
    static const uint32_t outside[] = {0, 4};
    struct hd_tensor t = random_tensor(HD_Q8_0, 4, 96, 1);
    const struct hd_slice slices[] = {
        {.row0 = 3, .n_rows = 2, .n_cols = 96},          {.row0 = 5, .n_rows = 0, .n_cols = 96},
        {.n_rows = SIZE_MAX, .row0 = 1, .n_cols = 96},   {.n_rows = 4, .col0 = 64, .n_cols = 64},
        {.n_rows = 4, .col0 = 16, .n_cols = 64},         {.n_rows = 4, .col0 = 0, .n_cols = 40},
        {.n_rows = 2, .n_cols = 96, .row_map = outside},
    };
    for (size_t i = 0; i < sizeof slices / sizeof slices[0]; i++) {
        struct hd_weights w;
        cr_assert_eq(hd_weights_init(&w, &t, &slices[i]), HD_E_RANGE, "slice %zu", i);
        cr_assert_null(w.data);
        cr_assert_eq(hd_weights_bytes(&t, &slices[i]), 0);
    }
    struct hd_weights w;
    struct hd_tensor odd = t;
    odd.type = (enum hd_dtype)5;
    cr_assert_eq(hd_weights_init(&w, &odd, &slices[0]), HD_E_UNSUPPORTED);
    free((void *)t.data);
}

Test(weights, of_nothing_are_nothing)
{
    struct hd_tensor t = random_tensor(HD_Q8_0, 4, 32, 1);
    struct hd_slice none = {.n_cols = 32};
    struct hd_weights w;
    cr_assert_eq(hd_weights_init(&w, &t, &none), 0);
    cr_assert_eq(w.groups, 0);
    hd_weights_deinit(&w);
    free((void *)t.data);
}
