/* Answers that outlive a connection, and those that were begun elsewhere: whoever comes back gets
 * the rest, as if nothing had been. */
#include "fixture.h"
#include "stub_tokenizer.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define COMPLETIONS "/v1/completions"
#define STREAM      "{\"prompt\":\"ab\",\"stream\":true,\"max_tokens\":9,\"seed\":4}"

/* POST, or GET where `body` is NULL, with more headers. */
static void ask(struct client *c, const char *path, const char *headers, const char *body)
{
    char head[512];
    int n =
        snprintf(head, sizeof head, "%s %s HTTP/1.0\r\n%s", body ? "POST" : "GET", path, headers);
    if (body)
        snprintf(head + n, sizeof head - (size_t)n,
                 "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", strlen(body),
                 body);
    else
        snprintf(head + n, sizeof head - (size_t)n, "\r\n");
    client_send(c, head);
}

/* The texts of all events put together; malloc'ed. */
static char *text_of(const struct client *c)
{
    char *text = calloc(1, c->n + 1);
    json_t *v;
    for (size_t i = 0; (v = client_event(c, i)); i++) {
        const char *s = json_string_value(at(v, "choices.0.text"));
        strcat(text, s ? s : "");
        json_decref(v);
    }
    return text;
}

static void expect_text(const struct client *c, const char *expected)
{
    char *text = text_of(c);
    cr_assert_str_eq(text, expected, "%s", c->in);
    free(text);
}

static void expect_status(struct fixture *f, const char *path, const char *headers,
                          const char *body, int status)
{
    struct client c;
    client_open(f, &c);
    ask(&c, path, headers, body);
    client_until_eof(f, &c);
    cr_assert_eq(client_status(&c), status, "%s", c.in);
    client_close(&c);
}

Test(runs, every_event_has_an_id)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    client_open(&f, &c);
    client_post(&c, COMPLETIONS, STREAM);
    struct hd_request *r = fake_request(&f, 0);
    fake_text(r, "xy");
    fake_end(r, HD_FINISH_LENGTH);
    client_until_eof(&f, &c);
    cr_assert(strstr(c.in, "id: 1\ndata: {"), "%s", c.in);
    cr_assert(strstr(c.in, "id: 4\ndata: [DONE]\n\n"), "%s", c.in);
    cr_assert_eq(f.begun, 0);
    client_close(&c);
    fixture_close(&f);
}

Test(runs, a_client_comes_back)
{
    struct fixture f;
    struct client c, again, whole;
    fixture_open(&f, NULL);
    client_open(&f, &c);
    ask(&c, COMPLETIONS, "X-Request-Id: mine\r\n", STREAM);
    struct hd_request *r = fake_request(&f, 0);
    fake_text(r, "xyz");
    client_until(&f, &c, "id: 3");
    client_close(&c);
    fixture_turn(&f);
    fake_text(r, "uv"); /* nobody reads it */
    cr_assert_not(r->cancelled);
    client_open(&f, &again);
    ask(&again, "/v1/hydac/requests/mine/events", "Last-Event-ID: 2\r\n", NULL);
    client_until(&f, &again, "id: 5");
    fake_text(r, "w");
    fake_end(r, HD_FINISH_LENGTH);
    client_until_eof(&f, &again);
    expect_text(&again, "zuvw");
    cr_assert(strstr(again.in, "id: 8\ndata: [DONE]"), "%s", again.in);
    client_open(&f, &whole); /* the same request once more is the same answer */
    ask(&whole, COMPLETIONS, "Idempotency-Key: mine\r\n", STREAM);
    client_until_eof(&f, &whole);
    expect_text(&whole, "xyzuvw");
    cr_assert_eq(f.n_requests, 1);
    expect_status(&f, COMPLETIONS, "X-Request-Id: mine\r\n", "{\"prompt\":\"ac\"}", 409);
    expect_status(&f, COMPLETIONS, "X-Request-Id: a b\r\n", STREAM, 400);
    expect_status(&f, COMPLETIONS, "X-Request-Id: other\r\nLast-Event-ID: 3\r\n", STREAM, 404);
    expect_status(&f, "/v1/hydac/requests/mine/events", "Last-Event-ID: x\r\n", NULL, 400);
    expect_status(&f, "/v1/hydac/requests/other/events", "", NULL, 404);
    expect_status(&f, "/v1/hydac/requests/mine", "", NULL, 404);
    client_close(&again);
    client_close(&whole);
    fixture_close(&f);
}

