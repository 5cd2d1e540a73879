/* A model in a Hugging Face folder: config.json and safetensors. */
#include "common/model/arch.h"
#include "common/model/hf_read.h"
#include "common/model/kind.h"
#include "common/model/model_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define F8_PART                                                                                    \
    ((size_t)128)           /* rows and columns that share a scale where nothing is said of it     \
                             */
#define ENDS ((size_t)4096) /* bytes by which two matrices are told apart for a warning */

static int get(const void *arg, const char *name, struct hd_tensor *out)
{
    return hd_safetensors_tensor(arg, name, out);
}

static int bytes(const void *arg, const char *name, const uint8_t **data, size_t *n)
{
    return hd_safetensors_bytes(arg, name, data, n);
}

static bool ends_with(struct hd_str s, const char *end)
{
    size_t n = strlen(end);

    return s.len >= n && memcmp(s.data + s.len - n, end, n) == 0;
}

static void type_name(const void *arg, const char *name, char *out, size_t size)
{
    hd_safetensors_type(arg, name, out, size);
}

static bool ignorable(const struct hd_model *m, struct hd_str name)
{
    return ends_with(name, ".rotary_emb.inv_freq") || /* old files keep what config.json says */
           ends_with(name, "rope.freqs") ||           /* and Meta's */
           ends_with(name, ".attention.bias") ||      /* masks, in old files of gpt_neox */
           ends_with(name, ".attention.masked_bias") || ends_with(name, ".k_scale") ||
           ends_with(name, ".v_scale"); /* of a cache of 8 bits */
}

static bool begins_with(struct hd_str s, const char *begin)
{
    return s.len >= strlen(begin) && memcmp(s.data, begin, strlen(begin)) == 0;
}

/* Those of an encoder, or between it and the language model. */
static bool wrapped_ignorable(const struct hd_model *m, struct hd_str name)
{
    static const char *const parts[] = {"vision_tower.",
                                        "model.vision_tower.",
                                        "visual.",
                                        "model.visual.",
                                        "vision_model.",
                                        "multi_modal_projector.",
                                        "model.multi_modal_projector."};

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (begins_with(name, parts[i]))
            return true;
    return ignorable(m, name);
}

/* Where the language model's tensors are in a model that sees or hears: the names changed with the
 * versions of transformers. */
static const struct hd_prefixes plain_names = {"model.", ""}, bare_names = {"", ""},
                                wrapped_names[] = {
                                    {"language_model.model.", "language_model."},
                                    {"model.language_model.", ""},
                                    {"language_model.model.", ""},
};

static bool has_tensor(const struct hd_safetensors *st, const char *prefix, const char *name)
{
    struct hd_tensor t;
    char whole[128];

    snprintf(whole, sizeof whole, "%s%s", prefix, name);
    return hd_safetensors_tensor(st, whole, &t) != HD_E_NOTFOUND;
}

static const struct hd_prefixes *prefixes_of(const struct hd_safetensors *st,
                                             const struct hd_hyper *h)
{
    for (size_t i = 0; h->wrapped && i < sizeof wrapped_names / sizeof *wrapped_names; i++)
        if (has_tensor(st, wrapped_names[i].model, "embed_tokens.weight") &&
            (h->tied_output || has_tensor(st, wrapped_names[i].head, "lm_head.weight")))
            return &wrapped_names[i];
    bool bare = h->meta || (has_tensor(st, "", "embed_tokens.weight") &&
                            !has_tensor(st, "model.", "embed_tokens.weight"));
    return bare ? &bare_names : &plain_names;
}

static int load(struct hd_model *m, const struct hd_safetensors *st, const struct hd_hyper *h,
                struct hd_error *err)
{
    const struct hd_source src = {.arg = st,
                                  .get = get,
                                  .bytes = bytes,
                                  .type_name = type_name,
                                  .names = hd_safetensors_names(st),
                                  .hf_names = true,
                                  .meta_names = h->meta,
                                  .prefixes = prefixes_of(st, h),
                                  .attention_bias = h->attention_bias,
                                  .mlp_bias = h->mlp_bias,
                                  .qk_norms = h->qk_norms,
                                  .two_norms = h->two_norms,
                                  .f8_scaled = h->f8,
                                  .f8_rows = h->f8_rows ? h->f8_rows : F8_PART,
                                  .f8_cols = h->f8_cols ? h->f8_cols : F8_PART,
                                  .ignorable = h->wrapped ? wrapped_ignorable : ignorable};
    struct hd_error why = {0};
    int rc = hd_model_load(m, &src, &why);

    return rc < 0 ? hd_fail(err, rc, "%s: %s", m->folder, why.text) : 0;
}

static bool same_ends(const struct hd_tensor *a, const struct hd_tensor *b)
{
    size_t bytes = a->rows * a->row_bytes, sample = bytes < ENDS ? bytes : ENDS;

    return a->type == b->type && b->rows * b->row_bytes == bytes &&
           memcmp(a->data, b->data, sample) == 0 &&
           memcmp(a->data + bytes - sample, b->data + bytes - sample, sample) == 0;
}

/* The file's own head is used when there is one, as transformers 5 does, whatever config.json says
 * about tying: many files have the same matrix twice, and some have two. */
