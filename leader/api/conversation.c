/* conversation.c - a client's messages as a model's template sees them: texts put together, the
 * arguments of calls as objects, as transformers has them. */
#include "leader/api/conversation.h"

#include "common/util/error.h"

#include <stdlib.h>
#include <string.h>

static int wrong(struct hd_refusal *r, const char *what)
{
    return hd_refuse(r, 400, "messages", "invalid_value", "Each message needs %s.", what);
}

static const char *known_role(const char *role)
{
    static const char *const names[] = {"system", "user", "assistant", "tool"};
    if (role && strcmp(role, "developer") == 0)
        return "system";
    for (size_t i = 0; role && i < sizeof names / sizeof names[0]; i++)
        if (strcmp(role, names[i]) == 0)
            return names[i];
    return NULL;
}

/* A message's text: a string, or an array of {"type": "text", "text": "..."} put together. */
static int read_content(struct hd_text *out, const json_t *v)
{
    if (json_is_string(v))
        return hd_text_add(out, json_string_value(v), json_string_length(v));
    if (!json_is_array(v))
        return HD_E_RANGE;
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *part = json_array_get(v, i);
        const char *type = json_string_value(json_object_get(part, "type"));
        const json_t *text = json_object_get(part, "text");
        if (!type || strcmp(type, "text") != 0 || !json_is_string(text))
            return HD_E_RANGE;
        int rc = hd_text_add(out, json_string_value(text), json_string_length(text));
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- Calls in the history ---- */

/* A client's call with its arguments, which are JSON in a string, as an object; NULL: it is none.
 */
static json_t *call_of(const json_t *v)
{
    const json_t *function = json_object_get(v, "function");
    const json_t *given = json_object_get(function, "arguments");
    const char *name = json_string_value(json_object_get(function, "name"));
    const char *id = json_string_value(json_object_get(v, "id"));
    json_t *arguments = json_is_string(given) && json_string_length(given) > 0
                            ? json_loads(json_string_value(given), 0, NULL)
                        : json_is_object(given) ? json_incref((json_t *)given)
                                                : json_object();
    if (!name || !json_is_object(arguments)) {
        json_decref(arguments);
        return NULL;
    }
    return json_pack("{s:s?, s:s, s:{s:s, s:o}}", "id", id, "type", "function", "function", "name",
                     name, "arguments", arguments);
}

static int read_calls(json_t **out, const json_t *v, struct hd_refusal *r)
{
    *out = json_array();
    for (size_t i = 0; i < json_array_size(v); i++) {
        json_t *call = call_of(json_array_get(v, i));
        if (!call || json_array_append_new(*out, call) < 0)
            return wrong(r,
                         "'tool_calls' with a function's 'name' and 'arguments', which are a JSON "
                         "object in a string");
    }
    return 0;
}

/* Calls as Hermes writes them. */
static int tell_calls(struct hd_text *content, const json_t *calls)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < json_array_size(calls); i++) {
        char *text = json_dumps(json_object_get(json_array_get(calls, i), "function"), 0);
        rc = text && hd_text_add(content, content->len ? "\n<tool_call>\n" : "<tool_call>\n",
                                 content->len ? 13 : 12) == 0
                 ? hd_text_add(content, text, strlen(text))
                 : HD_E_NOMEM;
        if (rc == 0)
            rc = hd_text_add(content, "\n</tool_call>", 13);
        free(text);
    }
    return rc;
}

/* ---- Messages ---- */

/* Members that templates look at and that are texts. */
static int copy_texts(json_t *to, const json_t *from)
{
    static const char *const keys[] = {"name", "tool_call_id", "reasoning_content"};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof keys / sizeof keys[0]; i++) {
        json_t *v = json_object_get(from, keys[i]);
        if (json_is_string(v))
            rc = json_object_set(to, keys[i], v);
    }
    return rc;
}

static json_t *message(const char *role, const struct hd_text *content)
{
    return json_pack("{s:s, s:s}", "role", role, "content", hd_text_str(content));
}

/* For a template without tools: a result is what the user says. */
static json_t *plain_message(const char *role, struct hd_text *content, const json_t *calls)
{
    struct hd_text told = {0};
    if (strcmp(role, "tool") != 0)
        return tell_calls(content, calls) == 0 ? message(role, content) : NULL;
    int rc = hd_text_add(&told, "<tool_response>\n", 16);
    if (rc == 0)
        rc = hd_text_add(&told, hd_text_str(content), content->len);
    if (rc == 0)
        rc = hd_text_add(&told, "\n</tool_response>", 17);
    json_t *m = rc == 0 ? message("user", &told) : NULL;
    hd_text_deinit(&told);
    return m;
}

