/* Connections through TLS, and what happens when only one side has a key. */
#include "conn_net.h"

#include "hydac.pb-c.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct hd_tls_context *context(int fill)
{
    struct hd_tls_context *c;
    struct hd_error err = {0};
    struct hd_key key;
    memset(&key, fill, sizeof key);
    cr_assert_eq(hd_tls_context_new(&c, &key, &err), 0, "%s", err.text);
    return c;
}

static void tls_net_init(struct net *n, struct side *client)
{
    net_init(n);
    n->tls = context(1);
    client->tls = context(1);
}

static void tls_net_deinit(struct net *n, struct side *client)
{
    net_deinit(n);
    hd_tls_context_free(n->tls);
    hd_tls_context_free(client->tls);
    hd_frame_clear(&client->step);
}

TestSuite(conn_tls, .timeout = 60);

Test(conn_tls, echo)
{
    struct net n;
    struct side client = {0};
    tls_net_init(&n, &client);
    n.model.echo = true;
    connect_side(&n, &client);
    struct hd_shared *payload = pattern(1000);
    cr_assert_eq(send_step(client.conn, 7, payload), 0); /* waits for the handshake */
    cr_assert_gt(hd_conn_queued(client.conn), 1000);
    RUN_UNTIL(&n, client.frames == 1);
    cr_assert_eq(client.opened, 1);
    cr_assert_eq(n.server[0].opened, 1);
    cr_assert_eq(client.step.payload_len, 1000);
    cr_assert(memcmp(client.step.payload, hd_shared_data(payload), 1000) == 0);
    cr_assert_eq(hd_conn_queued(client.conn), 0);
    cr_assert_gt(hd_conn_bytes_out(client.conn), 1000);
    hd_shared_unref(payload);
    hd_conn_close(client.conn, false);
    RUN_UNTIL(&n, client.closed && n.server[0].closed);
    cr_assert_eq(client.code, 0);
    cr_assert_eq(n.server[0].code, HD_E_IO);
    cr_assert_not_null(strstr(n.server[0].why, "closed the connection"), "%s", n.server[0].why);
    tls_net_deinit(&n, &client);
}

/* Many small frames behind a large one, both ways at once: in order, whole, and while they wait the
 * connection keeps no second copy of the payload. */
Test(conn_tls, large_and_many)
{
    enum { LEN = 32 << 20, SMALL = 5000 };
    struct net n;
    struct side client = {0};
    tls_net_init(&n, &client);
    connect_side(&n, &client);
    RUN_UNTIL(&n, n.n_server == 1 && n.server[0].opened);
    struct hd_shared *payload = pattern(LEN);
    struct hd_conn *ends[2] = {client.conn, n.server[0].conn};
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(send_step(ends[i], 1, payload), 0);
        for (int k = 0; k < SMALL; k++)
            cr_assert_eq(send_heartbeat(ends[i], (uint64_t)k), 0);
        cr_assert_gt(hd_conn_queued(ends[i]), 0);
    }
    RUN_UNTIL(&n, client.frames == SMALL + 1 && n.server[0].frames == SMALL + 1);
    cr_assert_eq(client.step.payload_len, LEN);
    cr_assert(memcmp(client.step.payload, hd_shared_data(payload), LEN) == 0);
    cr_assert(memcmp(n.server[0].step.payload, hd_shared_data(payload), LEN) == 0);
    RUN_UNTIL(&n, hd_conn_queued(ends[0]) == 0 && hd_conn_queued(ends[1]) == 0);
    hd_shared_unref(payload);
    hd_conn_close(client.conn, false);
    tls_net_deinit(&n, &client);
}

Test(conn_tls, flush_writes_what_is_queued)
{
    enum { LEN = 16 << 20 };
    struct net n;
    struct side client = {0};
    tls_net_init(&n, &client);
    connect_side(&n, &client);
    RUN_UNTIL(&n, client.opened && n.n_server == 1);
    struct hd_shared *payload = pattern(LEN);
    cr_assert_eq(send_step(client.conn, 1, payload), 0);
    hd_conn_close(client.conn, true);
    RUN_UNTIL(&n, n.server[0].closed && client.closed);
    cr_assert_eq(client.code, 0);
    cr_assert_eq(n.server[0].frames, 1, "%s", n.server[0].why);
    cr_assert(memcmp(n.server[0].step.payload, hd_shared_data(payload), LEN) == 0);
    hd_shared_unref(payload);
    tls_net_deinit(&n, &client);
}

Test(conn_tls, closed_before_it_opens)
{
    struct net n;
    struct side client = {0};
    tls_net_init(&n, &client);
    connect_side(&n, &client);
    cr_assert_eq(send_heartbeat(client.conn, 1), 0);
    hd_conn_close(client.conn, true);
    RUN_UNTIL(&n, client.closed);
    cr_assert_eq(client.opened, 0);
    cr_assert_eq(client.code, 0);
    tls_net_deinit(&n, &client);
}

