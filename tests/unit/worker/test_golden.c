/* A whole forward pass through every unit, against values that Hugging Face transformers computed.
 * HYDAC_GOLDEN names the folder with the reference models; without it the test says so and ends. */
#include "rig.h"

#include "common/model/model.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct golden_case {
    char folder[16];
};

static struct golden_case cases[] = {{"tiny-llama3"}, {"tiny-llama2"}};

struct pass {
    struct rig r;
    const struct hd_kernels *k;
    size_t n, dim;
    float *residual; /* [n][dim] */
    float *x;        /* [n][dim], normalised */
    float *norm;     /* [dim] */
};

static void normalise(struct pass *p, const struct hd_tensor *weight)
{
    hd_dequant(weight, 0, 0, p->dim, p->norm);
    for (size_t i = 0; i < p->n; i++)
        hd_rms_norm(p->k, p->residual + i * p->dim, p->norm, p->r.model->shape.norm_eps,
                    p->x + i * p->dim, p->dim);
}

static void half(struct pass *p, enum hd_unit_kind units, uint32_t layer)
{
    struct rig_rows rows;
    int64_t *sums = malloc(RIG_ROWS * p->dim * sizeof *sums);
    for (size_t at = 0; at < p->n; at += RIG_ROWS) {
        size_t n = p->n - at < RIG_ROWS ? p->n - at : RIG_ROWS;
        rig_rows_of(&rows, 0, (uint32_t)at, n, p->x + at * p->dim);
        rig_sums(&p->r, units, layer, &rows, sums);
        hd_fixed_apply(p->k, p->residual + at * p->dim, sums, RIG_SHIFT, n * p->dim);
    }
    free(sums);
}

static void forward(struct pass *p, const json_t *prompt)
{
    const struct hd_model *m = p->r.model;
    for (size_t i = 0; i < p->n; i++)
        hd_dequant(&m->embedding, (size_t)json_integer_value(json_array_get(prompt, i)), 0, p->dim,
                   p->residual + i * p->dim);
    for (uint32_t l = 0; l < m->shape.n_layers; l++) {
        normalise(p, &m->layers[l].attn_norm);
        half(p, HD_UNIT_HEAD, l);
        normalise(p, &m->layers[l].ffn_norm);
        half(p, HD_UNIT_FFN, l);
    }
    normalise(p, &m->output_norm);
}

/* Logits of one row, [vocab]. */
static void row_logits(struct pass *p, size_t row, float *out)
{
    struct rig_rows rows;
    struct hd_half_output o;
    struct hd_error err;
    rig_rows_of(&rows, 0, (uint32_t)row, 1, p->x + row * p->dim);
    struct hd_half_step step = rig_step(&p->r, &rows, HD_UNIT_VOCAB, 0);
    cr_assert_eq(hd_node_step(p->r.node, &step, &o, &err), HD_STEP_DONE, "%s", err.text);
    const uint8_t *at = hd_shared_data(o.payload);
    uint32_t vocab = p->r.model->shape.vocab, width = p->r.units.vocab_width;
    for (uint32_t first = 0; first < vocab; first += width) {
        uint32_t n = vocab - first < width ? vocab - first : width;
        memcpy(out + first, at + 4, n * sizeof *out);
        at += 4 + n * sizeof *out;
    }
    hd_shared_unref(o.payload);
}

static size_t argmax(const float *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}

static void compare(struct pass *p, const json_t *golden)
{
    size_t vocab = p->r.model->shape.vocab;
    const json_t *want = json_object_get(golden, "logits_last");
    const json_t *best = json_object_get(golden, "argmax_per_prompt_position");
    float *logits = malloc(vocab * sizeof *logits);
    size_t agree = 0;
    for (size_t i = 0; i < p->n; i++) {
        row_logits(p, i, logits);
        agree += argmax(logits, vocab) == (size_t)json_integer_value(json_array_get(best, i));
    }
    cr_assert_eq(json_array_size(want), vocab);
    for (size_t i = 0; i < vocab; i++) {
        double w = json_number_value(json_array_get(want, i));
        cr_assert_float_eq((double)logits[i], w, 2e-3, "logit %zu: %g, reference %g", i,
                           (double)logits[i], w);
    }
    cr_expect_eq(agree, p->n, "argmax agrees at %zu of %zu positions", agree, p->n);
    free(logits);
}

ParameterizedTestParameters(golden, logits_of_the_reference_models)
{
    return cr_make_param_array(struct golden_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct golden_case *c, golden, logits_of_the_reference_models)
{
    const char *base = getenv("HYDAC_GOLDEN");
    if (!base) {
        fprintf(stderr, "skipped: HYDAC_GOLDEN is not set, %s is not compared\n", c->folder);
        return;
    }
    char folder[4096], file[4200];
    snprintf(folder, sizeof folder, "%s/%s", base, c->folder);
    snprintf(file, sizeof file, "%s/golden.json", folder);
    json_t *golden = json_load_file(file, 0, NULL);
    cr_assert_not_null(golden, "cannot read %s", file);
    const json_t *prompt = json_object_get(golden, "prompt");
    struct pass p = {.n = json_array_size(prompt), .k = hd_kernels_get(hd_isa_best())};
    rig_open(&p.r, &(struct rig_options){.model = folder, .kv = HD_KV_F32, .threads = 2});
    rig_own_part(&p.r, 0, 1);
    p.dim = p.r.model->shape.dim;
    p.residual = malloc(p.n * p.dim * sizeof *p.residual);
    p.x = malloc(p.n * p.dim * sizeof *p.x);
    p.norm = malloc(p.dim * sizeof *p.norm);
    forward(&p, prompt);
    compare(&p, golden);
    free(p.residual);
    free(p.x);
    free(p.norm);
    json_decref(golden);
    rig_close(&p.r);
}
