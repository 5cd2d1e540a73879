/* moves.c - units go from worker to worker without a pause: a worker comes (back), one is drained,
 * the load is levelled, standby copies are made.
 *
 * Happy path: between two steps it is decided who is to own and to hold what. Who lacks something
 * of it is sent the list of what to hold (PREPARE), and loads weights and computes K/V beside the
 * running steps, in no sum. When all have said that they are ready, the owners change between two
 * steps by an ordinary epoch, in which nobody has anything to load or to compute. If only standby
 * copies were made no epoch is needed at all.
 *
 * Heads go only to workers whose logs hold all live sequences from the start (logs.c sees to it).
 * Failure modes: 1. a log turns out to have a gap, or 2. any other epoch begins: the move is
 * forgotten and planned again when things have settled (what was loaded is still there then); 3.
 * who prepares is lost: likewise, and if it owned nothing nobody notices; 4. it does not get ready
 * in time: the move is planned again (it goes on from where it is), a few times; then it is lost.
 *
 *   QUIET --something happens--> RESTLESS
 *   RESTLESS --nothing is to be done, or can be now--> QUIET
 *   RESTLESS --somebody lacks something--> PREPARING --the last one says so--> READY
 *   RESTLESS --nobody does--> READY
 *   READY --between two steps--> RESTLESS: done; there may be more
 *   PREPARING, READY --forgotten--> RESTLESS */
#include "leader/core/core_impl.h"
#include "leader/core/table.h"

#define MOVE_CHANCES 4

static const uint32_t next[] = {
    [MOVE_QUIET] = 1u << MOVE_RESTLESS,
    [MOVE_RESTLESS] = 1u << MOVE_QUIET | 1u << MOVE_PREPARING | 1u << MOVE_READY,
    [MOVE_PREPARING] = 1u << MOVE_READY | 1u << MOVE_RESTLESS,
    [MOVE_READY] = 1u << MOVE_RESTLESS,
};

static const char *name_of_state(unsigned state)
{
    static const char *const names[] = {"quiet", "restless", "preparing", "ready"};
    return names[state];
}

static void set_state(struct hd_core *c, enum move_state state)
{
    static const struct core_table table = {"a move", name_of_state, next};
    if (core_may(c, &table, c->moves.state, state))
        c->moves.state = state;
}

int core_moves_init(struct hd_core *c)
{
    struct moves *m = &c->moves;
    const uint32_t *units = c->o.units;
    bool failed = hd_holds_init(&m->hold, units) < 0 || hd_holds_init(&m->held, units) < 0 ||
                  hd_holds_init(&m->wanted, units) < 0 || hd_holds_init(&m->scratch, units) < 0 ||
                  hd_plan_init(&m->next, units) < 0 || hd_plan_init(&m->ideal, units) < 0;
    return failed ? HD_E_NOMEM : 0;
}

void core_moves_deinit(struct hd_core *c)
{
    struct moves *m = &c->moves;
    hd_holds_deinit(&m->hold);
    hd_holds_deinit(&m->held);
    hd_holds_deinit(&m->wanted);
    hd_holds_deinit(&m->scratch);
    hd_plan_deinit(&m->next);
    hd_plan_deinit(&m->ideal);
}

bool core_between_steps(const struct hd_core *c)
{
    return core_is_ready(c) && !core_in_step(c) && !core_reporting(c);
}

/* Who came after the plan was made, has no work yet and could take over any head. */
static uint64_t newcomers(const struct hd_core *c, uint64_t usable)
{
    uint64_t set = usable & ~c->moves.planned & ~core_suspects(c);
    return set & core_covering(c) & ~core_owners(hd_core_plan(c));
}

/* ---- What is to be ----*/

/* Heads that change hands do so only to logs that hold everything. */
static bool can_take_over(const struct hd_core *c)
{
    uint64_t covering = core_covering(c);
    for (uint32_t h = 0; h < hd_core_plan(c)->count[HD_UNIT_HEAD]; h++) {
        uint8_t to = c->moves.next.owner[HD_UNIT_HEAD][h];
        if (to != hd_core_plan(c)->owner[HD_UNIT_HEAD][h] && !(covering & core_bit(to)))
            return false;
    }
    return true;
}

/* Makes c->moves.next. False when nothing can be done about it now. */
static bool plan_next(struct hd_core *c)
{
    uint64_t usable = core_usable(c), fresh = newcomers(c, usable), to = fresh;
    hd_plan_copy(&c->moves.next, hd_core_plan(c));
    if (core_unmeasured(c))
        return false;
    if ((core_pace_trim(c, &c->moves.next) |
         (core_owners(hd_core_plan(c)) & core_alive(c) & ~usable)) &&
        !core_fill_plan(c, &c->moves.next, usable, core_covering(c)))
        return false;
    if (c->moves.rebalance)
        to = usable & core_covering(c);
    if (to) {
        if (!core_ideal_plan(c, &c->moves.ideal))
            return false;
        hd_plan_give(&c->moves.next, &c->moves.ideal, to, c->o.strategy->exact);
        c->moves.planned |=
            fresh & ~core_owners(&c->moves.next); /* more workers than units: nothing for these */
    }
    return can_take_over(c);
}

