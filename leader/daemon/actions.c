/* actions.c - events into the core, actions out of it, in order. */
#include "leader/daemon/leader_impl.h"

#include "common/util/clock.h"

#include <stdio.h>
#include <stdlib.h>

struct hd_peer *hd_peer_by_id(struct hd_leader *l, uint64_t id)
{
    for (struct hd_peer *p = l->peers; p; p = p->next)
        if (p->id == id)
            return p;
    return NULL;
}

static void do_welcome(struct hd_leader *l, const struct hd_action *a)
{
    struct hd_peer *p = hd_peer_by_id(l, a->conn);
    if (!p)
        return;
    hd_leaders_take(l);
    p->slot = (int)a->slot;
    l->slots[a->slot] = p;
    hd_trust_welcome(l, a->slot);
    hd_conn_set_limits(p->conn, hd_worker_frame_limits(l));
    hd_send_welcome(l, p);
    if (l->digests_known && hd_send_digests(l, p) < 0)
        hd_conn_close(p->conn, false);
}

void hd_peer_refuse(struct hd_peer *p, unsigned code, const char *why)
{
    hd_warn(p->leader->o.log, "worker_refused", "address=%s reason=\"%s\"", hd_conn_peer(p->conn),
            why);
    hd_send_reject(p, code, why);
    p->forgotten = true;
    hd_conn_close(p->conn, true);
}

static void do_reject(struct hd_leader *l, const struct hd_action *a)
{
    struct hd_peer *p = hd_peer_by_id(l, a->reject.conn);
    if (p)
        hd_peer_refuse(p, a->reject.code, a->reject.text);
}

static void do_close(struct hd_leader *l, const struct hd_action *a)
{
    struct hd_peer *p = l->slots[a->slot];
    if (!p)
        return;
    l->slots[a->slot] = NULL;
    if (a->close.text) {
        hd_peer_refuse(p, a->close.code, a->close.text);
        return;
    }
    p->forgotten = true;
    hd_conn_close(p->conn, false);
}

struct hd_state_change *hd_leader_note(struct hd_leader *l, const char *worker, const char *state,
                                       const char *cause)
{
    struct hd_state_change *e = &l->events[l->n_events++ % HD_EVENTS];
    *e = (struct hd_state_change){.at_us = hd_now_us(), .state = state, .cause = cause};
    snprintf(e->worker, sizeof e->worker, "%s", worker);
    hd_watch_change(l, worker, state, cause);
    return e;
}

static void do_worker_state(struct hd_leader *l, const struct hd_action *a)
{
    struct hd_worker_view v;
    if (!hd_core_worker(l->core, a->slot, hd_now_us(), &v))
        return;
    const char *state = hd_worker_state_name(a->member.state);
    const char *cause =
        a->member.state == HD_WORKER_OFFLINE ? hd_loss_cause_name(a->member.cause) : "";
    hd_leader_note(l, v.name, state, cause);
    hd_log_write(l->o.log, a->member.state == HD_WORKER_ONLINE ? HD_LOG_INFO : HD_LOG_WARN,
                 "worker_state", "worker=%s state=%s%s%s epoch=%llu", v.name, state,
                 *cause ? " cause=" : "", cause, (unsigned long long)hd_core_epoch(l->core));
    hd_leader_update_limits(l);
}

static void do_forgotten(struct hd_leader *l, const struct hd_action *a)
{
    hd_info(l->o.log, "worker_forgotten", "worker=%s offline_s=%llu", a->name,
            (unsigned long long)l->o.config->forget_after_s);
}

static void do_pace(struct hd_leader *l, const struct hd_action *a)
{
    struct hd_worker_view v;
    if (!hd_core_worker(l->core, a->slot, hd_now_us(), &v))
        return;
    hd_leader_note(l, v.name, hd_pace_name(a->pace.pace), "");
    hd_log_write(l->o.log, a->pace.pace == HD_PACE_STEADY ? HD_LOG_INFO : HD_LOG_WARN,
                 "worker_pace", "worker=%s pace=%s slowness=%.1f share=%.2f", v.name,
                 hd_pace_name(a->pace.pace), a->pace.slowness, a->pace.share);
}

