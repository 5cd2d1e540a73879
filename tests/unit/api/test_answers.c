/* Answers: OpenAI's objects and chunks, scores, stop strings, hydac's extension. */
#include "fixture.h"
#include "stub_tokenizer.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define COMPLETIONS "/v1/completions"
#define CHAT        "/v1/chat/completions"

static const char *text_at(json_t *v, const char *path)
{
    const char *s = json_string_value(at(v, path));
    return s ? s : "(none)";
}

Test(answers, completion)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    client_open(&f, &c);
    client_post(&c, COMPLETIONS,
                "{\"model\":\"toy\",\"prompt\":\"ab\",\"seed\":-1,\"user\":\"u\",\"n\":1,"
                "\"presence_penalty\":0,\"logit_bias\":{},\"top_k\":5,\"stop\":null}");
    struct hd_request *r = fake_request(&f, 0);
    cr_assert_eq(r->o.n_tokens, 2);
    cr_assert_eq(r->o.tokens[0], 'a');
    cr_assert_eq(r->o.max_tokens, 16);
    cr_assert_eq(r->o.sampling.temperature, 1.0);
    cr_assert_eq(r->o.sampling.top_p, 1.0);
    cr_assert_eq(r->o.sampling.top_k, 5);
    cr_assert_eq(r->o.sampling.seed, UINT64_MAX);
    cr_assert_not(r->o.logprobs || r->o.prompt_logprobs || r->o.ignore_eos);
    fake_text(r, "caf\xC3\xA9");
    fake_end(r, HD_FINISH_STOP);
    client_until_eof(&f, &c);
    cr_assert_eq(client_status(&c), 200);
    json_t *v = client_json(&c);
    cr_assert_str_eq(text_at(v, "object"), "text_completion");
    cr_assert_str_eq(text_at(v, "model"), "toy");
    cr_assert_eq(strncmp(text_at(v, "id"), "cmpl-", 5), 0);
    cr_assert(json_is_integer(at(v, "created")));
    cr_assert_str_eq(text_at(v, "choices.0.text"), "caf\xC3\xA9");
    cr_assert_str_eq(text_at(v, "choices.0.finish_reason"), "stop");
    cr_assert(json_is_null(at(v, "choices.0.logprobs")));
    cr_assert_eq(json_integer_value(at(v, "usage.prompt_tokens")), 2);
    cr_assert_eq(json_integer_value(at(v, "usage.completion_tokens")), 5);
    cr_assert_eq(json_integer_value(at(v, "usage.total_tokens")), 7);
    cr_assert_null(at(v, "hydac"));
    json_decref(v);
    client_close(&c);
    fixture_close(&f);
}

/* What is known goes to the engine, what is not is left out. */
Test(answers, sampling_options_and_fields_of_others)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    client_open(&f, &c);
    client_post(&c, COMPLETIONS,
                "{\"model\":\"toy\",\"prompt\":\"ab\",\"min_p\":0.05,\"typical_p\":0.75,\"xtc_"
                "probability\":0.5,"
                "\"presence_penalty\":-0.5,"
                "\"frequency_penalty\":1.5,\"repetition_penalty\":1.25,"
                "\"logit_bias\":{\"7\":-100,\"511\":2.5},\"mirostat\":2,\"ab cd\":{}}");
    struct hd_request *r = fake_request(&f, 0);
    cr_assert_eq(r->o.sampling.min_p, 0.05);
    cr_assert_eq(r->o.sampling.typical_p, 0.75);
    cr_assert_eq(r->o.sampling.xtc_probability, 0.5);
    cr_assert_eq(r->o.sampling.xtc_threshold, 0.1);
    cr_assert_eq(r->o.sampling.presence_penalty, -0.5);
    cr_assert_eq(r->o.sampling.frequency_penalty, 1.5);
    cr_assert_eq(r->o.sampling.repetition_penalty, 1.25);
    cr_assert_eq(r->o.sampling.n_bias, 2);
    for (size_t i = 0; i < 2; i++) {
        const struct hd_token_bias *b = &r->o.sampling.bias[i];
        cr_assert((b->id == 7 && b->bias == -100) || (b->id == 511 && b->bias == 2.5));
    }
    fake_text(r, "x");
    fake_end(r, HD_FINISH_STOP);
    client_until_eof(&f, &c);
    cr_assert_eq(client_status(&c), 200);
    client_close(&c);
    fixture_close(&f);
}

