/* membership.c - who is there: joining, heartbeats, suspicion, loss, and being forgotten. */
#include "leader/core/core_impl.h"

#include <string.h>

static bool is_alive(const struct worker *w)
{
    return w->state == HD_WORKER_ONLINE || w->state == HD_WORKER_SUSPECT;
}

/* The sets are asked for several times in every event. */
static void set_state(struct hd_core *c, unsigned slot, enum hd_worker_state state)
{
    c->workers[slot].state = state;
    c->online &= ~core_bit(slot);
    c->suspects &= ~core_bit(slot);
    if (state == HD_WORKER_ONLINE)
        c->online |= core_bit(slot);
    else if (state == HD_WORKER_SUSPECT)
        c->suspects |= core_bit(slot);
}

uint64_t core_suspects(const struct hd_core *c)
{
    return c->suspects & ~c->untested;
}

uint64_t core_alive(const struct hd_core *c)
{
    return (c->online | c->suspects) & ~c->untested;
}

uint64_t core_usable(const struct hd_core *c)
{
    uint64_t alive = core_alive(c), set = alive;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (c->workers[s].draining)
            set &= ~core_bit(s);
    uint64_t rested = set & ~core_pace_resting(c);
    return rested ? rested : set ? set : alive;
}

uint64_t core_covering(const struct hd_core *c)
{
    uint64_t set = core_alive(c);
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if ((c->workers[s].covers & c->live) != c->live)
            set &= ~core_bit(s);
    return set;
}

/* ---- Joining ----*/

static int slot_named(const struct hd_core *c, const char *name)
{
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (c->workers[s].state != HD_WORKER_EMPTY && strcmp(c->workers[s].name, name) == 0)
            return (int)s;
    return -1;
}

/* An unused slot, or else the one whose worker has been gone for longest; -1 when all are alive. */
static int free_slot(const struct hd_core *c)
{
    int best = -1;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        const struct worker *w = &c->workers[s];
        if (w->state == HD_WORKER_EMPTY)
            return (int)s;
        if (w->state == HD_WORKER_OFFLINE &&
            (best < 0 || w->last_seen_us < c->workers[best].last_seen_us))
            best = (int)s;
    }
    return best;
}

static void reject(struct hd_core *c, uint64_t conn, enum hd_reject code, const char *text)
{
    struct hd_action *a = core_push(c, HD_ACT_REJECT, 0);
    a->reject.conn = conn;
    a->reject.code = code;
    a->reject.text = text;
}

static void take_slot(struct hd_core *c, unsigned slot, const struct hd_event *ev)
{
    struct worker *w = &c->workers[slot];
    struct worker fresh = {
        .last_seen_us = c->now_us,
        .memory_bytes = ev->hello.memory_bytes,
        .multiply_adds_per_s = ev->hello.multiply_adds_per_s,
        .log_limit = ev->hello.log_limit_bytes,
        .clean_us = {c->now_us, c->now_us, c->now_us},
    };
    if (strcmp(w->name, ev->hello.name) == 0) {
        fresh.steps = w->steps;
        fresh.answered = w->answered;
        fresh.failures = w->failures;
        fresh.joins = w->joins;
        fresh.contributed = w->contributed; /* the machine is the same, and what it has said */
        if (w->contributed)                 /* may be in what is computed now */
            memcpy(fresh.clean_us, w->clean_us, sizeof fresh.clean_us);
    }
    fresh.joins++;
    strcpy(fresh.name, ev->hello.name); /* core_hello has checked its length */
    core_pace_back(c, &fresh, w);
    hd_detector_init(&fresh.detector, &c->o.detector, c->now_us);
    core_audit_taken(c, slot);
    *w = fresh;
    set_state(c, slot, HD_WORKER_ONLINE);
    c->restless = true;
    core_push(c, HD_ACT_WELCOME, slot)->conn = ev->hello.conn;
    core_push_state(c, slot);
    core_test(c, slot);
}

static bool is_name(const char *name)
{
    return name && name[0] && strlen(name) <= HD_NAME_MAX &&
           name[strspn(name, HD_NAME_BYTES)] == '\0';
}

void core_hello(struct hd_core *c, const struct hd_event *ev)
{
    const struct hd_hello_info *h = &ev->hello;
    if (h->model_digest != c->o.model_digest) {
        reject(c, h->conn, HD_REJECT_MODEL,
               "this worker has opened another model than the leader; give both the same file");
        return;
    }
    if (!is_name(h->name)) {
        reject(c, h->conn, HD_REJECT_NAME, "a worker needs a name: 1 to 63 of A-Z a-z 0-9 . _ -");
        return;
    }
    if (core_is_quarantined(c, h->name)) {
        reject(c, h->conn, HD_REJECT_WRONG,
               "a worker of this name has computed wrong bits; it is let in again after "
               "integrity.quarantine_s, or when the leader was started anew");
        return;
    }
    int slot = slot_named(c, h->name);
    if (slot >= 0 && is_alive(&c->workers[slot])) {
        reject(
            c, h->conn, HD_REJECT_NAME,
            "a worker of this name is connected; give this one another, or retry when it is gone");
        return;
    }
    if (slot < 0)
        slot = free_slot(c);
    if (slot < 0) {
        reject(c, h->conn, HD_REJECT_FULL, "64 workers are connected; no more fit");
        return;
    }
    take_slot(c, (unsigned)slot, ev);
}

/* ---- Signs of life ----*/

void core_heard(struct hd_core *c, unsigned slot)
{
    struct worker *w = &c->workers[slot];
    hd_detector_heard(&w->detector, c->now_us);
    w->last_seen_us = c->now_us;
    if (w->state == HD_WORKER_SUSPECT) {
        set_state(c, slot, HD_WORKER_ONLINE);
        core_push_state(c, slot);
    }
}

