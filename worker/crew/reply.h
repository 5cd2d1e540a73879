/* reply.h - what the compute thread has to say, made there, sent by the loop thread. */
#ifndef HD_WORKER_REPLY_H
#define HD_WORKER_REPLY_H

#include "hydac.pb-c.h"
#include "worker/share/fill.h"
#include "worker/trust/audit.h"
#include "worker/weights/supply.h"

struct hd_reply {
    int type;                  /* enum hd_frame_type; HD_FRAME_ERROR: `error` says what */
    uint64_t session;          /* for which it is meant */
    ProtobufCMessage *message; /* owned; NULL for an error */
    struct hd_shared *payload; /* owned; may be NULL */
    struct hd_error error;
    struct hd_reply *next;
};

/* An empty reply, or NULL when out of memory. */
struct hd_reply *hd_reply_new(uint64_t session);
void hd_reply_free(struct hd_reply *r);

/* These make the reply's message; 0 or HD_E_NOMEM. The payload of `out` passes to the reply. */
int hd_reply_kv_result(struct hd_reply *r, const struct hd_kv_report *report);
int hd_reply_step_result(struct hd_reply *r, const Hydac__V1__Step *step,
                         const struct hd_half_output *out, uint64_t compute_us);
int hd_reply_log_state(struct hd_reply *r, uint32_t sequence, bool complete);
int hd_reply_self_test(struct hd_reply *r, uint64_t seed, uint64_t digest);
int hd_reply_audit_result(struct hd_reply *r, const struct hd_audit_answer *a);
int hd_reply_fetch(struct hd_reply *r, const struct hd_log_piece *piece);
int hd_reply_weights_request(struct hd_reply *r, const struct hd_weights_ask *a);
/* What the log has of the rows asked for, as many as fit a frame. */
int hd_reply_rows(struct hd_reply *r, const Hydac__V1__Fetch *fetch, struct hd_node *n);
/* A sequence of an earlier session; borrowed. */
struct hd_kept_sequence {
    uint32_t sequence;
    struct hd_kv_share share;
    const struct hd_known *known;
    uint32_t positions, logged;
};
int hd_reply_tokens(struct hd_reply *r, const struct hd_kept_sequence *k);
int hd_reply_kept(struct hd_reply *r, const struct hd_node *n); /* what it owns */
struct hd_finding;
int hd_reply_damage(struct hd_reply *r, const struct hd_finding *f);
int hd_reply_stats(struct hd_reply *r, uint64_t id, const struct hd_node *n);

/* Resident memory of this process in bytes; 0 when the system does not say. */
uint64_t hd_rss_bytes(void);

#endif
