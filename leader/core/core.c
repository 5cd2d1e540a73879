/* core.c - hd_core_step: one event in, the actions that follow from it out; and what others may
 * ask. */
#include "leader/core/core_impl.h"

#include <stdio.h>
#include <stdlib.h>

const char *hd_worker_state_name(enum hd_worker_state s)
{
    static const char *const names[] = {"empty", "online", "suspect", "offline"};
    return names[s];
}

const char *hd_cluster_state_name(enum hd_cluster_state s)
{
    static const char *const names[] = {"waiting", "assigning", "ready"};
    return names[s];
}

const char *hd_loss_cause_name(enum hd_loss_cause c)
{
    static const char *const names[] = {"closed",   "silent",  "deadline",
                                        "protocol", "gave_up", "wrong"};
    return names[c];
}

const char *hd_pace_name(enum hd_pace p)
{
    static const char *const names[] = {"steady", "slow", "relieved"};
    return names[p];
}

static void set_reason(struct hd_core *c);

int hd_core_new(struct hd_core **out, const struct hd_core_options *o, struct hd_error *err)
{
    if (!o->strategy || o->n_layers == 0)
        return hd_fail(err, HD_E_CONFIG, "the core needs a strategy and a model with layers");
    struct hd_core *c = calloc(1, sizeof *c);
    if (!c)
        return hd_fail(err, HD_E_NOMEM, "no memory for the cluster's state");
    c->o = *o;
    if (c->o.trust.drain_after > HD_MAX_DRAIN_AFTER)
        c->o.trust.drain_after = HD_MAX_DRAIN_AFTER;
    if (c->o.min_workers == 0)
        c->o.min_workers = 1;
    if (!c->o.policy)
        c->o.policy = &hd_policies[HD_POLICY_REUSE];
    core_members_init(c);
    core_audit_init(c);
    if (core_adoption_init(c) < 0 || core_epochs_init(c) < 0 || core_moves_init(c) < 0 ||
        core_reports_init(c) < 0 || core_rows_init(c) < 0) {
        hd_core_free(c);
        return hd_fail(err, HD_E_NOMEM, "no memory for a plan of %u heads", o->units[0]);
    }
    set_reason(c);
    *out = c;
    return 0;
}

void hd_core_free(struct hd_core *c)
{
    if (!c)
        return;
    core_adoption_deinit(c);
    core_epochs_deinit(c);
    core_moves_deinit(c);
    core_reports_deinit(c);
    core_rows_deinit(c);
    free(c);
}

/* ---- Events ----*/

static void dispatch(struct hd_core *c, const struct hd_event *ev)
{
    switch (ev->type) {
    case HD_EV_HELLO:
        core_hello(c, &ev->hello);
        break;
    case HD_EV_CLOSED:
        core_lose(c, ev->slot, HD_LOSS_CLOSED);
        break;
    case HD_EV_ACK:
        core_ack(c, ev->slot, &ev->ack);
        break;
    case HD_EV_KV_RESULT:
        core_kv_result(c, ev->slot, &ev->kv);
        break;
    case HD_EV_RESULT:
        core_result(c, ev->slot, &ev->result);
        break;
    case HD_EV_BROKE_RULES:
        core_lose(c, ev->slot, HD_LOSS_PROTOCOL);
        break;
    case HD_EV_GAVE_UP:
        core_lose(c, ev->slot, HD_LOSS_GAVE_UP);
        break;
    case HD_EV_TICK:
        core_tick(c, ev->late_us);
        break;
    case HD_EV_SEQ_OPEN:
        core_seq_open(c, ev->sequence);
        break;
    case HD_EV_SEQ_FORK:
        core_seq_fork(c, &ev->fork);
        break;
    case HD_EV_SEQ_KEPT:
    case HD_EV_SEQ_TAKEN:
        core_seq_kept(c, ev->sequence, ev->type == HD_EV_SEQ_KEPT);
        break;
    case HD_EV_SEQ_CUT:
        core_seq_cut(c, &ev->cut);
        break;
    case HD_EV_SEQ_CLOSE:
        core_seq_close(c, ev->sequence);
        break;
    case HD_EV_HALF:
        core_half(c, &ev->half);
        break;
    case HD_EV_STEP_DONE:
        core_step_done(c);
        break;
    case HD_EV_REPLAYED:
        core_replayed(c, ev->sequences);
        break;
    case HD_EV_LOG_STATE:
        core_log_state(c, ev->slot, &ev->log);
        break;
    case HD_EV_FETCH:
        core_fetch(c, ev->slot, &ev->fetch);
        break;
    case HD_EV_ROWS:
        core_rows(c, ev->slot, &ev->fetch);
        break;
    case HD_EV_WEIGHTS:
        core_weights(c, ev->slot);
        break;
    case HD_EV_DRAIN:
        core_drain(c, ev->slot, &ev->drain);
        break;
    case HD_EV_REBALANCE:
        core_rebalance(c);
        break;
    case HD_EV_MODEL_KNOWN:
        c->o.wait_for_model = false;
        break;
    case HD_EV_SELF_TEST:
        core_tested(c, ev->slot, ev->digest);
        break;
    case HD_EV_AUDIT:
        core_audit_result(c, ev->slot, &ev->audit);
        break;
    case HD_EV_DAMAGE:
        core_damage(c, ev->slot, &ev->damage);
        break;
    case HD_EV_SEQ_ADOPT:
        core_seq_adopt(c, &ev->adopt);
        break;
    case HD_EV_KEPT:
        core_kept(c, ev->slot, &ev->kept);
        break;
    }
}

