/* conn.c - see conn.h for the happy path and the failure modes.
 *
 * Closing: `closing` is set once, by end(), with the code and the sentence for on_close. With
 * `flush` the socket stays: what is queued is written, our side is shut down, and what the peer
 * still sends is read and dropped until it closes too (closing a socket with unread bytes resets
 * it, and the reset would take the Reject with it), for FLUSH_MS at most. Then hd_conn_finish()
 * closes the handles; libuv fails what is still being written and calls handle_closed last. */
#include "common/net/conn_impl.h"

#include "common/net/tls.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define FLUSH_MS 1000

static void alloc_buffer(uv_handle_t *h, size_t suggested, uv_buf_t *buf);
static void read_done(uv_stream_t *s, ssize_t n, const uv_buf_t *buf);

/* ---- Closing ------------------------------------------------------------------------------- */

static void handle_closed(uv_handle_t *h)
{
    struct hd_conn *c = h->data;
    if (--c->handles > 0)
        return;
    hd_decoder_deinit(&c->decoder);
    hd_conn_tls_deinit(c);
    if (!c->silent)
        c->o.events.on_close(c->o.arg, c, c->code, c->why.text);
    free(c);
}

void hd_conn_finish(struct hd_conn *c)
{
    if (c->finishing)
        return;
    c->finishing = true;
    c->flushing = false;
    uv_close((uv_handle_t *)&c->timer, handle_closed);
    uv_close((uv_handle_t *)&c->socket, handle_closed);
}

static void flush_late(uv_timer_t *t)
{
    hd_conn_finish(t->data);
}

static void shut_down(uv_shutdown_t *req, int status)
{
    struct hd_conn *c = req->data;
    if (status < 0)
        hd_conn_finish(c);
}

void hd_conn_maybe_shut_down(struct hd_conn *c)
{
    if (!c->flushing || c->shut || c->queued > 0)
        return;
    c->shut = true;
    if (c->tls)
        hd_conn_tls_goodbye(c);
    if (c->finishing)
        return;
    c->shutdown.data = c;
    if (uv_shutdown(&c->shutdown, &c->socket.stream, shut_down) < 0)
        hd_conn_finish(c);
}

static void begin_flush(struct hd_conn *c)
{
    c->flushing = true;
    uv_timer_start(&c->timer, flush_late, FLUSH_MS, 0);
    int rc = uv_read_start(&c->socket.stream, alloc_buffer, read_done);
    if (rc < 0 && rc != UV_EALREADY)
        hd_conn_finish(c);
    else if (c->tls)
        hd_conn_tls_flush(c);
    else
        hd_conn_maybe_shut_down(c);
}

void hd_conn_end(struct hd_conn *c, int code, bool flush)
{
    if (c->closing)
        return;
    c->closing = true;
    c->code = code;
    if (flush && c->connected)
        begin_flush(c);
    else
        hd_conn_finish(c);
}

void hd_conn_end_io(struct hd_conn *c, const char *what, int status)
{
    if (c->closing)
        return;
    hd_fail(&c->why, HD_E_IO, "%s %s: %s", what, c->peer, uv_strerror(status));
    hd_conn_end(c, HD_E_IO, false);
}

void hd_conn_close(struct hd_conn *c, bool flush)
{
    if (!c->closing)
        hd_fail(&c->why, 0, "closed on this side");
    hd_conn_end(c, 0, flush);
}

void hd_conn_drop(struct hd_conn *c)
{
    hd_conn_close(c, false);
    hd_conn_finish(c);
}

/* ---- Reading ------------------------------------------------------------------------------- */

static void alloc_buffer(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct hd_conn *c = h->data;
    size_t room = 0;
    uint8_t *payload = c->tls ? NULL : hd_decoder_room(&c->decoder, &room);
    *buf = uv_buf_init(c->buffer, sizeof c->buffer);
    if (payload && room > sizeof c->buffer)
        *buf = uv_buf_init((char *)payload, room < UINT_MAX ? (unsigned)room : UINT_MAX);
}

