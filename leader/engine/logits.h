/* logits.h - collects what the workers say of the sampled rows: for each vocab block its
 * log-sum-exp and either every logit or its best few. Folded in block order, so that nothing
 * depends on which worker owned which block. */
#ifndef HD_ENGINE_LOGITS_H
#define HD_ENGINE_LOGITS_H

#include "common/model/model.h"
#include "leader/engine/engine.h"
#include "leader/engine/sample.h"

struct hd_logits {
    const struct hd_units *units;
    uint32_t vocab;
    size_t rows;
    struct hd_logits_row {
        uint32_t want;
        float temperature;      /* 0: no sums at it */
        float *lse;             /* [vocab_blocks] */
        float *lse_t;           /* [vocab_blocks], at the temperature */
        struct hd_candidate *c; /* all: [vocab] in id order; else [vocab_blocks][want], see n */
        uint32_t *n;            /* [vocab_blocks] candidates of each block */
        size_t joined;          /* length of the joined list, 0 before it is made */
        float bound;            /* then: what is not in it has no larger logit */
    } * row;                    /* [rows] */
};

/* Room for the rows of `work`. 0 or HD_E_NOMEM. */
int hd_logits_init(struct hd_logits *l, const struct hd_units *units, uint32_t vocab,
                   const struct hd_half_work *work);
void hd_logits_deinit(struct hd_logits *l);
/* Take one worker's payload (proto/README.md). HD_E_PROTO when its length or a token id is wrong:
 * its sender is cut off, and the half-step starts again from nothing. */
int hd_logits_add(struct hd_logits *l, const struct hd_half_result *r, struct hd_error *err);
/* log(sum(exp)) over the whole vocabulary, in block order. */
double hd_logits_lse(const struct hd_logits *l, size_t row);
/* What there is to sample the row by (hd_sample). */
void hd_logits_distribution(struct hd_logits *l, size_t row, struct hd_distribution *d);
/* The row's candidates as one list, made in place the first time; returns how many. Call when every
 * block is in; the caller may reorder the list. */
size_t hd_logits_candidates(struct hd_logits *l, size_t row, struct hd_candidate **c);

#endif