/* In every reply, so that a client or a proxy finds its request in its own logs. */
Test(runs, an_id_comes_back_with_every_reply)
{
    struct fixture f;
    struct client c;
    static const char noise[] = "X-Request-Id: a\x01z\r\n";
    char longest[160], longer[160];
    snprintf(longest, sizeof longest, "X-Request-Id: %0128d\r\n", 7);
    snprintf(longer, sizeof longer, "X-Request-Id: %0129d\r\n", 7);
    fixture_open(&f, NULL);
    client_open(&f, &c);
    ask(&c, COMPLETIONS, "X-Request-Id: mine\r\n", STREAM);
    fake_end(fake_request(&f, 0), HD_FINISH_LENGTH);
    client_until_eof(&f, &c);
    cr_assert(strstr(c.in, "\r\nX-Request-Id: mine\r\n"), "a stream: %s", c.in);
    client_close(&c);
    const struct {
        const char *path, *header;
        bool echoed;
    } cases[] = {{"/health", "X-Request-Id: mine\r\n", true},
                 {"/nowhere", "X-Request-Id: mine\r\n", true},
                 {"/health", "", false},
                 {"/health", noise, false},
                 {"/health", longest, true},
                 {"/health", longer, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        client_open(&f, &c);
        ask(&c, cases[i].path, cases[i].header, NULL);
        client_until_eof(&f, &c);
        cr_assert(client_status(&c) > 0, "%s", c.in);
        const char *found = strstr(c.in, "X-Request-Id: ");
        cr_assert_eq(found != NULL, cases[i].echoed, "case %zu: %s", i, c.in);
        cr_assert(!found || strncmp(found, cases[i].header, strlen(cases[i].header)) == 0);
        client_close(&c);
    }
    fixture_close(&f);
}

Test(runs, a_whole_answer_waits_for_its_client)
{
    struct fixture f;
    struct client c, again;
    fixture_open(&f, NULL);
    client_open(&f, &c);
    ask(&c, COMPLETIONS, "X-Request-Id: mine\r\n", "{\"prompt\":\"ab\"}");
    struct hd_request *r = fake_request(&f, 0);
    client_close(&c);
    fixture_turn(&f);
    fake_text(r, "xy");
    fake_end(r, HD_FINISH_LENGTH);
    client_open(&f, &again);
    ask(&again, COMPLETIONS, "X-Request-Id: mine\r\n", "{\"prompt\":\"ab\"}");
    client_until_eof(&f, &again);
    json_t *v = client_json(&again);
    cr_assert_str_eq(json_string_value(at(v, "choices.0.text")), "xy");
    json_decref(v);
    client_close(&again);
    fixture_close(&f);
}

Test(runs, nobody_comes_back)
{
    struct fixture f;
    struct client c;
    const struct fixture_options o = {.keep_s = 1, .records = true};
    fixture_open(&f, &o);
    client_open(&f, &c);
    ask(&c, COMPLETIONS, "X-Request-Id: mine\r\n", STREAM);
    struct hd_request *r = fake_request(&f, 0);
    fake_text(r, "xy");
    fake_end(r, HD_FINISH_LENGTH);
    client_until_eof(&f, &c);
    client_close(&c);
    for (int i = 0; i < 1000; i++) { /* until it is forgotten */
        struct client g;
        client_open(&f, &g);
        ask(&g, "/v1/hydac/requests/mine/events", "", NULL);
        client_until_eof(&f, &g);
        int status = client_status(&g);
        client_close(&g);
        if (status == 404)
            break;
        cr_assert_eq(status, 200);
        for (int k = 0; k < 150; k++) /* a second and a half: each that asks makes it young */
            fixture_turn(&f);
    }
    expect_status(&f, "/v1/hydac/requests/mine/events", "", NULL, 404);
    cr_assert_eq(f.ended, 1);
    fixture_close(&f);
}

/* ---- Records ----*/

Test(runs, nothing_leaves_before_others_know)
{
    static const char *const ids[] = {"", "X-Request-Id: mine\r\n"};
    static const char *const bodies[] = {STREAM, "{\"prompt\":\"ab\",\"max_tokens\":9}"};
    for (int i = 0; i < 4; i++) {
        struct fixture f;
        struct client c;
        const struct fixture_options o = {.records = true};
        fixture_open(&f, &o);
        f.hold = true;
        client_open(&f, &c);
        ask(&c, COMPLETIONS, ids[i % 2], bodies[i / 2]);
        struct hd_request *r = fake_request(&f, 0);
        fake_text(r, "xy");
        if (i / 2)
            fake_end(r, HD_FINISH_LENGTH);
        for (int k = 0; k < 20; k++)
            fixture_turn(&f);
        cr_assert(f.sure && f.begun == 1 && f.ended == 0);
        char byte;
        cr_assert_lt(recv(c.fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK), 0);
        f.sure(f.sure_arg);
        client_until(&f, &c, i / 2 ? "xy" : "id: 2");
        if (!(i / 2))
            fake_end(r, HD_FINISH_LENGTH);
        client_until_eof(&f, &c);
        cr_assert_eq(f.ended, 1);
        client_close(&c);
        fixture_close(&f);
    }
}

/* The record of a request of which another leader has sampled these tokens. */
static struct hd_record *orphan(struct fixture *f, const char *body, const char *tokens)
{
    static const int32_t prompt[] = {'a', 'b'};
    const struct hd_record_prompt p = {prompt, 2, 0};
    const struct hd_record_begin b = {.id = "cmpl-0123",
                                      .client_id = "",
                                      .path = COMPLETIONS,
                                      .model_digest = f->digest,
                                      .body = body,
                                      .body_len = strlen(body),
                                      .seed = 99,
                                      .created = 5,
                                      .prompts = &p,
                                      .n_prompts = 1,
                                      .choices = 1};
    struct hd_record *r = hd_book_begin(&f->book, &b);
    for (; *tokens; tokens++)
        cr_assert(hd_book_add(&f->book, r, 0, &(int32_t){(unsigned char)*tokens}, 1));
    return r;
}

#define UNSEEDED "{\"prompt\":\"ab\",\"stream\":true,\"max_tokens\":9,\"stop\":\"END\"}"

Test(runs, an_orphan_goes_on)
{
    struct fixture f;
    struct client c, d, strange;
    const struct fixture_options o = {.records = true};
    fixture_open(&f, &o);
    cr_assert_eq(hd_api_adopt(f.api, orphan(&f, UNSEEDED, "xyE")), 0);
    struct hd_request *r = fake_request(&f, 0);
    cr_assert_eq(r->o.n_known, 2, "the last one is sampled again");
    cr_assert_eq(r->o.sampling.seed, 99);
    cr_assert_eq(r->o.n_tokens, 2);
    cr_assert_str_eq(r->o.id, "cmpl-0123");
    client_open(&f, &strange); /* another body is another request */
    ask(&strange, COMPLETIONS, "", STREAM);
    fake_request(&f, 1);
    client_open(&f, &c); /* its client asks again, knowing nothing */
    ask(&c, COMPLETIONS, "", UNSEEDED);
    client_until(&f, &c, "id: 2");
    client_open(&f, &d); /* ... or by the id that the answer has */
    ask(&d, "/v1/hydac/requests/cmpl-0123/events", "Last-Event-ID: 2\r\n", NULL);
    fake_text(r, "Eo");
    fake_end(r, HD_FINISH_LENGTH);
    client_until_eof(&f, &c);
    client_until_eof(&f, &d);
    expect_text(&c, "xyEo");
    expect_text(&d, "Eo");
    cr_assert(strstr(c.in, "\"cmpl-0123\"") && strstr(c.in, "[DONE]"), "%s", c.in);
    json_t *v = client_event(&c, 0);
    cr_assert_eq(json_integer_value(at(v, "created")), 5);
    json_decref(v);
    cr_assert_eq(f.n_requests, 2);
    client_close(&c);
    client_close(&d);
    client_close(&strange);
    fixture_close(&f);
}

/* Its tokens complete a stop string: nothing is left to be computed. */
Test(runs, an_orphan_that_is_whole)
{
    struct fixture f;
    struct client c;
    const struct fixture_options o = {.records = true};
    fixture_open(&f, &o);
    cr_assert_eq(hd_api_adopt(f.api, orphan(&f, UNSEEDED, "xENDz")), 0);
    client_open(&f, &c);
    ask(&c, COMPLETIONS, "", UNSEEDED);
    client_until_eof(&f, &c);
    expect_text(&c, "x");
    cr_assert(strstr(c.in, "[DONE]"), "%s", c.in);
    cr_assert_eq(f.n_requests, 0);
    cr_assert_eq(f.ended, 1);
    client_close(&c);
    fixture_close(&f);
}

/* Scores are computed again. */
Test(runs, an_orphan_with_scores_begins_anew)
{
    struct fixture f;
    const struct fixture_options o = {.records = true};
    fixture_open(&f, &o);
    cr_assert_eq(hd_api_adopt(f.api, orphan(&f, "{\"prompt\":\"ab\",\"logprobs\":1}", "xyz")), 0);
    struct hd_request *r = fake_request(&f, 0);
    cr_assert_eq(r->o.n_known, 0);
    fake_text(r, "xyz");
    fixture_close(&f);
}

Test(runs, an_orphan_that_is_none)
{
    struct fixture f;
    const struct fixture_options o = {.records = true};
    fixture_open(&f, &o);
    struct hd_record *r = orphan(&f, "{\"prompt\":\"ab\",\"nonsense\"", "");
    cr_assert_eq(hd_api_adopt(f.api, r), 0);
    for (int k = 0; f.ended == 0; k++) {
        cr_assert_lt(k, 1000);
        fixture_turn(&f);
    }
    cr_assert_eq(f.n_requests, 0);
    fixture_close(&f);
}

Test(runs, a_standby_says_where_to_ask)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    f.role = "standby";
    f.not_ready = "another one serves";
    exchange(&f, &c, "/health", NULL);
    cr_assert_eq(client_status(&c), 503);
    cr_assert(strstr(c.in, "\"role\":\"standby\""), "%s", c.in);
    client_close(&c);
    expect_status(&f, "/v1/hydac/requests/x/events", "", NULL, 503);
    f.elsewhere = "http://b.lan:8080";
    exchange(&f, &c, COMPLETIONS, STREAM);
    cr_assert_eq(client_status(&c), 307);
    cr_assert(strstr(c.in, "Location: http://b.lan:8080/v1/completions\r\n"), "%s", c.in);
    client_close(&c);
    fixture_close(&f);
}
