/* join.c - a worker that comes to a running cluster is given work without a pause.
 *
 * Happy path: between two steps the newcomer alone is sent the units that it is to have (PREPARE).
 * While the others go on it packs weights and computes K/V of the new heads from its input log;
 * inputs that come meanwhile wait in its queue and bring the heads up to date. When it has
 * confirmed, the plan is switched between two steps by an ordinary epoch, in which nobody has
 * anything to load or to compute.
 *
 * It can only take over heads whose sequences its log holds from the start, so it waits until those
 * that were open before it came have ended. Failure modes: 1. its log turns out to have a gap, or
 * 2. any other epoch begins: the preparation is forgotten and tried again later; 3. it is lost:
 * likewise, and nobody notices; 4. it does not confirm in time: lost. */
#include "leader/core/core_impl.h"

static uint64_t owners(const struct hd_plan *p)
{
    uint64_t set = 0;
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        set |= hd_plan_owners(p, k);
    return set;
}

/* Who has no work yet and could take over any head. (Who owns something answers steps: to give it
 * more beside them would put that into its sums.) */
static uint64_t newcomers(const struct hd_core *c)
{
    uint64_t set = 0;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        const struct worker *w = &c->workers[s];
        if (w->state == HD_WORKER_ONLINE && !w->planned && (w->covers & c->live) == c->live)
            set |= core_bit(s);
    }
    return set & ~owners(&c->plan);
}

static void set_planned(struct hd_core *c, uint64_t slots)
{
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (slots & core_bit(s))
            c->workers[s].planned = true;
}

static bool between_steps(const struct hd_core *c)
{
    return c->state == HD_CLUSTER_READY && c->live && !c->half.active && c->layers_done == 0 &&
           c->n_reports == 0;
}

static void prepare(struct hd_core *c)
{
    uint64_t fresh = newcomers(c);
    if (!fresh || !core_ideal_plan(c, &c->scratch))
        return;
    hd_plan_copy(&c->next, &c->plan);
    hd_plan_give(&c->next, &c->scratch, fresh, c->o.strategy->exact);
    c->joining = owners(&c->next) & fresh;
    set_planned(c, fresh & ~c->joining); /* more workers than units: nothing for these */
    c->preparing = c->joining;
    c->prepare_since_us = c->now_us;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (c->joining & core_bit(s))
            core_push(c, HD_ACT_PREPARE, s);
}

bool core_join(struct hd_core *c)
{
    if (!between_steps(c))
        return false;
    if (!c->joining) {
        prepare(c);
        return false;
    }
    if (c->preparing)
        return false;
    hd_plan_copy(&c->plan, &c->next);
    set_planned(c, c->joining);
    return true;
}

void core_join_forget(struct hd_core *c)
{
    c->joining = c->preparing = 0;
}

void core_join_confirmed(struct hd_core *c, const struct hd_event *ev)
{
    if (ev->kv.epoch != c->epoch || !(c->preparing & core_bit(ev->slot)))
        return;
    c->preparing &= ~core_bit(ev->slot);
    for (size_t i = 0; i < ev->kv.n_gaps; i++)
        c->workers[ev->slot].covers &= ~core_bit(ev->kv.gaps[i]);
    if (ev->kv.n_gaps)
        core_join_forget(c);
}

const struct hd_plan *hd_core_next_plan(const struct hd_core *c)
{
    return &c->next;
}
