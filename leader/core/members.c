/* members.c - see members.h.
 *
 *   EMPTY --Hello--> ONLINE <--heard-- --silent for a while--> SUSPECT
 *   ONLINE, SUSPECT --lost--> OFFLINE: the slot keeps name and totals
 *   OFFLINE --the same name comes back, or another for want of slots--> ONLINE
 *   OFFLINE --for long--> EMPTY: forgotten; it owns and holds nothing since it was lost */
#include "leader/core/core_impl.h"
#include "leader/core/table.h"

#include <string.h>

static const uint32_t next[] = {
    [HD_WORKER_EMPTY] = 1u << HD_WORKER_ONLINE,
    [HD_WORKER_ONLINE] = 1u << HD_WORKER_SUSPECT | 1u << HD_WORKER_OFFLINE,
    [HD_WORKER_SUSPECT] = 1u << HD_WORKER_ONLINE | 1u << HD_WORKER_OFFLINE,
    [HD_WORKER_OFFLINE] = 1u << HD_WORKER_ONLINE | 1u << HD_WORKER_EMPTY,
};

static const char *name_of_state(unsigned state)
{
    return hd_worker_state_name((enum hd_worker_state)state);
}

static const struct core_table table = {"a member", name_of_state, next};

bool core_set_member(struct hd_core *c, unsigned slot, enum hd_worker_state state)
{
    struct members *m = &c->members;
    if (!core_may(c, &table, m->of[slot].state, state))
        return false;
    m->of[slot].state = state;
    m->online &= ~core_bit(slot);
    m->suspects &= ~core_bit(slot);
    if (state == HD_WORKER_ONLINE)
        m->online |= core_bit(slot);
    else if (state == HD_WORKER_SUSPECT)
        m->suspects |= core_bit(slot);
    return true;
}

void core_say_member(struct hd_core *c, unsigned slot)
{
    core_push(c, HD_ACT_WORKER_STATE, slot)->member.state = c->members.of[slot].state;
}

void core_members_init(struct hd_core *c)
{
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        c->members.names[s] = c->members.of[s].name;
}

/* ---- Who there is ----*/

uint64_t core_suspects(const struct hd_core *c)
{
    return c->members.suspects & ~core_untested(c);
}

uint64_t core_connected(const struct hd_core *c)
{
    return c->members.online | c->members.suspects;
}

uint64_t core_alive(const struct hd_core *c)
{
    return core_connected(c) & ~core_untested(c);
}

bool core_is_online(const struct hd_core *c, unsigned slot)
{
    return c->members.of[slot].state == HD_WORKER_ONLINE;
}

uint64_t core_usable(const struct hd_core *c)
{
    uint64_t alive = core_alive(c), set = alive & ~core_draining(c);
    uint64_t rested = set & ~core_pace_resting(c);
    return rested ? rested : set ? set : alive;
}

uint64_t core_unmeasured(const struct hd_core *c)
{
    uint64_t set = 0;
    for (uint64_t left = core_alive(c); left && c->o.strategy->wants_links; left &= left - 1)
        if (!c->members.of[core_first(left)].answered_beat)
            set |= core_bit(core_first(left));
    return set;
}

const char *core_name(const struct hd_core *c, unsigned slot)
{
    return c->members.of[slot].name;
}

const char *const *core_names(const struct hd_core *c)
{
    return c->members.names;
}

uint64_t core_last_seen(const struct hd_core *c, unsigned slot)
{
    return c->members.of[slot].last_seen_us;
}

double core_rtt_us(const struct hd_core *c, unsigned slot)
{
    return c->members.of[slot].answered_beat ? c->members.of[slot].rtt_us : -1;
}

double core_speed(const struct hd_core *c, unsigned slot)
{
    return (double)c->members.of[slot].multiply_adds_per_s;
}

double core_memory(const struct hd_core *c, unsigned slot)
{
    return (double)c->members.of[slot].memory_bytes;
}

/* ---- Joining ----*/

static int slot_named(const struct hd_core *c, const char *name)
{
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (c->members.of[s].state != HD_WORKER_EMPTY && strcmp(c->members.of[s].name, name) == 0)
            return (int)s;
    return -1;
}

