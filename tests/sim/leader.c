/* leader.c - what the daemon does between the core, the engine and the network. */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <string.h>

static void cut(struct sim *s, unsigned slot)
{
    struct sim_msg fin = {.type = MSG_FIN};
    uint64_t conn = s->slots[slot];
    if (!conn)
        return;
    s->slots[slot] = 0;
    s->conn_slot[conn] = -2;
    fin.complete = true; /* nothing of that is to be gone on with */
    sim_send_to_worker(s, conn, &fin);
}

static void welcome(struct sim *s, const struct hd_action *a)
{
    struct sim_msg m = {.type = MSG_WELCOME, .epoch = hd_core_epoch(s->core)};
    m.term = sim_leaders_welcome(s);
    for (unsigned i = 0; i < s->engine.n_requests; i++)
        s->joined_late |= s->engine.requests[i].sequence >= 0;
    s->conn_slot[a->conn] = (int)a->slot;
    s->slots[a->slot] = a->conn;
    sim_send_to_worker(s, a->conn, &m);
}

static void reject(struct sim *s, const struct hd_action *a)
{
    struct sim_msg m = {.type = MSG_REJECT};
    s->conn_slot[a->reject.conn] = -2;
    sim_send_to_worker(s, a->reject.conn, &m);
}

static void put_needs(struct sim *s, struct sim_msg *m, const struct hd_orders *all, uint64_t of)
{
    const struct hd_seq_need *needs = all->needs;
    memcpy(m->layers_done, all->layers_done, sizeof m->layers_done);
    for (size_t i = 0; i < all->n_needs; i++)
        if (of >> needs[i].sequence & 1) {
            if (m->n_needs == SIM_SEQUENCES)
                sim_fail(s, "more sequences are needed than there are");
            m->needs[m->n_needs++] = needs[i];
        }
}

static uint64_t mask_of(const uint32_t *list, uint32_t n)
{
    uint64_t mask = 0;
    for (uint32_t i = 0; i < n; i++)
        mask |= UINT64_C(1) << list[i];
    return mask;
}

static void send_assign(struct sim *s, const struct hd_action *a)
{
    const struct hd_orders *all = a->assign.all;
    struct sim_msg m = {
        .type = MSG_ASSIGN, .epoch = a->epoch, .clear = a->assign.clear, .round = a->assign.round};
    uint32_t list[64];
    if (!s->slots[a->slot] || a->epoch != hd_core_epoch(s->core))
        return;
    for (int k = 0; k < HD_UNIT_KINDS; k++) {
        m.units[k] = mask_of(list, hd_plan_owned(&all->plan, k, a->slot, list));
        m.hold[k] = mask_of(list, hd_holds_list(&all->hold, k, a->slot, list));
        if (m.units[k] & m.hold[k])
            sim_fail(s, "slot %u is to hold what it owns", a->slot);
    }
    m.hold[HD_HOLD_KV] = mask_of(list, hd_holds_list(&all->hold, HD_HOLD_KV, a->slot, list));
    put_needs(s, &m, all, UINT64_MAX);
    s->prepared |= a->type == HD_ACT_PREPARE;
    s->moves += a->type == HD_ACT_PREPARE;
    sim_note(s, a->type == HD_ACT_PREPARE ? "prepare" : "assign", a->slot, m.units[HD_UNIT_HEAD]);
    sim_send_to_worker(s, s->slots[a->slot], &m);
}

static void send_fill(struct sim *s, const struct hd_action *a)
{
    struct sim_msg m = {.type = MSG_FILL};
    put_needs(s, &m, a->fill.all, a->fill.sequences);
    sim_note(s, "fill", a->slot, a->fill.sequences);
    for (size_t i = 0; i < m.n_needs && s->n_leaders > 1 && s->slots[a->slot]; i++)
        sim_adopt_send_tokens(s, s->slots[a->slot], m.needs[i].sequence);
    if (s->slots[a->slot])
        sim_send_to_worker(s, s->slots[a->slot], &m);
}

