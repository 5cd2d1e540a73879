/* clients.c - the TCP connections of HTTP clients, served or not.
 *
 * libmicrohttpd closes a connection on which nothing moves; that lets a stranger who sends a byte
 * now and then hold it for ever, and as many of them as it takes. So each connection has a deadline
 * for its next request, and when all places are taken the one that has waited longest makes room
 * for the newest, not before HD_GRACE_MS. A connection whose request was taken (with the key, if
 * there is one) is never cut here, and one that is sending its body only at its deadline. The
 * socket is shut down: libmicrohttpd sees the end and cleans up as always. */
#include "leader/api/clients.h"

#include "common/util/clock.h"
#include "leader/api/limits.h"

#include <stdlib.h>
#include <sys/socket.h>

struct hd_client {
    struct hd_client *next;
    int fd;
    enum hd_client_state state;
    bool cut, turned_away;
    uint64_t since_us; /* without a request */
};

static void cut(struct hd_clients *s, struct hd_client *c, const char *why)
{
    hd_debug(s->listener->log, "http_cut", "reason=\"%s\"", why);
    c->cut = true;
    shutdown(c->fd, SHUT_RDWR);
}

/* The list has the oldest last: connections join it at its head, and again after each request. */
bool hd_clients_make_room(struct hd_clients *s)
{
    struct hd_client *longest = NULL;
    uint64_t grace = HD_GRACE_MS < s->request_ms ? HD_GRACE_MS : s->request_ms;
    for (struct hd_client *c = s->list; c; c = c->next) {
        if (c->cut)
            return true;
        if (c->state == HD_CLIENT_IDLE && (!longest || c->since_us <= longest->since_us))
            longest = c;
    }
    if (longest && hd_now_us() - longest->since_us > grace * 1000)
        cut(s, longest, "another client wants the place");
    return longest != NULL;
}

static void started(struct hd_clients *s, struct MHD_Connection *conn, void **context)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct hd_client *c = calloc(1, sizeof *c);
    bool turned_away = s->listener->clients++ >= s->listener->places;
    if (!c || !info) { /* without a deadline of its own; libmicrohttpd's remains */
        free(c);
        return;
    }
    *c = (struct hd_client){.next = s->list,
                            .fd = info->connect_fd,
                            .turned_away = turned_away,
                            .since_us = hd_now_us()};
    s->list = c;
    *context = c;
}

static void ended(struct hd_clients *s, struct hd_client *c)
{
    struct hd_client **at = &s->list;
    s->listener->clients--;
    hd_listener_look(s->listener);
    if (!c)
        return;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    free(c);
}

void hd_client_changed(void *clients, struct MHD_Connection *conn, void **context,
                       enum MHD_ConnectionNotificationCode what)
{
    if (what == MHD_CONNECTION_NOTIFY_STARTED)
        started(clients, conn, context);
    else
        ended(clients, *context);
}

static struct hd_client *client_of(struct MHD_Connection *conn)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

void hd_client_now(struct MHD_Connection *conn, enum hd_client_state state)
{
    struct hd_client *c = client_of(conn);
    if (!c)
        return;
    if (state != HD_CLIENT_SENDING) /* the deadline is the whole request's */
        c->since_us = hd_now_us();
    c->state = state;
}

bool hd_client_is_turned_away(struct MHD_Connection *conn)
{
    const struct hd_client *c = client_of(conn);
    return c && c->turned_away;
}

void hd_clients_sweep(struct hd_clients *s)
{
    uint64_t now = hd_now_us();
    for (struct hd_client *c = s->list; c; c = c->next)
        if (c->state != HD_CLIENT_BUSY && !c->cut &&
            now - c->since_us > s->request_ms * UINT64_C(1000))
            cut(s, c, "no whole request in time");
}