#define BLANKS                                                                                     \
    "\"x-guidance\":{\"whitespace_flexible\":false,\"item_separator\":\", "                        \
    "\",\"key_separator\":\": \"}}"

/* Each client's way ends as one grammar: "0" a schema, "1" a regular expression, "2" Lark's. */
Test(answers, what_an_answer_must_match)
{
    static const struct {
        const char *member, *grammar;
    } ways[] = {
        {"\"response_format\":{\"type\":\"json_object\"}", "0{\"type\":\"object\"," BLANKS},
        {"\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"strict\":"
         "true,"
         "\"schema\":{\"b\":1,\"a\":2}}}",
         "0{\"b\":1,\"a\":2," BLANKS},
        {"\"guided_json\":\"{\\\"a\\\":1}\"", "0{\"a\":1," BLANKS},
        {"\"json_schema\":{\"a\":1}", "0{\"a\":1," BLANKS},
        {"\"guided_regex\":\"a+\"", "1a+"},
        {"\"grammar\":\"root ::= x\"", "2root ::= x"},
        {"\"guided_choice\":[\"yes\",\"n\\\"o\"]", "2start: \"yes\" | \"n\\\"o\""},
        {"\"structured_outputs\":{\"grammar\":\"start: x\"}", "2start: x"},
        {"\"structured_outputs\":{\"json_object\":true,\"regex\":null}",
         "0{\"type\":\"object\"," BLANKS},
    };
    enum { N = sizeof ways / sizeof ways[0] };
    struct fixture f;
    char body[512];
    fixture_open(&f, NULL);
    for (unsigned i = 0; i < N; i++) {
        struct client c;
        snprintf(body, sizeof body, "{\"prompt\":\"ab\",%s}", ways[i].member);
        client_open(&f, &c);
        client_post(&c, COMPLETIONS, body);
        struct hd_request *r = fake_request(&f, i);
        cr_assert_not_null(r->o.sampling.grammar);
        cr_assert_str_eq(stub_grammar(r->o.sampling.grammar), ways[i].grammar);
        fake_end(r, HD_FINISH_STOP);
        client_until_eof(&f, &c);
        cr_assert_eq(client_status(&c), 200);
        client_close(&c);
    }
    struct client c;
    client_open(&f, &c);
    client_post(&c, COMPLETIONS, "{\"prompt\":\"a\",\"response_format\":{\"type\":\"text\"}}");
    cr_assert_null(fake_request(&f, N)->o.sampling.grammar);
    client_close(&c);
    fixture_close(&f);
}

static void expect_ids(json_t *v, const char *text)
{
    cr_assert_eq(json_array_size(at(v, "tokens")), strlen(text));
    for (size_t i = 0; text[i]; i++)
        cr_assert_eq(json_integer_value(json_array_get(at(v, "tokens"), i)), text[i]);
}

Test(answers, tokenize_as_vllm_and_llama_cpp)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    exchange(&f, &c, "/tokenize", "{\"prompt\":\"abc\"}");
    json_t *v = client_json(&c);
    expect_ids(v, "abc");
    cr_assert_eq(json_integer_value(at(v, "count")), 3);
    cr_assert_eq(json_integer_value(at(v, "max_model_len")), 64);
    json_decref(v);
    client_close(&c);
    exchange(&f, &c, "/tokenize", "{\"content\":\"ab\"}");
    v = client_json(&c);
    expect_ids(v, "ab");
    cr_assert_eq(json_object_size(v), 1);
    json_decref(v);
    client_close(&c);
    exchange(&f, &c, "/detokenize", "{\"tokens\":[104,105]}");
    v = client_json(&c);
    cr_assert_str_eq(text_at(v, "prompt"), "hi");
    cr_assert_str_eq(text_at(v, "content"), "hi");
    json_decref(v);
    client_close(&c);
    cr_assert_eq(f.n_requests, 0);
    fixture_close(&f);
}

