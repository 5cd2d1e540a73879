/* core.c - hd_core_step: one event in, the actions that follow from it out; and what others may
 * ask. */
#include "leader/core/core_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    static const char *const names[] = {"closed", "silent", "deadline", "protocol", "wrong"};
    return names[c];
}

const char *hd_recovery_name(enum hd_recovery r)
{
    static const char *const names[] = {"reuse", "standby", "full"};
    return names[r];
}

static void set_reason(struct hd_core *c);

static int alloc_core(struct hd_core *c)
{
    uint32_t heads = c->o.units[HD_UNIT_HEAD];
    if (hd_plan_init(&c->plan, c->o.units) < 0 || hd_plan_init(&c->scratch, c->o.units) < 0 ||
        hd_plan_init(&c->next, c->o.units) < 0 || hd_holds_init(&c->hold, c->o.units) < 0 ||
        hd_holds_init(&c->held, c->o.units) < 0 || hd_holds_init(&c->wanted, c->o.units) < 0 ||
        hd_holds_init(&c->scratch_holds, c->o.units) < 0)
        return HD_E_NOMEM;
    for (unsigned i = 0; i < MAX_REPORTS; i++) {
        c->reports[i].lost = calloc((size_t)heads + 1, 1);
        if (!c->reports[i].lost)
            return HD_E_NOMEM;
    }
    c->same_rows = calloc((size_t)heads * HD_MAX_SEQUENCES, sizeof *c->same_rows);
    return c->same_rows ? 0 : HD_E_NOMEM;
}

