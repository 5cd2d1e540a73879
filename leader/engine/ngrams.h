/* ngrams.h - where the last tokens of a text have come before: what followed there is a guess of
 * what follows here ("prompt lookup", Saxena 2023). Pure.
 *
 * An index of pairs of tokens, each with the place of the pair before it, and of single tokens; it
 * grows with the text, and a guess costs a few comparisons, microseconds at most. */
#ifndef HD_ENGINE_NGRAMS_H
#define HD_ENGINE_NGRAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HD_NGRAM_MOST 32 /* tokens that are compared backwards */

/* Zeroes: of an empty text. */
struct hd_ngrams {
    uint32_t *last; /* [slots]: of pairs with this hash the last one's end; 0: none */
    uint32_t *one;  /* [slots]: of tokens with this hash one behind the last one's place; 0: none */
    uint32_t *prev; /* [capacity]: of a pair's end, the end of the one before with its hash */
    uint32_t slots, capacity;
    uint32_t n; /* tokens whose pairs are in the index */
};

/* For a text of at most so many tokens. False: no memory, and there is no index. */
bool hd_ngrams_reserve(struct hd_ngrams *g, uint32_t capacity);
void hd_ngrams_deinit(struct hd_ngrams *g);

/* What may follow tokens [n], which only ever grow: up to `most` ids to `out`, behind the longest
 * of the latest places where the text's end has come before. Where what follows there reaches the
 * end it is taken to come again. Returns how many; *length: tokens that were the same, 1 at least.
 */
uint32_t hd_ngrams_guess(struct hd_ngrams *g, const int32_t *tokens, uint32_t n, int32_t *out,
                         uint32_t most, uint32_t *length);

#endif
