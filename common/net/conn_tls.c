/* conn_tls.c - a connection's frames through TLS.
 *
 * Out: frames wait in plaintext (a payload is shared by all its connections) and are sealed only
 * when the socket has taken all ciphertext before them, WINDOW bytes at a time; so a connection
 * holds one window of ciphertext at most, however much waits. In: what a read brought is opened at
 * once, record by record.
 *
 * Failure modes: 1. the engine refuses what the peer sent: its alert is flushed, then the end; 2.
 * it cannot seal: the end. */
#include "common/net/conn_impl.h"

#include "common/net/tls.h"

#include <stdlib.h>
#include <string.h>

#define WINDOW                                                                                     \
    (256u << 10) /* more than a socket's buffer takes at once, so that it is kept full             \
                  */

/* Ciphertext on its way. */
struct sealed {
    uv_write_t write;
    struct hd_conn *conn;
    size_t len;
    uint8_t bytes[];
};

int hd_conn_tls_init(struct hd_conn *c, bool server, struct hd_error *err)
{
    if (!c->o.tls)
        return 0;
    return hd_tls_new(&c->tls, c->o.tls, server ? HD_TLS_SERVER : HD_TLS_CLIENT, err);
}

/* ---- Out ------------------------------------------------------------------------------------ */

static void pop(struct hd_conn *c)
{
    struct hd_outgoing *f = c->first;
    c->first = f->next;
    if (!c->first)
        c->last = &c->first;
    c->queued -= f->left;
    hd_outgoing_free(f);
}

void hd_conn_tls_deinit(struct hd_conn *c)
{
    while (c->first)
        pop(c);
    hd_tls_free(c->tls);
}

static void fail_write(struct hd_conn *c, int status)
{
    if (c->flushing)
        hd_conn_finish(c);
    else
        hd_conn_end_io(c, "cannot write to", status);
}

static void sealed_written(uv_write_t *write, int status)
{
    struct sealed *s = write->data;
    struct hd_conn *c = s->conn;
    size_t len = s->len;
    c->sealed -= len;
    free(s);
    hd_conn_written(c, len, status);
    if (status == 0)
        hd_conn_tls_pump(c);
}

static int write_later(struct hd_conn *c, const uint8_t *data, size_t len)
{
    struct sealed *s = malloc(sizeof *s + len);
    if (!s)
        return UV_ENOMEM;
    *s = (struct sealed){.write.data = s, .conn = c, .len = len};
    memcpy(s->bytes, data, len);
    uv_buf_t buf = uv_buf_init((char *)s->bytes, (unsigned)len);
    int rc = uv_write(&s->write, &c->socket.stream, &buf, 1, sealed_written);
    if (rc < 0) {
        free(s);
        return rc;
    }
    c->sealed += len;
    c->queued += len;
    return 0;
}

/* Gives the socket what the engine has made; it takes it at once or later. */
static int push(struct hd_conn *c)
{
    size_t len, sent = 0;
    const uint8_t *data = hd_tls_output(c->tls, &len);
    if (len == 0)
        return 0;
    uv_buf_t buf = uv_buf_init((char *)data, (unsigned)len);
    int rc = c->sealed > 0 ? UV_EAGAIN : uv_try_write(&c->socket.stream, &buf, 1);
    if (rc >= 0) {
        sent = (size_t)rc;
        c->out += sent;
    }
    if (rc == UV_EAGAIN || (rc >= 0 && sent < len))
        rc = write_later(c, data + sent, len - sent);
    hd_tls_output_done(c->tls);
    if (rc < 0)
        fail_write(c, rc);
    return rc < 0 ? HD_E_IO : 0;
}

/* The next bytes of the queue, at most a record's; frames that are through are freed. */
static size_t gather(struct hd_conn *c, uint8_t plain[HD_TLS_RECORD])
{
    size_t n = 0;
    while (c->first && n < HD_TLS_RECORD) {
        struct hd_outgoing *f = c->first;
        uv_buf_t bufs[2];
        hd_outgoing_pieces(f, bufs); /* at least one: a frame has its header */
        size_t part = bufs[0].len < HD_TLS_RECORD - n ? bufs[0].len : HD_TLS_RECORD - n;
        memcpy(plain + n, bufs[0].base, part);
        n += part;
        f->left -= part;
        c->queued -= part;
        if (f->left == 0)
            pop(c);
    }
    return n;
}

/* Seals a window's worth of what waits. */
static int seal(struct hd_conn *c)
{
    uint8_t plain[HD_TLS_RECORD];
    size_t len;
    while (hd_tls_ready(c->tls) && c->first && (hd_tls_output(c->tls, &len), len < WINDOW)) {
        size_t n = gather(c, plain);
        struct hd_error why = {0};
        int rc = hd_tls_write(c->tls, plain, n, &why);
        if (rc == 0)
            continue;
        if (c->flushing)
            hd_conn_finish(c);
        else if (!c->closing)
            c->why = why;
        hd_conn_end(c, rc, false);
        return rc;
    }
    return 0;
}

static bool may_write(const struct hd_conn *c)
{
    return c->connected && !c->finishing && (!c->closing || c->flushing);
}

void hd_conn_tls_pump(struct hd_conn *c)
{
    size_t len = 1;
    while (len > 0 && may_write(c) && c->sealed == 0) {
        if (seal(c) < 0)
            return;
        hd_tls_output(c->tls, &len);
        if (push(c) < 0)
            return;
    }
    hd_conn_maybe_shut_down(c);
}

int hd_conn_tls_send(struct hd_conn *c, struct hd_outgoing *f)
{
    size_t waiting = c->queued + f->left;
    if (waiting > c->o.max_queued) {
        hd_outgoing_free(f);
        return hd_conn_end_over_limit(c, waiting);
    }
    f->next = NULL;
    *c->last = f;
    c->last = &f->next;
    c->queued = waiting;
    hd_conn_tls_pump(c);
    return c->closing ? HD_E_STATE : 0;
}

void hd_conn_tls_flush(struct hd_conn *c)
{
    while (c->first && !hd_tls_ready(c->tls))
        pop(c);
    hd_conn_tls_pump(c);
}

void hd_conn_tls_goodbye(struct hd_conn *c)
{
    hd_tls_end(c->tls);
    push(c);
}

/* ---- In ------------------------------------------------------------------------------------- */

/* What the engine itself answers waits for the socket, too. */
static void check_answers(struct hd_conn *c)
{
    size_t len;
    hd_tls_output(c->tls, &len);
    if (!c->closing && c->queued + len > c->o.max_queued)
        hd_conn_end_over_limit(c, c->queued + len);
}

void hd_conn_tls_take(struct hd_conn *c, size_t len)
{
    uint8_t plain[HD_TLS_RECORD];
    size_t n = 1;
    int rc = hd_tls_feed(c->tls, c->buffer, len, &c->why);
    while (rc == 0 && n > 0 && !c->closing) {
        rc = hd_tls_read(c->tls, plain, sizeof plain, &n, &c->why);
        if (rc == 0 && !c->opened && hd_tls_ready(c->tls))
            hd_conn_opened(c);
        if (rc == 0)
            hd_conn_take_frames(c, plain, n);
    }
    if (c->closing)
        return;
    if (rc == HD_TLS_END) {
        hd_conn_peer_ended(c);
    } else if (rc < 0) {
        hd_fail_in(&c->why, "%s", c->peer);
        hd_conn_end(c, rc, true);
    } else {
        hd_conn_tls_pump(c);
        check_answers(c);
    }
}
