/* drain.c - the moves' who is to leave: drained by somebody, or by its own wish, to stop. */
#include "leader/core/core_impl.h"

void core_drain(struct hd_core *c, unsigned slot, const struct hd_drain_info *d)
{
    struct moves *m = &c->moves;
    uint64_t bit = core_bit(slot);
    if (!(core_connected(c) & bit))
        return;
    if (m->draining & bit && !d->on) { /* it takes part again: what it gave away comes back */
        m->planned &= ~bit;
        m->rebalance = true;
    }
    m->draining = d->on ? m->draining | bit : m->draining & ~bit;
    if (!d->on)
        core_looked_after(c, slot);
    if (d->on && d->leaving)
        m->leaving |= bit;
    core_move_forget(c);
}

bool core_drain_failing(struct hd_core *c, unsigned slot)
{
    if (c->moves.draining & core_bit(slot))
        return false;
    c->moves.draining |= core_bit(slot);
    core_move_forget(c);
    return true;
}

void core_rebalance(struct hd_core *c)
{
    c->moves.rebalance = true;
    core_move_forget(c);
}

void core_share_back(struct hd_core *c, unsigned slot, bool rebalance)
{
    c->moves.planned &= ~core_bit(slot);
    c->moves.rebalance |= rebalance;
    core_move_forget(c);
}

/* Who is to stop may go when nothing depends on it, or when there is nobody to take over. */
void core_dismiss(struct hd_core *c)
{
    struct moves *m = &c->moves;
    uint64_t connected = core_connected(c), go = connected & m->leaving & ~m->dismissed;
    if (!go)
        return;
    bool others = connected & ~m->draining & ~core_untested(c);
    if (others && hd_core_state(c) != HD_CLUSTER_WAITING)
        go &= ~(core_owners(hd_core_plan(c)) | core_assigning(c));
    m->dismissed |= go;
    for (; go; go &= go - 1)
        core_push(c, HD_ACT_DRAINED, core_first(go));
}

uint64_t core_draining(const struct hd_core *c)
{
    return c->moves.draining;
}
