/* audit_impl.h - shared by audit.c (what is asked) and audit_kept.c (what stays of it). */
#ifndef HD_WORKER_AUDIT_IMPL_H
#define HD_WORKER_AUDIT_IMPL_H

#include "worker/share/kv_work.h"
#include "worker/trust/audit.h"

/* An audit that waits, or is in hand (the first). What it points to is its own. */
struct order {
    struct hd_audit_order o;
    bool dropped;     /* one of its sequences was */
    size_t row;       /* those before are computed */
    uint8_t *payload; /* of these */
    size_t payload_len;
    uint32_t *wide, *bad; /* [rows] */
    size_t n_wide, n_bad;
    uint64_t us;
};

/* Pieces of one kind in one layer that were loaded for audits. */
struct kept {
    enum hd_unit_kind kind;
    uint32_t layer;
    uint64_t used; /* a number that grows with each use */
};

struct hd_audit {
    struct order *orders[HD_AUDITS_MAX];
    size_t n;
    struct kept kept[HD_AUDIT_KEPT];
    size_t n_kept;
    uint64_t n_used;
    bool keeps;     /* something was loaded that is neither owned nor held */
    uint8_t *lanes; /* [layers][heads]: there are such rows in it */
    size_t n_lanes;
    struct hd_stores fresh; /* of the order in hand, when it is such a one */
    struct hd_shard *fresh_shard;
    struct hd_kv_list list; /* of the slice */
};

/* audit_kept.c: this order's pieces are used now; there may have to be made room for them. */
void hd_audit_keep(struct hd_node *n, const struct order *order);
/* Nothing is kept. */
void hd_audit_keep_nothing(struct hd_node *n);
bool hd_audit_is_ours(const struct hd_node *n, struct hd_shard_unit u);

#endif
