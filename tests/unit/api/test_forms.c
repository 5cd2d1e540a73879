/* Other APIs than OpenAI's chat: what the model hears, what it is said to have answered, and the
 * events that say it while it comes. */
#include "fixture.h"
#include "stub_tokenizer.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALL "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>"

static const char native[] = "{% if tools %}<tool_call>{% endif %}<think>";

static const char *text_at(json_t *v, const char *path)
{
    const char *s = json_string_value(at(v, path));
    return s ? s : "(none)";
}

/* All that a client gets when the model says `said`. */
static struct client answered(struct fixture *f, const char *path, const char *body,
                              const char *said)
{
    struct client c;
    fixture_open(f, NULL);
    stub_template = native;
    client_open(f, &c);
    client_post(&c, path, body);
    struct hd_request *r = fake_request(f, 0);
    fake_text(r, said);
    fake_end(r, HD_FINISH_STOP);
    client_until_eof(f, &c);
    cr_assert_eq(client_status(&c), 200, "%s", c.in);
    return c;
}

static json_t *whole(struct fixture *f, const char *path, const char *body, const char *said)
{
    struct client c = answered(f, path, body, said);
    json_t *v = client_json(&c);
    client_close(&c);
    fixture_close(f);
    return v;
}

/* What they come to is in `in` in this order. */
static void expect_in_order(const char *in, const char *const *parts)
{
    for (const char *p = in; *parts; parts++, p++) {
        p = strstr(p, *parts);
        cr_assert_not_null(p, "%s is missing, or out of order, in: %s", *parts, in);
    }
}

static void expect_heard(const char *part)
{
    cr_assert(strstr(stub_conversation, part), "%s is not in: %s", part, stub_conversation);
}

/* ---- Chat, with thoughts ----*/

