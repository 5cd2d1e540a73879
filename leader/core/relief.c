/* relief.c - what is done about workers that have become slow, and how they get their share back;
 * see pace.h. */
#include "leader/core/core_impl.h"

static enum hd_pace pace_of(const struct pace *p)
{
    return p->relieved ? HD_PACE_RELIEVED : p->slow ? HD_PACE_SLOW : HD_PACE_STEADY;
}

static void say(struct hd_core *c, unsigned slot)
{
    struct hd_action *a = core_push(c, HD_ACT_PACE, slot);
    const struct pace *p = &c->pace.of[slot];
    a->pace.pace = pace_of(p);
    a->pace.share = p->share;
    a->pace.slowness = p->slowness;
}

/* Somebody else could do its work. */
static bool can_be_relieved(const struct hd_core *c, unsigned slot)
{
    uint64_t set = core_usable(c) & ~core_suspects(c) & ~core_bit(slot);
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (c->pace.of[s].slow || c->pace.of[s].late >= PACE_LATE)
            set &= ~core_bit(s);
    return c->o.relief.automatic && set;
}

static uint64_t first_hold(const struct hd_core *c)
{
    return c->o.relief.hold_us ? c->o.relief.hold_us : PACE_HOLD_US;
}

static void relieve(struct hd_core *c, unsigned slot, double share)
{
    struct pace *p = &c->pace.of[slot];
    if (!p->relieved) {
        if (p->returned_us && c->now_us > p->returned_us + PACE_FORGIVEN * p->hold_us)
            p->level = 0;
        p->hold_us = first_hold(c) << p->level;
        p->level += p->level < PACE_LEVELS;
        c->pace.reliefs++;
    }
    p->slow = p->relieved = true;
    p->share = share;
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        p->keep[k] = (uint32_t)(hd_plan_owned(hd_core_plan(c), k, slot, NULL) * share);
    p->well_since_us = c->now_us;
    p->well = 0;
}

/* It still has what it is to be relieved of: others prepare for it, or nobody can. */
static bool is_on_its_way(const struct hd_core *c, unsigned slot)
{
    const struct pace *p = &c->pace.of[slot];
    bool more = p->share <= 0;
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        more |= hd_plan_owned(hd_core_plan(c), k, slot, NULL) > p->keep[k];
    return p->relieved && more;
}

void core_pace_bad(struct hd_core *c, unsigned slot)
{
    struct pace *p = &c->pace.of[slot];
    p->bad = 0;
    if (is_on_its_way(c, slot))
        return;
    if (!p->slow)
        p->since_us = c->now_us;
    if (can_be_relieved(c, slot)) {
        bool of_all = p->relieved || p->slowness > PACE_NO_SHARE || p->late >= PACE_LATE;
        relieve(c, slot, of_all ? 0 : 1 / p->slowness);
        core_move_forget(c);
    } else if (p->slow) {
        return; /* it was said before */
    }
    p->slow = true;
    say(c, slot);
}

void core_pace_well(struct hd_core *c, unsigned slot)
{
    struct pace *p = &c->pace.of[slot];
    bool partly = p->relieved && p->share > 0;
    if (p->relieved)
        p->returned_us = c->now_us;
    p->slow = p->relieved = false;
    p->share = 1;
    p->bad = p->well = 0;
    p->usual = p->known = 0; /* it has to show anew what is usual */
    core_share_back(c, slot, partly);
    say(c, slot);
}

/* ---- Who is relieved ----*/

/* Heartbeats speak for those that own nothing, half-steps for the others (judge). */
static void look_after(struct hd_core *c, unsigned slot)
{
    struct pace *p = &c->pace.of[slot];
    bool owns = core_owns_any(c, slot);
    if (!core_is_online(c, slot) || p->late >= PACE_LATE || (owns && p->share <= 0))
        p->well_since_us = c->now_us;
    if (owns && p->well < PACE_SLICES)
        return;
    if (c->now_us >= p->well_since_us + p->hold_us)
        core_pace_well(c, slot);
}

void core_pace_look_after(struct hd_core *c)
{
    for (uint64_t left = core_alive(c); left; left &= left - 1)
        if (c->pace.of[core_first(left)].relieved)
            look_after(c, core_first(left));
}

void core_pace_slipped(struct hd_core *c, unsigned slot)
{
    struct pace *p = &c->pace.of[slot];
    if (!core_owns_any(c, slot))
        return;
    bool again = p->slipped_us && c->now_us < p->slipped_us + PACE_SLIP * first_hold(c);
    p->slipped_us = c->now_us;
    if (!again || p->relieved || !c->o.relief.automatic)
        return;
    p->since_us = c->now_us;
    relieve(c, slot, 0);
    say(c, slot);
}

void core_pace_joined(struct hd_core *c, unsigned slot, bool back)
{
    struct pace *p = &c->pace.of[slot], before = *p;
    *p = (struct pace){.share = 1};
    if (!back)
        return;
    p->returned_us = before.returned_us;
    p->slipped_us = before.slipped_us;
    p->hold_us = before.hold_us;
    p->level = before.level;
    if (!before.relieved)
        return;
    p->slow = p->relieved = true;
    p->since_us = before.since_us;
    p->slowness = before.slowness;
    p->share = 0;
    p->well_since_us = c->now_us;
}

bool core_is_slow(const struct hd_core *c, unsigned slot)
{
    return c->pace.of[slot].slow;
}

static uint64_t relieved(const struct hd_core *c, bool of_all)
{
    uint64_t set = 0;
    for (uint64_t left = core_alive(c); left; left &= left - 1) {
        const struct pace *p = &c->pace.of[core_first(left)];
        if (p->relieved && (p->share <= 0) == of_all)
            set |= core_bit(core_first(left));
    }
    return set;
}

uint64_t core_pace_resting(const struct hd_core *c)
{
    return relieved(c, true);
}

uint64_t core_pace_partial(const struct hd_core *c)
{
    return relieved(c, false);
}

bool core_pace_trim(const struct hd_core *c, struct hd_plan *p)
{
    bool any = false;
    for (uint64_t left = core_pace_partial(c); left; left &= left - 1) {
        unsigned s = core_first(left);
        for (int k = 0; k < HD_UNIT_KINDS; k++) {
            uint32_t n = 0;
            for (uint32_t u = 0; u < p->count[k]; u++)
                if (p->owner[k][u] == s && ++n > c->pace.of[s].keep[k]) {
                    p->owner[k][u] = HD_NOBODY;
                    any = true;
                }
        }
    }
    return any;
}

uint64_t hd_core_reliefs(const struct hd_core *c)
{
    return c->pace.reliefs;
}

void core_view_pace(const struct hd_core *c, unsigned slot, struct hd_worker_view *out)
{
    const struct pace *p = &c->pace.of[slot];
    out->pace = pace_of(p);
    out->slow_since_us = p->slow ? p->since_us : 0;
    out->slowness = p->slowness;
    out->share = p->relieved ? p->share : 1;
}
