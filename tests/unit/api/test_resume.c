/* An answer that was begun elsewhere: what a stream says for it, and what may go on here. */
#include "fixture.h"
#include "stub_tokenizer.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define COMPLETIONS "/v1/completions"
#define DIGEST      "00112233445566ff"

static const char *text_at(json_t *v, const char *path)
{
    const char *s = json_string_value(at(v, path));
    return s ? s : "(none)";
}

static void refused(struct fixture *f, const char *body, int status, const char *word)
{
    struct client c;
    exchange(f, &c, COMPLETIONS, body);
    cr_assert_eq(client_status(&c), status, "%s: %s", body, c.in);
    cr_assert(strstr(c.in, word), "%s: %s", body, c.in);
    client_close(&c);
}

/* The first event of a stream; its prompt's digest goes to `prompt`. */
Test(resume, a_stream_says_what_another_leader_needs)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    client_open(&f, &c);
    client_post(&c, COMPLETIONS, "{\"prompt\":\"ab\",\"stream\":true,\"hydac\":true,\"seed\":9}");
    struct hd_request *r = fake_request(&f, 0);
    fake_token(r, 'x');
    fake_token(r, 'y');
    fake_end(r, HD_FINISH_LENGTH);
    client_until_eof(&f, &c);
    json_t *first = client_event(&c, 0), *second = client_event(&c, 1);
    cr_assert_str_eq(text_at(first, "hydac.model_digest"), DIGEST);
    cr_assert_eq(strlen(text_at(first, "hydac.prompt_digest")), 16);
    cr_assert_eq(json_integer_value(at(first, "hydac.seed")), 9);
    cr_assert_null(at(second, "hydac.model_digest"));
    json_decref(first);
    json_decref(second);
    client_close(&c);
    fixture_close(&f);
}

/* "END" is a stop string of which the client's tokens have the beginning. */
Test(resume, only_what_follows_is_sent)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    client_open(&f, &c);
    client_post(&c, COMPLETIONS,
                "{\"prompt\":\"ab\",\"stream\":true,\"stop\":\"END\",\"max_tokens\":9,"
                "\"hydac\":{\"seed\":5,\"model_digest\":\"" DIGEST
                "\",\"tokens\":[120,69,78]},\"stream_options\":{\"include_usage\":true}}");
    struct hd_request *r = fake_request(&f, 0);
    cr_assert_eq(r->o.n_known, 3);
    cr_assert_eq(r->o.sampling.seed, 5);
    fake_token(r, 'o');
    fake_token(r, 'z');
    fake_end(r, HD_FINISH_LENGTH);
    client_until_eof(&f, &c);
    json_t *first = client_event(&c, 0), *usage = client_event(&c, 3);
    cr_assert_str_eq(text_at(first, "choices.0.text"), "ENo");
    cr_assert_eq(json_array_size(at(first, "hydac.tokens")), 1);
    cr_assert_eq(json_integer_value(at(usage, "usage.completion_tokens")), 5);
    json_decref(first);
    json_decref(usage);
    client_close(&c);
    fixture_close(&f);
}

Test(resume, what_is_of_something_else_is_refused)
{
    struct fixture f;
    fixture_open(&f, NULL);
#define GOES_ON(more) "\"hydac\":{\"seed\":5,\"model_digest\":\"" more "}}"
    refused(&f, "{\"prompt\":\"ab\"," GOES_ON("0000000000000000\",\"tokens\":[120]"), 409,
            "other_model");
    refused(&f,
            "{\"prompt\":\"ab\"," GOES_ON(
                DIGEST "\",\"tokens\":[120],\"prompt_digest\":\"0000000000000000\""),
            409, "other_prompt");
    refused(&f, "{\"prompt\":\"ab\"," GOES_ON(DIGEST "\",\"tokens\":[512]"), 400, "no token id");
    refused(&f, "{\"prompt\":\"ab\"," GOES_ON(DIGEST "\",\"tokens\":7"), 400, "no array");
    refused(&f, "{\"prompt\":\"ab\"," GOES_ON("short\",\"tokens\":[]"), 400, "16 characters");
    refused(&f, "{\"prompt\":\"ab\"," GOES_ON(DIGEST "\",\"tokens\":[],\"x\":1"), 400,
            "another member");
    refused(&f, "{\"prompt\":\"ab\",\"hydac\":{\"tokens\":[]}}", 400, "missing");
    refused(&f, "{\"prompt\":\"ab\",\"hydac\":3}", 400, "neither");
    refused(&f, "{\"prompt\":\"ab\",\"seed\":4," GOES_ON(DIGEST "\",\"tokens\":[]"), 400, "seed");
    refused(&f, "{\"prompt\":\"ab\",\"max_tokens\":1," GOES_ON(DIGEST "\",\"tokens\":[120,121]"),
            400, "more than");
    refused(&f, "{\"prompt\":\"ab\",\"stop\":\"xy\"," GOES_ON(DIGEST "\",\"tokens\":[120,121]"),
            400, "completes a stop string");
    refused(&f, "{\"prompt\":\"ab\",\"guided_regex\":\"x\"," GOES_ON(DIGEST "\",\"tokens\":[35]"),
            400, "must match");
    f.digest = NULL;
    refused(&f, "{\"prompt\":\"ab\"," GOES_ON(DIGEST "\",\"tokens\":[120]"), 409, "cannot_resume");
    f.not_ready = "no workers";
    refused(&f, "{\"prompt\":\"ab\"," GOES_ON(DIGEST "\",\"tokens\":[120]"), 503, "no workers");
    cr_assert_eq(f.n_requests, 0);
    fixture_close(&f);
}
