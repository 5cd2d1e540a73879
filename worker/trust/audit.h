/* audit.h - what another worker has answered to a half-step, computed once more: the same code,
 * from the same inputs, with this worker's weights and K/V rows.
 *
 * Happy path: hd_audit_add -> hd_audit_slice, again and again between the jobs, each a small piece
 * of the work (weights of some of the units in this one layer; up to HD_LOG_CHUNK positions of one
 * lane for each thread, out of the own input log; HD_AUDIT_ROWS rows of the half-step itself) ->
 * HD_AUDIT_DONE, with the digest that the answer must have. One audit after the other.
 *
 * The weights and rows that an audit has loaded lie beside those of the owned and held units, like
 * what is left of a unit that was given away: the next audits of this layer find them, and only add
 * rows. They stay while audits keep to a few layers; the least recently used go when another layer
 * comes. What is owned or held is used as it is. A unit that comes to be owned or held finds its
 * weights there, but not its rows: what serves is computed for it, and counted, so that audits
 * change no counter. `fresh` uses nothing that was there: stores of its own, which are given up at
 * the end; weights from their source, every row from the log.
 *
 * Failure modes, each HD_AUDIT_DONE with `cannot`: 1. the log lacks a row that is needed; 2. the
 * sequence is dropped or replayed; 3. out of memory; 4. weights that cannot be had. Steps go on in
 * any case. */
#ifndef HD_WORKER_AUDIT_H
#define HD_WORKER_AUDIT_H

#include "worker/share/node.h"

#define HD_AUDITS_MAX 8 /* at a time; a leader that has more of them asks too fast */
/* Rows of a half-step in one slice: a step that comes meanwhile waits for so many. */
#define HD_AUDIT_ROWS 16
/* Layers of heads, or of FFN blocks, or sets of vocab blocks whose pieces stay. */
#define HD_AUDIT_KEPT 4

struct hd_audit;

/* Half-step `step` as it was sent, answered by a worker with these units: of the half's kind,
 * ascending, at least one. */
struct hd_audit_order {
    uint64_t id;
    bool fresh;
    struct hd_unit_list units;
    struct hd_half_step step;
};
struct hd_audit_answer {
    uint64_t id;
    bool cannot;
    uint64_t digest;     /* common/net/answer_digest.h */
    uint64_t compute_us; /* of all slices */
    struct hd_error why; /* it cannot */
};

/* 0 or HD_E_NOMEM. */
int hd_audit_new(struct hd_audit **out, const struct hd_model_shape *m);
void hd_audit_free(struct hd_audit *a);

/* Copies the order. 0, HD_E_LIMIT (HD_AUDITS_MAX are waiting) or HD_E_NOMEM. */
int hd_audit_add(struct hd_node *n, const struct hd_audit_order *o);
/* False: hd_audit_slice would be idle. */
bool hd_audit_pending(const struct hd_node *n);

enum {
    HD_AUDIT_IDLE = 0,   /* nothing is to be done before the next audit, or before weights come */
    HD_AUDIT_WORKED = 1, /* there is more */
    HD_AUDIT_DONE = 2,   /* *answer is one's; there may be another audit */
};
int hd_audit_slice(struct hd_node *n, struct hd_audit_answer *answer);

/* What is audited of these sequences (a mask) is not any more. */
void hd_audit_drop(struct hd_node *n, uint64_t sequences);
/* ... of its rows from `positions` on. */
void hd_audit_cut(struct hd_node *n, uint32_t sequence, uint32_t positions);
/* What is owned or held is about to change: rows of what was neither are given up. */
void hd_audit_reassign(struct hd_node *n);
/* The session is over: no audits, nothing kept. Before owned and held units are forgotten. */
void hd_audit_leave(struct hd_node *n);
/* Of the stores of a `fresh` audit. */
uint64_t hd_audit_weight_bytes(const struct hd_node *n);
uint64_t hd_audit_kv_bytes(const struct hd_node *n);

#endif
