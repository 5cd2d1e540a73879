/* epochs.c - the first plan, what follows a loss, the end of a move.
 *
 * Every epoch is the same exchange: assignments to all workers that are alive, a confirmation from
 * each, then READY (or another epoch, when a log turned out to have gaps). */
#include "leader/core/core_impl.h"
#include "leader/core/table.h"

#define MOST_EPOCHS (UINT64_MAX / 4) /* that anybody can have seen */

/* The diagram is in core.h. */
static const uint32_t next[] = {
    [HD_CLUSTER_WAITING] = 1u << HD_CLUSTER_ASSIGNING,
    [HD_CLUSTER_ASSIGNING] =
        1u << HD_CLUSTER_READY | 1u << HD_CLUSTER_ASSIGNING | 1u << HD_CLUSTER_WAITING,
    [HD_CLUSTER_READY] = 1u << HD_CLUSTER_ASSIGNING | 1u << HD_CLUSTER_WAITING,
};

static const char *name_of_state(unsigned state)
{
    return hd_cluster_state_name((enum hd_cluster_state)state);
}

static void set_state(struct hd_core *c, enum hd_cluster_state state)
{
    static const struct core_table table = {"the cluster", name_of_state, next};
    if (core_may(c, &table, c->epochs.state, state))
        c->epochs.state = state;
}

int core_epochs_init(struct hd_core *c)
{
    return hd_plan_init(&c->epochs.plan, c->o.units) < 0 ||
                   hd_plan_init(&c->epochs.scratch, c->o.units) < 0
               ? HD_E_NOMEM
               : 0;
}

void core_epochs_deinit(struct hd_core *c)
{
    hd_plan_deinit(&c->epochs.plan);
    hd_plan_deinit(&c->epochs.scratch);
}

/* ---- Plans ----*/

/* Makes c->epochs.plan from nothing, or from what workers have kept. */
static bool plan_afresh(struct hd_core *c)
{
    struct hd_plan *p = &c->epochs.scratch;
    bool adopts = core_adopts(c);
    hd_plan_clear(p);
    core_adopt_plan(c, p);
    if (!(adopts ? core_fill_plan(c, p, core_usable(c) | core_owners(p), 0)
                 : core_ideal_plan(c, p)))
        return false;
    hd_plan_copy(&c->epochs.plan, &c->epochs.scratch);
    /* Who was being drained, or has just come, has nothing of the plan of then, and is to get some.
     */
    core_moves_planned(c, adopts ? core_owners(p) : core_alive(c));
    core_moves_kept(c, core_adopted_holds(c));
    return true;
}

/* Is there a head whose new owner does not hold it ready? */
static bool must_rebuild(const struct hd_core *c, const struct hd_plan *p)
{
    const struct hd_holds *ready = hd_core_held(c);
    for (uint32_t h = 0; h < p->count[HD_UNIT_HEAD]; h++) {
        uint8_t owner = p->owner[HD_UNIT_HEAD][h];
        if (owner != c->epochs.plan.owner[HD_UNIT_HEAD][h] &&
            !(ready->mask[HD_HOLD_KV][h] & core_bit(owner)))
            return true;
    }
    return false;
}

/* Gives the orphans of the plan out: by the policy, and the rest by the strategy. Rows that no
 * request needs are rebuilt for nobody while the others wait. */
static bool plan_orphans(struct hd_core *c, struct hd_loss_orders *out)
{
    struct hd_plan *p = &c->epochs.scratch;
    struct hd_loss_input in = {
        .live = core_live(c) & ~core_spare(c),
        .alive = core_alive(c),
        .takers = core_usable(c) & ~core_suspects(c),
        .covering = core_covering_needed(c),
        .best_covering = core_best_covering(c),
        .ready = hd_core_held(c),
    };
    *out = (struct hd_loss_orders){0};
    hd_plan_copy(p, &c->epochs.plan);
    c->o.policy->recover(&in, p, out);
    if (!core_fill_plan(c, p, in.alive, out->preferred))
        return false;
    if (out->clear || must_rebuild(c, p))
        core_forget(c, UINT64_MAX);
    hd_plan_copy(&c->epochs.plan, p);
    return true;
}

static void leave_ready(struct hd_core *c)
{
    if (core_is_ready(c))
        core_push(c, HD_ACT_NOT_READY, 0);
    core_reset_halves(c);
}

/* Who is slow and is to own nothing holds up no epoch: it is told, and logs what comes. What is
 * replayed everybody has to have dropped. */
static uint64_t not_awaited(const struct hd_core *c, uint64_t replay)
{
    uint64_t set = replay | core_dropping(c) ? 0 : core_pace_resting(c);
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        set &= ~hd_plan_owners(&c->epochs.plan, k);
    return set;
}

