/* structured.c - what an answer must match: each of the clients' ways becomes a schema, a regular
 * expression or a grammar. */
#include "leader/api/structured.h"

#include "common/util/error.h"
#include "leader/api/schema.h"
#include "leader/api/text.h"

#include <stdlib.h>
#include <string.h>

static const char any_object[] = /* OpenAI's json_object; blanks as in schema.c */
    "{\"type\":\"object\",\"x-guidance\":{\"whitespace_flexible\":false,\"item_separator\":\", \","
    "\"key_separator\":\": \"}}";

int hd_structured_set(struct hd_structured *s, const char *key, enum hd_grammar_kind kind,
                      char *text, struct hd_refusal *r)
{
    if (!text)
        return hd_refuse_memory(r);
    if (s->text) {
        free(text);
        return hd_refuse(r, 400, key, "invalid_value",
                         "'%s' and '%s' both say what the answer must match; give one of them.",
                         s->key, key);
    }
    *s = (struct hd_structured){.text = text, .kind = kind, .key = key};
    return 0;
}

/* vLLM takes a schema also as text. */
static int take_schema(struct hd_structured *s, const char *key, const json_t *v,
                       struct hd_refusal *r)
{
    json_t *schema =
        json_is_string(v) ? json_loads(json_string_value(v), 0, NULL) : json_incref((json_t *)v);
    bool is_one = json_is_object(schema);
    char *text = is_one ? hd_schema_narrow(schema) : NULL;
    json_decref(schema);
    if (!is_one)
        return hd_refuse_value(r, key, "a JSON schema, an object");
    return hd_structured_set(s, key, HD_GRAMMAR_JSON_SCHEMA, text, r);
}

static int take_text(struct hd_structured *s, const char *key, enum hd_grammar_kind kind,
                     const json_t *v, struct hd_refusal *r)
{
    if (!json_is_string(v) || json_string_length(v) == 0)
        return hd_refuse_value(r, key, "a string that is not empty");
    return hd_structured_set(s, key, kind, strdup(json_string_value(v)), r);
}

/* Each as a text of JSON, which Lark's texts are too. */
static int take_choice(struct hd_structured *s, const char *key, const json_t *v,
                       struct hd_refusal *r)
{
    struct hd_text g = {0};
    size_t n = json_array_size(v);
    int rc = hd_text_add(&g, "start: ", 7);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const json_t *one = json_array_get(v, i);
        char *quoted = json_is_string(one) && json_string_length(one) > 0
                           ? json_dumps(one, JSON_ENCODE_ANY | JSON_ENSURE_ASCII)
                           : NULL;
        rc = quoted ? hd_text_add(&g, i ? " | " : "", i ? 3 : 0) : HD_E_RANGE;
        if (rc == 0)
            rc = hd_text_add(&g, quoted, strlen(quoted));
        free(quoted);
    }
    if (rc == HD_E_RANGE || n == 0) {
        hd_text_deinit(&g);
        return hd_refuse_value(r, key, "an array of strings, none empty");
    }
    return hd_structured_set(s, key, HD_GRAMMAR_LARK, rc == 0 ? g.data : NULL, r);
}

/* {"type": "text"} and so on. */
static int take_format(struct hd_structured *s, const char *key, const json_t *v,
                       struct hd_refusal *r)
{
    const char *type = json_string_value(json_object_get(v, "type"));
    const json_t *schema = json_object_get(v, "schema"); /* of llama.cpp */
    if (type && strcmp(type, "text") == 0)
        return 0;
    if (type && strcmp(type, "json_object") == 0 && schema)
        return take_schema(s, key, schema, r);
    if (type && strcmp(type, "json_object") == 0)
        return hd_structured_set(s, key, HD_GRAMMAR_JSON_SCHEMA, strdup(any_object), r);
    if (!type || strcmp(type, "json_schema") != 0)
        return hd_refuse_value(r, key, "{\"type\": \"text\", \"json_object\" or \"json_schema\"}");
    schema = json_object_get(json_object_get(v, "json_schema"), "schema");
    if (!schema)
        return hd_refuse_value(r, key,
                               "{\"type\": \"json_schema\", \"json_schema\": {\"schema\": {...}}}");
    return take_schema(s, key, schema, r);
}

