/* What the blocks of a family do, as config.json says it. */
#include "common/model/hf_read.h"

#include <math.h>
#include <string.h>

static int read_reals(const json_t *o, struct hd_hyper *h, struct hd_error *err)
{
    double attended = 0, divided = 0;
    const struct {
        const char *key;
        double *out;
    } reals[] = {
        {"attention_multiplier", &h->attention_scale},
        {"query_pre_attn_scalar", &attended},
        {"attn_logit_softcapping", &h->attention_cap},
        {"final_logit_softcapping", &h->logit_cap},
        {"logits_scaling", &divided},
        {"logit_scale", &h->logit_scale},
        {"embedding_multiplier", &h->embedding_scale},
        {"residual_multiplier", &h->residual_scale},
        {"swiglu_alpha", &h->clamp_alpha},
        {"swiglu_limit", &h->clamp_limit},
    };
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < sizeof reals / sizeof *reals; i++)
        if (hd_rule_reads(h->arch->hf_rules, reals[i].key))
            rc = hf_read_real(o, reals[i].key, reals[i].out, err);
    if (attended > 0)
        h->attention_scale = 1 / sqrt(attended);
    if (divided > 0)
        h->logit_scale = 1 / divided;
    return rc;
}

/* A list with an entry for each layer; NULL: there is none. */
static int layer_list(const json_t *o, const char *key, const struct hd_hyper *h,
                      const json_t **out, struct hd_error *err)
{
    *out = json_object_get(o, key);
    if (hf_absent(*out)) {
        *out = NULL;
        return 0;
    }
    if (!json_is_array(*out) || json_array_size(*out) != h->n_layers || h->n_layers > HD_MAX_LAYERS)
        return hd_fail(err, HD_E_FORMAT, "%s is not a list with an entry for each of %llu layers",
                       key, (unsigned long long)h->n_layers);
    return 0;
}

/* Where each so manieth layer is another; 0 in the file: none is. */
static int read_every(const json_t *o, const char *key, bool *of, struct hd_error *err)
{
    uint64_t every = 0;
    int rc = hf_read_count(o, key, &every, err);

    for (uint64_t l = 0; rc == 0 && every > 0 && l < HD_MAX_LAYERS; l++)
        of[l] = (l + 1) % every == 0;
    return rc;
}

/* The first so many are another; 0 is none, too. */
static int read_first(const json_t *o, const char *key, bool *of, struct hd_error *err)
{
    double first = 0;
    int rc = hf_read_real(o, key, &first, err);

    for (uint64_t l = 0; rc == 0 && l < HD_MAX_LAYERS; l++)
        of[l] = (double)l < first;
    return rc;
}

/* As it is written where no layer has a window. */
static bool is_zero(const json_t *j)
{
    return json_is_integer(j) && json_integer_value(j) == 0;
}

static bool own_rule(const struct hd_hyper *h, const char *name)
{
    return h->arch->hf_rules &&
           hd_rule_find(h->arch->hf_rules, (struct hd_str){name, strlen(name)});
}

static int read_layers(const json_t *o, struct hd_hyper *h, struct hd_error *err)
{
    const json_t *types = NULL, *ropes = NULL;
    int rc = 0;

    hd_hyper_turns(h);
    if (json_is_string(json_object_get(o, "sliding_window_pattern"))) /* as letters, once more */
        rc = hf_absent(json_object_get(o, "layer_types"))
                 ? hd_fail(err, HD_E_UNSUPPORTED,
                           "sliding_window_pattern has letters, and there "
                           "are no layer_types")
                 : 0;
    else if (h->arch->global_every && !is_zero(json_object_get(o, "sliding_window_pattern")))
        rc = read_every(o, "sliding_window_pattern", h->global, err);
    if (rc == 0 && h->arch->no_rope_every)
        rc = read_every(o, "no_rope_layer_interval", h->no_rope, err);
    if (rc == 0 && hd_rule_reads(h->arch->hf_rules, "max_window_layers"))
        rc = read_first(o, "max_window_layers", h->global, err);
    if (rc == 0 && own_rule(h, "layer_types"))
        rc = layer_list(o, "layer_types", h, &types, err);
    if (rc == 0 && h->arch->no_rope_every)
        rc = layer_list(o, "no_rope_layers", h, &ropes, err);
    for (size_t l = 0; rc == 0 && types && l < h->n_layers; l++) {
        const char *type = json_string_value(json_array_get(types, l));
        h->global[l] = !type || strcmp(type, "sliding_attention") != 0;
    }
    for (size_t l = 0; rc == 0 && ropes && l < h->n_layers; l++)
        h->no_rope[l] = json_integer_value(json_array_get(ropes, l)) == 0;
    return rc;
}

