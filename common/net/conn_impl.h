/* conn_impl.h - a connection's insides: conn.c opens, reads and closes, conn_write.c sends frames,
 * conn_tls.c carries them through TLS. */
#ifndef HD_NET_CONN_IMPL_H
#define HD_NET_CONN_IMPL_H

#include "common/net/address.h"
#include "common/net/conn.h"

#define HD_CONN_BUFFER 65536 /* a whole frame of a decode step, several times over */

/* One frame, or what is left of it, on its way out. */
struct hd_outgoing {
    uv_write_t write; /* plaintext only */
    struct hd_conn *conn;
    struct hd_outgoing *next;  /* with TLS: queued behind this one */
    struct hd_shared *payload; /* our reference, or NULL */
    size_t left;               /* bytes not yet written, or not yet sealed */
    size_t head_len;
    uint8_t head[]; /* header and body */
};

struct hd_conn {
    union {
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t local; /* a Unix socket */
    } socket;
    uv_timer_t timer; /* opens an accepted conn from the loop; later limits a flush */
    uv_connect_t connect;
    uv_shutdown_t shutdown;
    struct hd_conn_options o;
    struct hd_decoder decoder;
    char peer[HD_ADDRESS_TEXT];

    unsigned handles; /* not yet closed: socket, timer */
    bool silent;      /* never given to a caller: no callbacks */
    bool connected;   /* there is a peer to flush to */
    bool opened;      /* on_open was called */
    bool closing;
    bool flushing;  /* closing, and the socket is still there */
    bool shut;      /* our side is shut down */
    bool finishing; /* the handles are being closed */
    int code;       /* for on_close */
    struct hd_error why;

    struct hd_tls *tls;                /* NULL: plaintext */
    struct hd_outgoing *first, **last; /* frames that are not sealed yet */
    size_t sealed; /* bytes of ciphertext in writes that libuv has not finished */

    size_t queued; /* bytes that wait: in writes that libuv has not finished, or to be sealed */
    uint64_t in, out, taken;
    char buffer[HD_CONN_BUFFER];
};

/* conn.c */
/* Ends the conn for the reason in c->why; the first call counts. `flush`: as in hd_conn_close. */
void hd_conn_end(struct hd_conn *c, int code, bool flush);
void hd_conn_end_io(struct hd_conn *c, const char *what, int status);
/* The socket is of no use any more. */
void hd_conn_finish(struct hd_conn *c);
/* While flushing: once all is written, says so to the peer and waits for its end. */
void hd_conn_maybe_shut_down(struct hd_conn *c);
/* The peer can be spoken to: tells the owner. */
void hd_conn_opened(struct hd_conn *c);
/* Takes `len` bytes of frames. */
void hd_conn_take_frames(struct hd_conn *c, const uint8_t *data, size_t len);
/* The peer sends no more. */
void hd_conn_peer_ended(struct hd_conn *c);

/* conn_write.c */
/* The frame's bytes that are left, as one or two buffers; returns how many. */
unsigned hd_outgoing_pieces(const struct hd_outgoing *f, uv_buf_t bufs[2]);
void hd_outgoing_free(struct hd_outgoing *f);
/* A write has ended: `len` bytes of it were waiting. */
void hd_conn_written(struct hd_conn *c, size_t len, int status);
/* `bytes` would wait: more than max_queued. Returns HD_E_LIMIT. */
int hd_conn_end_over_limit(struct hd_conn *c, size_t bytes);

/* conn_tls.c, with c->tls only */
int hd_conn_tls_init(struct hd_conn *c, bool server, struct hd_error *err);
void hd_conn_tls_deinit(struct hd_conn *c);
/* Takes `len` bytes of ciphertext from c->buffer. */
void hd_conn_tls_take(struct hd_conn *c, size_t len);
/* Queues the frame, which it then owns, and seals what may go out. 0, HD_E_STATE, HD_E_LIMIT. */
int hd_conn_tls_send(struct hd_conn *c, struct hd_outgoing *f);
/* Gives the socket what waits. */
void hd_conn_tls_pump(struct hd_conn *c);
/* A flush begins: what cannot be sealed any more is dropped. */
void hd_conn_tls_flush(struct hd_conn *c);
/* All is sealed: the engine's last word. */
void hd_conn_tls_goodbye(struct hd_conn *c);

#endif
