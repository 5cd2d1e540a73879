/* Rows of half-steps: what workers are given, and what they answer, also when it is wrong. */
#include "tests/unit/engine/solo.h"

#include "common/math/q8.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* The row of a token in the half-step in hand, as the options say, when all sums have been zero:
 * its embedding, normalised. */
static void expect_row(const struct solo *f, int32_t token, size_t i)
{
    const struct hd_half_work *w = hd_engine_work(f->engine, 0);
    const struct hd_model *m = f->tiny.model;
    const struct hd_kernels *k = hd_kernels_get(HD_ISA_PORTABLE);
    const struct hd_tensor *norm = w->half == HD_HALF_LOGITS ? &m->output_norm
                                   : w->half == HD_HALF_FFN  ? &m->layers[w->layer].ffn_norm
                                                             : &m->layers[w->layer].attn_norm;
    size_t dim = m->shape.dim;
    float x[256], weight[256];
    uint8_t row[256 / HD_Q8_BLOCK * HD_Q8_BLOCK_BYTES];
    cr_assert_eq(dim, 256);
    hd_dequant(&m->embedding, (size_t)token, 0, dim, x);
    hd_dequant(norm, 0, 0, dim, weight);
    hd_rms_norm(k, x, weight, m->shape.norm_eps, x, dim);
    hd_q8_encode(k, x, dim, row);
    bool q8 = w->row_bytes == sizeof row;
    cr_assert_arr_eq(w->x + i * w->row_bytes, q8 ? (const void *)row : (const void *)x,
                     q8 ? sizeof row : sizeof x, "half %d, layer %u, row %zu", (int)w->half,
                     w->layer, i);
}

/* Every half of every step: the prompt of three in one step, then one row a step; logits are wanted
 * of each step's last row. */
static void expect_rows(enum hd_activations activations, size_t row_bytes)
{
    struct solo f;
    struct solo_client c;
    int32_t prompt[] = {30, 37, 44};
    solo_open_with(&f, 8, activations, 0);
    solo_ask(&f, &c, 30, 3, 3);
    hd_engine_kick(f.engine);
    for (; f.wanted; solo_answer_half(&f)) {
        const struct hd_half_work *w = hd_engine_work(f.engine, 0);
        cr_assert_eq(w->row_bytes, row_bytes);
        bool first = c.n == 0, last_row = w->half == HD_HALF_LOGITS;
        cr_assert_eq(w->rows, first && !last_row ? 3 : 1);
        for (size_t i = 0; i < w->rows; i++)
            expect_row(&f, first ? prompt[last_row ? 2 : i] : c.tokens[c.n - 1], i);
    }
    cr_assert(c.ended && c.n == 3);
    cr_assert_eq(f.halves, 3 * (2 * f.tiny.model->shape.n_layers + 1));
    solo_close(&f);
}

Test(engine, rows_are_the_normalised_residual_in_every_half)
{
    expect_rows(HD_ACTIVATIONS_F32, 256 * sizeof(float));
}

Test(engine, rows_are_q8_rows_of_it_when_the_options_say_so)
{
    expect_rows(HD_ACTIVATIONS_Q8, hd_q8_row_bytes(256));
}

/* A partial sum of 64 bits and one of 32 are the same numbers. */
Test(engine, the_width_of_a_row_changes_nothing)
{
    struct solo f;
    struct solo_client c;
    uint32_t got[2];
    for (int wide = 0; wide < 2; wide++) {
        struct hd_error err = {0};
        solo_open(&f, 4);
        solo_ask(&f, &c, 30, 1, 2);
        hd_engine_kick(f.engine);
        size_t dim = f.tiny.model->shape.dim;
        int64_t *v64 = calloc(dim, 8);
        int32_t *v32 = calloc(dim, 4);
        uint32_t row[] = {0};
        for (size_t i = 0; i < dim; i++)
            v64[i] = v32[i] = (int32_t)(i * 7919) - 400000;
        struct hd_half_result r = {.payload = wide ? (uint8_t *)v64 : (uint8_t *)v32,
                                   .payload_len = dim * (wide ? 8 : 4),
                                   .wide = row,
                                   .n_wide = (size_t)wide};
        cr_assert_eq(hd_engine_use_result(f.engine, &r, &err), 0, "%s", err.text);
        f.wanted = false;
        hd_engine_half_done(f.engine, 0);
        got[wide] = solo_hash_row(hd_engine_work(f.engine, 0)->x, dim * sizeof(float));
        free(v64);
        free(v32);
        solo_close(&f);
    }
    cr_assert_eq(got[0], got[1]);
}

Test(engine, a_malformed_or_bad_result_harms_nobody_else)
{
    struct solo f;
    struct solo_client a, b;
    struct hd_error err = {0};
    solo_open(&f, 16);
    solo_ask(&f, &a, 30, 3, 20);
    solo_ask(&f, &b, 31, 3, 20);
    hd_engine_kick(f.engine);
    size_t dim = f.tiny.model->shape.dim, rows = hd_engine_work(f.engine, 0)->rows;
    uint8_t *zero = calloc(rows + 1, dim * 8);
    uint32_t twice[] = {1, 1}, beyond[] = {6}, first[] = {0};
    struct hd_half_result r = {.payload = zero, .payload_len = rows * dim * 4 - 1};
    cr_assert_eq(rows, 6);
    cr_assert_eq(hd_engine_use_result(f.engine, &r, &err), HD_E_PROTO);
    r = (struct hd_half_result){0, zero, (rows + 2) * dim * 4, twice, 2, NULL, 0, NULL, 0};
    cr_assert_eq(hd_engine_use_result(f.engine, &r, &err), HD_E_PROTO);
    r = (struct hd_half_result){0, zero, (rows + 1) * dim * 4, beyond, 1, NULL, 0, NULL, 0};
    cr_assert_eq(hd_engine_use_result(f.engine, &r, &err), HD_E_PROTO);
    r = (struct hd_half_result){0, zero, rows * dim * 4, NULL, 0, beyond, 1, NULL, 0};
    cr_assert_eq(hd_engine_use_result(f.engine, &r, &err), HD_E_PROTO);
    r = (struct hd_half_result){0, zero, (rows + 1) * dim * 4, first, 1, first, 1, NULL, 0};
    cr_assert_eq(hd_engine_use_result(f.engine, &r, &err), 0, "%s", err.text);
    free(zero);
    f.wanted = false;
    hd_engine_half_done(f.engine, 0);
    while (f.wanted)
        solo_answer_half(&f);
    cr_assert(a.ended && a.finish == HD_FINISH_ERROR && a.n == 0);
    cr_assert(b.ended && b.finish == HD_FINISH_LENGTH && b.n == 20);
    solo_close(&f);
}

/* The rows of the LOGITS half are numbered among those that are sampled. */
Test(engine, bad_logits_end_their_own_request)
{
    static const uint32_t second[] = {1};
    struct solo f;
    struct solo_client a, b;
    solo_open(&f, 16);
    solo_ask(&f, &a, 30, 3, 20);
    solo_ask(&f, &b, 31, 3, 20);
    hd_engine_kick(f.engine);
    cr_assert_eq(hd_engine_work(f.engine, 0)->rows, 6);
    f.bad_logits = second;
    while (!b.ended)
        solo_answer_half(&f);
    f.bad_logits = NULL;
    while (f.wanted)
        solo_answer_half(&f);
    cr_assert(b.finish == HD_FINISH_ERROR && b.n == 0);
    cr_assert(a.ended && a.finish == HD_FINISH_LENGTH && a.n == 20);
    solo_close(&f);
}
