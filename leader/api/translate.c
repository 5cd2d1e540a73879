/* translate.c - no more than names: what is wrong is found where OpenAI's body is read. */
#include "leader/api/translate.h"

void hd_move_member(json_t *o, const char *from, const char *to)
{
    json_t *v = json_object_get(o, from);
    if (v && !json_is_null(v))
        json_object_set(o, to, v);
    json_object_del(o, from);
}

json_t *hd_tool_json(json_t *name, json_t *description, json_t *parameters)
{
    return json_pack("{s:s, s:{s:O*, s:O*, s:O*}}", "type", "function", "function", "name", name,
                     "description", description, "parameters", parameters);
}

json_t *hd_tool_call_json(json_t *id, json_t *name, json_t *arguments)
{
    return json_pack("{s:O*, s:s, s:{s:O*, s:O*}}", "id", id, "type", "function", "function",
                     "name", name, "arguments", arguments);
}

json_t *hd_named_choice_json(const char *name)
{
    return json_pack("{s:s, s:{s:s?}}", "type", "function", "function", "name", name);
}

json_t *hd_message_json(const char *role, json_t *content)
{
    return json_pack("{s:s, s:O*}", "role", role, "content", content);
}

const char *hd_type_of(const json_t *o)
{
    const char *s = json_string_value(json_object_get(o, "type"));
    return s ? s : "";
}
