#include "common/model/outline.h"

#include "common/model/model_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The matrices of a layer in the order of their types. */
static struct hd_tensor *matrix(struct hd_layer *l, unsigned i)
{
    struct hd_tensor *const all[HD_OUTLINE_MATRICES] = {&l->wq,   &l->wk, &l->wv,  &l->wo,
                                                        &l->gate, &l->up, &l->down};
    return all[i];
}

void hd_outline_of(const struct hd_model *m, uint8_t *types, struct hd_outline *out)
{
    size_t n = 0;
    for (uint32_t l = 0; l < m->shape.n_layers; l++)
        for (unsigned i = 0; i < HD_OUTLINE_MATRICES; i++)
            types[n++] = (uint8_t)matrix(&m->layers[l], i)->type;
    *out = (struct hd_outline){
        .shape = m->shape,
        .rope_order = m->rope_order,
        .rope_freq = m->rope_freq,
        .n_rope_freq = m->shape.head_dim / 2,
        .name = m->name,
        .digest = m->digest,
        .types = types,
        .n_types = n,
        .output_type = m->output.type,
    };
}

/* ---- Back to a model ----*/

static int set_shape(struct hd_model *m, const struct hd_outline *o, struct hd_error *err)
{
    const struct hd_model_shape *s = &o->shape;
    struct hd_hyper h = {.n_layers = s->n_layers,
                         .dim = s->dim,
                         .n_heads = s->n_heads,
                         .n_kv_heads = s->n_kv_heads,
                         .head_dim = s->head_dim,
                         .ffn_dim = s->ffn_dim,
                         .vocab = s->vocab,
                         .context = s->context,
                         .norm_eps = (double)s->norm_eps,
                         .tied_output = s->tied_output,
                         .bos = -1,
                         .eos = -1,
                         .rope = {.theta = 10000, .factor = 1}}; /* replaced by the list */
    int rc = hd_model_set_shape(m, &h, err);
    if (rc < 0)
        return rc;
    if (o->rope_order != HD_ROPE_INTERLEAVED && o->rope_order != HD_ROPE_HALVES)
        return hd_fail(err, HD_E_FORMAT, "the order of rotated rows is %u", o->rope_order);
    m->rope_order = (enum hd_rope_order)o->rope_order;
    if (o->n_rope_freq != m->shape.head_dim / 2)
        return hd_fail(err, HD_E_FORMAT, "%zu frequencies for a head size of %u", o->n_rope_freq,
                       m->shape.head_dim);
    for (size_t i = 0; i < o->n_rope_freq; i++) {
        if (!(o->rope_freq[i] > 0 && o->rope_freq[i] <= HD_ROPE_MAX_FREQ))
            return hd_fail(err, HD_E_FORMAT, "frequency %zu is %g", i, o->rope_freq[i]);
        m->rope_freq[i] = o->rope_freq[i];
    }
    return 0;
}

static int set_matrix(struct hd_tensor *t, uint32_t type, size_t rows, size_t cols,
                      struct hd_error *err)
{
    if (type > HD_BF16 || !hd_dtype_known((int)type))
        return hd_fail(err, HD_E_UNSUPPORTED, "a matrix is of type %u, which is not known", type);
    if (cols % hd_dtype_block((enum hd_dtype)type) != 0)
        return hd_fail(err, HD_E_FORMAT, "rows of %zu values cannot be %s", cols,
                       hd_dtype_name((enum hd_dtype)type));
    *t = (struct hd_tensor){.type = (enum hd_dtype)type,
                            .rows = rows,
                            .cols = cols,
                            .row_bytes = hd_dtype_row_bytes((enum hd_dtype)type, cols)};
    return 0;
}

static int set_layer(struct hd_model *m, uint32_t l, const uint8_t *types, struct hd_error *err)
{
    const struct hd_model_shape *s = &m->shape;
    size_t dim = s->dim, q = (size_t)s->n_heads * s->head_dim,
           kv = (size_t)s->n_kv_heads * s->head_dim, ffn = s->ffn_dim;
    const size_t sizes[HD_OUTLINE_MATRICES][2] = {{q, dim},   {kv, dim},  {kv, dim}, {dim, q},
                                                  {ffn, dim}, {ffn, dim}, {dim, ffn}};
    int rc = 0;
    for (unsigned i = 0; i < HD_OUTLINE_MATRICES && rc == 0; i++)
        rc = set_matrix(matrix(&m->layers[l], i), types[i], sizes[i][0], sizes[i][1], err);
    return rc;
}

static int set_matrices(struct hd_model *m, const struct hd_outline *o, struct hd_error *err)
{
    if (o->n_types != (size_t)m->shape.n_layers * HD_OUTLINE_MATRICES)
        return hd_fail(err, HD_E_FORMAT, "types of %zu matrices for %u layers", o->n_types,
                       m->shape.n_layers);
    m->layers = calloc(m->shape.n_layers, sizeof *m->layers);
    if (!m->layers)
        return hd_fail(err, HD_E_NOMEM, "no memory for %u layers", m->shape.n_layers);
    int rc = set_matrix(&m->output, o->output_type, m->shape.vocab, m->shape.dim, err);
    for (uint32_t l = 0; l < m->shape.n_layers && rc == 0; l++)
        rc = set_layer(m, l, o->types + (size_t)l * HD_OUTLINE_MATRICES, err);
    return rc;
}

/* Printable ASCII only, like that of a file. */
static void set_name(struct hd_model *m, const char *name)
{
    snprintf(m->name, sizeof m->name, "%s", name && *name ? name : "model");
    for (char *c = m->name; *c; c++)
        if (*c < 0x20 || *c >= 0x7F)
            *c = '_';
}

int hd_model_from_outline(struct hd_model **out, const struct hd_outline *o, struct hd_error *err)
{
    *out = NULL;
    struct hd_model *m = calloc(1, sizeof *m);
    if (!m)
        return hd_fail(err, HD_E_NOMEM, "no memory for a model");
    m->bos = m->eos = -1;
    m->digest = o->digest;
    set_name(m, o->name);
    int rc = set_shape(m, o, err);
    if (rc == 0)
        rc = set_matrices(m, o, err);
    if (rc < 0) {
        hd_model_close(m);
        return rc;
    }
    m->activations = hd_model_best_activations(m);
    *out = m;
    return 0;
}
