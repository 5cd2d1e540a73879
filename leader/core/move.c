/* move.c - units go from worker to worker without a pause: a worker comes (back), one is drained,
 * the load is levelled, standby copies are made.
 *
 * Happy path: between two steps it is decided who is to own and to hold what. Who lacks something
 * of it is sent the list of what to hold (PREPARE), and loads weights and computes K/V beside the
 * running steps, in no sum. When all have said that they are ready, the owners change between two
 * steps by an ordinary epoch, in which nobody has anything to load or to compute. If only standby
 * copies were made no epoch is needed at all.
 *
 * Heads go only to workers whose logs hold all live sequences from the start (fill.c sees to it).
 * Failure modes: 1. a log turns out to have a gap, or 2. any other epoch begins: the move is
 * forgotten and planned again when things have settled (what was loaded is still there then); 3.
 * who prepares is lost: likewise, and if it owned nothing nobody notices; 4. it does not get ready
 * in time: the move is planned again (it goes on from where it is), a few times; then it is lost.
 */
#include "leader/core/core_impl.h"

#define MOVE_CHANCES 4

static uint64_t owners(const struct hd_plan *p)
{
    uint64_t set = 0;
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        set |= hd_plan_owners(p, k);
    return set;
}

bool core_between_steps(const struct hd_core *c)
{
    bool begun = false; /* a group may wait for the other one's answers */
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        begun |= c->layers_done[g] > 0;
    return c->state == HD_CLUSTER_READY && !core_any_half(c) && !begun && c->n_reports == 0;
}

/* Who came after the plan was made, has no work yet and could take over any head. */
static uint64_t newcomers(const struct hd_core *c, uint64_t usable)
{
    uint64_t set = 0;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (usable & core_bit(s) && c->workers[s].state == HD_WORKER_ONLINE &&
            !c->workers[s].planned)
            set |= core_bit(s);
    return set & core_covering(c) & ~owners(&c->plan);
}

static void set_planned(struct hd_core *c, uint64_t slots)
{
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (slots & core_bit(s))
            c->workers[s].planned = true;
}

/* ---- What is to be ----*/

/* Heads that change hands do so only to logs that hold everything. */
static bool can_take_over(const struct hd_core *c)
{
    uint64_t covering = core_covering(c);
    for (uint32_t h = 0; h < c->plan.count[HD_UNIT_HEAD]; h++) {
        uint8_t to = c->next.owner[HD_UNIT_HEAD][h];
        if (to != c->plan.owner[HD_UNIT_HEAD][h] && !(covering & core_bit(to)))
            return false;
    }
    return true;
}

/* Makes c->next. False when nothing can be done about it now. */
static bool plan_next(struct hd_core *c)
{
    uint64_t usable = core_usable(c), fresh = newcomers(c, usable), to = fresh;
    hd_plan_copy(&c->next, &c->plan);
    if (core_unmeasured(c))
        return false;
    if ((core_pace_trim(c, &c->next) | (owners(&c->plan) & core_alive(c) & ~usable)) &&
        !core_fill_plan(c, &c->next, usable, core_covering(c)))
        return false;
    if (c->rebalance)
        to = usable & core_covering(c);
    if (to) {
        if (!core_ideal_plan(c, &c->scratch))
            return false;
        hd_plan_give(&c->next, &c->scratch, to, c->o.strategy->exact);
        set_planned(c, fresh & ~owners(&c->next)); /* more workers than units: nothing for these */
    }
    return can_take_over(c);
}

/* Makes c->wanted, the copies there are to be when c->next is in force; who owns a unit now has it.
 */
static void plan_standby(struct hd_core *c)
{
    struct hd_plan_worker measured[HD_MAX_WORKERS];
    hd_core_measured(c, measured);
    hd_holds_copy(&c->scratch_holds, &c->held);
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        for (uint32_t u = 0; u < c->plan.count[k]; u++)
            c->scratch_holds.mask[k][u] |= core_bit(c->plan.owner[k][u]);
    hd_standby_fill(&c->wanted, &c->next,
                    &(struct hd_standby_input){.workers = core_usable(c) & core_covering(c),
                                               .copies = c->o.standby,
                                               .have = &c->scratch_holds,
                                               .unit = c->o.unit,
                                               .measured = measured});
}

/* What is to be held until c->next is in force; false when that changes no owner. */
static bool list_holds(struct hd_core *c)
{
    bool moves = false;
    hd_holds_copy(&c->hold, &c->wanted);
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        for (uint32_t u = 0; u < c->plan.count[k]; u++)
            if (c->next.owner[k][u] != c->plan.owner[k][u]) {
                c->hold.mask[k][u] |= core_bit(c->next.owner[k][u]);
                moves = true;
            }
    hd_holds_disown(&c->hold, &c->plan);
    return moves;
}

/* ---- The move ----*/

