/* Connections over real sockets on the loopback, always port 0. The peers that misbehave are plain
 * sockets. */
#include "conn_net.h"

#include "common/net/address.h"
#include "hydac.pb-c.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

TestSuite(conn, .timeout = 60);

static void check_echo(struct net *n)
{
    struct side client = {0};
    n->model.echo = true;
    connect_side(n, &client);
    struct hd_shared *payload = pattern(1000);
    cr_assert_eq(send_step(client.conn, 7, payload), 0); /* before it is open */
    RUN_UNTIL(n, client.frames == 1);
    cr_assert_eq(client.opened, 1);
    Hydac__V1__Step *m = hydac__v1__step__unpack(NULL, client.step.body_len, client.step.body);
    cr_assert_eq(m->step, 7);
    hydac__v1__step__free_unpacked(m, NULL);
    cr_assert_eq(client.step.payload_len, 1000);
    cr_assert(memcmp(client.step.payload, hd_shared_data(payload), 1000) == 0);
    uint64_t bytes = HD_FRAME_HEADER + client.step.body_len + 1000;
    cr_assert_eq(hd_conn_bytes_out(client.conn), bytes);
    cr_assert_eq(hd_conn_bytes_in(client.conn), bytes);
    cr_assert_eq(hd_conn_queued(client.conn), 0);
    char text[HD_ADDRESS_TEXT];
    cr_assert_str_eq(hd_conn_peer(client.conn), hd_address_text(&n->addr.any, text));

    hd_conn_close(client.conn, false);
    hd_conn_close(client.conn, true);
    cr_assert_eq(client.closed, 0);
    cr_assert_eq(send_heartbeat(client.conn, 1), HD_E_STATE);
    RUN_UNTIL(n, client.closed && n->server[0].closed);
    cr_assert_eq(client.code, 0);
    cr_assert_eq(n->server[0].code, HD_E_IO);
    cr_assert_not_null(strstr(n->server[0].why, "closed the connection"), "%s", n->server[0].why);
    hd_frame_clear(&client.step);
    hd_shared_unref(payload);
    net_deinit(n);
}

Test(conn, echo)
{
    struct net n;
    net_init(&n);
    check_echo(&n);
}

Test(conn, echo_over_a_unix_socket)
{
    struct net n;
    net_init_local(&n);
    check_echo(&n);
}

Test(conn, one_payload_to_three_peers)
{
    enum { LEN = 16 << 20 }; /* more than the sockets' buffers */
    struct net n;
    struct side client[3] = {0};
    net_init(&n);
    for (int i = 0; i < 3; i++)
        connect_side(&n, &client[i]);
    RUN_UNTIL(&n, n.n_server == 3);
    struct hd_shared *payload = pattern(LEN);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(send_step(n.server[i].conn, 1, payload), 0);
        cr_assert_gt(hd_conn_queued(n.server[i].conn), 0);
        cr_assert_eq(send_heartbeat(n.server[i].conn, 1), 0); /* behind it, not past it */
    }
    struct hd_shared *own = hd_shared_ref(payload);
    hd_shared_unref(payload);
    for (int i = 0; i < 3; i++) {
        RUN_UNTIL(&n, client[i].frames == 2);
        cr_assert_eq(client[i].step.payload_len, LEN);
        cr_assert(memcmp(client[i].step.payload, hd_shared_data(own), LEN) == 0);
        RUN_UNTIL(&n, hd_conn_queued(n.server[i].conn) == 0);
        hd_conn_close(client[i].conn, false);
    }
    hd_shared_unref(own);
    net_deinit(&n);
    for (int i = 0; i < 3; i++)
        hd_frame_clear(&client[i].step);
}

Test(conn, shared_payload)
{
    struct hd_shared *s = hd_shared_new(100);
    cr_assert_eq((uintptr_t)hd_shared_data(s) % 64, 0);
    cr_assert_eq(hd_shared_len(s), 100);
    hd_shared_unref(hd_shared_ref(s));
    hd_shared_unref(s);
    hd_shared_unref(NULL);
    cr_assert_null(hd_shared_new(SIZE_MAX));
}

