/* step.c - sequences and the half-step in hand. */
#include "leader/core/core_impl.h"

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
    c->sequences[seq] = (struct sequence){0};
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        if (!(alive & core_bit(s)))
            continue;
        c->workers[s].knows |= bit;
        c->workers[s].covers |= c->workers[s].keeps_log ? bit : 0;
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
    if (c->sequences[seq].inflight > 0)
        core_abandon_step(c); /* sequences end between steps, or with the step they are in */
    c->live &= ~bit;
    c->replayed &= ~bit;
    c->restless = true; /* it was perhaps the one that a log lacked */
    c->sequences[seq] = (struct sequence){0};
    core_fetches_end(c, bit);
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        if (c->workers[s].knows & bit)
            core_push(c, HD_ACT_SEQ_CLOSE, s)->sequence = seq;
        c->workers[s].knows &= ~bit;
        c->workers[s].covers &= ~bit;
    }
}

void core_recall_half(struct hd_core *c)
{
    uint64_t spared = c->half.awaited & core_alive(c);
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (spared & core_bit(s))
            c->workers[s].steps--; /* it was not given the time to answer */
    c->half.sent = false;
    c->half.awaited = 0;
}

void core_abandon_step(struct hd_core *c)
{
    core_recall_half(c);
    for (unsigned i = 0; i < HD_MAX_SEQUENCES; i++)
        c->sequences[i].inflight = 0;
    c->layers_done = 0;
    c->half = (struct half){0};
    if (c->state == HD_CLUSTER_READY)
        core_report_done(c); /* there is nothing left to retry */
}

void core_replayed(struct hd_core *c, const struct hd_event *ev)
{
    uint64_t again = ev->sequences & c->live, alive = core_alive(c);
    for (unsigned i = 0; i < HD_MAX_SEQUENCES; i++) {
        struct sequence *q = &c->sequences[i];
        if (!(again & core_bit(i)))
            continue;
        if (q->base + q->inflight > q->target)
            q->target = q->base + q->inflight;
        q->base = 0;
    }
    core_abandon_step(c);
    c->replaying &= ~ev->sequences;
    c->replayed |= again;
    core_fetches_end(c, again);
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (alive & core_bit(s) && c->workers[s].keeps_log)
            c->workers[s].covers |= again & c->workers[s].knows; /* it will see every row */
}

/* ---- The half-step ----*/

/* Layers whose rows of the step in hand every owner holds, when this half-step is the next. */
static uint32_t layers_before(const struct hd_core *c)
{
    switch (c->half.half) {
    case HD_HALF_ATTENTION:
        return c->half.layer;
    case HD_HALF_FFN:
        return c->half.layer + 1;
    case HD_HALF_LOGITS:
        break;
    }
    return c->o.n_layers;
}

static uint64_t half_owners(const struct hd_core *c)
{
    static const enum hd_unit_kind kind[] = {
        [HD_HALF_ATTENTION] = HD_UNIT_HEAD,
        [HD_HALF_FFN] = HD_UNIT_FFN,
        [HD_HALF_LOGITS] = HD_UNIT_VOCAB,
    };
    return hd_plan_owners(&c->plan, kind[c->half.half]);
}

void core_send_half(struct hd_core *c)
{
    uint64_t owners = half_owners(c), to = owners;
    if (c->half.half == HD_HALF_ATTENTION)
        to = core_alive(c); /* all of them log it */
    c->half.sent = true;
    c->half.awaited = owners;
    c->half.since_us = c->now_us;
    c->half.slowest_us = 0;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        if (to & core_bit(s))
            core_push(c, HD_ACT_SEND_HALF, s);
        if (owners & core_bit(s))
            c->workers[s].steps++;
    }
}

static bool is_single(const struct hd_event *ev)
{
    for (size_t i = 0; i < ev->n_rows; i++)
        if (ev->rows[i].rows != 1)
            return false;
    return true;
}

