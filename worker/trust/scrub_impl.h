/* scrub_impl.h - shared by scrub.c (rounds, and what is done about a finding) and scrub_items.c
 * (the walk over all there is). */
#ifndef HD_WORKER_SCRUB_IMPL_H
#define HD_WORKER_SCRUB_IMPL_H

#include "worker/share/kv_work.h"
#include "worker/trust/scrub.h"

/* In this order. */
enum scrub_phase { SCRUB_TABLES, SCRUB_ANGLES, SCRUB_WEIGHTS, SCRUB_KV, SCRUB_LOG, SCRUB_PHASES };

/* Where a round is. Whatever the numbers name may have gone since. */
struct scrub_cursor {
    enum scrub_phase phase;
    uint32_t position;                     /* angles */
    size_t piece;                          /* weights, by piece.h's numbers */
    uint32_t sequence, layer, head, block; /* K/V, and but for the head the log */
    bool inside;                           /* in the midst of a piece: */
    uint32_t serial;                       /* it was packed as this one */
    uint64_t entered_us;                   /* at this time */
    struct hd_piece_walk walk;
};

struct hd_scrub {
    uint64_t round_us; /* 0: nothing is looked at */
    uint64_t ideal_us; /* when the next slice would be due if none had ever been late */
    uint64_t due_us;   /* the next slice of the round */
    uint64_t slice_us; /* when the last slice was */
    uint64_t began_us; /* this round; the one before: the node's whole_us */
    struct hd_scrub_totals totals;
    struct scrub_cursor cursor;
    /* What hd_scrub_repair is to do; K/V: the rows of this lane up to lane_end are to come back. */
    bool broken;
    struct hd_finding found;
    struct hd_kv_at lane;
    uint32_t lane_end;
    struct hd_kv_list list;
};

/* Looks at what the cursor points to and moves it on; returns how many bytes that was, or as much
 * as it cost. Sets s->broken, or tells what needs no repair. HD_E_STATE in *rc: see scrub.h. */
size_t scrub_look(struct hd_node *n, uint64_t now_us, int *rc);
/* Looks at a block of rows that was dropped; 0: there is none. */
size_t scrub_look_at_dropped(struct hd_node *n, uint64_t now_us);

#endif
