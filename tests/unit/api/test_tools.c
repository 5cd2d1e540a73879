/* Tools: what a client offers and wants, what the model hears, and calls in the answer. */
#include "fixture.h"
#include "stub_tokenizer.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHAT "/v1/chat/completions"
#define TOOL(name)                                                                                 \
    "{\"type\":\"function\",\"function\":{\"name\":\"" name                                        \
    "\",\"parameters\":{\"type\":\"object\"}}}"
#define HELLO "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define CALL  "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>"

#define BLANKS                                                                                     \
    "\"x-guidance\":{\"whitespace_flexible\":false,\"item_separator\":\", "                        \
    "\",\"key_separator\":\": \"}}"

static const char native[] = "{% if tools %}<tool_call>{% endif %}";

static const char *text_at(json_t *v, const char *path)
{
    const char *s = json_string_value(at(v, path));
    return s ? s : "(none)";
}

/* The answer to `body` when the model says `answer`. */
static json_t *answered(struct fixture *f, const char *body, const char *answer)
{
    struct client c;
    client_open(f, &c);
    client_post(&c, CHAT, body);
    struct hd_request *r = fake_request(f, f->n_requests);
    fake_text(r, answer);
    fake_end(r, HD_FINISH_STOP);
    client_until_eof(f, &c);
    cr_assert_eq(client_status(&c), 200, "%s", c.in);
    json_t *v = client_json(&c);
    client_close(&c);
    return v;
}

Test(tools, a_call_is_told_as_openai_does)
{
    struct fixture f;
    fixture_open(&f, NULL);
    stub_template = native;
    json_t *v = answered(&f, "{" HELLO ",\"tools\":[" TOOL("f") "]}", CALL);
    cr_assert_str_eq(text_at(v, "choices.0.finish_reason"), "tool_calls");
    cr_assert(json_is_null(at(v, "choices.0.message.content")));
    cr_assert_str_eq(text_at(v, "choices.0.message.tool_calls.0.type"), "function");
    cr_assert_str_eq(text_at(v, "choices.0.message.tool_calls.0.function.name"), "f");
    cr_assert_str_eq(text_at(v, "choices.0.message.tool_calls.0.function.arguments"), "{\"a\":1}");
    cr_assert_null(at(v, "choices.0.message.tool_calls.0.index"));
    json_decref(v);
    cr_assert(strstr(stub_conversation, "\"tools\":[{\"type\":\"function\""));
    v = answered(&f, "{" HELLO ",\"tools\":[" TOOL("f") "]}", "no call");
    cr_assert_str_eq(text_at(v, "choices.0.finish_reason"), "stop");
    cr_assert_str_eq(text_at(v, "choices.0.message.content"), "no call");
    cr_assert_null(at(v, "choices.0.message.tool_calls"));
    json_decref(v);
    /* Nobody offers tools: it is text. */
    v = answered(&f, "{" HELLO ",\"tools\":[" TOOL("f") "],\"tool_choice\":\"none\"}", CALL);
    cr_assert_str_eq(text_at(v, "choices.0.message.content"), CALL);
    cr_assert_null(strstr(stub_conversation, "\"tools\""));
    json_decref(v);
    fixture_close(&f);
}

Test(tools, calls_in_a_stream)
{
    struct fixture f;
    struct client c;
    unsigned calls = 0;
    char text[64] = "";
    const char *finish = NULL;
    fixture_open(&f, NULL);
    stub_template = native;
    client_open(&f, &c);
    client_post(&c, CHAT, "{" HELLO ",\"stream\":true,\"tools\":[" TOOL("f") "]}");
    struct hd_request *r = fake_request(&f, 0);
    fake_text(r, "Ok. " CALL);
    fake_end(r, HD_FINISH_STOP);
    client_until_eof(&f, &c);
    json_t *events[128], *v;
    for (size_t i = 0; i < 128 && (events[i] = v = client_event(&c, i)); i++) {
        if (json_is_string(at(v, "choices.0.delta.content")))
            strcat(text, text_at(v, "choices.0.delta.content"));
        if (json_is_string(at(v, "choices.0.finish_reason")))
            finish = text_at(v, "choices.0.finish_reason");
        if (at(v, "choices.0.delta.tool_calls")) {
            calls++;
            cr_assert_eq(json_integer_value(at(v, "choices.0.delta.tool_calls.0.index")), 0);
            cr_assert_str_eq(text_at(v, "choices.0.delta.tool_calls.0.function.arguments"),
                             "{\"a\":1}");
        }
    }
    cr_assert_str_eq(text, "Ok.");
    cr_assert_eq(calls, 1);
    cr_assert_str_eq(finish, "tool_calls");
    for (size_t i = 0; i < 128 && events[i]; i++)
        json_decref(events[i]);
    client_close(&c);
    fixture_close(&f);
}