static void end_bad_frame(struct hd_conn *c, int code)
{
    const uv_buf_t refusal = uv_buf_init((char *)hd_tls_refusal, HD_TLS_REFUSAL_LEN);
    unsigned version = c->decoder.other_version;
    hd_fail_in(&c->why, "%s", c->peer);
    if (version && c->o.events.on_version)
        c->o.events.on_version(c->o.arg, c, version, c->why.text);
    bool answer = c->decoder.client_hello && !c->tls;
    if (answer) /* what the socket does not take at once, it shall not have */
        uv_try_write(&c->socket.stream, &refusal, 1);
    hd_conn_end(c, code, version != 0 || answer);
}

void hd_conn_take_frames(struct hd_conn *c, const uint8_t *data, size_t len)
{
    struct hd_frame frame;
    while (len > 0 && !c->closing) {
        int rc = hd_decoder_feed(&c->decoder, &data, &len, &frame, &c->why);
        if (rc < 0)
            end_bad_frame(c, rc);
        else if (rc > 0)
            c->o.events.on_frame(c->o.arg, c, &frame);
    }
}

void hd_conn_peer_ended(struct hd_conn *c)
{
    const char *when = "";
    if (c->tls && !hd_tls_ready(c->tls))
        when = " during the TLS handshake";
    else if (c->decoder.have > 0)
        when = " in the middle of a frame";
    hd_fail(&c->why, HD_E_IO, "%s closed the connection%s", c->peer, when);
    hd_conn_end(c, HD_E_IO, false);
}

static void take_bytes(struct hd_conn *c, const char *bytes, size_t len)
{
    c->in += len;
    if (c->closing) /* flushing */
        return;
    if (c->tls)
        hd_conn_tls_take(c, len);
    else
        hd_conn_take_frames(c, (const uint8_t *)bytes, len);
}

static void read_done(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct hd_conn *c = s->data;
    if (n >= 0)
        take_bytes(c, buf->base, (size_t)n);
    else if (c->flushing)
        hd_conn_finish(c);
    else if (n == UV_EOF)
        hd_conn_peer_ended(c); /* with or without a close_notify: it is gone */
    else
        hd_conn_end_io(c, "cannot read from", (int)n);
}

/* ---- Opening ------------------------------------------------------------------------------- */

void hd_conn_opened(struct hd_conn *c)
{
    c->opened = true;
    if (c->o.events.on_open)
        c->o.events.on_open(c->o.arg, c);
}

static bool is_local(const struct hd_conn *c)
{
    return c->socket.stream.type == UV_NAMED_PIPE;
}

static void start_reading(struct hd_conn *c)
{
    c->connected = true;
    int rc = is_local(c) ? 0 : uv_tcp_nodelay(&c->socket.tcp, 1);
    if (rc == 0)
        rc = uv_read_start(&c->socket.stream, alloc_buffer, read_done);
    if (rc < 0)
        hd_conn_end_io(c, "cannot use the connection to", rc);
    else if (c->tls)
        hd_conn_tls_pump(c); /* what the handshake begins with */
    else
        hd_conn_opened(c);
}

static void accepted(uv_timer_t *t)
{
    start_reading(t->data);
}

static void connected(uv_connect_t *req, int status)
{
    struct hd_conn *c = req->data;
    if (c->closing)
        return;
    if (status < 0)
        hd_conn_end_io(c, "cannot connect to", status);
    else
        start_reading(c);
}