Test(answers, models_by_name)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, &(struct fixture_options){.aliases = "gpt-4o org/m"});
    exchange(&f, &c, "/v1/models", NULL);
    json_t *v = client_json(&c);
    cr_assert_eq(json_array_size(at(v, "data")), 3);
    cr_assert_str_eq(text_at(v, "data.0.id"), "toy");
    cr_assert_str_eq(text_at(v, "data.2.id"), "org/m");
    cr_assert_eq(json_integer_value(at(v, "data.0.created")), 1234567);
    json_decref(v);
    client_close(&c);
    exchange(&f, &c, "/v1/models/org/m", NULL);
    v = client_json(&c);
    cr_assert_str_eq(text_at(v, "id"), "org/m");
    json_decref(v);
    client_close(&c);
    fixture_close(&f);
}

/* Programs have a fixed name that they ask for. */
Test(answers, any_model_is_this_one)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, &(struct fixture_options){.any_model = true});
    client_open(&f, &c);
    client_post(&c, COMPLETIONS, "{\"model\":\"gpt-4\",\"prompt\":\"a\"}");
    fake_end(fake_request(&f, 0), HD_FINISH_STOP);
    client_until_eof(&f, &c);
    json_t *v = client_json(&c);
    cr_assert_str_eq(text_at(v, "model"), "toy");
    json_decref(v);
    client_close(&c);
    fixture_close(&f);
}

Test(answers, stream_comes_token_by_token)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    client_open(&f, &c);
    client_post(&c, COMPLETIONS,
                "{\"prompt\":\"ab\",\"stream\":true,\"stream_options\":{\"include_usage\":true},"
                "\"hydac\":true,\"seed\":9}");
    struct hd_request *r = fake_request(&f, 0);
    fake_token(r, 'x');
    client_until(&f, &c, "\"text\":\"x\""); /* before the next token exists */
    cr_assert_not_null(strstr(c.in, "Content-Type: text/event-stream"));
    fake_token(r, 'y');
    client_until(&f, &c, "\"text\":\"y\"");
    fake_end(r, HD_FINISH_LENGTH);
    client_until_eof(&f, &c);
    json_t *first = client_event(&c, 0), *last = client_event(&c, 2), *usage = client_event(&c, 3);
    cr_assert_eq(json_integer_value(at(first, "hydac.tokens.0")), 'x');
    cr_assert(json_is_null(at(first, "choices.0.finish_reason")));
    cr_assert(json_is_null(at(first, "usage")));
    cr_assert_str_eq(text_at(last, "choices.0.finish_reason"), "length");
    cr_assert_eq(json_number_value(at(last, "hydac.timings.max_gap_ms")), 7);
    cr_assert_str_eq(text_at(last, "hydac.failovers.0.worker"), "w2");
    cr_assert_str_eq(text_at(last, "hydac.failovers.0.cause"), "silent");
    cr_assert_str_eq(text_at(last, "hydac.failovers.0.policy"), "reuse");
    cr_assert_eq(json_number_value(at(last, "hydac.failovers.0.stall_ms")), 12.5);
    cr_assert_eq(json_integer_value(at(last, "hydac.seed")), 9);
    cr_assert_eq(json_array_size(at(usage, "choices")), 0);
    cr_assert_eq(json_integer_value(at(usage, "usage.completion_tokens")), 2);
    cr_assert_str_eq(c.in + c.n - 14, "data: [DONE]\n\n");
    json_decref(first);
    json_decref(last);
    json_decref(usage);
    client_close(&c);
    fixture_close(&f);
}

Test(answers, streams_and_others_share_a_connection)
{
    static const char body[] = "{\"prompt\":\"ab\",\"stream\":true}";
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    client_open(&f, &c);
    client_send(
        &c, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            "Content-Length: 29\r\n\r\n");
    client_send(&c, body);
    struct hd_request *r = fake_request(&f, 0);
    fake_token(r, 'x');
    fake_end(r, HD_FINISH_STOP);
    client_until(&f, &c, "\r\n0\r\n\r\n"); /* the end of a chunked body */
    client_send(&c, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_until(&f, &c, "\"ok\"");
    cr_assert_not(c.eof);
    client_close(&c);
    fixture_close(&f);
}

Test(answers, chat)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    client_open(&f, &c);
    client_post(&c, CHAT,
                "{\"messages\":[{\"role\":\"developer\",\"content\":\"be\"},{\"role\":\"user\","
                "\"content\":[{\"type\":\"text\",\"text\":\"hi\"}]}],\"max_completion_tokens\":3}");
    struct hd_request *r = fake_request(&f, 0);
    cr_assert_eq(r->o.n_tokens, 2);
    cr_assert_eq(r->o.tokens[1], 'h');
    cr_assert_eq(r->o.max_tokens, 3);
    fake_text(r, "yes");
    fake_end(r, HD_FINISH_LENGTH);
    client_until_eof(&f, &c);
    json_t *v = client_json(&c);
    cr_assert_str_eq(text_at(v, "object"), "chat.completion");
    cr_assert_str_eq(text_at(v, "choices.0.message.role"), "assistant");
    cr_assert_str_eq(text_at(v, "choices.0.message.content"), "yes");
    json_decref(v);
    client_close(&c);
    fixture_close(&f);
}

