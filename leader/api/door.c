/* door.c - the listening socket: who is taken in, who is told that there is no room, who waits.
 *
 * Limits show in this order: a queue that is full (429, generate.c); places that are all taken by
 * requests (503, from one of the places that are kept for saying so); descriptors that have run out
 * (newcomers wait in the kernel's queue, and are taken in when some are free). Nobody who was taken
 * in is closed without an answer, except who sends no request in time.
 *
 * libmicrohttpd's own listener closes what is beyond its limit, and forgets to listen again when
 * descriptors ran out before its first connection; so we accept, and hand sockets over. */
#include "leader/api/api_impl.h"

#include "common/net/address.h"
#include "common/util/clock.h"

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
static void share_out(struct hd_api *a)
{
    struct rlimit r = {.rlim_cur = RLIM_INFINITY};
    getrlimit(RLIMIT_NOFILE, &r);
    size_t limit = r.rlim_cur < UINT32_MAX ? (size_t)r.rlim_cur : UINT32_MAX;
    size_t used = open_files() + (a->o.spare_files < limit / 4 ? a->o.spare_files : limit / 4);
    size_t left = limit > used + 2 ? limit - used : 2;
    a->door.extra = left / 8 < 1                ? 1
                    : left / 8 < HD_TURNED_AWAY ? (unsigned)(left / 8)
                                                : HD_TURNED_AWAY;
    left -= a->door.extra;
    a->door.places = left < a->o.max_connections ? (unsigned)left : a->o.max_connections;
    if (a->door.places < a->o.max_connections)
        hd_warn(a->o.log, "few_descriptors",
                "http_connections=%u wanted=%u limit=%zu effect=\"more clients wait\"",
                a->door.places, a->o.max_connections, limit);
}

int hd_door_open(struct hd_api *a, struct hd_error *err)
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    int rc = make_listener(a->o.listen, &a->door.fd, err);
    if (rc < 0)
        return rc;
    share_out(a);
    if (getsockname(a->door.fd, (struct sockaddr *)&addr, &len) == 0)
        a->port = hd_address_port((struct sockaddr *)&addr);
    return 0;
}

void hd_door_shut(struct hd_api *a)
{
    if (a->door.listening)
        uv_poll_stop(&a->door.poll);
    a->door.listening = false;
    a->door.shut = true;
    shutdown(a->door.fd, SHUT_RDWR); /* closed later: the poll handle knows it by its number */
}

static void on_poll_closed(uv_handle_t *poll)
{
    struct hd_api *a = poll->data;
    close(a->door.fd);
    a->handles--;
    hd_api_maybe_closed(a);
}

void hd_door_end(struct hd_api *a)
{
    if (a->door.poll.data)
        uv_close((uv_handle_t *)&a->door.poll, on_poll_closed);
    else
        close(a->door.fd);
}

static void tell_full(struct hd_api *a, const char *why)
{
    uint64_t now = hd_now_us();
    if (a->door.told_us != 0 && now - a->door.told_us < TELL_US)
        return;
    a->door.told_us = now;
    hd_warn(a->o.log, "http_full", "clients=%u reason=\"%s\"", a->door.clients, why);
}

/* May one more be taken in, be it to turn it away? */
static bool has_room(struct hd_api *a)
{
    if (a->door.clients < a->door.places)
        return true;
    if (hd_clients_make_room(a))
        return false; /* in a moment */
    tell_full(a, "all places are taken by requests");
    return a->door.clients < a->door.places + a->door.extra;
}

static bool is_out_of_files(int e)
{
    return e == EMFILE || e == ENFILE || e == ENOBUFS || e == ENOMEM;
}

enum newcomer { TAKEN, NOBODY, HAS_TO_WAIT };

static enum newcomer take_in(struct hd_api *a)
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    if (!has_room(a))
        return HAS_TO_WAIT;
    int fd = accept4(a->door.fd, (struct sockaddr *)&addr, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) /* the library closes it if it cannot take it */
        MHD_add_connection(a->mhd, fd, (struct sockaddr *)&addr, len);
    else if (errno == EAGAIN)
        return NOBODY;
    else if (is_out_of_files(errno)) {
        tell_full(a, strerror(errno));
        return HAS_TO_WAIT;
    }
    return TAKEN; /* or has gone again already */
}

static void on_newcomer(uv_poll_t *poll, int status, int events)
{
    struct hd_api *a = poll->data;
    enum newcomer last = TAKEN;
    for (unsigned n = 0; n < BATCH && last == TAKEN; n++)
        last = take_in(a);
    if (last == HAS_TO_WAIT) { /* the poll would spin; hd_door_look begins again */
        uv_poll_stop(&a->door.poll);
        a->door.listening = false;
    }
    hd_api_run(a);
}

void hd_door_look(struct hd_api *a)
{
    if (!a->door.listening && !a->door.shut)
        a->door.listening = uv_poll_start(&a->door.poll, UV_READABLE, on_newcomer) == 0;
}

int hd_door_start(struct hd_api *a)
{
    int rc = uv_poll_init(a->o.loop, &a->door.poll, a->door.fd);
    if (rc < 0)
        return rc;
    a->door.poll.data = a;
    a->handles++;
    hd_door_look(a);
    return 0;
}
