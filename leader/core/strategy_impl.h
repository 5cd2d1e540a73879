/* strategy_impl.h - what the strategies share. Each gives the orphans of one kind after the other:
 * it decides how many each worker gets, then hands them out in runs, so that a fresh plan is
 * contiguous. */
#ifndef HD_CORE_STRATEGY_IMPL_H
#define HD_CORE_STRATEGY_IMPL_H

#include "leader/core/plan.h"

struct strategy_fill {
    struct hd_plan *p;
    const struct hd_plan_input *in;
    uint64_t takers;                /* workers that may get orphans */
    uint32_t owned[HD_MAX_WORKERS]; /* units of the present kind, `quota` included */
    uint32_t quota[HD_MAX_WORKERS]; /* orphans it is to get */
    double load[HD_MAX_WORKERS];    /* cost of what it owns of the kinds so far */
    double total[HD_MAX_WORKERS];   /* ... and of all kinds */
    double bytes[HD_MAX_WORKERS];   /* of all that it owns, K/V as planned for */
};

static inline bool strategy_in(uint64_t set, unsigned slot)
{
    return set >> slot & 1;
}

/* HD_E_STATE when there is nobody to give anything to. */
int strategy_begin(struct strategy_fill *f, struct hd_plan *p, const struct hd_plan_input *in,
                   struct hd_error *err);
bool strategy_is_orphan(const struct strategy_fill *f, enum hd_unit_kind kind, uint32_t unit);
uint32_t strategy_orphans(const struct strategy_fill *f, enum hd_unit_kind kind);
double strategy_cost(const struct strategy_fill *f, enum hd_unit_kind kind);
/* Go on to a kind, once each: count what is owned, promise nothing yet. */
void strategy_count_owned(struct strategy_fill *f, enum hd_unit_kind kind);
void strategy_promise(struct strategy_fill *f, enum hd_unit_kind kind, unsigned slot);
/* Give the orphans out in runs: each worker its quota, in the order of slots. */
void strategy_hand_out(struct strategy_fill *f, enum hd_unit_kind kind);

/* Who may get orphaned heads: those whose logs spare a replay, if there are any. */
uint64_t strategy_head_takers(const struct strategy_fill *f);
/* Heads: who has the fewest; among those, who has the least to do. In both, who has no room for one
 * more gets it only if nobody has. */
void strategy_spread_heads(struct strategy_fill *f, uint64_t takers);
/* FFN and vocab blocks: who has the least to do of the kinds up to this one. */
void strategy_spread_blocks(struct strategy_fill *f);

extern const struct hd_strategy strategy_fixed, strategy_weighted, strategy_bandwidth;

#endif
