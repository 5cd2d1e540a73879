/* kv.h - the K/V cache of the heads a worker owns or holds: which rows are valid, and what was
 * counted. The rows themselves are in the device's memory (device.h).
 *
 * One lane for each (sequence, layer, head), with a count of valid positions. Rows become valid in
 * order, so the valid ones are always 0 .. valid-1. A valid row is never written again and never
 * shortened away: it is a function of the sequence's tokens alone, and a row that was computed
 * before its step was interrupted is what the retry would compute. The only ways back are to drop a
 * lane whole, and hd_kv_cut: a row is not what was written, so it and what lies behind it is
 * computed again; or the leader wants other tokens from there on. A store that is scrubbed keeps
 * what is dropped until somebody has looked at it once more: answers that have left may be made of
 * it.
 *
 * A sequence may share its first rows, whole blocks, with another one, its parent: the lanes of the
 * parent have them, once, and what is here counted, proved, dropped of the sequence begins behind
 * them. A parent outlives who shares with it: that is the leader's to see to.
 *
 * One thread only. */
#ifndef HD_WORKER_KV_H
#define HD_WORKER_KV_H

#include "worker/device.h"

struct hd_kv;

/* Counted for each (layer, head) since the store was made. */
struct hd_kv_counters {
    uint64_t hits;    /* rows that a step found valid (it was a retry) */
    uint64_t misses;  /* rows that a step had to compute */
    uint64_t rebuilt; /* rows computed from the input log */
    uint64_t standby; /* rows computed beside a step, while the head was held */
    uint64_t bytes;   /* of the device's memory, now */
};

/* Of the device's sizes. 0 or HD_E_NOMEM. */
int hd_kv_new(struct hd_kv **out, struct hd_device *d);
void hd_kv_free(struct hd_kv *kv);
/* Where its rows are. */
struct hd_device_kv *hd_kv_memory(const struct hd_kv *kv);

/* Rows below `shared` are the parent's; 0: none. The sequence has no lanes. */
struct hd_kv_share {
    uint32_t parent, shared;
};
void hd_kv_share(struct hd_kv *kv, uint32_t sequence, struct hd_kv_share with);
struct hd_kv_share hd_kv_shared(const struct hd_kv *kv, uint32_t sequence);
/* The sequence, the one that it shares with, and so on (a mask). */
uint64_t hd_kv_lineage(const struct hd_kv *kv, uint32_t sequence);
/* Is all that a lane's rows see of other sequences valid? */
bool hd_kv_shared_valid(const struct hd_kv *kv, struct hd_kv_at at);

/* Makes room for positions 0 .. positions-1. 0, HD_E_LIMIT (more than max_positions) or HD_E_NOMEM;
 * rows that were valid stay so in any case. */
int hd_kv_reserve(struct hd_kv *kv, struct hd_kv_at at, uint32_t positions);
/* Bytes of one K row (and of one V row). */
size_t hd_kv_row_bytes(const struct hd_kv *kv);
/* Copies a valid row: [row bytes] each. */
void hd_kv_read(const struct hd_kv *kv, struct hd_kv_at at, uint32_t position, void *k, void *v);
/* Of its own valid rows below `positions`: of their digests, with that of what goes before as the
 * seed. Rows that were computed from the same inputs have the same, whatever computed them. */
uint64_t hd_kv_digest(const struct hd_kv *kv, struct hd_kv_at at, uint32_t positions,
                      uint64_t seed);
/* Declares the rows below `positions` written. Never lowers the count. */
void hd_kv_commit(struct hd_kv *kv, struct hd_kv_at at, uint32_t positions);
/* Shared ones are always counted, whether the parent has them or not. */
uint32_t hd_kv_valid(const struct hd_kv *kv, struct hd_kv_at at);
uint32_t hd_kv_own(const struct hd_kv *kv, struct hd_kv_at at); /* of them, its own */

/* ---- Damage (trust/scrub.h) ----*/

/* The first valid row of a block (positions block * HD_ATTN_BLOCK and on) that is not what was
 * written; UINT32_MAX: all are. */
uint32_t hd_kv_bad_row(const struct hd_kv *kv, struct hd_kv_at at, uint32_t block);
/* When a block was looked at last: for the scrub, which sets it. 0: never. The block is there. */
uint64_t *hd_kv_seen_us(const struct hd_kv *kv, struct hd_kv_at at, uint32_t block);
/* Rows from `position` on are valid no more. */
void hd_kv_cut(struct hd_kv *kv, struct hd_kv_at at, uint32_t position);
/* ... in all lanes of a sequence. */
void hd_kv_cut_sequence(struct hd_kv *kv, uint32_t sequence, uint32_t position);
/* Counters of all lanes begin at 0. */
void hd_kv_count_anew(struct hd_kv *kv);
/* Does the store have anything of this sequence? */
bool hd_kv_has(const struct hd_kv *kv, uint32_t sequence);

/* Rows that are dropped from now on stay, with their digests, for hd_kv_prove_dropped; or they are
 * freed at once, as a new store does. */
void hd_kv_keep_dropped(struct hd_kv *kv, bool keep);
/* A block of what was dropped first, as it was. */
struct hd_kv_dropped {
    struct hd_kv_at at;
    uint32_t bad;     /* the first position that is not what was written; UINT32_MAX: all are */
    uint64_t seen_us; /* as of hd_kv_seen_us */
};
/* Looks at it; behind the last block of a lane that is freed. Returns the bytes that the block had,
 * 0: there is none. */
size_t hd_kv_prove_dropped(struct hd_kv *kv, struct hd_kv_dropped *out);
/* That are still to be looked at. */
uint64_t hd_kv_dropped_bytes(const struct hd_kv *kv);
void hd_kv_free_dropped(struct hd_kv *kv);

/* It shares with nobody then. */
void hd_kv_drop_sequence(struct hd_kv *kv, uint32_t sequence);
void hd_kv_drop_head(struct hd_kv *kv, uint32_t head);
void hd_kv_drop_lanes(struct hd_kv *kv, uint32_t layer, uint32_t head); /* of every sequence */
void hd_kv_clear(struct hd_kv *kv);

struct hd_kv_counters *hd_kv_counters(struct hd_kv *kv, uint32_t layer, uint32_t head);
/* Valid positions of a (layer, head), summed over sequences; what is shared counts once. */
uint64_t hd_kv_valid_total(const struct hd_kv *kv, uint32_t layer, uint32_t head);
uint64_t hd_kv_bytes(const struct hd_kv *kv); /* with those that are dropped and kept */

#endif
