/* plans.c - random clusters and plans, and what no strategy may break. */
#include "tests/unit/core/plans.h"

#include <criterion/criterion.h>
#include <stdio.h>

uint32_t plans_random(uint64_t *state, uint32_t below)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33) % below;
}

int plans_fill(const char *strategy, struct hd_plan *p, struct hd_plan_input *in)
{
    static char text[HD_MAX_WORKERS][8];
    static const char *names[HD_MAX_WORKERS];
    struct hd_error err = {0};
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        snprintf(text[s], sizeof text[s], "w%u", s);
        names[s] = text[s];
    }
    in->names = names;
    return hd_strategy_find(strategy)->fill(p, in, &err);
}

void plans_fill_well(const char *strategy, struct hd_plan *p, struct hd_plan_input *in)
{
    cr_assert(plans_fill(strategy, p, in) == 0);
    cr_assert(hd_plan_complete(p, in->workers));
}

void plans_assert_kept(const struct hd_plan *now, const struct hd_plan *before, uint64_t alive)
{
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        for (uint32_t i = 0; i < now->count[k]; i++)
            if (before->owner[k][i] != HD_NOBODY && alive >> before->owner[k][i] & 1)
                cr_assert(now->owner[k][i] == before->owner[k][i]);
}
