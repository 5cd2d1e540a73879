/* The half-steps: right (against the naive reference), the same bits whatever else is in the step
 * and whoever owns what, and honest about numbers that are not. */
#include "common/math/q8.h"
#include "reference.h"
#include "rig.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Against the reference ----*/

struct model_case {
    char shape[16];
    enum hd_dtype type;
    enum hd_kv_type kv;
    unsigned threads;
    enum hd_activations activations;
};

#define F32 HD_ACTIVATIONS_F32
#define Q8  HD_ACTIVATIONS_Q8
static struct model_case cases[] = {
    {"tiny", HD_F32, HD_KV_F32, 1, F32},
    {"tiny", HD_Q4_0, HD_KV_F16, 2, F32},
    {"tiny-gqa3", HD_F16, HD_KV_F32, 3, F32},
    {"tiny-gqa3", HD_Q4_1, HD_KV_F16, 1, F32},
    {"tiny-mha", HD_BF16, HD_KV_F16, 2, F32},
    {"tiny-mha", HD_Q8_0, HD_KV_F32, 2, F32},
    {"tiny", HD_Q4_0, HD_KV_F16, 3, Q8},
    {"tiny-gqa3", HD_Q4_1, HD_KV_F32, 2, Q8},
    {"tiny-mha", HD_Q8_0, HD_KV_F32, 1, Q8},
    /* Families: biases, norms of q and k, windows, caps, tanh-GELU, partial RoPE, two sets of it.
     */
    {"tiny-biases", HD_F32, HD_KV_F32, 2, F32},
    {"tiny-qwen2", HD_Q8_0, HD_KV_F16, 2, Q8},
    {"tiny-qwen3", HD_BF16, HD_KV_F32, 1, F32},
    {"tiny-phi3", HD_F32, HD_KV_F32, 2, F32},
    {"tiny-gemma", HD_Q4_0, HD_KV_F16, 2, Q8},
    {"tiny-gemma2", HD_F32, HD_KV_F32, 2, F32},
    {"tiny-gemma3", HD_Q8_0, HD_KV_F32, 2, Q8},
    {"tiny-smollm3", HD_F16, HD_KV_F16, 1, F32},
    {"tiny-granite", HD_F32, HD_KV_F16, 2, F32},
    {"tiny-glm4", HD_Q8_0, HD_KV_F16, 2, Q8},
};

static void open_case(struct rig *r, const struct model_case *c)
{
    struct rig_options o = {.shape = c->shape,
                            .type = c->type,
                            .kv = c->kv,
                            .activations = c->activations,
                            .threads = c->threads,
                            .positions = 3 * HD_ATTN_SEGMENT};
    rig_open(r, &o);
    rig_own_part(r, 0, 1);
}

/* Root mean square of a - b relative to b's. */
static double distance(const int64_t *sums, const double *want, size_t n)
{
    double diff = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        double got = ldexp((double)sums[i], -RIG_SHIFT);
        diff += (got - want[i]) * (got - want[i]);
        size += want[i] * want[i];
    }
    return sqrt(diff / size);
}

/* How far a sum over the inner vector (attended rows, hidden columns) may be from the reference, by
 * what has rounded that vector. Of a block of 32 each value is off by at most half a step, amax /
 * 254, and the block is at least amax long, so that Q8 moves a vector by at most sqrt(32) / 254 of
 * its length; what follows is a product with a random matrix, which keeps lengths within a few per
 * cent. f16 rounds K and V to 11 bits. */
static double tolerance(const struct model_case *c, enum hd_unit_kind half)
{
    double inner = c->activations == HD_ACTIVATIONS_Q8 ? sqrt(32) / 254 : 2e-5;
    return half == HD_UNIT_HEAD && c->kv == HD_KV_F16 ? inner + 2e-3 : inner;
}