/* The rows in hand, if there are any, go on to who asked for them. */
static void send_fetch(struct sim *s, const struct hd_action *a)
{
    struct sim_msg m = {.type = a->type == HD_ACT_FETCH ? MSG_FETCH : MSG_ROWS};
    if (a->type == HD_ACT_ROWS)
        memcpy(m.rows, s->rows_in_hand->rows, sizeof m.rows);
    m.fetch = a->fetch;
    if (s->slots[a->slot])
        sim_send_to_worker(s, s->slots[a->slot], &m);
}

static void send_simple(struct sim *s, const struct hd_action *a)
{
    struct sim_msg m = {.epoch = a->epoch};
    if (!s->slots[a->slot])
        return;
    switch (a->type) {
    case HD_ACT_HEARTBEAT:
        m.type = MSG_HEARTBEAT;
        m.seq = a->seq;
        m.sent_us = s->now;
        break;
    case HD_ACT_SEND_HALF:
        m.type = MSG_STEP;
        m.group = a->group;
        sim_engine_fill_step(s, &m);
        break;
    case HD_ACT_DRAINED:
        m.type = MSG_DRAINED;
        break;
    case HD_ACT_SEQ_FORK:
        m.type = MSG_OPEN;
        m.sequence = a->fork.sequence;
        m.fork = a->fork;
        break;
    case HD_ACT_SEQ_CUT:
        m.type = MSG_CUT;
        m.sequence = a->cut.sequence;
        m.positions = a->cut.positions;
        break;
    default:
        m.type = a->type == HD_ACT_SEQ_OPEN ? MSG_OPEN : MSG_CLOSE;
        m.sequence = a->sequence;
        break;
    }
    sim_send_to_worker(s, s->slots[a->slot], &m);
}

static void replay(struct sim *s, uint64_t sequences)
{
    struct hd_event ev = {.type = HD_EV_REPLAYED, .sequences = sequences};
    sim_note_why(s, "replay", 0, sequences, hd_core_reason(s->core));
    s->replays++;
    if (s->options.policy != &hd_policies[HD_POLICY_FULL] && !s->joined_late && !s->all_lost &&
        !s->gave_up_log)
        sim_fail(s, "a replay, although every log is complete");
    sim_engine_replay(s, sequences);
    sim_leader_event(s, &ev);
    s->engine.ready = true;
    sim_engine_kick(s);
}

static void check_report(struct sim *s, const struct hd_failover *f)
{
    sim_note_why(s, "failover", f->heads_lost, f->heads_rebuilt, hd_loss_cause_name(f->cause));
    s->recoveries++;
    if (f->heads_rebuilt + f->heads_ready != f->heads_lost)
        sim_fail(s, "%s lost %u heads, %u were rebuilt and %u were ready", f->worker, f->heads_lost,
                 f->heads_rebuilt, f->heads_ready);
    s->standby_used += f->heads_ready;
    if (f->heads_reused + f->heads_lost > s->options.units[HD_UNIT_HEAD])
        sim_fail(s, "more heads are accounted for than there are");
    if (f->stall_ms < f->detect_ms || f->stall_ms < f->retry_ms)
        sim_fail(s, "a part of a recovery took longer than all of it");
}

static void worker_state(struct sim *s, const struct hd_action *a)
{
    bool lost = a->member.state == HD_WORKER_OFFLINE;
    sim_note_why(s, hd_worker_state_name(a->member.state), a->slot, 0,
                 lost ? hd_loss_cause_name(a->member.cause) : "");
    if (a->member.state != HD_WORKER_OFFLINE)
        return;
    s->losses++;
    if (s->kind == SIM_LIAR && a->member.cause != HD_LOSS_WRONG)
        sim_fail(s, "a false alarm: the worker in slot %u was lost (%s)", a->slot,
                 hd_loss_cause_name(a->member.cause));
    if (s->kind == SIM_CALM || s->kind == SIM_JITTER)
        sim_fail(s, "a false alarm: worker in slot %u was lost (%s)", a->slot,
                 hd_loss_cause_name(a->member.cause));
}

