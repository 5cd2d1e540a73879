/* schema.c - JSON schemas (draft 2020-12 and its elders), narrowed. */
#include "leader/api/schema.h"

#include <stdbool.h>
#include <string.h>

#define EXACT    9007199254740991 /* 2^53 - 1 */
#define LARGEST  1e15
#define SMALLEST 1e-10 /* llguidance takes no less */

/* What llguidance is told of blanks: one behind commas and colons, no others. */
#define BLANKS "whitespace_flexible", false, "item_separator", ", ", "key_separator", ": "

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
static const char *const listed[] = {"enum", "const", NULL};

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

/* `type` of the schema is `name`, or has it among others. */
static bool is_type(const json_t *schema, const char *name)
{
    const json_t *type = json_object_get(schema, "type");
    const char *only = json_string_value(type);
    if (only)
        return strcmp(only, name) == 0;
    for (size_t i = 0; i < json_array_size(type); i++) {
        const char *one = json_string_value(json_array_get(type, i));
        if (one && strcmp(one, name) == 0)
            return true;
    }
    return false;
}

static void add_missing(json_t *o, const char *key, const char *instead, json_t *v)
{
    if (json_object_get(o, key) || (instead && json_object_get(o, instead)))
        json_decref(v);
    else
        json_object_set_new(o, key, v);
}

/* Digits come to an end. */
static void bound_number(json_t *o, const json_t *schema)
{
    bool whole = is_type(schema, "integer"), real = is_type(schema, "number");
    if (has_any(schema, listed) || !(whole || real))
        return;
    if (real)
        add_missing(o, "multipleOf", NULL, json_real(SMALLEST));
    add_missing(o, "minimum", "exclusiveMinimum",
                real ? json_real(-LARGEST) : json_integer(-EXACT));
    add_missing(o, "maximum", "exclusiveMaximum", real ? json_real(LARGEST) : json_integer(EXACT));
}

/* So do texts of formats in which something may repeat: RFC 5321, RFC 1035; seconds to the
 * billionth; what browsers take. */
static void bound_text(json_t *o, const json_t *schema)
{
    static const struct {
        const char *format;
        int longest;
    } texts[] = {{"email", 253}, {"hostname", 253}, {"date-time", 35},
                 {"time", 24},   {"duration", 40},  {"uri", 2000}};
    const char *format = json_string_value(json_object_get(schema, "format"));
    for (size_t i = 0; format && i < sizeof texts / sizeof texts[0]; i++)
        if (strcmp(format, texts[i].format) == 0)
            add_missing(o, "maxLength", NULL, json_integer(texts[i].longest));
}

static void close_object(json_t *o, const json_t *schema, bool part)
{
    if (!part && json_is_object(json_object_get(schema, "properties")) && !has_any(schema, open))
        json_object_set_new(o, "additionalProperties", json_false());
    bound_number(o, schema);
    bound_text(o, schema);
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
    if (json_is_object(copy))
        add_missing(copy, "x-guidance", NULL, json_pack("{s:b, s:s, s:s}", BLANKS));
    char *text = json_dumps(copy, JSON_COMPACT | JSON_REAL_PRECISION(15)); /* 0.1 stays 0.1 */
    json_decref(copy);
    return text;
}