int hd_core_new(struct hd_core **out, const struct hd_core_options *o, struct hd_error *err)
{
    if (!o->strategy || o->n_layers == 0)
        return hd_fail(err, HD_E_CONFIG, "the core needs a strategy and a model with layers");
    struct hd_core *c = calloc(1, sizeof *c);
    if (!c)
        return hd_fail(err, HD_E_NOMEM, "no memory for the cluster's state");
    c->o = *o;
    core_audit_init(c);
    if (c->o.trust.drain_after > HD_MAX_DRAIN_AFTER)
        c->o.trust.drain_after = HD_MAX_DRAIN_AFTER;
    if (c->o.min_workers == 0)
        c->o.min_workers = 1;
    if (c->o.recovery != HD_RECOVERY_STANDBY)
        c->o.standby = 0;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        c->names[s] = c->workers[s].name;
    if (alloc_core(c) < 0) {
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
    hd_plan_deinit(&c->plan);
    hd_plan_deinit(&c->scratch);
    hd_plan_deinit(&c->next);
    hd_holds_deinit(&c->hold);
    hd_holds_deinit(&c->held);
    hd_holds_deinit(&c->wanted);
    hd_holds_deinit(&c->scratch_holds);
    for (unsigned i = 0; i < MAX_REPORTS; i++)
        free(c->reports[i].lost);
    free(c->same_rows);
    free(c);
}

/* ---- Events ----*/

static void dispatch(struct hd_core *c, const struct hd_event *ev)
{
    switch (ev->type) {
    case HD_EV_HELLO:
        core_hello(c, ev);
        break;
    case HD_EV_CLOSED:
        core_lose(c, ev->slot, HD_LOSS_CLOSED);
        break;
    case HD_EV_ACK:
        core_ack(c, ev);
        break;
    case HD_EV_KV_RESULT:
        core_kv_result(c, ev);
        break;
    case HD_EV_RESULT:
        core_result(c, ev);
        break;
    case HD_EV_BROKE_RULES:
        core_lose(c, ev->slot, HD_LOSS_PROTOCOL);
        break;
    case HD_EV_TICK:
        core_tick(c, ev);
        break;
    case HD_EV_SEQ_OPEN:
        core_seq_open(c, ev);
        break;
    case HD_EV_SEQ_CLOSE:
        core_seq_close(c, ev);
        break;
    case HD_EV_HALF:
        core_half(c, ev);
        break;
    case HD_EV_STEP_DONE:
        core_step_done(c);
        break;
    case HD_EV_REPLAYED:
        core_replayed(c, ev);
        break;
    case HD_EV_LOG_STATE:
        core_log_state(c, ev);
        break;
    case HD_EV_FETCH:
        core_fetch(c, ev);
        break;
    case HD_EV_ROWS:
        core_rows(c, ev);
        break;
    case HD_EV_WEIGHTS:
        core_weights(c, ev);
        break;
    case HD_EV_DRAIN:
        core_drain(c, ev);
        break;
    case HD_EV_REBALANCE:
        core_rebalance(c);
        break;
    case HD_EV_MODEL_KNOWN:
        c->o.wait_for_model = false;
        break;
    case HD_EV_SELF_TEST:
        core_tested(c, ev);
        break;
    case HD_EV_AUDIT:
        core_audit_result(c, ev);
        break;
    case HD_EV_DAMAGE:
        core_damage(c, ev);
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
    c->out = NULL;
    return 0;
}

/* ---- Views ----*/

/* "w1, w2" of the slots in `set`, cut short when there are many. */
static void list_names(const struct hd_core *c, uint64_t set, char *to, size_t size)
{
    size_t n = 0;
    to[0] = 0;
    for (unsigned s = 0; s < HD_MAX_WORKERS && n + 1 < size; s++)
        if (set & core_bit(s))
            n += (size_t)snprintf(to + n, size - n, "%s%s", n ? ", " : "", c->workers[s].name);
}

static void set_reason(struct hd_core *c)
{
    char names[160];
    unsigned online = (unsigned)__builtin_popcountll(core_alive(c));
    c->reason[0] = 0;
    if (c->state == HD_CLUSTER_ASSIGNING) {
        list_names(c, c->assigning, names, sizeof names);
        snprintf(c->reason, sizeof c->reason, "epoch %llu is not confirmed yet by %s",
                 (unsigned long long)c->epoch, names);
    } else if (c->state == HD_CLUSTER_WAITING && c->plan_error[0]) {
        memcpy(c->reason, c->plan_error, sizeof c->reason);
    } else if (c->state == HD_CLUSTER_WAITING && c->o.wait_for_model) {
        snprintf(c->reason, sizeof c->reason, "the leader reads its model's file through, once");
    } else if (c->state == HD_CLUSTER_WAITING && core_unmeasured(c)) {
        list_names(c, core_unmeasured(c), names, sizeof names);
        snprintf(c->reason, sizeof c->reason, "waiting for the first heartbeat of %s", names);
    } else if (c->state == HD_CLUSTER_WAITING) {
        snprintf(c->reason, sizeof c->reason, "waiting for workers: %u of %u", online,
                 c->served ? 1 : c->o.min_workers);
    }
}

const char *hd_core_reason(const struct hd_core *c)
{
    return c->reason;
}

const struct hd_plan *hd_core_plan(const struct hd_core *c)
{
    return &c->plan;
}

const struct hd_holds *hd_core_hold(const struct hd_core *c)
{
    return &c->hold;
}

const struct hd_holds *hd_core_held(const struct hd_core *c)
{
    return &c->held;
}

const struct hd_half_totals *hd_core_half_totals(const struct hd_core *c, bool single)
{
    return &c->totals[single];
}

uint64_t hd_core_epoch(const struct hd_core *c)
{
    return c->epoch;
}

enum hd_cluster_state hd_core_state(const struct hd_core *c)
{
    return c->state;
}

uint64_t hd_core_reliefs(const struct hd_core *c)
{
    return c->pace.reliefs;
}

bool hd_core_worker(const struct hd_core *c, unsigned slot, uint64_t now_us,
                    struct hd_worker_view *out)
{
    const struct worker *w = &c->workers[slot];
    if (w->state == HD_WORKER_EMPTY)
        return false;
    *out = (struct hd_worker_view){
        .name = w->name,
        .state = w->state,
        .last_seen_us = w->last_seen_us,
        .rtt_ms = w->rtt_us / 1e3,
        .rate = w->us_per_byte > 0 ? 1e6 / w->us_per_byte : 0,
        .memory_bytes = w->memory_bytes,
        .multiply_adds_per_s = w->multiply_adds_per_s,
        .phi = w->state == HD_WORKER_OFFLINE ? 0 : hd_detector_phi(&w->detector, now_us),
        .steps = w->steps,
        .answered = w->answered,
        .failures = w->failures,
        .success_rate = w->steps ? (double)w->answered / (double)w->steps : 1,
        .joins = w->joins,
        .draining = w->draining,
        .failing = w->failing,
        .testing = c->untested & core_bit(slot),
        .covers = core_covering(c) & core_bit(slot),
        .logs_filled = (unsigned)__builtin_popcountll(w->filling),
        .pace = core_pace_of(w),
        .slow_since_us = w->pace.slow ? w->pace.since_us : 0,
        .slowness = w->pace.slowness,
        .share = w->pace.relieved ? w->pace.share : 1,
    };
    return true;
}
