/* tools.c - the tools that a client offers. */
#include "leader/api/tools.h"

#include "common/util/error.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const json_t *function_of(const json_t *tool)
{
    return json_object_get(tool, "function");
}

const char *hd_tool_name(const json_t *tool)
{
    return json_string_value(json_object_get(function_of(tool), "name"));
}

static bool is_name(const char *s)
{
    size_t n = 0;
    for (; s && s[n]; n++)
        if (!isalnum((unsigned char)s[n]) && !strchr("_-.", s[n]))
            return false;
    return n > 0 && n <= 64;
}

static bool is_tool(const json_t *v)
{
    const char *type = json_string_value(json_object_get(v, "type"));
    const json_t *parameters = json_object_get(function_of(v), "parameters");
    bool schema = !parameters || json_is_null(parameters) || json_is_object(parameters);
    return type && strcmp(type, "function") == 0 && is_name(hd_tool_name(v)) && schema;
}

int hd_tools_take(struct hd_tools *t, const json_t *v, struct hd_refusal *r)
{
    size_t n = json_array_size(v);
    if (!json_is_array(v) || n > HD_MAX_TOOLS)
        return hd_refuse_value(r, "tools", "an array of up to 128 tools");
    for (size_t i = 0; i < n; i++)
        if (!is_tool(json_array_get(v, i)))
            return hd_refuse(
                r, 400, "tools", "invalid_value",
                "'tools[%zu]' must be {\"type\": \"function\", \"function\": {\"name\": of "
                "up to 64 letters, digits, _, - and ., \"parameters\": a JSON schema}}.",
                i);
    if (n > 0)
        t->list = json_incref((json_t *)v);
    return 0;
}

int hd_tools_take_choice(struct hd_tools *t, const json_t *v, struct hd_refusal *r)
{
    static const char *const words[] = {"auto", "none", "required"};
    const char *word = json_string_value(v), *name = hd_tool_name(v);
    for (size_t i = 0; word && i < sizeof words / sizeof words[0]; i++)
        if (strcmp(word, words[i]) == 0) {
            t->choice = (enum hd_tool_choice)i;
            return 0;
        }
    if (!is_name(name))
        return hd_refuse_value(
            r, "tool_choice",
            "\"auto\", \"none\", \"required\" or {\"type\": \"function\", \"function\": "
            "{\"name\": ...}}");
    t->choice = HD_TOOL_NAMED;
    strcpy(t->name, name);
    return 0;
}

int hd_tools_take_parallel(struct hd_tools *t, const json_t *v, struct hd_refusal *r)
{
    if (!json_is_boolean(v))
        return hd_refuse_value(r, "parallel_tool_calls", "true or false");
    t->only_one = json_is_false(v);
    return 0;
}

int hd_tools_check(const struct hd_tools *t, struct hd_refusal *r)
{
    if (t->choice == HD_TOOL_AUTO || t->choice == HD_TOOL_NONE)
        return 0;
    for (size_t i = 0; i < json_array_size(t->list); i++)
        if (t->choice == HD_TOOL_REQUIRED ||
            strcmp(hd_tool_name(json_array_get(t->list, i)), t->name) == 0)
            return 0;
    return hd_refuse(r, 400, "tool_choice", "invalid_value",
                     "'tool_choice' wants a tool that 'tools' does not have.");
}

bool hd_tools_are_offered(const struct hd_tools *t)
{
    return t->list && t->choice != HD_TOOL_NONE;
}

void hd_tools_deinit(struct hd_tools *t)
{
    json_decref(t->list);
    t->list = NULL;
}

static int add(struct hd_text *out, const char *text)
{
    return hd_text_add(out, text, strlen(text));
}

/* Hermes' words (Teknium et al. 2024, "Hermes 3"), which most models have seen. */
int hd_tools_tell(const struct hd_tools *t, struct hd_text *out)
{
    int rc =
        add(out, "You may call one or more functions to assist with the user query.\n\nYou are "
                 "provided with function signatures within <tools></tools> XML tags:\n<tools>");
    for (size_t i = 0; rc == 0 && i < json_array_size(t->list); i++) {
        char *text = json_dumps(json_array_get(t->list, i), 0);
        rc = text && add(out, "\n") == 0 ? add(out, text) : HD_E_NOMEM;
        free(text);
    }
    return rc == 0 ? add(out, "\n</tools>\n\nFor each function call, return a json object with "
                              "function name and arguments within <tool_call></tool_call> XML "
                              "tags:\n<tool_call>\n{\"name\": <function-name>, \"arguments\": "
                              "<args-json-object>}\n</tool_call>")
                   : rc;
}