void core_ack(struct hd_core *c, const struct hd_event *ev)
{
    struct worker *w = &c->workers[ev->slot];
    if (!is_alive(w))
        return;
    core_heard(c, ev->slot);
    if (ev->ack.sent_us > c->now_us)
        return;
    double rtt = (double)(c->now_us - ev->ack.sent_us);
    w->rtt_us = w->answered_beat ? w->rtt_us + (rtt - w->rtt_us) / 8 : rtt;
    w->answered_beat = true;
    core_pace_beat(c, ev->slot, rtt);
}

/* A worker that fetches what it was told to load gets on, however slow the network is. It has more
 * time with each request, but no more requests than it can need. */
void core_weights(struct hd_core *c, const struct hd_event *ev)
{
    struct worker *w = &c->workers[ev->slot];
    if (!is_alive(w))
        return;
    core_heard(c, ev->slot);
    if (w->weights_asked >= c->o.max_weights_requests)
        return;
    w->weights_asked++;
    w->weights_us = c->now_us;
}

/* Those of `slots` that were to load something by now, and have not asked for weights either. */
static uint64_t overdue(const struct hd_core *c, uint64_t slots, uint64_t since_us)
{
    uint64_t set = 0;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        uint64_t from = since_us;
        if (c->workers[s].weights_us > from)
            from = c->workers[s].weights_us;
        if (slots & core_bit(s) && c->now_us > from + c->o.assign_deadline_us)
            set |= core_bit(s);
    }
    return set;
}

static void check_silence(struct hd_core *c, unsigned slot)
{
    struct worker *w = &c->workers[slot];
    double phi = hd_detector_phi(&w->detector, c->now_us);
    if (phi >= c->o.detector.phi_offline) {
        core_lose(c, slot, HD_LOSS_SILENT);
    } else if (phi >= c->o.detector.phi_suspect && w->state == HD_WORKER_ONLINE) {
        set_state(c, slot, HD_WORKER_SUSPECT);
        core_push_state(c, slot);
    }
}

static void check_deadlines(struct hd_core *c)
{
    uint64_t late = overdue(c, c->assigning, c->assign_since_us);
    uint64_t unready = overdue(c, c->preparing, c->prepare_since_us);
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        if (c->half[g].sent && c->now_us > c->half[g].since_us + c->o.step_deadline_us)
            late |= c->half[g].awaited;
    if (unready)
        late |= core_move_late(c, unready);
    late |= core_untested_late(c);
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (late & core_bit(s))
            core_lose(c, s, HD_LOSS_DEADLINE);
}

/* Who is offline has neither units nor anybody waiting for him, only a name and totals. */
static void forget_gone(struct hd_core *c)
{
    for (unsigned s = 0; s < HD_MAX_WORKERS && c->o.forget_after_us > 0; s++) {
        struct worker *w = &c->workers[s];
        if (w->state != HD_WORKER_OFFLINE || c->now_us < w->last_seen_us + c->o.forget_after_us)
            continue;
        strcpy(core_push(c, HD_ACT_FORGOTTEN, s)->name, w->name);
        *w = (struct worker){0};
    }
}

void core_tick(struct hd_core *c, const struct hd_event *ev)
{
    forget_gone(c);
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        c->half[g].since_us += ev->late_us;
    c->waiting.since_us += ev->late_us;
    c->assign_since_us += ev->late_us;
    c->prepare_since_us += ev->late_us;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        if (!is_alive(&c->workers[s]))
            continue;
        c->workers[s].weights_us += ev->late_us;
        c->workers[s].tested_us += ev->late_us;
        hd_detector_excuse(&c->workers[s].detector, ev->late_us);
        check_silence(c, s);
    }
    check_deadlines(c);
    core_pace_tick(c);
    core_audit_tick(c, ev->late_us);
    c->heartbeat++;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (is_alive(&c->workers[s]))
            core_push(c, HD_ACT_HEARTBEAT, s)->seq = c->heartbeat;
}

/* ---- Loss ----*/

void core_lose(struct hd_core *c, unsigned slot, enum hd_loss_cause cause)
{
    struct worker *w = &c->workers[slot];
    if (!is_alive(w))
        return;
    core_report_loss(c, slot, cause);
    if ((cause == HD_LOSS_SILENT || cause == HD_LOSS_DEADLINE) && core_owns_any(c, slot))
        core_pace_slipped(c, slot);
    set_state(c, slot, HD_WORKER_OFFLINE);
    w->failures++;
    w->knows = w->covers = w->filling = w->cannot = w->no_room = 0;
    w->draining = w->leaving = w->dismissed = w->failing = false;
    c->untested &= ~core_bit(slot);
    c->assigning &= ~core_bit(slot);
    hd_holds_drop(&c->hold, core_bit(slot));
    hd_holds_drop(&c->held, core_bit(slot));
    core_move_forget(c);
    if (cause != HD_LOSS_CLOSED) {
        struct hd_action *cut = core_push(c, HD_ACT_CLOSE, slot);
        cut->close.code = HD_REJECT_WRONG;
        cut->close.text = cause == HD_LOSS_WRONG
                              ? "this worker has computed wrong bits: its processor or "
                                "its memory may be failing"
                              : NULL;
    }
    struct hd_action *a = core_push(c, HD_ACT_WORKER_STATE, slot);
    a->member.state = w->state;
    a->member.cause = cause;
    core_fetches_lost(c, slot);
    core_audit_lost(c, slot, cause);
}
