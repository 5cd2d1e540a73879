/* audit.c - which half-steps are computed by a second worker as well, and by whom.
 *
 * Happy path: one half-step of each window of `audit_every` is picked at random. When all answers
 * to it are in, each worker that answered is audited by another one, which is sent the inputs
 * behind the half-step's own and computes the same units beside the steps. Its digest comes some
 * time later (verdict.c). Nothing is delayed, and a half-step that is not audited costs a counter.
 *
 * What an audit costs is loading another's weights and K/V. So who audits whom, and in which layer,
 * stays for a while; LOGITS has no layer and the daemon asks for one vocab block only.
 *
 * Failure modes: 1. the half-step is given up: so is its audit; 2. it is sent again in another
 * epoch: the answers count that are used; 3. too many audits are under way: it is not audited, and
 * that is counted. With audit_every = 1 there are no such: the half-step waits until one is over;
 * 4. rows of an ATTENTION half may be cut when its step is done, and others be where they were when
 * the audit comes to them: the next half without such rows is audited instead, and the engine is
 * told that one is waited for (hd_core_audit_waits). */
#include "leader/core/core_impl.h"

#define AUDIT_PATIENCE 8  /* steps with rows that may be cut, until one without is asked for */
#define LAYER_AUDITS   16 /* of ATTENTION and FFN before another layer is looked at */

/* splitmix64 (Steele, Lea, Flood, 2014) */
static uint64_t random_below(struct audits *a, uint64_t n)
{
    uint64_t z = a->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % n;
}

const struct hd_audit_totals *hd_core_audit_totals(const struct hd_core *c)
{
    return &c->audits.totals;
}

/* ---- When ----*/

/* A window is longer than a step: then each of them can wait for the layer that is looked at. */
static bool stays(const struct hd_core *c)
{
    return c->o.trust.audit_every > 2 * c->o.n_layers + 1;
}

static bool is_due(struct hd_core *c, enum hd_half half, uint32_t layer)
{
    struct audits *a = &c->audits;
    if (a->at == 0)
        a->target = (uint32_t)random_below(a, c->o.trust.audit_every);
    if (a->at == a->target) {
        a->due = true;
        a->kind = half;
    }
    a->at = (a->at + 1) % c->o.trust.audit_every;
    if (!a->due || half != a->kind)
        return false;
    return !stays(c) || half == HD_HALF_LOGITS || layer == a->layer;
}

static void next_layer(struct hd_core *c)
{
    struct audits *a = &c->audits;
    a->left = LAYER_AUDITS;
    a->layer = (uint32_t)random_below(a, c->o.n_layers);
    a->partner = random_below(a, HD_MAX_WORKERS);
}

void core_audit_init(struct hd_core *c)
{
    c->audits.random = c->o.trust.seed;
    next_layer(c);
}

void core_audits_joined(struct hd_core *c, unsigned slot, bool back)
{
    core_audit_taken(c, slot);
    if (back && c->audits.by[slot].contributed) /* the machine is the same, and what it has said */
        return;                                 /* may be in what is computed now */
    c->audits.by[slot].contributed = false;
    for (int h = 0; h < HD_HALVES; h++)
        c->audits.by[slot].clean_us[h] = c->now_us;
}

/* HD_MAX_ROUNDS: all are in use. */
static unsigned free_round(const struct audits *a)
{
    unsigned i = 0;
    while (i < HD_MAX_ROUNDS && a->rounds[i].id != 0)
        i++;
    return i;
}

/* One worker alone has nobody who could check it. */
static bool can_audit(const struct hd_core *c)
{
    uint64_t alive = core_alive(c);
    return c->o.trust.audit_every > 0 && (alive & (alive - 1));
}

bool core_audit_full(const struct hd_core *c)
{
    return c->o.trust.audit_every == 1 && can_audit(c) && free_round(&c->audits) == HD_MAX_ROUNDS;
}

bool hd_core_audit_waits(const struct hd_core *c)
{
    const struct audits *a = &c->audits;
    bool waits = a->due && a->kind == HD_HALF_ATTENTION && a->waited >= AUDIT_PATIENCE;
    return can_audit(c) && (waits || c->o.trust.audit_every == 1);
}

