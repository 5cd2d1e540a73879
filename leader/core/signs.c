/* signs.c - signs of life, their absence, and what was not done in time. */
#include "leader/core/core_impl.h"

#include <string.h>

void core_heard(struct hd_core *c, unsigned slot)
{
    struct member *w = &c->members.of[slot];
    hd_detector_heard(&w->detector, c->now_us);
    w->last_seen_us = c->now_us;
    if (w->state == HD_WORKER_SUSPECT && core_set_member(c, slot, HD_WORKER_ONLINE))
        core_say_member(c, slot);
}

void core_ack(struct hd_core *c, unsigned slot, const struct hd_ack_info *ack)
{
    struct member *w = &c->members.of[slot];
    if (!(core_connected(c) & core_bit(slot)))
        return;
    core_heard(c, slot);
    if (ack->sent_us > c->now_us)
        return;
    double rtt = (double)(c->now_us - ack->sent_us);
    w->rtt_us = w->answered_beat ? w->rtt_us + (rtt - w->rtt_us) / 8 : rtt;
    w->answered_beat = true;
    core_pace_beat(c, slot, rtt);
}

/* A worker that fetches what it was told to load gets on, however slow the network is. It has more
 * time with each request, but no more requests than it can need. */
void core_weights(struct hd_core *c, unsigned slot)
{
    struct member *w = &c->members.of[slot];
    if (!(core_connected(c) & core_bit(slot)))
        return;
    core_heard(c, slot);
    if (w->weights_asked >= c->o.max_weights_requests)
        return;
    w->weights_asked++;
    w->weights_us = c->now_us;
}

void core_may_load(struct hd_core *c, unsigned slot)
{
    c->members.of[slot].weights_asked = 0;
}

/* Those of `slots` that were to load something by now, and have not asked for weights either. */
static uint64_t overdue(const struct hd_core *c, uint64_t slots, uint64_t since_us)
{
    uint64_t set = 0;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        uint64_t from = since_us;
        if (c->members.of[s].weights_us > from)
            from = c->members.of[s].weights_us;
        if (slots & core_bit(s) && c->now_us > from + c->o.assign_deadline_us)
            set |= core_bit(s);
    }
    return set;
}

static void check_silence(struct hd_core *c, unsigned slot)
{
    struct member *w = &c->members.of[slot];
    double phi = hd_detector_phi(&w->detector, c->now_us);
    if (phi >= c->o.detector.phi_offline) {
        core_lose(c, slot, HD_LOSS_SILENT);
    } else if (phi >= c->o.detector.phi_suspect && w->state == HD_WORKER_ONLINE &&
               core_set_member(c, slot, HD_WORKER_SUSPECT)) {
        core_say_member(c, slot);
    }
}

static void check_deadlines(struct hd_core *c)
{
    uint64_t late = overdue(c, core_assigning(c), core_assigning_since(c));
    uint64_t unready = overdue(c, core_preparing(c), core_preparing_since(c));
    late |= core_halves_late(c);
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
        struct member *w = &c->members.of[s];
        if (w->state != HD_WORKER_OFFLINE || c->now_us < w->last_seen_us + c->o.forget_after_us)
            continue;
        if (!core_set_member(c, s, HD_WORKER_EMPTY))
            continue;
        strcpy(core_push(c, HD_ACT_FORGOTTEN, s)->name, w->name);
        *w = (struct member){0};
    }
}

static void check_all(struct hd_core *c, uint64_t late_us)
{
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        struct member *w = &c->members.of[s];
        if (!(core_connected(c) & core_bit(s)))
            continue;
        w->weights_us += late_us;
        hd_detector_excuse(&w->detector, late_us);
        check_silence(c, s);
    }
    check_deadlines(c);
}

void core_tick(struct hd_core *c, uint64_t late_us)
{
    forget_gone(c);
    core_steps_tick(c, late_us);
    core_epochs_tick(c, late_us);
    core_moves_tick(c, late_us);
    core_trust_tick(c, late_us);
    core_adoption_tick(c, late_us);
    check_all(c, late_us);
    core_pace_tick(c);
    core_audit_tick(c, late_us);
    c->members.heartbeat++;
    for (uint64_t left = core_connected(c); left; left &= left - 1)
        core_push(c, HD_ACT_HEARTBEAT, core_first(left))->seq = c->members.heartbeat;
}
