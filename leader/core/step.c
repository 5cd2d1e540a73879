/* step.c - sequences and the half-steps in hand, one of each group of rows. */
#include "leader/core/core_impl.h"

#include <string.h>

#define RATE_MIN_BYTES      32768 /* fewer bytes take no time that could be told from the rest */
#define FASTEST_US_PER_BYTE 1e-5  /* 100 GB/s: a link within one machine seems to take no time */

/* ---- Sequences ----*/

void core_seq_open(struct hd_core *c, const struct hd_event *ev)
{
    uint32_t seq = ev->sequence;
    uint64_t alive = core_alive(c), bit;
    if (seq >= HD_MAX_SEQUENCES)
        return;
    bit = core_bit(seq);
    c->live |= bit;
    c->replayed &= ~bit;
    c->replaying &= ~bit;
    c->sequences[seq] = (struct sequence){0};
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        if (!(alive & core_bit(s)))
            continue;
        c->workers[s].knows |= bit;
        c->workers[s].covers |= core_keeps_log(c, &c->workers[s]) ? bit : 0;
        core_push(c, HD_ACT_SEQ_OPEN, s)->sequence = seq;
    }
}

void core_seq_close(struct hd_core *c, const struct hd_event *ev)
{
    uint32_t seq = ev->sequence;
    uint64_t bit;
    if (seq >= HD_MAX_SEQUENCES)
        return;
    bit = core_bit(seq);
    if (core_inflight(&c->sequences[seq]) > 0)
        core_abandon_step(c); /* sequences end between steps, or with the step they are in */
    c->live &= ~bit;
    c->told &= ~bit;
    c->replayed &= ~bit;
    c->replaying &= ~bit;
    c->spoiled &= ~bit;
    c->restless = true; /* it was perhaps the one that a log lacked */
    c->sequences[seq] = (struct sequence){0};
    core_fetches_end(c, bit);
    core_audit_spoiled(c, bit);
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        if (c->workers[s].knows & bit)
            core_push(c, HD_ACT_SEQ_CLOSE, s)->sequence = seq;
        c->workers[s].knows &= ~bit;
        c->workers[s].covers &= ~bit;
    }
}

uint32_t core_inflight(const struct sequence *q)
{
    uint32_t rows = 0;
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        rows += q->inflight[g];
    return rows;
}

void core_needs(const struct hd_core *c, struct hd_orders *out)
{
    uint64_t replayed = c->replayed | c->replaying;
    bool abandoned = c->replaying != 0; /* the step in hand will be, by then */
    out->n_needs = 0;
    for (uint64_t left = c->live; left; left &= left - 1) {
        unsigned i = core_first(left);
        struct hd_seq_need *need = &out->needs[out->n_needs++];
        *need = (struct hd_seq_need){.sequence = i, .replayed = replayed & core_bit(i)};
        if (need->replayed)
            continue;
        need->base = c->sequences[i].base;
        if (!abandoned)
            memcpy(need->inflight, c->sequences[i].inflight, sizeof need->inflight);
    }
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        out->layers_done[g] = abandoned ? 0 : c->layers_done[g];
}

uint64_t hd_core_positions(const struct hd_core *c)
{
    uint64_t sum = 0;
    for (uint64_t left = c->live & ~c->replayed; left; left &= left - 1)
        sum += c->sequences[core_first(left)].base;
    return sum;
}

static void recall(struct hd_core *c, struct half *h)
{
    uint64_t spared = h->awaited & core_alive(c);
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (spared & core_bit(s))
            c->workers[s].steps--; /* it was not given the time to answer */
    h->sent = false;
    h->asked = h->awaited = 0;
}

void core_recall_halves(struct hd_core *c)
{
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        recall(c, &c->half[g]);
}

/* It has no rows and no half-step in hand. */
static void forget_group(struct hd_core *c, unsigned group)
{
    for (unsigned i = 0; i < HD_MAX_SEQUENCES; i++)
        c->sequences[i].inflight[group] = 0;
    core_audit_drop(c, &c->half[group]);
    c->layers_done[group] = 0;
    c->half[group] = (struct half){0};
}

static void forget_groups(struct hd_core *c)
{
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        forget_group(c, g);
    if (c->state == HD_CLUSTER_READY)
        core_report_done(c); /* there is nothing left to retry */
}

void core_abandon_step(struct hd_core *c)
{
    core_audit_abandoned(c);
    core_recall_halves(c);
    forget_groups(c);
}

