/* check.c - what must be true after every event. */
#include "leader/core/core_impl.h"

#include <string.h>

static const char *check_workers(const struct hd_core *c)
{
    uint64_t alive = core_alive(c);
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        const struct worker *w = &c->workers[s];
        bool online = w->state == HD_WORKER_ONLINE, suspect = w->state == HD_WORKER_SUSPECT;
        if (online != !!(c->online & core_bit(s)) || suspect != !!(c->suspects & core_bit(s)))
            return "the sets of workers say what their states say";
        if (w->confirmed > c->epoch)
            return "no worker has confirmed an epoch to come";
        if (!(alive & core_bit(s)) && (w->knows | w->covers))
            return "only workers that are alive know sequences";
        if (w->covers & ~w->knows)
            return "a log covers only sequences its worker was told of";
        if (w->knows & ~c->live)
            return "workers know only live sequences";
        for (unsigned t = 0; t < s && w->state != HD_WORKER_EMPTY; t++)
            if (strcmp(w->name, c->workers[t].name) == 0)
                return "names differ";
    }
    return NULL;
}

static const char *check_confirmed(const struct hd_core *c)
{
    uint64_t owners = 0;
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        owners |= hd_plan_owners(&c->plan, k);
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (owners & core_bit(s) && c->workers[s].confirmed != c->epoch)
            return "owners have confirmed the present epoch when ready";
    return NULL;
}

static const char *check_holds(const struct hd_core *c)
{
    uint64_t alive = core_alive(c);
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        for (uint32_t u = 0; u < c->hold.count[k]; u++) {
            if (c->hold.mask[k][u] & ~alive)
                return "only workers that are alive hold units";
            if (c->held.mask[k][u] & ~c->hold.mask[k][u])
                return "nothing is ready that was not asked for";
        }
    if (c->preparing & ~alive)
        return "only workers that are alive prepare";
    return c->preparing && !c->moving ? "somebody prepares only for a move" : NULL;
}

static const char *check_state(const struct hd_core *c)
{
    uint64_t alive = core_alive(c);
    if (c->state != HD_CLUSTER_WAITING && !hd_plan_complete(&c->plan, alive))
        return "every unit has one owner, who is alive";
    if (c->assigning & ~alive)
        return "only workers that are alive are waited for";
    if ((c->state == HD_CLUSTER_ASSIGNING) != (c->assigning != 0))
        return "somebody has yet to confirm exactly while assigning";
    if (c->state == HD_CLUSTER_READY && c->replayed)
        return "nothing is left to drop when ready";
    return c->state == HD_CLUSTER_READY ? check_confirmed(c) : NULL;
}

static const char *check_half(const struct hd_core *c, unsigned group)
{
    const struct half *h = &c->half[group];
    if (h->sent && (c->state != HD_CLUSTER_READY || !h->active))
        return "half-steps are with workers only while ready";
    if (h->sent != (h->awaited != 0))
        return "a half-step that was sent is awaited from somebody";
    if (h->awaited & ~core_alive(c))
        return "only workers that are alive are awaited";
    if (h->active && c->state == HD_CLUSTER_READY && !h->sent && !h->held)
        return "when ready the half-steps in hand are with the workers";
    if (h->held && (h->sent || !h->active))
        return "only what is in hand waits for an audit";
    if (h->held && c->state == HD_CLUSTER_READY && !core_audit_full(c))
        return "nothing waits for an audit longer than it must";
    if (h->again && !h->active)
        return "what is asked for again is in hand";
    return c->layers_done[group] > c->o.n_layers ? "no more layers are done than there are" : NULL;
}

static const char *check_step(const struct hd_core *c)
{
    const char *broken = NULL;
    for (unsigned g = 0; g < HD_MAX_GROUPS && !broken; g++)
        broken = check_half(c, g);
    for (unsigned g = 1; g < HD_MAX_GROUPS && !broken; g++)
        if (c->layers_done[g] > c->layers_done[g - 1])
            broken = "a group is not ahead of the one before it";
    for (unsigned i = 0; i < HD_MAX_SEQUENCES && !broken; i++)
        if (!(c->live & core_bit(i)) && (c->sequences[i].base || core_inflight(&c->sequences[i])))
            broken = "closed sequences hold nothing";
    return broken;
}

const char *hd_core_check(const struct hd_core *c)
{
    const char *broken = check_workers(c);
    if (!broken)
        broken = check_holds(c);
    if (!broken)
        broken = check_state(c);
    return broken ? broken : check_step(c);
}
