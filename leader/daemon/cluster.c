/* cluster.c - the workers' connections: listen, greet, frames in.
 *
 * Happy path: accept -> Hello (within HD_GREETING_US, with small limits) -> the core gives a slot
 * -> frames of that slot become events (frames.c). Failure modes: 1. no Hello in time, or another
 * frame first: cut off; 2. a frame that makes no sense, or bytes that are none: the core is told
 * that the slot broke the rules; 3. the connection ends: the core is told at once; 4. too many
 * strangers: an address that connects too often is turned away before anything is allocated, and of
 * those that have no slot yet the oldest makes room (common/net/bounds.h). A peer that the core has
 * written off is ignored until its connection is gone. */
#include "leader/daemon/leader_impl.h"

#include "common/util/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

static void on_frame(void *arg, struct hd_conn *c, struct hd_frame *f)
{
    struct hd_peer *p = arg;
    if (!p->forgotten && !p->leader->closing)
        hd_peer_frame(p, f);
    hd_frame_clear(f);
}

static void on_version(void *arg, struct hd_conn *c, unsigned version, const char *why)
{
    struct hd_peer *p = arg;
    hd_warn(p->leader->o.log, "worker_refused", "address=%s reason=\"%s\"", hd_conn_peer(c), why);
    hd_send_reject(p, HD_REJECT_VERSION, why);
}

/* Bytes that are no frame, or a peer that does not read: unlike a machine that died. */
static bool is_own_doing(int code)
{
    return code == HD_E_PROTO || code == HD_E_LIMIT;
}

static void on_close(void *arg, struct hd_conn *c, int code, const char *why)
{
    struct hd_peer *p = arg;
    struct hd_leader *l = p->leader;
    struct hd_peer **at = &l->peers;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    enum hd_log_level level = code == 0 ? HD_LOG_DEBUG : HD_LOG_INFO;
    if (code == HD_E_PROTO || code == HD_E_LIMIT) /* a person has to do something */
        level = HD_LOG_WARN;
    hd_log_write(l->o.log, level, "disconnected", "slot=%d address=%s reason=\"%s\"", p->slot,
                 hd_conn_peer(c), why);
    hd_status_peer_gone(l, p);
    bool known = p->slot >= 0 && !p->forgotten;
    if (known)
        l->slots[p->slot] = NULL;
    if (known && !l->closing) {
        struct hd_event ev = {.type = is_own_doing(code) ? HD_EV_BROKE_RULES : HD_EV_CLOSED,
                              .slot = (unsigned)p->slot};
        hd_leader_event(l, &ev);
    }
    free(p);
    hd_leader_maybe_closed(l);
}

static bool admit(void *arg, const struct sockaddr *addr)
{
    struct hd_leader *l = ((struct hd_peer *)arg)->leader;
    if (hd_admit(&l->admission, addr, hd_now_us()))
        return true;
    l->strangers.turned_away++;
    hd_address_text(addr, l->strangers.last);
    return false;
}

/* One line a second at most, however many they are. */
static void tell_of_strangers(struct hd_leader *l, uint64_t now_us)
{
    struct hd_strangers *s = &l->strangers;
    if (s->turned_away == 0 || now_us - s->told_us < 1000000)
        return;
    hd_warn(l->o.log, "turned_away",
            "connections=%" PRIu64 " last_address=%s reason=\"one address may connect %d times at "
            "once and %d times a second\"",
            s->turned_away, s->last, HD_ADMISSION_BURST, HD_ADMISSION_PER_SECOND);
    s->turned_away = 0;
    s->told_us = now_us;
}

