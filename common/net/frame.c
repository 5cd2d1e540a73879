/* frame.c - the decoder takes bytes as they come, in pieces of any size, and believes no length
 * before it has checked it against the limits of its type.
 */
#include "common/net/frame.h"

#include "common/util/size.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define XXH_STATIC_LINKING_ONLY /* the streaming state lives on the stack */
#include <xxhash.h>

#define PREFIX  5  /* magic and version: what every version of the protocol begins with */
#define SUMMED  16 /* header bytes that the checksum covers */
#define ALIGNED 64 /* of a payload: one 512-bit vector */

/* What a peer with a cluster key begins with, RFC 8446 section 5.1: type and version of a record.
 */
#define TLS_ALERT     21
#define TLS_HANDSHAKE 22
#define TLS_MAJOR     3

/* What a type may carry. max_body 0: as much as the connection allows. */
static const struct {
    const char *name;
    uint32_t max_body;
    bool payload;
} types[HD_FRAME_TYPES] = {
    [HD_FRAME_HELLO] = {"Hello", HD_FRAME_GREETING_BODY, false},
    [HD_FRAME_WELCOME] = {"Welcome", HD_FRAME_GREETING_BODY, false},
    [HD_FRAME_REJECT] = {"Reject", HD_FRAME_GREETING_BODY, false},
    [HD_FRAME_HEARTBEAT] = {"Heartbeat", HD_FRAME_SMALL_BODY, false},
    [HD_FRAME_HEARTBEAT_ACK] = {"HeartbeatAck", HD_FRAME_SMALL_BODY, false},
    [HD_FRAME_ASSIGN] = {"AssignHeads", 0, false},
    [HD_FRAME_KV_RESULT] = {"KvResult", 0, false},
    [HD_FRAME_SEQ_OPEN] = {"SequenceOpen", HD_FRAME_SMALL_BODY, false},
    [HD_FRAME_SEQ_CLOSE] = {"SequenceClose", HD_FRAME_SMALL_BODY, false},
    [HD_FRAME_STEP] = {"Step", 0, true},
    [HD_FRAME_STEP_RESULT] = {"StepResult", 0, true},
    [HD_FRAME_STATS_REQUEST] = {"StatsRequest", HD_FRAME_SMALL_BODY, false},
    [HD_FRAME_STATS] = {"Stats", 0, false},
    [HD_FRAME_ERROR] = {"Error", HD_FRAME_GREETING_BODY, false},
    [HD_FRAME_FILL_LOG] = {"FillLog", 0, false},
    [HD_FRAME_LOG_STATE] = {"LogState", HD_FRAME_SMALL_BODY, false},
    [HD_FRAME_FETCH] = {"Fetch", HD_FRAME_SMALL_BODY, false},
    [HD_FRAME_ROWS] = {"Rows", HD_FRAME_SMALL_BODY, true},
    [HD_FRAME_DRAIN] = {"Drain", HD_FRAME_SMALL_BODY, false},
    [HD_FRAME_DRAINED] = {"Drained", HD_FRAME_SMALL_BODY, false},
    [HD_FRAME_MODEL_REQUEST] = {"ModelRequest", HD_FRAME_SMALL_BODY, false},
    [HD_FRAME_MODEL_OUTLINE] = {"ModelOutline", HD_FRAME_OUTLINE_BODY, false},
    [HD_FRAME_WEIGHTS_REQUEST] = {"WeightsRequest", HD_FRAME_SMALL_BODY, false},
    [HD_FRAME_WEIGHTS] = {"Weights", HD_FRAME_SMALL_BODY, true},
    [HD_FRAME_PIECE_DIGESTS] = {"PieceDigests", HD_FRAME_SMALL_BODY, true},
    [HD_FRAME_SELF_TEST] = {"SelfTest", HD_FRAME_SMALL_BODY, false},
    [HD_FRAME_SELF_TEST_RESULT] = {"SelfTestResult", HD_FRAME_SMALL_BODY, false},
    [HD_FRAME_AUDIT] = {"Audit", 0, true},
    [HD_FRAME_AUDIT_RESULT] = {"AuditResult", HD_FRAME_SMALL_BODY, false},
    [HD_FRAME_DAMAGE] = {"Damage", HD_FRAME_GREETING_BODY, false},
    [HD_FRAME_LEADER_STATE] = {"LeaderState", HD_FRAME_GREETING_BODY, false},
    [HD_FRAME_RECORDS] = {"Records", HD_FRAME_RECORDS_BODY, false},
    [HD_FRAME_RECORDS_ACK] = {"RecordsAck", HD_FRAME_SMALL_BODY, false},
    [HD_FRAME_SEQ_CUT] = {"SequenceCut", HD_FRAME_SMALL_BODY, false},
    [HD_FRAME_SEQ_TOKENS] = {"SequenceTokens", HD_FRAME_SMALL_BODY, true},
    [HD_FRAME_KEPT] = {"Kept", 0, false},
};

