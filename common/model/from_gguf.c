/* A model in a GGUF file: keys as in ggml's docs/gguf.md. */
#include "common/model/arch.h"
#include "common/model/gguf_read.h"
#include "common/model/rules.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define FFN_NORM "blk.0.ffn_norm.weight"

/* ---- What the file is -----------------------------------------------------------------------*/

static int refuse_type(struct hd_str type, struct hd_error *err)
{
    static const struct {
        const char *type, *what;
    } types[] = {
        {"adapter", "a LoRA adapter; merge it into its model, and take the result"},
        {"mmproj", "an encoder of images or sound; take the language model's file"},
        {"imatrix", "a matrix for quantizing a model; take the model's file"},
    };
    char word[32];

    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (gguf_str_is(type, types[i].type))
            return hd_fail(err, HD_E_UNSUPPORTED, "this is %s", types[i].what);
    hd_printable(word, sizeof word, type);
    return hd_fail(err, HD_E_UNSUPPORTED,
                   "general.type is \"%s\"; only files of type \"model\" are served", word);
}

/* Some names are of two families, with experts and without. Where there is one row only, its own
 * rules judge the number, and whether it is one. */
static void find_row(struct hd_hyper *h, const struct hd_gguf *g, struct hd_str arch)
{
    char key[96];
    int len = (int)(arch.len < 64 ? arch.len : 64);

    snprintf(key, sizeof key, "%.*s.expert_count", len, arch.data);
    if (hd_gguf_u64(g, key, &h->n_experts) < 0)
        h->n_experts = 0;
    h->arch = hd_arch_of_gguf(arch, h->n_experts > 0);
    if (!h->arch)
        h->arch = hd_arch_of_gguf(arch, h->n_experts == 0);
}

static int find_family(struct hd_hyper *h, const struct hd_gguf *g, struct hd_error *err)
{
    struct hd_str arch = {0}, type = {"model", 5};
    char word[64], known[512];
    int rc = gguf_typed(hd_gguf_str(g, "general.type", &type), "general.type", "a string", err);

    if (rc < 0 && rc != HD_E_NOTFOUND)
        return rc;
    if (!gguf_str_is(type, "model"))
        return refuse_type(type, err);
    rc = hd_gguf_str(g, "general.architecture", &arch);
    if (rc < 0)
        return hd_fail(err, HD_E_FORMAT, "key general.architecture is missing or not a string");
    hd_printable(word, sizeof word, arch);
    find_row(h, g, arch);
    hd_arch_list(false, known, sizeof known);
    if (!h->arch && gguf_str_is(arch, "clip"))
        return refuse_type((struct hd_str){"mmproj", 6}, err);
    if (!h->arch)
        return hd_fail(err, HD_E_UNSUPPORTED, "architecture is \"%s\"; only %s is supported", word,
                       known);
    return 0;
}

/* ---- Hyper-parameters -----------------------------------------------------------------------*/

/* The size of a head may be said three times; all must agree. */
static int read_head_dim(const struct hd_gguf *g, struct hd_hyper *h, struct hd_error *err)
{
    static const char *const keys[] = {"attention.key_length", "attention.value_length",
                                       "rope.dimension_count"};
    uint64_t dims[3] = {0};

    for (int i = 0; i < 3; i++) {
        int rc = gguf_read_count(g, gguf_key_of(h, keys[i]).s, &dims[i], err);

        if (rc < 0)
            return rc;
    }
    h->head_dim = dims[0];
    if (h->head_dim == 0 && h->n_heads > 0 && h->dim % h->n_heads == 0)
        h->head_dim = h->dim / h->n_heads;
    h->rope_dim = h->arch->partial_rope ? dims[2] : 0;
    for (int i = 1; i < 3; i++)
        if (dims[i] != 0 && dims[i] != h->head_dim && !(i == 2 && h->arch->partial_rope))
            return hd_fail(err, HD_E_UNSUPPORTED, "%s is %llu where the head size is %llu",
                           gguf_key_of(h, keys[i]).s, (unsigned long long)dims[i],
                           (unsigned long long)h->head_dim);
    return 0;
}

static int check_needs(const struct hd_gguf *g, const struct hd_hyper *h, struct hd_error *err)
{
    const char *const *need = h->arch->gguf_needs;
    double value;

    for (; need && *need; need++)
        if (hd_gguf_f64(g, gguf_key_of(h, *need).s, &value) == HD_E_NOTFOUND)
            return hd_fail(
                err, HD_E_UNSUPPORTED,
                "key %s is missing, which this model computes with; the file is of an old "
                "converter: convert the model again, or take a newer file",
                gguf_key_of(h, *need).s);
    return 0;
}

