/* A Llama model in a GGUF file: keys as in ggml's docs/gguf.md. */
#include "common/model/gguf_impl.h"
#include "common/model/model_impl.h"

#include <stdio.h>
#include <string.h>

static bool str_is(struct hd_str s, const char *word)
{
    return s.len == strlen(word) && memcmp(s.data, word, s.len) == 0;
}

/* HD_E_NOTFOUND is left to the caller; another type is an error with a sentence. */
static int typed(int rc, const char *key, const char *type, struct hd_error *err)
{
    if (rc < 0 && rc != HD_E_NOTFOUND)
        return hd_fail(err, HD_E_FORMAT, "key %s is not %s", key, type);
    return rc;
}

/* An integer; *out keeps its value when the key is not there. */
static int read_count(const struct hd_gguf *g, const char *key, uint64_t *out, struct hd_error *err)
{
    int rc = typed(hd_gguf_u64(g, key, out), key, "an unsigned integer", err);

    return rc == HD_E_NOTFOUND ? 0 : rc;
}

static int read_real(const struct hd_gguf *g, const char *key, double *out, struct hd_error *err)
{
    int rc = typed(hd_gguf_f64(g, key, out), key, "a floating-point number", err);

    return rc == HD_E_NOTFOUND ? 0 : rc;
}

static int read_token(const struct hd_gguf *g, const char *key, int32_t *out, struct hd_error *err)
{
    uint64_t v = 0;
    int rc = typed(hd_gguf_u64(g, key, &v), key, "an unsigned integer", err);

    *out = -1;
    if (rc == HD_E_NOTFOUND || v > INT32_MAX) /* 2^32 - 1 stands for none in some files */
        return 0;
    if (rc == 0)
        *out = (int32_t)v;
    return rc;
}

/* ---- What we cannot do ----------------------------------------------------------------------*/

static int check_family(const struct hd_gguf *g, struct hd_error *err)
{
    static const char *const scales[] = {"llama.attention.scale", "llama.embedding_scale",
                                         "llama.residual_scale", "llama.logit_scale"};
    struct hd_str arch = {0};
    uint64_t experts = 0, parts = 1;
    int rc = hd_gguf_str(g, "general.architecture", &arch);

    if (rc < 0)
        return hd_fail(err, HD_E_FORMAT, "key general.architecture is missing or not a string");
    if (!str_is(arch, "llama"))
        return hd_fail(err, HD_E_UNSUPPORTED,
                       "architecture is \"%.*s\"; only \"llama\" is supported",
                       (int)(arch.len < 64 ? arch.len : 64), arch.data);
    rc = read_count(g, "split.count", &parts, err);
    if (rc == 0)
        rc = read_count(g, "llama.expert_count", &experts, err);
    if (rc == 0 && parts > 1)
        rc = hd_fail(err, HD_E_UNSUPPORTED,
                     "one of %llu parts of a model; join them with gguf-split --merge",
                     (unsigned long long)parts);
    if (rc == 0 && experts > 0)
        rc = hd_fail(err, HD_E_UNSUPPORTED, "mixtures of experts are not supported");
    for (size_t i = 0; rc == 0 && i < sizeof scales / sizeof *scales; i++) {
        double v;

        if (hd_gguf_f64(g, scales[i], &v) != HD_E_NOTFOUND)
            rc = hd_fail(err, HD_E_UNSUPPORTED, "key %s is not supported", scales[i]);
    }
    return rc;
}

/* ---- Hyper-parameters -----------------------------------------------------------------------*/

/* The size of a head may be said three times; all must agree. */
static int read_head_dim(const struct hd_gguf *g, struct hd_hyper *h, struct hd_error *err)
{
    static const char *const keys[] = {"llama.attention.key_length", "llama.attention.value_length",
                                       "llama.rope.dimension_count"};
    uint64_t dims[3] = {0};

    for (int i = 0; i < 3; i++) {
        int rc = read_count(g, keys[i], &dims[i], err);

        if (rc < 0)
            return rc;
    }
    h->head_dim = dims[0];
    if (h->head_dim == 0 && h->n_heads > 0 && h->dim % h->n_heads == 0)
        h->head_dim = h->dim / h->n_heads;
    for (int i = 1; i < 3; i++)
        if (dims[i] != 0 && dims[i] != h->head_dim)
            return hd_fail(err, HD_E_UNSUPPORTED, "%s is %llu where the head size is %llu", keys[i],
                           (unsigned long long)dims[i], (unsigned long long)h->head_dim);
    return 0;
}

