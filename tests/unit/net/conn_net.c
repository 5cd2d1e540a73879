/* conn_net.c - two ends on one loop, with counters of all that their callbacks were told. */
#include "conn_net.h"

#include "hydac.pb-c.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

const struct hd_frame_limits conn_limits = {4096, 64u << 20};

static void on_open(void *arg, struct hd_conn *c)
{
    struct side *s = arg;
    cr_assert_eq(s->conn, c);
    cr_assert_eq(s->opened + s->closed, 0);
    s->opened++;
}

static void send_back(struct side *s, const struct hd_frame *f)
{
    struct hd_shared *payload = hd_shared_new(f->payload_len);
    memcpy(hd_shared_data(payload), f->payload, f->payload_len);
    Hydac__V1__Step *m = hydac__v1__step__unpack(NULL, f->body_len, f->body);
    cr_assert_not_null(m);
    cr_assert_eq(hd_conn_send(s->conn, f->type, &m->base, payload), 0);
    hydac__v1__step__free_unpacked(m, NULL);
    hd_shared_unref(payload);
}

static void on_frame(void *arg, struct hd_conn *c, struct hd_frame *f)
{
    struct side *s = arg;
    cr_assert_eq(s->opened, 1);
    cr_assert_eq(s->closed, 0);
    s->frames++;
    if (s->echo)
        send_back(s, f);
    if (f->type == HD_FRAME_STEP) {
        hd_frame_clear(&s->step);
        s->step = *f;
    } else {
        hd_frame_clear(f);
    }
    if (s->close_on_frame)
        hd_conn_close(c, false);
}

static void on_close(void *arg, struct hd_conn *c, int code, const char *why)
{
    struct side *s = arg;
    cr_assert_eq(s->closed, 0, "on_close twice");
    s->closed++;
    s->code = code;
    s->conn = NULL;
    strncpy(s->why, why, sizeof s->why - 1);
}

static void on_version(void *arg, struct hd_conn *c, unsigned version, const char *why)
{
    struct side *s = arg;
    s->versions += (int)version;
    if (!s->reject_version)
        return;
    Hydac__V1__Reject m = HYDAC__V1__REJECT__INIT;
    m.code = HD_REJECT_VERSION;
    m.reason = (char *)why;
    cr_assert_eq(hd_conn_send(c, HD_FRAME_REJECT, &m.base, NULL), 0);
}

struct hd_conn_options options(struct net *n, struct side *s)
{
    return (struct hd_conn_options){.events = {on_open, on_frame, on_close, on_version},
                                    .arg = s,
                                    .limits = conn_limits,
                                    .max_queued = n->max_queued};
}

static void accept_one(uv_stream_t *listener, int status)
{
    struct net *n = listener->data;
    struct side *s = &n->server[n->n_server++];
    struct hd_error err = {0};
    *s = n->model;
    struct hd_conn_options o = options(n, s);
    o.tls = n->tls;
    cr_assert_eq(status, 0);
    cr_assert_eq(hd_conn_accept(&s->conn, listener, &o, &err), 0, "%s", err.text);
    cr_assert_eq(s->opened, 0);
}

static void begin(struct net *n)
{
    signal(SIGPIPE, SIG_IGN);
    *n = (struct net){.max_queued = 256u << 20};
    uv_loop_init(&n->loop);
}

static void listen_now(struct net *n)
{
    n->listener.stream.data = n;
    cr_assert_eq(uv_listen(&n->listener.stream, 16, accept_one), 0);
}

void net_init(struct net *n)
{
    int len = sizeof n->addr.in;
    begin(n);
    uv_tcp_init(&n->loop, &n->listener.tcp);
    uv_ip4_addr("127.0.0.1", 0, &n->addr.in);
    cr_assert_eq(uv_tcp_bind(&n->listener.tcp, &n->addr.any, 0), 0);
    listen_now(n);
    uv_tcp_getsockname(&n->listener.tcp, &n->addr.any, &len);
}

void net_init_local(struct net *n)
{
    begin(n);
    n->addr.un.sun_family = AF_UNIX;
    snprintf(n->addr.un.sun_path, sizeof n->addr.un.sun_path, "/tmp/hydac-test-%d.sock",
             (int)getpid());
    uv_pipe_init(&n->loop, &n->listener.local, 0);
    cr_assert_eq(uv_pipe_bind(&n->listener.local, n->addr.un.sun_path), 0);
    listen_now(n);
}

void net_deinit(struct net *n)
{
    uv_close((uv_handle_t *)&n->listener.stream, NULL);
    for (size_t i = 0; i < n->n_server; i++)
        if (n->server[i].conn)
            hd_conn_close(n->server[i].conn, false);
    uv_run(&n->loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&n->loop), 0);
    for (size_t i = 0; i < n->n_server; i++) {
        cr_assert_eq(n->server[i].closed, 1);
        hd_frame_clear(&n->server[i].step);
    }
}

void connect_side(struct net *n, struct side *s)
{
    struct hd_error err = {0};
    struct hd_conn_options o = options(n, s);
    o.tls = s->tls;
    cr_assert_eq(hd_conn_connect(&s->conn, &n->loop, &n->addr.any, &o, &err), 0, "%s", err.text);
    cr_assert_eq(s->opened, 0);
}

int raw_peer(struct net *n)
{
    size_t before = n->n_server;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, &n->addr.any, sizeof n->addr.in), 0);
    RUN_UNTIL(n, n->n_server > before && (n->tls || n->server[before].opened));
    return fd;
}

void raw_write(int fd, const void *data, size_t len)
{
    cr_assert_eq(write(fd, data, len), (ssize_t)len);
}

int send_heartbeat(struct hd_conn *c, uint64_t seq)
{
    Hydac__V1__Heartbeat m = HYDAC__V1__HEARTBEAT__INIT;
    m.seq = seq;
    return hd_conn_send(c, HD_FRAME_HEARTBEAT, &m.base, NULL);
}

int send_step(struct hd_conn *c, uint64_t step, struct hd_shared *payload)
{
    Hydac__V1__Step m = HYDAC__V1__STEP__INIT;
    m.step = step;
    return hd_conn_send(c, HD_FRAME_STEP, &m.base, payload);
}

struct hd_shared *pattern(size_t len)
{
    struct hd_shared *s = hd_shared_new(len);
    cr_assert_not_null(s);
    for (size_t i = 0; i < len; i++)
        hd_shared_data(s)[i] = (uint8_t)(i * 31 + i / 251);
    return s;
}
