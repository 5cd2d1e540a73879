/* kv.h - the K/V cache of the heads a worker owns or holds, reached only through these accessors.
 *
 * One lane for each (sequence, layer, head): blocks of HD_ATTN_BLOCK positions, allocated when a
 * position in them is first needed, and a count of valid positions. Rows become valid in order, so
 * the valid ones are always 0 .. valid-1. A valid row is never written again and never shortened
 * away: it is a function of the sequence's tokens alone, and a row that was computed before its
 * step was interrupted is what the retry would compute. The only ways back are to drop a lane
 * whole, and hd_kv_cut: a row is not what was written, so it and what lies behind it is computed
 * again. A store that is scrubbed keeps what is dropped until somebody has looked at it once more:
 * answers that have left may be made of it.
 *
 * Who writes a row seals it: its digest is made while it is in that core's cache. Distinct rows may
 * be written and sealed by several threads at once, and checked while nobody writes; every other
 * call belongs to the one thread that owns the store. */
#ifndef HD_WORKER_KV_H
#define HD_WORKER_KV_H

#include "common/math/kernels.h"
#include "common/util/error.h"

struct hd_kv;

struct hd_kv_options {
    uint32_t layers, heads, head_dim;
    uint32_t sequences;     /* sequence numbers are below this */
    uint32_t max_positions; /* of a sequence */
    enum hd_kv_type type;
};

/* Names one lane. */
struct hd_kv_at {
    uint32_t sequence, layer, head;
};

/* A lane as hd_attention wants it. */
struct hd_kv_view {
    const void *const *k; /* [blocks]: each [HD_ATTN_BLOCK][head_dim] elements */
    const void *const *v; /* likewise */
    uint32_t valid;       /* positions 0 .. valid-1 hold rows */
};

/* Counted for each (layer, head) since the store was made. */
struct hd_kv_counters {
    uint64_t hits;    /* rows that a step found valid (it was a retry) */
    uint64_t misses;  /* rows that a step had to compute */
    uint64_t rebuilt; /* rows computed from the input log */
    uint64_t standby; /* rows computed beside a step, while the head was held */
    uint64_t bytes;   /* allocated now */
};

/* 0 or HD_E_NOMEM. */
int hd_kv_new(struct hd_kv **out, const struct hd_kv_options *o);
void hd_kv_free(struct hd_kv *kv);

/* Makes room for positions 0 .. positions-1. 0, HD_E_LIMIT (more than max_positions) or HD_E_NOMEM;
 * rows that were valid stay so in any case. */
int hd_kv_reserve(struct hd_kv *kv, struct hd_kv_at at, uint32_t positions);
/* Where the row of a reserved position lies: [head_dim] elements of the storage type. */
void *hd_kv_k(const struct hd_kv *kv, struct hd_kv_at at, uint32_t position);
void *hd_kv_v(const struct hd_kv *kv, struct hd_kv_at at, uint32_t position);
/* Bytes of one K row (and of one V row). */
size_t hd_kv_row_bytes(const struct hd_kv *kv);
/* Makes the digest of a row that was just written. */
void hd_kv_seal(struct hd_kv *kv, struct hd_kv_at at, uint32_t position);
/* Declares the rows below `positions` written and sealed. Never lowers the count. */
void hd_kv_commit(struct hd_kv *kv, struct hd_kv_at at, uint32_t positions);
uint32_t hd_kv_valid(const struct hd_kv *kv, struct hd_kv_at at);
struct hd_kv_view hd_kv_view(const struct hd_kv *kv, struct hd_kv_at at);

/* ---- Damage (scrub.h) ----*/

/* The first valid row of a block (positions block * HD_ATTN_BLOCK and on) that is not what was
 * sealed; UINT32_MAX: all are. */
uint32_t hd_kv_bad_row(const struct hd_kv *kv, struct hd_kv_at at, uint32_t block);
/* When a block was looked at last: for the scrub, which sets it. 0: never. The block is there. */
uint64_t *hd_kv_seen_us(const struct hd_kv *kv, struct hd_kv_at at, uint32_t block);
/* Rows from `position` on are valid no more. */
void hd_kv_cut(struct hd_kv *kv, struct hd_kv_at at, uint32_t position);
/* Does the store have anything of this sequence? */
bool hd_kv_has(const struct hd_kv *kv, uint32_t sequence);

/* Blocks that are dropped from now on stay, with their digests, for hd_kv_prove_dropped; or they
 * are freed at once, as a new store does. */
void hd_kv_keep_dropped(struct hd_kv *kv, bool keep);
/* The block that was dropped first, as it was. */
struct hd_kv_dropped {
    struct hd_kv_at at;
    uint32_t bad;     /* the first position that is not what was sealed; UINT32_MAX: all are */
    uint64_t seen_us; /* as of hd_kv_seen_us */
};
/* Looks at it and frees it. Returns the bytes that it had, 0: there is none. */
size_t hd_kv_prove_dropped(struct hd_kv *kv, struct hd_kv_dropped *out);
uint64_t hd_kv_dropped_bytes(const struct hd_kv *kv);
void hd_kv_free_dropped(struct hd_kv *kv);

void hd_kv_drop_sequence(struct hd_kv *kv, uint32_t sequence);
void hd_kv_drop_head(struct hd_kv *kv, uint32_t head);
void hd_kv_drop_lanes(struct hd_kv *kv, uint32_t layer, uint32_t head); /* of every sequence */
void hd_kv_clear(struct hd_kv *kv);

struct hd_kv_counters *hd_kv_counters(struct hd_kv *kv, uint32_t layer, uint32_t head);
/* Valid positions of a (layer, head), summed over sequences. */
uint64_t hd_kv_valid_total(const struct hd_kv *kv, uint32_t layer, uint32_t head);
uint64_t hd_kv_bytes(const struct hd_kv *kv); /* with those that are dropped and kept */
const struct hd_kv_options *hd_kv_shape(const struct hd_kv *kv);

#endif
