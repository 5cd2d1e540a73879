/* Where a request ends: what is doubtful gets 400, and what comes behind it is never served. */
#include "fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define POST                                                                                       \
    "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
#define SECOND "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" /* answered with toy_up */

static unsigned answers(const char *text)
{
    unsigned n = 0;
    for (; (text = strstr(text, "HTTP/1.1 ")); text++)
        n++;
    return n;
}

static void send_all(struct client *c, const char *data, size_t len)
{
    for (ssize_t n; len > 0; data += n, len -= (size_t)n)
        cr_assert_gt(n = send(c->fd, data, len, MSG_NOSIGNAL), 0);
}

static void expect_refused(const char *request, size_t len)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    client_open(&f, &c);
    send_all(&c, request, len);
    send_all(&c, SECOND, sizeof SECOND - 1);
    client_until_eof(&f, &c);
    cr_expect_eq(client_status(&c), 400, "%s\n->\n%s", request, c.in);
    cr_expect_null(strstr(c.in, "HTTP/1.1 200"), "%s\n->\n%s", request, c.in);
    cr_expect_null(strstr(c.in, "toy_up"), "%s\n->\n%s", request, c.in);
    cr_expect_eq(f.n_requests, 0, "%s", request);
    client_close(&c);
    fixture_close(&f);
}