/* A conn that is not connected yet. From here on only hd_conn_finish() frees it. */
static int conn_new(struct hd_conn **out, uv_loop_t *loop, bool local,
                    const struct hd_conn_options *o, struct hd_error *err)
{
    struct hd_conn *c = malloc(sizeof *c);
    if (!c)
        return hd_fail(err, HD_E_NOMEM, "out of memory for a connection");
    memset(c, 0, offsetof(struct hd_conn, buffer));
    int rc = local ? uv_pipe_init(loop, &c->socket.local, 0) : uv_tcp_init(loop, &c->socket.tcp);
    if (rc < 0) {
        free(c);
        return hd_fail(err, HD_E_IO, "cannot make a socket: %s", uv_strerror(rc));
    }
    uv_timer_init(loop, &c->timer);
    c->handles = 2;
    c->socket.stream.data = c->timer.data = c->connect.data = c;
    c->o = *o;
    hd_decoder_init(&c->decoder, o->limits);
    c->last = &c->first;
    *out = c;
    return 0;
}

/* A start function failed: no callback may fire. */
static void abandon(struct hd_conn *c)
{
    c->silent = c->closing = true;
    hd_conn_finish(c);
}

static int give_up(struct hd_conn *c, const char *what, int status, struct hd_error *err)
{
    abandon(c);
    return hd_fail(err, status == UV_ENOMEM ? HD_E_NOMEM : HD_E_IO, "%s: %s", what,
                   uv_strerror(status));
}

int hd_conn_accept(struct hd_conn **out, uv_stream_t *listener, const struct hd_conn_options *o,
                   struct hd_error *err)
{
    struct hd_conn *c;
    struct sockaddr_storage peer = {0};
    int len = sizeof peer;
    int rc = conn_new(&c, listener->loop, listener->type == UV_NAMED_PIPE, o, err);
    if (rc < 0)
        return rc;
    rc = uv_accept(listener, &c->socket.stream);
    if (rc < 0)
        return give_up(c, "cannot accept a connection", rc, err);
    c->connected = true;
    /* A peer that is gone already has no address; the first read will tell. */
    if (is_local(c))
        peer.ss_family = AF_UNIX;
    else
        uv_tcp_getpeername(&c->socket.tcp, (struct sockaddr *)&peer, &len);
    hd_address_text((const struct sockaddr *)&peer, c->peer);
    rc = o->admit && !o->admit(o->arg, (const struct sockaddr *)&peer) ? HD_CONN_NOT_ADMITTED : 0;
    if (rc == 0)
        rc = hd_conn_tls_init(c, true, err);
    if (rc != 0) {
        abandon(c);
        return rc;
    }
    uv_timer_start(&c->timer, accepted, 0, 0);
    *out = c;
    return 0;
}

int hd_conn_connect(struct hd_conn **out, uv_loop_t *loop, const struct sockaddr *addr,
                    const struct hd_conn_options *o, struct hd_error *err)
{
    struct hd_conn *c;
    bool local = addr->sa_family == AF_UNIX;
    int rc = conn_new(&c, loop, local, o, err);
    if (rc < 0)
        return rc;
    hd_address_text(addr, c->peer);
    rc = hd_conn_tls_init(c, false, err);
    if (rc < 0) {
        abandon(c);
        return rc;
    }
    if (local) /* what is wrong comes to `connected` */
        uv_pipe_connect(&c->connect, &c->socket.local, ((const struct sockaddr_un *)addr)->sun_path,
                        connected);
    else
        rc = uv_tcp_connect(&c->connect, &c->socket.tcp, addr, connected);
    if (rc < 0)
        return give_up(c, "cannot connect", rc, err);
    *out = c;
    return 0;
}

/* ---- Views --------------------------------------------------------------------------------- */

void hd_conn_set_limits(struct hd_conn *c, struct hd_frame_limits limits)
{
    c->decoder.limits = limits;
}

const char *hd_conn_peer(const struct hd_conn *c)
{
    return c->peer;
}

size_t hd_conn_queued(const struct hd_conn *c)
{
    return c->queued;
}

uint64_t hd_conn_bytes_out(const struct hd_conn *c)
{
    return c->out;
}

uint64_t hd_conn_bytes_in(const struct hd_conn *c)
{
    return c->in;
}

uint64_t hd_conn_bytes_taken(const struct hd_conn *c)
{
    return c->taken;
}