Test(conn, who_does_not_read_is_cut_off)
{
    struct net n;
    net_init(&n);
    n.max_queued = 1 << 20;
    int fd = raw_peer(&n);
    struct side *s = &n.server[0];
    struct hd_shared *payload = pattern(100000);
    int rc = 0;
    for (int i = 0; i < 10000 && rc == 0; i++) {
        cr_assert_leq(hd_conn_queued(s->conn), n.max_queued);
        rc = send_step(s->conn, 1, payload);
    }
    cr_assert_eq(rc, HD_E_LIMIT);
    cr_assert_eq(s->closed, 0);
    cr_assert_eq(send_step(s->conn, 1, payload), HD_E_STATE);
    RUN_UNTIL(&n, s->closed);
    cr_assert_eq(s->code, HD_E_LIMIT);
    cr_assert_not_null(strstr(s->why, "does not read"), "%s", s->why);
    hd_shared_unref(payload);
    close(fd);
    net_deinit(&n);
}

static void expect_end(const void *bytes, size_t len, int code, const char *why)
{
    struct net n;
    net_init(&n);
    int fd = raw_peer(&n);
    raw_write(fd, bytes, len);
    shutdown(fd, SHUT_WR);
    RUN_UNTIL(&n, n.server[0].closed);
    cr_assert_eq(n.server[0].code, code, "%s", n.server[0].why);
    cr_assert_not_null(strstr(n.server[0].why, why), "%s", n.server[0].why);
    cr_assert_eq(n.server[0].frames, 0);
    close(fd);
    net_deinit(&n);
}

Test(conn, peers_that_break_the_rules)
{
    uint8_t header[HD_FRAME_HEADER];
    struct hd_piece none = {0};
    hd_frame_header(header, HD_FRAME_HEARTBEAT, none, NULL, 0);
    expect_end("", 0, HD_E_IO, "closed the connection");
    expect_end(header, 10, HD_E_IO, "in the middle of a frame");
    expect_end("GET / HTTP/1.1\r\n\r\n", 18, HD_E_PROTO, "does not speak hydac's protocol");
    header[9] = 0xff;
    expect_end(header, sizeof header, HD_E_LIMIT, "Heartbeat frame with a body of 65280 bytes");
    hd_frame_header(header, HD_FRAME_HEARTBEAT, none, NULL, 0);
    header[20] ^= 1;
    expect_end(header, sizeof header, HD_E_PROTO, "checksum");
}

/* The refusal reaches a peer of another version whole, though it goes on sending. */
Test(conn, another_version_gets_its_answer)
{
    struct net n;
    uint8_t hello[4000] = {'H', 'D', 'A', 'C', 9};
    uint8_t answer[4096];
    net_init(&n);
    n.model.reject_version = true;
    int fd = raw_peer(&n);
    raw_write(fd, hello, sizeof hello);
    RUN_UNTIL(&n, n.server[0].versions);
    raw_write(fd, hello, sizeof hello);
    size_t got = 0;
    ssize_t r;
    while ((r = read(fd, answer + got, sizeof answer - got)) > 0) {
        got += (size_t)r;
        uv_run(&n.loop, UV_RUN_NOWAIT);
    }
    cr_assert_eq(r, 0, "the connection was reset");
    const uint8_t *p = answer;
    struct hd_decoder d;
    struct hd_frame f;
    struct hd_error err = {0};
    hd_decoder_init(&d, conn_limits);
    cr_assert_eq(hd_decoder_feed(&d, &p, &got, &f, &err), 1, "%s", err.text);
    cr_assert_eq(f.type, HD_FRAME_REJECT);
    hd_frame_clear(&f);
    hd_decoder_deinit(&d);
    close(fd);
    RUN_UNTIL(&n, n.server[0].closed);
    cr_assert_eq(n.server[0].versions, 9);
    cr_assert_eq(n.server[0].code, HD_E_PROTO);
    net_deinit(&n);
}

Test(conn, close_inside_on_frame)
{
    struct net n;
    uint8_t two[2 * HD_FRAME_HEADER];
    struct hd_piece none = {0};
    hd_frame_header(two, HD_FRAME_HEARTBEAT, none, NULL, 0);
    memcpy(two + HD_FRAME_HEADER, two, HD_FRAME_HEADER);
    net_init(&n);
    n.model.close_on_frame = true;
    int fd = raw_peer(&n);
    raw_write(fd, two, sizeof two);
    RUN_UNTIL(&n, n.server[0].closed);
    cr_assert_eq(n.server[0].frames, 1);
    cr_assert_eq(n.server[0].code, 0);
    close(fd);
    net_deinit(&n);
}

