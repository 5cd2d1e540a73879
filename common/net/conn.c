/* conn.c - see conn.h for the happy path and the failure modes.
 *
 * Closing: `closing` is set once, by end(), with the code and the sentence for on_close. With
 * `flush` the socket stays: what is queued is written, our side is shut down, and what the peer
 * still sends is read and dropped until it closes too (closing a socket with unread bytes resets
 * it, and the reset would take the Reject with it), for FLUSH_MS at most. Then finish() closes the
 * handles; libuv fails what is still being written and calls handle_closed last. */
#include "common/net/conn.h"

#include "common/net/address.h"

#include <protobuf-c/protobuf-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLUSH_MS    1000
#define READ_BUFFER 65536 /* a whole frame of a decode step, several times over */

struct hd_conn {
    uv_tcp_t tcp;
    uv_timer_t timer; /* opens an accepted conn from the loop; later limits a flush */
    uv_connect_t connect;
    uv_shutdown_t shutdown;
    struct hd_conn_options o;
    struct hd_decoder decoder;
    char peer[HD_ADDRESS_TEXT];

    unsigned handles; /* not yet closed: tcp, timer */
    bool silent;      /* never given to a caller: no callbacks */
    bool connected;   /* there is a peer to flush to */
    bool closing;
    bool flushing;  /* closing, and the socket is still there */
    bool shut;      /* our side is shut down */
    bool finishing; /* the handles are being closed */
    int code;       /* for on_close */
    struct hd_error why;

    size_t queued; /* bytes in writes that libuv has not finished */
    uint64_t in, out;
    char buffer[READ_BUFFER];
};

/* One frame, or what is left of it, on its way out. */
struct outgoing {
    uv_write_t write;
    struct hd_conn *conn;
    struct hd_shared *payload; /* our reference, or NULL */
    size_t left;               /* bytes given to uv_write */
    size_t head_len;
    uint8_t head[]; /* header and body */
};

static void alloc_buffer(uv_handle_t *h, size_t suggested, uv_buf_t *buf);
static void read_done(uv_stream_t *s, ssize_t n, const uv_buf_t *buf);

/* ---- Closing ------------------------------------------------------------------------------- */

static void handle_closed(uv_handle_t *h)
{
    struct hd_conn *c = h->data;
    if (--c->handles > 0)
        return;
    hd_decoder_deinit(&c->decoder);
    if (!c->silent)
        c->o.events.on_close(c->o.arg, c, c->code, c->why.text);
    free(c);
}

static void finish(struct hd_conn *c)
{
    if (c->finishing)
        return;
    c->finishing = true;
    c->flushing = false;
    uv_close((uv_handle_t *)&c->timer, handle_closed);
    uv_close((uv_handle_t *)&c->tcp, handle_closed);
}

static void flush_late(uv_timer_t *t)
{
    finish(t->data);
}

static void shut_down(uv_shutdown_t *req, int status)
{
    struct hd_conn *c = req->data;
    if (status < 0)
        finish(c);
}

/* While flushing: once all is written, say so to the peer and wait for its end. */
static void maybe_shut_down(struct hd_conn *c)
{
    if (!c->flushing || c->shut || c->queued > 0)
        return;
    c->shut = true;
    c->shutdown.data = c;
    if (uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, shut_down) < 0)
        finish(c);
}

static void begin_flush(struct hd_conn *c)
{
    c->flushing = true;
    uv_timer_start(&c->timer, flush_late, FLUSH_MS, 0);
    int rc = uv_read_start((uv_stream_t *)&c->tcp, alloc_buffer, read_done);
    if (rc < 0 && rc != UV_EALREADY)
        finish(c);
    else
        maybe_shut_down(c);
}

/* Ends the conn for the reason in c->why. The first call counts. */
static void end(struct hd_conn *c, int code, bool flush)
{
    if (c->closing)
        return;
    c->closing = true;
    c->code = code;
    if (flush && c->connected)
        begin_flush(c);
    else
        finish(c);
}

static void end_io(struct hd_conn *c, const char *what, int status)
{
    if (c->closing)
        return;
    hd_fail(&c->why, HD_E_IO, "%s %s: %s", what, c->peer, uv_strerror(status));
    end(c, HD_E_IO, false);
}

void hd_conn_close(struct hd_conn *c, bool flush)
{
    if (!c->closing)
        hd_fail(&c->why, 0, "closed on this side");
    end(c, 0, flush);
}

/* ---- Reading ------------------------------------------------------------------------------- */

static void alloc_buffer(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct hd_conn *c = h->data;
    *buf = uv_buf_init(c->buffer, sizeof c->buffer);
}

