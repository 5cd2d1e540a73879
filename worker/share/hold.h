/* hold.h - units that a worker holds beside those it owns: standby copies, and what it is about to
 * take over. Their weights are loaded and the K/V rows of their heads kept current; they are in no
 * sum. To own a held unit costs nothing (rebuild.h). Of bare heads the weights alone are held: to
 * own one costs its rows.
 *
 * Happy path: hd_hold_set -> hd_hold_slice, again and again between the jobs, each a small piece of
 * the work (a unit released; a piece of weights or up to HD_LOG_CHUNK positions of one lane for
 * each thread of the team) -> HD_HOLD_READY, when the set had a round: hd_hold_report ->
 * HD_HOLD_IDLE. With every attention half, after its answer: hd_hold_follow computes the rows of
 * the lanes that are current; those behind are left to the slices, which read the input log.
 *
 * What is neither owned nor held is released in slices, too, and the rows of bare heads. Until then
 * K/V rows stay what they are, correct as far as they go, so a head that comes back needs only the
 * rows it missed.
 *
 * Failure modes: 1. out of memory, or weights that cannot be packed: hd_hold_slice says so; 2. a
 * log that lacks rows: the lanes end where it ends, and the report says which sequences. */
#ifndef HD_WORKER_HOLD_H
#define HD_WORKER_HOLD_H

#include "worker/share/rebuild.h"

struct hd_hold;

/* 0 or HD_E_NOMEM. */
int hd_hold_new(struct hd_hold **out);
void hd_hold_free(struct hd_hold *h);

/* Hold a->hold from now on. With a->round that round is answered when all is ready, for a->needs;
 * an older round is never answered then. */
void hd_hold_set(struct hd_node *n, const struct hd_assignment *a);
/* Hold nothing, answer nothing, release nothing: the session is over. */
void hd_hold_leave(struct hd_node *n);
/* Hold the same, answer nothing, release nothing, until the next hd_hold_set. */
void hd_hold_rest(struct hd_node *n);

enum {
    HD_HOLD_IDLE = 0,   /* nothing is to be done before the next job, or before weights come */
    HD_HOLD_WORKED = 1, /* there may be more */
    HD_HOLD_READY = 2,  /* a round is; take its report */
};
int hd_hold_slice(struct hd_node *n, struct hd_error *err);
/* False: hd_hold_slice would be idle. True: it may have work. */
bool hd_hold_pending(const struct hd_node *n);
/* What a round did: `heads` are the held ones with K/V, `gaps` the sequences that its needs name
 * and whose log does not reach them; the digest is 0. 0 or HD_E_NOMEM; hd_kv_report_deinit in any
 * case. */
int hd_hold_report(struct hd_node *n, struct hd_kv_report *report);

/* A piece of something held was released. */
void hd_hold_load_again(struct hd_node *n);

/* Rows of the sequence from `positions` on are no more: the round does not need them. */
void hd_hold_cut(struct hd_node *n, uint32_t sequence, uint32_t positions);

/* The rows of an attention half whose answer is out. */
void hd_hold_follow(struct hd_node *n, uint32_t layer, const struct hd_rows *rows);
/* The log of these sequences (a mask) has got rows that were not followed. */
void hd_hold_behind(struct hd_node *n, uint64_t sequences);

#endif