struct round *core_audit_begin(struct hd_core *c, const struct half *h, uint64_t sequences)
{
    struct audits *a = &c->audits;
    if (!can_audit(c) || !is_due(c, h->half, h->layer))
        return NULL;
    if (h->half == HD_HALF_ATTENTION && h->drafted) {
        a->waited++;
        return NULL; /* it stays due */
    }
    a->due = false;
    a->waited = 0;
    if (h->half == HD_HALF_ATTENTION && sequences & a->unsure)
        return NULL; /* whose log is right cannot be told */
    unsigned i = free_round(a);
    if (i == HD_MAX_ROUNDS) {
        a->totals.skipped++;
        return NULL;
    }
    struct round *r = &a->rounds[i];
    *r = (struct round){.id = ++a->rounds_begun,
                        .open = true,
                        .half = h->half,
                        .layer = h->layer,
                        .sequences = sequences};
    if (h->half != HD_HALF_LOGITS && --a->left == 0)
        next_layer(c);
    return r;
}

/* ---- The half-step ----*/

uint64_t core_audit_number(const struct round *r)
{
    return r ? r->id : 0;
}

void core_audit_sent(struct hd_core *c, struct round *r)
{
    if (!r)
        return;
    r->subjects = 0;
    r->at_us = c->now_us;
}

void core_contributed(struct hd_core *c, unsigned slot)
{
    c->audits.by[slot].contributed = true;
}

bool core_has_contributed(const struct hd_core *c, unsigned slot)
{
    return c->audits.by[slot].contributed;
}

uint64_t core_unsure(const struct hd_core *c)
{
    return c->audits.unsure;
}

void core_audit_rows(struct hd_core *c, bool same)
{
    c->audits.totals.rows_equal += same;
    c->audits.totals.rows_unequal += !same;
}

void core_audit_answer(struct round *r, unsigned slot, uint64_t digest)
{
    if (!r || digest == 0)
        return;
    r->subjects |= core_bit(slot);
    r->digests[slot] = digest;
}

void core_audit_drop(struct hd_core *c, struct round *r)
{
    if (!r)
        return;
    r->subjects = 0;
    r->open = false;
    core_audit_settle(c, r);
}

/* ---- Who ----*/

/* Who can give an opinion: for ATTENTION the K/V of the rows before is needed, so the log. */
static uint64_t capable(const struct hd_core *c, const struct round *r)
{
    uint64_t set = core_usable(c) & ~core_suspects(c);
    for (uint64_t left = r->half == HD_HALF_ATTENTION ? set : 0; left; left &= left - 1) {
        unsigned s = core_first(left);
        if ((core_covers(c, s) & r->sequences) != r->sequences)
            set &= ~core_bit(s);
    }
    return set;
}

int core_audit_partner(const struct hd_core *c, const struct round *r, unsigned subject,
                       uint64_t tried)
{
    uint64_t set = capable(c, r) & ~tried & ~core_bit(subject);
    unsigned n = core_count(set);
    unsigned skip = n ? (unsigned)(c->audits.partner % n) : 0;
    for (unsigned i = 1; i < HD_MAX_WORKERS && n > 0; i++) {
        unsigned s = (subject + i) % HD_MAX_WORKERS;
        if (set & core_bit(s) && skip-- == 0)
            return (int)s;
    }
    return -1;
}

void core_audit_ask(struct hd_core *c, struct round *r, unsigned subject, struct opinion *o)
{
    struct hd_action *a = core_push(c, HD_ACT_AUDIT, o->slot);
    o->asked = ++c->audits.questions;
    o->asked_us = c->now_us;
    r->of[subject].tried |= core_bit(o->slot);
    a->audit.round = r->id;
    a->audit.subject = subject;
    a->audit.number = o->asked;
    a->audit.again = r->of[subject].state == AUDIT_AGAIN;
}

void core_audit_done(struct hd_core *c, struct round *r)
{
    if (!r)
        return;
    r->open = false;
    c->audits.totals.rounds++;
    for (uint64_t left = r->subjects; left; left &= left - 1) {
        unsigned s = core_first(left);
        int partner = core_audit_partner(c, r, s, 0);
        struct question *q = &r->of[s];
        if (partner < 0) {
            c->audits.totals.not_audited++;
            continue;
        }
        q->state = AUDIT_ASKED;
        q->n = 2;
        q->opinions[0] = (struct opinion){.slot = s, .digest = r->digests[s]};
        q->opinions[1] = (struct opinion){.slot = (unsigned)partner};
        core_audit_ask(c, r, s, &q->opinions[1]);
    }
    core_audit_settle(c, r);
}

void core_audit_settle(struct hd_core *c, struct round *r)
{
    if (r->id == 0 || r->open)
        return;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (r->of[s].state != AUDIT_IDLE)
            return;
    core_push(c, HD_ACT_AUDITED, 0)->round = r->id;
    r->id = 0;
}
