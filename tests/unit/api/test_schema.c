/* A client's JSON schema, narrowed: what becomes narrower, and what stays as it is. */
#include "leader/api/schema.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLANKS                                                                                     \
    "\"x-guidance\":{\"whitespace_flexible\":false,\"item_separator\":\", "                        \
    "\",\"key_separator\":\": \"}}"
#define REAL  "\"multipleOf\":1e-10,\"minimum\":-1e15,\"maximum\":1e15"
#define EXACT "\"minimum\":-9007199254740991,\"maximum\":9007199254740991"

Test(schema, narrowed)
{
    static const char *const cases[][2] = {
        {"{}", "{}"},
        {"{\"type\":\"integer\"}", "{\"type\":\"integer\"," EXACT "}"},
        {"{\"type\":\"integer\",\"minimum\":0}",
         "{\"type\":\"integer\",\"minimum\":0,\"maximum\":9007199254740991}"},
        {"{\"type\":[\"integer\",\"null\"]}", "{\"type\":[\"integer\",\"null\"]," EXACT "}"},
        {"{\"type\":\"number\"}", "{\"type\":\"number\"," REAL "}"},
        {"{\"type\":\"number\",\"exclusiveMaximum\":0.1,\"multipleOf\":0.01}",
         "{\"type\":\"number\",\"exclusiveMaximum\":0.1,\"multipleOf\":0.01,\"minimum\":-1e15}"},
        {"{\"type\":\"number\",\"enum\":[1]}", "{\"type\":\"number\",\"enum\":[1]}"},
        {"{\"format\":\"email\"}", "{\"format\":\"email\",\"maxLength\":253}"},
        {"{\"format\":\"email\",\"maxLength\":9}", "{\"format\":\"email\",\"maxLength\":9}"},
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
        char want[512];
        int n = (int)strlen(cases[i][1]) - 1;
        snprintf(want, sizeof want, "%.*s%s" BLANKS, n, cases[i][1], n > 1 ? "," : "");
        cr_expect_str_eq(text, want, "of %s", cases[i][0]);
        free(text);
        json_decref(schema);
    }
}
