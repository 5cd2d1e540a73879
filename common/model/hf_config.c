/* config.json as transformers writes it, in the form up to version 4 and in that of version 5.
 * Defaults are those of LlamaConfig, or what a family's row says. */
#include "common/model/hf_read.h"

#include <stdlib.h>
#include <string.h>

bool hf_absent(const json_t *j)
{
    return !j || json_is_null(j);
}

/* An integer from 1; absent is 0, as struct hd_hyper has it. */
int hf_read_count(const json_t *o, const char *key, uint64_t *out, struct hd_error *err)
{
    const json_t *j = json_object_get(o, key);

    *out = 0;
    if (hf_absent(j))
        return 0;
    if (!json_is_integer(j) || json_integer_value(j) < 1)
        return hd_fail(err, HD_E_FORMAT, "%s is not a positive integer", key);
    *out = (uint64_t)json_integer_value(j);
    return 0;
}

int hf_read_counts(const json_t *o, const struct hf_count *list, size_t n, struct hd_error *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = hf_read_count(o, list[i].key, list[i].out, err);
    return rc;
}

/* A number; *out keeps its value when absent. */
int hf_read_real(const json_t *o, const char *key, double *out, struct hd_error *err)
{
    const json_t *j = json_object_get(o, key);

    if (hf_absent(j))
        return 0;
    if (!json_is_number(j))
        return hd_fail(err, HD_E_FORMAT, "%s is not a number", key);
    *out = json_number_value(j);
    return 0;
}

int hf_read_flag(const json_t *o, const char *key, bool *out, struct hd_error *err)
{
    const json_t *j = json_object_get(o, key);

    if (hf_absent(j))
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
    if (hf_absent(j))
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

int hf_check_fields(const json_t *o, const struct hd_rule *own, const struct hd_rule *rules,
                    const char *what, const struct hd_hyper *h, struct hd_warnings *w,
                    struct hd_error *err)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)o, name, value)
    {
        struct hd_str key = {name, strlen(name)};
        const struct hd_rule *r = own ? hd_rule_find(own, key) : NULL;

        r = r ? r : hd_rule_find(rules, key);

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
    char known[512];

    h->arch = type ? hd_arch_of_hf(type) : NULL;
    hd_arch_list(true, known, sizeof known);
    if (!h->arch)
        return hd_fail(err, HD_E_UNSUPPORTED, "model_type is \"%s\"; only %s is supported",
                       type ? type : "", known);
    h->norm_offset = (double)h->arch->hf_norm_offset;
    return 0;
}

/* What the family's own configuration has for fields that are not there. */
static int add_text(json_t *o, const char *text)
{
    json_t *defaults = text ? json_loads(text, 0, NULL) : json_object();
    int rc = defaults ? json_object_update_missing(o, defaults) : -1;

    json_decref(defaults);
    return rc;
}

/* One name of the number of experts stands for the other. */
static int add_name(json_t *o, const char *name, const char *other)
{
    json_t *count = json_object_get(o, other);

    return hf_absent(json_object_get(o, name)) && !hf_absent(count)
               ? json_object_set(o, name, count)
               : 0;
}

static int add_defaults(json_t *o, const struct hd_hyper *h, struct hd_error *err)
{
    int rc = 0;

    for (const struct hd_alias *a = h->arch->hf_aliases; a && a->theirs && rc == 0; a++)
        rc = add_name(o, a->usual, a->theirs);
    if (rc == 0 && h->arch->experts)
        rc = add_name(o, "num_experts", "num_local_experts") |
             add_name(o, "num_local_experts", "num_experts");
    if (rc == 0)
        rc = add_text(o, h->arch->hf_defaults);

    if (rc == 0 && h->wrapped)
        rc = add_text(o, h->arch->hf_part_defaults);
    if (rc == 0 && h->arch->hf_rope && hf_absent(json_object_get(o, "rope_scaling")) &&
        hf_absent(json_object_get(o, "rope_parameters")))
        rc = json_object_set_new(o, "rope_scaling", json_loads(h->arch->hf_rope, 0, NULL));
    return rc < 0 ? hd_fail(err, HD_E_NOMEM, "no memory for its fields") : 0;
}

/* A window that is switched off may have any size. */
static int drop_window(json_t *o, struct hd_error *err)
{
    bool window = true;
    int rc = hf_read_flag(o, "use_sliding_window", &window, err);

    if (rc == 0 && !window)
        json_object_del(o, "sliding_window");
    return rc;
}

static int check_all(const json_t *o, const struct hd_hyper *h, struct hd_warnings *w,
                     struct hd_error *err)
{
    return hf_check_fields(o, h->arch->hf_rules, hd_config_rules, "field", h, w, err);
}

/* ---- The whole ------------------------------------------------------------------------------*/

static int read_hyper(const json_t *o, struct hd_hyper *h, struct hd_error *err)
{
    const struct hf_count counts[] = {
        {"num_hidden_layers", &h->n_layers},
        {"hidden_size", &h->dim},
        {"num_attention_heads", &h->n_heads},
        {"num_key_value_heads", &h->n_kv_heads},
        {"head_dim", &h->head_dim},
        {"intermediate_size", &h->ffn_dim},
        {"vocab_size", &h->vocab},
        {"max_position_embeddings", &h->context},
    };
    int rc = hf_read_counts(o, counts, sizeof counts / sizeof *counts, err);

    h->norm_eps = 1e-6;
    if (rc == 0)
        rc = hf_read_real(o, "rms_norm_eps", &h->norm_eps, err);
    if (rc == 0)
        rc = hf_read_flag(o, "tie_word_embeddings", &h->tied_output, err);
    if (rc == 0)
        rc = read_token(o, "bos_token_id", &h->bos, err);
    if (rc == 0)
        rc = read_token(o, "eos_token_id", &h->eos, err);
    if (rc == 0)
        rc = hf_read_block(o, h, err);
    if (rc == 0)
        rc = hf_read_quantized(o, h, err);
    if (h->ffn_dim == 0 && h->arch->ffn_by_four)
        h->ffn_dim = 4 * h->dim;
    return rc < 0 ? rc : hf_read_rope(o, h, err);
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
    rc = hf_unwrap(&o, &h->wrapped, w, &why);
    if (rc == 0)
        rc = find_family(h, o, &why);
    if (rc == 0)
        rc = add_defaults(o, h, &why);
    if (rc == 0)
        rc = drop_window(o, &why);
    if (rc == 0)
        rc = read_hyper(o, h, &why);
    if (rc == 0)
        rc = check_all(o, h, w, &why);
    json_decref(o);
    return rc < 0 ? hd_fail(err, rc, "%s: %s", path, why.text) : 0;
}
