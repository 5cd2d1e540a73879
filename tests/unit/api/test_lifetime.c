/* Clients that go away, read slowly, or are cut off; failures midway; closing. */
#include "fixture.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>

static const char stream[] = "{\"prompt\":\"ab\",\"stream\":true}";
static const char whole[] = "{\"prompt\":\"ab\"}";

static struct hd_request *begin(struct fixture *f, struct client *c, const char *body)
{
    unsigned i = f->n_requests;
    client_open(f, c);
    client_post(c, "/v1/completions", body);
    return fake_request(f, i);
}

Test(lifetime, gone_while_waiting)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    struct hd_request *r = begin(&f, &c, whole);
    client_close(&c);
    fake_until_cancelled(&f, r);
    r = begin(&f, &c, stream);
    client_close(&c);
    fake_until_cancelled(&f, r);
    fixture_close(&f);
}

Test(lifetime, gone_in_mid_stream)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    struct hd_request *r = begin(&f, &c, stream);
    fake_token(r, 'x');
    client_until(&f, &c, "\"x\"");
    client_close(&c);
    fake_until_cancelled(&f, r);
    fixture_close(&f);
}

Test(lifetime, gone_before_the_body_is_there)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    client_open(&f, &c);
    client_send(&c,
                "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{");
    fixture_turn(&f);
    client_close(&c);
    exchange(&f, &c, "/health", NULL);
    cr_assert_eq(client_status(&c), 200);
    cr_assert_eq(f.n_requests, 0);
    client_close(&c);
    fixture_close(&f);
}

/* A client that never reads: the kernel's buffers fill, then ours, then it is cut off. */
Test(lifetime, slow_client)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    struct hd_request *r = begin(&f, &c, stream);
    int tokens = 0;
    for (; !r->cancelled && tokens < 500000; tokens++) {
        fake_token(r, 'x');
        if (tokens % 1000 == 0)
            fixture_turn(&f);
    }
    cr_assert(r->cancelled, "%d tokens were kept for a client that does not read", tokens);
    client_until_eof(&f, &c);
    cr_assert_null(strstr(c.in, "[DONE]"));
    client_close(&c);
    fixture_close(&f);
}

Test(lifetime, failure_in_mid_stream)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    struct hd_request *r = begin(&f, &c, stream);
    fake_token(r, 'x');
    fake_end(r, HD_FINISH_ERROR);
    client_until_eof(&f, &c);
    json_t *v = client_event(&c, 1);
    cr_assert_str_eq(json_string_value(at(v, "error.message")), "no worker is left");
    cr_assert_str_eq(json_string_value(at(v, "error.type")), "server_error");
    cr_assert_null(strstr(c.in, "[DONE]"), "the answer is not whole");
    json_decref(v);
    client_close(&c);
    fixture_close(&f);
}

Test(lifetime, failure_of_a_whole_answer)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    fake_end(begin(&f, &c, whole), HD_FINISH_ERROR);
    client_until_eof(&f, &c);
    cr_assert_eq(client_status(&c), 500);
    client_close(&c);
    f.not_ready = "no worker";
    fake_end(begin(&f, &c, whole), HD_FINISH_ERROR);
    client_until_eof(&f, &c);
    cr_assert_eq(client_status(&c), 503);
    client_close(&c);
    fixture_close(&f);
}

Test(lifetime, requests_wait_while_not_ready)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    f.not_ready = "waiting for workers";
    struct hd_request *r = begin(&f, &c, whole);
    f.not_ready = NULL;
    fake_token(r, 'x');
    fake_end(r, HD_FINISH_LENGTH);
    client_until_eof(&f, &c);
    cr_assert_eq(client_status(&c), 200);
    client_close(&c);
    fixture_close(&f);
}

Test(lifetime, closing_ends_everything)
{
    struct fixture f;
    struct client a, b, idle;
    fixture_open(&f, NULL);
    begin(&f, &a, whole);
    struct hd_request *r = begin(&f, &b, stream);
    fake_token(r, 'x');
    client_open(&f, &idle);
    fixture_turn(&f);
    fixture_close(&f); /* checks that both were cancelled */
    client_close(&a);
    client_close(&b);
    client_close(&idle);
}

Test(lifetime, status_outlives_its_client)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    f.hold_status = true;
    client_open(&f, &c);
    client_get(&c, "/hydac/status");
    while (!f.status_done)
        fixture_turn(&f);
    client_close(&c);
    fixture_turn(&f);
    f.status_done(f.status_arg, json_object());
    exchange(&f, &c, "/health", NULL);
    cr_assert_eq(client_status(&c), 200);
    client_close(&c);
    fixture_close(&f);
}

Test(lifetime, address_in_use)
{
    struct fixture f;
    struct sockaddr_storage taken;
    socklen_t len = sizeof taken;
    struct client c;
    struct hd_api *second;
    struct hd_error err = {0};
    fixture_open(&f, NULL);
    client_open(&f, &c);
    getpeername(c.fd, (struct sockaddr *)&taken, &len);
    struct hd_api_options o = {.loop = &f.loop, .log = &f.log, .listen = (struct sockaddr *)&taken};
    cr_assert_eq(hd_api_new(&second, &o, &err), HD_E_IO);
    cr_assert_not_null(strstr(err.text, "in use"), "%s", err.text);
    client_close(&c);
    fixture_close(&f);
}