static void end_bad_frame(struct hd_conn *c, int code)
{
    unsigned version = c->decoder.other_version;
    hd_fail_in(&c->why, "%s", c->peer);
    if (version && c->o.events.on_version)
        c->o.events.on_version(c->o.arg, c, version, c->why.text);
    end(c, code, version != 0);
}

static void take_bytes(struct hd_conn *c, size_t len)
{
    const uint8_t *data = (const uint8_t *)c->buffer;
    struct hd_frame frame;
    c->in += len;
    while (len > 0 && !c->closing) {
        int rc = hd_decoder_feed(&c->decoder, &data, &len, &frame, &c->why);
        if (rc < 0)
            end_bad_frame(c, rc);
        else if (rc > 0)
            c->o.events.on_frame(c->o.arg, c, &frame);
    }
}

static void read_done(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct hd_conn *c = s->data;
    if (n >= 0) {
        take_bytes(c, (size_t)n); /* nothing, while flushing */
    } else if (c->flushing) {
        finish(c);
    } else if (n == UV_EOF) {
        hd_fail(&c->why, HD_E_IO, "%s closed the connection%s", c->peer,
                c->decoder.have > 0 ? " in the middle of a frame" : "");
        end(c, HD_E_IO, false);
    } else {
        end_io(c, "cannot read from", (int)n);
    }
}

/* ---- Opening ------------------------------------------------------------------------------- */

static void opened(struct hd_conn *c)
{
    c->connected = true;
    int rc = uv_tcp_nodelay(&c->tcp, 1);
    if (rc == 0)
        rc = uv_read_start((uv_stream_t *)&c->tcp, alloc_buffer, read_done);
    if (rc < 0)
        end_io(c, "cannot use the connection to", rc);
    else if (c->o.events.on_open)
        c->o.events.on_open(c->o.arg, c);
}

static void accepted(uv_timer_t *t)
{
    opened(t->data);
}

static void connected(uv_connect_t *req, int status)
{
    struct hd_conn *c = req->data;
    if (c->closing)
        return;
    if (status < 0)
        end_io(c, "cannot connect to", status);
    else
        opened(c);
}

/* A conn without a socket. From here on only finish() frees it. */
static int conn_new(struct hd_conn **out, uv_loop_t *loop, const struct hd_conn_options *o,
                    struct hd_error *err)
{
    struct hd_conn *c = malloc(sizeof *c);
    if (!c)
        return hd_fail(err, HD_E_NOMEM, "out of memory for a connection");
    memset(c, 0, offsetof(struct hd_conn, buffer));
    int rc = uv_tcp_init(loop, &c->tcp);
    if (rc < 0) {
        free(c);
        return hd_fail(err, HD_E_IO, "cannot make a socket: %s", uv_strerror(rc));
    }
    uv_timer_init(loop, &c->timer);
    c->handles = 2;
    c->tcp.data = c->timer.data = c->connect.data = c;
    c->o = *o;
    hd_decoder_init(&c->decoder, o->limits);
    *out = c;
    return 0;
}

/* A start function failed: no callback may fire. */
static int give_up(struct hd_conn *c, const char *what, int status, struct hd_error *err)
{
    c->silent = c->closing = true;
    finish(c);
    return hd_fail(err, status == UV_ENOMEM ? HD_E_NOMEM : HD_E_IO, "%s: %s", what,
                   uv_strerror(status));
}

int hd_conn_accept(struct hd_conn **out, uv_stream_t *listener, const struct hd_conn_options *o,
                   struct hd_error *err)
{
    struct hd_conn *c;
    struct sockaddr_storage peer = {0};
    int len = sizeof peer;
    int rc = conn_new(&c, listener->loop, o, err);
    if (rc < 0)
        return rc;
    rc = uv_accept(listener, (uv_stream_t *)&c->tcp);
    if (rc < 0)
        return give_up(c, "cannot accept a connection", rc, err);
    c->connected = true;
    /* A peer that is gone already has no address; the first read will tell. */
    uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&peer, &len);
    hd_address_text((const struct sockaddr *)&peer, c->peer);
    uv_timer_start(&c->timer, accepted, 0, 0);
    *out = c;
    return 0;
}

int hd_conn_connect(struct hd_conn **out, uv_loop_t *loop, const struct sockaddr *addr,
                    const struct hd_conn_options *o, struct hd_error *err)
{
    struct hd_conn *c;
    int rc = conn_new(&c, loop, o, err);
    if (rc < 0)
        return rc;
    hd_address_text(addr, c->peer);
    rc = uv_tcp_connect(&c->connect, &c->tcp, addr, connected);
    if (rc < 0)
        return give_up(c, "cannot connect", rc, err);
    *out = c;
    return 0;
}