/* Makes c->moves.wanted, the copies there are to be when c->moves.next is in force; who owns a unit
 * now has it.
 */
static void plan_standby(struct hd_core *c)
{
    struct hd_plan_worker measured[HD_MAX_WORKERS];
    hd_core_measured(c, measured);
    hd_holds_copy(&c->moves.scratch, &c->moves.held);
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        for (uint32_t u = 0; u < hd_core_plan(c)->count[k]; u++)
            c->moves.scratch.mask[k][u] |= core_bit(hd_core_plan(c)->owner[k][u]);
    hd_standby_fill(&c->moves.wanted, &c->moves.next,
                    &(struct hd_standby_input){.workers = core_usable(c) & core_covering(c),
                                               .copies = c->o.standby,
                                               .kv = c->o.policy->copies,
                                               .have = &c->moves.scratch,
                                               .unit = c->o.unit,
                                               .measured = measured});
}

/* What is to be held until c->moves.next is in force; false when that changes no owner. */
static bool list_holds(struct hd_core *c)
{
    bool moves = false;
    hd_holds_copy(&c->moves.hold, &c->moves.wanted);
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        for (uint32_t u = 0; u < hd_core_plan(c)->count[k]; u++)
            if (c->moves.next.owner[k][u] != hd_core_plan(c)->owner[k][u]) {
                hd_holds_add(&c->moves.hold, k, u, c->moves.next.owner[k][u]);
                moves = true;
            }
    hd_holds_disown(&c->moves.hold, hd_core_plan(c));
    return moves;
}

/* ---- The move ----*/

static void tell(struct hd_core *c, uint64_t slots)
{
    const struct hd_orders *all = slots ? core_orders(c) : NULL;
    core_spoke_of_all(c);
    for (; slots; slots &= slots - 1) {
        struct hd_action *a = core_push(c, HD_ACT_PREPARE, core_first(slots));
        core_may_load(c, a->slot);
        a->assign.all = all;
        a->assign.round = c->moves.round;
    }
}

/* What was held and is not to be any more is released. */
static void release(struct hd_core *c)
{
    for (int k = 0; k < HD_HOLD_KINDS; k++)
        for (uint32_t u = 0; u < c->moves.hold.count[k]; u++)
            c->moves.held.mask[k][u] &= c->moves.hold.mask[k][u];
}

static void begin_move(struct hd_core *c)
{
    struct moves *m = &c->moves;
    if (!plan_next(c)) {
        set_state(c, MOVE_QUIET);
        return;
    }
    m->rebalance = false;
    plan_standby(c);
    m->changes = list_holds(c);
    uint64_t told = hd_holds_differ(&m->hold, &m->held) & core_alive(c);
    m->preparing = told & ~core_pace_resting(c); /* who is slow has only to let go */
    if (!m->changes && !told) {
        set_state(c, MOVE_QUIET);
        return;
    }
    set_state(c, m->preparing ? MOVE_PREPARING : MOVE_READY);
    m->round++;
    m->since_us = c->now_us;
    release(c);
    tell(c, told);
}

/* What is next is in force from now on: who owned a unit and is to hold it is ready to. */
static void change_owners(struct hd_core *c)
{
    const struct hd_plan *now = hd_core_plan(c);
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        for (uint32_t u = 0; u < now->count[k]; u++)
            hd_holds_add(&c->moves.held, k, u, now->owner[k][u]);
    core_set_plan(c, &c->moves.next);
    hd_holds_copy(&c->moves.hold, &c->moves.wanted);
    c->moves.planned |= core_owners(&c->moves.next);
}

bool core_move(struct hd_core *c)
{
    if (!core_between_steps(c))
        return false;
    if (c->moves.state == MOVE_RESTLESS)
        begin_move(c);
    if (c->moves.state != MOVE_READY)
        return false;
    set_state(c, MOVE_RESTLESS); /* look again: more may have come meanwhile */
    if (c->moves.changes)
        change_owners(c);
    return c->moves.changes;
}

void core_stir(struct hd_core *c)
{
    if (c->moves.state == MOVE_QUIET)
        set_state(c, MOVE_RESTLESS);
}

void core_move_forget(struct hd_core *c)
{
    c->moves.preparing = 0;
    if (c->moves.state != MOVE_RESTLESS)
        set_state(c, MOVE_RESTLESS);
}

uint64_t core_move_late(struct hd_core *c, uint64_t late)
{
    uint64_t lost = 0;
    for (; late; late &= late - 1)
        if (++c->moves.late[core_first(late)] >= MOVE_CHANCES)
            lost |= core_bit(core_first(late));
    core_move_forget(c);
    return lost;
}

