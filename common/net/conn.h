/* conn.h - one framed connection on a libuv loop: TCP, with TLS or without, or a Unix socket; whole
 * frames in, whole frames out.
 *
 * Happy path: hd_conn_accept or hd_conn_connect -> (the TLS handshake) -> on_open -> on_frame ...
 * -> hd_conn_close or the peer's end -> on_close, exactly once, always asynchronously, after which
 * the conn is freed. Failure modes, each ends in on_close with a reason: 1. cannot connect; 2. the
 * peer closes or resets; 3. a malformed or oversized frame; 4. the write queue passes `max_queued`
 * (a peer that does not read); 5. the TLS handshake fails, or a record is damaged; 6. out of
 * memory. With TLS an end of the TCP connection is an end, whether the peer announced it
 * (close_notify) or not: either is noticed at once, and a frame that was cut is never handed over.
 * If hd_conn_connect / hd_conn_accept return an error, no callback ever fires (the loop must run
 * once more to free what was begun). on_open, too, always comes from the loop, for accepted conns
 * as well; it does not come when the conn ends before. Frames may be sent before it.
 * The process must ignore SIGPIPE: libuv writes with writev(2), which raises it. */
#ifndef HD_NET_CONN_H
#define HD_NET_CONN_H

#include "common/net/frame.h"

#include <stdbool.h>
#include <uv.h>

struct hd_conn;
struct hd_tls_context; /* common/net/tls.h */

struct hd_conn_events {
    void (*on_open)(void *arg, struct hd_conn *c); /* may be NULL */
    /* The receiver owns *f from here on (hd_frame_clear). It may call hd_conn_close. */
    void (*on_frame)(void *arg, struct hd_conn *c, struct hd_frame *f);
    /* code: 0 = hd_conn_close was called, HD_E_IO = peer or network, HD_E_PROTO, HD_E_LIMIT,
     * HD_E_NOMEM; `why` is a sentence. The conn is freed after this returns. */
    void (*on_close)(void *arg, struct hd_conn *c, int code, const char *why);
    /* The peer speaks another version of the protocol (may be NULL). A Reject may be sent from
     * here; the conn then flushes and closes by itself with HD_E_PROTO. */
    void (*on_version)(void *arg, struct hd_conn *c, unsigned version, const char *why);
};

struct hd_conn_options {
    struct hd_conn_events events;
    void *arg;
    struct hd_frame_limits limits;
    size_t max_queued;          /* bytes that may wait to be written; more than the largest frame */
    struct hd_tls_context *tls; /* NULL: plaintext; must outlive the conn */
    /* Accepting: false = this address may not come in now; nothing is allocated for it (NULL: all
     * may). */
    bool (*admit)(void *arg, const struct sockaddr *peer);
};

#define HD_CONN_NOT_ADMITTED 1 /* outcome: `admit` said no; the connection is closed */

/* Accept a pending connection of `listener` (call from its uv_connection_cb). 0,
 * HD_CONN_NOT_ADMITTED or an error. */
int hd_conn_accept(struct hd_conn **out, uv_stream_t *listener, const struct hd_conn_options *o,
                   struct hd_error *err);
/* Start to connect to an address that is already resolved. */
int hd_conn_connect(struct hd_conn **out, uv_loop_t *loop, const struct sockaddr *addr,
                    const struct hd_conn_options *o, struct hd_error *err);

/* Larger limits, once the peer is known. */
void hd_conn_set_limits(struct hd_conn *c, struct hd_frame_limits limits);
/* "10.0.0.3:41234", valid as long as the conn. */
const char *hd_conn_peer(const struct hd_conn *c);
size_t hd_conn_queued(const struct hd_conn *c);
/* Bytes written and read since the start. */
uint64_t hd_conn_bytes_out(const struct hd_conn *c);
uint64_t hd_conn_bytes_in(const struct hd_conn *c);
/* Bytes of the frames that hd_conn_send has taken: of those that wait, too, and without TLS. */
uint64_t hd_conn_bytes_taken(const struct hd_conn *c);

/* A payload that many frames share (one step goes to every worker): reference-counted, so that
 * nothing is copied and the writer need not wait. */
struct hd_shared;
struct hd_shared *
hd_shared_new(size_t len); /* 64-byte aligned; NULL = out of memory; 1 reference */
uint8_t *hd_shared_data(struct hd_shared *s);
size_t hd_shared_len(const struct hd_shared *s);
struct hd_shared *hd_shared_ref(struct hd_shared *s);
void hd_shared_unref(struct hd_shared *s); /* NULL is allowed; loop thread only or externally
                                            * ordered: the count is atomic */

/* Send one frame: header + body in one buffer, then the payload, in one writev. `message` is packed
 * by protobuf-c (NULL: empty body). `payload` may be NULL; the conn takes a reference of its own.
 * Returns 0; HD_E_STATE when the conn is closing or found broken; HD_E_LIMIT when max_queued is
 * passed (the conn is then closing and on_close will come); HD_E_NOMEM. */
struct ProtobufCMessage;
int hd_conn_send(struct hd_conn *c, int type, const struct ProtobufCMessage *message,
                 struct hd_shared *payload);

/* Begin to close; on_close will come. `flush`: write what is queued first (for a Reject) and wait
 * until the peer has closed its side, at most for a second; its frames are dropped meanwhile.
 * Calling it again does nothing. */
void hd_conn_close(struct hd_conn *c, bool flush);
/* Close without flushing, and end a flush that is under way. */
void hd_conn_drop(struct hd_conn *c);

#endif
