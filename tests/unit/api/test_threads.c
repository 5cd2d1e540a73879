/* What takes long is not done by the loop: one client cannot stop the others. */
#include "fixture.h"
#include "stub_tokenizer.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TURNS 2000
#define LARGE     70000 /* bytes of a prompt: its body is for the lane of large jobs */

/* A client whose prompt is being encoded, until stub_release. */
static void begin_waiting(struct fixture *f, struct client *c, size_t len, const char *more)
{
    char *body = malloc(len + 200), head[200];
    int n = sprintf(body, "{\"prompt\":\"" STUB_WAITS);
    memset(body + n, 'x', len);
    sprintf(body + n + len, "\"%s}", more);
    snprintf(head, sizeof head,
             "POST /v1/completions HTTP/1.0\r\nContent-Type: application/json\r\n"
             "Content-Length: %zu\r\n\r\n",
             strlen(body));
    client_open(f, c);
    client_send(c, head);
    client_send_large(f, c, body);
    free(body);
}

static void until_inside(struct fixture *f, unsigned n)
{
    for (int k = 0; stub_inside != n; k++) {
        cr_assert_lt(k, MAX_TURNS, "%u wait, not %u", stub_inside, n);
        fixture_turn(f);
    }
}

static void get_health(struct fixture *f)
{
    struct client c;
    exchange(f, &c, "/health", NULL);
    cr_assert_eq(client_status(&c), 200);
    client_close(&c);
}

Test(threads, others_go_on_while_one_is_encoded)
{
    struct fixture f;
    struct client stream, large, small;
    fixture_open(&f, NULL);
    client_open(&f, &stream);
    client_post(&stream, "/v1/completions", "{\"prompt\":\"ab\",\"stream\":true}");
    struct hd_request *r = fake_request(&f, 0);
    begin_waiting(&f, &large, LARGE, "");
    until_inside(&f, 1);
    fake_token(r, 'x');
    client_until(&f, &stream, "\"x\"");
    get_health(&f);
    client_open(&f, &small);
    client_post(&small, "/v1/completions", "{\"prompt\":\"cd\"}");
    struct hd_request *second = fake_request(&f, 1); /* the large one is still encoded */
    cr_assert_eq(second->o.n_tokens, 2);
    cr_assert_eq(stub_inside, 1);
    fake_end(second, HD_FINISH_STOP);
    client_until_eof(&f, &small);
    fake_end(r, HD_FINISH_STOP);
    client_until_eof(&f, &stream);
    stub_release();
    client_until_eof(&f, &large);
    cr_assert_eq(client_status(&large), 400, "%s", large.in); /* beyond the context */
    cr_assert_eq(stub_on_loop, 0);
    client_close(&stream);
    client_close(&large);
    client_close(&small);
    fixture_close(&f);
}

Test(threads, the_loop_encodes_nothing)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    client_open(&f, &c);
    client_post(&c, "/v1/completions", "{\"prompt\":\"ab\",\"echo\":true}");
    fake_end(fake_request(&f, 0), HD_FINISH_STOP);
    client_until_eof(&f, &c);
    client_close(&c);
    client_open(&f, &c);
    client_post(&c, "/v1/chat/completions",
                "{\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}");
    fake_end(fake_request(&f, 1), HD_FINISH_STOP);
    client_until_eof(&f, &c);
    client_close(&c);
    cr_assert_eq(stub_encoded, 2);
    cr_assert_eq(stub_on_loop, 0);
    fixture_close(&f);
}

/* One is being encoded, one waits for the thread; both clients go. */
Test(threads, gone_meanwhile)
{
    struct fixture f;
    struct client first, second;
    fixture_open(&f, NULL);
    begin_waiting(&f, &first, LARGE, "");
    until_inside(&f, 1);
    begin_waiting(&f, &second, LARGE, "");
    get_health(&f); /* the second's body is there */
    client_close(&second);
    client_close(&first);
    get_health(&f); /* both were seen to go */
    stub_release();
    until_inside(&f, 0);
    get_health(&f);
    cr_assert_eq(stub_encoded, 1, "a client that has gone was worked for");
    cr_assert_eq(f.n_requests, 0);
    fixture_close(&f);
}

static void mark(void *done)
{
    *(bool *)done = true;
}

static void release_later(uv_timer_t *t)
{
    stub_release();
    uv_close((uv_handle_t *)t, NULL);
}

/* A thread has a call in hand for longer than closing waits. */
Test(threads, closed_meanwhile)
{
    struct fixture f;
    struct client c;
    uv_timer_t t;
    bool closed = false;
    fixture_open(&f, NULL);
    begin_waiting(&f, &c, LARGE, "");
    until_inside(&f, 1);
    hd_api_close(f.api, mark, &closed);
    client_until_eof(&f, &c); /* its patience of a second is over */
    cr_assert_not(closed);
    uv_timer_init(&f.loop, &t);
    uv_timer_start(&t, release_later, 1, 0);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    cr_assert(closed);
    cr_assert_eq(uv_loop_close(&f.loop), 0);
    client_close(&c);
}