Test(answers, chat_stream_begins_with_the_role)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    client_open(&f, &c);
    client_post(&c, CHAT,
                "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stream\":true}");
    client_until(&f, &c, "\"role\":\"assistant\""); /* before any token */
    struct hd_request *r = fake_request(&f, 0);
    cr_assert_eq(r->o.max_tokens, 63); /* what is left of the context */
    fake_token(r, 'y');
    fake_end(r, HD_FINISH_STOP);
    client_until_eof(&f, &c);
    json_t *second = client_event(&c, 1), *last = client_event(&c, 2);
    cr_assert_str_eq(text_at(second, "object"), "chat.completion.chunk");
    cr_assert_str_eq(text_at(second, "choices.0.delta.content"), "y");
    cr_assert_null(at(second, "choices.0.delta.role"));
    cr_assert_eq(json_object_size(at(last, "choices.0.delta")), 0);
    cr_assert_str_eq(text_at(last, "choices.0.finish_reason"), "stop");
    json_decref(second);
    json_decref(last);
    client_close(&c);
    fixture_close(&f);
}

Test(answers, stop_string_across_tokens)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    client_open(&f, &c);
    client_post(&c, COMPLETIONS,
                "{\"prompt\":\"ab\",\"stream\":true,\"hydac\":true,\"stop\":[\"END\",\"##\"]}");
    struct hd_request *r = fake_request(&f, 0);
    fake_text(r, "okEN");
    client_until(&f, &c, "\"text\":\"k\"");
    cr_assert_null(strstr(c.in, "\"text\":\"E"), "a possible stop string was shown");
    fake_text(r, "Dmore"); /* what comes after is not looked at */
    fake_until_cancelled(&f, r);
    client_until_eof(&f, &c);
    char text[16] = "";
    json_t *v;
    for (size_t i = 0; (v = client_event(&c, i)); i++) {
        strncat(text, text_at(v, "choices.0.text"), 8);
        if (json_is_string(at(v, "choices.0.finish_reason"))) {
            cr_assert_str_eq(text_at(v, "choices.0.finish_reason"), "stop");
            cr_assert(json_is_null(at(v, "hydac.failovers")));
        }
        json_decref(v);
    }
    cr_assert_str_eq(text, "ok");
    client_close(&c);
    fixture_close(&f);
}

Test(answers, held_text_comes_at_the_end)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    client_open(&f, &c);
    client_post(&c, COMPLETIONS, "{\"prompt\":\"ab\",\"stop\":\"END\",\"echo\":true}");
    struct hd_request *r = fake_request(&f, 0);
    fake_text(r, "xEN\xC3"); /* also a character that is never finished */
    fake_end(r, HD_FINISH_LENGTH);
    client_until_eof(&f, &c);
    json_t *v = client_json(&c);
    cr_assert_str_eq(text_at(v, "choices.0.text"), "abxEN\xEF\xBF\xBD");
    json_decref(v);
    client_close(&c);
    fixture_close(&f);
}

