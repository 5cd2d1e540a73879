/* check.h - is what the leader sent possible at all? Every number is checked here, once, before
 * anything is sized or indexed by it. Pure. */
#ifndef HD_WORKER_CHECK_H
#define HD_WORKER_CHECK_H

#include "common/net/frame.h"
#include "hydac.pb-c.h"
#include "worker/share/node.h"

/* Named limits, so that a leader cannot make a worker size its scratch without bound. */
#define HD_WORKER_MAX_ROWS  8192 /* of a step */
#define HD_WORKER_MAX_SHIFT 100  /* 2^100 times a finite f32 is still a finite double */

/* What messages are checked against. */
struct hd_check {
    const struct hd_model *model;
    const struct hd_units *units;
    struct hd_node_sizes sizes;
    uint64_t n_pieces, n_digests; /* of the model; of them told by PieceDigests so far */
};

/* All return 0 or HD_E_PROTO, with the sentence that goes back to the leader. */
int hd_check_welcome(const struct hd_check *c, const Hydac__V1__Welcome *m, struct hd_error *err);
int hd_check_assign(const struct hd_check *c, const Hydac__V1__AssignHeads *m,
                    struct hd_error *err);
int hd_check_step(const struct hd_check *c, const Hydac__V1__Step *m, size_t payload_len,
                  struct hd_error *err);
int hd_check_audit(const struct hd_check *c, const Hydac__V1__Audit *m, size_t payload_len,
                   struct hd_error *err);
int hd_check_fill(const struct hd_check *c, const Hydac__V1__FillLog *m, struct hd_error *err);
int hd_check_fetch(const struct hd_check *c, const Hydac__V1__Fetch *m, struct hd_error *err);
int hd_check_tokens(const struct hd_check *c, const Hydac__V1__SequenceTokens *m,
                    const struct hd_frame *f, struct hd_error *err);
int hd_check_rows(const struct hd_check *c, const Hydac__V1__Rows *m, size_t payload_len,
                  struct hd_error *err);
/* Whole lists of digests, in order, before any AssignHeads (which needs all). */
int hd_check_digests(const struct hd_check *c, const Hydac__V1__PieceDigests *m,
                     const struct hd_frame *f, struct hd_error *err);
int hd_check_weights(const struct hd_check *c, const Hydac__V1__Weights *m, size_t payload_len,
                     struct hd_error *err);
/* What a sequence shares with another one. */
int hd_check_share(const struct hd_check *c, uint32_t sequence, struct hd_kv_share share,
                   struct hd_error *err);
int hd_check_cut(const struct hd_check *c, const Hydac__V1__SequenceCut *m, struct hd_error *err);
int hd_check_sequence(const struct hd_check *c, uint32_t sequence, struct hd_error *err);

/* The largest frames that messages within these sizes can make. */
struct hd_frame_limits hd_check_limits(const struct hd_check *c);

#endif
