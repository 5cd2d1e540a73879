/* The tensors of a model: found by name, checked against the shape, hashed into the digest. */
#include "common/model/arch.h"
#include "common/model/model_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define DIGEST_SAMPLE ((size_t)4096)
#define NAME_MAX_LEN  96 /* the longest that a family makes is 60 */

struct loader {
    struct hd_model *m;
    const struct hd_source *src;
    XXH3_state_t *hash;
    bool *used; /* [src->names->n] */
    struct hd_error *err;
};

/* ---- Digest ---------------------------------------------------------------------------------*/

static void hash_u64(XXH3_state_t *h, uint64_t v)
{
    XXH3_64bits_update(h, &v, sizeof v);
}

static void hash_tensor(XXH3_state_t *h, const char *name, const struct hd_tensor *t)
{
    size_t bytes = t->rows * t->row_bytes;
    size_t sample = bytes < DIGEST_SAMPLE ? bytes : DIGEST_SAMPLE;

    XXH3_64bits_update(h, name, strlen(name) + 1);
    hash_u64(h, t->type);
    hash_u64(h, t->rows);
    hash_u64(h, t->cols);
    XXH3_64bits_update(h, t->data, sample);
    XXH3_64bits_update(h, t->data + bytes - sample, sample);
}

static void hash_shape(XXH3_state_t *h, const struct hd_model *m)
{
    const struct hd_model_shape *s = &m->shape;
    const uint32_t sizes[] = {s->n_layers, s->dim,     s->n_heads, s->n_kv_heads,
                              s->head_dim, s->ffn_dim, s->vocab,   s->context};

    XXH3_64bits_update(h, sizes, sizeof sizes);
    XXH3_64bits_update(h, &s->norm_eps, sizeof s->norm_eps);
    hash_u64(h, s->tied_output);
    hash_u64(h, m->rope_order);
    XXH3_64bits_update(h, m->rope_freq, s->head_dim / 2 * sizeof *m->rope_freq);
}

/* ---- Tensors --------------------------------------------------------------------------------*/

static int refuse_type(const struct loader *l, const char *name)
{
    char type[32];

    l->src->type_name(l->src->arg, name, type, sizeof type);
    return hd_fail(l->err, HD_E_UNSUPPORTED, "tensor %s is of type %s, which is not supported; %s",
                   name, type,
                   l->src->hf_names ? "take the model in F32, F16 or BF16, or a GGUF file"
                                    : "take a file with F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, "
                                      "Q8_0, Q4_K, Q5_K and Q6_K only (Q4_K_M, Q8_0)");
}

static int load_tensor(struct loader *l, const char *name, struct hd_tensor *out)
{
    ptrdiff_t i = hd_names_find(l->src->names, (struct hd_str){name, strlen(name)});
    int rc = l->src->get(l->src->arg, name, out);

    if (i < 0 || rc == HD_E_NOTFOUND)
        return hd_fail(l->err, HD_E_FORMAT,
                       "tensor %s is missing; the model is incomplete or of another architecture",
                       name);
    if (rc < 0)
        return refuse_type(l, name);
    l->used[i] = true;
    return 0;
}

static int load_slot(struct loader *l, const char *name, enum hd_slot_id id, uint32_t layer)
{
    const struct hd_slot *s = &hd_slots[id];
    struct hd_tensor *out = hd_slot_tensor(l->m, id, layer);
    size_t rows = hd_size_of(&l->m->shape, s->rows), cols = hd_size_of(&l->m->shape, s->cols);
    int rc = load_tensor(l, name, out);

    if (rc < 0)
        return rc;
    if (out->rows != rows || out->cols != cols)
        return hd_fail(l->err, HD_E_FORMAT,
                       "tensor %s is %zu x %zu, not %zu x %zu as the model says", name, out->rows,
                       out->cols, rows, cols);
    bool vector = s->rows == HD_SIZE_ONE;
    if (vector && out->type != HD_F32 && out->type != HD_F16 && out->type != HD_BF16)
        return hd_fail(l->err, HD_E_UNSUPPORTED, "tensor %s is %s; norms must be F32, F16 or BF16",
                       name, hd_dtype_name(out->type));
    hash_tensor(l->hash, name, out);
    l->m->slots |= HD_SLOT_BIT(id);
    return 0;
}

static int load_layer(struct loader *l, uint32_t n)
{
    int rc = 0;

    for (const struct hd_tensor_name *t = l->m->arch->tensors; rc == 0 && t->slot < HD_SLOTS; t++) {
        char name[NAME_MAX_LEN];

        if (!hd_slots[t->slot].in_layer)
            continue;
        if (l->src->hf_names)
            snprintf(name, sizeof name, "model.layers.%u.%s", n, t->hf);
        else
            snprintf(name, sizeof name, "blk.%u.%s", n, t->gguf);
        rc = load_slot(l, name, t->slot, n);
    }
    return rc;
}

/* The tensors that are not in a layer. */
static int load_ends(struct loader *l)
{
    struct hd_model *m = l->m;
    int rc = 0;

    for (const struct hd_tensor_name *t = m->arch->tensors; rc == 0 && t->slot < HD_SLOTS; t++) {
        bool tied = t->slot == HD_SLOT_OUTPUT && m->shape.tied_output;

        if (!hd_slots[t->slot].in_layer && !tied)
            rc = load_slot(l, l->src->hf_names ? t->hf : t->gguf, t->slot, 0);
    }
    if (m->shape.tied_output)
        m->output = m->embedding;
    m->slots |= HD_SLOT_BIT(HD_SLOT_OUTPUT);
    return rc;
}

static int check_unused(const struct loader *l)
{
    const struct hd_names *names = l->src->names;

    for (size_t i = 0; i < names->n; i++) {
        struct hd_str s = names->names[i];

        if (!l->used[i] && !l->src->ignorable(l->m, s))
            return hd_fail(l->err, HD_E_UNSUPPORTED,
                           "tensor %.*s is not part of a plain Llama model; this architecture is "
                           "not supported",
                           (int)(s.len < NAME_MAX_LEN ? s.len : NAME_MAX_LEN), s.data);
    }
    return 0;
}

static int load_all(struct loader *l)
{
    XXH3_64bits_reset(l->hash);
    hash_shape(l->hash, l->m);
    int rc = load_ends(l);
    for (uint32_t n = 0; rc == 0 && n < l->m->shape.n_layers; n++)
        rc = load_layer(l, n);
    if (rc == 0)
        rc = check_unused(l);
    l->m->digest = XXH3_64bits_digest(l->hash);
    return rc;
}

int hd_model_load(struct hd_model *m, const struct hd_source *src, struct hd_error *err)
{
    struct loader l = {.m = m, .src = src, .err = err};
    int rc;

    m->layers = calloc(m->shape.n_layers, sizeof *m->layers);
    l.used = calloc(src->names->n ? src->names->n : 1, sizeof *l.used);
    l.hash = XXH3_createState();
    if (m->layers && l.used && l.hash)
        rc = load_all(&l);
    else
        rc = hd_fail(err, HD_E_NOMEM, "no memory for %u layers", m->shape.n_layers);
    XXH3_freeState(l.hash);
    free(l.used);
    return rc;
}
