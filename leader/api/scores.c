/* scores.c - a token's bytes may be no text alone: escapes, and places counted in characters. */
#include "leader/api/scores.h"

#include "common/util/error.h"
#include "leader/api/failover_json.h"

#include <math.h>
#include <stdio.h>

#define MAX_ESCAPED 128 /* bytes of a token that are written as \xNN */

static json_t *escaped(struct hd_str s)
{
    char out[8 + 4 * MAX_ESCAPED] = "bytes:";
    size_t n = 6;
    for (size_t i = 0; i < s.len && i < MAX_ESCAPED; i++)
        n += (size_t)snprintf(out + n, sizeof out - n, "\\x%02x", (unsigned char)s.data[i]);
    return json_stringn(out, n);
}

json_t *hd_token_json(const struct hd_tokenizer *t, int32_t id)
{
    if (!t)
        return json_sprintf("token_id:%d", (int)id);
    struct hd_str s = hd_tokenizer_piece(t, id, true);
    if (s.len == 0)
        return json_string("");
    json_t *text = json_stringn(s.data, s.len);
    return text ? text : escaped(s);
}

json_t *hd_logprobs_new(bool chat)
{
    if (chat)
        return json_pack("{s:[]}", "content");
    return json_pack("{s:[], s:[], s:[], s:[]}", "tokens", "token_logprobs", "top_logprobs",
                     "text_offset");
}

/* Characters that begin in these bytes: all but UTF-8's continuation bytes. */
static size_t count_characters(const struct hd_tokenizer *t, int32_t id)
{
    struct hd_str s = t ? hd_tokenizer_piece(t, id, true) : (struct hd_str){0};
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.data[i] & 0xC0) != 0x80;
    return n;
}

/* {"text": logprob, ...}; null where nothing was computed (the prompt's first token). */
static json_t *top_object(const struct hd_tokenizer *t, const struct hd_token_event *ev)
{
    if (isnan(ev->logprob))
        return json_null();
    json_t *top = json_object();
    for (uint32_t i = 0; top && i < ev->n_top; i++) {
        json_t *key = hd_token_json(t, ev->top[i].id);
        if (!key || json_object_set_new(top, json_string_value(key),
                                        hd_real_json(ev->top[i].logprob)) < 0) {
            json_decref(top);
            top = NULL;
        }
        json_decref(key);
    }
    return top;
}

static int add_completion(json_t *logprobs, const struct hd_tokenizer *t,
                          const struct hd_token_event *ev, size_t characters)
{
    int rc = json_array_append_new(json_object_get(logprobs, "tokens"), hd_token_json(t, ev->id));
    rc |= json_array_append_new(json_object_get(logprobs, "token_logprobs"),
                                hd_real_json(ev->logprob));
    rc |= json_array_append_new(json_object_get(logprobs, "top_logprobs"), top_object(t, ev));
    rc |= json_array_append_new(json_object_get(logprobs, "text_offset"),
                                json_integer((json_int_t)characters));
    return rc;
}

static json_t *token_bytes(const struct hd_tokenizer *t, int32_t id)
{
    struct hd_str s = t ? hd_tokenizer_piece(t, id, true) : (struct hd_str){0};
    json_t *bytes = json_array();
    for (size_t i = 0; bytes && i < s.len; i++)
        if (json_array_append_new(bytes, json_integer((unsigned char)s.data[i])) < 0) {
            json_decref(bytes);
            bytes = NULL;
        }
    return bytes;
}

static json_t *chat_entry(const struct hd_tokenizer *t, int32_t id, float logprob)
{
    return json_pack("{s:o, s:o, s:o}", "token", hd_token_json(t, id), "logprob",
                     hd_real_json(logprob), "bytes", token_bytes(t, id));
}

static int add_chat(json_t *logprobs, const struct hd_tokenizer *t, const struct hd_token_event *ev)
{
    json_t *entry = chat_entry(t, ev->id, ev->logprob);
    json_t *top = json_array();
    int rc = json_object_set(entry, "top_logprobs", top);
    for (uint32_t i = 0; i < ev->n_top; i++)
        rc |= json_array_append_new(top, chat_entry(t, ev->top[i].id, ev->top[i].logprob));
    json_decref(top);
    return rc | json_array_append_new(json_object_get(logprobs, "content"), entry);
}

int hd_logprobs_add(json_t *logprobs, bool chat, const struct hd_tokenizer *t,
                    const struct hd_token_event *ev, size_t *characters)
{
    int rc = chat ? add_chat(logprobs, t, ev) : add_completion(logprobs, t, ev, *characters);
    *characters += count_characters(t, ev->id);
    return rc == 0 ? 0 : HD_E_NOMEM;
}

static int add_ranked(json_t *o, const struct hd_tokenizer *t, int32_t id, float logprob,
                      json_t *rank)
{
    char key[16];
    snprintf(key, sizeof key, "%d", (int)id);
    return json_object_set_new(o, key,
                               json_pack("{s:o, s:o, s:o}", "logprob", hd_real_json(logprob),
                                         "rank", rank, "decoded_token", hd_token_json(t, id)));
}

json_t *hd_prompt_score_json(const struct hd_tokenizer *t, const struct hd_token_event *ev,
                             uint32_t top)
{
    if (isnan(ev->logprob))
        return json_null();
    json_t *o = json_object();
    int rc = o ? add_ranked(o, t, ev->id, ev->logprob, json_null()) : -1;
    for (uint32_t i = 0; rc == 0 && i < ev->n_top; i++)
        if (i < top || ev->top[i].id == ev->id)
            rc = add_ranked(o, t, ev->top[i].id, ev->top[i].logprob, json_integer(i + 1));
    if (rc == 0)
        return o;
    json_decref(o);
    return NULL;
}

json_t *hd_score_json(const struct hd_tokenizer *t, const struct hd_token_event *ev)
{
    json_t *top = json_array();
    int rc = top ? 0 : -1;
    for (uint32_t i = 0; i < ev->n_top; i++)
        rc |= json_array_append_new(top, json_pack("{s:i, s:o}", "id", (int)ev->top[i].id,
                                                   "logprob", hd_real_json(ev->top[i].logprob)));
    if (rc != 0) {
        json_decref(top);
        return NULL;
    }
    return json_pack("{s:i, s:o, s:o, s:o}", "id", (int)ev->id, "token", hd_token_json(t, ev->id),
                     "logprob", hd_real_json(ev->logprob), "top", top);
}
