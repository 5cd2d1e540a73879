/* What is refused, and how: one error object in OpenAI's shape, and the server lives on. */
#include "fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void expect_error(struct fixture *f, const char *path, const char *body, int status,
                         const char *param, const char *code)
{
    struct client c;
    exchange(f, &c, path, body);
    cr_expect_eq(client_status(&c), status, "%s: %s", body, c.in);
    json_t *v = client_json(&c);
    const char *got_param = json_string_value(at(v, "error.param"));
    const char *got_code = json_string_value(at(v, "error.code"));
    cr_expect_not_null(json_string_value(at(v, "error.message")), "%s", body);
    cr_expect_not_null(json_string_value(at(v, "error.type")), "%s", body);
    cr_expect_str_eq(got_param ? got_param : "", param, "%s", body);
    cr_expect_str_eq(got_code ? got_code : "", code, "%s", body);
    json_decref(v);
    client_close(&c);
}

Test(errors, completions)
{
    static const struct {
        const char *body;
        int status;
        const char *param, *code;
    } cases[] = {
        {"", 400, "", "invalid_json"},
        {"{", 400, "", "invalid_json"},
        {"nonsense", 400, "", "invalid_json"},
        {"[]", 400, "", "invalid_json"},
        {"{\"prompt\":\"a\",\"prompt\":\"b\"}", 400, "", "invalid_json"},
        {"{\"prompt\":\"\xff\"}", 400, "", "invalid_json"},
        {"{}", 400, "prompt", "missing_required_parameter"},
        {"{\"prompt\":null}", 400, "prompt", "invalid_value"},
        {"{\"prompt\":7}", 400, "prompt", "invalid_value"},
        {"{\"prompt\":[]}", 400, "prompt", "invalid_value"},
        {"{\"prompt\":[\"a\",[]]}", 400, "prompt", "invalid_value"},
        {"{\"prompt\":[1,512]}", 400, "prompt", "invalid_value"},
        {"{\"prompt\":[1,-1]}", 400, "prompt", "invalid_value"},
        {"{\"prompt\":[1,\"a\"]}", 400, "prompt", "invalid_value"},
        {"{\"prompt\":[1,2.5]}", 400, "prompt", "invalid_value"},
        {"{\"prompt\":\"a\",\"model\":\"other\"}", 404, "model", "model_not_found"},
        {"{\"prompt\":\"a\",\"model\":3}", 400, "model", "invalid_value"},
        {"{\"prompt\":\"a\",\"n\":0}", 400, "n", "invalid_value"},
        {"{\"prompt\":\"a\",\"n\":65}", 400, "n", "invalid_value"},
        {"{\"prompt\":[\"a\",\"b\"],\"n\":33}", 400, "prompt", "invalid_value"},
        {"{\"prompt\":\"a\",\"n\":2,\"best_of\":1}", 400, "best_of", "invalid_value"},
        {"{\"prompt\":\"a\",\"best_of\":2,\"stream\":true}", 400, "best_of", "invalid_value"},
        {"{\"prompt\":\"a\",\"stream\":1}", 400, "stream", "invalid_value"},
        {"{\"prompt\":\"a\",\"max_tokens\":-1}", 400, "max_tokens", "invalid_value"},
        {"{\"prompt\":\"a\",\"max_tokens\":0}", 400, "max_tokens", "invalid_value"},
        {"{\"prompt\":\"a\",\"max_tokens\":1e3}", 400, "max_tokens", "invalid_value"},
        {"{\"prompt\":\"a\",\"max_tokens\":64}", 400, "max_tokens", "context_length_exceeded"},
        {"{\"prompt\":\"a\",\"temperature\":2.1}", 400, "temperature", "invalid_value"},
        {"{\"prompt\":\"a\",\"temperature\":\"hot\"}", 400, "temperature", "invalid_value"},
        {"{\"prompt\":\"a\",\"top_p\":-0.1}", 400, "top_p", "invalid_value"},
        {"{\"prompt\":\"a\",\"seed\":1.5}", 400, "seed", "invalid_value"},
        {"{\"prompt\":\"a\",\"stop\":\"\"}", 400, "stop", "invalid_value"},
        {"{\"prompt\":\"a\",\"stop\":[\"1\",\"\"]}", 400, "stop", "invalid_value"},
        {"{\"prompt\":\"a\",\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"a\","
         "\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\"]}",
         400, "stop", "invalid_value"},
        {"{\"prompt\":\"a\",\"logprobs\":21}", 400, "logprobs", "invalid_value"},
        {"{\"prompt\":\"a\",\"presence_penalty\":2.5}", 400, "presence_penalty", "invalid_value"},
        {"{\"prompt\":\"a\",\"frequency_penalty\":\"x\"}", 400, "frequency_penalty",
         "invalid_value"},
        {"{\"prompt\":\"a\",\"repetition_penalty\":0}", 400, "repetition_penalty", "invalid_value"},
        {"{\"prompt\":\"a\",\"min_p\":1.5}", 400, "min_p", "invalid_value"},
        {"{\"prompt\":\"a\",\"typical_p\":0}", 400, "typical_p", "invalid_value"},
        {"{\"prompt\":\"a\",\"xtc_probability\":-0.1}", 400, "xtc_probability", "invalid_value"},
        {"{\"prompt\":\"a\",\"xtc_threshold\":2}", 400, "xtc_threshold", "invalid_value"},
        {"{\"prompt\":\"a\",\"logit_bias\":{\"512\":1}}", 400, "logit_bias", "invalid_value"},
        {"{\"prompt\":\"a\",\"logit_bias\":[[-1,1]]}", 400, "logit_bias", "invalid_value"},
        {"{\"prompt\":\"a\",\"logit_bias\":{\"\":1}}", 400, "logit_bias", "invalid_value"},
        {"{\"prompt\":\"a\",\"logit_bias\":{\"5\":101}}", 400, "logit_bias", "invalid_value"},
        {"{\"prompt\":\"a\",\"logit_bias\":{\"5\":\"1\"}}", 400, "logit_bias", "invalid_value"},
        {"{\"prompt\":\"a\",\"logit_bias\":[5]}", 400, "logit_bias", "invalid_value"},
        {"{\"prompt\":\"a\",\"guided_regex\":7}", 400, "guided_regex", "invalid_value"},
        {"{\"prompt\":\"a\",\"guided_choice\":[]}", 400, "guided_choice", "invalid_value"},
        {"{\"prompt\":\"a\",\"guided_choice\":[\"a\",7]}", 400, "guided_choice", "invalid_value"},
        {"{\"prompt\":\"a\",\"guided_json\":7}", 400, "guided_json", "invalid_value"},
        {"{\"prompt\":\"a\",\"guided_json\":{\"const\":\"impossible\"}}", 400, "guided_json",
         "invalid_value"},
        {"{\"prompt\":\"a\",\"guided_json\":{},\"guided_regex\":\"a\"}", 400, "guided_regex",
         "invalid_value"},
        {"{\"prompt\":\"a\",\"structured_outputs\":{\"wishes\":1}}", 400, "structured_outputs",
         "unsupported_value"},
        {"{\"prompt\":\"a\",\"response_format\":\"json\"}", 400, "response_format",
         "invalid_value"},
        {"{\"prompt\":\"a\",\"response_format\":{\"type\":\"json_schema\"}}", 400,
         "response_format", "invalid_value"},
        {"{\"prompt\":\"a\",\"grammar\":7}", 400, "grammar", "invalid_value"},
        {"{\"prompt\":\"a\",\"stream_options\":{}}", 400, "stream_options", "invalid_value"},
    };
    struct fixture f;
    fixture_open(&f, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_error(&f, "/v1/completions", cases[i].body, cases[i].status, cases[i].param,
                     cases[i].code);
    cr_assert_eq(f.n_requests, 0);
    fixture_close(&f);
}

Test(errors, chat)
{
    static const char *const bad[] = {
        "{\"messages\":[{\"content\":\"hi\"}]}",
        "{\"messages\":[{\"role\":\"wizard\",\"content\":\"hi\"}]}",
        "{\"messages\":[{\"role\":\"user\"}]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]}",
        "{\"messages\":[7]}",
    };
    struct fixture f;
    fixture_open(&f, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect_error(&f, "/v1/chat/completions", bad[i], 400, "messages", "invalid_value");
    expect_error(&f, "/v1/chat/completions", "{}", 400, "messages", "missing_required_parameter");
    expect_error(&f, "/v1/chat/completions", "{\"prompt\":\"a\"}", 400, "messages",
                 "missing_required_parameter");
    expect_error(&f, "/v1/chat/completions",
                 "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"top_logprobs\":2}", 400,
                 "top_logprobs", "invalid_value");
    fixture_close(&f);
}

Test(errors, paths_and_methods)
{
    struct fixture f;
    fixture_open(&f, NULL);
    expect_error(&f, "/nowhere", NULL, 404, "", "unknown_url");
    expect_error(&f, "/v1/completions", NULL, 405, "", "method_not_allowed");
    expect_error(&f, "/health", "{}", 405, "", "method_not_allowed");
    expect_error(&f, "/v1/models/nobody", NULL, 404, "model", "model_not_found");
    expect_error(&f, "/v1/models/", NULL, 404, "", "unknown_url");
    expect_error(&f, "/detokenize", "{\"tokens\":[512]}", 400, "tokens", "invalid_value");
    expect_error(&f, "/detokenize", "{}", 400, "tokens", "invalid_value");
    expect_error(&f, "/tokenize", "{\"prompt\":7}", 400, "prompt", "invalid_value");
    expect_error(&f, "/tokenize", "{\"content\":\"a\",\"add_special\":1}", 400, "add_special",
                 "invalid_value");
    expect_error(&f, "/tokenize", "x", 400, "", "invalid_json");
    fixture_close(&f);
}

Test(errors, over_long_prompt)
{
    struct fixture f;
    char text[80] = {0}, body[128];
    fixture_open(&f, NULL);
    memset(text, 'a', 64);
    snprintf(body, sizeof body, "{\"prompt\":\"%s\"}", text);
    expect_error(&f, "/v1/completions", body, 400, "prompt", "context_length_exceeded");
    text[63] = '\0'; /* one position is left for the answer */
    snprintf(body, sizeof body, "{\"prompt\":\"%s\",\"max_tokens\":1}", text);
    struct client c;
    client_open(&f, &c);
    client_post(&c, "/v1/completions", body);
    cr_assert_eq(fake_request(&f, 0)->o.max_tokens, 1);
    client_close(&c);
    fixture_close(&f);
}

Test(errors, body_too_large)
{
    struct fixture f;
    char body[202];
    fixture_open(&f, &(struct fixture_options){.max_body = 200});
    memset(body, ' ', sizeof body);
    body[201] = '\0';
    expect_error(&f, "/v1/completions", body, 413, "", "request_too_large");
    body[200] = '\0'; /* as large as it may be: read, and refused for what it says */
    expect_error(&f, "/v1/completions", body, 400, "", "invalid_json");
    struct client c;
    client_open(&f, &c);
    client_send(&c, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
                    "Content-Type: application/json\r\nContent-Length: 5000\r\n\r\n");
    client_until(&f, &c, "request_too_large");
    cr_assert_eq(client_status(&c), 413);
    client_close(&c);
    fixture_close(&f);
}

Test(errors, no_tokenizer)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, &(struct fixture_options){.no_tokenizer = true});
    expect_error(&f, "/v1/completions", "{\"prompt\":\"a\"}", 400, "prompt", "no_tokenizer");
    expect_error(&f, "/v1/chat/completions",
                 "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}", 400, "messages",
                 "no_tokenizer");
    client_open(&f, &c);
    client_post(&c, "/v1/completions", "{\"prompt\":[5,6],\"hydac\":true}");
    struct hd_request *r = fake_request(&f, 0);
    fake_token(r, 300);
    fake_end(r, HD_FINISH_LENGTH);
    client_until_eof(&f, &c);
    json_t *v = client_json(&c);
    cr_assert_str_eq(json_string_value(at(v, "choices.0.text")), "");
    cr_assert_eq(json_integer_value(at(v, "hydac.tokens.0")), 300);
    json_decref(v);
    client_close(&c);
    fixture_close(&f);
}

