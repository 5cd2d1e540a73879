/* listener.c - accepting, for libmicrohttpd.
 *
 * Limits show in this order: a queue that is full (429, generate.c); places that are all taken by
 * requests (503, from one of the places that are kept for saying so); descriptors that have run out
 * (newcomers wait in the kernel's queue, and are taken in when some are free). Nobody who was taken
 * in is closed without an answer, except who sends no request in time.
 *
 * libmicrohttpd's own listener closes what is beyond its limit, and forgets to listen again when
 * descriptors ran out before its first connection; so we accept, and hand sockets over. */
#include "leader/api/listener.h"

#include "common/net/address.h"
#include "common/util/clock.h"
#include "leader/api/limits.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define BATCH   64       /* connections in one turn of the loop */
#define TELL_US 10000000 /* between two lines about being full */

static int make_listener(const struct sockaddr *addr, int *out, struct hd_error *err)
{
    if (addr->sa_family != AF_INET && addr->sa_family != AF_INET6)
        return hd_fail(err, HD_E_UNSUPPORTED, "HTTP listens on IPv4 and IPv6 addresses only");
    socklen_t len =
        addr->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    int on = 1;
    int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return hd_fail(err, HD_E_IO, "HTTP: cannot make a socket: %s", strerror(errno));
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 || bind(fd, addr, len) < 0 ||
        listen(fd, SOMAXCONN) < 0) {
        hd_fail(err, HD_E_IO, "HTTP: cannot listen: %s; choose another address or port",
                strerror(errno));
        close(fd);
        return HD_E_IO;
    }
    *out = fd;
    return 0;
}

/* Descriptors that are open now. */
static size_t open_files(void)
{
    size_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n;
}

/* Of the descriptors that are left, a few for others (workers above all), an eighth of the rest for
 * turning away. At least one of each: it may be that some become free. */
static void share_out(struct hd_listener *l, const struct hd_listener_options *o)
{
    struct rlimit r = {.rlim_cur = RLIM_INFINITY};
    getrlimit(RLIMIT_NOFILE, &r);
    size_t limit = r.rlim_cur < UINT32_MAX ? (size_t)r.rlim_cur : UINT32_MAX;
    size_t used = open_files() + (o->spare_files < limit / 4 ? o->spare_files : limit / 4);
    size_t left = limit > used + 2 ? limit - used : 2;
    l->extra = left / 8 < 1 ? 1 : left / 8 < HD_TURNED_AWAY ? (unsigned)(left / 8) : HD_TURNED_AWAY;
    left -= l->extra;
    l->places = left < o->max_connections ? (unsigned)left : o->max_connections;
    if (l->places < o->max_connections)
        hd_warn(l->log, "few_descriptors",
                "http_connections=%u wanted=%u limit=%zu effect=\"more clients wait\"", l->places,
                o->max_connections, limit);
}

int hd_listener_open(struct hd_listener *l, const struct hd_listener_options *o,
                     struct hd_error *err)
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    *l = (struct hd_listener){.log = o->log, .events = o->events, .arg = o->arg};
    int rc = make_listener(o->addr, &l->fd, err);
    if (rc < 0)
        return rc;
    share_out(l, o);
    if (getsockname(l->fd, (struct sockaddr *)&addr, &len) == 0)
        l->port = hd_address_port((struct sockaddr *)&addr);
    return 0;
}

void hd_listener_shut(struct hd_listener *l)
{
    if (l->listening)
        uv_poll_stop(&l->poll);
    l->listening = false;
    l->shut = true;
    shutdown(l->fd, SHUT_RDWR); /* closed later: the poll handle knows it by its number */
}

static void on_poll_closed(uv_handle_t *poll)
{
    struct hd_listener *l = poll->data;
    close(l->fd);
    l->events->closed(l->arg);
}

void hd_listener_end(struct hd_listener *l)
{
    if (l->poll.data)
        uv_close((uv_handle_t *)&l->poll, on_poll_closed);
    else
        close(l->fd);
}

static void tell_full(struct hd_listener *l, const char *why)
{
    uint64_t now = hd_now_us();
    if (l->told_us != 0 && now - l->told_us < TELL_US)
        return;
    l->told_us = now;
    hd_warn(l->log, "http_full", "clients=%u reason=\"%s\"", l->clients, why);
}

/* May one more be taken in, be it to turn it away? */
static bool has_room(struct hd_listener *l)
{
    if (l->clients < l->places)
        return true;
    if (l->events->make_room(l->arg))
        return false; /* in a moment */
    tell_full(l, "all places are taken by requests");
    return l->clients < l->places + l->extra;
}

static bool is_out_of_files(int e)
{
    return e == EMFILE || e == ENFILE || e == ENOBUFS || e == ENOMEM;
}

enum newcomer { TAKEN, NOBODY, HAS_TO_WAIT };

static enum newcomer take_in(struct hd_listener *l)
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    if (!has_room(l))
        return HAS_TO_WAIT;
    int fd = accept4(l->fd, (struct sockaddr *)&addr, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) /* the library closes it if it cannot take it */
        l->events->take(l->arg, fd, (struct sockaddr *)&addr, len);
    else if (errno == EAGAIN)
        return NOBODY;
    else if (is_out_of_files(errno)) {
        tell_full(l, strerror(errno));
        return HAS_TO_WAIT;
    }
    return TAKEN; /* or has gone again already */
}

static void on_newcomer(uv_poll_t *poll, int status, int events)
{
    struct hd_listener *l = poll->data;
    enum newcomer last = TAKEN;
    for (unsigned n = 0; n < BATCH && last == TAKEN; n++)
        last = take_in(l);
    if (last == HAS_TO_WAIT) { /* the poll would spin; hd_listener_look begins again */
        uv_poll_stop(&l->poll);
        l->listening = false;
    }
    l->events->turn(l->arg);
}

void hd_listener_look(struct hd_listener *l)
{
    if (!l->listening && !l->shut)
        l->listening = uv_poll_start(&l->poll, UV_READABLE, on_newcomer) == 0;
}

int hd_listener_start(struct hd_listener *l, uv_loop_t *loop)
{
    int rc = uv_poll_init(loop, &l->poll, l->fd);
    if (rc < 0)
        return rc;
    l->poll.data = l;
    hd_listener_look(l);
    return 0;
}