static void pace(struct sim *s, const struct hd_action *a)
{
    struct hd_worker_view v;
    hd_core_worker(s->core, a->slot, s->now, &v);
    struct sim_worker *w = &s->workers[v.name[1] - '0'];
    sim_note(s, hd_pace_name(a->pace.pace), a->slot, (uint64_t)(a->pace.share * 100));
    if (a->pace.pace != HD_PACE_STEADY && !s->options.relief.automatic &&
        a->pace.pace != HD_PACE_SLOW)
        sim_fail(s, "%s was relieved, and nobody is to be", v.name);
    if (a->pace.pace == HD_PACE_RELIEVED && !w->relieved_at) {
        w->relieved_at = s->now;
        w->reliefs++;
        s->relieved++;
    } else if (a->pace.pace == HD_PACE_STEADY && w->relieved_at) {
        /* Back and forth takes longer and longer. */
        if (s->now - w->relieved_at < s->options.relief.hold_us)
            sim_fail(s, "%s got its share back after %llu us", v.name,
                     (unsigned long long)(s->now - w->relieved_at));
        w->relieved_at = 0;
        s->returned++;
    }
}

static void set_ready(struct sim *s, bool ready)
{
    sim_note_why(s, ready ? "ready" : "not ready", 0, 0, ready ? "" : hd_core_reason(s->core));
    s->engine.ready = ready;
    sim_engine_kick(s);
}

static void perform(struct sim *s, const struct hd_action *a)
{
    switch (a->type) {
    case HD_ACT_WELCOME:
        welcome(s, a);
        break;
    case HD_ACT_REJECT:
        reject(s, a);
        break;
    case HD_ACT_CLOSE:
        cut(s, a->slot);
        break;
    case HD_ACT_PREPARE:
    case HD_ACT_ASSIGN:
        send_assign(s, a);
        break;
    case HD_ACT_HEARTBEAT:
    case HD_ACT_SEQ_OPEN:
    case HD_ACT_SEQ_FORK:
    case HD_ACT_SEQ_CUT:
    case HD_ACT_SEQ_CLOSE:
    case HD_ACT_SEND_HALF:
    case HD_ACT_DRAINED:
        send_simple(s, a);
        break;
    case HD_ACT_FILL:
        send_fill(s, a);
        break;
    case HD_ACT_FETCH:
    case HD_ACT_ROWS:
    case HD_ACT_NO_ROWS:
        send_fetch(s, a);
        break;
    case HD_ACT_RESET_HALF:
        s->pairs_lost += a->group > 0;
        sim_engine_reset_half(s, a->group);
        break;
    case HD_ACT_DROP_RESULT:
        break;
    case HD_ACT_HALF_DONE:
        sim_engine_half_done(s, a->group);
        break;
    case HD_ACT_READY:
    case HD_ACT_NOT_READY:
        set_ready(s, a->type == HD_ACT_READY);
        break;
    case HD_ACT_FORGET:
        sim_note(s, "forget", 0, a->sequences);
        sim_branch_forget(s, a->sequences);
        break;
    case HD_ACT_REPLAY:
        replay(s, a->sequences);
        break;
    case HD_ACT_WORKER_STATE:
        worker_state(s, a);
        break;
    case HD_ACT_BUG:
        sim_fail(s, "%s", a->bug);
    case HD_ACT_FORGOTTEN:
        sim_note(s, "forgotten", a->slot, 0);
        s->forgotten++;
        break;
    case HD_ACT_FAILOVER:
        check_report(s, &a->failover);
        break;
    case HD_ACT_PACE:
        pace(s, a);
        break;
    default:
        sim_trust_act(s, a);
        break;
    }
}