int hd_core_step(struct hd_core *c, const struct hd_event *ev, struct hd_actions *out)
{
    int rc = core_reserve(c, out);
    if (rc < 0)
        return rc;
    c->out = out;
    c->now_us = ev->now_us;
    core_pace_pass(c);
    dispatch(c, ev);
    core_settle(c);
    core_dismiss(c);
    set_reason(c);
    core_checked(c);
    c->out = NULL;
    return 0;
}

/* ---- Views ----*/

/* "w1, w2" of the slots in `set`, cut short when there are many. */
static void list_names(const struct hd_core *c, uint64_t set, char *to, size_t size)
{
    size_t n = 0;
    to[0] = 0;
    for (; set && n + 1 < size; set &= set - 1)
        n += (size_t)snprintf(to + n, size - n, "%s%s", n ? ", " : "",
                              core_name(c, core_first(set)));
}

static void set_reason(struct hd_core *c)
{
    char names[160];
    enum hd_cluster_state state = hd_core_state(c);
    c->reason[0] = 0;
    if (state == HD_CLUSTER_ASSIGNING) {
        list_names(c, core_assigning(c), names, sizeof names);
        snprintf(c->reason, sizeof c->reason, "epoch %llu is not confirmed yet by %s",
                 (unsigned long long)hd_core_epoch(c), names);
    } else if (state == HD_CLUSTER_WAITING && core_plan_error(c)[0]) {
        snprintf(c->reason, sizeof c->reason, "%s", core_plan_error(c));
    } else if (state == HD_CLUSTER_WAITING && c->o.wait_for_model) {
        snprintf(c->reason, sizeof c->reason, "the leader reads its model's file through, once");
    } else if (state == HD_CLUSTER_WAITING && core_unmeasured(c)) {
        list_names(c, core_unmeasured(c), names, sizeof names);
        snprintf(c->reason, sizeof c->reason, "waiting for the first heartbeat of %s", names);
    } else if (state == HD_CLUSTER_WAITING && core_adoption_waits(c)) {
        snprintf(c->reason, sizeof c->reason, "waiting for workers of the leader before this one");
    } else if (state == HD_CLUSTER_WAITING) {
        snprintf(c->reason, sizeof c->reason, "waiting for workers: %u of %u",
                 core_count(core_alive(c)), core_has_served(c) ? 1 : c->o.min_workers);
    }
}

const char *hd_core_reason(const struct hd_core *c)
{
    return c->reason;
}

bool hd_core_worker(const struct hd_core *c, unsigned slot, uint64_t now_us,
                    struct hd_worker_view *out)
{
    struct hd_worker_view v = {0};
    core_view_member(c, slot, &v);
    if (v.state == HD_WORKER_EMPTY)
        return false;
    v.phi = core_phi(c, slot, now_us);
    v.draining = core_draining(c) & core_bit(slot);
    core_view_steps(c, slot, &v);
    core_view_log(c, slot, &v);
    core_view_trust(c, slot, &v);
    core_view_pace(c, slot, &v);
    *out = v;
    return true;
}
