/* steps.c - the half-steps in hand, one of each group of rows. */
#include "leader/core/core_impl.h"

#define RATE_MIN_BYTES      32768 /* fewer bytes take no time that could be told from the rest */
#define FASTEST_US_PER_BYTE 1e-5  /* 100 GB/s: a link within one machine seems to take no time */

static void recall(struct hd_core *c, struct half *h)
{
    uint64_t spared = h->awaited & core_alive(c);
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (spared & core_bit(s))
            c->steps.of[s].asked--; /* it was not given the time to answer */
    h->sent = false;
    h->asked = h->awaited = 0;
}

void core_reset_halves(struct hd_core *c)
{
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        if (c->steps.half[g].sent)
            core_push(c, HD_ACT_RESET_HALF, 0)->group = g;
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        recall(c, &c->steps.half[g]);
}

/* It has no rows and no half-step in hand. */
static void forget_group(struct hd_core *c, unsigned group)
{
    for (unsigned i = 0; i < HD_MAX_SEQUENCES; i++)
        c->steps.sequences[i].inflight[group] = 0;
    core_audit_drop(c, c->steps.half[group].audit);
    c->steps.layers_done[group] = 0;
    c->steps.half[group] = (struct half){0};
}

static void forget_groups(struct hd_core *c)
{
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        forget_group(c, g);
    if (core_is_ready(c))
        core_report_done(c); /* there is nothing left to retry */
}

void core_abandon_step(struct hd_core *c)
{
    core_audit_abandoned(c);
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        recall(c, &c->steps.half[g]);
    forget_groups(c);
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
    return hd_plan_owners(hd_core_plan(c), hd_half_units(h->half));
}

static double rows_of(const struct hd_core *c, unsigned group)
{
    double rows = 0;
    for (unsigned i = 0; i < HD_MAX_SEQUENCES; i++)
        rows += c->steps.sequences[i].inflight[group];
    return rows;
}

static void send_half(struct hd_core *c, unsigned group)
{
    struct half *h = &c->steps.half[group];
    uint64_t owners = half_owners(c, h), to = owners, busy = core_awaited(c);
    if (h->half == HD_HALF_ATTENTION)
        to = core_alive(c); /* all of them log it */
    if (!busy)
        c->steps.waiting = (struct waiting){.since_us = c->now_us};
    h->sent = true;
    h->asked = h->awaited = owners;
    h->order = ++c->steps.halves_sent;
    h->alone = owners & ~busy;
    h->since_us = c->now_us;
    h->slowest_us = 0;
    core_pace_sent(c, hd_half_units(h->half), rows_of(c, group), owners);
    core_audit_sent(c, h->audit);
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        if (to & core_bit(s))
            core_push(c, HD_ACT_SEND_HALF, s)->group = group;
        if (owners & core_bit(s))
            c->steps.of[s].asked++;
    }
}

/* Sends it, unless it has to wait until an audit is over. */
static void start_half(struct hd_core *c, unsigned group)
{
    struct half *h = &c->steps.half[group];
    h->held = !h->audit && core_audit_full(c);
    if (h->held)
        return;
    if (!h->audit)
        h->audit = core_audit_begin(c, h, core_with_parents(c, h->sequences));
    send_half(c, group);
}

void core_send_held(struct hd_core *c)
{
    for (unsigned g = 0; g < HD_MAX_GROUPS && core_is_ready(c); g++)
        if (c->steps.half[g].held)
            start_half(c, g);
}

