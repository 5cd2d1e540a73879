/* bpe.h - byte-level BPE: the bytes of one word to token ids, merging the best-ranked neighbours
 * first (Sennrich et al. 2016; lowest rank first, leftmost of equals). Internal to common/text.
 *
 * A word of n bytes costs O(n log n): symbols are a linked list, candidate pairs a heap whose
 * outdated entries are recognised when they come up. */
#ifndef HD_TEXT_BPE_H
#define HD_TEXT_BPE_H

#include "common/text/vocab.h"

struct hd_pair_slot {
    uint64_t key;  /* left id << 32 | right id; UINT64_MAX = free */
    uint32_t rank; /* lower is merged first */
    int32_t id;    /* of the merged token */
};

struct hd_bpe {
    struct hd_pair_slot *slots; /* open addressing */
    size_t n_slots;             /* a power of two, at most half full */
    bool ignore_merges;
};

/* Growing list of ids. */
struct hd_ids {
    int32_t *v; /* malloc'ed */
    size_t n, cap;
};
/* HD_E_NOMEM leaves the list as it was. */
int hd_ids_push(struct hd_ids *l, int32_t id);

struct hd_bpe_symbol {
    int32_t id;         /* -1: merged away */
    int32_t prev, next; /* -1: none */
};

/* Memory of one encode call, reused from word to word. */
struct hd_bpe_scratch {
    struct hd_bpe_symbol *symbols; /* [cap] */
    uint64_t *heap;                /* [3 * cap]: rank << 32 | position */
    size_t cap, n_heap;
    uint64_t pops; /* heap entries taken so far: the measure of work */
};
void hd_bpe_scratch_deinit(struct hd_bpe_scratch *s);

/* HD_E_FORMAT for a merge whose parts or result are no tokens, HD_E_NOMEM. */
int hd_bpe_init(struct hd_bpe *b, const struct hd_vocab *v, const struct hd_vocab_source *s,
                struct hd_error *err);
void hd_bpe_deinit(struct hd_bpe *b);

/* Appends the ids of one word (len <= HD_TEXT_MAX_BYTES). HD_E_NOMEM. */
int hd_bpe_encode(const struct hd_bpe *b, const struct hd_vocab *v, struct hd_str word,
                  struct hd_bpe_scratch *s, struct hd_ids *out);

#endif
