/* What a worker is told of a model: the same model comes out, and nothing hostile does harm. */
#include "fixture.h"

#include "common/model/outline.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

TestSuite(outline, .init = folder_init, .fini = folder_fini, .timeout = 60);

static struct hd_outline_room room;

static void same_matrix(const struct hd_tensor *a, const struct hd_tensor *b)
{
    cr_assert_eq(a->type, b->type);
    cr_assert_eq(a->rows, b->rows);
    cr_assert_eq(a->cols, b->cols);
    cr_assert_eq(a->row_bytes, b->row_bytes);
}

static void same_shape(const struct hd_model_shape *a, const struct hd_model_shape *b)
{
    cr_assert_eq(a->n_layers, b->n_layers);
    cr_assert_eq(a->dim, b->dim);
    cr_assert_eq(a->n_heads, b->n_heads);
    cr_assert_eq(a->n_kv_heads, b->n_kv_heads);
    cr_assert_eq(a->head_dim, b->head_dim);
    cr_assert_eq(a->ffn_dim, b->ffn_dim);
    cr_assert_eq(a->vocab, b->vocab);
    cr_assert_eq(a->context, b->context);
    cr_assert_eq(a->norm_eps, b->norm_eps);
    cr_assert_eq(a->tied_output, b->tied_output);
}

static void check_same(const char *path)
{
    struct hd_model *m = open_ok(path), *copy;
    struct hd_outline o;
    struct hd_error err = {0};
    struct hd_units a, b;
    hd_outline_of(m, &room, &o);
    cr_assert_eq(hd_model_from_outline(&copy, &o, &err), 0, "%s", err.text);
    cr_assert_eq(copy->digest, m->digest);
    cr_assert_eq(copy->activations, m->activations);
    cr_assert_eq(copy->rope_order, m->rope_order);
    cr_assert_eq(copy->block.norm, m->block.norm);
    cr_assert_str_eq(copy->name, m->name);
    same_shape(&copy->shape, &m->shape);
    cr_assert_eq(memcmp(copy->rope_freq, m->rope_freq, o.n_rope_freq * sizeof(double)), 0);
    cr_assert_eq(copy->rope_scale[0], m->rope_scale[0]);
    for (uint32_t l = 0; l < m->shape.n_layers; l++) {
        same_matrix(&copy->layers[l].wq, &m->layers[l].wq);
        same_matrix(&copy->layers[l].wv, &m->layers[l].wv);
        same_matrix(&copy->layers[l].wo, &m->layers[l].wo);
        same_matrix(&copy->layers[l].down, &m->layers[l].down);
    }
    same_matrix(&copy->output, &m->output);
    hd_model_units(m, &a);
    hd_model_units(copy, &b);
    cr_assert_eq(memcmp(&a, &b, sizeof a), 0);
    hd_model_close(copy);
    hd_model_close(m);
}

Test(outline, the_same_model)
{
    check_same(make_synth("tiny-gqa3", HD_Q4_0, 1));
    check_same(make_synth("tiny-mha", HD_F32, 2));
    check_same(make_synth("tiny-stablelm-12b", HD_Q8_0, 2));
    check_same(small_folder(&(struct twist){.own_output = true}));
    check_same(
        small_gguf(&(struct twist){.quantized = true, .float_matrix = "blk.1.ffn_up.weight"}));
}

static void refused(const struct hd_outline *o, int code)
{
    struct hd_model *m;
    struct hd_error err = {0};
    cr_assert_eq(hd_model_from_outline(&m, o, &err), code, "%s", err.text);
    cr_assert_null(m);
    cr_assert_neq(err.text[0], 0);
}

#define REFUSED(code, change)                                                                      \
    do {                                                                                           \
        struct hd_outline o = good;                                                                \
        change;                                                                                    \
        refused(&o, code);                                                                         \
    } while (0)

Test(outline, hostile)
{
    struct hd_model *m = open_ok(make_synth("tiny-gqa3", HD_Q4_0, 1));
    struct hd_outline good;
    double freq[64];
    hd_outline_of(m, &room, &good);
    memcpy(freq, good.rope_freq, good.n_rope_freq * sizeof *freq);
    good.rope_freq = freq;
    REFUSED(HD_E_LIMIT, o.shape.n_layers = HD_MAX_LAYERS + 1);
    REFUSED(HD_E_LIMIT, o.shape.n_layers = UINT32_MAX);
    REFUSED(HD_E_FORMAT, o.shape.n_layers = 0);
    REFUSED(HD_E_LIMIT, o.shape.dim = HD_MAX_DIM + 1);
    REFUSED(HD_E_LIMIT, o.shape.vocab = HD_MAX_VOCAB + 1);
    REFUSED(HD_E_LIMIT, o.shape.ffn_dim = UINT32_MAX);
    REFUSED(HD_E_LIMIT, o.shape.head_dim = HD_MAX_DIM);
    REFUSED(HD_E_FORMAT, o.shape.n_kv_heads = 2);
    REFUSED(HD_E_FORMAT, o.shape.norm_eps = NAN);
    REFUSED(HD_E_FORMAT, o.rope_order = 2);
    REFUSED(HD_E_FORMAT, o.n_rope_freq--);
    REFUSED(HD_E_FORMAT, o.n_rope_freq = 0);
    REFUSED(HD_E_FORMAT, o.n_rope_scale = 0);
    REFUSED(HD_E_FORMAT, o.long_from = 1); /* one set of frequencies */
    REFUSED(HD_E_FORMAT, o.rope_scale = &(float){NAN});
    REFUSED(HD_E_FORMAT, o.rope_scale = &(float){0});
    REFUSED(HD_E_FORMAT, o.n_types--);
    REFUSED(HD_E_FORMAT, o.shape.n_layers++);
    REFUSED(HD_E_FORMAT, o.slots &= ~HD_SLOT_BIT(HD_SLOT_O));        /* no model is without */
    REFUSED(HD_E_FORMAT, o.slots |= HD_SLOT_BIT(HD_SLOT_ATTN_NORM)); /* the leader's own */
    REFUSED(HD_E_FORMAT, o.slots |= HD_SLOT_BIT(HD_SLOTS));
    REFUSED(HD_E_FORMAT, o.slots = 0);
    for (size_t i = 0; i < 4; i++) { /* the first is the output's */
        uint8_t type = room.types[i];
        room.types[i] = 5;
        refused(&good, HD_E_UNSUPPORTED);
        room.types[i] = 255;
        refused(&good, HD_E_UNSUPPORTED);
        room.types[i] = HD_Q4_K; /* rows of 288 values have no blocks of 256 */
        refused(&good, HD_E_FORMAT);
        room.types[i] = type;
    }
    freq[1] = NAN;
    refused(&good, HD_E_FORMAT);
    freq[1] = INFINITY;
    refused(&good, HD_E_FORMAT);
    freq[1] = 0;
    refused(&good, HD_E_FORMAT);
    hd_model_close(m);
}
