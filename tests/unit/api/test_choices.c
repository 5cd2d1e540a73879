/* Several answers to one request: n, best_of, lists of prompts. */
#include "fixture.h"
#include "stub_tokenizer.h"

#include <criterion/criterion.h>
#include <string.h>

#define COMPLETIONS "/v1/completions"

static const char *text_at(json_t *v, const char *path)
{
    const char *s = json_string_value(at(v, path));
    return s ? s : "(none)";
}

static json_int_t int_at(json_t *v, const char *path)
{
    return json_integer_value(at(v, path));
}

Test(choices, n_answers_with_seeds_of_their_own)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    client_open(&f, &c);
    client_post(&c, COMPLETIONS, "{\"prompt\":\"ab\",\"seed\":7,\"n\":3,\"hydac\":true}");
    struct hd_request *r[3];
    for (unsigned i = 0; i < 3; i++) {
        r[i] = fake_request(&f, i);
        cr_assert_eq(r[i]->o.n_tokens, 2);
    }
    cr_assert_eq(r[0]->o.sampling.seed, 7, "the first is what it would be alone");
    cr_assert_neq(r[1]->o.sampling.seed, r[2]->o.sampling.seed);
    cr_assert_neq(r[1]->o.sampling.seed, 7);
    cr_assert_str_neq(r[1]->o.id, r[2]->o.id);
    fake_text(r[2], "two");
    fake_end(r[2], HD_FINISH_STOP);
    fake_text(r[0], "zero");
    fake_end(r[0], HD_FINISH_LENGTH);
    fake_text(r[1], "1");
    fake_end(r[1], HD_FINISH_STOP);
    client_until_eof(&f, &c);
    json_t *v = client_json(&c);
    cr_assert_eq(json_array_size(at(v, "choices")), 3);
    cr_assert_str_eq(text_at(v, "choices.0.text"), "zero");
    cr_assert_str_eq(text_at(v, "choices.0.finish_reason"), "length");
    cr_assert_str_eq(text_at(v, "choices.2.text"), "two");
    cr_assert_eq(int_at(v, "choices.2.index"), 2);
    cr_assert_eq(json_array_size(at(v, "choices.1.hydac.tokens")), 1);
    cr_assert_null(at(v, "hydac"));
    cr_assert_eq(int_at(v, "usage.prompt_tokens"), 2, "one prompt");
    cr_assert_eq(int_at(v, "usage.completion_tokens"), 8);
    json_decref(v);
    client_close(&c);
    fixture_close(&f);
}

Test(choices, streamed_with_their_index)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    client_open(&f, &c);
    client_post(&c, COMPLETIONS,
                "{\"prompt\":\"ab\",\"n\":2,\"stream\":true,\"stop\":\"!\","
                "\"stream_options\":{\"include_usage\":true}}");
    struct hd_request *r[] = {fake_request(&f, 0), fake_request(&f, 1)};
    fake_text(r[1], "x");
    client_until(&f, &c, "\"x\"");
    json_t *v = client_event(&c, 0);
    cr_assert_eq(int_at(v, "choices.0.index"), 1);
    json_decref(v);
    fake_text(r[1], "!");
    fake_until_cancelled(&f, r[1]);
    cr_assert_not(r[0]->cancelled, "the other goes on");
    fake_text(r[0], "y");
    fake_end(r[0], HD_FINISH_STOP);
    client_until_eof(&f, &c);
    cr_assert_not_null(strstr(c.in, "data: [DONE]"));
    cr_assert_not_null(strstr(c.in, "\"completion_tokens\":3"));
    client_close(&c);
    fixture_close(&f);
}

Test(choices, a_list_of_prompts)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    client_open(&f, &c);
    client_post(&c, COMPLETIONS, "{\"prompt\":[\"abc\",[5]],\"n\":2,\"seed\":9}");
    struct hd_request *r[4];
    for (unsigned i = 0; i < 4; i++)
        r[i] = fake_request(&f, i);
    cr_assert_eq(r[1]->o.n_tokens, 3);
    cr_assert_eq(r[2]->o.n_tokens, 1);
    cr_assert_eq(r[3]->o.tokens[0], 5);
    cr_assert_eq(r[2]->o.sampling.seed, 9, "each prompt as if it were alone");
    cr_assert_eq(r[1]->o.sampling.seed, r[3]->o.sampling.seed);
    for (unsigned i = 0; i < 4; i++) {
        fake_text(r[i], (const char *[]){"a", "b", "c", "d"}[i]);
        fake_end(r[i], HD_FINISH_STOP);
    }
    client_until_eof(&f, &c);
    json_t *v = client_json(&c);
    cr_assert_str_eq(text_at(v, "choices.3.text"), "d");
    cr_assert_eq(int_at(v, "choices.3.index"), 3);
    cr_assert_eq(int_at(v, "usage.prompt_tokens"), 4);
    json_decref(v);
    client_close(&c);
    fixture_close(&f);
}

Test(choices, the_best_of_some)
{
    static const float scores[] = {-2, -1, -3};
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    client_open(&f, &c);
    client_post(&c, COMPLETIONS, "{\"prompt\":\"ab\",\"best_of\":3,\"n\":2}");
    for (unsigned i = 0; i < 3; i++) {
        struct hd_request *r = fake_request(&f, i);
        cr_assert(r->o.logprobs);
        r->ev.on_token(r->arg, &(struct hd_token_event){.id = 'a' + (int)i, .logprob = scores[i]});
        fake_end(r, HD_FINISH_STOP);
    }
    client_until_eof(&f, &c);
    json_t *v = client_json(&c);
    cr_assert_eq(json_array_size(at(v, "choices")), 2);
    cr_assert_str_eq(text_at(v, "choices.0.text"), "b");
    cr_assert_str_eq(text_at(v, "choices.1.text"), "a");
    cr_assert_eq(int_at(v, "choices.1.index"), 1);
    cr_assert(json_is_null(at(v, "choices.0.logprobs")));
    cr_assert_eq(int_at(v, "usage.completion_tokens"), 3);
    json_decref(v);
    client_close(&c);
    fixture_close(&f);
}

Test(choices, one_that_fails_ends_the_others)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    client_open(&f, &c);
    client_post(&c, COMPLETIONS, "{\"prompt\":\"ab\",\"n\":3}");
    struct hd_request *r[] = {fake_request(&f, 0), fake_request(&f, 1), fake_request(&f, 2)};
    fake_end(r[1], HD_FINISH_ERROR);
    client_until_eof(&f, &c);
    cr_assert_eq(client_status(&c), 500);
    fake_until_cancelled(&f, r[0]);
    fake_until_cancelled(&f, r[2]);
    client_close(&c);
    fixture_close(&f);
}

Test(choices, all_are_queued_or_none)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    f.room = 2;
    client_open(&f, &c);
    client_post(&c, COMPLETIONS, "{\"prompt\":\"ab\",\"n\":3}");
    client_until_eof(&f, &c);
    cr_assert_eq(client_status(&c), 429);
    cr_assert(f.requests[0].cancelled && f.requests[1].cancelled);
    client_close(&c);
    fixture_close(&f);
}

Test(choices, a_client_that_goes_takes_all_along)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    client_open(&f, &c);
    client_post(&c, COMPLETIONS, "{\"prompt\":\"ab\",\"n\":2}");
    struct hd_request *r[] = {fake_request(&f, 0), fake_request(&f, 1)};
    client_close(&c);
    fake_until_cancelled(&f, r[0]);
    fake_until_cancelled(&f, r[1]);
    fixture_close(&f);
}