/* A history with calls and results, for a template that knows tools and for one that does not. */
Test(tools, what_the_model_hears)
{
    static const char body[] =
        "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":"
        "\"hi\"},"
        "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":"
        "\"function\","
        "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\": 1}\"}}]},{\"role\":\"tool\","
        "\"tool_call_id\":\"c1\",\"content\":\"42\"}],\"tools\":[" TOOL(
            "f") "],"
                 "\"chat_template_kwargs\":{\"enable_thinking\":false},\"reasoning_effort\":"
                 "\"low\",\"documents\":[{\"text\":\"D\"}]}";
    struct fixture f;
    fixture_open(&f, NULL);
    stub_template = native;
    json_decref(answered(&f, body, "x"));
    cr_assert(strstr(stub_conversation, "\"arguments\":{\"a\":1}"), "%s", stub_conversation);
    cr_assert(
        strstr(stub_conversation, "\"role\":\"tool\",\"content\":\"42\",\"tool_call_id\":\"c1\""));
    cr_assert(strstr(stub_conversation, "\"reasoning_effort\":\"low\",\"documents\":[{\"text\":"
                                        "\"D\"}],\"enable_thinking\":false"));
    stub_template = "{{ messages }}";
    json_decref(answered(&f, body, "x"));
    cr_assert(strstr(stub_conversation, "S\\n\\nYou may call one or more functions"));
    cr_assert(strstr(stub_conversation,
                     "<tool_call>\\n{\\\"name\\\": \\\"f\\\", \\\"arguments\\\": "
                     "{\\\"a\\\": 1}}\\n</tool_call>"));
    cr_assert(strstr(stub_conversation, "<tool_response>\\n42\\n</tool_response>"));
    cr_assert_null(strstr(stub_conversation, "\"tools\""));
    fixture_close(&f);
}

/* Where a call is wanted the answer is one. */
Test(tools, a_wanted_call_is_a_grammar)
{
    static const struct {
        const char *template, *member, *grammar;
    } ways[] = {
        {native, "\"tool_choice\":\"required\"",
         "2start: \"<tool_call>\"\"\\n\" call \"\\n\"\"</tool_call>\" (\"\\n\" start)?\n"
         "c0: \"{\\\"name\\\": \\\"f\\\", \\\"arguments\\\": \" %json {\"type\":\"object\"," BLANKS
         " \"}\"\n"
         "c1: \"{\\\"name\\\": \\\"g\\\", \\\"arguments\\\": \" %json {\"type\":\"object\"," BLANKS
         " \"}\"\n"
         "call: c0 | c1\n"},
        {"tools <|python_tag|>",
         "\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"g\"}}",
         "2start: call\n"
         "c1: \"{\\\"name\\\": \\\"g\\\", \\\"parameters\\\": \" %json {\"type\":\"object\"," BLANKS
         " "
         "\"}\"\n"
         "call: c1\n"},
        {"tools [TOOL_CALLS][ARGS]", "\"tool_choice\":\"required\"",
         "2start: \"[TOOL_CALLS]\" call (\"[TOOL_CALLS]\" call)*\n"
         "c0: \"f\" \"[ARGS]\" %json {\"type\":\"object\"," BLANKS "\n"
         "c1: \"g\" \"[ARGS]\" %json {\"type\":\"object\"," BLANKS "\n"
         "call: c0 | c1\n"},
        {native, "\"tool_choice\":\"auto\"",
         "2start: \"\\n\"? call \"\\n\"? \"</tool_call>\"\n"
         "c0: \"{\\\"name\\\": \\\"f\\\", \\\"arguments\\\": \" %json {\"type\":\"object\"," BLANKS
         " \"}\"\n"
         "c1: \"{\\\"name\\\": \\\"g\\\", \\\"arguments\\\": \" %json {\"type\":\"object\"," BLANKS
         " \"}\"\n"
         "call: c0 | c1\n"},
        {"tools [TOOL_CALLS]", "\"parallel_tool_calls\":false,\"tool_choice\":\"required\"",
         "2start: \"[TOOL_CALLS]\"\"[\" call \"]\"\n"
         "c0: \"{\\\"name\\\": \\\"f\\\", \\\"arguments\\\": \" %json {\"type\":\"object\"," BLANKS
         " \"}\"\n"
         "c1: \"{\\\"name\\\": \\\"g\\\", \\\"arguments\\\": \" %json {\"type\":\"object\"," BLANKS
         " \"}\"\n"
         "call: c0 | c1\n"},
    };
    struct fixture f;
    fixture_open(&f, NULL);
    for (unsigned i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        struct client c;
        char body[512];
        stub_template = ways[i].template;
        snprintf(body, sizeof body, "{" HELLO ",\"tools\":[" TOOL("f") "," TOOL("g") "],%s}",
                 ways[i].member);
        client_open(&f, &c);
        client_post(&c, CHAT, body);
        struct hd_request *r = fake_request(&f, i);
        cr_assert_str_eq(stub_grammar(r->o.sampling.grammar), ways[i].grammar);
        client_close(&c);
        fake_until_cancelled(&f, r);
    }
    fixture_close(&f);
}

