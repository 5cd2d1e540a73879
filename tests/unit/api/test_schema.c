/* A client's JSON schema, narrowed: what becomes narrower, and what stays as it is. */
#include "leader/api/schema.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define EXACT "\"minimum\":-9007199254740991,\"maximum\":9007199254740991"

Test(schema, narrowed)
{
    static const char *const cases[][2] = {
        {"{}", "{}"},
        {"{\"type\":\"integer\"}", "{\"type\":\"integer\"," EXACT "}"},
        {"{\"type\":\"integer\",\"minimum\":0}", "{\"type\":\"integer\",\"minimum\":0}"},
        {"{\"type\":\"number\"}", "{\"type\":\"number\"}"},
        {"{\"properties\":{\"type\":{\"type\":\"integer\"}}}",
         "{\"properties\":{\"type\":{\"type\":\"integer\"," EXACT
         "}},\"additionalProperties\":false}"},
        {"{\"properties\":{},\"additionalProperties\":true}",
         "{\"properties\":{},\"additionalProperties\":true}"},
        {"{\"properties\":{},\"patternProperties\":{}}",
         "{\"properties\":{},\"patternProperties\":{}}"},
        {"{\"allOf\":[{\"properties\":{\"a\":{\"properties\":{}}}},{\"properties\":{}}]}",
         "{\"allOf\":[{\"properties\":{\"a\":{\"properties\":{},\"additionalProperties\":false}}},"
         "{\"properties\":{}}]}"},
        {"{\"anyOf\":[{\"properties\":{}},{\"type\":\"null\"}]}",
         "{\"anyOf\":[{\"properties\":{},\"additionalProperties\":false},{\"type\":\"null\"}]}"},
        {"{\"enum\":[{\"properties\":{},\"type\":\"integer\"}]}",
         "{\"enum\":[{\"properties\":{},\"type\":\"integer\"}]}"},
        {"{\"$defs\":{\"properties\":{\"properties\":{}}},\"items\":{\"type\":\"integer\"}}",
         "{\"$defs\":{\"properties\":{\"properties\":{},\"additionalProperties\":false}},\"items\":"
         "{"
         "\"type\":\"integer\"," EXACT "}}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_t *schema = json_loads(cases[i][0], 0, NULL);
        char *text = hd_schema_narrow(schema);
        cr_expect_str_eq(text, cases[i][1], "of %s", cases[i][0]);
        free(text);
        json_decref(schema);
    }
}