static int take_json_object(struct hd_structured *s, const char *key, const json_t *v,
                            struct hd_refusal *r)
{
    if (!json_is_boolean(v))
        return hd_refuse_value(r, key, "true or false");
    return json_is_true(v)
               ? hd_structured_set(s, key, HD_GRAMMAR_JSON_SCHEMA, strdup(any_object), r)
               : 0;
}

/* vLLM's {"json": ..., "regex": ..., "choice": ..., "grammar": ..., "json_object": true}: one of
 * them. */
static int take_outputs(struct hd_structured *s, const char *key, const json_t *v,
                        struct hd_refusal *r)
{
    const char *name;
    json_t *value;
    int rc = json_is_object(v) ? 0 : hd_refuse_value(r, key, "an object");
    json_object_foreach((json_t *)v, name, value)
    {
        if (rc < 0 || json_is_null(value))
            continue;
        if (strcmp(name, "json") == 0)
            rc = take_schema(s, key, value, r);
        else if (strcmp(name, "regex") == 0)
            rc = take_text(s, key, HD_GRAMMAR_REGEX, value, r);
        else if (strcmp(name, "grammar") == 0)
            rc = take_text(s, key, HD_GRAMMAR_LARK, value, r);
        else if (strcmp(name, "choice") == 0)
            rc = take_choice(s, key, value, r);
        else if (strcmp(name, "json_object") == 0)
            rc = take_json_object(s, key, value, r);
        else
            rc = hd_refuse(r, 400, key, "unsupported_value", "'%s' does not know '%.60s' here.",
                           key, name);
    }
    return rc;
}

int hd_structured_take(struct hd_structured *s, const char *key, const json_t *v,
                       struct hd_refusal *r)
{
    if (strcmp(key, "response_format") == 0)
        return take_format(s, "response_format", v, r);
    if (strcmp(key, "structured_outputs") == 0)
        return take_outputs(s, "structured_outputs", v, r);
    if (strcmp(key, "json_schema") == 0)
        return take_schema(s, "json_schema", v, r);
    if (strcmp(key, "guided_json") == 0)
        return take_schema(s, "guided_json", v, r);
    if (strcmp(key, "guided_regex") == 0)
        return take_text(s, "guided_regex", HD_GRAMMAR_REGEX, v, r);
    if (strcmp(key, "guided_grammar") == 0)
        return take_text(s, "guided_grammar", HD_GRAMMAR_LARK, v, r);
    if (strcmp(key, "grammar") == 0) /* llama.cpp's; its clients send "" for none */
        return json_is_string(v) && json_string_length(v) == 0
                   ? 0
                   : take_text(s, "grammar", HD_GRAMMAR_LARK, v, r);
    return take_choice(s, "guided_choice", v, r);
}

int hd_structured_open(struct hd_grammar **out, const struct hd_structured *s,
                       const struct hd_tokenizer *t, struct hd_refusal *r)
{
    struct hd_error err = {0};
    if (!s->text)
        return 0;
    if (!t)
        return hd_refuse(r, 400, s->key, "no_tokenizer",
                         "'%s' needs the model's tokenizer, and it carries none.", s->key);
    int rc = hd_grammar_open(out, t, s->kind, s->text, strlen(s->text), &err);
    if (rc == HD_E_NOMEM)
        return hd_refuse_memory(r);
    if (rc < 0)
        return hd_refuse(r, 400, s->key, "invalid_value", "'%s' cannot be matched: %.400s", s->key,
                         err.text);
    return 0;
}

void hd_structured_deinit(struct hd_structured *s)
{
    free(s->text);
    s->text = NULL;
}