/* The plan is made; tell everybody. `replay`: sequences that start again from position 0. */
static void begin_epoch(struct hd_core *c, uint64_t replay, bool clear)
{
    c->epochs.number++;
    core_moves_epoch(c);
    leave_ready(c);
    set_state(c, HD_CLUSTER_ASSIGNING);
    c->epochs.assigning = core_alive(c) & ~not_awaited(c, replay);
    c->epochs.since_us = c->now_us;
    c->epochs.gaps = 0;
    core_spoke_of_all(c);
    c->epochs.spoiled = 0;
    core_rows_forget(c);
    core_replay(c, replay);
    const struct hd_orders *all = core_orders(c);
    for (uint64_t left = core_alive(c); left; left &= left - 1) {
        struct hd_action *a = core_push(c, HD_ACT_ASSIGN, core_first(left));
        core_log_told(c, a->slot);
        core_may_load(c, a->slot);
        a->assign.all = all;
        a->assign.clear = clear;
    }
}

static void stop_serving(struct hd_core *c)
{
    core_moves_clear(c);
    leave_ready(c);
    set_state(c, HD_CLUSTER_WAITING);
    c->epochs.assigning = 0;
    c->epochs.gaps = 0;
    hd_plan_clear(&c->epochs.plan);
}

static uint32_t heads_owned_by(const struct hd_core *c, uint64_t workers)
{
    uint32_t n = 0;
    for (uint32_t h = 0; h < c->epochs.plan.count[HD_UNIT_HEAD]; h++) {
        uint8_t owner = c->epochs.plan.owner[HD_UNIT_HEAD][h];
        n += owner != HD_NOBODY && workers & core_bit(owner);
    }
    return n;
}

static void recover(struct hd_core *c)
{
    struct hd_loss_orders orders;
    uint32_t kept = heads_owned_by(c, core_alive(c));
    if (!core_alive(c) || !plan_orphans(c, &orders)) {
        stop_serving(c);
        return;
    }
    begin_epoch(c, (orders.replay | c->epochs.spoiled) & core_live(c), orders.clear);
    core_report_assigned(c, orders.clear ? 0 : kept);
}

static void start_fresh(struct hd_core *c, uint64_t replay)
{
    if (!plan_afresh(c))
        return;
    begin_epoch(c, replay, false);
    core_report_assigned(c, 0);
    core_adoption_over(c);
}

static bool enough(const struct hd_core *c)
{
    unsigned n = core_count(core_alive(c));
    bool again = c->epochs.served || core_adopts(c); /* then one is enough */
    return n >= (again ? 1 : c->o.min_workers) && !core_unmeasured(c) && !c->o.wait_for_model &&
           !core_adoption_waits(c);
}

static void serve(struct hd_core *c)
{
    set_state(c, HD_CLUSTER_READY);
    c->epochs.served = true;
    core_all_dropped(c);
    core_push(c, HD_ACT_READY, 0);
    core_report_ready(c);
    core_send_halves(c);
}

static void all_confirmed(struct hd_core *c)
{
    core_forget(c, c->epochs.gaps);
    uint64_t gaps = c->epochs.gaps & core_needed(c);
    if (gaps)
        begin_epoch(c, gaps, false);
    else
        serve(c);
}

/* Does every unit have an owner that lives? An epoch's plan stays as it is, so it need be gone
 * through only when somebody came or went. */
static bool is_complete(struct hd_core *c)
{
    uint64_t alive = core_alive(c);
    if (c->epochs.complete.epoch == c->epochs.number && c->epochs.complete.alive == alive)
        return true;
    if (!hd_plan_complete(&c->epochs.plan, alive))
        return false;
    c->epochs.complete.epoch = c->epochs.number;
    c->epochs.complete.alive = alive;
    return true;
}

void core_settle(struct hd_core *c)
{
    if (c->epochs.state == HD_CLUSTER_ASSIGNING && c->epochs.assigning == 0)
        core_rows_compare(c);
    if (c->epochs.state != HD_CLUSTER_WAITING && !is_complete(c))
        recover(c);
    else if (c->epochs.state != HD_CLUSTER_WAITING && c->epochs.spoiled & core_live(c))
        begin_epoch(c, c->epochs.spoiled & core_live(c), false);
    else if (c->epochs.state == HD_CLUSTER_ASSIGNING && c->epochs.assigning == 0)
        all_confirmed(c);
    else if (c->epochs.state == HD_CLUSTER_WAITING && enough(c))
        start_fresh(c, core_live(c) & ~core_adopted_sequences(c));
    if (core_between_steps(c))
        core_fill_logs(c);
    if (core_move(c))
        begin_epoch(c, 0, false);
    core_send_held(c);
}

uint64_t core_gaps(const struct hd_core *c, const struct hd_kv_info *kv)
{
    uint64_t gaps = 0;
    for (size_t i = 0; i < kv->n_gaps; i++)
        gaps |= core_bit(kv->gaps[i]);
    return gaps & c->epochs.told;
}

