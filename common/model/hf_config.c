/* config.json of transformers' LlamaForCausalLM, in the form up to version 4 (`rope_theta` beside
 * `rope_scaling`) and in that of version 5 (`rope_parameters`). Defaults are those of
 * LlamaConfig. */
#include "common/model/arch.h"
#include "common/model/json.h"
#include "common/model/rules.h"

#include <stdlib.h>
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

/* The first of a list; -1 when not given. */
static int read_token(const json_t *o, const char *key, int64_t *out, struct hd_error *err)
{
    const json_t *j = json_object_get(o, key);

    *out = -1;
    if (json_is_array(j))
        j = json_array_get(j, 0);
    if (absent(j))
        return 0;
    if (!json_is_integer(j))
        return hd_fail(err, HD_E_FORMAT, "%s is not a token id", key);
    *out = json_integer_value(j);
    return 0;
}

/* ---- Unread means refused -------------------------------------------------------------------*/

static struct hd_said said(const json_t *j)
{
    struct hd_said v = {.kind = HD_SAID_NUMBER};

    if (json_is_string(j))
        return (struct hd_said){.kind = HD_SAID_WORD,
                                .word = {json_string_value(j), json_string_length(j)}};
    if (json_is_boolean(j))
        v.number = json_is_true(j);
    else if (json_is_number(j))
        v.number = json_number_value(j);
    else
        v.kind = HD_SAID_OTHER;
    return v;
}

static bool accepts(const struct hd_rule *r, const json_t *j, const struct hd_hyper *h)
{
    size_t n = json_is_array(j) ? json_array_size(j) : json_is_object(j) ? json_object_size(j) : 1;

    if (!r || r->kind == HD_RULE_NEVER)
        return false;
    if (r->kind == HD_RULE_READ || r->kind == HD_RULE_NOTE || r->kind == HD_RULE_WARN)
        return true;
    for (size_t i = 0; i < n; i++) {
        struct hd_said v = said(json_is_array(j) ? json_array_get(j, i) : j);

        if (!hd_rule_accepts(r, &v, h))
            return false;
    }
    return true;
}

/* `what`: "field", or "field of ...". null stands for what is not there, whatever its name. */
static int check_fields(const json_t *o, const struct hd_rule *rules, const char *what,
                        const struct hd_hyper *h, struct hd_warnings *w, struct hd_error *err)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)o, name, value)
    {
        struct hd_str key = {name, strlen(name)};
        const struct hd_rule *r = hd_rule_find(rules, key);

        if (json_is_null(value))
            continue;
        if (r && r->kind == HD_RULE_WARN)
            hd_warnings_add(w, "%s", r->text);
        if (accepts(r, value, h))
            continue;
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT), shown[64];
        hd_printable(shown, sizeof shown,
                     (struct hd_str){text ? text : "?", strlen(text ? text : "?")});
        free(text);
        return hd_rule_refuse(r, &(struct hd_setting){what, key, shown}, err);
    }
    return 0;
}

static int find_family(struct hd_hyper *h, const json_t *o, struct hd_error *err)
{
    const char *type = json_string_value(json_object_get(o, "model_type"));
    char known[256];

    h->arch = type ? hd_arch_of_hf(type) : NULL;
    hd_arch_list(true, known, sizeof known);
    if (!h->arch)
        return hd_fail(err, HD_E_UNSUPPORTED, "model_type is \"%s\"; only %s is supported",
                       type ? type : "", known);
    return 0;
}

/* A window that is switched off may have any size. */
static int check_all(json_t *o, const struct hd_hyper *h, struct hd_warnings *w,
                     struct hd_error *err)
{
    bool window = true;
    int rc = read_flag(o, "use_sliding_window", &window, err);

    if (rc == 0 && !window)
        json_object_del(o, "sliding_window");
    return rc < 0 ? rc : check_fields(o, hd_config_rules, "field", h, w, err);
}

/* ---- RoPE -----------------------------------------------------------------------------------*/

/* Parameters, and the kinds of scaling that use them. One that its kind does not use was meant for
 * another. */
enum { LINEAR = 1 << HD_ROPE_LINEAR, LLAMA3 = 1 << HD_ROPE_LLAMA3 };