void sim_leader_event(struct sim *s, struct hd_event *ev)
{
    size_t before = s->actions.n;
    ev->now_us = s->now;
    if (hd_core_step(s->core, ev, &s->actions) < 0)
        sim_fail(s, "the core failed");
    const char *broken = hd_core_check(s->core);
    if (broken)
        sim_fail(s, "broken: %s", broken);
    if (hd_core_state(s->core) == HD_CLUSTER_WAITING && hd_core_epoch(s->core) > 0)
        s->all_lost = true;
    for (size_t i = before; i < s->actions.n; i++) /* the engine may be busy now, and look for it */
        if (s->actions.list[i].type == HD_ACT_FORGET)
            sim_branch_doom(s, s->actions.list[i].sequences);
    if (s->draining)
        return;
    s->draining = true;
    while (s->next_action < s->actions.n) {
        struct hd_action a = s->actions.list[s->next_action++];
        perform(s, &a);
    }
    hd_actions_clear(&s->actions);
    s->next_action = 0;
    s->draining = false;
}

static size_t list_bits(uint64_t mask, uint32_t *list)
{
    size_t n = 0;
    for (uint32_t i = 0; i < 64; i++)
        if (mask >> i & 1)
            list[n++] = i;
    return n;
}

static void greeted(struct sim *s, const struct sim_msg *m)
{
    char name[8];
    struct hd_event ev = {.type = HD_EV_HELLO, .hello = {.conn = m->conn}};
    if (!sim_leaders_greet(s, m))
        return;
    snprintf(name, sizeof name, "w%u", s->conn_worker[m->conn]);
    ev.hello.name = name;
    ev.hello.model_digest = s->options.model_digest;
    ev.hello.log_limit_bytes = m->complete;
    ev.hello.epoch = m->epoch;
    ev.hello.kept = m->kept;
    s->kept_covers[m->conn] = 0;
    s->gave_up_log |= !m->complete;
    sim_leader_event(s, &ev);
}

struct in_hand {
    struct sim *s;
    const struct sim_msg *m;
};

static int use_result(void *arg, uint64_t audit, uint64_t *digest)
{
    const struct in_hand *r = arg;
    *digest = sim_trust_answer(r->s, (unsigned)r->s->conn_slot[r->m->conn], r->m, audit);
    sim_engine_use(r->s, r->m);
    return 0;
}

/* `list`: [SIM_SEQUENCES * SIM_HEADS] */
static void list_digests(const struct sim_msg *m, struct hd_kv_digest *list, struct hd_kv_info *kv)
{
    kv->digests = list;
    for (uint32_t q = 0; q < SIM_SEQUENCES; q++)
        for (uint32_t h = 0; h < SIM_HEADS; h++)
            if (m->digests[q][h])
                list[kv->n_digests++] = (struct hd_kv_digest){q, h, m->digests[q][h]};
}

