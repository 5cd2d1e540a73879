/* The tensors of a model: found by name, checked against the shape, hashed into the digest. */
#include "common/math/kernels.h"
#include "common/model/load_impl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIGEST_SAMPLE ((size_t)4096)

/* ---- Digest ---------------------------------------------------------------------------------*/

static void hash_u64(XXH3_state_t *h, uint64_t v)
{
    XXH3_64bits_update(h, &v, sizeof v);
}

void load_hash(struct loader *l, const char *name, const struct hd_tensor *t)
{
    XXH3_state_t *h = l->hash;
    size_t bytes = t->rows * t->row_bytes;
    size_t sample = bytes < DIGEST_SAMPLE ? bytes : DIGEST_SAMPLE;

    XXH3_64bits_update(h, name, strlen(name) + 1);
    hash_u64(h, t->type);
    hash_u64(h, t->rows);
    hash_u64(h, t->cols);
    for (size_t i = 0; t->split && i < t->split->n; i++)
        XXH3_64bits_update(h, t->split->data[i], sample / t->split->n);
    if (t->split)
        return;
    XXH3_64bits_update(h, t->data, sample);
    XXH3_64bits_update(h, t->data + bytes - sample, sample);
}

/* What makes two models of the same tensors compute something else. Plain Llamas add nothing: their
 * digests are those of releases that knew no others. */
static void hash_block(XXH3_state_t *h, const struct hd_model *m)
{
    const struct hd_block *b = &m->block;
    const struct hd_block plain = {.attention_scale = 1.0f / sqrtf((float)m->shape.head_dim),
                                   .logit_scale = 1,
                                   .embedding_scale = 1,
                                   .residual_scale = 1};

    if (memcmp(b, &plain, sizeof plain) != 0)
        XXH3_64bits_update(h, b, sizeof *b);
    for (uint32_t l = 0; l < m->shape.n_layers; l++)
        if (m->layers[l].window != 0 || m->layers[l].rope != HD_LAYER_ROPE_MAIN) {
            const uint32_t layer[] = {l, m->layers[l].window, m->layers[l].rope};
            XXH3_64bits_update(h, layer, sizeof layer);
        }
    if (m->shape.rope_dim != m->shape.head_dim)
        hash_u64(h, m->shape.rope_dim);
    if (m->long_from != 0)
        hash_u64(h, m->long_from);
    if (m->rope_scale[0] != 1 || m->rope_scale[1] != 1)
        XXH3_64bits_update(h, m->rope_scale, sizeof m->rope_scale);
    if (m->shape.n_experts) {
        const uint32_t experts[] = {m->shape.n_experts, m->shape.n_used, m->router.top_first,
                                    m->router.normalise};
        XXH3_64bits_update(h, experts, sizeof experts);
    }
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
    XXH3_64bits_update(h, m->rope_freq, m->rope_sets * (s->head_dim / 2) * sizeof *m->rope_freq);
    hash_block(h, m);
}

/* ---- Tensors --------------------------------------------------------------------------------*/

static int refuse_type(const struct loader *l, const char *name)
{
    char type[32];

    l->src->type_name(l->src->arg, name, type, sizeof type);
    return hd_fail(l->err, HD_E_UNSUPPORTED, "tensor %s is of type %s, which is not supported; %s",
                   name, type,
                   l->src->hf_names ? "take the model in F32, F16 or BF16, or a GGUF file"
                                    : "take a file of another type (Q4_K_M, Q8_0)");
}

int load_tensor(struct loader *l, const char *name, struct hd_tensor *out)
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
    return out->layout == HD_LAYOUT_F8 ? load_f8(l, name, out) : 0;
}

void load_take_rows(struct loader *l, const struct hd_tensor *t, size_t row, enum hd_slot_id id,
                    uint32_t layer)
{
    const struct hd_slot *s = &hd_slots[id];
    struct hd_tensor *out = hd_slot_tensor(l->m, id, layer);

    *out = *t;
    out->rows = hd_size_of(&l->m->shape, s->rows);
    out->cols = hd_size_of(&l->m->shape, s->cols);
    if (s->cols == HD_SIZE_ONE) /* vectors that are cut stand upright */
        out->row_bytes = hd_dtype_row_bytes(t->type, 1);
    out->data += row * out->row_bytes;
    out->f8.row0 += row;
    l->m->slots |= HD_SLOT_BIT(id);
}

int load_check_floats(const struct loader *l, const char *name, const struct hd_tensor *t)
{
    if (t->type == HD_F32 || t->type == HD_F16 || t->type == HD_BF16)
        return 0;
    return hd_fail(l->err, HD_E_UNSUPPORTED,
                   "tensor %s is %s; norms and biases must be F32, F16 or BF16", name,
                   hd_dtype_name(t->type));
}