/* A schema that cannot be held to: the arguments of this tool are any object, others are held to.
 */
Test(tools, one_schema_that_cannot_be_held_to)
{
    static const char *const choices[] = {"auto", "required"};
    struct fixture f;
    fixture_open(&f, NULL);
    stub_template = native;
    for (unsigned i = 0; i < 2; i++) {
        struct client c;
        char body[512];
        snprintf(body, sizeof body,
                 "{" HELLO ",\"tool_choice\":\"%s\",\"tools\":[" TOOL(
                     "f") ",{\"type\":"
                          "\"function\",\"function\":{\"name\":\"g\",\"parameters\":{\"type\":"
                          "\"object\","
                          "\"properties\":{\"a\":{\"pattern\":\"impossible\"}}}}}," TOOL("h") "]}",
                 choices[i]);
        client_open(&f, &c);
        client_post(&c, CHAT, body);
        struct hd_request *r = fake_request(&f, i);
        const char *grammar = stub_grammar(r->o.sampling.grammar);
        cr_expect(strstr(grammar, "c0: \"{\\\"name\\\": \\\"f\\\", \\\"arguments\\\": \" %json "
                                  "{\"type\":\"object\"," BLANKS),
                  "%s", grammar);
        cr_expect(strstr(grammar, "c1: \"{\\\"name\\\": \\\"g\\\", \\\"arguments\\\": \" %json "
                                  "{\"type\":\"object\"} \"}\"\n"),
                  "%s", grammar);
        cr_expect(strstr(grammar, "c2: \"{\\\"name\\\": \\\"h\\\", \\\"arguments\\\": \" %json "
                                  "{\"type\":\"object\"," BLANKS),
                  "%s", grammar);
        client_close(&c);
        fake_until_cancelled(&f, r);
    }
    fixture_close(&f);
}

Test(tools, what_is_refused)
{
    static const struct {
        const char *members, *param;
    } bad[] = {
        {"\"tools\":7", "tools"},
        {"\"tools\":[7]", "tools"},
        {"\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a b\"}}]", "tools"},
        {"\"tools\":[{\"type\":\"web\",\"function\":{\"name\":\"a\"}}]", "tools"},
        {"\"tool_choice\":\"required\"", "tool_choice"},
        {"\"tool_choice\":\"perhaps\"", "tool_choice"},
        {"\"tools\":[" TOOL("f") "],\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":"
                                 "\"g\"}}",
         "tool_choice"},
        {"\"tools\":[" TOOL("f") "],\"tool_choice\":\"required\",\"guided_regex\":\"a\"",
         "tool_choice"},
        {"\"parallel_tool_calls\":1", "parallel_tool_calls"},
        {"\"chat_template_kwargs\":1", "chat_template_kwargs"},
        {"\"documents\":{}", "documents"},
    };
    struct fixture f;
    fixture_open(&f, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct client c;
        char body[512];
        snprintf(body, sizeof body, "{" HELLO ",%s}", bad[i].members);
        exchange(&f, &c, CHAT, body);
        cr_expect_eq(client_status(&c), 400, "%s", body);
        json_t *v = client_json(&c);
        cr_expect_str_eq(text_at(v, "error.param"), bad[i].param, "%s", body);
        json_decref(v);
        client_close(&c);
    }
    fixture_close(&f);
}

/* What the assistant has begun to say goes on; a call in the history does not. */
Test(tools, a_last_message_of_the_assistant_is_continued)
{
    struct fixture f;
    fixture_open(&f, NULL);
    stub_template = native;
    json_decref(answered(&f,
                         "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},{\"role\":"
                         "\"assistant\",\"content\":\"Once\"}]}",
                         "x"));
    cr_assert(strstr(stub_conversation, "\"continues\":true"));
    json_decref(answered(&f, "{" HELLO "}", "x"));
    cr_assert(strstr(stub_conversation, "\"continues\":false"));
    fixture_close(&f);
}
