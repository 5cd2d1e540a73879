/* planning.c - the epochs' plans: what strategies are told, and what they give. */
#include "leader/core/core_impl.h"

#include <stdio.h>

#define MEMORY_SHARE 0.875 /* of a machine's memory, for units; the rest is for all else on it */

void hd_core_measured(const struct hd_core *c, struct hd_plan_worker *list)
{
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        double way = core_us_per_byte(c, s), rtt_us = core_rtt_us(c, s);
        list[s] = (struct hd_plan_worker){
            .speed = core_speed(c, s),
            .memory = core_memory(c, s) * MEMORY_SHARE,
            .rtt_s = rtt_us > 0 ? rtt_us / 1e6 : 0,
            .rate = way > 0 ? 1e6 / way : 0,
        };
    }
}

bool core_fill_plan(struct hd_core *c, struct hd_plan *p, uint64_t workers, uint64_t preferred)
{
    struct hd_error err = {0};
    struct hd_plan_worker measured[HD_MAX_WORKERS];
    struct hd_plan_input in = {
        .workers = workers,
        .preferred = preferred,
        .avoid = core_suspects(c) | core_pace_partial(c) | (workers & ~core_usable(c)),
        .fixed = c->o.fixed,
        .names = core_names(c),
        .target = c->o.target,
        .epoch = c->epochs.number + 1,
        .measured = measured,
    };
    hd_core_measured(c, measured);
    for (int k = 0; k < HD_UNIT_KINDS; k++) {
        in.cost[k] = c->o.cost[k];
        in.unit[k] = c->o.unit[k];
    }
    c->epochs.plan_error[0] = 0;
    if (c->o.strategy->fill(p, &in, &err) == 0)
        return true;
    snprintf(c->epochs.plan_error, sizeof c->epochs.plan_error, "no plan: %.200s", err.text);
    return false;
}

bool core_ideal_plan(struct hd_core *c, struct hd_plan *out)
{
    hd_plan_clear(out);
    return core_fill_plan(c, out, core_usable(c), 0);
}
