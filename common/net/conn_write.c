/* conn_write.c - frames out: packed, given to the socket at once as far as it takes them, the rest
 * queued. */
#include "common/net/conn_impl.h"

#include <protobuf-c/protobuf-c.h>
#include <stdlib.h>

void hd_outgoing_free(struct hd_outgoing *f)
{
    hd_shared_unref(f->payload);
    free(f);
}

void hd_conn_written(struct hd_conn *c, size_t len, int status)
{
    c->queued -= len;
    if (status == 0)
        c->out += len;
    if (status == 0)
        hd_conn_maybe_shut_down(c);
    else if (c->flushing)
        hd_conn_finish(c);
    else
        hd_conn_end_io(c, "cannot write to", status);
}

static void written(uv_write_t *write, int status)
{
    struct hd_outgoing *f = write->data;
    struct hd_conn *c = f->conn;
    size_t len = f->left;
    hd_outgoing_free(f);
    hd_conn_written(c, len, status);
}

/* Packs header and body; NULL when out of memory. */
static struct hd_outgoing *outgoing_new(int type, const ProtobufCMessage *message, size_t body_len,
                                        struct hd_shared *payload)
{
    struct hd_outgoing *f = malloc(sizeof *f + HD_FRAME_HEADER + body_len);
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

unsigned hd_outgoing_pieces(const struct hd_outgoing *f, uv_buf_t bufs[2])
{
    unsigned n = 0;
    size_t payload_len = f->payload ? hd_shared_len(f->payload) : 0;
    size_t skip = f->head_len + payload_len - f->left;
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
static int write_now(struct hd_conn *c, struct hd_outgoing *f)
{
    uv_buf_t bufs[2];
    if (c->queued > 0)
        return 0;
    unsigned n_bufs = hd_outgoing_pieces(f, bufs);
    int n = uv_try_write(&c->socket.stream, bufs, n_bufs);
    if (n == UV_EAGAIN)
        return 0;
    if (n < 0) {
        hd_conn_end_io(c, "cannot write to", n);
        return HD_E_STATE;
    }
    c->out += (uint64_t)n;
    f->left -= (size_t)n;
    return 0;
}

int hd_conn_end_over_limit(struct hd_conn *c, size_t bytes)
{
    hd_fail(&c->why, HD_E_LIMIT, "%s does not read: %zu bytes would wait, the limit is %zu",
            c->peer, bytes, c->o.max_queued);
    hd_conn_end(c, HD_E_LIMIT, false);
    return HD_E_LIMIT;
}

/* Queues the rest; from success on `written` frees the frame. */
static int write_later(struct hd_conn *c, struct hd_outgoing *f)
{
    uv_buf_t bufs[2];
    size_t waiting = c->queued + f->left;
    if (waiting > c->o.max_queued)
        return hd_conn_end_over_limit(c, waiting);
    f->conn = c;
    f->write.data = f;
    unsigned n_bufs = hd_outgoing_pieces(f, bufs);
    int rc = uv_write(&f->write, &c->socket.stream, bufs, n_bufs, written);
    if (rc < 0) {
        hd_conn_end_io(c, "cannot write to", rc);
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
        return hd_conn_end_over_limit(c, body_len > payload_len ? body_len : payload_len);
    struct hd_outgoing *f = outgoing_new(type, message, body_len, payload);
    if (!f)
        return HD_E_NOMEM;
    c->taken += f->left;

    if (c->tls)
        return hd_conn_tls_send(c, f);
    int rc = write_now(c, f);
    if (rc == 0 && f->left > 0) {
        rc = write_later(c, f);
        if (rc == 0)
            return 0;
    }
    hd_outgoing_free(f);
    return rc;
}
