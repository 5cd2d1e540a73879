/* frame.h - hydac's frames: a fixed header, a protobuf body, a raw payload. See proto/README.md.
 *
 *   offset  bytes  field (little-endian)
 *        0      4  magic "HDAC"
 *        4      1  protocol version (HD_PROTO_VERSION)
 *        5      1  type (enum hd_frame_type)
 *        6      2  flags (0; unknown bits are refused)
 *        8      4  body length
 *       12      4  payload length
 *       16      8  XXH3-64 of header bytes 0..15, body and payload
 *
 * Pure: bytes in, frames out; no sockets. */
#ifndef HD_NET_FRAME_H
#define HD_NET_FRAME_H

#include "common/util/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HD_FRAME_MAGIC   0x43414448u /* "HDAC" */
#define HD_PROTO_VERSION 4
#define HD_FRAME_HEADER  24

enum hd_frame_type {
    HD_FRAME_HELLO = 1,
    HD_FRAME_WELCOME,
    HD_FRAME_REJECT,
    HD_FRAME_HEARTBEAT,
    HD_FRAME_HEARTBEAT_ACK,
    HD_FRAME_ASSIGN,
    HD_FRAME_KV_RESULT,
    HD_FRAME_SEQ_OPEN,
    HD_FRAME_SEQ_CLOSE,
    HD_FRAME_STEP,
    HD_FRAME_STEP_RESULT,
    HD_FRAME_STATS_REQUEST,
    HD_FRAME_STATS,
    HD_FRAME_ERROR,
    HD_FRAME_FILL_LOG,
    HD_FRAME_LOG_STATE,
    HD_FRAME_FETCH,
    HD_FRAME_ROWS,
    HD_FRAME_DRAIN,
    HD_FRAME_DRAINED,
    HD_FRAME_MODEL_REQUEST,
    HD_FRAME_MODEL_OUTLINE,
    HD_FRAME_WEIGHTS_REQUEST,
    HD_FRAME_WEIGHTS,
    HD_FRAME_PIECE_DIGESTS,
    HD_FRAME_SELF_TEST,
    HD_FRAME_SELF_TEST_RESULT,
    HD_FRAME_AUDIT,
    HD_FRAME_AUDIT_RESULT,
    HD_FRAME_DAMAGE,
    HD_FRAME_LEADER_STATE,
    HD_FRAME_RECORDS,
    HD_FRAME_RECORDS_ACK,
    HD_FRAME_SEQ_CUT,
    HD_FRAME_SEQ_TOKENS,
    HD_FRAME_KEPT,
    HD_FRAME_TYPES /* one past the last */
};
const char *hd_frame_type_name(int type);

/* A worker's name (Hello.name), as long as a DNS label: it stands in logs, metrics and JSON as it
 * is. */
#define HD_NAME_MAX 63
#define HD_NAME_BYTES                                                                              \
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-" /* 1 to HD_NAME_MAX */

/* Why a leader refuses a worker (Reject.code). */
enum hd_reject {
    HD_REJECT_VERSION = 1, /* another protocol version */
    HD_REJECT_MODEL,       /* another model than the leader's */
    HD_REJECT_NAME,        /* a live worker has this name, or it is none */
    HD_REJECT_FULL,        /* no free slot */
    HD_REJECT_SHUTDOWN,    /* the leader is stopping */
    HD_REJECT_WRONG,       /* it computed wrong bits, now or not long ago */
    HD_REJECT_STANDBY,     /* another leader serves, or is about to */
};

/* What a worker found damaged (Damage.kind). */
enum hd_damage {
    HD_DAMAGE_WEIGHTS, /* packed weights in memory */
    HD_DAMAGE_KV,      /* K/V rows in memory */
    HD_DAMAGE_LOG,     /* rows of the input log */
    HD_DAMAGE_FILE,    /* bytes of the model's file, or of what is kept of it */
    HD_DAMAGE_KINDS    /* one past the last */
};

/* The largest body and payload that a receiver takes, checked before anything is allocated.
 * Before the peer is known: HD_FRAME_GREETING_* (a Hello is small). Afterwards: from the model.
 * Most types have a smaller limit of their own, whatever the connection allows: */
