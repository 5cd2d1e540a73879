/* sample.h - from logits to a token, reproducibly. Pure. */
#ifndef HD_ENGINE_SAMPLE_H
#define HD_ENGINE_SAMPLE_H

#include "leader/engine/request.h"

struct hd_candidate {
    int32_t id;
    float logit;
};

/* True when a comes before b: larger logit, ties to the lower id. NaN comes last. */
bool hd_candidate_before(const struct hd_candidate *a, const struct hd_candidate *b);

/* Reorder c[0..n) so that its best `k` (at most n) come first, in order. O(n + k log n). */
void hd_candidates_best(struct hd_candidate *c, size_t n, size_t k);

/* A penalty, a bias, typical_p or XTC: the token is known by every logit only. */
bool hd_sampling_wants_all(const struct hd_sampling *s);
/* How many candidates of each vocab block the options need: 0 = every logit. When these turn out
 * not to be enough (hd_sample says so), every logit is. */
uint32_t hd_sampling_want(const struct hd_sampling *s, uint32_t top_logprobs);
/* The temperature at which the sum over each vocab block is needed besides; 0 = none is. */
float hd_sampling_temperature(const struct hd_sampling *s);

/* What is known of a row's distribution. */
struct hd_distribution {
    struct hd_candidate *c; /* [n], n >= 1; reordered */
    size_t n;
    uint32_t each; /* c holds the best so many of each vocab block; 0 = every token */
    float bound;   /* no token that is not in c has a larger logit; NAN: there is none */
    double lse; /* log(sum(exp(logit / temperature))) over all tokens; NAN: not known, c has all */
};

#define HD_SAMPLE_MORE (-1)
/* The token at `index` of the answer, or HD_SAMPLE_MORE: it may be one that is not in c. Greedy at
 * temperature 0; else softmax of logit / temperature over the best top_k, of these the typical ones
 * (typical.h), cut to the smallest set whose probability reaches top_p (Holtzman et al. 2020), and
 * to tokens with at least min_p of the best one's (Nguyen et al. 2024); then, by a number of its
 * own from (seed, index), in xtc_probability of all cases without the most probable ones: all whose
 * probability is xtc_threshold or more but the least of these (XTC, as llama.cpp has it). One
 * uniform number from (seed, index) walks the tokens from the most probable on. Decided with
 * candidates it is the same token as with every logit; typical_p and XTC want every logit. */
int32_t hd_sample(const struct hd_sampling *s, uint64_t index, struct hd_distribution *d);

/* A uniform number in [0, 1) from (seed, index): splitmix64 (Steele et al. 2014), stateless, so a
 * token that is sampled again after a failure is the same token. */
double hd_sample_uniform(uint64_t seed, uint64_t index);

#endif
