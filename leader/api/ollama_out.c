/* ollama_out.c - answers as Ollama has them: an object a line, the last one with times. */
#include "leader/api/ollama.h"
#include "leader/api/sse.h"

#include <string.h>
#include <time.h>

void hd_ollama_time(int64_t s, char text[32])
{
    time_t t = (time_t)s;
    struct tm utc;
    gmtime_r(&t, &utc);
    strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

/* Calls as they came, but with arguments that are objects. */
static json_t *calls_json(const struct hd_generation *g)
{
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(g->tool_calls); i++) {
        const json_t *f = json_object_get(json_array_get(g->tool_calls, i), "function");
        const json_t *text = json_object_get(f, "arguments");
        json_t *arguments = json_loads(json_string_value(text), 0, NULL);
        json_array_append_new(list, json_pack("{s:{s:O*, s:o}}", "function", "name",
                                              json_object_get(f, "name"), "arguments",
                                              arguments ? arguments : json_object()));
    }
    return list;
}

static json_t *envelope(const struct hd_generation *g)
{
    char at[32];
    hd_ollama_time(g->created, at);
    return json_pack("{s:s, s:s}", "model", g->backend->model, "created_at", at);
}

/* What was collected; Ollama has no empty lists and thoughts. */
static json_t *news_json(struct hd_answer *a, struct hd_generation *g)
{
    bool chat = a->form == &hd_ollama_chat;
    json_t *o = envelope(g), *message = chat ? json_pack("{s:s}", "role", "assistant") : o;
    json_object_set_new(message, chat ? "content" : "response", json_string(hd_text_str(&g->text)));
    if (g->reasoning.len > 0)
        json_object_set_new(message, "thinking", json_string(hd_text_str(&g->reasoning)));
    if (chat && json_array_size(g->tool_calls) > 0)
        json_object_set_new(message, "tool_calls", calls_json(g));
    if (chat)
        json_object_set_new(o, "message", message);
    hd_generation_taken(g);
    return o;
}

static json_t *ns(uint64_t from_us, uint64_t to_us)
{
    return json_integer(to_us > from_us ? (json_int_t)(to_us - from_us) * 1000 : 0);
}

static json_t *with_end(json_t *o, const struct hd_generation *g)
{
    bool full = strcmp(g->finish, "length") == 0;
    json_t *end =
        json_pack("{s:b, s:s, s:o, s:i, s:I, s:o, s:I, s:o}", "done", true, "done_reason",
                  full ? "length" : "stop", "total_duration", ns(g->submitted_us, g->last_us),
                  "load_duration", 0, "prompt_eval_count", (json_int_t)g->prompt.n,
                  "prompt_eval_duration", ns(g->submitted_us, g->first_us), "eval_count",
                  (json_int_t)g->completion_tokens, "eval_duration", ns(g->first_us, g->last_us));
    json_object_update(o, end);
    json_decref(end);
    return o;
}

static int news(struct hd_answer *a, size_t i, struct hd_text *out)
{
    struct hd_generation *g = &a->choices[0].gen;
    bool more = g->text.len > 0 || g->reasoning.len > 0 || json_array_size(g->tool_calls) > 0;
    if (!more)
        return 0;
    json_t *o = news_json(a, g);
    json_object_set_new(o, "done", json_false());
    return hd_line_add(out, o);
}

static int end(struct hd_answer *a, struct hd_text *out)
{
    struct hd_generation *g = &a->choices[0].gen;
    return hd_line_add(out, with_end(news_json(a, g), g));
}

static int fail(struct hd_answer *a, const struct hd_refusal *r, struct hd_text *out)
{
    return hd_line_add(out, hd_ollama_refusal(r));
}

static json_t *whole(struct hd_answer *a)
{
    struct hd_generation *g = &a->choices[0].gen;
    return with_end(news_json(a, g), g);
}

const struct hd_form hd_ollama_chat = {.chat = true,
                                       .type = "application/x-ndjson",
                                       .read = hd_ollama_read,
                                       .news = news,
                                       .end = end,
                                       .fail = fail,
                                       .whole = whole};
const struct hd_form hd_ollama_generate = {.chat = true,
                                           .endless = true,
                                           .type = "application/x-ndjson",
                                           .read = hd_ollama_read,
                                           .news = news,
                                           .end = end,
                                           .fail = fail,
                                           .whole = whole};
