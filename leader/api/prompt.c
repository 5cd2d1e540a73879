/* prompt.c - texts, ids and conversations, with what the model wants around them. */
#include "leader/api/prompt.h"

#include "leader/api/conversation.h"

#include <stdlib.h>
#include <string.h>

static int bad_prompt(struct hd_refusal *r, const char *key)
{
    return hd_refuse(r, 400, key, "invalid_value",
                     "'%s' must be a string, a non-empty array of token ids, or an array of such.",
                     key);
}

static int no_tokenizer(const struct hd_api_backend *b, struct hd_refusal *r, const char *param)
{
    return hd_refuse(r, 400, param, "no_tokenizer",
                     "No text is accepted for this model, give '%s' as an array of token ids: %s.",
                     strcmp(param, "messages") == 0 ? "prompt" : param,
                     b->no_tokenizer ? b->no_tokenizer : "it carries no tokenizer");
}

static int too_long(struct hd_refusal *r, const char *param, const char *number, size_t n,
                    uint32_t context)
{
    return hd_refuse(r, 400, param, "context_length_exceeded",
                     "The context is %u tokens, but the prompt has %s%zu; shorten it.", context,
                     number, n);
}

/* Refuses, without encoding it, a text that cannot fit, whatever is put around it. */
static int check_fits(const char *param, const char *text, size_t len,
                      const struct hd_api_backend *b, struct hd_refusal *r)
{
    size_t n = hd_token_bound_fewest(&b->bound, text, len);
    return n > b->context ? too_long(r, param, "more than ", n, b->context) : 0;
}

static int from_ids(struct hd_prompt *out, const json_t *ids, const char *key,
                    const struct hd_api_backend *b, struct hd_refusal *r)
{
    size_t n = json_array_size(ids);
    if (n == 0)
        return bad_prompt(r, key);
    if (n > b->context)
        return too_long(r, key, "", n, b->context);
    out->ids = malloc(n * sizeof *out->ids);
    if (!out->ids)
        return hd_refuse_memory(r);
    for (; out->n < n; out->n++) {
        const json_t *v = json_array_get(ids, out->n);
        json_int_t id = json_integer_value(v);
        if (!json_is_integer(v) || id < 0 || id >= (json_int_t)b->vocab)
            return hd_refuse(r, 400, key, "invalid_value",
                             "'%s[%zu]' must be a token id from 0 to %u.", key, out->n,
                             b->vocab - 1);
        out->ids[out->n] = (int32_t)id;
    }
    return 0;
}

/* Puts the model's begin token in front where it has one and wants it (or where nothing else is).
 */
static int add_bos(struct hd_prompt *out, const struct hd_tokenizer *t, struct hd_refusal *r)
{
    int32_t bos = hd_tokenizer_bos(t);
    if (bos < 0 || (out->n > 0 && (!hd_tokenizer_adds_bos(t) || out->ids[0] == bos)))
        return 0;
    int32_t *ids = realloc(out->ids, (out->n + 1) * sizeof *ids);
    if (!ids)
        return hd_refuse_memory(r);
    memmove(ids + 1, ids, out->n * sizeof *ids);
    ids[0] = bos;
    out->ids = ids;
    out->n++;
    return 0;
}

/* And what stands behind it, for the few models that want that. */
static int add_suffix(struct hd_prompt *out, const struct hd_tokenizer *t, struct hd_refusal *r)
{
    if (hd_tokenizer_suffix(t) < 0)
        return 0;
    int32_t *ids = realloc(out->ids, (out->n + 1) * sizeof *ids);
    if (!ids)
        return hd_refuse_memory(r);
    ids[out->n++] = hd_tokenizer_suffix(t);
    out->ids = ids;
    return 0;
}

int hd_prompt_add_affixes(struct hd_prompt *out, const struct hd_tokenizer *t, struct hd_refusal *r)
{
    int rc = add_bos(out, t, r);
    return rc == 0 ? add_suffix(out, t, r) : rc;
}

static int from_text(struct hd_prompt *out, const json_t *v, const char *key,
                     const struct hd_api_backend *b, struct hd_refusal *r)
{
    if (!b->tokenizer)
        return no_tokenizer(b, r, key);
    out->text = json_string_value(v);
    if (check_fits(key, out->text, json_string_length(v), b, r) < 0)
        return HD_E_RANGE;
    int rc = hd_tokenizer_encode(b->tokenizer, out->text, json_string_length(v), true, &out->ids,
                                 &out->n);
    if (rc == HD_E_NOMEM)
        return hd_refuse_memory(r);
    if (rc < 0)
        return hd_refuse(r, 400, key, "invalid_value",
                         "'%s' has a text that the model has no token for.", key);
    rc = hd_prompt_add_affixes(out, b->tokenizer, r);
    if (rc == 0 && out->n == 0)
        return bad_prompt(r, key);
    return rc;
}

