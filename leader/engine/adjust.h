/* adjust.h - what a request changes of a row's logits before its token is sampled: what its grammar
 * forbids, a bias of given tokens, and penalties of tokens that are there already. Pure.
 *
 * In this order: what the grammar forbids; bias; repetition (Keskar et al. 2019, of the prompt's
 * and the answer's tokens); frequency and presence (OpenAI's, of the answer's tokens only). It is a
 * function of the options and of the tokens so far, so a token that is sampled again after a
 * failure is the same token. Logarithms of probabilities that are reported are those of the model:
 * nothing of this is in them.
 *
 * A row with a bias or a penalty needs every logit: how much weight a penalty takes from the whole
 * is known only with those that it concerns, and a bias may lift any token above those that a
 * worker would send. What a grammar forbids can only take weight away, so that the best few often
 * show which token comes. */
#ifndef HD_ENGINE_ADJUST_H
#define HD_ENGINE_ADJUST_H

#include "leader/engine/sample.h"

/* Working room, shared by all requests. Zeroes: none yet. */
struct hd_adjust {
    struct hd_candidate *c; /* [2 vocab], a row's logits as they were adjusted */
    uint32_t *count;        /* [vocab], zeroes between two calls */
    size_t vocab;
};

/* By more than a grammar: every logit is needed. */
bool hd_sampling_adjusts(const struct hd_sampling *s);

/* Room for rows of `vocab` logits; nothing happens if it is there. 0 or HD_E_NOMEM. */
int hd_adjust_reserve(struct hd_adjust *a, size_t vocab);
void hd_adjust_deinit(struct hd_adjust *a);

/* Lets d->c be an adjusted copy; it must have every token, in the order of ids. `tokens`:
 * [n_tokens], of which the first n_prompt are the prompt. What the mask, a bit for each token or
 * NULL, does not allow becomes minus infinity. */
void hd_adjust_apply(struct hd_adjust *a, const struct hd_sampling *s, const uint32_t *mask,
                     const int32_t *tokens, size_t n_prompt, size_t n_tokens,
                     struct hd_distribution *d);

/* hd_sample among the tokens that the mask allows, of which there is one; for options that do not
 * adjust. HD_SAMPLE_MORE if it may be another one with every logit than with these: the weight of
 * what is not in d->c is known, not how much of it is allowed, and the token must be the same for
 * none and for all. */
int32_t hd_sample_allowed(struct hd_adjust *a, const struct hd_sampling *s, const uint32_t *mask,
                          uint64_t index, struct hd_distribution *d);

#endif
