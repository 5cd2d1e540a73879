/* adoption.c - workers that have lost their leader come with what they have kept.
 *
 * Happy path: a Hello says that there is something -> the worker says what (HD_EV_SEQ_ADOPT for
 * each sequence that is of use, then HD_EV_KEPT) -> it is alive -> when all units are claimed the
 * first plan is the old one, no weights are packed again, and who held copies holds them. Failure
 * modes: 1. some of them do not come, within WAIT_US: their units are given out as after a loss; 2.
 * two claim the same unit: the first one has it; 3. the cluster serves already, or does by the time
 * that the worker has given the known answer: it forgets what it has (an assignment with `clear`),
 * since it has heard nothing of what became of the sequences. */
#include "leader/core/core_impl.h"

#define WAIT_US 500000 /* all have lost the same leader, at nearly the same time */

int core_adoption_init(struct hd_core *c)
{
    return hd_plan_init(&c->adoption.claims, c->o.units) < 0 ||
                   hd_holds_init(&c->adoption.held, c->o.units) < 0
               ? HD_E_NOMEM
               : 0;
}

void core_adoption_deinit(struct hd_core *c)
{
    hd_plan_deinit(&c->adoption.claims);
    hd_holds_deinit(&c->adoption.held);
}

static void give_up_claims(struct hd_core *c, unsigned slot)
{
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        for (uint32_t i = 0; i < c->adoption.claims.count[k]; i++)
            if (c->adoption.claims.owner[k][i] == slot)
                c->adoption.claims.owner[k][i] = HD_NOBODY;
    hd_holds_drop(&c->adoption.held, core_bit(slot));
}

void core_adoption_joined(struct hd_core *c, unsigned slot, bool kept)
{
    c->adoption.covers[slot] = 0;
    c->adoption.brought &= ~core_bit(slot);
    if (!kept)
        return;
    c->adoption.brought |= core_bit(slot);
    c->adoption.telling |= core_bit(slot);
    if (c->adoption.since_us == 0)
        c->adoption.since_us = c->now_us;
}

void core_adoption_lost(struct hd_core *c, unsigned slot)
{
    c->adoption.telling &= ~core_bit(slot);
    c->adoption.covers[slot] = 0;
    give_up_claims(c, slot);
    if (!c->adoption.telling && !core_owners(&c->adoption.claims))
        c->adoption.since_us = 0; /* nobody to wait for is known of */
}

void core_adoption_tick(struct hd_core *c, uint64_t late_us)
{
    uint64_t *since = &c->adoption.since_us;
    *since += *since ? late_us : 0;
    if (*since && c->now_us >= *since + WAIT_US)
        *since = 0; /* here and nowhere else, so that no event of the engine begins an epoch */
}

/* False: there is no such unit. */
static bool claim(struct hd_core *c, unsigned slot, const struct hd_kept_info *kept)
{
    struct hd_plan *p = &c->adoption.claims;
    for (int k = 0; k < HD_UNIT_KINDS; k++) {
        for (size_t i = 0; i < kept->n[k]; i++) {
            if (kept->units[k][i] >= p->count[k])
                return false;
            uint8_t *owner = &p->owner[k][kept->units[k][i]];
            *owner = *owner == HD_NOBODY ? (uint8_t)slot : *owner;
        }
        for (size_t i = 0; i < kept->n_held[k]; i++) {
            if (kept->held[k][i] >= p->count[k])
                return false;
            hd_holds_add(&c->adoption.held, k, kept->held[k][i], slot);
        }
    }
    for (size_t i = 0; i < kept->n_bare; i++) {
        if (kept->bare[i] >= p->count[HD_UNIT_HEAD])
            return false;
        c->adoption.held.mask[HD_HOLD_KV][kept->bare[i]] &= ~core_bit(slot);
    }
    return true;
}

void core_kept(struct hd_core *c, unsigned slot, const struct hd_kept_info *kept)
{
    if (!(core_connected(c) & core_bit(slot)))
        return;
    if (!(c->adoption.telling & core_bit(slot)) || !claim(c, slot, kept)) {
        core_lose(c, slot, HD_LOSS_PROTOCOL);
        return;
    }
    core_heard(c, slot);
    c->adoption.telling &= ~core_bit(slot);
    c->adoption.covers[slot] = kept->covers;
    if (hd_core_state(c) != HD_CLUSTER_WAITING)
        give_up_claims(c, slot);
    core_let_in(c, slot);
}

void core_adopted(struct hd_core *c, uint64_t sequences)
{
    c->adoption.sequences |= sequences;
}

/* ---- What others ask ----*/

uint64_t core_telling(const struct hd_core *c)
{
    return c->adoption.telling;
}

bool core_is_stale(const struct hd_core *c, unsigned slot)
{
    return c->adoption.brought & core_bit(slot) && hd_core_state(c) != HD_CLUSTER_WAITING;
}

uint64_t core_adopted_sequences(const struct hd_core *c)
{
    return c->adoption.sequences;
}

uint64_t core_adopted_covers(const struct hd_core *c, unsigned slot)
{
    return c->adoption.covers[slot];
}

bool core_adopts(const struct hd_core *c)
{
    return core_owners(&c->adoption.claims) & core_alive(c);
}

bool core_adoption_waits(const struct hd_core *c)
{
    return c->adoption.since_us > 0 && !hd_plan_complete(&c->adoption.claims, core_alive(c));
}

void core_adopt_plan(const struct hd_core *c, struct hd_plan *out)
{
    uint64_t alive = core_alive(c);
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        for (uint32_t i = 0; i < out->count[k]; i++) {
            uint8_t owner = c->adoption.claims.owner[k][i];
            if (owner != HD_NOBODY && alive & core_bit(owner))
                out->owner[k][i] = owner;
        }
    uint64_t takers = core_usable(c) & ~core_suspects(c);
    hd_standby_claim(out, &c->adoption.held,
                     &(struct hd_standby_takers){alive, takers, .logged = takers});
}

const struct hd_holds *core_adopted_holds(const struct hd_core *c)
{
    return &c->adoption.held;
}

void core_adoption_over(struct hd_core *c)
{
    c->adoption.sequences = 0;
    c->adoption.since_us = 0;
    hd_plan_clear(&c->adoption.claims);
    hd_holds_clear(&c->adoption.held);
}