int load_check(const struct loader *l, const char *name, const struct hd_tensor *t,
               const size_t want[2])
{
    if (t->rows != want[0] || t->cols != want[1])
        return hd_fail(l->err, HD_E_FORMAT,
                       "tensor %s is %zu x %zu, not %zu x %zu as the model says", name, t->rows,
                       t->cols, want[0], want[1]);
    return want[0] == 1 ? load_check_floats(l, name, t) : 0;
}

/* ---- All tensors ----*/

static int load_named(struct loader *l, const char *name, const struct hd_tensor_name *n,
                      uint32_t layer)
{
    const struct hd_model_shape *shape = &l->m->shape;
    unsigned slots = n->fused ? n->fused : 1;
    size_t want[2] = {0, hd_size_of(shape, hd_slots[n->slot].cols)}, row = 0;
    struct hd_tensor t;

    if (shape->n_experts && hd_slots[n->slot].of_expert)
        return load_experts(l, name, n, layer);
    if (hd_slots[n->slot].by_head)
        return load_heads(l, name, n, layer);
    int rc = load_tensor(l, name, &t);
    for (unsigned i = 0; i < slots; i++)
        want[0] += hd_size_of(shape, hd_slots[n->slot + i].rows);
    if (hd_slots[n->slot].cols == HD_SIZE_ONE) {
        want[1] = want[0];
        want[0] = 1;
    }
    if (rc == 0)
        rc = load_check(l, name, &t, want);
    if (rc == 0)
        rc = load_check_f8(l, name, &t, n->slot);
    if (rc < 0)
        return rc;
    bool by_head = l->m->qkv_by_head && slots > 1;
    if (by_head && t.layout != HD_LAYOUT_ROWS)
        return hd_fail(l->err, HD_E_UNSUPPORTED,
                       "tensor %s is FP8 and has q, k and v by turns: take the model in BF16",
                       name);
    load_hash(l, name, &t);
    for (unsigned i = 0; i < slots; i++) {
        load_take_rows(l, &t, row, n->slot + i, layer);
        row += hd_size_of(shape, hd_slots[n->slot + i].rows) / (by_head ? shape->n_kv_heads : 1);
    }
    return 0;
}

static bool is_there(const struct loader *l, const char *name)
{
    return hd_names_find(l->src->names, (struct hd_str){name, strlen(name)}) >= 0;
}

/* What the first layer has, all have. */
static bool is_wanted(const struct loader *l, const char *name, const struct hd_tensor_name *n,
                      uint32_t layer)
{
    if (n->wanted == HD_WANTED)
        return true;
    if (n->wanted == HD_WANTED_EITHER)
        return is_there(l, name);
    if (n->wanted == HD_WANTED_ONE_NORM || n->wanted == HD_WANTED_TWO_NORMS)
        return l->src->two_norms == (n->wanted == HD_WANTED_TWO_NORMS);
    if (layer > 0)
        return l->m->slots & HD_SLOT_BIT(n->slot);
    if (n->wanted == HD_WANTED_SERIAL)
        return !l->m->block.parallel;
    if (l->src->hf_names && n->wanted == HD_WANTED_QK_NORMS)
        return l->src->qk_norms;
    if (l->src->hf_names)
        return n->wanted == HD_WANTED_ATTENTION_BIAS ? l->src->attention_bias : l->src->mlp_bias;
    return is_there(l, name);
}

/* The form's name for it, in a layer or not; false: the form has none. */
static bool name_of(const struct loader *l, const struct hd_tensor_name *n, uint32_t layer,
                    char name[NAME_MAX_LEN])
{
    const char *last = l->src->meta_names ? n->meta : l->src->hf_names ? n->hf : n->gguf;

    if (!last)
        return false;
    const struct hd_prefixes *p = l->src->prefixes;
    if (!hd_slots[n->slot].in_layer && l->src->hf_names && strncmp(last, "model.", 6) == 0)
        snprintf(name, NAME_MAX_LEN, "%s%s", p->model, last + 6);
    else if (!hd_slots[n->slot].in_layer)
        snprintf(name, NAME_MAX_LEN, "%s%s", l->src->hf_names ? p->head : "", last);
    else if (l->src->hf_names && l->m->arch->hf_layers)
        snprintf(name, NAME_MAX_LEN, "%s%u.%s", l->m->arch->hf_layers, layer, last);
    else if (l->src->hf_names)
        snprintf(name, NAME_MAX_LEN, "%slayers.%u.%s", p->model, layer, last);
    else
        snprintf(name, NAME_MAX_LEN, "blk.%u.%s", layer, last);
    if (!l->src->hf_names && n->gguf_old && !is_there(l, name))
        snprintf(name, NAME_MAX_LEN, "blk.%u.%s", layer, n->gguf_old);
    return true;
}