/* ---- Writing ------------------------------------------------------------------------------- */

static void outgoing_free(struct outgoing *f)
{
    hd_shared_unref(f->payload);
    free(f);
}

static void written(uv_write_t *write, int status)
{
    struct outgoing *f = write->data;
    struct hd_conn *c = f->conn;
    c->queued -= f->left;
    if (status == 0)
        c->out += f->left;
    outgoing_free(f);
    if (status == 0)
        maybe_shut_down(c);
    else if (c->flushing)
        finish(c);
    else
        end_io(c, "cannot write to", status);
}

/* Packs header and body; NULL when out of memory. */
static struct outgoing *outgoing_new(int type, const ProtobufCMessage *message, size_t body_len,
                                     struct hd_shared *payload)
{
    struct outgoing *f = malloc(sizeof *f + HD_FRAME_HEADER + body_len);
    if (!f)
        return NULL;
    struct hd_piece body = {f->head + HD_FRAME_HEADER, body_len}, piece = {0};
    if (message)
        protobuf_c_message_pack(message, f->head + HD_FRAME_HEADER);
    if (payload)
        piece = (struct hd_piece){hd_shared_data(payload), hd_shared_len(payload)};
    hd_frame_header(f->head, type, body, &piece, 1);
    f->head_len = HD_FRAME_HEADER + body_len;
    f->left = f->head_len + piece.len;
    f->payload = payload ? hd_shared_ref(payload) : NULL;
    return f;
}

/* The frame's bytes from `skip` on, as one or two buffers; returns how many. */
static unsigned pieces(struct outgoing *f, size_t skip, uv_buf_t bufs[2])
{
    unsigned n = 0;
    size_t payload_len = f->payload ? hd_shared_len(f->payload) : 0;
    if (skip < f->head_len) {
        bufs[n].base = (char *)f->head + skip;
        bufs[n++].len = f->head_len - skip;
        skip = f->head_len;
    }
    skip -= f->head_len;
    if (skip < payload_len) {
        bufs[n].base = (char *)hd_shared_data(f->payload) + skip;
        bufs[n++].len = payload_len - skip;
    }
    return n;
}

/* Gives the socket what it takes at once, when nothing waits before it. */
static int write_now(struct hd_conn *c, struct outgoing *f)
{
    uv_buf_t bufs[2];
    if (c->queued > 0)
        return 0;
    unsigned n_bufs = pieces(f, 0, bufs);
    int n = uv_try_write((uv_stream_t *)&c->tcp, bufs, n_bufs);
    if (n == UV_EAGAIN)
        return 0;
    if (n < 0) {
        end_io(c, "cannot write to", n);
        return HD_E_STATE;
    }
    c->out += (uint64_t)n;
    f->left -= (size_t)n;
    return 0;
}

static int end_over_limit(struct hd_conn *c, size_t bytes)
{
    hd_fail(&c->why, HD_E_LIMIT, "%s does not read: %zu bytes would wait, the limit is %zu",
            c->peer, bytes, c->o.max_queued);
    end(c, HD_E_LIMIT, false);
    return HD_E_LIMIT;
}

/* Queues the rest; from success on `written` frees the frame. */
static int write_later(struct hd_conn *c, struct outgoing *f, size_t total)
{
    uv_buf_t bufs[2];
    size_t waiting = c->queued + f->left;
    if (waiting > c->o.max_queued)
        return end_over_limit(c, waiting);
    f->conn = c;
    f->write.data = f;
    unsigned n_bufs = pieces(f, total - f->left, bufs);
    int rc = uv_write(&f->write, (uv_stream_t *)&c->tcp, bufs, n_bufs, written);
    if (rc < 0) {
        end_io(c, "cannot write to", rc);
        return HD_E_STATE;
    }
    c->queued = waiting;
    return 0;
}

int hd_conn_send(struct hd_conn *c, int type, const struct ProtobufCMessage *message,
                 struct hd_shared *payload)
{
    if (c->closing)
        return HD_E_STATE;
    size_t body_len = message ? protobuf_c_message_get_packed_size(message) : 0;
    size_t payload_len = payload ? hd_shared_len(payload) : 0;
    if (body_len > UINT32_MAX || payload_len > UINT32_MAX) /* the header has 32 bits for each */
        return end_over_limit(c, body_len > payload_len ? body_len : payload_len);
    struct outgoing *f = outgoing_new(type, message, body_len, payload);
    if (!f)
        return HD_E_NOMEM;

    size_t total = f->left;
    int rc = write_now(c, f);
    if (rc == 0 && f->left > 0) {
        rc = write_later(c, f, total);
        if (rc == 0)
            return 0;
    }
    outgoing_free(f);
    return rc;
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
