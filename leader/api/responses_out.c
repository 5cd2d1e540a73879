/* responses_out.c - a response as OpenAI has them, and the events that build it up. */
#include "leader/api/responses.h"
#include "leader/api/sse.h"

#include <string.h>

static const char *prefix_of(const struct hd_item *b)
{
    return b->kind == HD_ITEM_THOUGHT ? "rs" : b->kind == HD_ITEM_CALL ? "fc" : "msg";
}

static json_t *text_part(const char *text)
{
    return json_pack("{s:s, s:s, s:[]}", "type", "output_text", "text", text, "annotations");
}

static json_t *thought_part(const char *text)
{
    return json_pack("{s:s, s:s}", "type", "reasoning_text", "text", text);
}

/* `whole` false: as it is when it begins. */
static json_t *item_json(struct hd_answer *a, const struct hd_item *b, bool whole)
{
    const char *status = whole ? "completed" : "in_progress";
    char id[64];
    hd_items_id(a, prefix_of(b), b->index + 1, id);
    if (b->kind == HD_ITEM_CALL)
        return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "id", id, "type", "function_call",
                         "status", status, "call_id", b->id, "name", b->name, "arguments",
                         whole ? b->text : "");
    if (b->kind == HD_ITEM_THOUGHT)
        return json_pack("{s:s, s:s, s:s, s:[], s:o}", "id", id, "type", "reasoning", "status",
                         status, "summary", "content",
                         whole ? json_pack("[o]", thought_part(b->text)) : json_array());
    return json_pack("{s:s, s:s, s:s, s:s, s:o}", "id", id, "type", "message", "status", status,
                     "role", "assistant", "content",
                     whole ? json_pack("[o]", text_part(b->text)) : json_array());
}

static json_t *item(struct hd_answer *a, const struct hd_item *b)
{
    return item_json(a, b, true);
}

/* ---- The response ---- */

/* What was asked is told again, or what is used where nothing was said. */
static json_t *told(const struct hd_answer *a, const char *key, json_t *otherwise)
{
    json_t *v = json_object_get(a->kept, key);
    if (!v)
        return otherwise;
    json_decref(otherwise);
    return json_incref(v);
}

static json_t *usage_json(const struct hd_answer *a)
{
    struct hd_usage u = hd_answer_usage(a);
    return json_pack("{s:I, s:{s:I}, s:I, s:{s:I}, s:I}", "input_tokens", (json_int_t)u.prompt,
                     "input_tokens_details", "cached_tokens", (json_int_t)u.cached, "output_tokens",
                     (json_int_t)u.completion, "output_tokens_details", "reasoning_tokens",
                     (json_int_t)u.reasoning, "total_tokens",
                     (json_int_t)(u.prompt + u.completion));
}

static json_t *response_json(const struct hd_answer *a, const char *status)
{
    const struct hd_generation *g = &a->choices[0].gen;
    bool ended = g->finish != NULL, full = ended && strcmp(g->finish, "length") == 0;
    char id[64];
    hd_items_id(a, "resp", 0, id);
    json_t *o =
        json_pack("{s:s, s:s, s:I, s:s, s:n, s:o, s:s, s:O, s:o, s:b, s:n}", "id", id, "object",
                  "response", "created_at", (json_int_t)g->created, "status",
                  status ? status
                  : full ? "incomplete"
                         : "completed",
                  "error", "incomplete_details",
                  full ? json_pack("{s:s}", "reason", "max_output_tokens") : json_null(), "model",
                  g->backend->model, "output", hd_items_of(a)->items, "usage",
                  ended ? usage_json(a) : json_null(), "store", false, "previous_response_id");
    json_t *more = json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s}", "instructions",
        told(a, "instructions", json_null()), "max_output_tokens",
        told(a, "max_output_tokens", json_null()), "metadata", told(a, "metadata", json_object()),
        "parallel_tool_calls", told(a, "parallel_tool_calls", json_true()), "reasoning",
        told(a, "reasoning", json_pack("{s:n, s:n}", "effort", "summary")), "temperature",
        json_real(g->p.sampling.temperature), "text",
        told(a, "text", json_pack("{s:{s:s}}", "format", "type", "text")), "tool_choice",
        told(a, "tool_choice", json_string("auto")), "tools", told(a, "tools", json_array()),
        "top_p", json_real(g->p.sampling.top_p), "truncation", "disabled");
    if (!o || !more || json_object_update(o, more) < 0) {
        json_decref(o);
        o = NULL;
    }
    json_decref(more);
    return o;
}

/* ---- Events ---- */

/* Takes `o` over. */
static int add_event(struct hd_answer *a, const char *type, json_t *o, struct hd_text *out)
{
    struct hd_items *b = hd_items_of(a);
    json_object_set_new(o, "type", json_string(type));
    json_object_set_new(o, "sequence_number", json_integer(b->events++));
    return hd_sse_add(out, type, o);
}