void core_half(struct hd_core *c, const struct hd_event *ev)
{
    for (unsigned i = 0; i < HD_MAX_SEQUENCES; i++)
        c->sequences[i].inflight = 0;
    for (size_t i = 0; i < ev->n_rows; i++) {
        uint32_t seq = ev->rows[i].sequence;
        if (seq < HD_MAX_SEQUENCES && c->live & core_bit(seq))
            c->sequences[seq].inflight = ev->rows[i].rows;
    }
    c->half = (struct half){
        .active = true,
        .step = ev->step,
        .half = ev->half,
        .layer = ev->layer,
        .single = is_single(ev),
    };
    c->layers_done = layers_before(c);
    if (c->state == HD_CLUSTER_READY)
        core_send_half(c);
}

bool hd_core_expects(const struct hd_core *c, unsigned slot, uint64_t epoch, uint64_t step,
                     enum hd_half half, uint32_t layer)
{
    const struct half *h = &c->half;
    bool same_layer = half == HD_HALF_LOGITS || layer == h->layer; /* the logits have no layer */
    return slot < HD_MAX_WORKERS && h->sent && epoch == c->epoch && step == h->step &&
           half == h->half && same_layer && h->awaited & core_bit(slot);
}

static void count_half(struct hd_core *c)
{
    struct hd_half_totals *t = &c->totals[c->half.single];
    uint64_t waited = c->now_us > c->half.since_us ? c->now_us - c->half.since_us : 0;
    t->done++;
    t->waited_us += waited;
    t->compute_us += c->half.slowest_us < waited ? c->half.slowest_us : waited;
}

static void finish_half(struct hd_core *c)
{
    count_half(c);
    if (c->half.half == HD_HALF_ATTENTION)
        c->layers_done = c->half.layer + 1;
    c->half.active = c->half.sent = false;
    core_report_done(c); /* before the answer goes on: it may be the last its request hears */
    core_push(c, HD_ACT_HALF_DONE, 0);
}

/* What of a large half-step's time is neither computing nor the round trip is its bytes' way. */
static void measure_link(struct hd_core *c, const struct hd_event *ev)
{
    struct worker *w = &c->workers[ev->slot];
    if (ev->bytes < RATE_MIN_BYTES || !w->answered_beat)
        return;
    double took = (double)c->now_us - (double)c->half.since_us;
    double way = (took - (double)ev->compute_us - w->rtt_us) / (double)ev->bytes;
    if (way < FASTEST_US_PER_BYTE)
        way = FASTEST_US_PER_BYTE;
    w->us_per_byte = w->us_per_byte > 0 ? w->us_per_byte + (way - w->us_per_byte) / 8 : way;
}

void core_result(struct hd_core *c, const struct hd_event *ev)
{
    if (!(core_alive(c) & core_bit(ev->slot)) ||
        !hd_core_expects(c, ev->slot, ev->epoch, ev->step, ev->half, ev->layer)) {
        core_push(c, HD_ACT_DROP_RESULT, ev->slot);
        if (core_alive(c) & core_bit(ev->slot))
            core_heard(c, ev->slot);
        return;
    }
    core_heard(c, ev->slot);
    core_push(c, HD_ACT_USE_RESULT, ev->slot);
    c->workers[ev->slot].answered++;
    core_report_work(c, ev->flops);
    measure_link(c, ev);
    c->totals[c->half.single].flops += ev->flops;
    if (ev->compute_us > c->half.slowest_us)
        c->half.slowest_us = ev->compute_us;
    c->half.awaited &= ~core_bit(ev->slot);
    if (c->half.awaited == 0)
        finish_half(c);
}

void core_step_done(struct hd_core *c)
{
    for (unsigned i = 0; i < HD_MAX_SEQUENCES; i++) {
        c->sequences[i].base += c->sequences[i].inflight;
        c->sequences[i].inflight = 0;
    }
    c->layers_done = 0;
    c->half = (struct half){0};
    if (c->state == HD_CLUSTER_READY)
        core_report_done(c);
}
