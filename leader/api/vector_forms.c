/* vector_forms.c - how texts come in and their vectors go out: OpenAI's and Ollama's ways. */
#include "leader/api/embeddings.h"

#include "common/util/clock.h"

#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TEXTS 2048 /* as OpenAI has it */

/* ---- What is asked ----*/

/* A model may see less of a text than its context. */
static int read_one(struct hd_embeddings *e, const json_t *v, const char *key, struct hd_refusal *r)
{
    struct hd_api_backend b = e->call->api->o.backend;
    struct hd_embedded *t = &e->texts[e->n];
    if (b.pooled->max_tokens > 0 && b.pooled->max_tokens < b.context)
        b.context = b.pooled->max_tokens;
    if (json_is_string(v) && json_string_length(v) == 0)
        return hd_refuse(r, 400, key, "invalid_value", "'%s' has an empty text.", key);
    int rc = hd_prompt_of(&t->text, v, key, &b, r);
    if (rc == 0)
        e->n++;
    return rc;
}

/* A text, or several; as strings or as ids. */
static int read_texts(struct hd_embeddings *e, const json_t *body, const char *key,
                      struct hd_refusal *r)
{
    const json_t *v = json_object_get(body, key), *first = json_array_get(v, 0);
    size_t n = json_is_string(first) || json_is_array(first) ? json_array_size(v) : 0;
    if (!v)
        return hd_refuse(r, 400, key, "missing_required_parameter", "'%s' is required.", key);
    if (n > MAX_TEXTS)
        return hd_refuse(r, 400, key, "invalid_value", "%zu texts are too many; %d are possible.",
                         n, MAX_TEXTS);
    e->texts = calloc(n > 0 ? n : 1, sizeof *e->texts);
    if (!e->texts)
        return hd_refuse_memory(r);
    int rc = n > 0 ? 0 : read_one(e, v, key, r);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = read_one(e, json_array_get(v, i), key, r);
    for (size_t i = 0; i < e->n; i++)
        e->texts[i].all = e;
    return rc;
}

static int read_model(const struct hd_embeddings *e, const json_t *body, struct hd_refusal *r)
{
    const struct hd_api_backend *b = &e->call->api->o.backend;
    const json_t *v = json_object_get(body, "model");
    if (!v || json_is_null(v) || b->any_model)
        return 0;
    if (!json_is_string(v))
        return hd_refuse_value(r, "model", "a string");
    return hd_api_is_model(b, json_string_value(v))
               ? 0
               : hd_refuse_model(r, json_string_value(v), b->model);
}

static int read_length(struct hd_embeddings *e, const json_t *body, struct hd_refusal *r)
{
    const struct hd_api_backend *b = &e->call->api->o.backend;
    const json_t *v = json_object_get(body, "dimensions");
    json_int_t n = json_integer_value(v);
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_integer(v) || n < 1 || n > b->dim)
        return hd_refuse(r, 400, "dimensions", "invalid_value",
                         "'dimensions' must be a number from 1 to %u.", b->dim);
    if (!hd_pooled_has_length(b->pooled, b->dim, (uint32_t)n))
        return hd_refuse(r, 400, "dimensions", "unsupported_value",
                         "The model does not say that its first %lld of %u values are a vector "
                         "(is_matryoshka, matryoshka_dimensions).",
                         (long long)n, b->dim);
    e->length = (uint32_t)n;
    return 0;
}

/* What changes a vector and is not done; what changes nothing. NULL ends a list. */
static const char *const undone[] = {"truncate_prompt_tokens", "add_special_tokens", "normalize",
                                     "embd_normalize",         "prompt_name",        NULL};
static const char *const openai_knows[] = {"input",      "model", "encoding_format",
                                           "dimensions", "user",  NULL};
static const char *const ollama_knows[] = {"input",    "prompt",     "model",      "options",
                                           "truncate", "keep_alive", "dimensions", NULL};

static bool is_in(const char *const *list, const char *name)
{
    while (*list && strcmp(*list, name) != 0)
        list++;
    return *list;
}

static int check_members(struct hd_embeddings *e, const json_t *body, const char *const *known,
                         struct hd_refusal *r)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)body, key, v)
    {
        if (json_is_null(v) || is_in(known, key))
            continue;
        if (is_in(undone, key))
            return hd_refuse(r, 400, key, "unsupported_value", "'%s' is not done here.", key);
        hd_unknown_add(&e->unknown, key);
    }
    return 0;
}

static int read_all(struct hd_embeddings *e, const json_t *body, const char *texts,
                    const char *const *known, struct hd_refusal *r)
{
    int rc = check_members(e, body, known, r);
    if (rc == 0)
        rc = read_model(e, body, r);
    if (rc == 0)
        rc = read_length(e, body, r);
    return rc == 0 ? read_texts(e, body, texts, r) : rc;
}

