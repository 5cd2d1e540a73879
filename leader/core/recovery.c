/* recovery.c - epochs: the first plan, what follows a loss, the end of a move.
 *
 * Every epoch is the same exchange: assignments to all workers that are alive, a confirmation from
 * each, then READY (or another epoch, when a log turned out to have gaps). */
#include "leader/core/core_impl.h"

#include <stdio.h>

#define MEMORY_SHARE 0.875 /* of a machine's memory, for units; the rest is for all else on it */

uint64_t core_unmeasured(const struct hd_core *c)
{
    uint64_t set = 0, alive = core_alive(c);
    for (unsigned s = 0; s < HD_MAX_WORKERS && c->o.strategy->wants_links; s++)
        if (alive & core_bit(s) && !c->workers[s].answered_beat)
            set |= core_bit(s);
    return set;
}

void hd_core_measured(const struct hd_core *c, struct hd_plan_worker *list)
{
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        const struct worker *w = &c->workers[s];
        list[s] = (struct hd_plan_worker){
            .speed = (double)w->multiply_adds_per_s,
            .memory = (double)w->memory_bytes * MEMORY_SHARE,
            .rtt_s = w->rtt_us / 1e6,
            .rate = w->us_per_byte > 0 ? 1e6 / w->us_per_byte : 0,
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
        .names = c->names,
        .target = c->o.target,
        .epoch = c->epoch + 1,
        .measured = measured,
    };
    hd_core_measured(c, measured);
    for (int k = 0; k < HD_UNIT_KINDS; k++) {
        in.cost[k] = c->o.cost[k];
        in.unit[k] = c->o.unit[k];
    }
    c->plan_error[0] = 0;
    if (c->o.strategy->fill(p, &in, &err) == 0)
        return true;
    snprintf(c->plan_error, sizeof c->plan_error, "no plan: %.200s", err.text);
    return false;
}

bool core_ideal_plan(struct hd_core *c, struct hd_plan *out)
{
    hd_plan_clear(out);
    return core_fill_plan(c, out, core_usable(c), 0);
}

/* Makes c->plan from nothing. */
static bool plan_afresh(struct hd_core *c)
{
    if (!core_ideal_plan(c, &c->scratch))
        return false;
    hd_plan_copy(&c->plan, &c->scratch);
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        c->workers[s].planned = core_alive(c) & core_bit(s);
    return true;
}

/* Gives the orphans of c->plan out: to who holds them ready, else by the strategy. */
static bool plan_orphans(struct hd_core *c)
{
    uint64_t preferred = 0, alive = core_alive(c);
    hd_plan_copy(&c->scratch, &c->plan);
    if (c->o.recovery != HD_RECOVERY_FULL) {
        preferred = c->live ? core_covering(c) : 0;
        if (!preferred)
            preferred = core_best_covering(c); /* the rest is replayed */
        hd_standby_claim(&c->scratch, &c->held, alive, core_usable(c) & ~core_suspects(c));
    }
    if (!core_fill_plan(c, &c->scratch, alive, preferred))
        return false;
    hd_plan_copy(&c->plan, &c->scratch);
    return true;
}

static void leave_ready(struct hd_core *c)
{
    if (c->state == HD_CLUSTER_READY)
        core_push(c, HD_ACT_NOT_READY, 0);
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        if (c->half[g].sent)
            core_push(c, HD_ACT_RESET_HALF, 0)->group = g;
    core_recall_halves(c);
}

/* Who is slow and is to own nothing holds up no epoch: it is told, and logs what comes. What is
 * replayed everybody has to have dropped. */
static uint64_t not_awaited(const struct hd_core *c, uint64_t replay)
{
    uint64_t set = replay | c->replayed ? 0 : core_pace_resting(c);
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        set &= ~hd_plan_owners(&c->plan, k);
    return set;
}

/* The plan is made; tell everybody. `replay`: sequences that start again from position 0. */
static void begin_epoch(struct hd_core *c, uint64_t replay, bool clear)
{
    c->epoch++;
    core_move_forget(c);
    hd_holds_disown(&c->hold, &c->plan);
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        for (uint32_t u = 0; u < c->hold.count[k]; u++)
            c->held.mask[k][u] &= c->hold.mask[k][u];
    leave_ready(c);
    c->state = HD_CLUSTER_ASSIGNING;
    c->assigning = core_alive(c) & ~not_awaited(c, replay);
    c->assign_since_us = c->now_us;
    c->gaps = 0;
    c->told = c->live;
    c->spoiled = 0;
    core_rows_forget(c);
    c->replaying |= replay;
    if (replay)
        core_push(c, HD_ACT_REPLAY, 0)->sequences = replay;
    const struct hd_orders *all = core_orders(c);
    for (uint64_t left = core_alive(c); left; left &= left - 1) {
        struct hd_action *a = core_push(c, HD_ACT_ASSIGN, core_first(left));
        c->workers[a->slot].knows |= c->live;
        c->workers[a->slot].weights_asked = 0;
        a->assign.all = all;
        a->assign.clear = clear;
    }
}

