/* clients.c - the TCP connections of HTTP clients, served or not.
 *
 * libmicrohttpd closes a connection on which nothing moves; that lets a stranger who sends a byte
 * now and then hold it for ever, and as many of them as it takes. So each connection has a deadline
 * for its next request, and when all places are taken the one that has waited longest makes room
 * for the newest, not before HD_GRACE_MS. A connection whose request was taken (with the key, if
 * there is one) is never cut here, and one that is sending its body only at its deadline. The
 * socket is shut down: libmicrohttpd sees the end and cleans up as always. */
#include "leader/api/clients.h"

#include "leader/api/greeting.h"

#include "common/util/clock.h"
#include "leader/api/limits.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct hd_client {
    struct hd_client *next;
    struct hd_clients *all;
    int fd;
    enum hd_client_state state;
    bool cut, turned_away;
    uint64_t since_us;            /* without a request */
    struct hd_greeting *greeting; /* libmicrohttpd does not know of it yet; else NULL */
    struct sockaddr_storage addr; /* of one that was met */
    socklen_t addr_len;
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

/* NULL: memory is out, it is counted all the same. */
static struct hd_client *come(struct hd_clients *s, int fd)
{
    struct hd_client *c = calloc(1, sizeof *c);
    bool turned_away = s->listener->clients++ >= s->listener->places;
    if (!c)
        return NULL;
    *c = (struct hd_client){
        .next = s->list, .fd = fd, .turned_away = turned_away, .since_us = hd_now_us()};
    s->list = c;
    return c;
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

/* ---- Until libmicrohttpd has it ----*/

/* It closes what it cannot take. */
static void hand_over(struct hd_clients *s, struct hd_client *c)
{
    c->greeting = NULL;
    s->arriving = c;
    MHD_add_connection(s->mhd, c->fd, (struct sockaddr *)&c->addr, c->addr_len);
    if (s->arriving)
        ended(s, c);
    s->arriving = NULL;
}

static void on_ready(void *client, int fd)
{
    struct hd_client *c = client;
    struct hd_clients *s = c->all;
    (void)fd; /* c->fd */
    hand_over(s, c);
    s->listener->events->turn(s->listener->arg);
}

static void on_gone(void *client)
{
    struct hd_client *c = client;
    ended(c->all, c);
}

static void on_closed(void *clients)
{
    struct hd_clients *s = clients;
    s->listener->events->closed(s->listener->arg);
}

static const struct hd_greeting_events greeted = {
    .ready = on_ready, .gone = on_gone, .closed = on_closed};

void hd_clients_meet(struct hd_clients *s, uv_loop_t *loop, int fd, const struct sockaddr *addr,
                     socklen_t len)
{
    struct hd_client *c = come(s, fd);
    if (!c) {
        close(fd);
        ended(s, NULL);
        return;
    }
    c->all = s;
    memcpy(&c->addr, addr, len);
    c->addr_len = len;
    c->greeting = s->greets ? hd_greeting_begin(loop, fd, &greeted, s, c) : NULL;
    if (c->greeting)
        s->listener->events->opened(s->listener->arg);
    else
        hand_over(s, c);
}

void hd_clients_end(struct hd_clients *s)
{
    for (struct hd_client *c = s->list, *next; c; c = next) {
        next = c->next;
        if (!c->greeting)
            continue;
        hd_greeting_end(c->greeting);
        ended(s, c);
    }
}

/* ---- While libmicrohttpd has it ----*/

void hd_client_changed(void *clients, struct MHD_Connection *conn, void **context,
                       enum MHD_ConnectionNotificationCode what)
{
    struct hd_clients *s = clients;
    (void)conn;
    if (what != MHD_CONNECTION_NOTIFY_STARTED) {
        ended(s, *context);
        return;
    }
    *context = s->arriving;
    s->arriving = NULL;
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

/* libmicrohttpd reads from a connection that was suspended before it asks for the reply, and closes
 * it if the client has ended its sending side; but for those whose timeout is their own, all of
 * which it looks after first. */
void hd_client_will_reply(struct MHD_Connection *conn)
{
    MHD_set_connection_option(conn, MHD_CONNECTION_OPTION_TIMEOUT, HD_IDLE_S + 1);
}

void hd_client_replies(struct MHD_Connection *conn)
{
    MHD_set_connection_option(conn, MHD_CONNECTION_OPTION_TIMEOUT, HD_IDLE_S);
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