void sim_leader_receive(struct sim *s, const struct sim_msg *m)
{
    int slot = s->conn_slot[m->conn];
    uint32_t heads[64], gaps[64], ready[64], kept[HD_UNIT_KINDS][64], held[HD_UNIT_KINDS][64],
        bare[64];
    struct hd_kv_digest digests[SIM_SEQUENCES * SIM_HEADS];
    if (slot == -1 && m->type == MSG_HELLO)
        greeted(s, m);
    if (slot < 0)
        return;
    if (m->type == MSG_TOKENS) {
        sim_adopt_take(s, (unsigned)slot, m);
        return;
    }
    struct hd_event ev = {.slot = (unsigned)slot};
    struct in_hand in_hand = {s, m};
    switch (m->type) {
    case MSG_FIN:
        s->slots[slot] = 0;
        s->conn_slot[m->conn] = -2;
        ev.type = HD_EV_CLOSED;
        break;
    case MSG_ACK:
        ev.type = HD_EV_ACK;
        ev.ack = (struct hd_ack_info){m->seq, m->sent_us};
        break;
    case MSG_KV:
        ev.type = HD_EV_KV_RESULT;
        ev.kv = (struct hd_kv_info){.epoch = m->epoch,
                                    .rows_rebuilt = m->rows_rebuilt,
                                    .rows_kept = m->rows_kept,
                                    .round = m->round,
                                    .heads = heads,
                                    .ready = ready,
                                    .gaps = gaps};
        ev.kv.n_heads = list_bits(m->units[HD_UNIT_HEAD], heads);
        ev.kv.n_ready = list_bits(m->hold[HD_UNIT_HEAD], ready);
        ev.kv.n_gaps = list_bits(m->gaps, gaps);
        list_digests(m, digests, &ev.kv);
        break;
    case MSG_KEPT:
        ev.type = HD_EV_KEPT;
        ev.kept.covers = s->kept_covers[m->conn];
        for (int k = 0; k < HD_UNIT_KINDS; k++) {
            ev.kept.units[k] = kept[k];
            ev.kept.n[k] = list_bits(m->units[k], kept[k]);
            ev.kept.held[k] = held[k];
            ev.kept.n_held[k] = list_bits(m->hold[k], held[k]);
        }
        ev.kept.bare = bare;
        ev.kept.n_bare = list_bits(m->hold[HD_UNIT_HEAD] & ~m->hold[HD_HOLD_KV], bare);
        break;
    case MSG_RESULT:
        ev.type = HD_EV_RESULT;
        ev.result = (struct hd_result_info){.epoch = m->epoch,
                                            .step = m->step,
                                            .half = m->half,
                                            .layer = m->layer,
                                            .group = m->group,
                                            .use = use_result,
                                            .arg = &in_hand};
        break;
    case MSG_LOG_STATE:
        ev.type = HD_EV_LOG_STATE;
        ev.log = (struct hd_log_info){m->sequence, m->complete, false};
        break;
    case MSG_FETCH:
    case MSG_ROWS:
        ev.type = m->type == MSG_FETCH ? HD_EV_FETCH : HD_EV_ROWS;
        ev.fetch = m->fetch;
        s->rows_in_hand = m;
        break;
    case MSG_DRAIN:
        ev.type = HD_EV_DRAIN;
        ev.drain = (struct hd_drain_info){true, true};
        break;
    default:
        if (!sim_trust_event(s, m, &ev))
            sim_fail(s, "a worker sent what only the leader sends");
    }
    sim_leader_event(s, &ev);
}

void sim_leader_operate(struct sim *s, unsigned worker)
{
    struct hd_event ev = {.type = HD_EV_REBALANCE};
    int slot = s->workers[worker].conn ? s->conn_slot[s->workers[worker].conn] : -1;
    if (s->n_leaders > 1 && slot < 0)
        return;
    sim_leaders_at(s, s->conn_leader[s->workers[worker].conn]);
    if (slot >= 0 && sim_chance(s, 70)) {
        ev.type = HD_EV_DRAIN;
        ev.slot = (unsigned)slot;
        ev.drain.on = sim_chance(s, 50);
    }
    sim_note(s, ev.type == HD_EV_DRAIN ? "drain" : "rebalance", ev.slot, ev.drain.on);
    sim_leader_event(s, &ev);
}

void sim_leader_tick(struct sim *s)
{
    struct hd_event ev = {.type = HD_EV_TICK, .late_us = s->now - s->tick_due};
    sim_leader_event(s, &ev);
    if (hd_core_state(s->core) != HD_CLUSTER_WAITING)
        s->waiting_since = s->now;
    else if (s->now - s->waiting_since > 700000)
        sim_engine_fail_all(s); /* requests do not wait for ever */
    sim_leaders_tick(s);
    s->tick_due = s->now + s->options.detector.interval_us;
    struct sim_msg m = {.seq = s->places[s->leader].lives};
    sim_at(s, s->tick_due, TICK, s->leader, &m);
}
