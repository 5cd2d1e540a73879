/* conn_net.h - connections of a test: a listener, what it accepts, and what each side has seen. */
#ifndef TEST_CONN_NET_H
#define TEST_CONN_NET_H

#include "common/net/conn.h"
#include "common/net/tls.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/un.h>

#define MAX_SIDES 8

extern const struct hd_frame_limits conn_limits;

/* What one conn has seen. */
struct side {
    struct hd_conn *conn;
    int opened, closed, code, versions;
    unsigned frames;
    char why[512];
    struct hd_frame step; /* the latest Step, owned */
    bool echo;            /* send every frame back */
    bool close_on_frame;
    bool reject_version;
    struct hd_tls_context *tls; /* of a conn that connects, or NULL */
};

struct net {
    uv_loop_t loop;
    union {
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t local;
    } listener;
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_un un;
    } addr;
    size_t max_queued;
    struct hd_tls_context *tls;    /* of accepted conns, or NULL */
    struct side server[MAX_SIDES]; /* accepted, in order */
    size_t n_server;
    struct side model; /* the behaviour of accepted conns */
};

void net_init(struct net *n);
/* The same on a Unix socket. */
void net_init_local(struct net *n);
/* Closes what is left, runs the loop dry and checks that nothing holds it. */
void net_deinit(struct net *n);
void connect_side(struct net *n, struct side *s);
/* A plain blocking socket that is connected to the listener, and accepted there. */
int raw_peer(struct net *n);
void raw_write(int fd, const void *data, size_t len);
int send_heartbeat(struct hd_conn *c, uint64_t seq);
int send_step(struct hd_conn *c, uint64_t step, struct hd_shared *payload);
struct hd_shared *pattern(size_t len);
struct hd_conn_options options(struct net *n, struct side *s);

#define RUN_UNTIL(n, condition)                                                                    \
    while (!(condition))                                                                           \
    uv_run(&(n)->loop, UV_RUN_ONCE)

#endif