static int read_parameters(const json_t *o, struct hd_rope_config *r, struct hd_error *err)
{
    const struct {
        const char *key;
        unsigned of;
        double *out;
    } parameters[] = {
        {"factor", LINEAR | LLAMA3, &r->factor},
        {"low_freq_factor", LLAMA3, &r->low_freq_factor},
        {"high_freq_factor", LLAMA3, &r->high_freq_factor},
    };
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < sizeof parameters / sizeof *parameters; i++) {
        double v = 1;

        rc = read_real(o, parameters[i].key, &v, err);
        if (rc == 0 && !(parameters[i].of & 1u << r->scaling) && v != 1)
            rc = hd_fail(err, HD_E_UNSUPPORTED,
                         "field %s of RoPE is %g, and its rope_type does not use it: say which "
                         "scaling is meant",
                         parameters[i].key, v);
        if (rc == 0 && !absent(json_object_get(o, parameters[i].key)))
            *parameters[i].out = v;
    }
    return rc;
}

static int read_kind(const json_t *o, struct hd_rope_config *r, struct hd_error *err)
{
    static const char *const kinds[] = {
        [HD_ROPE_PLAIN] = "default", [HD_ROPE_LINEAR] = "linear", [HD_ROPE_LLAMA3] = "llama3"};
    const json_t *now = json_object_get(o, "rope_type"), *then = json_object_get(o, "type");
    const char *type = "default";

    if (!absent(now) && !absent(then) && !json_equal(now, then))
        return hd_fail(err, HD_E_UNSUPPORTED, "rope_type and type of RoPE contradict");
    now = absent(now) ? then : now;
    if (!absent(now))
        type = json_is_string(now) ? json_string_value(now) : "?";
    for (int i = 0; i < 3; i++)
        if (strcmp(type, kinds[i]) == 0) {
            r->scaling = (enum hd_rope_scaling)i;
            return 0;
        }
    return hd_fail(err, HD_E_UNSUPPORTED,
                   "rope_type \"%.40s\" is not supported (default, linear and llama3 are)", type);
}

/* As in transformers, the model's own original length goes before that of the scaling, and its
 * whole length stands in where neither is said. */
static int read_original(const json_t *o, const json_t *p, struct hd_hyper *h, struct hd_error *err)
{
    static const char key[] = "original_max_position_embeddings";
    double *out = &h->rope.original_context;
    int rc;

    *out = (double)h->context;
    rc = read_real(p, key, out, err);
    return rc < 0 ? rc : read_real(o, key, out, err);
}

static int read_scaling(const json_t *o, const json_t *p, struct hd_hyper *h, struct hd_error *err)
{
    int rc = read_real(p, "rope_theta", &h->rope.theta, err);

    if (rc == 0)
        rc = read_kind(p, &h->rope, err);
    if (rc == 0)
        rc = check_fields(p, hd_rope_rules, "field of RoPE", h, NULL, err);
    if (rc == 0)
        rc = read_parameters(p, &h->rope, err);
    return rc < 0 ? rc : read_original(o, p, h, err);
}

static int read_rope(const json_t *o, struct hd_hyper *h, struct hd_error *err)
{
    const json_t *p = json_object_get(o, "rope_parameters"),
                 *then = json_object_get(o, "rope_scaling");
    int rc;

    h->rope.theta = 10000;
    rc = read_real(o, "rope_theta", &h->rope.theta, err);
    if (rc == 0 && !absent(p) && !absent(then) && !json_equal(p, then))
        return hd_fail(err, HD_E_UNSUPPORTED,
                       "rope_parameters and rope_scaling are both given and differ");
    p = absent(p) ? then : p;
    if (rc < 0 || absent(p))
        return rc;
    if (!json_is_object(p))
        return hd_fail(err, HD_E_FORMAT, "rope_parameters or rope_scaling is not an object");
    return read_scaling(o, p, h, err);
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
    if (rc == 0)
        rc = read_token(o, "bos_token_id", &h->bos, err);
    if (rc == 0)
        rc = read_token(o, "eos_token_id", &h->eos, err);
    return rc < 0 ? rc : read_rope(o, h, err);
}

int hd_hf_config_read(struct hd_hyper *h, const char *path, struct hd_warnings *w,
                      struct hd_error *err)
{
    struct hd_error why = {0};
    json_t *o;
    int rc = hd_json_file(&o, path, err);

    *h = (struct hd_hyper){.bos = -1, .eos = -1};
    if (rc < 0)
        return rc;
    rc = find_family(h, o, &why);
    if (rc == 0)
        rc = read_hyper(o, h, &why);
    if (rc == 0)
        rc = check_all(o, h, w, &why);
    json_decref(o);
    return rc < 0 ? hd_fail(err, rc, "%s: %s", path, why.text) : 0;
}