static int read_rope(const struct hd_gguf *g, struct hd_rope_config *r, struct hd_error *err)
{
    struct hd_str type = {"none", 4};
    int rc = typed(hd_gguf_str(g, "llama.rope.scaling.type", &type), "llama.rope.scaling.type",
                   "a string", err);

    r->theta = 10000;
    r->factor = 1;
    if (rc == 0 || rc == HD_E_NOTFOUND)
        rc = read_real(g, "llama.rope.freq_base", &r->theta, err);
    if (rc == 0)
        rc = read_real(g, "llama.rope.scaling.factor", &r->factor, err);
    if (rc < 0 || str_is(type, "none"))
        return rc;
    if (!str_is(type, "linear"))
        return hd_fail(err, HD_E_UNSUPPORTED,
                       "RoPE scaling \"%.*s\" is not supported (none, linear and rope_freqs.weight "
                       "are)",
                       (int)(type.len < 64 ? type.len : 64), type.data);
    r->scaling = HD_ROPE_LINEAR;
    return 0;
}

static int read_hyper(const struct hd_gguf *g, struct hd_hyper *h, struct hd_error *err)
{
    const struct {
        const char *key;
        uint64_t *out;
    } counts[] = {
        {"llama.block_count", &h->n_layers},
        {"llama.embedding_length", &h->dim},
        {"llama.attention.head_count", &h->n_heads},
        {"llama.attention.head_count_kv", &h->n_kv_heads},
        {"llama.feed_forward_length", &h->ffn_dim},
        {"llama.vocab_size", &h->vocab},
        {"llama.context_length", &h->context},
    };
    struct hd_tensor t;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < sizeof counts / sizeof *counts; i++)
        rc = read_count(g, counts[i].key, counts[i].out, err);
    if (rc == 0)
        rc = read_head_dim(g, h, err);
    if (rc == 0)
        rc = read_real(g, "llama.attention.layer_norm_rms_epsilon", &h->norm_eps, err);
    if (rc == 0)
        rc = read_rope(g, &h->rope, err);
    if (h->vocab == 0 && hd_gguf_tensor(g, "token_embd.weight", &t) == 0)
        h->vocab = t.rows;
    h->tied_output = hd_gguf_tensor(g, "output.weight", &t) == HD_E_NOTFOUND;
    return rc;
}

/* Divisors of the frequencies: how GGUF files carry llama3 scaling. */
static int apply_rope_freqs(struct hd_model *m, struct hd_error *err)
{
    struct hd_tensor t;
    uint32_t n = m->shape.head_dim / 2;
    int rc = hd_gguf_tensor(m->gguf, "rope_freqs.weight", &t);

    if (rc == HD_E_NOTFOUND)
        return 0;
    if (rc < 0 || t.type != HD_F32 || t.rows != 1 || t.cols != n)
        return hd_fail(err, HD_E_FORMAT, "tensor rope_freqs.weight is not a vector of %u F32", n);
    for (uint32_t i = 0; i < n; i++) {
        float divisor;

        memcpy(&divisor, t.data + i * sizeof divisor, sizeof divisor);
        m->rope_freq[i] /= (double)divisor;
        if (!(m->rope_freq[i] > 0 && m->rope_freq[i] <= HD_ROPE_MAX_FREQ))
            return hd_fail(err, HD_E_FORMAT, "tensor rope_freqs.weight: value %u is %g", i,
                           (double)divisor);
    }
    return 0;
}

/* ---- The whole ------------------------------------------------------------------------------*/

static int get(const void *arg, const char *name, struct hd_tensor *out)
{
    return hd_gguf_tensor(arg, name, out);
}

static bool ignorable(const struct hd_model *m, struct hd_str name)
{
    return str_is(name, "rope_freqs.weight"); /* read by itself */
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
    const struct hd_source src = {
        .arg = g, .get = get, .names = &g->tensors, .hf_names = false, .ignorable = ignorable};
    struct hd_hyper h = {0};
    int rc = check_family(g, err);

    if (rc == 0)
        rc = read_hyper(g, &h, err);
    if (rc == 0)
        rc = read_token(g, "tokenizer.ggml.bos_token_id", &m->bos, err);
    if (rc == 0)
        rc = read_token(g, "tokenizer.ggml.eos_token_id", &m->eos, err);
    if (rc == 0)
        rc = hd_model_set_shape(m, &h, err);
    if (rc == 0)
        rc = apply_rope_freqs(m, err);
    m->rope_order = HD_ROPE_INTERLEAVED;
    set_name(m);
    return rc < 0 ? rc : hd_model_load(m, &src, err);
}

int hd_model_from_gguf(struct hd_model *m, struct hd_error *err)
{
    struct hd_error why = {0};
    int rc = from_gguf(m, &why);

    return rc < 0 ? hd_fail(err, rc, "%s: %s", hd_gguf_path(m->gguf), why.text) : 0;
}