void core_replayed(struct hd_core *c, const struct hd_event *ev)
{
    uint64_t again = ev->sequences & c->live, alive = core_alive(c);
    for (unsigned i = 0; i < HD_MAX_SEQUENCES; i++) {
        struct sequence *q = &c->sequences[i];
        if (!(again & core_bit(i)))
            continue;
        if (q->base + core_inflight(q) > q->target)
            q->target = q->base + core_inflight(q);
        q->base = 0;
    }
    core_abandon_step(c);
    core_audit_spoiled(c, again);
    c->replaying &= ~ev->sequences;
    c->replayed |= again;
    core_fetches_end(c, again);
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (alive & core_bit(s) && core_keeps_log(c, &c->workers[s]))
            c->workers[s].covers |= again & c->workers[s].knows; /* it will see every row */
}

/* ---- The half-steps ----*/

/* Layers whose rows of the group every owner holds, when this half-step is its next. */
static uint32_t layers_before(const struct hd_core *c, const struct half *h)
{
    switch (h->half) {
    case HD_HALF_ATTENTION:
        return h->layer;
    case HD_HALF_FFN:
        return h->layer + 1;
    case HD_HALF_LOGITS:
        break;
    }
    return c->o.n_layers;
}

static uint64_t half_owners(const struct hd_core *c, const struct half *h)
{
    return hd_plan_owners(&c->plan, hd_half_units(h->half));
}

uint64_t core_awaited(const struct hd_core *c)
{
    uint64_t set = 0;
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        set |= c->half[g].awaited;
    return set;
}

static void send_half(struct hd_core *c, unsigned group)
{
    struct half *h = &c->half[group];
    uint64_t owners = half_owners(c, h), to = owners, busy = core_awaited(c);
    if (h->half == HD_HALF_ATTENTION)
        to = core_alive(c); /* all of them log it */
    if (!busy)
        c->waiting = (struct waiting){.since_us = c->now_us};
    h->sent = true;
    h->asked = h->awaited = owners;
    h->order = ++c->halves_sent;
    h->alone = owners & ~busy;
    h->since_us = c->now_us;
    h->slowest_us = 0;
    core_pace_sent(c, group, owners);
    core_audit_sent(c, h);
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        if (to & core_bit(s))
            core_push(c, HD_ACT_SEND_HALF, s)->group = group;
        if (owners & core_bit(s))
            c->workers[s].steps++;
    }
}

bool core_any_half(const struct hd_core *c)
{
    bool any = false;
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        any |= c->half[g].active;
    return any;
}

/* Sends it, unless it has to wait until an audit is over. */
static void start_half(struct hd_core *c, unsigned group)
{
    struct half *h = &c->half[group];
    h->held = !h->audit && core_audit_full(c);
    if (h->held)
        return;
    if (!h->audit)
        h->audit = core_audit_begin(c, h);
    send_half(c, group);
}

void core_send_held(struct hd_core *c)
{
    for (unsigned g = 0; g < HD_MAX_GROUPS && c->state == HD_CLUSTER_READY; g++)
        if (c->half[g].held)
            start_half(c, g);
}

void core_send_halves(struct hd_core *c)
{
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++) {
        if (!c->half[g].active)
            continue;
        c->half[g].again = true;
        start_half(c, g);
    }
}

static bool is_single(const struct hd_half_info *ask)
{
    if (ask->groups > 1) /* decoding is never cut */
        return false;
    for (size_t i = 0; i < ask->n_rows; i++)
        if (ask->rows[i].rows != 1)
            return false;
    return true;
}

void core_half(struct hd_core *c, const struct hd_event *ev)
{
    const struct hd_half_info *ask = &ev->half;
    struct half *h = &c->half[ask->group];
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        if (g == ask->group || g >= ask->groups)
            forget_group(c, g); /* a group that is not there has joined the first */
    for (size_t i = 0; i < ask->n_rows; i++) {
        uint32_t seq = ask->rows[i].sequence;
        if (seq < HD_MAX_SEQUENCES && c->live & core_bit(seq))
            c->sequences[seq].inflight[ask->group] = ask->rows[i].rows;
    }
    uint64_t sequences = 0;
    for (size_t i = 0; i < ask->n_rows; i++)
        if (ask->rows[i].sequence < HD_MAX_SEQUENCES)
            sequences |= core_bit(ask->rows[i].sequence);
    *h = (struct half){
        .active = true,
        .step = ask->step,
        .half = ask->half,
        .layer = ask->layer,
        .sequences = sequences,
        .single = is_single(ask),
    };
    c->layers_done[ask->group] = layers_before(c, h);
    if (c->state == HD_CLUSTER_READY)
        start_half(c, ask->group);
}