static void untie(struct hd_model *m, struct hd_hyper *h, const struct hd_safetensors *st)
{
    const struct hd_prefixes *p = prefixes_of(st, h);
    struct hd_tensor head, table;
    char head_name[128], table_name[128];

    snprintf(head_name, sizeof head_name, "%slm_head.weight", p->head);
    snprintf(table_name, sizeof table_name, "%sembed_tokens.weight", p->model);
    if (!h->tied_output || hd_safetensors_tensor(st, head_name, &head) == HD_E_NOTFOUND)
        return;
    h->tied_output = false;
    if (hd_safetensors_tensor(st, head_name, &head) == 0 &&
        hd_safetensors_tensor(st, table_name, &table) == 0 && !same_ends(&head, &table))
        hd_warnings_add(&m->warnings,
                        "tie_word_embeddings is true, but lm_head.weight is there and "
                        "differs from the embedding: it is used");
}

static int read_file(struct hd_model *m, const char *name,
                     int (*read)(struct hd_hyper *h, const char *path, struct hd_warnings *w,
                                 struct hd_error *err),
                     struct hd_hyper *h, struct hd_error *err)
{
    char *path;

    if (asprintf(&path, "%s/%s", m->folder, name) < 0)
        return hd_fail(err, HD_E_NOMEM, "%s: no memory to open it", m->folder);
    int rc = read(h, path, &m->warnings, err);
    free(path);
    return rc;
}

/* Weights that lie there as PyTorch's pickles are told of by name. */
static bool has_weights(const struct hd_model *m)
{
    static const char *const names[] = {"model.safetensors", "model.safetensors.index.json",
                                        "consolidated.safetensors", "consolidated.00.pth"};
    bool found = false;

    for (size_t i = 0; i < sizeof names / sizeof *names && !found; i++) {
        char *path;
        if (asprintf(&path, "%s/%s", m->folder, names[i]) < 0)
            return false;
        found = access(path, F_OK) == 0;
        free(path);
    }
    return found;
}

static int read_config(struct hd_model *m, struct hd_hyper *h, struct hd_error *err)
{
    int rc = read_file(m, "config.json", hd_hf_config_read, h, err);

    if (rc == HD_E_NOTFOUND && has_weights(m))
        rc = read_file(m, "params.json", hd_meta_params_read, h, err);
    return rc == HD_E_NOTFOUND ? hd_kind_of_folder(m->folder, rc, err) : rc;
}

/* transformers would load it over the model by itself. */
static int refuse_adapter(const struct hd_model *m, struct hd_error *err)
{
    char *path;

    if (asprintf(&path, "%s/adapter_config.json", m->folder) < 0)
        return hd_fail(err, HD_E_NOMEM, "%s: no memory to open it", m->folder);
    int rc = access(path, F_OK) < 0
                 ? 0
                 : hd_fail(err, HD_E_UNSUPPORTED,
                           "%s: a LoRA adapter lies beside the model and would change it: merge it "
                           "(peft's merge_and_unload), or take it out of the folder",
                           path);
    free(path);
    return rc;
}

/* A model without its head, as those that make embeddings are published: what the head would have
 * to be is the embedding's matrix, and nobody asks it for text. */
static void leave_out_head(struct hd_model *m, struct hd_hyper *h, const struct hd_safetensors *st)
{
    if (m->pooled.pooling == HD_POOLING_NONE || h->tied_output ||
        has_tensor(st, prefixes_of(st, h)->head, "lm_head.weight"))
        return;
    m->pooled.only = h->tied_output = true;
    hd_warnings_add(&m->warnings, "there is no lm_head.weight: it makes embeddings only, no text");
}

/* What params.json leaves to them. */
static void ask_tensors(struct hd_hyper *h, const struct hd_safetensors *st)
{
    struct hd_tensor t;

    if (h->vocab == 0 && hd_safetensors_tensor(st, "tok_embeddings.weight", &t) == 0)
        h->vocab = t.rows;
    h->tied_output = hd_safetensors_tensor(st, "output.weight", &t) == HD_E_NOTFOUND;
}

int hd_model_from_folder(struct hd_model *m, struct hd_error *err)
{
    struct hd_safetensors *st;
    struct hd_error why = {0};
    struct hd_hyper h;
    int rc = read_config(m, &h, err);

    if (rc < 0)
        return rc;
    m->arch = h.arch;
    rc = refuse_adapter(m, err);
    if (rc < 0)
        return rc;
    rc = hd_safetensors_open(&st, m->folder, &m->warnings, err);
    if (rc < 0)
        return rc;
    m->impl = st;
    m->rope_order = h.meta ? HD_ROPE_INTERLEAVED : m->arch->hf_order;
    m->qkv_by_head = m->arch->hf_by_head;
    if (h.meta)
        ask_tensors(&h, st);
    else
        untie(m, &h, st);
    if (!h.meta && h.dim <= UINT32_MAX)
        hf_read_pooled(&m->pooled, m->folder, (uint32_t)h.dim);
    leave_out_head(m, &h, st);
    rc = hd_model_set_shape(m, &h, &why);
    if (rc < 0)
        return hd_fail(err, rc, "%s/%s: %s", m->folder, h.meta ? "params.json" : "config.json",
                       why.text);
    return load(m, st, &h, err);
}
