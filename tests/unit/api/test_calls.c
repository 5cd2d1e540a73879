/* Calls of tools found in an answer's text: each family's way, in one piece and byte by byte. */
#include "leader/api/channels.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* The text that is left and the calls, as "text|name(arguments)|...", malloc'ed. */
static char *found(enum hd_call_form form, const char *text, size_t piece)
{
    struct hd_calls c = {.form = form};
    struct hd_text out = {0};
    json_t *calls = json_array(), *call;
    size_t len = strlen(text), i;
    char part[256];
    for (size_t at = 0; at < len; at += piece) {
        size_t n = len - at < piece ? len - at : piece;
        memcpy(part, text + at, n);
        part[n] = '\0';
        cr_assert_eq(hd_calls_push(&c, part, &out, calls), 0);
    }
    cr_assert_eq(hd_calls_finish(&c, &out, calls), 0);
    cr_assert_eq(c.n, json_array_size(calls));
    json_array_foreach(calls, i, call)
    {
        const json_t *f = json_object_get(call, "function");
        cr_assert_eq((size_t)json_integer_value(json_object_get(call, "index")), i);
        cr_assert_gt(json_string_length(json_object_get(call, "id")), 8);
        snprintf(part, sizeof part, "|%s(%s)", json_string_value(json_object_get(f, "name")),
                 json_string_value(json_object_get(f, "arguments")));
        hd_text_add(&out, part, strlen(part));
    }
    char *all = strdup(hd_text_str(&out));
    hd_text_deinit(&out);
    hd_calls_deinit(&c);
    json_decref(calls);
    return all;
}

static const struct {
    enum hd_call_form form;
    const char *text, *found;
} cases[] = {
    {HD_CALLS_TAGGED, "", ""},
    {HD_CALLS_TAGGED, "just text, a < b", "just text, a < b"},
    {HD_CALLS_TAGGED, "ends like <tool_", "ends like <tool_"},
    {HD_CALLS_TAGGED, "blanks  \n", "blanks  \n"},
    {HD_CALLS_TAGGED, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>",
     "|f({\"a\":1})"},
    {HD_CALLS_TAGGED, "Let me see.\n<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>",
     "Let me see.|f({})"},
    {HD_CALLS_TAGGED,
     "<tool_call>{\"name\":\"f\",\"arguments\":{}}</"
     "tool_call>\n<tool_call>{\"name\":\"g\",\"arguments\":"
     "{\"x\":[1.5,null]}}</tool_call>",
     "|f({})|g({\"x\":[1.5,null]})"},
    {HD_CALLS_TAGGED, "<tool_call>{\"name\":\"f\",\"arguments\":{}}", "|f({})"}, /* cut by eos */
    {HD_CALLS_TAGGED, "<tool_call>no JSON</tool_call> and on",
     "<tool_call>no JSON</tool_call> and on"},
    {HD_CALLS_TAGGED, "<tool_call>{\"name\":\"f\",\"argum", "<tool_call>{\"name\":\"f\",\"argum"},
    {HD_CALLS_TAGGED,
     "<tool_call>{\"name\":\"f\",\"arguments\":{\"s\":\"</b>\\u00fc\"}}</tool_call>",
     "|f({\"s\":\"</b>\xc3\xbc\"})"},
    {HD_CALLS_BARE, "{\"name\": \"f\", \"parameters\": {\"a\": 1}}", "|f({\"a\":1})"},
    {HD_CALLS_BARE, "<|python_tag|>{\"name\": \"f\", \"parameters\": {}}", "|f({})"},
    {HD_CALLS_BARE, "{\"name\":\"f\",\"parameters\":{}}; {\"name\":\"g\",\"parameters\":{}}",
     "|f({})|g({})"},
    {HD_CALLS_BARE, "{\"no\": \"call\"}", "{\"no\": \"call\"}"},
    {HD_CALLS_BARE, "{\"name\":\"f\",\"parameters\":{}} and more",
     "{\"name\":\"f\",\"parameters\":{}} and more"},
    {HD_CALLS_BARE, "plain {\"name\":\"f\",\"parameters\":{}}",
     "plain {\"name\":\"f\",\"parameters\":{}}"},
    {HD_CALLS_LIST, "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\": \"b\"}}]",
     "|f({\"a\":\"b\"})"},
    {HD_CALLS_LIST,
     "Well [TOOL_CALLS][{\"name\":\"f\",\"arguments\":{}},{\"name\":\"g\",\"arguments\":{}}]",
     "Well|f({})|g({})"},
    {HD_CALLS_ARGS, "[TOOL_CALLS]f[ARGS]{}[TOOL_CALLS]g[ARGS]{\"a\": 1}", "|f({})|g({\"a\":1})"},
    {HD_CALLS_LIST, "[TOOL_CALLS]f[ARGS]{\"a\": 1}", "|f({\"a\":1})"},
    {HD_CALLS_LIST, "[TOOL_CALLS] oh", "[TOOL_CALLS] oh"},
    {HD_CALLS_LIST, "a list: [1, 2]", "a list: [1, 2]"},
};