ParameterizedTestParameters(compute, halves_match_the_reference)
{
    return cr_make_param_array(struct model_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct model_case *c, compute, halves_match_the_reference)
{
    enum { N = 70 };
    struct rig r;
    struct rig_rows rows;
    open_case(&r, c);
    size_t dim = r.model->shape.dim;
    float *x = rig_random(N, dim, 1);
    int64_t *sums = malloc(N * dim * sizeof *sums);
    double *want = malloc(dim * sizeof *want);
    rig_round(&r, x, N);
    rig_rows_of(&rows, 1, 0, N, x);
    for (uint32_t l = 0; l < 2; l++) {
        rig_sums(&r, HD_UNIT_HEAD, l, &rows, sums);
        for (size_t n = 1; n <= N; n += 23) {
            reference_attention(r.model, l, x, n, want);
            cr_expect_lt(distance(sums + (n - 1) * dim, want, dim), tolerance(c, HD_UNIT_HEAD),
                         "attention, layer %u, row %zu", l, n - 1);
        }
        rig_sums(&r, HD_UNIT_FFN, l, &rows, sums);
        reference_ffn(r.model, l, x + 69 * dim, want);
        cr_expect_lt(distance(sums + 69 * dim, want, dim), tolerance(c, HD_UNIT_FFN),
                     "FFN, layer %u", l);
    }
    free(x);
    free(sums);
    free(want);
    rig_close(&r);
}

/* ---- Logits ----*/

static int by_logit(const void *a, const void *b)
{
    const float *x = a, *y = b;
    return x[1] < y[1] ? 1 : x[1] > y[1] ? -1 : x[0] < y[0] ? -1 : x[0] > y[0];
}

/* Checks one block of one row at `p`; returns where the next begins. */
static const uint8_t *check_block(const struct rig *r, uint32_t block, uint32_t want,
                                  float temperature, const double *logits, const uint8_t *p)
{
    uint32_t width = r->units.vocab_width, first = block * width;
    uint32_t n = r->model->shape.vocab - first < width ? r->model->shape.vocab - first : width;
    float lse, sorted[1024][2]; /* id, logit */
    double sum = 0, sum_t = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += exp(logits[first + i]);
        sum_t += temperature > 0 ? exp(logits[first + i] / (double)temperature) : 0;
        sorted[i][0] = (float)(first + i);
        sorted[i][1] = (float)logits[first + i];
    }
    memcpy(&lse, p, 4);
    p += 4;
    cr_expect_float_eq((double)lse, log(sum), 1e-4);
    if (temperature > 0) {
        memcpy(&lse, p, 4);
        p += 4;
        cr_expect_float_eq((double)lse, log(sum_t), 4e-4);
    }
    qsort(sorted, n, sizeof *sorted, by_logit);
    uint32_t pairs = want == 0 ? n : want < n ? want : n;
    for (uint32_t i = 0; i < pairs; i++) {
        uint32_t id = first + i;
        float logit;
        if (want != 0) {
            memcpy(&id, p, 4);
            p += 4;
            cr_expect_eq(id, (uint32_t)sorted[i][0], "block %u, best %u", block, i);
        }
        memcpy(&logit, p, 4);
        p += 4;
        cr_expect_float_eq((double)logit, logits[id], 1e-4);
    }
    return p;
}

ParameterizedTestParameters(compute, logits_match_the_reference_in_full_and_as_the_best_few)
{
    return cr_make_param_array(struct model_case, cases, sizeof cases / sizeof *cases);
}

/* Nothing is rounded between the row and its logits: Q8 rows are no worse than f32 ones. */
ParameterizedTest(struct model_case *c, compute,
                  logits_match_the_reference_in_full_and_as_the_best_few)
{
    enum { N = 20 }; /* more than a tile */
    struct rig r;
    struct rig_rows rows;
    struct hd_half_output out;
    struct hd_error err;
    open_case(&r, c);
    rig_own_part(&r, 1, 2);
    size_t dim = r.model->shape.dim;
    float *x = rig_random(N, dim, 3);
    rig_round(&r, x, N);
    double *logits = malloc(r.model->shape.vocab * sizeof *logits);
    rig_rows_of(&rows, 0, 5, N, x);
    for (size_t i = 0; i < N; i++) {
        rows.want[i] = i % 3 == 0 ? 0 : i % 3 == 1 ? 5 : 100000;
        rows.temperatures[i] = i % 2 ? 0.25f * (float)i : 0;
    }
    struct hd_half_step step = rig_step(&r, &rows, HD_UNIT_VOCAB, 0);
    cr_assert_eq(hd_node_step(r.node, &step, &out, &err), HD_STEP_DONE);
    const uint8_t *p = hd_shared_data(out.payload), *begin = p;
    for (size_t i = 0; i < N; i++) {
        reference_logits(r.model, x + i * dim, logits);
        for (uint32_t b = 1; b < r.units.vocab_blocks; b += 2)
            p = check_block(&r, b, rows.want[i], rows.temperatures[i], logits, p);
    }
    cr_assert_eq((size_t)(p - begin), hd_shared_len(out.payload));
    cr_assert_eq(out.n_bad, 0);
    hd_shared_unref(out.payload);
    free(x);
    free(logits);
    rig_close(&r);
}

/* ---- The same bits ----*/

