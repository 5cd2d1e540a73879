/* unit.h - the one vocabulary of what a model is cut into, for plans, weights, messages and
 * counters. How many units a model has and how wide they are: model.h; what a unit is made of:
 * arch.h. */
#ifndef HD_MODEL_UNIT_H
#define HD_MODEL_UNIT_H

#include <stdint.h>

/* The numbers travel (Weights.kind, Damage.unit_kind) and stand in files' names. */
enum hd_unit_kind {
    HD_UNIT_HEAD,  /* a KV head and the query heads that share it */
    HD_UNIT_FFN,   /* a slice of the FFN's hidden columns */
    HD_UNIT_VOCAB, /* a slice of the output matrix's rows */
    HD_UNIT_KINDS  /* one past the last */
};

/* A step is two halves for each layer, and the logits. The numbers travel (Step.half). */
enum hd_half { HD_HALF_ATTENTION, HD_HALF_FFN, HD_HALF_LOGITS };

/* What a step may hold, by agreement of leader and workers. */
#define HD_MAX_SEQUENCES 64 /* alive at once: a set of them is one 64-bit mask */
#define HD_MAX_GROUPS    2  /* of its rows: workers compute one while the other is on its way */

/* "head", "FFN block", "vocab block" */
const char *hd_unit_kind_name(enum hd_unit_kind kind);

/* The kind of units that a half-step sums up; `half` is one of enum hd_half, as it may have come by
 * wire. */
static inline enum hd_unit_kind hd_half_units(unsigned half)
{
    return half == HD_HALF_ATTENTION ? HD_UNIT_HEAD
           : half == HD_HALF_FFN     ? HD_UNIT_FFN
                                     : HD_UNIT_VOCAB;
}

#endif
