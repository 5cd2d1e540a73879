/* config.json of transformers' LlamaForCausalLM, in the form up to version 4 (`rope_theta` beside
 * `rope_scaling`) and in that of version 5 (`rope_parameters`). Defaults are those of
 * LlamaConfig. */
#include "common/model/json.h"
#include "common/model/model_impl.h"

#include <string.h>

static bool absent(const json_t *j)
{
    return !j || json_is_null(j);
}

/* An integer from 1; absent is 0, as struct hd_hyper has it. */
static int read_count(const json_t *o, const char *key, uint64_t *out, struct hd_error *err)
{
    const json_t *j = json_object_get(o, key);

    *out = 0;
    if (absent(j))
        return 0;
    if (!json_is_integer(j) || json_integer_value(j) < 1)
        return hd_fail(err, HD_E_FORMAT, "%s is not a positive integer", key);
    *out = (uint64_t)json_integer_value(j);
    return 0;
}

/* A number; *out keeps its value when absent. */
static int read_real(const json_t *o, const char *key, double *out, struct hd_error *err)
{
    const json_t *j = json_object_get(o, key);

    if (absent(j))
        return 0;
    if (!json_is_number(j))
        return hd_fail(err, HD_E_FORMAT, "%s is not a number", key);
    *out = json_number_value(j);
    return 0;
}

static int read_flag(const json_t *o, const char *key, bool *out, struct hd_error *err)
{
    const json_t *j = json_object_get(o, key);

    if (absent(j))
        return 0;
    if (!json_is_boolean(j))
        return hd_fail(err, HD_E_FORMAT, "%s is neither true nor false", key);
    *out = json_is_true(j);
    return 0;
}

static int read_token(const json_t *o, const char *key, int32_t *out, struct hd_error *err)
{
    const json_t *j = json_object_get(o, key);

    *out = -1;
    if (json_is_array(j))
        j = json_array_get(j, 0);
    if (absent(j))
        return 0;
    if (!json_is_integer(j) || json_integer_value(j) < 0 || json_integer_value(j) > INT32_MAX)
        return hd_fail(err, HD_E_FORMAT, "%s is not a token id", key);
    *out = (int32_t)json_integer_value(j);
    return 0;
}

/* ---- What we cannot do ----------------------------------------------------------------------*/

static int check_family(const json_t *o, struct hd_error *err)
{
    const char *type = json_string_value(json_object_get(o, "model_type"));
    const json_t *act = json_object_get(o, "hidden_act");
    bool attention_bias = false, mlp_bias = false;

    if (!type || strcmp(type, "llama") != 0)
        return hd_fail(err, HD_E_UNSUPPORTED, "model_type is \"%s\"; only \"llama\" is supported",
                       type ? type : "");
    if (!absent(act) && (!json_is_string(act) || strcmp(json_string_value(act), "silu") != 0))
        return hd_fail(err, HD_E_UNSUPPORTED, "hidden_act is not \"silu\"");
    if (!absent(json_object_get(o, "quantization_config")))
        return hd_fail(err, HD_E_UNSUPPORTED,
                       "quantization_config is not supported; take the unquantized model or a "
                       "GGUF file");
    int rc = read_flag(o, "attention_bias", &attention_bias, err);
    if (rc == 0)
        rc = read_flag(o, "mlp_bias", &mlp_bias, err);
    if (rc == 0 && (attention_bias || mlp_bias))
        rc = hd_fail(err, HD_E_UNSUPPORTED, "attention_bias and mlp_bias are not supported");
    return rc;
}

/* ---- RoPE -----------------------------------------------------------------------------------*/

static int read_scaling(const json_t *o, struct hd_rope_config *r, struct hd_error *err)
{
    const char *type = json_string_value(json_object_get(o, "rope_type"));
    double rotary = 1;
    int rc = read_real(o, "partial_rotary_factor", &rotary, err);

    if (rc == 0 && rotary != 1)
        return hd_fail(err, HD_E_UNSUPPORTED, "partial_rotary_factor is not supported");
    if (!type)
        type = json_string_value(json_object_get(o, "type"));
    if (rc < 0 || !type || strcmp(type, "default") == 0)
        return rc;
    if (strcmp(type, "linear") == 0)
        r->scaling = HD_ROPE_LINEAR;
    else if (strcmp(type, "llama3") == 0)
        r->scaling = HD_ROPE_LLAMA3;
    else
        return hd_fail(err, HD_E_UNSUPPORTED,
                       "rope_type \"%s\" is not supported (default, linear and llama3 are)", type);
    rc = read_real(o, "factor", &r->factor, err);
    if (rc == 0)
        rc = read_real(o, "low_freq_factor", &r->low_freq_factor, err);
    if (rc == 0)
        rc = read_real(o, "high_freq_factor", &r->high_freq_factor, err);
    if (rc == 0)
        rc = read_real(o, "original_max_position_embeddings", &r->original_context, err);
    return rc;
}

static int read_rope(const json_t *o, struct hd_rope_config *r, struct hd_error *err)
{
    const json_t *p = json_object_get(o, "rope_parameters");

    r->theta = 10000;
    int rc = read_real(o, "rope_theta", &r->theta, err);
    if (absent(p))
        p = json_object_get(o, "rope_scaling");
    if (rc < 0 || absent(p))
        return rc;
    if (!json_is_object(p))
        return hd_fail(err, HD_E_FORMAT, "rope_parameters or rope_scaling is not an object");
    rc = read_real(p, "rope_theta", &r->theta, err);
    return rc < 0 ? rc : read_scaling(p, r, err);
}

/* ---- The whole ------------------------------------------------------------------------------*/

static int read_hyper(const json_t *o, struct hd_hyper *h, struct hd_error *err)
{
    const struct {
        const char *key;
        uint64_t *out;
    } counts[] = {
        {"num_hidden_layers", &h->n_layers},
        {"hidden_size", &h->dim},
        {"num_attention_heads", &h->n_heads},
        {"num_key_value_heads", &h->n_kv_heads},
        {"head_dim", &h->head_dim},
        {"intermediate_size", &h->ffn_dim},
        {"vocab_size", &h->vocab},
        {"max_position_embeddings", &h->context},
    };
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < sizeof counts / sizeof *counts; i++)
        rc = read_count(o, counts[i].key, counts[i].out, err);
    h->norm_eps = 1e-6;
    if (rc == 0)
        rc = read_real(o, "rms_norm_eps", &h->norm_eps, err);
    if (rc == 0)
        rc = read_flag(o, "tie_word_embeddings", &h->tied_output, err);
    return rc < 0 ? rc : read_rope(o, &h->rope, err);
}

int hd_hf_config_read(struct hd_hf_config *c, const char *path, struct hd_error *err)
{
    struct hd_error why = {0};
    json_t *o;
    int rc = hd_json_file(&o, path, err);

    *c = (struct hd_hf_config){0};
    if (rc < 0)
        return rc;
    rc = check_family(o, &why);
    if (rc == 0)
        rc = read_hyper(o, &c->hyper, &why);
    if (rc == 0)
        rc = read_token(o, "bos_token_id", &c->bos, &why);
    if (rc == 0)
        rc = read_token(o, "eos_token_id", &c->eos, &why);
    json_decref(o);
    return rc < 0 ? hd_fail(err, rc, "%s: %s", path, why.text) : 0;
}
