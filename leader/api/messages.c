/* messages.c - Anthropic's /v1/messages: what is asked, as OpenAI's chat. */
#include "leader/api/messages.h"

#include "leader/api/handlers.h"
#include "leader/api/sse.h"
#include "leader/api/translate.h"

#include <stdlib.h>
#include <string.h>

static int wrong_block(struct hd_refusal *r, const char *type)
{
    return hd_refuse(r, 400, "messages", "unsupported_value",
                     "A block of type '%.40s' cannot be read here; there are text, thinking, "
                     "tool_use and tool_result.",
                     type);
}

/* Texts only: what a tool has given, what the system says. Other blocks stay, and are refused with
 * the messages. */
static json_t *texts_of(json_t *v)
{
    return v && !json_is_null(v) ? json_incref(v) : json_string("");
}

/* A result is a message of its own, before the text beside it. */
static int add_result(json_t *messages, const json_t *block)
{
    return json_array_append_new(messages,
                                 json_pack("{s:s, s:O*, s:o}", "role", "tool", "tool_call_id",
                                           json_object_get(block, "tool_use_id"), "content",
                                           texts_of(json_object_get(block, "content"))));
}

struct blocks {
    json_t *texts, *calls, *thoughts;
};

static int add_block(json_t *messages, struct blocks *to, const json_t *block, struct hd_refusal *r)
{
    const char *type = hd_type_of(block);
    int rc = 0;
    if (strcmp(type, "text") == 0)
        rc = json_array_append_new(to->texts, json_pack("{s:s, s:O*}", "type", "text", "text",
                                                        json_object_get(block, "text")));
    else if (strcmp(type, "tool_use") == 0)
        rc = json_array_append_new(to->calls, hd_tool_call_json(json_object_get(block, "id"),
                                                                json_object_get(block, "name"),
                                                                json_object_get(block, "input")));
    else if (strcmp(type, "tool_result") == 0)
        rc = add_result(messages, block);
    else if (strcmp(type, "thinking") == 0) {
        json_decref(to->thoughts);
        to->thoughts = json_incref(json_object_get(block, "thinking"));
    } else if (strcmp(type, "redacted_thinking") != 0)
        return wrong_block(r, type);
    return rc == 0 ? 0 : hd_refuse_memory(r);
}

static int add_message(json_t *messages, const json_t *m, struct hd_refusal *r)
{
    const char *role = json_string_value(json_object_get(m, "role"));
    json_t *content = json_object_get(m, "content"), *o;
    struct blocks b = {json_array(), json_array(), NULL};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < json_array_size(content); i++)
        rc = add_block(messages, &b, json_array_get(content, i), r);
    bool list = json_is_array(content), some = json_array_size(b.texts) > 0;
    o = json_pack("{s:s?, s:O*}", "role", role, "content",
                  !list                                   ? content
                  : some || json_array_size(b.calls) == 0 ? b.texts
                                                          : NULL);
    if (rc == 0 && json_array_size(b.calls) > 0)
        json_object_set(o, "tool_calls", b.calls);
    if (rc == 0 && b.thoughts)
        json_object_set(o, "reasoning_content", b.thoughts);
    bool only_results = list && !some && json_array_size(b.calls) == 0 && json_array_size(content);
    if (rc == 0 && !only_results && json_array_append(messages, o) < 0)
        rc = hd_refuse_memory(r);
    json_decref(o);
    json_decref(b.texts);
    json_decref(b.calls);
    json_decref(b.thoughts);
    return rc;
}

static int read_messages(json_t *body, struct hd_refusal *r)
{
    json_t *messages = json_array(), *given = json_object_get(body, "messages");
    json_t *system = json_object_get(body, "system");
    int rc = 0;
    if (system && !json_is_null(system))
        json_array_append_new(messages, hd_message_json("system", system));
    for (size_t i = 0; rc == 0 && i < json_array_size(given); i++)
        rc = add_message(messages, json_array_get(given, i), r);
    json_object_del(body, "system");
    if (given)
        json_object_set(body, "messages", messages);
    json_decref(messages);
    return rc;
}

static void read_tools(json_t *body)
{
    json_t *given = json_object_get(body, "tools"), *choice = json_object_get(body, "tool_choice");
    json_t *tools = json_array();
    const char *type = hd_type_of(choice);
    for (size_t i = 0; i < json_array_size(given); i++) {
        const json_t *t = json_array_get(given, i);
        json_array_append_new(tools, hd_tool_json(json_object_get(t, "name"),
                                                  json_object_get(t, "description"),
                                                  json_object_get(t, "input_schema")));
    }
    if (given)
        json_object_set(body, "tools", tools);
    json_decref(tools);
    if (json_is_true(json_object_get(choice, "disable_parallel_tool_use")))
        json_object_set_new(body, "parallel_tool_calls", json_false());
    if (strcmp(type, "any") == 0)
        json_object_set_new(body, "tool_choice", json_string("required"));
    else if (strcmp(type, "tool") == 0)
        json_object_set_new(
            body, "tool_choice",
            hd_named_choice_json(json_string_value(json_object_get(choice, "name"))));
    else if (choice)
        json_object_set_new(body, "tool_choice", json_string(type));
}

/* {"type": "enabled" | "disabled" | "adaptive"}, which templates of such models know by this name.
 */
static void read_thinking(json_t *body)
{
    const json_t *thinking = json_object_get(body, "thinking");
    bool off = strcmp(hd_type_of(thinking), "disabled") == 0;
    if (thinking)
        json_object_set_new(body, "chat_template_kwargs",
                            json_pack("{s:b}", "enable_thinking", !off));
    json_object_del(body, "thinking");
}

static int translate(json_t *body, struct hd_refusal *r)
{
    hd_move_member(body, "stop_sequences", "stop");
    read_thinking(body);
    read_tools(body);
    return read_messages(body, r);
}

int hd_messages_read(struct hd_answer *a, json_t **body, struct hd_refusal *r)
{
    if (!json_is_integer(json_object_get(*body, "max_tokens")))
        return hd_refuse(r, 400, "max_tokens", "missing_required_parameter",
                         "'max_tokens' is required, an integer.");
    int rc = translate(*body, r);
    return rc < 0 ? rc : hd_messages_begin(a) < 0 ? hd_refuse_memory(r) : 0;
}

void hd_post_messages(struct hd_call *c, const char *rest)
{
    hd_answer_start(c, &hd_messages);
}

/* ---- /v1/messages/count_tokens ---- */

static int count(size_t *n, json_t *body, const struct hd_api_backend *b, struct hd_refusal *r)
{
    struct hd_params p = {.chat = true};
    struct hd_prompt prompt = {0};
    int rc = translate(body, r);
    if (rc == 0)
        rc = hd_params_read(&p, body, b, r);
    if (rc == 0)
        rc = hd_prompt_read(&prompt, body, true, &p.tools, b, r);
    *n = prompt.n;
    free(prompt.ids);
    hd_params_deinit(&p);
    return rc;
}

static void run_count(void *call)
{
    struct hd_call *c = call;
    json_t *body = hd_call_body(c);
    size_t n;
    if (body && count(&n, body, &c->api->o.backend, &c->refusal) == 0)
        c->text = hd_json_text(json_pack("{s:I}", "input_tokens", (json_int_t)n));
    json_decref(body);
}

void hd_post_count_tokens(struct hd_call *c, const char *rest)
{
    hd_call_work_on_body(c, run_count, hd_call_reply_worked);
}