Test(framing, doubtful_length)
{
    static const char *const cases[] = {
        POST "Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}",
        POST "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        POST "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
        POST "Content-Length: 2, 2\r\n\r\n{}",
        POST "Content-Length: -2\r\n\r\n{}",
        POST "Content-Length: +2\r\n\r\n{}",
        POST "Content-Length: 0x2\r\n\r\n{}",
        POST "Content-Length: \r\n\r\n{}",
        POST "Content-Length: 2\t2\r\n\r\n{}",
        "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 0\r\n\r\n{}",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_refused(cases[i], strlen(cases[i]));
}

Test(framing, doubtful_coding)
{
    static const char *const cases[] = {
        POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        POST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
        POST "Transfer-Encoding:\r\n\r\n0\r\n\r\n",
        POST "Transfer-Encoding: \x0b"
             "chunked\r\n\r\n0\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_refused(cases[i], strlen(cases[i]));
}

Test(framing, doubtful_lines)
{
    static const char *const cases[] = {
        POST "Content-Length : 2\r\n\r\n{}",
        POST "Content-Length\t: 2\r\n\r\n{}",
        POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        POST "X: a\r\n Content-Length: 40\r\nContent-Length: 2\r\n\r\n{}",
        POST "Content-Length: 2\r\n 0\r\n\r\n{}",
        POST "Transfer-Encoding: chunked\r\n\tx\r\n\r\n0\r\n\r\n",
        POST "X: a\r\n \r\nContent-Length: 2\r\n\r\n{}",
        POST "X: a\rContent-Length: 40\r\nContent-Length: 2\r\n\r\n{}",
        POST "X: a\nContent-Length: 2\r\n\r\n{}",
        POST "X(: a\r\nContent-Length: 2\r\n\r\n{}",
        POST ": a\r\nContent-Length: 2\r\n\r\n{}",
        POST ": a\r\n" SECOND,
        POST ":\r\n" SECOND,
        "GET /health HTTP/1.1\r\nHost: localhost\r\n:\r\n" SECOND,
        "GET /health HTTP/1.1\r\n:\r\n" SECOND,
        "GET /health HTTP/1.1\r\nHost: localhost\n\r\n",
        "GET /health HTTP/1.1\r\nHost: localhost\r\n\n",
        "GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\r\n  \r\n\r\n",
        POST "X\r\nContent-Length: 2\r\n\r\n{}",
        "GET /health HTTP/1.1\r\n Host: localhost\r\n\r\n",
        "GET /health HTTP/1.1\nHost: localhost\r\n\r\n",
        "GET /health HTTP/1.1\rHost: localhost\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_refused(cases[i], strlen(cases[i]));
    static const char nul[] = POST "Content-Length: 2\0 0\r\nX: a\r\n\r\n{}";
    expect_refused(nul, sizeof nul - 1);
    static const char last[] = POST "Content-Length: 2\0 0\r\n\r\n{}";
    expect_refused(last, sizeof last - 1);
}

Test(framing, doubtful_host)
{
    static const char *const cases[] = {
        "GET /health HTTP/1.1\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: localhost\r\nhost: other\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_refused(cases[i], strlen(cases[i]));
}

/* HTTP/1.0 has no chunks. */
Test(framing, chunks_of_an_old_client)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    client_open(&f, &c);
    client_send(&c, "POST /v1/completions HTTP/1.0\r\nContent-Type: application/json\r\n"
                    "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    client_until_eof(&f, &c);
    cr_assert_eq(client_status(&c), 400, "%s", c.in);
    client_close(&c);
    fixture_close(&f);
}

/* Whatever a chunk's extension or a trailer hides, nothing behind it is a request. */
Test(framing, nothing_behind_chunks)
{
    static const char *const ends[] = {"0\r\n\r\n" SECOND, "0;a\n" SECOND,
                                       "0\r\nX: y\r\n\r\n" SECOND, "0\n\n" SECOND};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        struct fixture f;
        struct client c;
        fixture_open(&f, NULL);
        client_open(&f, &c);
        client_send(&c, POST "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n");
        client_send(&c, ends[i]);
        client_until_eof(&f, &c);
        cr_expect_eq(client_status(&c), 400, "%s", c.in); /* no prompt */
        cr_expect_eq(answers(c.in), 1, "%s", c.in);
        cr_expect_null(strstr(c.in, "toy_up"), "%s", c.in);
        client_close(&c);
        fixture_close(&f);
    }
}

/* What is in order is served, one request behind the other, in whatever pieces it comes. */
Test(framing, in_order)
{
    static const char text[] = POST "Content-Length: 2\r\nX-Empty:\r\nX-Blank: a b\tc\r\n"
                                    "X-Utf8: \xC3\xA4\r\nX:no blank\r\n\r\n{}"
                                    "GET /health?a=b&c HTTP/1.1\r\nHost: LOCALHOST:1\r\n"
                                    "Cookie: a=b; c=d\r\nContent-Length: 0\r\n\r\n" SECOND;
    static const size_t pieces[] = {1, 7, sizeof text};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        struct fixture f;
        struct client c;
        fixture_open(&f, NULL);
        client_open(&f, &c);
        for (size_t at = 0; at < sizeof text - 1; at += pieces[i]) {
            size_t left = sizeof text - 1 - at;
            send_all(&c, text + at, left < pieces[i] ? left : pieces[i]);
            uv_run(&f.loop, UV_RUN_NOWAIT);
        }
        client_until(&f, &c, "toy_up");
        cr_expect_eq(answers(c.in), 3, "%s", c.in);
        cr_expect_not_null(strstr(c.in, "'prompt' is required"), "%s", c.in);
        cr_expect_not_null(strstr(c.in, "\"ok\""), "%s", c.in);
        cr_expect_not(c.eof);
        client_close(&c);
        fixture_close(&f);
    }
}

/* So many headers that the library's buffer grows while they come. */
Test(framing, many_headers)
{
    struct fixture f;
    struct client c;
    char line[256];
    fixture_open(&f, NULL);
    client_open(&f, &c);
    client_send(&c, "GET /health HTTP/1.1\r\nHost: localhost\r\n");
    for (int i = 0; i < 100; i++) {
        int n = snprintf(line, sizeof line, "X-%d: %0100d\r\n", i, i);
        send_all(&c, line, (size_t)n);
        uv_run(&f.loop, UV_RUN_NOWAIT);
    }
    client_send(&c, "\r\n");
    client_until(&f, &c, "\"ok\"");
    client_close(&c);
    fixture_close(&f);
}
