/* ngrams.c - a hash table of pairs, and chains through the text. */
#include "leader/engine/ngrams.h"

#include <stdlib.h>

#define CHAIN 24 /* places that are looked at: older ones say less */

bool hd_ngrams_reserve(struct hd_ngrams *g, uint32_t capacity)
{
    if (g->last)
        return true;
    uint32_t slots = 64;
    while (slots < capacity)
        slots *= 2;
    g->last = calloc(slots, sizeof *g->last);
    g->one = calloc(slots, sizeof *g->one);
    g->prev = calloc((size_t)capacity + 1, sizeof *g->prev);
    g->slots = slots;
    g->capacity = capacity;
    if (g->last && g->one && g->prev)
        return true;
    hd_ngrams_deinit(g);
    return false;
}

void hd_ngrams_deinit(struct hd_ngrams *g)
{
    free(g->last);
    free(g->one);
    free(g->prev);
    *g = (struct hd_ngrams){0};
}

/* Of the pair that ends at position p >= 1. */
static uint32_t slot_of(const struct hd_ngrams *g, const int32_t *tokens, uint32_t p)
{
    uint64_t pair = (uint64_t)(uint32_t)tokens[p - 1] << 32 | (uint32_t)tokens[p];
    pair *= UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(pair >> 32) & (g->slots - 1);
}

static uint32_t slot_of_one(const struct hd_ngrams *g, int32_t token)
{
    return (uint32_t)token * UINT32_C(0x9e3779b9) >> 7 & (g->slots - 1);
}

/* All but what the text ends with: its like is looked for. */
static void catch_up(struct hd_ngrams *g, const int32_t *tokens, uint32_t n)
{
    if (g->n == 0)
        g->one[slot_of_one(g, tokens[0])] = 1;
    for (uint32_t p = g->n > 0 ? g->n : 1; p + 1 < n; p++) {
        uint32_t *last = &g->last[slot_of(g, tokens, p)];
        g->prev[p] = *last;
        *last = p;
        g->one[slot_of_one(g, tokens[p])] = p + 1;
        g->n = p + 1;
    }
}

/* The last place of the text's last token, before its end; UINT32_MAX: there is none. */
static uint32_t last_alone(const struct hd_ngrams *g, const int32_t *tokens, uint32_t n)
{
    uint32_t behind = g->one[slot_of_one(g, tokens[n - 1])];
    return behind > 0 && tokens[behind - 1] == tokens[n - 1] ? behind - 1 : UINT32_MAX;
}

/* Tokens up to position p, and up to the text's end, that are the same. */
static uint32_t same_before(const int32_t *tokens, uint32_t p, uint32_t n)
{
    uint32_t length = 0;
    while (length < HD_NGRAM_MOST && length <= p && tokens[p - length] == tokens[n - 1 - length])
        length++;
    return length;
}

uint32_t hd_ngrams_guess(struct hd_ngrams *g, const int32_t *tokens, uint32_t n, int32_t *out,
                         uint32_t most, uint32_t *length)
{
    if (n < 3 || n > g->capacity)
        return 0;
    catch_up(g, tokens, n);
    uint32_t best = last_alone(g, tokens, n);
    *length = 1;
    uint32_t p = g->last[slot_of(g, tokens, n - 1)];
    for (int i = 0; i < CHAIN && p > 0; i++, p = g->prev[p]) {
        uint32_t same = same_before(tokens, p, n);
        if (same > *length) {
            *length = same;
            best = p;
        }
    }
    if (best == UINT32_MAX)
        return 0;
    uint32_t there = n - 1 - best; /* tokens behind it */
    for (uint32_t i = 0; i < most; i++)
        out[i] = i < there ? tokens[best + 1 + i] : out[i - there];
    return most;
}
