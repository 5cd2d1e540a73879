/* objects.c - what was collected goes out, each part once. */
#include "leader/api/objects.h"

#include "common/util/clock.h"
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

json_t *hd_usage_json(const struct hd_usage *u)
{
    json_t *o = json_pack("{s:I, s:I, s:I, s:{s:I}}", "prompt_tokens", (json_int_t)u->prompt,
                          "completion_tokens", (json_int_t)u->completion, "total_tokens",
                          (json_int_t)(u->prompt + u->completion), "prompt_tokens_details",
                          "cached_tokens", (json_int_t)u->cached);
    if (o && u->thoughts &&
        json_object_set_new(o, "completion_tokens_details",
                            json_pack("{s:I}", "reasoning_tokens", (json_int_t)u->reasoning)) < 0) {
        json_decref(o);
        o = NULL;
    }
    return o;
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

static json_t *envelope(const struct hd_generation *g, const char *object, json_t *choices)
{
    return json_pack("{s:s, s:s, s:I, s:s, s:s, s:o}", "id", g->id, "object", object, "created",
                     (json_int_t)g->created, "model", g->backend->model, "system_fingerprint",
                     "hydac-" HYDAC_VERSION, "choices", choices);
}

bool hd_generation_has_news(const struct hd_generation *g)
{
    return g->text.len > 0 || g->reasoning.len > 0 || g->finish ||
           json_array_size(g->tool_calls) > 0 || json_array_size(g->tokens) > 0 ||
           (g->p.chat && !g->begun) ||
           json_array_size(json_object_get(g->logprobs, g->p.chat ? "content" : "tokens")) > 0;
}

/* Sets a member, takes `v` over; frees *o and returns NULL when memory is out. */
static json_t *with(json_t *o, const char *key, json_t *v)
{
    if (!o) {
        json_decref(v);
        return NULL;
    }
    if (json_object_set_new(o, key, v) == 0)
        return o;
    json_decref(o);
    return NULL;
}

json_t *hd_extended_json(struct hd_generation *g, json_t *o)
{
    if (g->p.hydac || is_suspect(g))
        o = with(o, "hydac", extension(g));
    hd_generation_taken(g);
    return o;
}

/* Adds the thoughts and the calls that were found, if any. */
static json_t *with_others(struct hd_generation *g, json_t *o)
{
    if (g->reasoning.len > 0)
        o = with(o, "reasoning_content", json_string(hd_text_str(&g->reasoning)));
    if (json_array_size(g->tool_calls) > 0)
        o = with(o, "tool_calls", take_list(&g->tool_calls));
    return o;
}

static json_t *chat_delta(struct hd_generation *g)
{
    const char *text = hd_text_str(&g->text);
    json_t *o = !g->begun         ? json_pack("{s:s, s:s}", "role", "assistant", "content", text)
                : g->text.len > 0 ? json_pack("{s:s}", "content", text)
                                  : json_object();
    return with_others(g, o);
}

/* Whole calls have no `index`; without text beside them there is none, not an empty one. */
static json_t *chat_message(struct hd_generation *g)
{
    bool only_calls = g->text.len == 0 && json_array_size(g->tool_calls) > 0;
    for (size_t i = 0; i < json_array_size(g->tool_calls); i++)
        json_object_del(json_array_get(g->tool_calls, i), "index");
    return with_others(g, json_pack("{s:s, s:s?}", "role", "assistant", "content",
                                    only_calls ? NULL : hd_text_str(&g->text)));
}

/* `message`: what a chat's choice has, by its key. */
static json_t *choice(struct hd_generation *g, const char *key, json_t *message)
{
    json_t *o = json_pack("{s:I, s:o, s:s?}", "index", (json_int_t)g->index, "logprobs",
                          take_logprobs(g), "finish_reason", g->finish);
    return with(o, key, message);
}

static json_t *text_choice(struct hd_generation *g)
{
    return choice(g, "text", json_string(hd_text_str(&g->text)));
}

json_t *hd_chunk_json(struct hd_generation *g)
{
    json_t *one = g->p.chat ? choice(g, "delta", chat_delta(g)) : text_choice(g);
    json_t *o = envelope(g, g->p.chat ? "chat.completion.chunk" : "text_completion",
                         one ? json_pack("[o]", one) : NULL);
    if (g->p.include_usage)
        o = with(o, "usage", json_null());
    return hd_extended_json(g, o);
}

json_t *hd_progress_chunk_json(const struct hd_generation *g, const struct hd_prompt_progress *p)
{
    json_t *o = envelope(g, g->p.chat ? "chat.completion.chunk" : "text_completion", json_array());
    json_int_t ms = (json_int_t)(hd_now_us() - g->submitted_us) / 1000;
    return with(o, "prompt_progress",
                json_pack("{s:I, s:I, s:I, s:I}", "total", (json_int_t)p->total, "cache",
                          (json_int_t)p->cached, "processed", (json_int_t)p->computed, "time_ms",
                          ms));
}

json_t *hd_usage_chunk_json(const struct hd_generation *g, const struct hd_usage *u)
{
    json_t *o = envelope(g, g->p.chat ? "chat.completion.chunk" : "text_completion", json_array());
    return with(o, "usage", hd_usage_json(u));
}

json_t *hd_choice_json(struct hd_generation *g)
{
    json_t *o = g->p.chat ? choice(g, "message", chat_message(g)) : text_choice(g);
    return g->prompt_said ? with(o, "prompt_logprobs", json_incref(g->prompt_said)) : o;
}

json_t *hd_whole_json(const struct hd_generation *g, json_t *choices, const struct hd_usage *u)
{
    json_t *o = envelope(g, g->p.chat ? "chat.completion" : "text_completion", choices);
    return with(o, "usage", hd_usage_json(u));
}

bool hd_generation_is_long(const struct hd_generation *g)
{
    size_t scored = g->completion_tokens + (g->p.echo ? g->prompt.n : 0);
    size_t prompt = json_array_size(g->prompt_said) * (1 + g->p.prompt_top);
    return prompt + (g->p.logprobs ? scored * (1 + g->p.top_logprobs) : 0) > LONG;
}