Test(calls, in_any_pieces)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (size_t piece = 1; piece <= 200; piece = piece * 2 + 1) {
            char *got = found(cases[i].form, cases[i].text, piece);
            cr_expect_str_eq(got, cases[i].found, "%zu bytes of %s", piece, cases[i].text);
            free(got);
        }
}

/* What is no call is not held back for longer than it may be the beginning of one. */
Test(calls, text_goes_on_at_once)
{
    struct hd_calls c = {.form = HD_CALLS_TAGGED};
    struct hd_text out = {0};
    json_t *calls = json_array();
    cr_assert_eq(hd_calls_push(&c, "one two <", &out, calls), 0);
    cr_assert_str_eq(hd_text_str(&out), "one two");
    cr_assert_eq(hd_calls_push(&c, "b> three", &out, calls), 0);
    cr_assert_str_eq(hd_text_str(&out), "one two <b> three");
    cr_assert_eq(
        hd_calls_push(&c, "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>", &out, calls),
        0);
    cr_assert_eq(json_array_size(calls), 1, "a call that is whole is told at once");
    hd_text_deinit(&out);
    hd_calls_deinit(&c);
    json_decref(calls);
}

Test(calls, forms_by_template)
{
    static const struct {
        const char *template;
        enum hd_call_form form;
        bool native;
    } ways[] = {
        {"{% for m in messages %}{{ m.content }}{% endfor %}", HD_CALLS_TAGGED, false},
        {"{% if tools %}<tool_call>{% endif %}", HD_CALLS_TAGGED, true},
        {"{% if tools %}<|python_tag|>{% endif %}", HD_CALLS_BARE, true},
        {"{% if tools %}[AVAILABLE_TOOLS][TOOL_CALLS]{% endif %}", HD_CALLS_LIST, true},
        {"{% if tools %}[TOOL_CALLS]f[ARGS]{% endif %}", HD_CALLS_ARGS, true},
        {"{% if tools %}<|start|><|channel|>{% endif %}", HD_CALLS_CHANNELS, true},
    };
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        bool native;
        cr_expect_eq(hd_call_form_of(ways[i].template, &native), ways[i].form);
        cr_expect_eq(native, ways[i].native);
    }
}

/* ---- Channels ----*/

#define HEAD(head) HD_MARK_CHANNEL head HD_MARK_MESSAGE
#define NEXT       HD_MARK_END HD_MARK_START "assistant"

/* Thoughts, text and calls as "thoughts|text|name(arguments)". */
static void channelled(char found[256], const char *text, size_t piece, bool tools)
{
    struct hd_channels c = {.on = true};
    struct hd_calls calls = {.form = HD_CALLS_CHANNELS};
    struct hd_text out = {0}, thought = {0};
    json_t *list = json_array(), *call;
    struct hd_channel_sinks to = {&out, &thought, &calls, tools ? list : NULL};
    size_t len = strlen(text), i;
    char part[64];
    for (size_t at = 0; at < len; at += piece) {
        snprintf(part, sizeof part, "%.*s", (int)piece, text + at);
        cr_assert_eq(hd_channels_push(&c, part, &to), 0);
    }
    cr_assert_eq(hd_channels_finish(&c, &to), 0);
    int n = snprintf(found, 256, "%s|%s", hd_text_str(&thought), hd_text_str(&out));
    json_array_foreach(list, i, call)
    {
        const json_t *f = json_object_get(call, "function");
        n += snprintf(found + n, 256 - (size_t)n, "|%s(%s)",
                      json_string_value(json_object_get(f, "name")),
                      json_string_value(json_object_get(f, "arguments")));
    }
    hd_text_deinit(&out);
    hd_text_deinit(&thought);
    hd_channels_deinit(&c);
    json_decref(list);
}

Test(calls, in_channels)
{
    static const struct {
        const char *text, *found;
        bool tools;
    } ways[] = {
        {HEAD("final") "Hello", "|Hello", true},
        {HEAD("analysis") "Hm." NEXT HEAD("final") "Yes" HD_MARK_RETURN, "Hm.|Yes", true},
        {HEAD("analysis") "Hm." NEXT HEAD("commentary to=functions.f " HD_MARK_CONSTRAIN
                                          "json") "{\"a\": 1}" HD_MARK_TO_TOOL,
         "Hm.||f({\"a\":1})", true},
        {HEAD("commentary") "Now." NEXT " to=functions.g" HEAD("commentary json") "{}",
         "|Now.|g({})", true},
        {HEAD("commentary to=functions.f json") "{\"a\": ", "|{\"a\": ", true}, /* cut off */
        {HEAD("commentary to=functions.f json") "{}", "|{}", false},
        {"no channel", "|no channel", true},
        {"", "|", true},
    };
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++)
        for (size_t piece = 1; piece < 64; piece = piece * 2 + 1) {
            char found[256];
            channelled(found, ways[i].text, piece, ways[i].tools);
            cr_expect_str_eq(found, ways[i].found, "%zu bytes", piece);
        }
}