/* It answers a half-step that is awaited from its sender. */
static bool answers(const struct hd_core *c, unsigned slot, const struct hd_result_info *r)
{
    if (r->group >= HD_MAX_GROUPS || slot >= HD_MAX_WORKERS)
        return false;
    const struct half *h = &c->half[r->group];
    bool same_layer = r->half == HD_HALF_LOGITS || r->layer == h->layer; /* logits have none */
    return h->sent && r->epoch == c->epoch && r->step == h->step && r->half == h->half &&
           same_layer && h->awaited & core_bit(slot);
}

/* Nothing that was sent before is awaited from the sender. A recovery relies on it: rows of a group
 * whose attention half is done lie behind those of the group before it. */
static bool in_order(const struct hd_core *c, unsigned slot, const struct hd_result_info *r)
{
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        if (c->half[g].awaited & core_bit(slot) && c->half[g].order < c->half[r->group].order)
            return false;
    return true;
}

/* The times of two groups overlap: what has passed since the last count belongs to both. Of it no
 * more is computing than there was. */
static void count_half(struct hd_core *c, const struct half *h)
{
    struct hd_half_totals *t = &c->totals[h->single];
    struct waiting *w = &c->waiting;
    uint64_t waited = c->now_us > w->since_us ? c->now_us - w->since_us : 0;
    w->since_us = c->now_us;
    w->spare_us += waited;
    uint64_t compute = h->slowest_us < w->spare_us ? h->slowest_us : w->spare_us;
    w->spare_us -= compute;
    t->done++;
    t->waited_us += waited;
    t->compute_us += compute;
}

static void finish_half(struct hd_core *c, unsigned group)
{
    struct half *h = &c->half[group];
    count_half(c, h);
    if (h->half == HD_HALF_ATTENTION)
        c->layers_done[group] = h->layer + 1;
    h->active = h->sent = h->again = false;
    core_audit_done(c, h);
    core_report_done(c); /* before the answer goes on: it may be the last its request hears */
    core_push(c, HD_ACT_HALF_DONE, 0)->group = group;
}

/* What of a large half-step's time is neither computing nor the round trip is its bytes' way; one
 * that has to wait behind another shows nothing. */
static void measure_link(struct hd_core *c, unsigned slot, const struct hd_result_info *r)
{
    struct worker *w = &c->workers[slot];
    const struct half *h = &c->half[r->group];
    if (r->bytes < RATE_MIN_BYTES || !w->answered_beat || !(h->alone & core_bit(slot)))
        return;
    double took = (double)c->now_us - (double)h->since_us;
    double way = (took - (double)r->compute_us - w->rtt_us) / (double)r->bytes;
    if (way < FASTEST_US_PER_BYTE)
        way = FASTEST_US_PER_BYTE;
    w->us_per_byte = w->us_per_byte > 0 ? w->us_per_byte + (way - w->us_per_byte) / 8 : way;
}

/* The answer is added up. */
static void take_answer(struct hd_core *c, unsigned slot, const struct hd_result_info *r,
                        uint64_t digest)
{
    struct half *h = &c->half[r->group];
    core_heard(c, slot);
    c->workers[slot].answered++;
    core_audit_answer(c, h, slot, digest);
    core_report_work(c, r->flops);
    measure_link(c, slot, r);
    c->totals[h->single].flops += r->flops;
    if (r->compute_us > h->slowest_us)
        h->slowest_us = r->compute_us;
    h->awaited &= ~core_bit(slot);
    if (h->awaited == 0)
        finish_half(c, r->group);
}

void core_result(struct hd_core *c, const struct hd_event *ev)
{
    const struct hd_result_info *r = &ev->result;
    uint64_t digest = 0;
    if (!(core_alive(c) & core_bit(ev->slot)) || !answers(c, ev->slot, r)) {
        core_push(c, HD_ACT_DROP_RESULT, ev->slot);
        if (core_alive(c) & core_bit(ev->slot))
            core_heard(c, ev->slot);
        return;
    }
    const struct round *audit = c->half[r->group].audit;
    if (!in_order(c, ev->slot, r) ||
        (r->use && r->use(r->arg, audit ? audit->id : 0, &digest) < 0)) {
        core_lose(c, ev->slot, HD_LOSS_PROTOCOL);
        return;
    }
    take_answer(c, ev->slot, r, digest);
}

void core_step_done(struct hd_core *c)
{
    for (unsigned i = 0; i < HD_MAX_SEQUENCES; i++)
        c->sequences[i].base += core_inflight(&c->sequences[i]);
    forget_groups(c);
}