void core_send_halves(struct hd_core *c)
{
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++) {
        if (!c->steps.half[g].active)
            continue;
        c->steps.half[g].again = true;
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

/* Returns the sequences that they are of. */
static uint64_t take_rows(struct hd_core *c, const struct hd_half_info *ask)
{
    uint64_t sequences = 0;
    for (size_t i = 0; i < ask->n_rows; i++) {
        uint32_t seq = ask->rows[i].sequence;
        if (seq >= HD_MAX_SEQUENCES)
            continue;
        sequences |= core_bit(seq);
        if (c->steps.live & core_bit(seq))
            c->steps.sequences[seq].inflight[ask->group] = ask->rows[i].rows;
    }
    return sequences;
}

void core_half(struct hd_core *c, const struct hd_half_info *ask)
{
    struct half *h = &c->steps.half[ask->group];
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        if (g == ask->group || g >= ask->groups)
            forget_group(c, g); /* a group that is not there has joined the first */
    uint64_t sequences = take_rows(c, ask);
    *h = (struct half){
        .active = true,
        .step = ask->step,
        .half = ask->half,
        .layer = ask->layer,
        .sequences = sequences,
        .single = is_single(ask),
        .drafted = ask->drafted,
    };
    c->steps.layers_done[ask->group] = layers_before(c, h);
    if (core_is_ready(c))
        start_half(c, ask->group);
}

/* It answers a half-step that is awaited from its sender. */
static bool answers(const struct hd_core *c, unsigned slot, const struct hd_result_info *r)
{
    if (r->group >= HD_MAX_GROUPS || slot >= HD_MAX_WORKERS)
        return false;
    const struct half *h = &c->steps.half[r->group];
    bool same_layer = r->half == HD_HALF_LOGITS || r->layer == h->layer; /* logits have none */
    return h->sent && r->epoch == hd_core_epoch(c) && r->step == h->step && r->half == h->half &&
           same_layer && h->awaited & core_bit(slot);
}

/* Nothing that was sent before is awaited from the sender. A recovery relies on it: rows of a group
 * whose attention half is done lie behind those of the group before it. */
static bool in_order(const struct hd_core *c, unsigned slot, const struct hd_result_info *r)
{
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        if (c->steps.half[g].awaited & core_bit(slot) &&
            c->steps.half[g].order < c->steps.half[r->group].order)
            return false;
    return true;
}

/* The times of two groups overlap: what has passed since the last count belongs to both. Of it no
 * more is computing than there was. */
static void count_half(struct hd_core *c, const struct half *h)
{
    struct hd_half_totals *t = &c->steps.totals[h->single];
    struct waiting *w = &c->steps.waiting;
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
    struct half *h = &c->steps.half[group];
    count_half(c, h);
    if (h->half == HD_HALF_ATTENTION)
        c->steps.layers_done[group] = h->layer + 1;
    h->active = h->sent = h->again = false;
    struct round *audit = h->audit;
    h->audit = NULL;
    core_audit_done(c, audit);
    core_report_done(c); /* before the answer goes on: it may be the last its request hears */
    core_push(c, HD_ACT_HALF_DONE, 0)->group = group;
}

/* What of a large half-step's time is neither computing nor the round trip is its bytes' way; one
 * that has to wait behind another shows nothing. */
static void measure_link(struct hd_core *c, unsigned slot, const struct hd_result_info *r)
{
    const struct half *h = &c->steps.half[r->group];
    double *known = &c->steps.of[slot].us_per_byte, rtt_us = core_rtt_us(c, slot);
    if (r->bytes < RATE_MIN_BYTES || rtt_us < 0 || !(h->alone & core_bit(slot)))
        return;
    double took = (double)c->now_us - (double)h->since_us;
    double way = (took - (double)r->compute_us - rtt_us) / (double)r->bytes;
    if (way < FASTEST_US_PER_BYTE)
        way = FASTEST_US_PER_BYTE;
    *known = *known > 0 ? *known + (way - *known) / 8 : way;
}

/* The answer is added up. */
static void take_answer(struct hd_core *c, unsigned slot, const struct hd_result_info *r,
                        uint64_t digest)
{
    struct half *h = &c->steps.half[r->group];
    core_heard(c, slot);
    c->steps.of[slot].answered++;
    core_contributed(c, slot);
    core_audit_answer(h->audit, slot, digest);
    core_report_work(c, r->flops);
    measure_link(c, slot, r);
    c->steps.totals[h->single].flops += r->flops;
    if (r->compute_us > h->slowest_us)
        h->slowest_us = r->compute_us;
    h->awaited &= ~core_bit(slot);
    if (h->awaited == 0)
        finish_half(c, r->group);
}

void core_result(struct hd_core *c, unsigned slot, const struct hd_result_info *r)
{
    uint64_t digest = 0;
    bool alive = core_alive(c) & core_bit(slot);
    if (!alive || !answers(c, slot, r)) {
        core_push(c, HD_ACT_DROP_RESULT, slot);
        if (alive)
            core_heard(c, slot);
        return;
    }
    uint64_t audit = core_audit_number(c->steps.half[r->group].audit);
    if (!in_order(c, slot, r) || (r->use && r->use(r->arg, audit, &digest) < 0)) {
        core_lose(c, slot, HD_LOSS_PROTOCOL);
        return;
    }
    take_answer(c, slot, r, digest);
}

void core_step_done(struct hd_core *c)
{
    core_commit_rows(c);
    forget_groups(c);
}

void core_steps_joined(struct hd_core *c, unsigned slot, bool back)
{
    c->steps.of[slot].us_per_byte = 0;
    if (!back)
        c->steps.of[slot].asked = c->steps.of[slot].answered = 0;
}

void core_steps_tick(struct hd_core *c, uint64_t late_us)
{
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        c->steps.half[g].since_us += late_us;
    c->steps.waiting.since_us += late_us;
}

/* ---- What others ask ----*/

uint64_t core_awaited(const struct hd_core *c)
{
    uint64_t set = 0;
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        set |= c->steps.half[g].awaited;
    return set;
}

uint64_t core_behind(const struct hd_core *c)
{
    uint64_t set = 0;
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        if (c->steps.half[g].awaited != c->steps.half[g].asked)
            set |= c->steps.half[g].awaited;
    return set;
}

uint64_t core_halves_late(const struct hd_core *c)
{
    uint64_t late = 0;
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++) {
        const struct half *h = &c->steps.half[g];
        if (h->sent && c->now_us > h->since_us + c->o.step_deadline_us)
            late |= h->awaited;
    }
    return late;
}

bool core_any_half(const struct hd_core *c)
{
    bool any = false;
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        any |= c->steps.half[g].active;
    return any;
}

bool core_in_step(const struct hd_core *c)
{
    bool begun = core_any_half(c);
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        begun |= c->steps.layers_done[g] > 0;
    return begun;
}

bool core_retrying(const struct hd_core *c)
{
    bool again = false;
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        again |= c->steps.half[g].again;
    return again;
}

double core_us_per_byte(const struct hd_core *c, unsigned slot)
{
    return c->steps.of[slot].us_per_byte;
}

const struct hd_half_totals *hd_core_half_totals(const struct hd_core *c, bool single)
{
    return &c->steps.totals[single];
}

void core_view_steps(const struct hd_core *c, unsigned slot, struct hd_worker_view *out)
{
    uint64_t asked = c->steps.of[slot].asked, answered = c->steps.of[slot].answered;
    double way = c->steps.of[slot].us_per_byte;
    out->steps = asked;
    out->answered = answered;
    out->success_rate = asked ? (double)answered / (double)asked : 1;
    out->rate = way > 0 ? 1e6 / way : 0;
}