static int read_openai(struct hd_embeddings *e, const json_t *body, struct hd_refusal *r)
{
    const json_t *v = json_object_get(body, "encoding_format");
    const char *word = json_string_value(v);
    e->base64 = word && strcmp(word, "base64") == 0;
    if (v && !json_is_null(v) && !e->base64 && !(word && strcmp(word, "float") == 0))
        return hd_refuse_value(r, "encoding_format", "\"float\" or \"base64\"");
    return read_all(e, body, "input", openai_knows, r);
}

static int read_ollama(struct hd_embeddings *e, const json_t *body, struct hd_refusal *r)
{
    return read_all(e, body, "input", ollama_knows, r);
}

static int read_ollama_one(struct hd_embeddings *e, const json_t *body, struct hd_refusal *r)
{
    if (!json_is_string(json_object_get(body, "prompt")))
        return hd_refuse_value(r, "prompt", "a string");
    return read_all(e, body, "prompt", ollama_knows, r);
}

/* ---- What is answered ----*/

static int put(struct hd_text *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int put(struct hd_text *out, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return hd_text_add(out, text, (size_t)n);
}

/* As many digits as f32 needs. */
static int put_numbers(const struct hd_embeddings *e, size_t i, struct hd_text *out)
{
    int rc = put(out, "[");
    for (uint32_t k = 0; rc == 0 && k < e->length; k++)
        rc = put(out, "%s%.9g", k > 0 ? "," : "", (double)e->texts[i].vector[k]);
    return rc == 0 ? put(out, "]") : rc;
}

/* f32, the lowest byte first. */
static int put_base64(const struct hd_embeddings *e, size_t i, struct hd_text *out)
{
    size_t n = e->length * sizeof(float);
    unsigned char *text = malloc(n / 3 * 4 + 8);
    int rc = text ? put(out, "\"") : HD_E_NOMEM;
    int len = text ? EVP_EncodeBlock(text, (const unsigned char *)e->texts[i].vector, (int)n) : 0;
    if (rc == 0)
        rc = hd_text_add(out, (const char *)text, (size_t)len);
    free(text);
    return rc == 0 ? put(out, "\"") : rc;
}

static int put_model(const struct hd_embeddings *e, struct hd_text *out)
{
    json_t *name = json_string(e->call->api->o.backend.model);
    char *text = name ? json_dumps(name, JSON_ENCODE_ANY) : NULL;
    int rc = text ? put(out, "\"model\":") : HD_E_NOMEM;
    if (rc == 0)
        rc = hd_text_add(out, text, strlen(text));
    free(text);
    json_decref(name);
    return rc;
}

static int write_openai(const struct hd_embeddings *e, struct hd_text *out)
{
    unsigned long long tokens = hd_embeddings_tokens(e);
    int rc = put(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; rc == 0 && i < e->n; i++) {
        rc = put(out, "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":", i > 0 ? "," : "",
                 i);
        if (rc == 0)
            rc = e->base64 ? put_base64(e, i, out) : put_numbers(e, i, out);
        if (rc == 0)
            rc = put(out, "}");
    }
    if (rc == 0)
        rc = put(out, "],");
    if (rc == 0)
        rc = put_model(e, out);
    return rc == 0 ? put(out, ",\"usage\":{\"prompt_tokens\":%llu,\"total_tokens\":%llu}}", tokens,
                         tokens)
                   : rc;
}

static int write_ollama(const struct hd_embeddings *e, struct hd_text *out)
{
    int rc = put(out, "{");
    if (rc == 0)
        rc = put_model(e, out);
    if (rc == 0)
        rc = put(out, ",\"embeddings\":[");
    for (size_t i = 0; rc == 0 && i < e->n; i++) {
        rc = i > 0 ? put(out, ",") : 0;
        if (rc == 0)
            rc = put_numbers(e, i, out);
    }
    return rc == 0
               ? put(out,
                     "],\"total_duration\":%llu,\"load_duration\":0,\"prompt_eval_count\":%llu}",
                     (unsigned long long)(hd_now_us() - e->begun_us) * 1000,
                     (unsigned long long)hd_embeddings_tokens(e))
               : rc;
}

static int write_ollama_one(const struct hd_embeddings *e, struct hd_text *out)
{
    int rc = put(out, "{\"embedding\":");
    if (rc == 0)
        rc = put_numbers(e, 0, out);
    return rc == 0 ? put(out, "}") : rc;
}

const struct hd_vector_form hd_openai_vectors = {.read = read_openai, .write = write_openai},
                            hd_ollama_vectors = {.read = read_ollama,
                                                 .write = write_ollama,
                                                 .unit = true},
                            hd_ollama_vector = {.read = read_ollama_one, .write = write_ollama_one};
