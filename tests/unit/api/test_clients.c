/* Clients that take their time, or all the places. */
#include "fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define SECOND UINT64_C(1000000000) /* of uv_hrtime */

/* One that says nothing, one that stops in its headers, one in its body: all are cut off, while one
 * whose request was taken may wait as long as it takes. */
Test(clients, no_request_in_time)
{
    struct fixture f;
    struct fixture_options o = {.request_ms = 200};
    struct client silent, half, body, waiting, kept;
    fixture_open(&f, &o);
    client_open(&f, &waiting);
    client_post(&waiting, "/v1/completions", "{\"prompt\":\"abc\"}");
    struct hd_request *r = fake_request(&f, 0);
    client_open(&f, &silent);
    client_open(&f, &half);
    client_send(&half, "POST /v1/completions HTTP/1.1\r\nHost:");
    client_open(&f, &body);
    client_send(&body, "POST /v1/completions HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n{");
    client_open(&f, &kept);
    client_send(&kept, "GET /health HTTP/1.1\r\nHost: h\r\n\r\n");
    client_until(&f, &kept, "\"ok\"");
    client_until_eof(&f, &silent);
    client_until_eof(&f, &half);
    client_until_eof(&f, &body);
    client_until_eof(&f, &kept); /* idle behind its answer */
    cr_assert_eq(silent.n + half.n + body.n, 0);
    cr_assert_not(r->cancelled);
    fake_text(r, "ok");
    fake_end(r, HD_FINISH_STOP);
    client_until_eof(&f, &waiting);
    cr_assert_eq(client_status(&waiting), 200);
    client_close(&waiting);
    client_close(&silent);
    client_close(&half);
    client_close(&body);
    client_close(&kept);
    fixture_close(&f);
}

/* A byte now and then is no request: the deadline is not moved by it. */
Test(clients, a_byte_now_and_then)
{
    struct fixture f;
    struct fixture_options o = {.request_ms = 300};
    struct client c;
    char byte;
    fixture_open(&f, &o);
    client_open(&f, &c);
    client_send(&c, "GET /health HTTP/1.1\r\nX: ");
    uint64_t start = uv_hrtime(), sent = start;
    ssize_t n;
    while ((n = recv(c.fd, &byte, 1, MSG_DONTWAIT)) < 0 && errno == EAGAIN) {
        fixture_turn(&f);
        cr_assert_lt(uv_hrtime() - start, 60 * SECOND, "it was not cut off");
        if (uv_hrtime() - sent < SECOND / 50)
            continue;
        sent = uv_hrtime();
        send(c.fd, "x", 1, MSG_NOSIGNAL); /* it may be gone meanwhile: recv tells */
    }
    cr_assert_leq(n, 0, "it was answered");
    client_close(&c);
    fixture_close(&f);
}

/* All places are taken by who says nothing: who comes next is answered all the same, and the one
 * whose request was taken stays. */
Test(clients, no_place_left)
{
    enum { MANY = 100 };
    struct fixture f;
    struct fixture_options o = {.max_connections = 64};
    struct client waiting, c, strangers[MANY];
    fixture_open(&f, &o);
    client_open(&f, &waiting);
    client_post(&waiting, "/v1/completions", "{\"prompt\":\"abc\"}");
    struct hd_request *r = fake_request(&f, 0);
    for (int i = 0; i < MANY; i++) {
        client_open(&f, &strangers[i]);
        fixture_turn(&f);
    }
    client_open(&f, &c);
    client_get(&c, "/health");
    client_until_eof(&f, &c);
    cr_assert_eq(client_status(&c), 200);
    client_until_eof(&f, &strangers[0]); /* the oldest had to go */
    cr_assert_not(r->cancelled);
    fake_text(r, "ok");
    fake_end(r, HD_FINISH_STOP);
    client_until_eof(&f, &waiting);
    cr_assert_eq(client_status(&waiting), 200);
    client_close(&waiting);
    client_close(&c);
    for (int i = 0; i < MANY; i++)
        client_close(&strangers[i]);
    fixture_close(&f);
}

/* All places are taken by requests: who comes next is told so, and to come back; a place that is
 * free again is given to the next one. */
Test(clients, all_places_are_taken)
{
    enum { PLACES = 4 };
    struct fixture f;
    struct fixture_options o = {.max_connections = PLACES};
    struct client taken[PLACES], c;
    fixture_open(&f, &o);
    for (unsigned i = 0; i < PLACES; i++) {
        client_open(&f, &taken[i]);
        client_post(&taken[i], "/v1/completions", "{\"prompt\":\"abc\"}");
        fake_request(&f, i);
    }
    for (int i = 0; i < 10; i++) {
        exchange(&f, &c, i % 2 ? "/v1/completions" : "/health",
                 i % 2 ? "{\"prompt\":\"a\"}" : NULL);
        cr_expect_eq(client_status(&c), 503);
        cr_expect_not_null(strstr(c.in, "too_many_connections"), "%s", c.in);
        cr_expect_not_null(strstr(c.in, "Retry-After: 1\r\n"), "%s", c.in);
        cr_expect_not_null(strstr(c.in, "Connection: close\r\n"), "%s", c.in);
        client_close(&c);
    }
    fake_end(fake_request(&f, 0), HD_FINISH_STOP);
    client_until_eof(&f, &taken[0]);
    exchange(&f, &c, "/health", NULL);
    cr_expect_eq(client_status(&c), 200);
    client_close(&c);
    for (unsigned i = 1; i < PLACES; i++) {
        cr_expect_not(taken[i].eof);
        fake_end(fake_request(&f, i), HD_FINISH_STOP);
        client_until_eof(&f, &taken[i]);
        cr_expect_eq(client_status(&taken[i]), 200);
    }
    for (unsigned i = 0; i < PLACES; i++)
        client_close(&taken[i]);
    fixture_close(&f);
}

/* Many more at once than there are places, all of which send a request: each is answered. */
Test(clients, a_rush)
{
    enum { MANY = 150 };
    struct fixture f;
    struct fixture_options o = {.max_connections = 8};
    struct client c[MANY];
    fixture_open(&f, &o);
    for (int i = 0; i < MANY; i++) {
        client_open(&f, &c[i]);
        client_get(&c[i], "/health");
    }
    for (int i = 0; i < MANY; i++) {
        client_until_eof(&f, &c[i]);
        cr_expect_eq(client_status(&c[i]), 200, "%d: %s", i, c[i].in);
        client_close(&c[i]);
    }
    fixture_close(&f);
}

/* More headers than a request may have: an answer, or the end; never memory. */
Test(clients, endless_headers)
{
    struct fixture f;
    struct client c;
    char line[1024];
    fixture_open(&f, NULL);
    client_open(&f, &c);
    client_send(&c, "GET /health HTTP/1.1\r\n");
    memset(line, 'x', sizeof line);
    memcpy(line, "X: ", 3);
    memcpy(line + sizeof line - 2, "\r\n", 2);
    for (int i = 0; i < 400; i++)
        if (send(c.fd, line, sizeof line, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            break;
    client_until_eof(&f, &c);
    cr_assert(c.n == 0 || client_status(&c) == 431 || client_status(&c) == 413, "%s", c.in);
    client_close(&c);
    fixture_close(&f);
}