/* Whether halves are parallel is for the key to say where each has its own norm anyway. */
static int read_parallel(const struct hd_gguf *g, struct hd_hyper *h, struct hd_error *err)
{
    struct gguf_key key = gguf_key_of(h, "use_parallel_residual");
    int rc = gguf_typed(hd_gguf_bool(g, key.s, &h->parallel), key.s, "a truth value", err);

    return rc == HD_E_NOTFOUND ? 0 : rc;
}

/* What blocks do, as far as the family's own rules read it. */
static int read_block(const struct hd_gguf *g, struct hd_hyper *h, struct hd_error *err)
{
    double divided = 0;
    const struct {
        const char *key;
        double *out;
    } reals[] = {
        {"attention.scale", &h->attention_scale},   {"attn_logit_softcapping", &h->attention_cap},
        {"final_logit_softcapping", &h->logit_cap}, {"logit_scale", &divided},
        {"embedding_scale", &h->embedding_scale},   {"residual_scale", &h->residual_scale},
    };
    int rc = 0;

    if (hd_rule_reads(h->arch->gguf_rules, "attention.sliding_window"))
        rc = gguf_read_count(g, gguf_key_of(h, "attention.sliding_window").s, &h->window, err);
    for (size_t i = 0; rc == 0 && i < sizeof reals / sizeof *reals; i++)
        if (hd_rule_reads(h->arch->gguf_rules, reals[i].key))
            rc = gguf_read_real(g, gguf_key_of(h, reals[i].key).s, reals[i].out, err);
    const char *two = h->arch->gguf_two_norms;
    h->two_norms = two && hd_names_find(&g->tensors, (struct hd_str){two, strlen(two)}) >= 0;
    /* The key says so of models that are not: there is no second norm, or there is. */
    if (hd_rule_reads(h->arch->gguf_rules, "use_parallel_residual") && h->arch->own_norms)
        rc = rc < 0 ? rc : read_parallel(g, h, err);
    else if (hd_rule_reads(h->arch->gguf_rules, "use_parallel_residual"))
        h->parallel = hd_names_find(&g->tensors, (struct hd_str){FFN_NORM, strlen(FFN_NORM)}) < 0;
    if (rc == 0 && hd_rule_reads(h->arch->gguf_rules, "attention.temperature_scale"))
        rc = gguf_read_number(g, gguf_key_of(h, "attention.temperature_scale").s, &h->growth, err);
    h->growth_from = h->rope.original_context;
    if (rc == 0 && h->growth != 0)
        rc = gguf_read_number(g, gguf_key_of(h, "attention.temperature_length").s, &h->growth_from,
                              err);
    hd_hyper_turns(h);
    if (divided > 0)
        h->logit_scale = h->arch->logits_multiplied ? divided : 1 / divided;
    h->parallel |= h->arch->parallel;
    if (h->n_layers == h->arch->wide_scale_layers && h->n_heads > 0)
        h->attention_scale = 1 / sqrt((double)h->dim / (double)h->n_heads);
    h->local.theta = h->arch->local_theta;
    return rc;
}

/* Their width has a key of its own where other layers could have an FFN of another. */
static int read_experts(const struct hd_gguf *g, struct hd_hyper *h, struct hd_error *err)
{
    int rc = gguf_read_count(g, gguf_key_of(h, "expert_used_count").s, &h->n_used, err);

    return rc < 0 ? rc
                  : gguf_read_count(g, gguf_key_of(h, "expert_feed_forward_length").s, &h->ffn_dim,
                                    err);
}

static int read_hyper(const struct hd_gguf *g, struct hd_hyper *h, struct hd_error *err)
{
    const struct {
        const char *key;
        uint64_t *out;
    } counts[] = {
        {"block_count", &h->n_layers},         {"embedding_length", &h->dim},
        {"attention.head_count", &h->n_heads}, {"attention.head_count_kv", &h->n_kv_heads},
        {"feed_forward_length", &h->ffn_dim},  {"vocab_size", &h->vocab},
        {"context_length", &h->context},
    };
    struct hd_tensor t;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < sizeof counts / sizeof *counts; i++)
        rc = gguf_read_count(g, gguf_key_of(h, counts[i].key).s, counts[i].out, err);
    if (rc == 0 && h->n_experts)
        rc = read_experts(g, h, err);
    if (rc == 0)
        rc = read_head_dim(g, h, err);
    bool rms = h->arch->norm == HD_NORM_RMS;
    if (rc == 0)
        rc = gguf_read_real(g,
                            gguf_key_of(h, rms ? "attention.layer_norm_rms_epsilon"
                                               : "attention.layer_norm_epsilon")
                                .s,
                            &h->norm_eps, err);
    if (rc == 0)
        rc = gguf_read_rope(g, h, err);
    if (rc == 0)
        rc = check_needs(g, h, err);
    if (rc == 0)
        rc = read_block(g, h, err);
    if (h->vocab == 0 && hd_gguf_tensor(g, "token_embd.weight", &t) == 0)
        h->vocab = t.rows;
    h->tied_output = hd_gguf_tensor(g, "output.weight", &t) == HD_E_NOTFOUND;
    return rc;
}

