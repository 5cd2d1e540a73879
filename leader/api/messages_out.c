/* messages_out.c - a message as Anthropic has them, and the events that build it up. */
#include "leader/api/messages.h"
#include "leader/api/sse.h"

#include <string.h>

static json_t *thought_json(const char *text)
{
    return json_pack("{s:s, s:s, s:s}", "type", "thinking", "thinking", text, "signature", "");
}

static json_t *text_json(const char *text)
{
    return json_pack("{s:s, s:s}", "type", "text", "text", text);
}

/* Arguments that are no object, which a model may write, are told as they are. */
static json_t *call_json(const struct hd_item *b, const char *arguments)
{
    json_t *input = json_loads(arguments, JSON_DECODE_ANY, NULL);
    return json_pack("{s:s, s:s, s:s, s:o}", "type", "tool_use", "id", b->id, "name", b->name,
                     "input", input ? input : json_string(arguments));
}

static json_t *block_json(const struct hd_item *b, const char *text)
{
    return b->kind == HD_ITEM_THOUGHT ? thought_json(text)
           : b->kind == HD_ITEM_CALL  ? call_json(b, text)
                                      : text_json(text);
}

static json_t *item(struct hd_answer *a, const struct hd_item *b)
{
    return block_json(b, b->text);
}

static const char *reason_of(const struct hd_generation *g)
{
    if (!g->finish)
        return NULL;
    return strcmp(g->finish, "length") == 0       ? "max_tokens"
           : strcmp(g->finish, "tool_calls") == 0 ? "tool_use"
           : g->stops.met                         ? "stop_sequence"
                                                  : "end_turn";
}

/* Anthropic's input_tokens are those that were not cached. */
static json_t *usage_json(const struct hd_answer *a)
{
    struct hd_usage u = hd_answer_usage(a);
    return json_pack("{s:I, s:i, s:I, s:I}", "input_tokens", (json_int_t)(u.prompt - u.cached),
                     "cache_creation_input_tokens", 0, "cache_read_input_tokens",
                     (json_int_t)u.cached, "output_tokens", (json_int_t)u.completion);
}

static json_t *message_json(const struct hd_answer *a)
{
    const struct hd_generation *g = &a->choices[0].gen;
    char id[64];
    hd_items_id(a, "msg", 0, id);
    return json_pack("{s:s, s:s, s:s, s:s, s:O, s:s?, s:s?, s:o}", "id", id, "type", "message",
                     "role", "assistant", "model", g->backend->model, "content",
                     hd_items_of(a)->items, "stop_reason", reason_of(g), "stop_sequence",
                     g->stops.met, "usage", usage_json(a));
}

/* ---- Events ---- */

/* Takes `o` over, which may lack its type. */
static int add_event(const char *type, json_t *o, struct hd_text *out)
{
    json_object_set_new(o, "type", json_string(type));
    return hd_sse_add(out, type, o);
}

static int open_item(struct hd_answer *a, const struct hd_item *b, struct hd_text *out)
{
    json_t *o = json_pack("{s:I, s:o}", "index", (json_int_t)b->index, "content_block",
                          block_json(b, b->kind == HD_ITEM_CALL ? "{}" : ""));
    return add_event("content_block_start", o, out);
}

static int add_delta(struct hd_answer *a, const struct hd_item *b, const char *more,
                     struct hd_text *out)
{
    static const char *const names[][2] = {[HD_ITEM_THOUGHT] = {"thinking_delta", "thinking"},
                                           [HD_ITEM_TEXT] = {"text_delta", "text"},
                                           [HD_ITEM_CALL] = {"input_json_delta", "partial_json"}};
    json_t *o = json_pack("{s:I, s:{s:s, s:s}}", "index", (json_int_t)b->index, "delta", "type",
                          names[b->kind][0], names[b->kind][1], more);
    return add_event("content_block_delta", o, out);
}

static int close_item(struct hd_answer *a, const struct hd_item *b, json_t *whole,
                      struct hd_text *out)
{
    return add_event("content_block_stop", json_pack("{s:I}", "index", (json_int_t)b->index), out);
}

static const struct hd_item_form blocks = {
    .item = item, .open = open_item, .delta = add_delta, .close = close_item};

int hd_messages_begin(struct hd_answer *a)
{
    return hd_items_new(a, &blocks);
}

static int begin(struct hd_answer *a, struct hd_text *out)
{
    return add_event("message_start", json_pack("{s:o}", "message", message_json(a)), out);
}

static int news(struct hd_answer *a, size_t i, struct hd_text *out)
{
    return hd_items_news(a, out);
}

static int end(struct hd_answer *a, struct hd_text *out)
{
    const struct hd_generation *g = &a->choices[0].gen;
    json_t *o = json_pack("{s:{s:s?, s:s?}, s:o}", "delta", "stop_reason", reason_of(g),
                          "stop_sequence", g->stops.met, "usage", usage_json(a));
    int rc = add_event("message_delta", o, out);
    return rc == 0 ? add_event("message_stop", json_object(), out) : rc;
}

static int fail(struct hd_answer *a, const struct hd_refusal *r, struct hd_text *out)
{
    return hd_sse_add(out, "error", hd_messages_refusal(r));
}

static json_t *whole(struct hd_answer *a)
{
    return hd_items_news(a, NULL) == 0 ? message_json(a) : NULL;
}

const struct hd_form hd_messages = {.chat = true,
                                    .idle = "event: ping\ndata: {\"type\":\"ping\"}\n\n",
                                    .read = hd_messages_read,
                                    .begin = begin,
                                    .news = news,
                                    .end = end,
                                    .fail = fail,
                                    .free = hd_items_free,
                                    .whole = whole};