Test(conn, refused)
{
    struct net n;
    struct side client = {0};
    struct sockaddr_in addr;
    socklen_t len = sizeof addr;
    net_init(&n);
    int fd = socket(AF_INET, SOCK_STREAM, 0); /* bound, so that nobody else gets the port */
    uv_ip4_addr("127.0.0.1", 0, &addr);
    cr_assert_eq(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    getsockname(fd, (struct sockaddr *)&addr, &len);
    n.addr.in = addr;
    connect_side(&n, &client);
    cr_assert_eq(send_heartbeat(client.conn, 1), 0);
    RUN_UNTIL(&n, client.closed);
    cr_assert_eq(client.opened, 0);
    cr_assert_eq(client.code, HD_E_IO);
    cr_assert_not_null(strstr(client.why, "cannot connect to 127.0.0.1:"), "%s", client.why);
    cr_assert_not_null(strstr(client.why, "refused"), "%s", client.why);
    close(fd);
    net_deinit(&n);
}

Test(conn, closed_before_it_opens)
{
    struct net n;
    struct side client = {0};
    net_init(&n);
    connect_side(&n, &client);
    cr_assert_eq(send_heartbeat(client.conn, 1), 0);
    hd_conn_close(client.conn, true);
    RUN_UNTIL(&n, client.closed);
    cr_assert_eq(client.opened, 0);
    cr_assert_eq(client.code, 0);
    net_deinit(&n);
}

/* A start function that fails: no callback, and nothing is left. */
Test(conn, nothing_to_accept)
{
    struct net n;
    struct side s = {0};
    struct hd_error err = {0};
    net_init(&n);
    struct hd_conn_options o = options(&n, &s);
    cr_assert_eq(hd_conn_accept(&s.conn, &n.listener.stream, &o, &err), HD_E_IO);
    cr_assert_null(s.conn);
    struct sockaddr_storage nowhere = {0};
    cr_assert_eq(hd_conn_connect(&s.conn, &n.loop, (struct sockaddr *)&nowhere, &o, &err), HD_E_IO);
    cr_assert_null(s.conn);
    net_deinit(&n);
    cr_assert_eq(s.opened + s.closed, 0);
}

Test(conn, flush_writes_what_is_queued)
{
    enum { LEN = 16 << 20 };
    struct net n;
    struct side client = {0};
    net_init(&n);
    connect_side(&n, &client);
    RUN_UNTIL(&n, client.opened && n.n_server == 1);
    struct hd_shared *payload = pattern(LEN);
    cr_assert_eq(send_step(client.conn, 1, payload), 0);
    cr_assert_gt(hd_conn_queued(client.conn), 0);
    hd_conn_close(client.conn, true);
    RUN_UNTIL(&n, n.server[0].closed && client.closed);
    cr_assert_eq(client.code, 0);
    cr_assert_eq(n.server[0].frames, 1);
    cr_assert(memcmp(n.server[0].step.payload, hd_shared_data(payload), LEN) == 0);
    hd_shared_unref(payload);
    net_deinit(&n);
}

Test(conn, flush_does_not_wait_for_ever)
{
    struct net n;
    net_init(&n);
    int fd = raw_peer(&n);
    struct hd_shared *payload = pattern(64 << 20);
    cr_assert_eq(send_step(n.server[0].conn, 1, payload), 0);
    hd_conn_close(n.server[0].conn, true);
    hd_shared_unref(payload);
    RUN_UNTIL(&n, n.server[0].closed); /* the peer never reads and never closes */
    cr_assert_eq(n.server[0].code, 0);
    close(fd);
    net_deinit(&n);
}

/* Writing to a peer that has reset the connection: an ordinary end, whoever notices first. */
Test(conn, reset_while_writing)
{
    struct net n;
    net_init(&n);
    int fd = raw_peer(&n);
    struct side *s = &n.server[0];
    struct hd_shared *payload = pattern(16 << 20);
    cr_assert_eq(send_step(s->conn, 1, payload), 0);
    cr_assert_gt(hd_conn_queued(s->conn), 0);
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
    RUN_UNTIL(&n, s->closed);
    cr_assert_eq(s->code, HD_E_IO);

    fd = raw_peer(&n);
    s = &n.server[1];
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
    cr_assert_eq(send_heartbeat(s->conn, 1), HD_E_STATE);
    RUN_UNTIL(&n, s->closed);
    cr_assert_eq(s->code, HD_E_IO);
    cr_assert_not_null(strstr(s->why, "cannot write to"), "%s", s->why);
    hd_shared_unref(payload);
    net_deinit(&n);
}
