/* RoPE in a GGUF file: keys, and a tensor of divisors. */
#include "common/model/gguf_read.h"

#include <string.h>

#define LONG_FACTORS  "rope_factors_long.weight"
#define SHORT_FACTORS "rope_factors_short.weight"

/* The factor of linear scaling: the key of today, or the one of 2023 that ggml's gguf.md wants
 * supported for ever. 0 says "none" in either, as in llama.cpp. */
static int read_factor(const struct hd_gguf *g, struct hd_hyper *h, struct hd_error *err)
{
    struct gguf_key now = gguf_key_of(h, "rope.scaling.factor"),
                    then = gguf_key_of(h, "rope.scale_linear");
    double *factor = &h->rope.factor;
    double a = 0, b = 0;
    int rc = gguf_read_real(g, now.s, &a, err);

    if (rc == 0)
        rc = gguf_read_real(g, then.s, &b, err);
    if (rc == 0 && a != 0 && b != 0 && a != b)
        rc = hd_fail(err, HD_E_UNSUPPORTED, "key %s is %g and key %s is %g: they contradict", now.s,
                     a, then.s, b);
    *factor = a != 0 ? a : b;
    if (*factor == 0)
        *factor = 1;
    return rc;
}

/* What a file says of yarn. Its own share of the scaling (ext_factor) may be left to the reader;
 * the attention factor is the paper's, or follows from the multiplier of its logarithm, and a
 * factor of the file's own comes on top. */
static int read_yarn(const struct hd_gguf *g, struct hd_hyper *h, struct hd_error *err)
{
    struct hd_rope_config *r = &h->rope;
    double on_top = 1;
    const struct {
        const char *key;
        double *out;
    } reals[] = {
        {"rope.scaling.original_context_length", &r->original_context},
        {"rope.scaling.yarn_beta_fast", &r->beta_fast},
        {"rope.scaling.yarn_beta_slow", &r->beta_slow},
        {"rope.scaling.yarn_log_multiplier", &r->mscale_all_dim},
        {"rope.scaling.attn_factor", &on_top},
    };
    int rc = 0;

    r->scaling = HD_ROPE_YARN;
    r->mscale = 1;
    r->exact_ramp = h->arch->exact_yarn;
    r->original_context = (double)h->context;
    for (size_t i = 0; rc == 0 && i < sizeof reals / sizeof *reals; i++)
        rc = gguf_read_number(g, gguf_key_of(h, reals[i].key).s, reals[i].out, err);
    if (rc == 0 && on_top != 1)
        r->attention_factor = on_top * hd_rope_attention_factor(r);
    return rc;
}

static int read_factors(const struct hd_gguf *g, const char *name, double *out, size_t *n,
                        struct hd_error *err)
{
    struct hd_tensor t;
    int rc = hd_gguf_tensor(g, name, &t);

    if (rc < 0 || t.type != HD_F32 || t.rows != 1 || t.cols > HD_ROPE_FACTORS)
        return hd_fail(err, HD_E_FORMAT, "tensor %s is not a vector of up to %d F32", name,
                       HD_ROPE_FACTORS);
    *n = t.cols;
    for (size_t i = 0; i < t.cols; i++) {
        float v;

        memcpy(&v, t.data + i * sizeof v, sizeof v);
        out[i] = (double)v;
        if (!(out[i] >= HD_ROPE_FACTOR_MIN && out[i] <= HD_ROPE_FACTOR_MAX))
            return hd_fail(err, HD_E_FORMAT, "tensor %s: value %zu is %g", name, i, out[i]);
    }
    return 0;
}

/* Factors as two tensors, whatever the scaling is called; its attention factor is a key. */
static int read_long(const struct hd_gguf *g, struct hd_hyper *h, struct hd_error *err)
{
    struct hd_rope_config *r = &h->rope;
    size_t n = 0;
    int rc = read_factors(g, LONG_FACTORS, h->long_factors, &n, err);

    if (rc == 0)
        rc = read_factors(g, SHORT_FACTORS, h->short_factors, &h->n_factors, err);
    if (rc == 0 && n != h->n_factors)
        rc = hd_fail(err, HD_E_FORMAT, "RoPE has %zu short and %zu long factors", h->n_factors, n);
    if (rc == 0 && r->factor != 1)
        rc = hd_fail(err, HD_E_UNSUPPORTED,
                     "RoPE has factors for long sequences and is scaled by %g as well", r->factor);
    r->scaling = HD_ROPE_LONGROPE;
    r->divisors = h->short_factors;
    r->attention_factor = 1;
    r->original_context = (double)h->context;
    if (rc == 0)
        rc = gguf_read_number(g, gguf_key_of(h, "rope.scaling.original_context_length").s,
                              &r->original_context, err);
    if (rc == 0)
        rc = gguf_read_number(g, gguf_key_of(h, "rope.scaling.attn_factor").s, &r->attention_factor,
                              err);
    return rc;
}

/* A missing type means linear, as in llama.cpp: it matters when there is a factor. */
int gguf_read_rope(const struct hd_gguf *g, struct hd_hyper *h, struct hd_error *err)
{
    struct gguf_key scaling = gguf_key_of(h, "rope.scaling.type");
    struct hd_rope_config *r = &h->rope;
    struct hd_str type = {"linear", 6};
    char word[64];
    int rc = gguf_typed(hd_gguf_str(g, scaling.s, &type), scaling.s, "a string", err);

    r->theta = 10000;
    if (rc == 0 || rc == HD_E_NOTFOUND)
        rc = gguf_read_real(g, gguf_key_of(h, "rope.freq_base").s, &r->theta, err);
    if (rc == 0)
        rc = read_factor(g, h, err);
    if (rc < 0)
        return rc;
    if (hd_names_find(&g->tensors, (struct hd_str){LONG_FACTORS, strlen(LONG_FACTORS)}) >= 0)
        return read_long(g, h, err);
    if (gguf_str_is(type, "none"))
        return 0;
    if (gguf_str_is(type, "yarn"))
        return read_yarn(g, h, err);
    hd_printable(word, sizeof word, type);
    if (!gguf_str_is(type, "linear"))
        return hd_fail(
            err, HD_E_UNSUPPORTED,
            "key %s is \"%s\", which is not supported (none, linear, yarn and the tensor "
            "rope_freqs.weight are)",
            scaling.s, word);
    if (r->factor != 1)
        r->scaling = HD_ROPE_LINEAR;
    return 0;
}

/* Divisors of the frequencies: how GGUF files carry llama3 scaling. */
int gguf_apply_rope_freqs(struct hd_model *m, struct hd_error *err)
{
    struct hd_tensor t;
    uint32_t n = m->shape.rope_dim / 2;
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
