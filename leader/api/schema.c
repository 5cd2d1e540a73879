/* schema.c - JSON schemas (draft 2020-12 and its elders), narrowed. */
#include "leader/api/schema.h"

#include <stdbool.h>
#include <string.h>

#define EXACT 9007199254740991 /* 2^53 - 1 */

/* Values, not schemas. */
static const char *const values[] = {"enum", "const", "default", "examples", "example", NULL};
/* Members are names of the client's, with a schema each. */
static const char *const named[] = {"properties", "$defs", "definitions", "patternProperties",
                                    NULL};
/* With one of these an object may mean more than its properties. */
static const char *const open[] = {"additionalProperties",
                                   "unevaluatedProperties",
                                   "patternProperties",
                                   "allOf",
                                   "anyOf",
                                   "oneOf",
                                   "$ref",
                                   NULL};
static const char *const bounds[] = {
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "enum",
    "const",   NULL};

static bool is_in(const char *const *list, const char *key)
{
    for (; *list; list++)
        if (strcmp(*list, key) == 0)
            return true;
    return false;
}

static bool has_any(const json_t *o, const char *const *keys)
{
    for (; *keys; keys++)
        if (json_object_get(o, *keys))
            return true;
    return false;
}

/* `part`: of an allOf, where closing one side would forbid what the other has. */
static json_t *narrow(const json_t *v, bool part);

static json_t *narrow_named(const json_t *v)
{
    json_t *copy = json_object(), *one;
    const char *name;
    json_object_foreach((json_t *)v, name, one) json_object_set_new(copy, name, narrow(one, false));
    return copy;
}

static void close_object(json_t *o, const json_t *schema, bool part)
{
    const char *type = json_string_value(json_object_get(schema, "type"));
    if (!part && json_is_object(json_object_get(schema, "properties")) && !has_any(schema, open))
        json_object_set_new(o, "additionalProperties", json_false());
    if (type && strcmp(type, "integer") == 0 && !has_any(schema, bounds)) {
        json_object_set_new(o, "minimum", json_integer(-EXACT));
        json_object_set_new(o, "maximum", json_integer(EXACT));
    }
}

static json_t *narrow_object(const json_t *schema, bool part)
{
    json_t *copy = json_object(), *v;
    const char *key;
    json_object_foreach((json_t *)schema, key, v)
    {
        if (is_in(values, key))
            json_object_set(copy, key, v);
        else if (is_in(named, key) && json_is_object(v))
            json_object_set_new(copy, key, narrow_named(v));
        else
            json_object_set_new(copy, key, narrow(v, strcmp(key, "allOf") == 0));
    }
    close_object(copy, schema, part);
    return copy;
}

static json_t *narrow(const json_t *v, bool part)
{
    if (json_is_object(v))
        return narrow_object(v, part);
    if (!json_is_array(v))
        return json_incref((json_t *)v);
    json_t *copy = json_array();
    for (size_t i = 0; i < json_array_size(v); i++)
        json_array_append_new(copy, narrow(json_array_get(v, i), part));
    return copy;
}

char *hd_schema_narrow(const json_t *schema)
{
    json_t *copy = narrow(schema, false);
    char *text = json_dumps(copy, JSON_COMPACT | JSON_REAL_PRECISION(17));
    json_decref(copy);
    return text;
}