/* False when the message names what does not exist or is not the sender's. */
static bool makes_sense(const struct hd_core *c, unsigned slot, const struct hd_kv_info *kv)
{
    bool present = kv->epoch == c->epochs.number && kv->round == 0;
    for (size_t i = 0; i < kv->n_heads; i++)
        if (kv->heads[i] >= c->o.units[HD_UNIT_HEAD] ||
            (present && c->epochs.plan.owner[HD_UNIT_HEAD][kv->heads[i]] != slot))
            return false; /* heads that do not exist, or are not its own */
    for (size_t i = 0; i < kv->n_gaps; i++)
        if (kv->gaps[i] >= HD_MAX_SEQUENCES ||
            (kv->epoch == c->epochs.number && core_dropping(c) & core_bit(kv->gaps[i])))
            return false; /* nothing was needed of a sequence that is replayed */
    for (size_t i = 0; i < kv->n_ready; i++)
        if (kv->ready[i] >= c->o.units[HD_UNIT_HEAD])
            return false;
    return kv->epoch <= c->epochs.number && kv->round <= core_round(c) &&
           core_rows_make_sense(c, kv);
}

void core_kv_result(struct hd_core *c, unsigned slot, const struct hd_kv_info *kv)
{
    if (!(core_alive(c) & core_bit(slot)))
        return;
    if (!makes_sense(c, slot, kv)) {
        core_lose(c, slot, HD_LOSS_PROTOCOL);
        return;
    }
    core_heard(c, slot);
    if (kv->round) {
        core_move_confirmed(c, slot, kv);
        return;
    }
    core_report_kv(c, kv);
    if (kv->epoch != c->epochs.number)
        return;
    c->epochs.confirmed[slot] = c->epochs.number;
    if (!(c->epochs.assigning & core_bit(slot)))
        return;
    c->epochs.assigning &= ~core_bit(slot);
    core_rows_said(c, slot, kv);
    uint64_t gaps = core_gaps(c, kv);
    c->epochs.gaps |= gaps;
    core_log_lacks(c, slot, gaps);
}

/* ---- What others say ----*/

void core_epochs_tick(struct hd_core *c, uint64_t late_us)
{
    c->epochs.since_us += late_us;
}

/* An earlier leader's epochs go on, as long as none of our own is in force. */
void core_epochs_joined(struct hd_core *c, unsigned slot, uint64_t epoch)
{
    c->epochs.confirmed[slot] = 0;
    if (c->epochs.state == HD_CLUSTER_WAITING && epoch > c->epochs.number && epoch <= MOST_EPOCHS)
        c->epochs.number = epoch;
}

void core_epochs_lost(struct hd_core *c, unsigned slot)
{
    c->epochs.assigning &= ~core_bit(slot);
}

void core_epochs_ended(struct hd_core *c, uint64_t sequences)
{
    c->epochs.told &= ~sequences;
    c->epochs.spoiled &= ~sequences;
}

void core_set_plan(struct hd_core *c, const struct hd_plan *plan)
{
    hd_plan_copy(&c->epochs.plan, plan);
}

void core_spoil(struct hd_core *c, uint64_t sequences)
{
    core_forget(c, sequences);
    c->epochs.spoiled |= sequences & core_live(c) & ~core_spare(c);
}

void core_spoke_of_all(struct hd_core *c)
{
    c->epochs.told = core_needed(c);
}

/* ---- Views ----*/

uint64_t hd_core_epoch(const struct hd_core *c)
{
    return c->epochs.number;
}

enum hd_cluster_state hd_core_state(const struct hd_core *c)
{
    return c->epochs.state;
}

uint64_t core_spoiled(const struct hd_core *c)
{
    return c->epochs.spoiled;
}

bool core_is_ready(const struct hd_core *c)
{
    return c->epochs.state == HD_CLUSTER_READY;
}

const struct hd_plan *hd_core_plan(const struct hd_core *c)
{
    return &c->epochs.plan;
}

bool core_owns_any(const struct hd_core *c, unsigned slot)
{
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        if (hd_plan_owned(&c->epochs.plan, k, slot, NULL) > 0)
            return true;
    return false;
}

uint64_t core_assigning(const struct hd_core *c)
{
    return c->epochs.assigning;
}

uint64_t core_assigning_since(const struct hd_core *c)
{
    return c->epochs.since_us;
}

const char *core_plan_error(const struct hd_core *c)
{
    return c->epochs.plan_error;
}

bool core_has_served(const struct hd_core *c)
{
    return c->epochs.served;
}

const char *core_check_epochs(const struct hd_core *c)
{
    const struct epochs *e = &c->epochs;
    uint64_t alive = core_alive(c), owners = core_owners(&e->plan);
    if (e->state != HD_CLUSTER_WAITING && !hd_plan_complete(&e->plan, alive))
        return "every unit has one owner, who is alive";
    if (e->assigning & ~alive)
        return "only workers that are alive are waited for";
    if ((e->state == HD_CLUSTER_ASSIGNING) != (e->assigning != 0))
        return "somebody has yet to confirm exactly while assigning";
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        if (e->confirmed[s] > e->number)
            return "no worker has confirmed an epoch to come";
        if (core_is_ready(c) && owners & core_bit(s) && e->confirmed[s] != e->number)
            return "owners have confirmed the present epoch when ready";
    }
    return NULL;
}