/* Rows of two sequences in one step, then each row in a step of its own, on another node. */
ParameterizedTestParameters(compute, a_row_alone_is_the_row_among_others)
{
    return cr_make_param_array(struct model_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct model_case *c, compute, a_row_alone_is_the_row_among_others)
{
    enum { N = 67, OTHERS = 29 };
    struct rig many, alone;
    struct rig_rows rows, one;
    char path[128];
    open_case(&many, c);
    rig_model_path(&many, path, sizeof path);
    rig_open(&alone, &(struct rig_options){
                         .model = path, .kv = c->kv, .activations = c->activations, .threads = 1});
    rig_own_part(&alone, 0, 1);
    size_t dim = many.model->shape.dim;
    float *x = rig_random(N + OTHERS, dim, 5);
    int64_t *a = malloc((N + OTHERS) * dim * sizeof *a), *b = malloc(dim * sizeof *b);
    rig_rows_of(&rows, 2, 0, N + OTHERS, x);
    for (size_t i = N; i < N + OTHERS; i++) {
        rows.sequences[i] = 0;
        rows.positions[i] = (uint32_t)(i - N);
    }
    for (int half = HD_UNIT_HEAD; half <= HD_UNIT_FFN; half++) {
        rig_sums(&many, hd_half_units(half), 1, &rows, a);
        for (size_t i = 0; i < N + OTHERS; i++) {
            rig_rows_of(&one, rows.sequences[i], rows.positions[i], 1, x + i * dim);
            rig_sums(&alone, hd_half_units(half), 1, &one, b);
            cr_assert_arr_eq(a + i * dim, b, dim * sizeof *b, "half %d, row %zu", half, i);
        }
    }
    free(x);
    free(a);
    free(b);
    rig_close(&alone);
    rig_close(&many);
}

/* Rows that see several segments: as tiles of a prompt, and one by one, whose segments several
 * threads take. */
Test(compute, a_row_alone_is_the_row_of_a_prompt_whoever_attends)
{
    enum { N = 2 * HD_ATTN_SEGMENT + 50, AT_ONCE = 90 };
    static const struct model_case by[] = {
        {"tiny", HD_Q4_0, HD_KV_F16, 7, Q8},
        {"tiny-gemma3", HD_F32, HD_KV_F32, 5, F32},
        {"tiny-gpt-oss", HD_F32, HD_KV_F16, 11, F32},
    };
    for (size_t c = 0; c < sizeof by / sizeof *by; c++) {
        struct rig many, alone;
        struct rig_rows rows;
        struct model_case one = by[c];
        one.threads = 2;
        open_case(&many, &one);
        open_case(&alone, &by[c]);
        size_t dim = many.model->shape.dim;
        float *x = rig_random(N, dim, 5);
        int64_t *a = malloc(N * dim * sizeof *a), *b = malloc(dim * sizeof *b);
        for (uint32_t i = 0; i < N; i += AT_ONCE) {
            size_t n = N - i < AT_ONCE ? N - i : AT_ONCE;
            rig_rows_of(&rows, 2, i, n, x + i * dim);
            rig_sums(&many, HD_UNIT_HEAD, 0, &rows, a + i * dim);
        }
        for (uint32_t i = 0; i < N; i++) {
            rig_rows_of(&rows, 1, i, 1, x + i * dim);
            rig_sums(&alone, HD_UNIT_HEAD, 0, &rows, b);
            cr_assert_arr_eq(a + i * dim, b, dim * sizeof *b, "%s, row %u", by[c].shape, i);
        }
        free(x);
        free(a);
        free(b);
        rig_close(&alone);
        rig_close(&many);
    }
}

ParameterizedTestParameters(compute, the_sum_over_any_split_of_the_units_is_the_same)
{
    return cr_make_param_array(struct model_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct model_case *c, compute, the_sum_over_any_split_of_the_units_is_the_same)
{
    enum { N = 9 };
    struct rig whole, part;
    struct rig_rows rows;
    char path[128];
    open_case(&whole, c);
    rig_model_path(&whole, path, sizeof path);
    size_t dim = whole.model->shape.dim, n = N * dim;
    float *x = rig_random(N, dim, 11);
    int64_t *want = malloc(n * sizeof *want), *sum = malloc(n * sizeof *sum),
            *one = malloc(n * sizeof *one);
    rig_rows_of(&rows, 3, 0, N, x);
    for (int half = HD_UNIT_HEAD; half <= HD_UNIT_FFN; half++) {
        rig_sums(&whole, hd_half_units(half), 0, &rows, want);
        for (uint32_t of = 2; of <= 3; of++) {
            memset(sum, 0, n * sizeof *sum);
            for (uint32_t p = 0; p < of; p++) {
                if (half == HD_UNIT_HEAD && p >= whole.units.heads)
                    break; /* it owns none */
                rig_open(&part, &(struct rig_options){.model = path,
                                                      .kv = c->kv,
                                                      .activations = c->activations,
                                                      .threads = 1 + p});
                rig_own_part(&part, p, of);
                rig_sums(&part, hd_half_units(half), 0, &rows, one);
                for (size_t i = 0; i < n; i++)
                    sum[i] += one[i];
                rig_close(&part);
            }
            cr_assert_arr_eq(sum, want, n * sizeof *sum, "half %d over %u workers", half, of);
        }
    }
    free(x);
    free(want);
    free(sum);
    free(one);
    rig_close(&whole);
}

/* ---- Retries, bad rows, wide rows, positions ----*/

ParameterizedTestParameters(compute, a_retry_finds_its_rows_and_gives_the_same_answer)
{
    return cr_make_param_array(struct model_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct model_case *c, compute, a_retry_finds_its_rows_and_gives_the_same_answer)
{
    enum { N = 12 };
    struct rig r;
    struct rig_rows rows;
    open_case(&r, c);
    size_t dim = r.model->shape.dim;
    float *x = rig_random(N, dim, 2);
    int64_t *a = malloc(N * dim * sizeof *a), *b = malloc(N * dim * sizeof *b);
    rig_rows_of(&rows, 0, 0, N, x);
    rig_sums(&r, HD_UNIT_HEAD, 0, &rows, a);
    const struct hd_kv_counters *count = hd_kv_counters(r.node->kv, 0, 0);
    cr_assert_eq(count->misses, N);
    cr_assert_eq(count->hits, 0);
    rig_sums(&r, HD_UNIT_HEAD, 0, &rows, b);
    cr_assert_arr_eq(a, b, N * dim * sizeof *a);
    cr_assert_eq(count->misses, N);
    cr_assert_eq(count->hits, N);
    cr_assert_eq(hd_input_log_appended(r.node->input_log), N, "logged once");
    free(x);
    free(a);
    free(b);
    rig_close(&r);
}

ParameterizedTestParameters(compute, rows_that_are_not_finite_are_named_and_harm_nobody)
{
    return cr_make_param_array(struct model_case, cases, sizeof cases / sizeof *cases);
}

/* A number that is not finite makes the scale of its Q8 block a NaN. */
ParameterizedTest(struct model_case *c, compute, rows_that_are_not_finite_are_named_and_harm_nobody)
{
    enum { N = 5 };
    struct rig r;
    struct rig_rows rows;
    struct hd_half_output out;
    struct hd_error err;
    open_case(&r, c);
    size_t dim = r.model->shape.dim;
    float *x = rig_random(N, dim, 4);
    int64_t *good = malloc(N * dim * sizeof *good), *sums = malloc(N * dim * sizeof *sums);
    rig_rows_of(&rows, 0, 0, N, x);
    rig_sums(&r, HD_UNIT_FFN, 0, &rows, good);
    x[3 * dim + 17] = NAN;
    struct hd_half_step step = rig_step(&r, &rows, HD_UNIT_FFN, 0);
    cr_assert_eq(hd_node_step(r.node, &step, &out, &err), HD_STEP_DONE);
    cr_assert_eq(out.n_bad, 1);
    cr_assert_eq(out.bad[0], 3);
    rig_decode(&out, N, dim, sums);
    hd_shared_unref(out.payload);
    memset(good + 3 * dim, 0, dim * sizeof *good);
    cr_assert_arr_eq(sums, good, N * dim * sizeof *sums);
    step = rig_step(&r, &rows, HD_UNIT_VOCAB, 0);
    cr_assert_eq(hd_node_step(r.node, &step, &out, &err), HD_STEP_DONE);
    cr_assert_eq(out.n_bad, 1);
    cr_assert_eq(out.bad[0], 3);
    hd_shared_unref(out.payload);
    free(x);
    free(good);
    free(sums);
    rig_close(&r);
}

/* A scale that came over the wire as any NaN or infinity, with quants that no encoder puts there:
 * the row is bad in every half, the others are as they were. */
Test(compute, a_scale_that_is_not_finite_makes_its_row_bad_in_every_half)
{
    enum { N = 3 };
    static const uint16_t scales[] = {0x7e00, 0x7c01, 0xffff, 0x7c00, 0xfc00};
    struct rig r;
    struct rig_rows rows;
    struct hd_half_output out;
    struct hd_error err;
    open_case(&r, &cases[6]);
    size_t dim = r.model->shape.dim, bytes = hd_node_row_bytes(r.node);
    float *x = rig_random(N, dim, 4);
    for (size_t s = 0; s < sizeof scales / sizeof *scales; s++)
        for (int half = HD_UNIT_HEAD; half <= HD_UNIT_VOCAB; half++) {
            rig_rows_of(&rows, 0, (uint32_t)(s * N), N, x);
            struct hd_half_step step = rig_step(&r, &rows, hd_half_units(half), 0);
            for (size_t i = 0; i < N; i++) /* rows of sequences of their own: only one is hit */
                rows.sequences[i] = (uint32_t)i, rows.positions[i] = (uint32_t)s;
            memcpy(r.encoded + bytes + HD_Q8_BLOCK_BYTES, &scales[s], sizeof scales[s]);
            cr_assert_eq(hd_node_step(r.node, &step, &out, &err), HD_STEP_DONE, "%s", err.text);
            cr_assert_eq(out.n_bad, 1, "scale %x, half %d", scales[s], half);
            cr_assert_eq(out.bad[0], 1);
            hd_shared_unref(out.payload);
        }
    free(x);
    rig_close(&r);
}

Test(compute, rows_too_large_for_32_bits_are_sent_in_64)
{
    enum { N = 4 };
    struct rig r;
    struct rig_rows rows;
    struct hd_half_output out;
    struct hd_error err;
    open_case(&r, &cases[0]);
    size_t dim = r.model->shape.dim;
    float *x = rig_random(N, dim, 6);
    int64_t *narrow = malloc(N * dim * sizeof *narrow), *sums = malloc(N * dim * sizeof *sums);
    rig_rows_of(&rows, 0, 0, N, x);
    rig_sums(&r, HD_UNIT_FFN, 0, &rows, narrow);
    rows.shifts[1] = rows.shifts[3] = RIG_SHIFT + 20;
    struct hd_half_step step = rig_step(&r, &rows, HD_UNIT_FFN, 0);
    cr_assert_eq(hd_node_step(r.node, &step, &out, &err), HD_STEP_DONE);
    cr_assert_eq(out.n_wide, 2);
    cr_assert_eq(out.wide[0], 1);
    cr_assert_eq(out.wide[1], 3);
    rig_decode(&out, N, dim, sums);
    hd_shared_unref(out.payload);
    cr_assert_arr_eq(sums, narrow, dim * sizeof *sums, "row 0 is as it was");
    for (size_t i = 0; i < dim; i++) {
        double want = (double)narrow[dim + i], got = ldexp((double)sums[dim + i], -20);
        /* Each of the units rounded once. */
        cr_expect_lt(fabs(want - got), r.units.ffn_blocks, "element %zu", i);
    }
    free(x);
    free(narrow);
    free(sums);
    rig_close(&r);
}

Test(compute, a_position_that_leaves_a_hole_is_refused)
{
    struct rig r;
    struct rig_rows rows;
    struct hd_half_output out;
    struct hd_error err;
    open_case(&r, &cases[0]);
    float *x = rig_random(2, r.model->shape.dim, 8);
    rig_rows_of(&rows, 0, 1, 2, x);
    struct hd_half_step step = rig_step(&r, &rows, HD_UNIT_HEAD, 0);
    cr_assert_eq(hd_node_step(r.node, &step, &out, &err), HD_E_PROTO);
    cr_assert(strstr(err.text, "position 1 of sequence 0"), "%s", err.text);
    free(x);
    rig_close(&r);
}

Test(compute, who_owns_nothing_of_a_kind_does_not_answer)
{
    struct rig r;
    struct rig_rows rows;
    struct hd_half_output out;
    struct hd_error err;
    struct hd_kv_report report;
    open_case(&r, &cases[0]);
    float *x = rig_random(1, r.model->shape.dim, 9);
    cr_assert_eq(rig_own_heads(&r, 0, &(struct hd_assignment){0}, &report), 0);
    hd_kv_report_deinit(&report);
    rig_rows_of(&rows, 0, 0, 1, x);
    struct hd_half_step step = rig_step(&r, &rows, HD_UNIT_HEAD, 0);
    cr_assert_eq(hd_node_step(r.node, &step, &out, &err), HD_STEP_NOT_OURS);
    hd_node_leave(r.node);
    step = rig_step(&r, &rows, HD_UNIT_FFN, 0);
    cr_assert_eq(hd_node_step(r.node, &step, &out, &err), HD_STEP_NOT_OURS);
    free(x);
    rig_close(&r);
}