static int add_message(json_t *list, const json_t *v, bool native, struct hd_refusal *r)
{
    const char *role = known_role(json_string_value(json_object_get(v, "role")));
    const json_t *said = json_object_get(v, "content"), *made = json_object_get(v, "tool_calls");
    struct hd_text content = {0};
    json_t *calls = NULL, *m = NULL;
    if (!role)
        return wrong(r, "'role': system, user, assistant or tool");
    bool silent = json_array_size(made) > 0 && strcmp(role, "assistant") == 0;
    int rc = silent ? read_calls(&calls, made, r) : 0;
    if (rc == 0 && !(silent && (!said || json_is_null(said))))
        rc = read_content(&content, said);
    if (rc == 0) {
        m = native ? message(role, &content) : plain_message(role, &content, calls);
        rc = m && copy_texts(m, v) == 0 ? 0 : HD_E_NOMEM;
        if (rc == 0 && native && calls)
            rc = json_object_set(m, "tool_calls", calls);
        if (rc == 0)
            rc = json_array_append(list, m);
    } else if (!r->status) {
        rc = rc == HD_E_NOMEM ? hd_refuse_memory(r)
                              : wrong(r, "'content': a string, or an array of text parts");
    }
    json_decref(m);
    json_decref(calls);
    hd_text_deinit(&content);
    return rc < 0 && !r->status ? hd_refuse_memory(r) : rc;
}

/* The tools in the system message, which is made if there is none. */
static int tell_tools(json_t *list, const struct hd_tools *tools)
{
    json_t *first = json_array_get(list, 0);
    const char *role = json_string_value(json_object_get(first, "role"));
    bool there = role && strcmp(role, "system") == 0;
    const char *said = there ? json_string_value(json_object_get(first, "content")) : "";
    struct hd_text text = {0};
    int rc = hd_text_add(&text, said, strlen(said));
    if (rc == 0 && text.len > 0)
        rc = hd_text_add(&text, "\n\n", 2);
    if (rc == 0)
        rc = hd_tools_tell(tools, &text);
    if (rc == 0 && there)
        rc = json_object_set_new(first, "content", json_string(hd_text_str(&text)));
    else if (rc == 0)
        rc = json_array_insert_new(list, 0, message("system", &text));
    hd_text_deinit(&text);
    return rc;
}

/* ---- All of it ---- */

static bool is_by(const json_t *m, const char *role)
{
    const char *s = json_string_value(json_object_get(m, "role"));
    return s && strcmp(s, role) == 0;
}

static int add_vars(json_t *o, const json_t *body, struct hd_refusal *r)
{
    json_t *given = json_object_get(body, "chat_template_kwargs");
    json_t *effort = json_object_get(body, "reasoning_effort");
    json_t *documents = json_object_get(body, "documents");
    json_t *vars = json_object();
    if (given && !json_is_null(given) && !json_is_object(given)) {
        json_decref(vars);
        return hd_refuse(r, 400, "chat_template_kwargs", "invalid_value",
                         "'chat_template_kwargs' must be an object.");
    }
    if (documents && !json_is_null(documents) && !json_is_array(documents)) {
        json_decref(vars);
        return hd_refuse(r, 400, "documents", "invalid_value", "'documents' must be a list.");
    }
    int rc = json_is_string(effort) ? json_object_set(vars, "reasoning_effort", effort) : 0;
    if (rc == 0 && json_is_array(documents))
        rc = json_object_set(vars, "documents", documents);
    if (rc == 0 && json_is_object(given))
        rc = json_object_update(vars, given);
    return rc == 0 && json_object_set_new(o, "vars", vars) == 0 ? 0 : hd_refuse_memory(r);
}

/* What the assistant has begun to say, without a call. */
static bool continues(const json_t *last)
{
    const char *said = json_string_value(json_object_get(last, "content"));
    return is_by(last, "assistant") && !json_object_get(last, "tool_calls") && said &&
           said[strspn(said, " \t\r\n")];
}

int hd_conversation_read(json_t **out, json_t **last, const json_t *body,
                         const struct hd_tools *tools, bool native, struct hd_refusal *r)
{
    const json_t *messages = json_object_get(body, "messages");
    json_t *list = json_array(), *o;
    int rc = 0;
    *last = NULL;
    for (size_t i = 0; rc == 0 && i < json_array_size(messages); i++)
        rc = add_message(list, json_array_get(messages, i), native, r);
    const json_t *end = json_array_get(list, json_array_size(list) - 1);
    if (rc == 0 && is_by(end, "user"))
        *last = json_incref(json_object_get(end, "content"));
    o = json_pack("{s:o, s:b}", "messages", list, "continues", continues(end));
    if (rc == 0 && tools && hd_tools_are_offered(tools))
        rc = (native ? json_object_set(o, "tools", tools->list) : tell_tools(list, tools)) == 0
                 ? 0
                 : hd_refuse_memory(r);
    if (rc == 0)
        rc = add_vars(o, body, r);
    if (rc < 0) {
        json_decref(o);
        json_decref(*last);
        *last = o = NULL;
    }
    *out = o;
    return rc;
}