/* An event about a part of a block. */
static json_t *about(struct hd_answer *a, const struct hd_item *b)
{
    char id[64];
    hd_items_id(a, prefix_of(b), b->index + 1, id);
    json_t *o = json_pack("{s:s, s:I}", "item_id", id, "output_index", (json_int_t)b->index);
    if (b->kind != HD_ITEM_CALL)
        json_object_set_new(o, "content_index", json_integer(0));
    return o;
}

static json_t *with(json_t *o, const char *key, json_t *v)
{
    json_object_set_new(o, key, v);
    return o;
}

static json_t *part_of(const struct hd_item *b, const char *text)
{
    return b->kind == HD_ITEM_THOUGHT ? thought_part(text) : text_part(text);
}

static int open_item(struct hd_answer *a, const struct hd_item *b, struct hd_text *out)
{
    json_t *o = json_pack("{s:I, s:o}", "output_index", (json_int_t)b->index, "item",
                          item_json(a, b, false));
    int rc = add_event(a, "response.output_item.added", o, out);
    if (rc == 0 && b->kind != HD_ITEM_CALL)
        rc = add_event(a, "response.content_part.added", with(about(a, b), "part", part_of(b, "")),
                       out);
    return rc;
}

static const char *const deltas[] = {[HD_ITEM_THOUGHT] = "response.reasoning_text.delta",
                                     [HD_ITEM_TEXT] = "response.output_text.delta",
                                     [HD_ITEM_CALL] = "response.function_call_arguments.delta"};
static const char *const dones[] = {[HD_ITEM_THOUGHT] = "response.reasoning_text.done",
                                    [HD_ITEM_TEXT] = "response.output_text.done",
                                    [HD_ITEM_CALL] = "response.function_call_arguments.done"};

static int add_delta(struct hd_answer *a, const struct hd_item *b, const char *more,
                     struct hd_text *out)
{
    json_t *o = with(about(a, b), "delta", json_string(more));
    if (b->kind == HD_ITEM_TEXT)
        json_object_set_new(o, "logprobs", json_array());
    return add_event(a, deltas[b->kind], o, out);
}

static int close_item(struct hd_answer *a, const struct hd_item *b, json_t *whole,
                      struct hd_text *out)
{
    bool call = b->kind == HD_ITEM_CALL;
    json_t *o = with(about(a, b), call ? "arguments" : "text", json_string(b->text));
    if (call)
        json_object_set_new(o, "name", json_string(b->name));
    if (b->kind == HD_ITEM_TEXT)
        json_object_set_new(o, "logprobs", json_array());
    int rc = add_event(a, dones[b->kind], o, out);
    if (rc == 0 && !call)
        rc = add_event(a, "response.content_part.done",
                       with(about(a, b), "part", part_of(b, b->text)), out);
    o = json_pack("{s:I, s:O}", "output_index", (json_int_t)b->index, "item", whole);
    return rc == 0 ? add_event(a, "response.output_item.done", o, out) : (json_decref(o), rc);
}

static const struct hd_item_form blocks = {
    .item = item, .open = open_item, .delta = add_delta, .close = close_item};

int hd_responses_begin(struct hd_answer *a)
{
    return hd_items_new(a, &blocks);
}

static int send_response(struct hd_answer *a, const char *type, const char *status,
                         struct hd_text *out)
{
    return add_event(a, type, json_pack("{s:o}", "response", response_json(a, status)), out);
}

static int begin(struct hd_answer *a, struct hd_text *out)
{
    int rc = send_response(a, "response.created", "in_progress", out);
    return rc == 0 ? send_response(a, "response.in_progress", "in_progress", out) : rc;
}

static int news(struct hd_answer *a, size_t i, struct hd_text *out)
{
    return hd_items_news(a, out);
}

static int end(struct hd_answer *a, struct hd_text *out)
{
    bool full = strcmp(a->choices[0].gen.finish, "length") == 0;
    return send_response(a, full ? "response.incomplete" : "response.completed", NULL, out);
}

static int fail(struct hd_answer *a, const struct hd_refusal *r, struct hd_text *out)
{
    json_t *response = response_json(a, "failed");
    json_object_set_new(
        response, "error",
        json_pack("{s:s, s:s}", "code", r->code ? r->code : "server_error", "message", r->text));
    return add_event(a, "response.failed", json_pack("{s:o}", "response", response), out);
}

static json_t *whole(struct hd_answer *a)
{
    return hd_items_news(a, NULL) == 0 ? response_json(a, NULL) : NULL;
}

const struct hd_form hd_responses = {.chat = true,
                                     .idle = ": keep-alive\n\n",
                                     .read = hd_responses_read,
                                     .begin = begin,
                                     .news = news,
                                     .end = end,
                                     .fail = fail,
                                     .free = hd_items_free,
                                     .whole = whole};