void core_move_confirmed(struct hd_core *c, unsigned slot, const struct hd_kv_info *kv)
{
    struct moves *m = &c->moves;
    uint64_t bit = core_bit(slot), gaps = core_gaps(c, kv);
    if (kv->epoch != hd_core_epoch(c) || kv->round != m->round || !(m->preparing & bit))
        return;
    m->preparing &= ~bit;
    m->late[slot] = 0;
    core_log_lacks(c, slot, gaps);
    gaps &= ~core_spare(c);
    core_forget(c, core_gaps(c, kv));
    if (gaps) {
        core_move_forget(c);
        return;
    }
    for (int k = 0; k < HD_HOLD_KINDS; k++)
        for (uint32_t u = 0; u < m->hold.count[k]; u++)
            m->held.mask[k][u] |= m->hold.mask[k][u] & bit;
    if (!m->preparing)
        set_state(c, MOVE_READY);
}

/* ---- What happens ----*/

void core_moves_joined(struct hd_core *c, unsigned slot)
{
    c->moves.planned &= ~core_bit(slot);
    c->moves.late[slot] = 0;
    core_stir(c);
}

void core_moves_lost(struct hd_core *c, unsigned slot)
{
    struct moves *m = &c->moves;
    m->draining &= ~core_bit(slot);
    m->leaving &= ~core_bit(slot);
    m->dismissed &= ~core_bit(slot);
    hd_holds_drop(&m->hold, core_bit(slot));
    hd_holds_drop(&m->held, core_bit(slot));
    core_move_forget(c);
}

void core_moves_tick(struct hd_core *c, uint64_t late_us)
{
    c->moves.since_us += late_us;
}

void core_moves_planned(struct hd_core *c, uint64_t workers)
{
    c->moves.planned = workers;
}

/* What was held before this leader is, but by who is not there, or owns it now. */
void core_moves_kept(struct hd_core *c, const struct hd_holds *kept)
{
    struct moves *m = &c->moves;
    hd_holds_copy(&m->hold, kept);
    hd_holds_drop(&m->hold, ~core_alive(c));
    hd_holds_disown(&m->hold, hd_core_plan(c));
    hd_holds_copy(&m->held, &m->hold);
}

void core_moves_epoch(struct hd_core *c)
{
    core_move_forget(c);
    hd_holds_disown(&c->moves.hold, hd_core_plan(c));
    release(c);
}

void core_moves_clear(struct hd_core *c)
{
    core_move_forget(c);
    hd_holds_clear(&c->moves.hold);
    hd_holds_clear(&c->moves.held);
}

/* ---- Views ----*/

uint64_t core_round(const struct hd_core *c)
{
    return c->moves.round;
}

uint64_t core_preparing(const struct hd_core *c)
{
    return c->moves.preparing;
}

uint64_t core_preparing_since(const struct hd_core *c)
{
    return c->moves.since_us;
}

const struct hd_holds *hd_core_hold(const struct hd_core *c)
{
    return &c->moves.hold;
}

const struct hd_holds *hd_core_held(const struct hd_core *c)
{
    return &c->moves.held;
}

void hd_core_move_view(const struct hd_core *c, struct hd_move_view *out)
{
    const struct moves *m = &c->moves;
    unsigned others = core_count(core_usable(c));
    *out = (struct hd_move_view){
        .moving = m->state == MOVE_PREPARING || m->state == MOVE_READY,
        .preparing = core_count(m->preparing),
        .copies = c->o.standby < others ? c->o.standby
                  : others > 0          ? others - 1
                                        : 0,
        .kv = c->o.policy->copies,
    };
    for (int k = 0; k < HD_UNIT_KINDS; k++) {
        int kind = k == HD_UNIT_HEAD && out->kv ? HD_HOLD_KV : k;
        for (uint32_t u = 0; u < m->held.count[k]; u++)
            out->missing += core_count(m->held.mask[kind][u]) < out->copies;
    }
}

const char *core_check_moves(const struct hd_core *c)
{
    const struct moves *m = &c->moves;
    uint64_t alive = core_alive(c);
    for (int k = 0; k < HD_HOLD_KINDS; k++)
        for (uint32_t u = 0; u < m->hold.count[k]; u++) {
            if (m->hold.mask[k][u] & ~alive)
                return "only workers that are alive hold units";
            if (m->held.mask[k][u] & ~m->hold.mask[k][u])
                return "nothing is ready that was not asked for";
            if (k == HD_HOLD_KV && m->hold.mask[k][u] & ~m->hold.mask[HD_UNIT_HEAD][u])
                return "nobody keeps K/V without the weights";
        }
    if (m->preparing & ~alive)
        return "only workers that are alive prepare";
    return (m->preparing != 0) != (m->state == MOVE_PREPARING)
               ? "somebody has yet to prepare exactly while preparing"
               : NULL;
}