static void stop_serving(struct hd_core *c)
{
    core_move_forget(c);
    hd_holds_clear(&c->hold);
    hd_holds_clear(&c->held);
    leave_ready(c);
    c->state = HD_CLUSTER_WAITING;
    c->assigning = 0;
    c->gaps = 0;
    hd_plan_clear(&c->plan);
}

static uint32_t heads_owned_by(const struct hd_core *c, uint64_t workers)
{
    uint32_t n = 0;
    for (uint32_t h = 0; h < c->plan.count[HD_UNIT_HEAD]; h++) {
        uint8_t owner = c->plan.owner[HD_UNIT_HEAD][h];
        n += owner != HD_NOBODY && workers & core_bit(owner);
    }
    return n;
}

static void recover(struct hd_core *c)
{
    bool full = c->o.recovery == HD_RECOVERY_FULL;
    uint64_t alive = core_alive(c);
    uint32_t reused = full ? 0 : heads_owned_by(c, alive);
    if (!alive || !plan_orphans(c)) {
        stop_serving(c);
        return;
    }
    begin_epoch(c, full ? c->live : c->spoiled & c->live, full);
    core_report_assigned(c, reused);
}

static void start_fresh(struct hd_core *c, uint64_t replay)
{
    if (!plan_afresh(c))
        return;
    begin_epoch(c, replay, false);
    core_report_assigned(c, 0);
}

static bool enough(const struct hd_core *c)
{
    unsigned n = (unsigned)__builtin_popcountll(core_alive(c));
    return n >= (c->served ? 1 : c->o.min_workers) && !core_unmeasured(c) && !c->o.wait_for_model;
}

static void serve(struct hd_core *c)
{
    c->state = HD_CLUSTER_READY;
    c->served = true;
    c->replayed = 0; /* everybody has dropped them */
    core_push(c, HD_ACT_READY, 0);
    core_report_ready(c);
    core_send_halves(c);
}

static void all_confirmed(struct hd_core *c)
{
    uint64_t gaps = c->gaps & c->live;
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
    if (c->complete.epoch == c->epoch && c->complete.alive == alive)
        return true;
    if (!hd_plan_complete(&c->plan, alive))
        return false;
    c->complete.epoch = c->epoch;
    c->complete.alive = alive;
    return true;
}

void core_settle(struct hd_core *c)
{
    if (c->state == HD_CLUSTER_ASSIGNING && c->assigning == 0)
        core_rows_compare(c);
    if (c->state != HD_CLUSTER_WAITING && !is_complete(c))
        recover(c);
    else if (c->state != HD_CLUSTER_WAITING && c->spoiled & c->live)
        begin_epoch(c, c->spoiled & c->live, false);
    else if (c->state == HD_CLUSTER_ASSIGNING && c->assigning == 0)
        all_confirmed(c);
    else if (c->state == HD_CLUSTER_WAITING && enough(c))
        start_fresh(c, c->live);
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
    return gaps & c->told;
}

/* False when the message names what does not exist or is not the sender's. */
static bool makes_sense(const struct hd_core *c, unsigned slot, const struct hd_kv_info *kv)
{
    bool present = kv->epoch == c->epoch && kv->round == 0;
    for (size_t i = 0; i < kv->n_heads; i++)
        if (kv->heads[i] >= c->o.units[HD_UNIT_HEAD] ||
            (present && c->plan.owner[HD_UNIT_HEAD][kv->heads[i]] != slot))
            return false; /* heads that do not exist, or are not its own */
    for (size_t i = 0; i < kv->n_gaps; i++)
        if (kv->gaps[i] >= HD_MAX_SEQUENCES ||
            (kv->epoch == c->epoch && c->replayed & core_bit(kv->gaps[i])))
            return false; /* nothing was needed of a sequence that is replayed */
    for (size_t i = 0; i < kv->n_ready; i++)
        if (kv->ready[i] >= c->o.units[HD_UNIT_HEAD])
            return false;
    return kv->epoch <= c->epoch && kv->round <= c->round && core_rows_make_sense(c, kv);
}

void core_kv_result(struct hd_core *c, const struct hd_event *ev)
{
    struct worker *w = &c->workers[ev->slot];
    if (!(core_alive(c) & core_bit(ev->slot)))
        return;
    if (!makes_sense(c, ev->slot, &ev->kv)) {
        core_lose(c, ev->slot, HD_LOSS_PROTOCOL);
        return;
    }
    core_heard(c, ev->slot);
    if (ev->kv.round) {
        core_move_confirmed(c, ev);
        return;
    }
    core_report_kv(c, &ev->kv);
    if (ev->kv.epoch != c->epoch)
        return;
    w->confirmed = c->epoch;
    if (!(c->assigning & core_bit(ev->slot)))
        return;
    c->assigning &= ~core_bit(ev->slot);
    core_rows_said(c, ev);
    uint64_t gaps = core_gaps(c, &ev->kv);
    c->gaps |= gaps;
    w->covers &= ~gaps;
}
