/* Clients that go away, read slowly, or are cut off; failures midway; closing. */
#include "fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
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

/* In HTTP/1.1, and all that it will send. */
static struct hd_request *begin_and_listen(struct fixture *f, struct client *c, const char *body)
{
    char head[128];
    unsigned i = f->n_requests;
    client_open(f, c);
    snprintf(head, sizeof head,
             "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
             "Content-Length: %zu\r\n\r\n",
             strlen(body));
    client_send(c, head);
    client_send(c, body);
    shutdown(c->fd, SHUT_WR);
    return fake_request(f, i);
}

static void listen_only(const char *body, const char *end)
{
    struct fixture f;
    struct client c, idle;
    fixture_open(&f, NULL);
    client_open(&f, &idle); /* libmicrohttpd is kinder to one that is alone */
    client_send(&idle, "GET ");
    fixture_turn(&f);
    struct hd_request *r = begin_and_listen(&f, &c, body);
    if (body == whole) /* seen, and asked */
        client_until(&f, &c, "HTTP/1.1 100 Continue\r\n\r\n");
    for (int i = 0; i < 20; i++)
        fixture_turn(&f);
    cr_assert_not(r->cancelled);
    fake_token(r, 'x');
    fake_end(r, HD_FINISH_LENGTH);
    client_until(&f, &c, end);
    cr_expect_not_null(strstr(c.in, "HTTP/1.1 200 OK\r\n"));
    cr_expect_not_null(strstr(c.in, "\"x\""));
    client_until_eof(&f, &c);
    client_close(&c);
    client_close(&idle);
    fixture_close(&f);
}

Test(lifetime, who_only_listens_is_answered)
{
    listen_only(whole, "\"usage\"");
    listen_only(stream, "data: [DONE]");
}

/* It has ended its sending side before, so that its end is seen only of what is sent to it. */
Test(lifetime, gone_while_it_only_listened)
{
    struct fixture_options o = {.keep_alive_ms = 1};
    struct fixture f;
    struct client c;
    fixture_open(&f, &o);
    struct hd_request *r = begin_and_listen(&f, &c, whole);
    client_until(&f, &c, "HTTP/1.1 100 Continue\r\n\r\n");
    client_close(&c);
    fake_until_cancelled(&f, r);
    fixture_close(&f);
}

/* In HTTP/1.1 the end of its sending side is all that is seen at first. */
Test(lifetime, gone_altogether)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    struct hd_request *r = begin_and_listen(&f, &c, whole);
    client_close(&c);
    fake_until_cancelled(&f, r);
    r = begin_and_listen(&f, &c, stream);
    client_close(&c);
    fake_until_cancelled(&f, r);
    fixture_close(&f);
}

/* There are no interim replies in HTTP/1.0. */
Test(lifetime, ended_in_an_old_version)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    struct hd_request *r = begin(&f, &c, whole);
    shutdown(c.fd, SHUT_WR);
    fake_until_cancelled(&f, r);
    client_until_eof(&f, &c);
    cr_expect_null(strstr(c.in, "100 Continue"));
    client_close(&c);
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