static int read_text(struct hd_prompt *out, const json_t *v, const char *key,
                     const struct hd_api_backend *b, struct hd_refusal *r)
{
    if (json_is_string(v))
        return from_text(out, v, key, b, r);
    return json_is_array(v) ? from_ids(out, v, key, b, r) : bad_prompt(r, key);
}

static int read_prompt(struct hd_prompt *out, const json_t *body, const struct hd_api_backend *b,
                       struct hd_refusal *r)
{
    const json_t *v = json_object_get(body, "prompt");
    if (!v)
        return hd_refuse(r, 400, "prompt", "missing_required_parameter", "'prompt' is required.");
    const json_t *only = json_array_size(v) == 1 ? json_array_get(v, 0) : NULL;
    if (json_is_string(only) || json_is_array(only))
        v = only;
    return read_text(out, v, "prompt", b, r);
}

/* ---- Chat ----------------------------------------------------------------------------------*/

/* A template may leave out blanks around a text, and whole messages, but not the last question. */
static int check_question(const json_t *question, const struct hd_api_backend *b,
                          struct hd_refusal *r)
{
    static const char blanks[] = " \t\r\n\v\f";
    if (!question)
        return 0;
    const char *text = json_string_value(question);
    text += strspn(text, blanks);
    size_t len = strlen(text);
    while (len > 0 && strchr(blanks, text[len - 1]))
        len--;
    return check_fits("messages", text, len, b, r);
}

static int encode_chat(struct hd_prompt *out, const json_t *conversation,
                       const struct hd_api_backend *b, struct hd_refusal *r)
{
    struct hd_error err = {0};
    char *json = json_dumps(conversation, JSON_COMPACT | JSON_REAL_PRECISION(17));
    int rc = json ? hd_chat_encode(b->tokenizer, json, strlen(json), &out->ids, &out->n, &err)
                  : HD_E_NOMEM;
    free(json);
    if (rc == HD_E_NOMEM)
        return hd_refuse_memory(r);
    if (rc == HD_E_UNSUPPORTED)
        return hd_refuse(r, 400, "messages", "no_chat_template", "%s", err.text);
    if (rc < 0)
        return hd_refuse(r, 400, "messages", "invalid_value", "%s", err.text);
    return out->n > 0 ? 0 : hd_refuse_memory(r);
}

static int read_messages(struct hd_prompt *out, const json_t *body, const struct hd_tools *tools,
                         const struct hd_api_backend *b, struct hd_refusal *r)
{
    json_t *conversation, *question;
    bool native;
    if (json_array_size(json_object_get(body, "messages")) == 0)
        return hd_refuse(r, 400, "messages", "missing_required_parameter",
                         "'messages' must be a non-empty array.");
    if (!b->tokenizer)
        return no_tokenizer(b, r, "messages");
    hd_call_form_of(hd_chat_template(b->tokenizer), &native);
    int rc = hd_conversation_read(&conversation, &question, body, tools, native, r);
    if (rc == 0)
        rc = check_question(question, b, r);
    if (rc == 0)
        rc = encode_chat(out, conversation, b, r);
    json_decref(conversation);
    json_decref(question);
    return rc;
}

/* One that was refused keeps nothing. */
static int settle(struct hd_prompt *out, int rc)
{
    if (rc < 0) {
        free(out->ids);
        out->ids = NULL;
    }
    return rc;
}

int hd_prompt_of(struct hd_prompt *out, const json_t *v, const char *key,
                 const struct hd_api_backend *b, struct hd_refusal *r)
{
    *out = (struct hd_prompt){0};
    int rc = read_text(out, v, key, b, r);
    if (rc == 0 && out->n > b->context)
        rc = too_long(r, key, "", out->n, b->context);
    return settle(out, rc);
}

int hd_prompt_read(struct hd_prompt *out, const json_t *body, bool chat,
                   const struct hd_tools *tools, const struct hd_api_backend *b,
                   struct hd_refusal *r)
{
    *out = (struct hd_prompt){0};
    return settle(out, chat ? read_messages(out, body, tools, b, r) : read_prompt(out, body, b, r));
}
