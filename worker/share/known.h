/* known.h - which tokens the rows of each sequence are of. A row is a function of the tokens up to
 * its own, so these say to whom the rows are of use when the leader that knew it is gone.
 *
 * Of a sequence that shares its first rows with another one the tokens of those are the other's.
 * Tokens are known from the first of a sequence's own rows on, without a gap: a token that is not
 * the next one is no use. One thread only. */
#ifndef HD_WORKER_KNOWN_H
#define HD_WORKER_KNOWN_H

#include <stddef.h>
#include <stdint.h>

struct hd_known {
    int32_t *tokens;   /* [n - first], owned */
    uint32_t first, n; /* of positions first .. n - 1 */
    uint32_t cap;      /* tokens that there is room for */
    uint64_t scope;    /* as the leader said when it was opened */
};

/* A row of this token was sent. One before `n` takes the place of what was there; when that was
 * another one, nothing behind it is known any more. What there is no memory for is not known. */
void hd_known_add(struct hd_known *k, uint32_t position, int32_t token);
/* All of them, from k->first on. 0 or HD_E_NOMEM (then none are known). */
int hd_known_set(struct hd_known *k, const int32_t *tokens, size_t n);
/* Tokens from `position` on are no more. */
void hd_known_cut(struct hd_known *k, uint32_t position);
/* Nothing is known; the first own row is at this position. */
void hd_known_clear(struct hd_known *k, uint32_t first);
void hd_known_free(struct hd_known *k);

#endif
