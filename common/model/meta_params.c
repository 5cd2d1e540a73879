/* params.json, as Meta and Mistral write it beside their own names of tensors. It says less than
 * config.json: what it leaves out is as their programs have it. */
#include "common/model/hf_read.h"

#include <string.h>

#define SCALED_CONTEXT   131072 /* Llama 3.1 and 3.2 */
#define UNSCALED_CONTEXT 8192   /* Llama 3, and what Llama 3.1's RoPE was before it was scaled */
#define MISTRAL_CONTEXT  32768
#define OLD_CONTEXT      4096 /* Llama 2 */
#define OLDEST_CONTEXT   2048 /* Llama 1 */
#define LLAMA_3_THETA    500000.0
#define LLAMA_1_EPS      1e-6

/* clang-format off */
static const struct hd_rule params_rules[] = {
    HD_READ("dim"), HD_READ("n_layers"), HD_READ("n_heads"), HD_READ("n_kv_heads"),
    HD_READ("head_dim"), HD_READ("hidden_dim"), HD_READ("ffn_dim_multiplier"),
    HD_READ("multiple_of"), HD_READ("vocab_size"), HD_READ("norm_eps"), HD_READ("rope_theta"),
    HD_READ("use_scaled_rope"), HD_READ("rope_scaling_factor"), HD_READ("max_seq_len"),
    HD_READ("sliding_window"),
    HD_IS("use_biases", 0), HD_IS("rope_high_freq_factor", 4), HD_IS("causal", 1),
    HD_WORDS("model_type", "transformer|llama"),
    HD_NOTE("max_batch_size"), HD_NOTE("model_parallel_size"), HD_NOTE("max_position_embeddings"),
    HD_NOTE("_sliding_window"),
    HD_RULES_END,
};
/* clang-format on */

/* The FFN's width where only its making is said: two thirds of four times the model's, by a factor,
 * up to whole multiples. */
static int read_ffn(const json_t *o, struct hd_hyper *h, struct hd_error *err)
{
    double factor = 0;
    uint64_t multiple = 0, width;
    int rc = hf_read_count(o, "hidden_dim", &h->ffn_dim, err);

    if (rc == 0)
        rc = hf_read_real(o, "ffn_dim_multiplier", &factor, err);
    if (rc == 0)
        rc = hf_read_count(o, "multiple_of", &multiple, err);
    if (rc < 0 || h->ffn_dim != 0 || h->dim > HD_MAX_DIM || multiple > HD_MAX_FFN)
        return rc;
    multiple = multiple ? multiple : 256;
    width = 8 * h->dim / 3;
    if (factor > 0 && factor <= 64)
        width = (uint64_t)(factor * (double)width);
    h->ffn_dim = (width + multiple - 1) / multiple * multiple;
    return 0;
}

/* The scaling is a switch: by how much, the published configurations say. */
static int read_rope(const json_t *o, struct hd_hyper *h, struct hd_warnings *w,
                     struct hd_error *err)
{
    bool scaled = false;
    int rc;

    h->rope = (struct hd_rope_config){.theta = 10000, .low_freq_factor = 1, .high_freq_factor = 4};
    rc = hf_read_real(o, "rope_theta", &h->rope.theta, err);
    if (rc == 0)
        rc = hf_read_flag(o, "use_scaled_rope", &scaled, err);
    if (rc == 0)
        rc = hf_read_real(o, "rope_scaling_factor", &h->rope.factor, err);
    if (rc < 0 || !scaled)
        return rc;
    h->rope.scaling = HD_ROPE_LLAMA3;
    h->rope.original_context = UNSCALED_CONTEXT;
    if (h->rope.factor == 0) {
        h->rope.factor = h->dim < 4096 ? 32 : 8;
        hd_warnings_add(w,
                        "params.json does not say by how much RoPE is scaled: by %.0f, as in the "
                        "published model of this width",
                        h->rope.factor);
    }
    return 0;
}

static int read_context(const json_t *o, struct hd_hyper *h, struct hd_error *err)
{
    int rc = hf_read_count(o, "max_seq_len", &h->context, err);

    if (rc < 0 || h->context != 0)
        return rc;
    h->context = h->rope.scaling == HD_ROPE_LLAMA3              ? SCALED_CONTEXT
                 : !hf_absent(json_object_get(o, "hidden_dim")) ? MISTRAL_CONTEXT
                 : h->rope.theta >= LLAMA_3_THETA               ? UNSCALED_CONTEXT
                 : (float)h->norm_eps == (float)LLAMA_1_EPS     ? OLDEST_CONTEXT
                                                                : OLD_CONTEXT;
    return 0;
}

static int read_hyper(json_t *o, struct hd_hyper *h, struct hd_warnings *w, struct hd_error *err)
{
    const struct hf_count counts[] = {
        {"dim", &h->dim},
        {"n_layers", &h->n_layers},
        {"n_heads", &h->n_heads},
        {"n_kv_heads", &h->n_kv_heads},
        {"head_dim", &h->head_dim},
        {"vocab_size", &h->vocab},
        {"sliding_window", &h->window},
    };
    if (json_integer_value(json_object_get(o, "vocab_size")) == -1)
        json_object_del(o, "vocab_size"); /* Llama 2: what the tokenizer has */
    int rc = hf_read_counts(o, counts, sizeof counts / sizeof *counts, err);
    h->norm_eps = 1e-5;
    if (rc == 0)
        rc = hf_read_real(o, "norm_eps", &h->norm_eps, err);
    if (rc == 0)
        rc = read_ffn(o, h, err);
    if (rc == 0)
        rc = read_rope(o, h, w, err);
    if (rc == 0)
        rc = read_context(o, h, err);
    return rc < 0 ? rc : hf_check_fields(o, params_rules, params_rules, "field", h, w, err);
}

int hd_meta_params_read(struct hd_hyper *h, const char *path, struct hd_warnings *w,
                        struct hd_error *err)
{
    struct hd_error why = {0};
    json_t *o;
    int rc = hd_json_file(&o, path, err);

    *h = (struct hd_hyper){.arch = hd_arch_of_hf("llama"), .bos = -1, .eos = -1, .meta = true};
    if (rc < 0)
        return rc;
    rc = read_hyper(o, h, w, &why);
    json_decref(o);
    return rc < 0 ? hd_fail(err, rc, "%s: %s", path, why.text) : 0;
}
