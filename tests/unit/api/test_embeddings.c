/* Vectors of texts: three forms, a few at a time, what is refused, what fails. */
#include "fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const struct hd_pooled last = {.pooling = HD_POOLING_LAST, .n_lengths = 1, .lengths = {2}};

static void open_with(struct fixture *f, const struct hd_pooled *pooled)
{
    struct fixture_options o = {.pooled = pooled};
    fixture_open(f, &o);
}

/* Its first and only value that is not 0 is the token before it. */
static void fake_vector(struct hd_request *r)
{
    double v[FAKE_DIM] = {3, 4, 0, (double)r->tokens[0]};
    cr_assert_eq(r->o.max_tokens, 0);
    cr_assert_eq(r->o.pooling, HD_POOLING_LAST);
    fake_pooled(r, v);
}

static double value_at(json_t *v, const char *path)
{
    return json_number_value(at(v, path));
}

Test(embeddings, openai)
{
    struct fixture f;
    struct client c;
    open_with(&f, &last);
    client_open(&f, &c);
    client_post(&c, "/v1/embeddings", "{\"model\": \"toy\", \"input\": [\"ab\", \"c\"]}");
    fake_vector(fake_request(&f, 1));
    fake_vector(fake_request(&f, 0));
    client_until_eof(&f, &c);
    json_t *v = client_json(&c);
    cr_expect_str_eq(json_string_value(at(v, "object")), "list");
    cr_expect_eq(value_at(v, "data.1.index"), 1);
    cr_expect_eq(value_at(v, "data.0.embedding.3"), 'a');
    cr_expect_eq(value_at(v, "data.1.embedding.3"), 'c');
    cr_expect_eq(json_array_size(at(v, "data.0.embedding")), FAKE_DIM);
    cr_expect_eq(value_at(v, "usage.prompt_tokens"), 3);
    cr_expect_eq(f.serving.outcomes[HD_OUTCOME_STOP], 2);
    json_decref(v);
    client_close(&c);
    fixture_close(&f);
}

/* Cut to a length that the model has, as base64; one text of ids, several of them. */
Test(embeddings, forms_of_openai)
{
    struct fixture f;
    struct client c;
    open_with(&f, &last);
    client_open(&f, &c);
    client_post(&c, "/v1/embeddings",
                "{\"input\": [5, 6], \"dimensions\": 2, \"encoding_format\": \"base64\"}");
    fake_vector(fake_request(&f, 0));
    client_until_eof(&f, &c);
    json_t *v = client_json(&c);
    cr_expect_str_eq(json_string_value(at(v, "data.0.embedding")), "AABAQAAAgEA=");
    json_decref(v);
    client_close(&c);
    client_open(&f, &c);
    client_post(&c, "/v1/embeddings", "{\"input\": [[5, 6], [7]]}");
    fake_vector(fake_request(&f, 1));
    fake_vector(fake_request(&f, 2));
    client_until_eof(&f, &c);
    v = client_json(&c);
    cr_expect_eq(value_at(v, "data.1.embedding.3"), 7);
    json_decref(v);
    client_close(&c);
    fixture_close(&f);
}

/* /api/embed has vectors of length 1, /api/embeddings as the model has them. */
Test(embeddings, ollama)
{
    struct fixture f;
    struct client c;
    open_with(&f, &last);
    client_open(&f, &c);
    client_post(&c, "/api/embed", "{\"input\": [0], \"truncate\": true, \"options\": {}}");
    fake_vector(fake_request(&f, 0));
    client_until_eof(&f, &c);
    json_t *v = client_json(&c);
    cr_expect_float_eq(value_at(v, "embeddings.0.1"), 0.8, 1e-6);
    cr_expect_eq(value_at(v, "prompt_eval_count"), 1);
    json_decref(v);
    client_close(&c);
    client_open(&f, &c);
    client_post(&c, "/api/embeddings", "{\"model\": \"toy\", \"prompt\": \"x\"}");
    fake_vector(fake_request(&f, 1));
    client_until_eof(&f, &c);
    v = client_json(&c);
    cr_expect_eq(value_at(v, "embedding.1"), 4);
    json_decref(v);
    client_close(&c);
    fixture_close(&f);
}