static void begin_move(struct hd_core *c)
{
    c->restless = false;
    if (!plan_next(c))
        return;
    c->rebalance = false;
    plan_standby(c);
    c->moves = list_holds(c);
    uint64_t told = hd_holds_differ(&c->hold, &c->held) & core_alive(c);
    c->preparing = told & ~core_pace_resting(c); /* who is slow has only to let go */
    c->moving = c->moves || told;
    if (!c->moving)
        return;
    c->round++;
    c->told = c->live;
    c->prepare_since_us = c->now_us;
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        for (uint32_t u = 0; u < c->hold.count[k]; u++)
            c->held.mask[k][u] &= c->hold.mask[k][u]; /* the rest is released */
    const struct hd_orders *all = told ? core_orders(c) : NULL;
    for (; told; told &= told - 1) {
        struct hd_action *a = core_push(c, HD_ACT_PREPARE, core_first(told));
        c->workers[a->slot].weights_asked = 0;
        a->assign.all = all;
        a->assign.round = c->round;
    }
}

/* c->next is in force from now on: who owned a unit and is to hold it is ready to. */
static void change_owners(struct hd_core *c)
{
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        for (uint32_t u = 0; u < c->plan.count[k]; u++)
            c->held.mask[k][u] |= core_bit(c->plan.owner[k][u]);
    hd_plan_copy(&c->plan, &c->next);
    hd_holds_copy(&c->hold, &c->wanted);
    set_planned(c, owners(&c->plan));
}

bool core_move(struct hd_core *c)
{
    if (!core_between_steps(c))
        return false;
    if (!c->moving && c->restless)
        begin_move(c);
    if (!c->moving || c->preparing)
        return false;
    c->moving = false;
    c->restless = true; /* look again: more may have come meanwhile */
    if (c->moves)
        change_owners(c);
    return c->moves;
}

void core_move_forget(struct hd_core *c)
{
    c->moving = false;
    c->preparing = 0;
    c->restless = true;
}

uint64_t core_move_late(struct hd_core *c, uint64_t late)
{
    uint64_t lost = 0;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (late & core_bit(s) && ++c->workers[s].late_moves >= MOVE_CHANCES)
            lost |= core_bit(s);
    core_move_forget(c);
    return lost;
}

void core_move_confirmed(struct hd_core *c, const struct hd_event *ev)
{
    uint64_t bit = core_bit(ev->slot);
    if (ev->kv.epoch != c->epoch || ev->kv.round != c->round || !(c->preparing & bit))
        return;
    c->preparing &= ~bit;
    c->workers[ev->slot].late_moves = 0;
    uint64_t gaps = core_gaps(c, &ev->kv);
    c->workers[ev->slot].covers &= ~gaps;
    if (gaps) {
        core_move_forget(c);
        return;
    }
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        for (uint32_t u = 0; u < c->hold.count[k]; u++)
            c->held.mask[k][u] |= c->hold.mask[k][u] & bit;
}

void hd_core_move_view(const struct hd_core *c, struct hd_move_view *out)
{
    unsigned others = (unsigned)__builtin_popcountll(core_usable(c));
    *out = (struct hd_move_view){
        .moving = c->moving,
        .preparing = (unsigned)__builtin_popcountll(c->preparing),
        .copies = c->o.standby < others ? c->o.standby
                  : others > 0          ? others - 1
                                        : 0,
    };
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        for (uint32_t u = 0; u < c->held.count[k]; u++)
            out->missing += (unsigned)__builtin_popcountll(c->held.mask[k][u]) < out->copies;
}

/* ---- Who leaves ----*/

void core_drain(struct hd_core *c, const struct hd_event *ev)
{
    struct worker *w = &c->workers[ev->slot];
    if (!((core_alive(c) | c->untested) & core_bit(ev->slot)))
        return;
    if (w->draining && !ev->drain.on) { /* it takes part again: what it gave away comes back */
        w->planned = false;
        c->rebalance = true;
    }
    w->draining = ev->drain.on;
    if (!ev->drain.on) { /* somebody has looked at it */
        w->failing = false;
        w->n_damages = 0;
    }
    w->leaving = w->leaving || (ev->drain.on && ev->drain.leaving);
    core_move_forget(c);
}

void core_rebalance(struct hd_core *c)
{
    c->rebalance = true;
    core_move_forget(c);
}

/* Who is to stop may go when nothing depends on it, or when there is nobody to take over. */
void core_dismiss(struct hd_core *c)
{
    uint64_t alive = core_alive(c) | c->untested, needed = 0, others = 0, leaving = 0;
    for (uint64_t left = alive; left; left &= left - 1) {
        unsigned s = core_first(left);
        others |= c->workers[s].draining || c->untested & core_bit(s) ? 0 : core_bit(s);
        leaving |= c->workers[s].leaving ? core_bit(s) : 0;
    }
    if (!leaving)
        return;
    if (others && c->state != HD_CLUSTER_WAITING)
        needed = owners(&c->plan) | c->assigning;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        struct worker *w = &c->workers[s];
        if (!(alive & ~needed & core_bit(s)) || !w->leaving || w->dismissed)
            continue;
        w->dismissed = true;
        core_push(c, HD_ACT_DRAINED, s);
    }
}