Test(errors, the_backend_refuses)
{
    static const struct {
        int rc, status;
        const char *code;
    } cases[] = {{HD_E_LIMIT, 429, "queue_full"},
                 {HD_E_STATE, 503, "not_ready"},
                 {HD_E_RANGE, 400, "invalid_value"},
                 {HD_E_NOMEM, 500, ""}};
    struct fixture f;
    fixture_open(&f, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        f.submit_rc = cases[i].rc;
        expect_error(&f, "/v1/completions", "{\"prompt\":\"a\",\"stream\":true}", cases[i].status,
                     "", cases[i].code);
    }
    fixture_close(&f);
}

Test(errors, drain_and_rebalance)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    expect_error(&f, "/hydac/drain", "{\"worker\":\"w9\"}", 404, "worker", "no_such_worker");
    expect_error(&f, "/hydac/drain", "{\"worker\":7}", 400, "worker", "invalid_value");
    expect_error(&f, "/hydac/undrain", "w1", 400, "worker", "invalid_value");
    expect_error(&f, "/hydac/drain", "", 400, "worker", "invalid_value");
    cr_assert_eq(f.drained, 0);
    exchange(&f, &c, "/hydac/drain", "{\"worker\":\"w1\"}");
    cr_assert_eq(client_status(&c), 202);
    cr_assert_eq(f.drained, 1);
    client_close(&c);
    exchange(&f, &c, "/hydac/undrain", "{\"worker\":\"w1\"}");
    cr_assert_eq(client_status(&c), 202);
    cr_assert_eq(f.drained, 0);
    client_close(&c);
    exchange(&f, &c, "/hydac/rebalance", "{}");
    cr_assert_eq(client_status(&c), 202);
    cr_assert_eq(f.rebalanced, 1);
    client_close(&c);
    fixture_close(&f);
}