#define HD_FRAME_GREETING_BODY 4096 /* Hello, Welcome, Reject, Error: names and one sentence */
#define HD_FRAME_SMALL_BODY    256  /* heartbeats, sequences, StatsRequest: a few integers */
/* ModelOutline: 8 bytes for each of twice HD_MAX_DIM / 2 frequencies, 48 for each of HD_MAX_LAYERS
 * layers, and a greeting's worth of the rest. */
#define HD_FRAME_OUTLINE_BODY (2u * 8 * 32768 + 48u * 512 + HD_FRAME_GREETING_BODY)
/* Records: one request as it came, of 4 MiB, its prompts' ids (a byte of text is at most one, of at
 * most 5 bytes) and its answer's. */
#define HD_FRAME_RECORDS_BODY (32u << 20)
/* ---- Weights. What is asked for at once bounds how late a heartbeat or a step may come behind it:
 * half a megabyte is 40 ms of a 100 Mbit/s network. A worker that fetches is heard with each chunk.
 */
#define HD_WEIGHTS_CHUNK     (64u << 10) /* bytes of a piece in one frame */
#define HD_WEIGHTS_IN_FLIGHT 8           /* requests of one worker that are not answered */
/* ---- Digests of pieces: so many in one frame, 8 bytes each. */
#define HD_PIECE_DIGESTS_MAX 4096
struct hd_frame_limits {
    uint32_t max_body;
    uint32_t max_payload;
};

struct hd_frame {
    uint8_t type;
    uint8_t *body;     /* body_len bytes; body and payload are one malloc'ed block, body first */
    uint32_t body_len; /* (payload = body + body_len rounded up to 64, so that it is aligned for */
    uint8_t *payload;  /* vector loads); NULL when payload_len is 0 */
    uint32_t payload_len;
    void *block; /* what hd_frame_clear frees */
};
void hd_frame_clear(struct hd_frame *f);
/* `limits`, narrowed to what the type itself allows (a payload: only STEP, STEP_RESULT,
 * ROWS, WEIGHTS, PIECE_DIGESTS, AUDIT and SEQ_TOKENS). The type must be known. */
struct hd_frame_limits hd_frame_limits_of(int type, struct hd_frame_limits limits);

/* Header of a frame whose body and payload are given as pieces: fills 24 bytes. */
struct hd_piece {
    const void *data;
    size_t len;
};
void hd_frame_header(uint8_t header[HD_FRAME_HEADER], int type, struct hd_piece body,
                     const struct hd_piece *payload, size_t n_payload);

/* ---- Decoder: feed what arrives, in pieces of any size. */
struct hd_decoder {
    struct hd_frame_limits limits;
    uint8_t header[HD_FRAME_HEADER];
    size_t have;           /* bytes of the current frame that are here */
    struct hd_frame frame; /* being filled */
    uint8_t other_version; /* after HD_E_PROTO: the peer speaks this version; 0 = something else is
                            * wrong */
    bool client_hello;     /* after HD_E_PROTO: the peer has begun a TLS handshake */
};
void hd_decoder_init(struct hd_decoder *d, struct hd_frame_limits limits);
void hd_decoder_deinit(struct hd_decoder *d);
/* Takes bytes from *data, advancing *data and *len. Returns 1 when a whole frame is in *out (the
 * caller owns it: hd_frame_clear), 0 when all bytes are used and more are needed, or HD_E_PROTO
 * (bad magic, version, type, flags, checksum), HD_E_LIMIT (a length over the limit), HD_E_NOMEM:
 * then the connection must be closed. A wrong version gives HD_E_PROTO with err->text naming both
 * versions, *out->type = 0, and the peer's version in d->other_version (seen in the first five
 * bytes: whatever follows them may look different in another version). */
int hd_decoder_feed(struct hd_decoder *d, const uint8_t **data, size_t *len, struct hd_frame *out,
                    struct hd_error *err);
/* Where the next bytes of a payload in hand are to lie, and how many are missing: who reads them to
 * there spares a copy, and feeds them from there. NULL: none is in hand. */
uint8_t *hd_decoder_room(struct hd_decoder *d, size_t *n);

#endif
