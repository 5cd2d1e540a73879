/* fill.h - completing the input log of sequences that were open before this worker came: what to
 * ask for next, and what came. Sends nothing itself; the caller turns actions into messages.
 *
 * Happy path: hd_fill_begin -> hd_fill_next: HD_FILL_FETCH -> hd_fill_rows -> hd_fill_next ... ->
 * HD_FILL_STATE, complete -> HD_FILL_NOTHING. One fetch at a time. Live rows go on being logged
 * meanwhile, as the tail of the log; a layer is complete when its prefix has reached the tail, or
 * what is needed when there is none.
 *
 * Failure modes, each HD_FILL_STATE, not complete, and the next sequence is gone on with: 1. nobody
 * has the rows; 2. the log cannot take them. 3. A sequence is dropped: nothing is said of it, and
 * an answer that is still under way is not taken. */
#ifndef HD_WORKER_FILL_H
#define HD_WORKER_FILL_H

#include "worker/share/pace.h"
#include "worker/share/rebuild.h"

#define HD_FILL_BUSY_BYTES 32768               /* of a fetch beside steps: no step waits for more */
#define HD_FILL_IDLE_BYTES (UINT32_C(1) << 20) /* otherwise */

struct hd_fill;

/* A piece of the log. */
struct hd_log_piece {
    uint64_t id;
    uint32_t sequence, layer, position, count;
};

enum hd_fill_what {
    HD_FILL_NOTHING, /* not before `at_us`; UINT64_MAX: not before something comes */
    HD_FILL_FETCH,   /* ask for `piece` */
    HD_FILL_STATE,   /* say whether the log of piece.sequence is complete */
};
struct hd_fill_action {
    enum hd_fill_what what;
    uint64_t at_us;
    struct hd_log_piece piece;
    bool complete;
};

/* Borrows both. 0 or HD_E_NOMEM. */
int hd_fill_new(struct hd_fill **out, struct hd_node *n, const struct hd_pace *pace);
void hd_fill_free(struct hd_fill *f);

/* Complete the logs of a->needs, too; what was begun for one of them begins anew. */
void hd_fill_begin(struct hd_fill *f, const struct hd_assignment *a);
/* Give up sequences (a mask). */
void hd_fill_drop(struct hd_fill *f, uint64_t sequences);
/* Rows of the sequence from `positions` on are no more: they are not asked for, and what is under
 * way of them is not taken. */
void hd_fill_cut(struct hd_fill *f, uint32_t sequence, uint32_t positions);
/* False: hd_fill_next would say nothing, at any time, before something comes. */
bool hd_fill_pending(const struct hd_fill *f);
/* What is to be done now; to be called again until it is nothing. */
struct hd_fill_action hd_fill_next(struct hd_fill *f, uint64_t now_us);
/* Takes piece.count rows; 0: nobody has them. An answer to another fetch than the one that is under
 * way is passed over. 0, or HD_E_PROTO: it is not what was asked for. */
struct hd_log_answer {
    struct hd_log_piece piece;
    const uint8_t *rows; /* [count] of hd_model_row_bytes */
    uint64_t now_us;
};
int hd_fill_rows(struct hd_fill *f, const struct hd_log_answer *answer, struct hd_error *err);

#endif