Test(errors, malformed_http)
{
    static const char *const bad[] = {
        "\x01\x02\x03\xff\xfe garbage\r\n\r\n",
        "GET\r\n\r\n",
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: minus\r\n\r\n",
        "POST /v1/completions HTTP/1.1\r\nHost: ::1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    };
    struct fixture f;
    fixture_open(&f, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct client c;
        client_open(&f, &c);
        client_send(&c, bad[i]);
        client_until_eof(&f, &c); /* refused or cut off */
        cr_expect(c.n == 0 || client_status(&c) >= 400, "%s -> %s", bad[i], c.in);
        client_close(&c);
    }
    struct client c;
    exchange(&f, &c, "/health", NULL);
    cr_assert_eq(client_status(&c), 200);
    client_close(&c);
    fixture_close(&f);
}

/* Of `n` bytes in the path, in a header. */
static void expect_too_long(size_t path, size_t header, int status)
{
    struct fixture f;
    struct client c;
    char *text = malloc(path + header + 128);
    int n = sprintf(text, "GET /health");
    memset(text + n, '/', path);
    n += (int)path;
    n += sprintf(text + n, " HTTP/1.1\r\nHost: localhost\r\nX-Long: ");
    memset(text + n, 'a', header);
    strcpy(text + n + header, "\r\n\r\n");
    fixture_open(&f, NULL);
    client_open(&f, &c);
    client_send_large(&f, &c, text);
    client_until_eof(&f, &c);
    cr_assert_eq(client_status(&c), status, "%s", c.in);
    json_t *v = client_json(&c);
    cr_assert_not_null(at(v, "error.message"), "%s", c.in);
    json_decref(v);
    client_close(&c);
    free(text);
    fixture_close(&f);
}

/* A reply as any other, and nothing more on this connection. */
Test(errors, headers_too_long)
{
    expect_too_long(0, 33000, 431);
    expect_too_long(0, 100000, 431);
    expect_too_long(33000, 0, 414);
    expect_too_long(33000, 33000, 414);
}

static void expect_foreign(const char *text)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    client_open(&f, &c);
    client_send(&c, text);
    client_until_eof(&f, &c);
    cr_assert_eq(client_status(&c), 505, "%s", c.in);
    json_t *v = client_json(&c);
    cr_assert_str_eq(json_string_value(at(v, "error.code")), "http_version");
    json_decref(v);
    client_close(&c);
    fixture_close(&f);
}

Test(errors, other_versions_of_http)
{
    expect_foreign("GET /health HTTP/2.0\r\nHost: localhost\r\n\r\n");
    expect_foreign("GET /health HTTP/0.9\r\n\r\n");
    expect_foreign("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
}

/* Somebody who has said nothing yet holds up neither others nor the end. */
Test(errors, nobody_is_waited_for)
{
    struct fixture f;
    struct client silent, c;
    fixture_open(&f, NULL);
    client_open(&f, &silent);
    for (int i = 0; i < 10; i++)
        fixture_turn(&f);
    exchange(&f, &c, "/health", NULL);
    cr_assert_eq(client_status(&c), 200);
    client_close(&c);
    fixture_close(&f);
    client_close(&silent);
}