/* A peer with the key that does not read: the socket fills, then the queue, then it is cut off. */
Test(conn_tls, who_does_not_read_is_cut_off)
{
    struct net n;
    struct side client = {0};
    tls_net_init(&n, &client);
    n.max_queued = 64u << 20;
    connect_side(&n, &client);
    RUN_UNTIL(&n, n.n_server == 1 && n.server[0].opened);
    struct side *s = &n.server[0];
    struct hd_shared *payload = pattern(1 << 20);
    int rc = 0;
    for (int i = 0; i < 1000 && rc == 0; i++) { /* the loop does not run: nobody reads */
        cr_assert_leq(hd_conn_queued(s->conn), n.max_queued);
        rc = send_step(s->conn, 1, payload);
    }
    cr_assert_eq(rc, HD_E_LIMIT);
    cr_assert_eq(send_step(s->conn, 1, payload), HD_E_STATE);
    RUN_UNTIL(&n, s->closed);
    cr_assert_eq(s->code, HD_E_LIMIT);
    cr_assert_not_null(strstr(s->why, "does not read"), "%s", s->why);
    hd_shared_unref(payload);
    RUN_UNTIL(&n, client.closed);
    cr_assert_not_null(strstr(client.why, "closed the connection"), "%s", client.why);
    tls_net_deinit(&n, &client);
}

/* What both sides say at the end; either context may be NULL. */
static void expect_ends(struct hd_tls_context *client_tls, struct hd_tls_context *server_tls,
                        const char *client_why, const char *server_why)
{
    struct net n;
    struct side client = {.tls = client_tls};
    net_init(&n);
    n.tls = server_tls;
    connect_side(&n, &client);
    cr_assert_eq(send_heartbeat(client.conn, 1), 0);
    RUN_UNTIL(&n, client.closed && n.n_server == 1 && n.server[0].closed);
    cr_assert_eq(client.code, HD_E_PROTO, "%s", client.why);
    cr_assert_eq(n.server[0].code, HD_E_PROTO, "%s", n.server[0].why);
    cr_assert_not_null(strstr(client.why, client_why), "%s", client.why);
    cr_assert_not_null(strstr(n.server[0].why, server_why), "%s", n.server[0].why);
    cr_assert_eq(client.frames + n.server[0].frames, 0);
    if (client_tls)
        cr_assert_eq(client.opened, 0);
    net_deinit(&n);
}

Test(conn_tls, keys_that_do_not_fit)
{
    struct hd_tls_context *one = context(1), *two = context(2);
    expect_ends(one, two, "the leader has another cluster key", "the peer has another cluster key");
    expect_ends(one, NULL, "the other side speaks without TLS",
                "the peer speaks TLS and this side");
    expect_ends(NULL, one, "the peer speaks TLS and this side",
                "the other side speaks without TLS");
    hd_tls_context_free(one);
    hd_tls_context_free(two);
}

/* The TCP connection ends without a close_notify, at any point of the handshake or behind it. */
Test(conn_tls, truncation)
{
    for (size_t cut = 0; cut < 3; cut++) {
        static const size_t sent[] = {0, 1, 100};
        uint8_t hello[400] = {22, 3, 1, 1, 0x8b, 1, 0, 1, 0x87, 3, 3};
        struct net n;
        struct side client = {0};
        tls_net_init(&n, &client);
        int fd = raw_peer(&n);
        raw_write(fd, hello, sent[cut]);
        shutdown(fd, SHUT_WR);
        RUN_UNTIL(&n, n.server[0].closed);
        cr_assert_eq(n.server[0].code, HD_E_IO, "%s", n.server[0].why);
        cr_assert_not_null(strstr(n.server[0].why, "during the TLS handshake"), "%s",
                           n.server[0].why);
        close(fd);
        tls_net_deinit(&n, &client);
    }
}

/* The refusal of a stranger does not wait for him. */
Test(conn_tls, drop_ends_a_flush)
{
    struct net n;
    struct side client = {0};
    tls_net_init(&n, &client);
    int fd = raw_peer(&n);
    raw_write(fd, "GET / HTTP/1.1\r\n\r\n", 18);
    uv_run(&n.loop, UV_RUN_ONCE);
    hd_conn_drop(n.server[0].conn);
    uv_run(&n.loop, UV_RUN_NOWAIT);
    cr_assert_eq(n.server[0].closed, 1);
    close(fd);
    tls_net_deinit(&n, &client);
}

static bool nobody(void *arg, const struct sockaddr *peer)
{
    cr_assert_eq(peer->sa_family, AF_INET);
    return false;
}

static void accept_nobody(uv_stream_t *listener, int status)
{
    struct net *n = listener->data;
    struct side s = {0};
    struct hd_error err = {0};
    struct hd_conn_options o = options(n, &s);
    o.tls = n->tls;
    o.admit = nobody;
    cr_assert_eq(hd_conn_accept(&s.conn, listener, &o, &err), HD_CONN_NOT_ADMITTED);
    cr_assert_null(s.conn);
}

Test(conn_tls, who_is_not_admitted)
{
    struct net n;
    struct side client = {0};
    tls_net_init(&n, &client);
    n.listener.stream.connection_cb = accept_nobody;
    connect_side(&n, &client);
    RUN_UNTIL(&n, client.closed);
    cr_assert_eq(client.code, HD_E_IO);
    tls_net_deinit(&n, &client);
}
