/* test_feed.c - GET /hydac/events: who watches, what is told, and that nothing is made for nobody.
 */
#include "fixture.h"

#include "leader/api/feed.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static void watch(struct fixture *f, struct client *c)
{
    client_open(f, c);
    client_get(c, "/hydac/events");
    client_until(f, c, "event: plan\ndata: {\"epoch\":7,\"at_ms\":");
    cr_assert_eq(client_status(c), 200);
}

static void until_nobody_watches(struct fixture *f)
{
    for (int k = 0; hd_feed_is_watched(f->api); k++) {
        cr_assert_lt(k, 2000, "a watcher that has gone is still counted");
        fixture_turn(f);
    }
}

Test(feed, tells_all_who_watch)
{
    struct fixture f;
    struct client a, b;
    fixture_open(&f, NULL);
    watch(&f, &a);
    watch(&f, &b);
    cr_assert_not_null(strstr(a.in, "Content-Type: text/event-stream\r\n"));
    cr_assert_not_null(strstr(a.in, "event: status\ndata: {\"whole\":true"));
    hd_feed_tell(f.api, "change", json_pack("{s:s}", "worker", "w2"));
    client_until(&f, &a, "event: change\ndata: {\"worker\":\"w2\",\"at_ms\":");
    client_until(&f, &b, "event: change\n");
    client_until(&f, &a, "\"whole\":false"); /* a status soon after it */
    client_close(&a);
    client_close(&b);
    until_nobody_watches(&f);
    fixture_close(&f);
}

Test(feed, makes_nothing_for_nobody)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    cr_assert_not(hd_feed_is_watched(f.api));
    cr_assert_not(hd_feed_is_watched(NULL));
    exchange(&f, &c, "/health", NULL);
    client_close(&c);
    cr_assert_eq(f.overviews, 0);
    watch(&f, &c);
    client_until(&f, &c, "\"whole\":false"); /* by the timer */
    client_close(&c);
    until_nobody_watches(&f);
    unsigned made = f.overviews;
    while (uv_run(&f.loop, UV_RUN_NOWAIT) == 0) /* as long as the timer closes */
        ;
    exchange(&f, &c, "/health", NULL);
    client_close(&c);
    cr_assert_eq(f.overviews, made);
    fixture_close(&f);
}

/* The timer's end and its beginning may meet. */
Test(feed, again_at_once)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    for (int i = 0; i < 20; i++) {
        watch(&f, &c);
        client_close(&c);
        until_nobody_watches(&f);
    }
    watch(&f, &c);
    fixture_close(&f); /* with one who watches: the stream ends */
    client_close(&c);
}

Test(feed, ends_with_the_leader)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    watch(&f, &c);
    fixture_close(&f);
    while (!c.eof) { /* what was sent is there, then the end */
        char buf[4096];
        c.eof = recv(c.fd, buf, sizeof buf, 0) <= 0;
    }
    client_close(&c);
}

Test(feed, many_are_refused)
{
    struct fixture f;
    struct client c[65];
    fixture_open(&f, NULL);
    for (int i = 0; i < 64; i++)
        watch(&f, &c[i]);
    exchange(&f, &c[64], "/hydac/events", NULL);
    cr_assert_eq(client_status(&c[64]), 503);
    cr_assert_not_null(strstr(c[64].in, "too_many_watchers"));
    client_close(&c[0]);
    for (int k = 0; client_status(&c[64]) != 200; k++) { /* there is room again */
        cr_assert_lt(k, 200);
        client_close(&c[64]);
        client_open(&f, &c[64]);
        client_get(&c[64], "/hydac/events");
        client_until(&f, &c[64], "\r\n\r\n");
    }
    for (int i = 1; i < 65; i++)
        client_close(&c[i]);
    fixture_close(&f);
}

/* It misses statuses, and is cut off when it reads nothing at all. */
Test(feed, slow_watcher)
{
    struct fixture f;
    struct client c;
    enum { LEN = 100000 };
    char *text = malloc(LEN + 1);
    memset(text, 'x', LEN);
    text[LEN] = '\0';
    fixture_open(&f, NULL);
    watch(&f, &c);
    for (int i = 0; hd_feed_is_watched(f.api); i++) {
        cr_assert_lt(i, 2000, "%d events were kept for a client that does not read", i);
        hd_feed_tell(f.api, "change", json_pack("{s:s}", "text", text));
        fixture_turn(&f);
    }
    client_until_eof(&f, &c);
    client_close(&c);
    free(text);
    fixture_close(&f);
}