static void do_failover(struct hd_leader *l, const struct hd_action *a)
{
    struct hd_failover f = a->failover;
    uint64_t assigned_us = l->assigned_us[f.epoch % HD_EPOCHS];
    f.plan_ms = assigned_us > f.at_us ? (double)(assigned_us - f.at_us) / 1e3 : 0;
    f.rows_replayed = l->rows_replayed;
    l->rows_replayed = 0;
    l->failovers[l->n_failovers++ % HD_FAILOVERS] = f;
    hd_recoveries_add(&l->recoveries, &f);
    hd_engine_failover(l->engine, &f);
    hd_watch_failover(l, &f);
    hd_warn(l->o.log, "failover",
            "worker=%s cause=%s policy=%s epoch=%llu heads_lost=%u heads_rebuilt=%u heads_ready=%u "
            "heads_reused=%u rows_rebuilt=%llu rows_replayed=%llu detect_ms=%.2f weights_ms=%.2f "
            "rebuild_ms=%.2f "
            "retry_ms=%.2f stall_ms=%.2f",
            f.worker, hd_loss_cause_name(f.cause), f.policy, (unsigned long long)f.epoch,
            f.heads_lost, f.heads_rebuilt, f.heads_ready, f.heads_reused,
            (unsigned long long)f.rows_rebuilt, (unsigned long long)f.rows_replayed, f.detect_ms,
            f.weights_ms, f.rebuild_ms, f.retry_ms, f.stall_ms);
}

static void do_replay(struct hd_leader *l, const struct hd_action *a)
{
    l->rows_replayed += hd_engine_replay(l->engine, a->sequences);
    struct hd_event ev = {.type = HD_EV_REPLAYED, .sequences = a->sequences};
    hd_leader_event(l, &ev);
    hd_engine_kick(l->engine);
}

static void do_ready(struct hd_leader *l, bool ready)
{
    hd_leader_update_limits(l);
    if (ready) {
        hd_info(l->o.log, "ready", "epoch=%llu", (unsigned long long)hd_core_epoch(l->core));
        l->not_ready_since_us = 0;
    } else {
        hd_warn(l->o.log, "not_ready", "reason=\"%s\"", hd_core_reason(l->core));
        l->not_ready_since_us = hd_now_us();
    }
    if (l->o.serving && !hd_digests_not_ready(l))
        l->o.serving(l->o.arg, ready ? NULL : hd_core_reason(l->core));
    hd_watch_ready(l);
    hd_engine_set_ready(l->engine, ready);
    hd_engine_kick(l->engine);
}

static void do_send(struct hd_leader *l, const struct hd_action *a)
{
    struct hd_peer *p = l->slots[a->slot];
    if (!p)
        return;
    /* A failed send closes the connection; the core hears of it as HD_EV_CLOSED. */
    int rc = 0;
    switch (a->type) {
    case HD_ACT_HEARTBEAT:
        rc = hd_send_heartbeat(p, a->seq);
        break;
    case HD_ACT_ASSIGN:
        if (a->epoch != hd_core_epoch(l->core))
            return; /* overtaken: it would be for nothing */
        hd_watch_epoch(l, a->epoch);
        rc = hd_send_assign(p, a);
        l->assigned_us[a->epoch % HD_EPOCHS] = hd_now_us();
        break;
    case HD_ACT_PREPARE:
        if (a->epoch == hd_core_epoch(l->core))
            rc = hd_send_assign(p, a);
        break;
    case HD_ACT_SEND_HALF:
        rc = hd_send_half(l, p, a);
        hd_busy_poll_expect(&l->busy_poll);
        break;
    case HD_ACT_FILL:
        rc = hd_send_fill(p, a);
        break;
    case HD_ACT_FETCH:
        rc = hd_send_fetch(p, &a->fetch);
        break;
    case HD_ACT_ROWS:
    case HD_ACT_NO_ROWS:
        rc = hd_send_rows(p, &a->fetch, a->type == HD_ACT_ROWS ? l->rows : NULL);
        break;
    case HD_ACT_DRAINED:
        rc = hd_send_drained(p);
        break;
    case HD_ACT_SELF_TEST:
        rc = hd_send_self_test(l, p);
        break;
    case HD_ACT_AUDIT:
        rc = hd_send_audit(l, p, a);
        break;
    case HD_ACT_SEQ_FORK:
        rc = hd_send_fork(l, p, &a->fork);
        break;
    case HD_ACT_SEQ_CUT:
        rc = hd_send_cut(p, &a->cut);
        break;
    default:
        rc = hd_send_sequence(l, p, a->sequence, a->type == HD_ACT_SEQ_OPEN);
        break;
    }
    if (rc < 0 && rc != HD_E_STATE)
        hd_conn_close(p->conn, false);
}

