/* watch.c - notices that a client has gone while its connection is suspended.
 *
 * libmicrohttpd takes a suspended connection out of its epoll set, so that a client that hangs up
 * while its request waits would hold a place in the queue. We watch the same socket for its end
 * (EPOLLRDHUP) on our own loop. A client that closes only its sending side counts as gone, as for
 * most HTTP servers. */
#include "leader/api/api_impl.h"

static void on_watch_closed(uv_handle_t *h)
{
    struct hd_call *c = h->data;
    struct hd_api *a = c->api;
    c->watching = c->watch_closing = false;
    a->handles--;
    hd_call_free_if_done(c);
    hd_api_maybe_closed(a);
}

static void on_watch(uv_poll_t *w, int status, int events)
{
    struct hd_call *c = w->data;
    hd_debug(c->api->o.log, "http_client_gone", "id=%s", c->gen.id);
    c->gone = true;
    hd_call_cancel(c);
    hd_call_unwatch(c);
    hd_call_wake(c);
}

void hd_call_watch(struct hd_call *c)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (c->watching || !info || uv_poll_init(c->api->o.loop, &c->watch, info->connect_fd) < 0)
        return;
    c->watch.data = c;
    c->watching = true;
    c->api->handles++;
    if (uv_poll_start(&c->watch, UV_DISCONNECT, on_watch) < 0)
        hd_call_unwatch(c);
}

void hd_call_unwatch(struct hd_call *c)
{
    if (!c->watching || c->watch_closing)
        return;
    c->watch_closing = true;
    uv_close((uv_handle_t *)&c->watch, on_watch_closed);
}