Test(answers, completion_scores)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    client_open(&f, &c);
    client_post(&c, COMPLETIONS,
                "{\"prompt\":\"ab\",\"echo\":true,\"logprobs\":2,\"max_tokens\":1,\"hydac\":true}");
    struct hd_request *r = fake_request(&f, 0);
    cr_assert(r->o.logprobs && r->o.prompt_logprobs);
    cr_assert_eq(r->o.top_logprobs, 2);
    struct hd_token_event t = {.prompt = true, .id = 'a', .logprob = NAN};
    r->ev.on_token(r->arg, &t);
    t = (struct hd_token_event){.prompt = true, .index = 1, .id = 'b', .logprob = -3};
    r->ev.on_token(r->arg, &t);
    fake_token(r, 0xC3); /* half a character */
    fake_end(r, HD_FINISH_LENGTH);
    client_until_eof(&f, &c);
    json_t *v = client_json(&c);
    cr_assert_str_eq(text_at(v, "choices.0.logprobs.tokens.1"), "b");
    cr_assert_str_eq(text_at(v, "choices.0.logprobs.tokens.2"), "bytes:\\xc3");
    cr_assert(json_is_null(at(v, "choices.0.logprobs.token_logprobs.0")));
    cr_assert(json_is_null(at(v, "choices.0.logprobs.top_logprobs.0")));
    cr_assert_eq(json_number_value(at(v, "choices.0.logprobs.token_logprobs.1")), -3);
    cr_assert_eq(json_number_value(at(v, "choices.0.logprobs.top_logprobs.2.z")), -1.5);
    cr_assert_eq(json_integer_value(at(v, "choices.0.logprobs.text_offset.2")), 2);
    cr_assert_eq(json_integer_value(at(v, "hydac.prompt_logprobs.1.id")), 'b');
    cr_assert_eq(json_integer_value(at(v, "hydac.logprobs.0.top.1.id")), 'z');
    cr_assert_eq(json_array_size(at(v, "hydac.tokens")), 1);
    json_decref(v);
    client_close(&c);
    fixture_close(&f);
}

Test(answers, prompt_scoring_alone)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    client_open(&f, &c);
    client_post(&c, COMPLETIONS,
                "{\"prompt\":[[97,98]],\"echo\":true,\"logprobs\":0,\"max_tokens\":0}");
    struct hd_request *r = fake_request(&f, 0);
    cr_assert_eq(r->o.max_tokens, 0);
    struct hd_token_event t = {.prompt = true, .id = 'a', .logprob = NAN};
    r->ev.on_token(r->arg, &t);
    fake_end(r, HD_FINISH_LENGTH);
    client_until_eof(&f, &c);
    json_t *v = client_json(&c);
    cr_assert_str_eq(text_at(v, "choices.0.text"), "ab");
    cr_assert_eq(json_integer_value(at(v, "usage.completion_tokens")), 0);
    json_decref(v);
    client_close(&c);
    fixture_close(&f);
}

Test(answers, chat_scores)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    client_open(&f, &c);
    client_post(&c, CHAT,
                "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"logprobs\":true,"
                "\"top_logprobs\":1}");
    struct hd_request *r = fake_request(&f, 0);
    fake_token(r, 'y');
    fake_end(r, HD_FINISH_STOP);
    client_until_eof(&f, &c);
    json_t *v = client_json(&c);
    cr_assert_str_eq(text_at(v, "choices.0.logprobs.content.0.token"), "y");
    cr_assert_eq(json_integer_value(at(v, "choices.0.logprobs.content.0.bytes.0")), 'y');
    cr_assert_eq(json_number_value(at(v, "choices.0.logprobs.content.0.logprob")), -0.5);
    cr_assert_eq(json_array_size(at(v, "choices.0.logprobs.content.0.top_logprobs")), 1);
    json_decref(v);
    client_close(&c);
    fixture_close(&f);
}

Test(answers, models_health_status)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    exchange(&f, &c, "/v1/models", NULL);
    json_t *v = client_json(&c);
    cr_assert_str_eq(text_at(v, "data.0.id"), "toy");
    json_decref(v);
    client_close(&c);
    exchange(&f, &c, "/hydac/status", NULL);
    v = client_json(&c);
    cr_assert_str_eq(text_at(v, "kind"), "status");
    json_decref(v);
    client_close(&c);
    f.not_ready = "waiting for workers: 0 of 2";
    exchange(&f, &c, "/health", NULL);
    cr_assert_eq(client_status(&c), 503);
    v = client_json(&c);
    cr_assert_str_eq(text_at(v, "reason"), "waiting for workers: 0 of 2");
    json_decref(v);
    client_close(&c);
    fixture_close(&f);
}
