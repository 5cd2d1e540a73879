/* clients.c - the TCP connections of HTTP clients, served or not.
 *
 * libmicrohttpd closes a connection on which nothing moves; that lets a stranger who sends a byte
 * now and then hold it for ever, and as many of them as it takes. So each connection has a deadline
 * for its next request, and when places become few the one that has waited longest makes room for
 * the newest. A connection whose request was taken (with the key, if there is one) is never cut
 * here. The socket is shut down: libmicrohttpd sees the end and cleans up as always. */
#include "leader/api/api_impl.h"

#include "common/util/clock.h"

#include <stdlib.h>
#include <sys/socket.h>

struct hd_client {
    struct hd_client *next;
    int fd;
    bool busy, cut;
    uint64_t since_us; /* without a request */
};

static void cut(struct hd_api *a, struct hd_client *c, const char *why)
{
    hd_debug(a->o.log, "http_cut", "reason=\"%s\"", why);
    c->cut = true;
    shutdown(c->fd, SHUT_RDWR);
}

/* The list has the oldest last: connections join it at its head, and again after each request. */
static void make_room(struct hd_api *a)
{
    struct hd_client *longest = NULL;
    unsigned n = 0;
    for (struct hd_client *c = a->clients; c; c = c->next) {
        n += !c->cut;
        if (!c->busy && !c->cut && (!longest || c->since_us <= longest->since_us))
            longest = c;
    }
    if (n + HD_SPARE_CONNECTIONS > a->o.max_connections && longest)
        cut(a, longest, "another client wants the place");
}

static void started(struct hd_api *a, struct MHD_Connection *conn, void **context)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct hd_client *c = calloc(1, sizeof *c);
    if (!c || !info) { /* without a deadline of its own; libmicrohttpd's remains */
        free(c);
        return;
    }
    *c = (struct hd_client){.next = a->clients, .fd = info->connect_fd, .since_us = hd_now_us()};
    a->clients = c;
    *context = c;
    make_room(a);
}

static void ended(struct hd_api *a, struct hd_client *c)
{
    struct hd_client **at = &a->clients;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    free(c);
}

void hd_client_changed(void *api, struct MHD_Connection *conn, void **context,
                       enum MHD_ConnectionNotificationCode what)
{
    if (what == MHD_CONNECTION_NOTIFY_STARTED)
        started(api, conn, context);
    else if (*context)
        ended(api, *context);
}

void hd_client_busy(struct MHD_Connection *conn, bool busy)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct hd_client *c = info ? info->socket_context : NULL;
    if (!c)
        return;
    c->busy = busy;
    c->since_us = hd_now_us();
}

void hd_clients_sweep(uv_timer_t *timer)
{
    struct hd_api *a = timer->data;
    uint64_t now = hd_now_us();
    for (struct hd_client *c = a->clients; c; c = c->next)
        if (!c->busy && !c->cut && now - c->since_us > a->o.request_ms * UINT64_C(1000))
            cut(a, c, "no whole request in time");
}
