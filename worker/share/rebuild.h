/* rebuild.h - taking over units: weights of what is new, K/V of its heads from the input log.
 *
 * An assignment is the complete list of what is owned, and of what is held beside (hold.h). Rows
 * that are valid are never touched; rows beyond what is needed stay too (they are what the
 * interrupted step computed: the retry's hits). A unit that was held, or not yet released, costs
 * what it lacks: nothing when it was ready. */
#ifndef HD_WORKER_REBUILD_H
#define HD_WORKER_REBUILD_H

#include "worker/share/node.h"

/* What a live sequence must hold: base positions in every layer, and `inflight` more of each group
 * in the layers that this group of the interrupted step has finished. replayed: everything of it is
 * dropped instead. */
struct hd_sequence_need {
    uint32_t sequence, base, inflight[HD_MAX_GROUPS];
    bool replayed;
    struct hd_kv_share share; /* of these rows, what another one's need is */
};

struct hd_assignment {
    struct hd_unit_list want[HD_UNIT_KINDS];
    struct hd_unit_list hold[HD_UNIT_KINDS];
    struct hd_unit_list bare; /* those of the held heads whose weights alone are held */
    uint64_t epoch, round;    /* round != 0: want and clear are not used (hold.h) */
    bool clear;               /* forget all sequences first */
    const struct hd_sequence_need *needs;
    size_t n_needs;
    uint32_t layers_done[HD_MAX_GROUPS]; /* descending */
};

/* What the rows of a sequence that an assignment needs are of one head, in all layers. Workers that
 * have computed the same rows have the same. */
struct hd_rows_digest {
    uint32_t sequence, head;
    uint64_t digest;
};

struct hd_kv_report {
    uint64_t epoch, round;
    uint32_t *heads; /* newly owned, ascending; malloc'ed: hd_kv_report_deinit */
    size_t n_heads;
    uint32_t *ready; /* those of them whose weights and rows were all there before; likewise */
    size_t n_ready;
    uint32_t gaps[HD_MAX_SEQUENCES]; /* sequences whose log does not cover what is missing */
    size_t n_gaps;
    uint64_t positions;    /* that sequences without a gap must hold, summed */
    uint64_t rows_rebuilt; /* (layer, head, position) */
    uint64_t rows_kept;    /* likewise: valid before, untouched */
    uint64_t bytes;        /* of K/V written */
    uint64_t flops;
    uint64_t weights_us, rebuild_us; /* 0: nothing was to be loaded, computed */
    /* Of each sequence and head of which all rows that are needed are there, owned or not:
     * malloc'ed likewise. Without a round only. */
    struct hd_rows_digest *digests;
    size_t n_digests;
};

/* An assignment without a round; what it holds is hd_hold_set's. 0, HD_E_NOMEM, or what packing
 * weights said. The report must be deinitialised in any case. */
int hd_rebuild(struct hd_node *n, const struct hd_assignment *a, struct hd_kv_report *report,
               struct hd_error *err);
void hd_kv_report_deinit(struct hd_kv_report *report);

/* The sequences of these needs share what they say. */
void hd_note_shares(struct hd_node *n, const struct hd_assignment *a);
/* Of its rows those from `positions` on are no more. */
void hd_need_cut(struct hd_sequence_need *need, uint32_t positions);
/* Positions that a layer must hold. */
uint32_t hd_needed(const struct hd_assignment *a, const struct hd_sequence_need *need,
                   uint32_t layer);
/* Fills in gaps and positions, for these heads: a gap is a sequence of which one of them lacks rows
 * that the log does not have. Returns the mask of gaps. */
uint64_t hd_find_gaps(const struct hd_node *n, const struct hd_assignment *a,
                      struct hd_unit_list heads, struct hd_kv_report *report);
/* Bytes and flops of report->rows_rebuilt. */
void hd_kv_report_size(const struct hd_node *n, struct hd_kv_report *report);

#endif