static bool known(int type)
{
    return type > 0 && type < HD_FRAME_TYPES;
}

const char *hd_frame_type_name(int type)
{
    return known(type) ? types[type].name : "?";
}

struct hd_frame_limits hd_frame_limits_of(int type, struct hd_frame_limits limits)
{
    if (types[type].max_body && types[type].max_body < limits.max_body)
        limits.max_body = types[type].max_body;
    if (!types[type].payload)
        limits.max_payload = 0;
    return limits;
}

void hd_frame_clear(struct hd_frame *f)
{
    free(f->block);
    *f = (struct hd_frame){0};
}

static void put_le(uint8_t *p, uint64_t v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get_le(const uint8_t *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static uint64_t checksum(const uint8_t *header, struct hd_piece body,
                         const struct hd_piece *payload, size_t n_payload)
{
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    XXH3_64bits_update(&state, header, SUMMED);
    XXH3_64bits_update(&state, body.data, body.len);
    for (size_t i = 0; i < n_payload; i++)
        XXH3_64bits_update(&state, payload[i].data, payload[i].len);
    return XXH3_64bits_digest(&state);
}

void hd_frame_header(uint8_t header[HD_FRAME_HEADER], int type, struct hd_piece body,
                     const struct hd_piece *payload, size_t n_payload)
{
    size_t payload_len = 0;
    for (size_t i = 0; i < n_payload; i++)
        payload_len += payload[i].len;
    put_le(header, HD_FRAME_MAGIC, 4);
    header[4] = HD_PROTO_VERSION;
    header[5] = (uint8_t)type;
    put_le(header + 6, 0, 2);
    put_le(header + 8, body.len, 4);
    put_le(header + 12, payload_len, 4);
    put_le(header + 16, checksum(header, body, payload, n_payload), 8);
}

/* ---- Decoder ------------------------------------------------------------------------------- */

void hd_decoder_init(struct hd_decoder *d, struct hd_frame_limits limits)
{
    *d = (struct hd_decoder){.limits = limits};
}

void hd_decoder_deinit(struct hd_decoder *d)
{
    hd_frame_clear(&d->frame);
}

static int check_prefix(struct hd_decoder *d, struct hd_error *err)
{
    const uint8_t *h = d->header;
    if ((h[0] == TLS_HANDSHAKE || h[0] == TLS_ALERT) && h[1] == TLS_MAJOR) {
        d->client_hello = h[0] == TLS_HANDSHAKE;
        return hd_fail(err, HD_E_PROTO,
                       "the peer speaks TLS and this side has no cluster key; give it the same key "
                       "(--key FILE)");
    }
    if (get_le(h, 4) != HD_FRAME_MAGIC)
        return hd_fail(
            err, HD_E_PROTO,
            "the peer does not speak hydac's protocol (first bytes %02x %02x %02x %02x); "
            "check the address and port",
            h[0], h[1], h[2], h[3]);
    if (h[4] == HD_PROTO_VERSION)
        return 0;
    d->other_version = h[4];
    return hd_fail(err, HD_E_PROTO,
                   "the peer speaks protocol version %u and this is version %u; "
                   "install the same hydac on every machine",
                   h[4], HD_PROTO_VERSION);
}

static int check_lengths(const struct hd_decoder *d, int type, struct hd_error *err)
{
    struct hd_frame_limits most = hd_frame_limits_of(type, d->limits);
    uint64_t body = get_le(d->header + 8, 4), payload = get_le(d->header + 12, 4);
    if (body > most.max_body)
        return hd_fail(err, HD_E_LIMIT, "%s frame with a body of %llu bytes; the limit is %u",
                       types[type].name, (unsigned long long)body, most.max_body);
    if (payload > most.max_payload)
        return hd_fail(err, HD_E_LIMIT, "%s frame with a payload of %llu bytes; the limit is %u",
                       types[type].name, (unsigned long long)payload, most.max_payload);
    return 0;
}

/* The header is whole: check it, then make room for what follows. */
static int begin_frame(struct hd_decoder *d, struct hd_error *err)
{
    int type = d->header[5];
    unsigned flags = (unsigned)get_le(d->header + 6, 2);
    if (!known(type))
        return hd_fail(err, HD_E_PROTO, "unknown frame type %d", type);
    if (flags != 0)
        return hd_fail(err, HD_E_PROTO, "%s frame with unknown flags 0x%04x", types[type].name,
                       flags);
    int rc = check_lengths(d, type, err);
    if (rc < 0)
        return rc;

    struct hd_frame *f = &d->frame;
    f->body_len = (uint32_t)get_le(d->header + 8, 4);
    f->payload_len = (uint32_t)get_le(d->header + 12, 4);
    size_t at = ((size_t)f->body_len + ALIGNED - 1) / ALIGNED * ALIGNED, total;
    if (!hd_add_size(at, f->payload_len, &total) ||
        posix_memalign(&f->block, ALIGNED, total ? total : ALIGNED) != 0) {
        f->block = NULL;
        return hd_fail(err, HD_E_NOMEM, "out of memory for a %s frame of %llu bytes",
                       types[type].name, (unsigned long long)f->body_len + f->payload_len);
    }
    f->type = (uint8_t)type;
    f->body = f->block;
    f->payload = f->payload_len ? f->body + at : NULL;
    return 0;
}

static int end_frame(struct hd_decoder *d, struct hd_frame *out, struct hd_error *err)
{
    struct hd_frame *f = &d->frame;
    struct hd_piece payload = {f->payload, f->payload_len};
    uint64_t sum = checksum(d->header, (struct hd_piece){f->body, f->body_len}, &payload, 1);
    if (sum != get_le(d->header + 16, 8))
        return hd_fail(err, HD_E_PROTO, "%s frame with a wrong checksum: damaged on its way",
                       types[f->type].name);
    *out = *f;
    *f = (struct hd_frame){0};
    d->have = 0;
    return 1;
}

/* Where the next bytes of the frame belong, and how many of them. */
static size_t next_room(struct hd_decoder *d, uint8_t **to)
{
    struct hd_frame *f = &d->frame;
    if (d->have < HD_FRAME_HEADER) {
        *to = d->header + d->have;
        return (d->have < PREFIX ? PREFIX : HD_FRAME_HEADER) - d->have;
    }
    size_t at = d->have - HD_FRAME_HEADER;
    if (at < f->body_len) {
        *to = f->body + at;
        return f->body_len - at;
    }
    at -= f->body_len;
    *to = f->payload ? f->payload + at : NULL;
    return f->payload_len - at;
}

uint8_t *hd_decoder_room(struct hd_decoder *d, size_t *n)
{
    uint8_t *to;
    if (d->have < HD_FRAME_HEADER + (size_t)d->frame.body_len)
        return NULL;
    *n = next_room(d, &to);
    return to;
}

int hd_decoder_feed(struct hd_decoder *d, const uint8_t **data, size_t *len, struct hd_frame *out,
                    struct hd_error *err)
{
    *out = (struct hd_frame){0};
    while (*len > 0) {
        uint8_t *to;
        size_t n = next_room(d, &to);
        n = n < *len ? n : *len;
        if (to != *data) /* else they were read to there */
            memcpy(to, *data, n);
        *data += n;
        *len -= n;
        d->have += n;
        int rc = 0;
        if (d->have == PREFIX)
            rc = check_prefix(d, err);
        else if (d->have == HD_FRAME_HEADER)
            rc = begin_frame(d, err);
        if (rc < 0)
            return rc;
        if (d->have >= HD_FRAME_HEADER && next_room(d, &to) == 0)
            return end_frame(d, out, err);
    }
    return 0;
}