/* How many there are has one name or another, and so has their width. */
static int read_experts(const json_t *o, struct hd_hyper *h, struct hd_error *err)
{
    uint64_t local = 0;
    const struct hf_count counts[] = {
        {"num_local_experts", &local},
        {"num_experts", &h->n_experts},
        {"num_experts_per_tok", &h->n_used},
        {"moe_intermediate_size", &h->ffn_dim},
    };
    bool normalise = h->arch->router.normalise;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < sizeof counts / sizeof *counts; i++)
        if (hd_rule_reads(h->arch->hf_rules, counts[i].key))
            rc = hf_read_count(o, counts[i].key, counts[i].out, err);
    if (rc == 0 && local != 0 && h->n_experts != 0 && local != h->n_experts)
        rc = hd_fail(err, HD_E_UNSUPPORTED, "num_local_experts and num_experts differ");
    if (h->n_experts == 0)
        h->n_experts = local;
    if (rc == 0 && hd_rule_reads(h->arch->hf_rules, "norm_topk_prob"))
        rc = hf_read_flag(o, "norm_topk_prob", &normalise, err);
    h->normalise = normalise ? 1 : -1;
    return rc;
}

/* Families of one FFN and several activations; names as in transformers' activations.py. */
static int read_activation(const json_t *o, struct hd_hyper *h, struct hd_error *err)
{
    static const struct {
        const char *name;
        enum hd_activation is;
    } words[] = {
        {"gelu", HD_ACTIVATION_GELU},
        {"gelu_python", HD_ACTIVATION_GELU},
        {"gelu_new", HD_ACTIVATION_GELU_TANH},
        {"gelu_fast", HD_ACTIVATION_GELU_TANH},
        {"gelu_pytorch_tanh", HD_ACTIVATION_GELU_TANH},
        {"gelu_python_tanh", HD_ACTIVATION_GELU_TANH},
        {"relu2", HD_ACTIVATION_RELU2},
        {"silu", HD_ACTIVATION_SILU},
        {"swish", HD_ACTIVATION_SILU},
    };
    const json_t *j = json_object_get(o, "hidden_act");
    const char *word = json_string_value(j);

    if (hf_absent(j))
        return 0;
    for (size_t i = 0; word && i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i].name, word) == 0) {
            h->activation = 1 + (unsigned)words[i].is;
            return 0;
        }
    return hd_fail(err, HD_E_UNSUPPORTED,
                   "the activation is \"%.40s\"; gelu, gelu_new, relu2 and silu are known",
                   word ? word : "?");
}

/* Falcon's: one KV head, unless the newer form of the decoder says how many there are, or
 * as many as there are heads. That form may have a norm for each half. */
static int read_decoder_form(const json_t *o, struct hd_hyper *h, struct hd_error *err)
{
    bool newer = false, one = true;
    uint64_t norms = 0;
    int rc = hf_read_flag(o, "new_decoder_architecture", &newer, err);

    if (rc == 0)
        rc = hf_read_flag(o, "multi_query", &one, err);
    if (rc == 0)
        rc = hf_read_count(o, "num_ln_in_parallel_attn", &norms, err);
    if (rc == 0 && (norms > 2 || (norms == 2 && !newer)))
        return hd_fail(err, HD_E_UNSUPPORTED, "num_ln_in_parallel_attn is %llu%s",
                       (unsigned long long)norms, newer ? "" : " without new_decoder_architecture");
    if (!newer && one)
        h->n_kv_heads = 1;
    h->two_norms = newer && norms != 1;
    return rc;
}

int hf_read_block(const json_t *o, struct hd_hyper *h, struct hd_error *err)
{
    int rc = read_reals(o, h, err);

    if (rc == 0)
        rc = read_layers(o, h, err);
    if (rc == 0 && hd_rule_reads(h->arch->hf_rules, "sliding_window"))
        rc = hf_read_count(o, "sliding_window", &h->window, err);
    if (rc == 0 && h->arch->experts)
        rc = read_experts(o, h, err);
    if (rc == 0 && hd_rule_reads(h->arch->hf_rules, "attention_bias"))
        rc = hf_read_flag(o, "attention_bias", &h->attention_bias, err);
    if (rc == 0 && hd_rule_reads(h->arch->hf_rules, "use_qkv_bias"))
        rc = hf_read_flag(o, "use_qkv_bias", &h->attention_bias, err);
    if (rc == 0 && hd_rule_reads(h->arch->hf_rules, "qk_layernorm"))
        rc = hf_read_flag(o, "qk_layernorm", &h->qk_norms, err);
    if (rc == 0 && hd_rule_reads(h->arch->hf_rules, "use_qk_norm"))
        rc = hf_read_flag(o, "use_qk_norm", &h->qk_norms, err);
    if (rc == 0 && hd_rule_reads(h->arch->hf_rules, "use_parallel_residual"))
        rc = hf_read_flag(o, "use_parallel_residual", &h->parallel, err);
    if (rc == 0 && hd_rule_reads(h->arch->hf_rules, "layer_norm_eps"))
        rc = hf_read_real(o, "layer_norm_eps", &h->norm_eps, err);
    if (rc == 0 && hd_rule_reads(h->arch->hf_rules, "mlp_bias"))
        rc = hf_read_flag(o, "mlp_bias", &h->mlp_bias, err);
    if (rc == 0 && hd_rule_reads(h->arch->hf_rules, "hidden_act"))
        rc = read_activation(o, h, err);
    if (rc == 0 && hd_rule_reads(h->arch->hf_rules, "new_decoder_architecture"))
        rc = read_decoder_form(o, h, err);
    h->parallel |= h->arch->parallel;
    return rc;
}