static void perform(struct hd_leader *l, const struct hd_action *a)
{
    switch (a->type) {
    case HD_ACT_WELCOME:
        do_welcome(l, a);
        break;
    case HD_ACT_REJECT:
        do_reject(l, a);
        break;
    case HD_ACT_CLOSE:
        do_close(l, a);
        break;
    case HD_ACT_HEARTBEAT:
    case HD_ACT_PREPARE:
    case HD_ACT_ASSIGN:
    case HD_ACT_SEQ_OPEN:
    case HD_ACT_SEQ_FORK:
    case HD_ACT_SEQ_CUT:
    case HD_ACT_SEQ_CLOSE:
    case HD_ACT_SEND_HALF:
    case HD_ACT_FILL:
    case HD_ACT_FETCH:
    case HD_ACT_ROWS:
    case HD_ACT_NO_ROWS:
    case HD_ACT_DRAINED:
    case HD_ACT_SELF_TEST:
    case HD_ACT_AUDIT:
        do_send(l, a);
        break;
    case HD_ACT_FORGET:
        hd_engine_forget(l->engine, a->sequences);
        break;
    case HD_ACT_AUDITED:
        hd_audit_forget(l, a->round);
        break;
    case HD_ACT_ROWS_DIFFER:
    case HD_ACT_DIFFER:
    case HD_ACT_WRONG:
    case HD_ACT_DOUBT:
    case HD_ACT_FAILING:
        hd_trust_act(l, a);
        break;
    case HD_ACT_RESET_HALF:
        hd_engine_reset_half(l->engine, a->group);
        break;
    case HD_ACT_DROP_RESULT:
        l->results_dropped++;
        break;
    case HD_ACT_HALF_DONE:
        hd_engine_half_done(l->engine, a->group);
        break;
    case HD_ACT_READY:
        do_ready(l, true);
        break;
    case HD_ACT_NOT_READY:
        do_ready(l, false);
        break;
    case HD_ACT_REPLAY:
        do_replay(l, a);
        break;
    case HD_ACT_WORKER_STATE:
        do_worker_state(l, a);
        break;
    case HD_ACT_BUG:
        hd_errlog(l->o.log, "core_bug", "text=\"%s\" effect=\"refused\"", a->bug);
        break;
    case HD_ACT_FORGOTTEN:
        do_forgotten(l, a);
        break;
    case HD_ACT_FAILOVER:
        do_failover(l, a);
        break;
    case HD_ACT_PACE:
        do_pace(l, a);
        break;
    }
}

static void drain(struct hd_leader *l)
{
    if (l->draining)
        return;
    l->draining = true;
    while (l->next_action < l->actions.n) {
        struct hd_action a = l->actions.list[l->next_action++]; /* the list may grow meanwhile */
        perform(l, &a);
    }
    hd_actions_clear(&l->actions);
    l->next_action = 0;
    l->draining = false;
}

void hd_leader_event(struct hd_leader *l, struct hd_event *ev)
{
    if (l->closing)
        return;
    ev->now_us = hd_now_us();
    size_t before = l->actions.n;
    int rc = hd_core_step(l->core, ev, &l->actions);
    if (rc < 0) {
        /* Neither can be survived: the core's view of the cluster would no longer be true. */
        hd_errlog(l->o.log, "core_failed", "error=%s invariant=\"%s\"", hd_error_name(rc),
                  hd_core_check(l->core) ? hd_core_check(l->core) : "");
        abort();
    }
    /* What is carried out before it may be the engine, looking for rows to begin with. */
    for (size_t i = before; i < l->actions.n; i++)
        if (l->actions.list[i].type == HD_ACT_FORGET)
            hd_engine_will_forget(l->engine, l->actions.list[i].sequences);
    drain(l);
}