/* ---- Embeddings -----------------------------------------------------------------------------*/

/* As llama.cpp numbers them; it gives vectors length 1. */
static int read_pooled(struct hd_pooled *p, const struct hd_gguf *g, const struct hd_hyper *h,
                       struct hd_error *err)
{
    uint64_t type = 0;
    struct gguf_key key = gguf_key_of(h, "pooling_type");
    int rc = gguf_typed(hd_gguf_u64(g, key.s, &type), key.s, "an integer", err);

    if (rc < 0)
        return rc == HD_E_NOTFOUND ? 0 : rc;
    p->pooling = type == 1 ? HD_POOLING_MEAN : type == 3 ? HD_POOLING_LAST : HD_POOLING_NONE;
    p->normalise = p->pooling != HD_POOLING_NONE;
    if (type != 0 && !p->normalise)
        snprintf(p->why_not, sizeof p->why_not, "%s is %llu; 1 (mean) and 3 (last) are done", key.s,
                 (unsigned long long)type);
    return 0;
}

/* ---- The whole ------------------------------------------------------------------------------*/

static int get(const void *arg, const char *name, struct hd_tensor *out)
{
    return hd_gguf_tensor(arg, name, out);
}

static void type_name(const void *arg, const char *name, char *out, size_t size)
{
    hd_gguf_tensor_type(arg, name, out, size);
}

static bool ignorable(const struct hd_model *m, struct hd_str name)
{
    return gguf_str_is(name, "rope_freqs.weight") || /* read by themselves */
           gguf_str_is(name, "rope_factors_long.weight") ||
           gguf_str_is(name, "rope_factors_short.weight");
}

/* The name is shown to people and clients: printable ASCII only. */
static void set_name(struct hd_model *m)
{
    struct hd_str s;
    size_t n = 0;

    if (hd_gguf_str(m->gguf, "general.name", &s) < 0 || s.len == 0)
        return;
    for (; n < s.len && n < sizeof m->name - 1; n++)
        m->name[n] = (char)(s.data[n] >= 0x20 && s.data[n] < 0x7F ? s.data[n] : '_');
    m->name[n] = '\0';
}

static int from_gguf(struct hd_model *m, struct hd_error *err)
{
    const struct hd_gguf *g = m->gguf;
    struct hd_source src = {.arg = g,
                            .get = get,
                            .type_name = type_name,
                            .names = &g->tensors,
                            .hf_names = false,
                            .ignorable = ignorable};
    struct hd_hyper h = {0};
    int rc = find_family(&h, g, err);

    m->arch = h.arch;
    if (rc == 0)
        rc = read_hyper(g, &h, err);
    if (rc == 0)
        rc = gguf_read_token(g, "tokenizer.ggml.bos_token_id", &h.bos, err);
    if (rc == 0)
        rc = gguf_read_token(g, "tokenizer.ggml.eos_token_id", &h.eos, err);
    if (rc == 0)
        rc = hd_gguf_check_keys(g, &h, &m->warnings, err);
    if (rc == 0)
        rc = read_pooled(&m->pooled, g, &h, err);
    if (rc == 0)
        rc = hd_model_set_shape(m, &h, err);
    if (rc == 0)
        rc = gguf_apply_rope_freqs(m, err);
    set_name(m);
    if (rc < 0)
        return rc;
    m->rope_order = m->arch->gguf_order;
    src.two_norms = h.two_norms;
    return hd_model_load(m, &src, err);
}

int hd_model_from_gguf(struct hd_model *m, struct hd_error *err)
{
    struct hd_error why = {0};
    int rc = from_gguf(m, &why);

    return rc < 0 ? hd_fail(err, rc, "%s: %s", hd_gguf_path(m->gguf), why.text) : 0;
}