/* Of slots that have several names one was there, in each layer. */
static int check_either(const struct loader *l, uint32_t layer)
{
    for (const struct hd_tensor_name *n = l->m->arch->tensors; n->slot < HD_SLOTS; n++) {
        bool bias = hd_slot_is_vector(n->slot); /* all layers have it, or none */
        char name[NAME_MAX_LEN];

        if (n->wanted == HD_WANTED_EITHER && name_of(l, n, layer, name) &&
            hd_slot_of(l->m, n->slot, layer)->rows == 0 &&
            !(bias && !(l->m->slots & HD_SLOT_BIT(n->slot))))
            return hd_fail(l->err, HD_E_FORMAT,
                           "tensor %s is missing, and so is what may stand in its place; the "
                           "model is incomplete or of another architecture",
                           name);
    }
    return 0;
}

static int load_layer(struct loader *l, uint32_t layer)
{
    int rc = 0;

    for (const struct hd_tensor_name *n = l->m->arch->tensors; rc == 0 && n->slot < HD_SLOTS; n++) {
        char name[NAME_MAX_LEN];

        if (hd_slots[n->slot].in_layer && name_of(l, n, layer, name) &&
            is_wanted(l, name, n, layer))
            rc = load_named(l, name, n, layer);
    }
    return rc < 0 ? rc : check_either(l, layer);
}

/* The tensors that are not in a layer. */
static int load_ends(struct loader *l)
{
    struct hd_model *m = l->m;
    int rc = 0;

    for (const struct hd_tensor_name *n = m->arch->tensors; rc == 0 && n->slot < HD_SLOTS; n++) {
        bool tied = n->slot == HD_SLOT_OUTPUT && m->shape.tied_output;
        char name[NAME_MAX_LEN];

        if (!hd_slots[n->slot].in_layer && !tied && name_of(l, n, 0, name))
            rc = load_named(l, name, n, 0);
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
                           "tensor %.*s is not part of a %s model as it is known here; this "
                           "architecture is not supported",
                           (int)(s.len < NAME_MAX_LEN ? s.len : NAME_MAX_LEN), s.data,
                           l->src->hf_names ? l->m->arch->hf : l->m->arch->gguf);
    }
    return 0;
}

/* Bytes of 16 rows of a block each, in the file and packed. */
static void sizes_of(enum hd_dtype type, size_t *file, size_t *packed)
{
    size_t block = hd_dtype_block(type) * 32; /* spans of any form */
    struct hd_tensor t = {.type = type,
                          .rows = HD_GROUP,
                          .cols = block,
                          .row_bytes = hd_dtype_row_bytes(type, block)};

    *file = t.rows * t.row_bytes;
    *packed = hd_weights_bytes(&t, &(struct hd_slice){.n_rows = t.rows, .n_cols = t.cols});
}

/* Types that kernels hold in wider blocks: the values are the same, the memory is not. */
static void note_widened(struct hd_model *m)
{
    bool noted[HD_DTYPES] = {false};

    for (enum hd_slot_id s = 0; s < HD_SLOTS; s++)
        for (uint32_t l = 0; l < hd_slot_layers(m, s); l++) {
            enum hd_dtype type = hd_slot_of(m, s, l)->type;
            size_t file, packed;

            if (!hd_slot_is_units(s) || hd_slot_is_vector(s) || noted[type])
                continue;
            sizes_of(type, &file, &packed);
            noted[type] = true;
            if (packed * 10 >= file * 17)
                hd_warnings_add(&m->warnings,
                                "%s tensors take %.1f times their size in the file as weights in "
                                "memory: kernels hold them as 8-bit blocks of the same values",
                                hd_dtype_name((int)type), (double)packed / (double)file);
        }
}

/* What is normalised over all heads the leader computes too, from the file. */
static int check_whole_norms(const struct loader *l)
{
    uint64_t whole = HD_SLOT_BIT(HD_SLOT_Q_WHOLE_NORM) | HD_SLOT_BIT(HD_SLOT_K_WHOLE_NORM);
    int rc = 0;

    for (uint32_t n = 0; l->m->slots & whole && n < l->m->shape.n_layers && rc == 0; n++)
        if (l->m->layers[n].wq.layout != HD_LAYOUT_ROWS ||
            l->m->layers[n].wk.layout != HD_LAYOUT_ROWS)
            rc = hd_fail(l->err, HD_E_UNSUPPORTED,
                         "q or k of layer %u is FP8, and this family's are normalised over all "
                         "heads: take the model in BF16",
                         n);
    return rc;
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
    if (rc == 0)
        rc = check_whole_norms(l);
    if (rc == 0)
        note_widened(l->m);
    l->m->digest = XXH3_64bits_digest(l->hash);
    return rc;
}

int hd_model_load(struct hd_model *m, const struct hd_source *src, struct hd_error *err)
{
    struct loader l = {.m = m, .src = src, .err = err};
    int rc;

    l.used = calloc(src->names->n ? src->names->n : 1, sizeof *l.used);
    l.hash = XXH3_createState();
    if (l.used && l.hash)
        rc = load_all(&l);
    else
        rc = hd_fail(err, HD_E_NOMEM, "no memory for %zu tensors", src->names->n);
    XXH3_freeState(l.hash);
    free(l.used);
    return rc;
}
