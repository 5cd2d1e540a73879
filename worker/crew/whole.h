/* whole.h - a node (share/node.h) with all that it does beside the steps: holding, audits,
 * scrubbing. What concerns several of them, in the order that it takes. One thread only. */
#ifndef HD_WORKER_WHOLE_H
#define HD_WORKER_WHOLE_H

#include "worker/share/rebuild.h"

/* 0 or HD_E_NOMEM. */
int hd_node_new(struct hd_node **out, const struct hd_node_options *o);
void hd_node_free(struct hd_node *n);

/* Sizes of a new session with a leader; forgets every sequence, keeps the weights. 0 or
 * HD_E_NOMEM (then nothing but the weights is left and it must be called again). */
int hd_node_resize(struct hd_node *n, const struct hd_node_sizes *sizes, struct hd_error *err);
/* The session is over: owns and holds nothing, remembers no sequence, keeps the weights. */
void hd_node_leave(struct hd_node *n);
/* It is over, but the next one may go on: all stays, nothing is under way any more. */
void hd_node_rest(struct hd_node *n);
/* A session begins. True: it has the sizes of the one before and goes on with what that has left;
 * false: that is no use, hd_node_resize comes next. */
bool hd_node_go_on(struct hd_node *n, const struct hd_node_sizes *sizes);
/* Drop the K/V and the log of every sequence, or of one; what is audited of it is not any more. */
void hd_node_forget(struct hd_node *n);
void hd_node_drop(struct hd_node *n, uint32_t sequence);
/* Rows of a sequence from `positions` on are no more, in K/V, log, and what is to be made ready of
 * them. HD_E_PROTO: they are not its own, or others share them. */
int hd_node_cut(struct hd_node *n, uint32_t sequence, uint32_t positions, struct hd_error *err);

/* The sequences (a mask) that an assignment has forgotten. */
uint64_t hd_node_forgotten(const struct hd_assignment *a);
/* Own and hold what the assignment says: hd_rebuild, then hd_hold_set. */
int hd_node_assign(struct hd_node *n, const struct hd_assignment *a, struct hd_kv_report *report,
                   struct hd_error *err);
/* Hold it: hd_hold_set. */
void hd_node_hold(struct hd_node *n, const struct hd_assignment *a);

/* Of all stores. */
uint64_t hd_node_weight_bytes(const struct hd_node *n);
uint64_t hd_node_kv_bytes(const struct hd_node *n);

#endif