/* No more than eight are in the engine, and a full queue is waited for. */
Test(embeddings, a_few_at_a_time)
{
    struct fixture f;
    struct client c;
    open_with(&f, &last);
    client_open(&f, &c);
    client_post(&c, "/v1/embeddings",
                "{\"input\": [[1], [2], [3], [4], [5], [6], [7], [8], [9], [10], [11], [12]]}");
    fake_request(&f, 7);
    fixture_turn(&f);
    cr_expect_eq(f.n_requests, 8);
    f.room = 8;
    fake_vector(fake_request(&f, 0));
    fixture_turn(&f);
    cr_expect_eq(f.n_requests, 8);
    f.room = 0;
    for (unsigned i = 1; i < 12; i++)
        fake_vector(fake_request(&f, i));
    client_until_eof(&f, &c);
    json_t *v = client_json(&c);
    cr_expect_eq(value_at(v, "data.11.embedding.3"), 12);
    json_decref(v);
    client_close(&c);
    fixture_close(&f);
}

Test(embeddings, one_that_fails_ends_the_others)
{
    struct fixture f;
    struct client c;
    open_with(&f, &last);
    client_open(&f, &c);
    client_post(&c, "/v1/embeddings", "{\"input\": [[1], [2], [3]]}");
    fake_request(&f, 2);
    fake_vector(fake_request(&f, 0));
    fake_end(fake_request(&f, 1), HD_FINISH_ERROR);
    fake_until_cancelled(&f, fake_request(&f, 2));
    client_until_eof(&f, &c);
    cr_expect_eq(client_status(&c), 500);
    client_close(&c);
    fixture_close(&f);
}

Test(embeddings, who_goes_is_not_computed_for)
{
    struct fixture f;
    struct client c;
    open_with(&f, &last);
    client_open(&f, &c);
    client_post(&c, "/v1/embeddings", "{\"input\": [[1], [2]]}");
    fake_request(&f, 1);
    client_close(&c);
    fake_until_cancelled(&f, fake_request(&f, 0));
    fake_until_cancelled(&f, fake_request(&f, 1));
    fixture_close(&f);
}

static void expect_said(struct fixture *f, const char *path, const char *body, int status,
                        const char *what)
{
    struct client c;
    exchange(f, &c, path, body);
    cr_expect_eq(client_status(&c), status, "%s: %s", body, c.in);
    cr_expect_not_null(strstr(c.in, what), "%s: %s", body, c.in);
    client_close(&c);
}

Test(embeddings, refused)
{
    static const char path[] = "/v1/embeddings";
    struct fixture f;
    open_with(&f, &last);
    expect_said(&f, path, "{}", 400, "'input' is required");
    expect_said(&f, path, "{\"input\": \"\"}", 400, "empty text");
    expect_said(&f, path, "{\"input\": [\"a\", \"\"]}", 400, "empty text");
    expect_said(&f, path, "{\"input\": []}", 400, "input");
    expect_said(&f, path, "{\"input\": [\"a\", 1]}", 400, "input");
    expect_said(&f, path, "{\"input\": [512]}", 400, "'input[0]' must be a token id");
    expect_said(&f, path, "{\"input\": \"a\", \"dimensions\": 3}", 400, "is_matryoshka");
    expect_said(&f, path, "{\"input\": \"a\", \"dimensions\": 5}", 400, "from 1 to 4");
    expect_said(&f, path, "{\"input\": \"a\", \"encoding_format\": \"f\"}", 400, "base64");
    expect_said(&f, path, "{\"input\": \"a\", \"normalize\": false}", 400, "not done");
    expect_said(&f, path, "{\"input\": \"a\", \"model\": \"b\"}", 404, "does not exist");
    expect_said(&f, "/api/embeddings", "{\"prompt\": [1]}", 400, "must be a string");
    f.submit_rc = HD_E_LIMIT;
    expect_said(&f, path, "{\"input\": \"a\"}", 429, "says no");
    fixture_close(&f);
}

/* A text that the model would not see the whole of; a model that does not say how, or nothing
 * else. */
Test(embeddings, models)
{
    struct fixture f;
    struct hd_pooled one = {.pooling = HD_POOLING_LAST, .max_tokens = 2, .only = true};
    struct hd_pooled none = {.why_not = "a Dense"};
    open_with(&f, &one);
    expect_said(&f, "/v1/embeddings", "{\"input\": \"abc\"}", 400, "context_length_exceeded");
    expect_said(&f, "/v1/completions", "{\"prompt\": \"abc\"}", 400, "embeddings only");
    expect_said(&f, "/api/show", "{\"model\": \"toy\"}", 200, "[\"embedding\"]");
    fixture_close(&f);
    open_with(&f, &none);
    expect_said(&f, "/api/embed", "{\"input\": \"abc\"}", 400, "a Dense");
    expect_said(&f, "/api/show", "{\"model\": \"toy\"}", 200, "[\"completion\"]");
    fixture_close(&f);
    open_with(&f, NULL);
    expect_said(&f, "/v1/embeddings", "{\"input\": \"abc\"}", 400, "says nothing");
    fixture_close(&f);
}
