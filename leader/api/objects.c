/* objects.c - what was collected goes out, each part once. */
#include "leader/api/objects.h"

#include "leader/api/resume.h"
#include "leader/api/scores.h"

#define LONG 1000 /* scores in an answer: about a millisecond */

static json_t *empty_like(const json_t *logprobs, bool chat)
{
    return logprobs ? hd_logprobs_new(chat) : NULL;
}

/* What is sent is the caller's; a new empty one takes its place. */
static json_t *take_logprobs(struct hd_generation *g)
{
    json_t *full = g->logprobs;
    if (!full)
        return json_null();
    g->logprobs = empty_like(full, g->p.chat);
    return full;
}

static json_t *take_list(json_t **list)
{
    json_t *full = *list;
    if (full)
        *list = json_array();
    return full;
}

static json_t *usage(const struct hd_generation *g)
{
    return json_pack("{s:I, s:I, s:I}", "prompt_tokens", (json_int_t)g->prompt.n,
                     "completion_tokens", (json_int_t)g->completion_tokens, "total_tokens",
                     (json_int_t)g->prompt.n + g->completion_tokens);
}

static bool is_suspect(const struct hd_generation *g)
{
    return g->suspect && g->finish;
}

/* "hydac" of an object; members that do not apply are left out. Who has not asked for it hears of
 * what must not be kept from him. */
static json_t *extension(struct hd_generation *g)
{
    if (!g->p.hydac)
        return json_pack("{s:b}", "suspect", true);
    json_t *o = json_pack("{s:o, s:o*, s:o*}", "tokens", take_list(&g->tokens), "logprobs",
                          take_list(&g->scores), "prompt_logprobs", take_list(&g->prompt_scores));
    if (o && hd_resume_tell(g, o) < 0) {
        json_decref(o);
        return NULL;
    }
    if (o && g->finish) {
        int rc = json_object_set(o, "timings", g->timings);
        rc |= json_object_set(o, "failovers", g->failovers);
        rc |= json_object_set_new(o, "seed", json_integer((json_int_t)g->p.sampling.seed));
        if (is_suspect(g))
            rc |= json_object_set_new(o, "suspect", json_true());
        if (rc != 0) {
            json_decref(o);
            return NULL;
        }
    }
    return o;
}

static json_t *envelope(const struct hd_generation *g, const char *object, json_t *choice)
{
    json_t *o = json_pack("{s:s, s:s, s:I, s:s, s:o}", "id", g->id, "object", object, "created",
                          (json_int_t)g->created, "model", g->backend->model, "choices",
                          choice ? json_pack("[o]", choice) : json_array());
    return o;
}

bool hd_generation_has_news(const struct hd_generation *g)
{
    return g->text.len > 0 || g->finish || json_array_size(g->tool_calls) > 0 ||
           json_array_size(g->tokens) > 0 || (g->p.chat && !g->begun) ||
           json_array_size(json_object_get(g->logprobs, g->p.chat ? "content" : "tokens")) > 0;
}

/* Adds "hydac" where it was asked for; frees *o and returns NULL when memory is out. */
static json_t *extend(struct hd_generation *g, json_t *o)
{
    if (o && (g->p.hydac || is_suspect(g)) && json_object_set_new(o, "hydac", extension(g)) < 0) {
        json_decref(o);
        o = NULL;
    }
    hd_text_clear(&g->text);
    g->begun = true;
    return o;
}

/* Adds the calls that were found, if any; frees *o and returns NULL when memory is out. */
static json_t *with_calls(struct hd_generation *g, json_t *o)
{
    if (o && json_array_size(g->tool_calls) > 0 &&
        json_object_set_new(o, "tool_calls", take_list(&g->tool_calls)) < 0) {
        json_decref(o);
        o = NULL;
    }
    return o;
}

static json_t *chat_delta(struct hd_generation *g)
{
    const char *text = hd_text_str(&g->text);
    json_t *o = !g->begun         ? json_pack("{s:s, s:s}", "role", "assistant", "content", text)
                : g->text.len > 0 ? json_pack("{s:s}", "content", text)
                                  : json_object();
    return with_calls(g, o);
}

/* Whole calls have no `index`; without text beside them there is none, not an empty one. */
static json_t *chat_message(struct hd_generation *g)
{
    bool only_calls = g->text.len == 0 && json_array_size(g->tool_calls) > 0;
    for (size_t i = 0; i < json_array_size(g->tool_calls); i++)
        json_object_del(json_array_get(g->tool_calls, i), "index");
    return with_calls(g, json_pack("{s:s, s:s?}", "role", "assistant", "content",
                                   only_calls ? NULL : hd_text_str(&g->text)));
}

json_t *hd_generation_chunk(struct hd_generation *g)
{
    json_t *choice = json_pack("{s:i, s:o, s:s?}", "index", 0, "logprobs", take_logprobs(g),
                               "finish_reason", g->finish);
    int rc = g->p.chat ? json_object_set_new(choice, "delta", chat_delta(g))
                       : json_object_set_new(choice, "text", json_string(hd_text_str(&g->text)));
    if (rc < 0) {
        json_decref(choice);
        return NULL;
    }
    json_t *o = envelope(g, g->p.chat ? "chat.completion.chunk" : "text_completion", choice);
    if (o && g->p.include_usage && json_object_set_new(o, "usage", json_null()) < 0) {
        json_decref(o);
        return NULL;
    }
    return extend(g, o);
}

json_t *hd_generation_usage_chunk(const struct hd_generation *g)
{
    json_t *o = envelope(g, g->p.chat ? "chat.completion.chunk" : "text_completion", NULL);
    if (o && json_object_set_new(o, "usage", usage(g)) < 0) {
        json_decref(o);
        return NULL;
    }
    return o;
}

bool hd_generation_is_long(const struct hd_generation *g)
{
    size_t scored = g->completion_tokens + (g->p.echo ? g->prompt.n : 0);
    return g->p.logprobs && scored * (1 + g->p.top_logprobs) > LONG;
}

json_t *hd_generation_whole(struct hd_generation *g)
{
    const char *text = hd_text_str(&g->text);
    json_t *choice = json_pack("{s:i, s:o, s:s?}", "index", 0, "logprobs", take_logprobs(g),
                               "finish_reason", g->finish);
    int rc = g->p.chat ? json_object_set_new(choice, "message", chat_message(g))
                       : json_object_set_new(choice, "text", json_string(text));
    if (rc < 0) {
        json_decref(choice);
        return NULL;
    }
    json_t *o = envelope(g, g->p.chat ? "chat.completion" : "text_completion", choice);
    if (o && json_object_set_new(o, "usage", usage(g)) < 0) {
        json_decref(o);
        return NULL;
    }
    return extend(g, o);
}