Test(forms, thoughts_have_a_place_of_their_own)
{
    static const char body[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
    struct fixture f;
    json_t *v = whole(&f, "/v1/chat/completions", body, "<think>\nwhy\n</think>\n\nso");
    cr_assert_str_eq(text_at(v, "choices.0.message.content"), "so");
    cr_assert_str_eq(text_at(v, "choices.0.message.reasoning_content"), "why");
    cr_assert_gt(json_integer_value(at(v, "usage.completion_tokens_details.reasoning_tokens")), 3);
    json_decref(v);
    struct client c =
        answered(&f, "/v1/chat/completions",
                 "{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
                 "<think>w</think>s");
    expect_in_order(c.in, (const char *[]){"\"reasoning_content\":\"w\"", "\"content\":\"s\"",
                                           "\"finish_reason\":\"stop\"", "[DONE]", NULL});
    client_close(&c);
    fixture_close(&f);
}

/* ---- Responses ----*/

#define RESPONSES_HISTORY                                                                          \
    "\"instructions\":\"be brief\",\"input\":[{\"role\":\"user\",\"content\":[{\"type\":"          \
    "\"input_text\",\"text\":\"hi\"}]},{\"type\":\"reasoning\",\"summary\":[]},{\"type\":"         \
    "\"function_call\",\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"},"        \
    "{\"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":\"7\"}]"
#define RESPONSES_TOOLS                                                                            \
    "\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"parameters\":{\"type\":\"object\"}}]"

Test(forms, responses)
{
    struct fixture f;
    json_t *v = whole(&f, "/v1/responses",
                      "{" RESPONSES_HISTORY "," RESPONSES_TOOLS ",\"max_output_tokens\":40}",
                      "<think>w</think>ok " CALL);
    cr_assert_str_eq(text_at(v, "object"), "response");
    cr_assert_str_eq(text_at(v, "status"), "completed");
    cr_assert_str_eq(text_at(v, "output.0.type"), "reasoning");
    cr_assert_str_eq(text_at(v, "output.1.content.0.text"), "ok");
    cr_assert_str_eq(text_at(v, "output.2.type"), "function_call");
    cr_assert_str_eq(text_at(v, "output.2.arguments"), "{\"a\":1}");
    cr_assert_str_eq(text_at(v, "tools.0.name"), "f", "as it was asked");
    cr_assert_gt(json_integer_value(at(v, "usage.output_tokens")), 10);
    json_decref(v);
    expect_heard("{\"role\":\"system\",\"content\":\"be brief\"}");
    expect_heard("{\"role\":\"user\",\"content\":\"hi\"}");
    expect_heard("\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}}");
    expect_heard("{\"role\":\"tool\",\"content\":\"7\",\"tool_call_id\":\"c1\"}");
}

Test(forms, responses_as_events)
{
    struct fixture f;
    struct client c =
        answered(&f, "/v1/responses", "{\"input\":\"hi\",\"stream\":true," RESPONSES_TOOLS "}",
                 "<think>w</think>ok" CALL);
    expect_in_order(c.in, (const char *[]){"event: response.created",
                                           "event: response.in_progress",
                                           "event: response.output_item.added",
                                           "event: response.reasoning_text.delta",
                                           "event: response.output_item.done",
                                           "event: response.output_item.added",
                                           "event: response.content_part.added",
                                           "event: response.output_text.delta",
                                           "\"delta\":\"o\"",
                                           "event: response.output_text.done",
                                           "\"text\":\"ok\"",
                                           "event: response.content_part.done",
                                           "event: response.output_item.done",
                                           "event: response.output_item.added",
                                           "event: response.function_call_arguments.delta",
                                           "event: response.function_call_arguments.done",
                                           "event: response.output_item.done",
                                           "event: response.completed",
                                           "\"status\":\"completed\"",
                                           NULL});
    json_t *v = client_event(&c, 5);
    cr_assert_eq(json_integer_value(at(v, "sequence_number")), 5);
    json_decref(v);
    client_close(&c);
    fixture_close(&f);
}

/* ---- Messages ----*/

#define MESSAGES                                                                                   \
    "\"max_tokens\":50,\"system\":[{\"type\":\"text\",\"text\":\"be brief\"}],\"messages\":["      \
    "{\"role\":\"user\",\"content\":\"hi\"},{\"role\":\"assistant\",\"content\":[{\"type\":"       \
    "\"text\",\"text\":\"let me\"},{\"type\":\"tool_use\",\"id\":\"c1\",\"name\":\"f\",\"input\":" \
    "{\"a\":1}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":"      \
    "\"c1\",\"content\":[{\"type\":\"text\",\"text\":\"7\"}]},{\"type\":\"text\",\"text\":\"so?"   \
    "\"}]}],\"tools\":[{\"name\":\"f\",\"input_schema\":{\"type\":\"object\"}}]"

Test(forms, messages)
{
    struct fixture f;
    json_t *v = whole(&f, "/v1/messages", "{" MESSAGES ",\"tool_choice\":{\"type\":\"auto\"}}",
                      "<think>w</think>ok " CALL);
    cr_assert_str_eq(text_at(v, "type"), "message");
    cr_assert_str_eq(text_at(v, "content.0.thinking"), "w");
    cr_assert_str_eq(text_at(v, "content.1.text"), "ok");
    cr_assert_str_eq(text_at(v, "content.2.type"), "tool_use");
    cr_assert_eq(json_integer_value(at(v, "content.2.input.a")), 1);
    cr_assert_str_eq(text_at(v, "stop_reason"), "tool_use");
    json_decref(v);
    expect_heard("{\"role\":\"system\",\"content\":\"be brief\"}");
    expect_heard("\"content\":\"let me\"");
    expect_heard("\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}}");
    expect_heard("{\"role\":\"tool\",\"content\":\"7\",\"tool_call_id\":\"c1\"},"
                 "{\"role\":\"user\",\"content\":\"so?\"}");
    v = whole(&f, "/v1/messages", "{" MESSAGES ",\"stop_sequences\":[\"!\"]}", "ok! more");
    cr_assert_str_eq(text_at(v, "content.0.text"), "ok");
    cr_assert_str_eq(text_at(v, "stop_reason"), "stop_sequence");
    cr_assert_str_eq(text_at(v, "stop_sequence"), "!");
    json_decref(v);
}

Test(forms, messages_as_events)
{
    struct fixture f;
    struct client c = answered(&f, "/v1/messages", "{" MESSAGES ",\"stream\":true}", "ok" CALL);
    expect_in_order(
        c.in, (const char *[]){"event: message_start", "event: content_block_start",
                               "\"type\":\"text\"", "event: content_block_delta", "\"text\":\"o\"",
                               "event: content_block_stop", "event: content_block_start",
                               "\"type\":\"tool_use\"", "\"partial_json\":\"{\\\"a\\\":1}\"",
                               "event: content_block_stop", "event: message_delta",
                               "\"stop_reason\":\"tool_use\"", "event: message_stop", NULL});
    client_close(&c);
    fixture_close(&f);
}

/* ---- Ollama ----*/

#define OLLAMA                                                                                     \
    "\"options\":{\"num_predict\":40,\"temperature\":0.5,\"num_ctx\":9},\"messages\":[{\"role\":"  \
    "\"user\",\"content\":\"hi\"},{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{"      \
    "\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}}}]},{\"role\":\"tool\",\"tool_name\":"   \
    "\"f\",\"content\":\"7\"}],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]"

Test(forms, ollama)
{
    struct fixture f;
    json_t *v = whole(&f, "/api/chat", "{\"stream\":false," OLLAMA "}", "<think>w</think>ok " CALL);
    cr_assert_str_eq(text_at(v, "message.content"), "ok");
    cr_assert_str_eq(text_at(v, "message.thinking"), "w");
    cr_assert_eq(json_integer_value(at(v, "message.tool_calls.0.function.arguments.a")), 1);
    cr_assert(json_is_true(at(v, "done")));
    cr_assert_str_eq(text_at(v, "done_reason"), "stop");
    cr_assert_gt(json_integer_value(at(v, "eval_count")), 10);
    json_decref(v);
    expect_heard("\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}}");
    expect_heard("\"content\":\"7\",\"name\":\"f\"");
    v = whole(&f, "/api/generate",
              "{\"stream\":false,\"prompt\":\"hi\",\"system\":\"be brief\",\"format\":\"json\"}",
              "{}");
    cr_assert_str_eq(text_at(v, "response"), "{}");
    json_decref(v);
    expect_heard("\"messages\":[{\"role\":\"system\",\"content\":\"be brief\"},");
}

Test(forms, ollama_as_lines)
{
    struct fixture f;
    struct client c = answered(&f, "/api/chat", "{" OLLAMA "}", "ok");
    expect_in_order(c.in, (const char *[]){"application/x-ndjson", "\"content\":\"o\"",
                                           "\"done\":false}\n", "\"content\":\"k\"",
                                           "\"done\":true", NULL});
    client_close(&c);
    fixture_close(&f);
}

/* Without the model's template; and nothing at all, which is for loading. */
Test(forms, ollama_without_a_conversation)
{
    struct fixture f;
    struct client c;
    json_t *v =
        whole(&f, "/api/generate", "{\"stream\":false,\"raw\":true,\"prompt\":\"abc\"}", "d");
    cr_assert_str_eq(text_at(v, "response"), "d");
    cr_assert_eq(json_integer_value(at(v, "prompt_eval_count")), 3);
    json_decref(v);
    fixture_open(&f, NULL);
    client_open(&f, &c);
    client_post(&c, "/api/generate", "{\"model\":\"toy\"}");
    client_until_eof(&f, &c);
    v = client_json(&c);
    cr_assert_str_eq(text_at(v, "done_reason"), "load");
    json_decref(v);
    client_close(&c);
    fixture_close(&f);
}

/* ---- Refusals ----*/

Test(forms, what_is_refused_is_told_as_clients_expect_it)
{
    static const struct {
        const char *path, *body;
        int status;
        const char *part;
    } cases[] = {
        {"/v1/embeddings", "{\"input\":\"a\"}", 400, "\"code\":\"unsupported_value\""},
        {"/v1/responses", "{\"input\":\"a\",\"previous_response_id\":\"resp_1\"}", 400,
         "\"param\":\"previous_response_id\""},
        {"/v1/responses", "{}", 400, "\"param\":\"input\""},
        {"/v1/responses", "{\"input\":\"a\",\"tools\":[{\"type\":\"web_search\"}]}", 400,
         "\"param\":\"tools\""},
        {"/v1/messages", "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}", 400,
         "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\""},
        {"/v1/messages",
         "{\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\"}]}]}",
         400, "'image'"},
        {"/api/chat", "{\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"images\":[\"x\"]}]}",
         400, "{\"error\":\"This model sees no images.\"}"},
        {"/api/generate", "{\"prompt\":\"a\",\"suffix\":\"b\"}", 400, "{\"error\":"},
        {"/api/chat", "[", 400, "{\"error\":\"The body is not valid JSON"},
    };
    struct fixture f;
    fixture_open(&f, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client c;
        exchange(&f, &c, cases[i].path, cases[i].body);
        cr_assert_eq(client_status(&c), cases[i].status, "%s", c.in);
        cr_assert(strstr(c.in, cases[i].part), "%s is not in: %s", cases[i].part, c.in);
        client_close(&c);
    }
    fixture_close(&f);
}

/* ---- A stream that has nothing to say ----*/

Test(forms, a_silent_stream_says_that_it_lives)
{
    static const struct fixture_options o = {.keep_alive_ms = 20, .request_ms = 40};
    static const struct {
        const char *path, *body, *said;
    } cases[] = {
        {"/v1/completions", "{\"prompt\":\"ab\",\"stream\":true}", ": keep-alive\n\n"},
        {"/v1/messages",
         "{\"max_tokens\":5,\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}",
         "event: ping\n"},
    };
    for (size_t i = 0; i < 2; i++) {
        struct fixture f;
        struct client c;
        fixture_open(&f, &o);
        client_open(&f, &c);
        client_post(&c, cases[i].path, cases[i].body);
        struct hd_request *r = fake_request(&f, 0);
        client_until(&f, &c, cases[i].said);
        fake_text(r, "x");
        fake_end(r, HD_FINISH_STOP);
        client_until_eof(&f, &c);
        cr_assert_not_null(strstr(c.in, "\"x\""));
        client_close(&c);
        fixture_close(&f);
    }
}