/* An unused slot, or else the one whose worker has been gone for longest; -1 when all are alive. */
static int free_slot(const struct hd_core *c)
{
    int best = -1;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        const struct member *w = &c->members.of[s];
        if (w->state == HD_WORKER_EMPTY)
            return (int)s;
        if (w->state == HD_WORKER_OFFLINE &&
            (best < 0 || w->last_seen_us < c->members.of[best].last_seen_us))
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

static void take_slot(struct hd_core *c, unsigned slot, const struct hd_hello_info *h)
{
    struct member *w = &c->members.of[slot];
    bool back = strcmp(w->name, h->name) == 0;
    if (!core_set_member(c, slot, HD_WORKER_ONLINE))
        return;
    *w = (struct member){
        .state = w->state,
        .last_seen_us = c->now_us,
        .memory_bytes = h->memory_bytes,
        .multiply_adds_per_s = h->multiply_adds_per_s,
        .failures = back ? w->failures : 0,
        .joins = (back ? w->joins : 0) + 1,
    };
    strcpy(w->name, h->name); /* core_hello has checked its length */
    hd_detector_init(&w->detector, &c->o.detector, c->now_us);
    core_epochs_joined(c, slot, h->epoch);
    core_adoption_joined(c, slot, h->kept);
    core_steps_joined(c, slot, back);
    core_logs_joined(c, slot, h->log_limit_bytes);
    core_pace_joined(c, slot, back);
    core_audits_joined(c, slot, back);
    core_moves_joined(c, slot);
    core_push(c, HD_ACT_WELCOME, slot)->conn = h->conn;
    core_say_member(c, slot);
    core_test(c, slot);
}

static bool is_name(const char *name)
{
    return name && name[0] && strlen(name) <= HD_NAME_MAX &&
           name[strspn(name, HD_NAME_BYTES)] == '\0';
}

void core_hello(struct hd_core *c, const struct hd_hello_info *h)
{
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
    if (slot >= 0 && core_connected(c) & core_bit((unsigned)slot)) {
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
    take_slot(c, (unsigned)slot, h);
}

/* ---- Loss ----*/

static void cut_off(struct hd_core *c, unsigned slot, enum hd_loss_cause cause)
{
    struct hd_action *a = core_push(c, HD_ACT_CLOSE, slot);
    a->close.code = HD_REJECT_WRONG;
    a->close.text = cause == HD_LOSS_WRONG
                        ? "this worker has computed wrong bits: its processor or "
                          "its memory may be failing"
                        : NULL;
}

void core_lose(struct hd_core *c, unsigned slot, enum hd_loss_cause cause)
{
    struct member *w = &c->members.of[slot];
    if (!(core_connected(c) & core_bit(slot)))
        return;
    core_report_loss(c, slot, cause);
    if (cause == HD_LOSS_SILENT || cause == HD_LOSS_DEADLINE)
        core_pace_slipped(c, slot);
    core_set_member(c, slot, HD_WORKER_OFFLINE);
    w->failures++;
    core_logs_lost(c, slot);
    core_trust_lost(c, slot);
    core_adoption_lost(c, slot);
    core_epochs_lost(c, slot);
    core_moves_lost(c, slot);
    if (cause != HD_LOSS_CLOSED)
        cut_off(c, slot, cause);
    struct hd_action *a = core_push(c, HD_ACT_WORKER_STATE, slot);
    a->member.state = w->state;
    a->member.cause = cause;
    core_fetches_lost(c, slot);
    core_audit_lost(c, slot, cause);
}

/* ---- Views ----*/

const char *core_check_members(const struct hd_core *c)
{
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        const struct member *w = &c->members.of[s];
        bool online = w->state == HD_WORKER_ONLINE, suspect = w->state == HD_WORKER_SUSPECT;
        if (online != !!(c->members.online & core_bit(s)) ||
            suspect != !!(c->members.suspects & core_bit(s)))
            return "the sets of workers say what their states say";
        for (unsigned t = 0; t < s && w->state != HD_WORKER_EMPTY; t++)
            if (strcmp(w->name, c->members.of[t].name) == 0)
                return "names differ";
    }
    return NULL;
}

void core_view_member(const struct hd_core *c, unsigned slot, struct hd_worker_view *out)
{
    const struct member *w = &c->members.of[slot];
    out->name = w->name;
    out->state = w->state;
    out->last_seen_us = w->last_seen_us;
    out->rtt_ms = w->rtt_us / 1e3;
    out->memory_bytes = w->memory_bytes;
    out->multiply_adds_per_s = w->multiply_adds_per_s;
    out->failures = w->failures;
    out->joins = w->joins;
}

double core_phi(const struct hd_core *c, unsigned slot, uint64_t now_us)
{
    const struct member *w = &c->members.of[slot];
    return w->state == HD_WORKER_OFFLINE ? 0 : hd_detector_phi(&w->detector, now_us);
}
