/* plans.h - what tests of strategies share. */
#ifndef HD_TESTS_PLANS_H
#define HD_TESTS_PLANS_H

#include "leader/core/plan.h"

/* A number below `below` from a generator that is the same everywhere. */
uint32_t plans_random(uint64_t *state, uint32_t below);
/* The strategy of that name, with the workers' names w0, w1 ... filled in. */
int plans_fill(const char *strategy, struct hd_plan *p, struct hd_plan_input *in);
/* ... which must succeed and give every unit an owner. */
void plans_fill_well(const char *strategy, struct hd_plan *p, struct hd_plan_input *in);
/* Units whose owner in `before` is alive have not moved. */
void plans_assert_kept(const struct hd_plan *now, const struct hd_plan *before, uint64_t alive);

#endif
