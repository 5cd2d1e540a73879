/* tokens.c - texts to token ids and back: /tokenize and /detokenize as vLLM and llama.cpp have
 * them. vLLM's `prompt` or `messages`, or llama.cpp's `content`; each gets the answer that it
 * expects. Done by a thread, as a text may be long. */
#include "leader/api/call.h"
#include "leader/api/handlers.h"
#include "leader/api/prompt.h"

#include <stdlib.h>
#include <string.h>

static int not_text(struct hd_refusal *r)
{
    return hd_refuse(r, 400, "prompt", "invalid_value",
                     "The body must have 'prompt' or 'content', a string, or 'messages'.");
}

static int no_tokenizer(const struct hd_api_backend *b, struct hd_refusal *r)
{
    return hd_refuse(r, 400, NULL, "no_tokenizer", "There is no tokenizer for this model: %s.",
                     b->no_tokenizer ? b->no_tokenizer : "it carries none");
}

/* An optional member that is true or false. */
static int read_flag(const json_t *body, const char *key, bool *out, struct hd_refusal *r)
{
    const json_t *v = json_object_get(body, key);
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_boolean(v))
        return hd_refuse_value(r, key, "true or false");
    *out = json_is_true(v);
    return 0;
}

/* With what the model wants around a text, if `add`. */
static int encode_text(struct hd_prompt *out, const json_t *v, bool add, bool special,
                       const struct hd_tokenizer *t, struct hd_refusal *r)
{
    int rc = hd_tokenizer_encode(t, json_string_value(v), json_string_length(v), special, &out->ids,
                                 &out->n);
    if (rc == HD_E_NOMEM)
        return hd_refuse_memory(r);
    if (rc < 0)
        return hd_refuse(r, 400, "prompt", "invalid_value",
                         "The text has a part that the model has no token for.");
    return add ? hd_prompt_add_affixes(out, t, r) : 0;
}

static json_t *ids_json(const struct hd_prompt *p)
{
    json_t *list = json_array();
    for (size_t i = 0; i < p->n; i++)
        if (json_array_append_new(list, json_integer(p->ids[i])) < 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static int tokenize(json_t **out, const json_t *body, const struct hd_api_backend *b,
                    struct hd_refusal *r)
{
    const json_t *content = json_object_get(body, "content");
    const json_t *text = content ? content : json_object_get(body, "prompt");
    bool add = !content, special = true;
    struct hd_prompt p = {0};
    if (!b->tokenizer)
        return no_tokenizer(b, r);
    int rc = read_flag(body, content ? "add_special" : "add_special_tokens", &add, r);
    if (rc == 0)
        rc = read_flag(body, "parse_special", &special, r);
    if (rc < 0)
        return rc;
    if (!text && json_object_get(body, "messages"))
        rc = hd_prompt_read(&p, body, true, NULL, b, r);
    else
        rc = json_is_string(text) ? encode_text(&p, text, add, special, b->tokenizer, r)
                                  : not_text(r);
    if (rc == 0 && content)
        *out = json_pack("{s:o}", "tokens", ids_json(&p));
    else if (rc == 0)
        *out = json_pack("{s:I, s:I, s:o}", "count", (json_int_t)p.n, "max_model_len",
                         (json_int_t)b->context, "tokens", ids_json(&p));
    free(p.ids);
    return rc;
}

static int add_piece(struct hd_text *text, const struct hd_api_backend *b, const json_t *v,
                     struct hd_detok *d, struct hd_refusal *r)
{
    json_int_t id = json_integer_value(v);
    char *piece = NULL;
    if (!json_is_integer(v) || id < 0 || id >= (json_int_t)b->vocab)
        return hd_refuse(r, 400, "tokens", "invalid_value",
                         "'tokens' must be an array of token ids from 0 to %u.", b->vocab - 1);
    int rc = hd_detok_push(d, (int32_t)id, &piece);
    if (rc == 0)
        rc = hd_text_add(text, piece, strlen(piece));
    free(piece);
    return rc < 0 ? hd_refuse_memory(r) : 0;
}

static int detokenize(json_t **out, const json_t *body, const struct hd_api_backend *b,
                      struct hd_refusal *r)
{
    const json_t *tokens = json_object_get(body, "tokens");
    struct hd_text text = {0};
    struct hd_detok d;
    char *rest = NULL;
    if (!b->tokenizer)
        return no_tokenizer(b, r);
    if (!json_is_array(tokens))
        return hd_refuse(r, 400, "tokens", "invalid_value",
                         "The body must have 'tokens', an array of token ids.");
    hd_detok_init(&d, b->tokenizer);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < json_array_size(tokens); i++)
        rc = add_piece(&text, b, json_array_get(tokens, i), &d, r);
    if (rc == 0 && (hd_detok_finish(&d, &rest) < 0 || hd_text_add(&text, rest, strlen(rest)) < 0))
        rc = hd_refuse_memory(r);
    if (rc == 0) /* vLLM's name and llama.cpp's */
        *out = json_pack("{s:s, s:s}", "prompt", hd_text_str(&text), "content", hd_text_str(&text));
    free(rest);
    hd_text_deinit(&text);
    return rc;
}

static void work(struct hd_call *c,
                 int (*make)(json_t **out, const json_t *body, const struct hd_api_backend *b,
                             struct hd_refusal *r))
{
    json_t *body = hd_call_body(c), *answer = NULL;
    if (body && make(&answer, body, &c->api->o.backend, &c->refusal) == 0)
        c->text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
    json_decref(answer);
    json_decref(body);
}

static void run_tokenize(void *call)
{
    work(call, tokenize);
}

static void run_detokenize(void *call)
{
    work(call, detokenize);
}

void hd_post_tokenize(struct hd_call *c, const char *rest)
{
    hd_call_work_on_body(c, run_tokenize, hd_call_reply_worked);
}

void hd_post_detokenize(struct hd_call *c, const char *rest)
{
    hd_call_work_on_body(c, run_detokenize, hd_call_reply_worked);
}