/* Bytes tell enough: nothing is encoded of what cannot fit; what could is. */
Test(threads, a_prompt_that_cannot_fit)
{
    enum { CONTEXT = 64, LONGEST = 4, MOST = CONTEXT * LONGEST };
    struct fixture f;
    struct client c;
    char body[600], text[MOST + LONGEST + 1];
    fixture_open(&f, &(struct fixture_options){.bytes_a_token = LONGEST});
    for (size_t len = MOST; len <= MOST + LONGEST; len += LONGEST) {
        unsigned before = stub_encoded;
        memset(text, 'x', len);
        text[len] = '\0';
        snprintf(body, sizeof body, "{\"prompt\":\"%s\"}", text);
        exchange(&f, &c, "/v1/completions", body);
        cr_expect_eq(client_status(&c), 400); /* the stub's tokens are bytes */
        cr_expect_not_null(strstr(c.in, "context_length_exceeded"), "%s", c.in);
        cr_expect_eq(stub_encoded - before, len == MOST, "%zu", len);
        client_close(&c);
        snprintf(body, sizeof body,
                 "{\"messages\":[{\"role\":\"user\",\"content\":\"\\n%s  \"}],\"max_tokens\":1}",
                 text);
        before = stub_encoded;
        client_open(&f, &c);
        client_post(&c, "/v1/chat/completions", body);
        if (len == MOST)
            fake_end(fake_request(&f, 0), HD_FINISH_STOP);
        client_until_eof(&f, &c);
        cr_expect_eq(client_status(&c), len == MOST ? 200 : 400, "%s", c.in);
        cr_expect_eq(stub_encoded - before, len == MOST, "%zu", len);
        client_close(&c);
    }
    fixture_close(&f);
}

/* Ids are counted before they are read. */
Test(threads, too_many_ids)
{
    struct fixture f;
    struct client c;
    char body[400] = "{\"prompt\":[";
    fixture_open(&f, NULL);
    for (int i = 0; i < 65; i++)
        strcat(body, i ? ",1" : "1");
    strcat(body, "]}");
    exchange(&f, &c, "/v1/completions", body);
    cr_expect_eq(client_status(&c), 400);
    cr_expect_not_null(strstr(c.in, "the prompt has 65;"), "%s", c.in);
    client_close(&c);
    fixture_close(&f);
}

/* Bodies that are being read have a limit together: who goes beyond it comes back later. */
Test(threads, memory_of_bodies)
{
    struct fixture f;
    struct client slow, c;
    char body[400];
    fixture_open(&f, &(struct fixture_options){.max_bodies = 500});
    client_open(&f, &slow);
    client_send(&slow, "POST /v1/completions HTTP/1.0\r\nContent-Type: application/json\r\n"
                       "Content-Length: 315\r\n\r\n{\"prompt\":\"ab\"}");
    memset(body, ' ', 299);
    body[299] = '\0';
    client_send(&slow, body);
    get_health(&f); /* what was sent is there */
    snprintf(body, sizeof body, "{\"prompt\":\"cd\"}%190s", "");
    exchange(&f, &c, "/v1/completions", body);
    cr_expect_eq(client_status(&c), 429, "%s", c.in);
    cr_expect_not_null(strstr(c.in, "Retry-After: 1\r\n"), "%s", c.in);
    client_close(&c);
    client_send(&slow, " ");
    struct hd_request *r = fake_request(&f, 0); /* its body is gone */
    client_open(&f, &c);
    client_post(&c, "/v1/completions", body);
    fake_end(fake_request(&f, 1), HD_FINISH_STOP);
    client_until_eof(&f, &c);
    cr_expect_eq(client_status(&c), 200, "%s", c.in);
    client_close(&c);
    fake_end(r, HD_FINISH_STOP);
    client_until_eof(&f, &slow);
    client_close(&slow);
    fixture_close(&f);
}

/* Only prompts may be large. */
Test(threads, a_large_body_for_nothing)
{
    struct fixture f;
    struct client c;
    char *body = malloc(LARGE + 1);
    memset(body, ' ', LARGE);
    body[LARGE] = '\0';
    fixture_open(&f, NULL);
    exchange(&f, &c, "/hydac/drain", body);
    cr_expect_eq(client_status(&c), 413, "%s", c.in);
    client_close(&c);
    free(body);
    fixture_close(&f);
}

/* An answer with thousands of scores is written by a thread; it is the same as a short one's. */
Test(threads, a_long_answer)
{
    enum { TOKENS = 60, TOP = 20 };
    static const char body[] = "{\"prompt\":[1],\"logprobs\":20,\"max_tokens\":60,\"hydac\":true}";
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    for (int gone = 0; gone < 2; gone++) {
        client_open(&f, &c);
        client_post(&c, "/v1/completions", body);
        struct hd_request *r = fake_request(&f, (unsigned)gone);
        for (int repeat = 0; repeat < TOKENS; repeat++)
            fake_token(r, 'a');
        if (gone)
            client_close(&c);
        fake_end(r, HD_FINISH_LENGTH);
        if (gone)
            break;
        client_until_eof(&f, &c);
        cr_expect_eq(client_status(&c), 200);
        json_t *v = client_json(&c);
        cr_expect_eq(json_array_size(at(v, "hydac.logprobs")), TOKENS);
        cr_expect_eq(strlen(json_string_value(at(v, "choices.0.text"))), TOKENS);
        json_decref(v);
        client_close(&c);
    }
    get_health(&f);
    fixture_close(&f);
}
