/* responses.c - OpenAI's /v1/responses: what is asked, as a chat. Nothing is stored, so that
 * nothing can be continued by its id. The answer: responses_out.c. */
#include "leader/api/handlers.h"
#include "leader/api/responses.h"
#include "leader/api/translate.h"

#include <string.h>

static int wrong_item(struct hd_refusal *r)
{
    return hd_refuse(r, 400, "input", "unsupported_value",
                     "'input' must be a string or an array of messages with text, 'reasoning', "
                     "'function_call' and 'function_call_output'.");
}

/* [{"type": "input_text", "text": ...}] */
static json_t *content_of(json_t *v)
{
    if (!json_is_array(v))
        return json_incref(v);
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *part = json_array_get(v, i);
        const char *type = hd_type_of(part);
        bool text = strcmp(type, "input_text") == 0 || strcmp(type, "output_text") == 0 ||
                    strcmp(type, "text") == 0;
        json_array_append_new(list, text ? json_pack("{s:s, s:O*}", "type", "text", "text",
                                                     json_object_get(part, "text"))
                                         : json_copy((json_t *)part));
    }
    return list;
}

/* A call belongs to the message of the assistant before it, if there is one. */
static int add_call(json_t *messages, const json_t *item)
{
    json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    const char *role = json_string_value(json_object_get(last, "role"));
    json_t *call =
        hd_tool_call_json(json_object_get(item, "call_id"), json_object_get(item, "name"),
                          json_object_get(item, "arguments"));
    if (role && strcmp(role, "assistant") == 0 && json_object_get(last, "tool_calls"))
        return json_array_append_new(json_object_get(last, "tool_calls"), call);
    if (role && strcmp(role, "assistant") == 0)
        return json_object_set_new(last, "tool_calls", json_pack("[o]", call));
    return json_array_append_new(messages, json_pack("{s:s, s:n, s:[o]}", "role", "assistant",
                                                     "content", "tool_calls", call));
}

static int add_item(json_t *messages, const json_t *item, struct hd_refusal *r)
{
    const char *type = hd_type_of(item);
    const char *role = json_string_value(json_object_get(item, "role"));
    int rc = -1;
    if (strcmp(type, "reasoning") == 0)
        return 0;
    if (strcmp(type, "function_call") == 0)
        rc = add_call(messages, item);
    else if (strcmp(type, "function_call_output") == 0)
        rc = json_array_append_new(messages,
                                   json_pack("{s:s, s:O*, s:o*}", "role", "tool", "tool_call_id",
                                             json_object_get(item, "call_id"), "content",
                                             content_of(json_object_get(item, "output"))));
    else if (role && (!*type || strcmp(type, "message") == 0))
        rc = json_array_append_new(messages,
                                   json_pack("{s:s, s:o*}", "role", role, "content",
                                             content_of(json_object_get(item, "content"))));
    else
        return wrong_item(r);
    return rc == 0 ? 0 : wrong_item(r);
}

static int read_input(json_t *body, struct hd_refusal *r)
{
    json_t *messages = json_array(), *input = json_object_get(body, "input");
    json_t *instructions = json_object_get(body, "instructions");
    int rc = json_is_string(input) || json_array_size(input) > 0 ? 0 : wrong_item(r);
    if (rc == 0 && json_is_string(instructions))
        json_array_append_new(messages, hd_message_json("system", instructions));
    if (rc == 0 && json_is_string(input))
        json_array_append_new(messages, hd_message_json("user", input));
    for (size_t i = 0; rc == 0 && i < json_array_size(input); i++)
        rc = add_item(messages, json_array_get(input, i), r);
    json_object_set_new(body, "messages", messages);
    json_object_del(body, "input");
    json_object_del(body, "instructions");
    return rc;
}

/* Here the function is not inside, but beside. */
static int read_tools(json_t *body, struct hd_refusal *r)
{
    json_t *given = json_object_get(body, "tools"), *choice = json_object_get(body, "tool_choice");
    json_t *tools = json_array();
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < json_array_size(given); i++) {
        const json_t *t = json_array_get(given, i);
        if (strcmp(hd_type_of(t), "function") != 0)
            rc = hd_refuse(r, 400, "tools", "unsupported_value",
                           "'tools[%zu]' must be a function; hydac has no tools of its own.", i);
        json_array_append_new(tools, hd_tool_json(json_object_get(t, "name"),
                                                  json_object_get(t, "description"),
                                                  json_object_get(t, "parameters")));
    }
    if (json_is_object(choice))
        json_object_set_new(
            body, "tool_choice",
            hd_named_choice_json(json_string_value(json_object_get(choice, "name"))));
    if (json_array_size(tools) > 0)
        json_object_set(body, "tools", tools);
    json_decref(tools);
    return rc;
}

/* {"format": {"type": "json_schema", "name", "schema"}}: the members of json_schema are beside. */
static void read_format(json_t *body)
{
    json_t *format = json_object_get(json_object_get(body, "text"), "format");
    if (format && strcmp(hd_type_of(format), "json_schema") == 0)
        json_object_set_new(body, "response_format",
                            json_pack("{s:s, s:{s:O*}}", "type", "json_schema", "json_schema",
                                      "schema", json_object_get(format, "schema")));
    else if (format)
        json_object_set(body, "response_format", format);
    json_object_del(body, "text");
}

int hd_responses_read(struct hd_answer *a, json_t **body, struct hd_refusal *r)
{
    static const char *const nothing[] = {"store",  "include", "truncation", "background",
                                          "prompt", "n",       "reasoning"};
    json_t *o = json_copy(*body);
    json_t *previous = json_object_get(o, "previous_response_id");
    json_t *effort = json_object_get(json_object_get(o, "reasoning"), "effort");
    if (!o)
        return hd_refuse_memory(r);
    a->kept = *body; /* it is told again */
    *body = o;
    if (previous && !json_is_null(previous))
        return hd_refuse(r, 400, "previous_response_id", "unsupported_value",
                         "Answers are not stored here; send the whole conversation as 'input'.");
    if (json_is_string(effort))
        json_object_set(o, "reasoning_effort", effort);
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++)
        json_object_del(o, nothing[i]);
    json_object_del(o, "previous_response_id");
    hd_move_member(o, "max_output_tokens", "max_tokens");
    read_format(o);
    int rc = read_input(o, r);
    if (rc == 0)
        rc = read_tools(o, r);
    if (rc == 0 && hd_responses_begin(a) < 0)
        rc = hd_refuse_memory(r);
    return rc;
}

void hd_post_responses(struct hd_call *c, const char *rest)
{
    hd_answer_start(c, &hd_responses);
}