/* Too many without a slot: the oldest of them goes. */
static void make_room(struct hd_leader *l)
{
    struct hd_peer *oldest = NULL;
    unsigned n = 0;
    for (struct hd_peer *p = l->peers; p; p = p->next)
        if (p->slot < 0 && !p->dropped) {
            oldest = p;
            n++;
        }
    if (n <= HD_MAX_HALF_OPEN)
        return;
    hd_warn(l->o.log, "too_many_strangers", "dropped=%s limit=%d", hd_conn_peer(oldest->conn),
            HD_MAX_HALF_OPEN);
    oldest->forgotten = oldest->dropped = true;
    hd_conn_drop(oldest->conn);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct hd_leader *l = listener->data;
    struct hd_error err = {0};
    if (status < 0 || l->closing)
        return;
    struct hd_peer *p = calloc(1, sizeof *p);
    if (!p) {
        hd_errlog(l->o.log, "accept_failed", "reason=\"out of memory\"");
        return;
    }
    *p = (struct hd_peer){.leader = l, .id = ++l->next_peer, .slot = -1, .since_us = hd_now_us()};
    struct hd_conn_options o = {
        .events = {.on_frame = on_frame, .on_close = on_close, .on_version = on_version},
        .arg = p,
        .limits = {.max_body = HD_FRAME_GREETING_BODY, .max_payload = 0},
        .max_queued = HD_MAX_QUEUED,
        .tls = l->tls,
        .admit = admit,
    };
    if (listener == (uv_stream_t *)&l->local_listener) { /* the file's permissions are its guard */
        o.tls = NULL;
        o.admit = NULL;
    }
    int rc = hd_conn_accept(&p->conn, listener, &o, &err);
    if (rc != 0) {
        if (rc < 0)
            hd_warn(l->o.log, "accept_failed", "reason=\"%s\"", err.text);
        free(p);
        return;
    }
    p->next = l->peers;
    l->peers = p;
    make_room(l);
}

int hd_cluster_listen(struct hd_leader *l, const struct sockaddr *addr, struct hd_error *err)
{
    int rc = uv_tcp_init(l->o.loop, &l->listener);
    if (rc < 0)
        return hd_fail(err, HD_E_IO, "cannot make a socket: %s", uv_strerror(rc));
    l->handles++;
    l->listener.data = l;
    rc = uv_tcp_bind(&l->listener, addr, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&l->listener, 128, on_connection);
    if (rc < 0)
        return hd_fail(err, HD_E_IO, "cannot listen for workers on %s: %s",
                       l->o.config->cluster_listen, uv_strerror(rc));
    return 0;
}

/* A socket file that a killed leader has left goes; one that somebody listens on does not. */
static void remove_stale(const struct sockaddr_un *addr)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    if (connect(fd, (const struct sockaddr *)addr, sizeof *addr) != 0 && errno == ECONNREFUSED)
        unlink(addr->sun_path);
    close(fd);
}

int hd_cluster_listen_local(struct hd_leader *l, struct hd_error *err)
{
    const char *path = l->o.config->cluster_socket;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (!path[0])
        return 0;
    snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
    remove_stale(&addr);
    int rc = uv_pipe_init(l->o.loop, &l->local_listener, 0);
    if (rc == 0) {
        l->handles++;
        l->local_listener.data = l;
        rc = uv_pipe_bind(&l->local_listener, path);
    }
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&l->local_listener, 128, on_connection);
    return rc == 0 ? 0
                   : hd_fail(err, HD_E_IO, "cluster.socket: cannot listen on %s: %s", path,
                             uv_strerror(rc));
}

void hd_cluster_check_greetings(struct hd_leader *l, uint64_t now_us)
{
    for (struct hd_peer *p = l->peers; p; p = p->next)
        if (p->slot < 0 && !p->forgotten && now_us - p->since_us > HD_GREETING_US)
            hd_peer_broke_rules(p, "said no Hello in time");
    tell_of_strangers(l, now_us);
}

void hd_cluster_close(struct hd_leader *l)
{
    for (struct hd_peer *p = l->peers; p; p = p->next) {
        if (!p->forgotten)
            hd_send_reject(p, HD_REJECT_SHUTDOWN, "the leader is stopping");
        hd_conn_close(p->conn, true);
    }
}
