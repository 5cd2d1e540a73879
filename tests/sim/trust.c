/* trust.c - workers that compute wrong bits, how they are audited, and what must be true of it:
 * nobody else is ever blamed, and no answer is wrong in silence for longer than it takes to look.
 */
#include "tests/sim/sim.h"

#include <string.h>

#define KNOWN_ANSWER 7

static bool has_liar(const struct sim *s)
{
    return s->liar < s->n_workers;
}

/* ---- A seed's liar ----*/

void sim_trust_options(struct sim *s)
{
    static const uint32_t every[] = {1, 2, 5, 6, 8, 20};
    struct hd_trust_options *o = &s->options.trust;
    bool wanted = s->kind == SIM_LIAR || s->kind == SIM_LIAR_STORM;
    *o = (struct hd_trust_options){
        .audit_every = wanted || sim_chance(s, 50) ? every[sim_below(s, 6)] : 0,
        .seed = sim_below(s, UINT64_MAX),
        .deadline_us = 300000,
        .quarantine_us = sim_chance(s, 30) ? 100000 : UINT64_C(1000000000),
        .drain_after = (unsigned)sim_below(s, 4),
        .self_test = sim_chance(s, 80),
        .self_test_digest = KNOWN_ANSWER,
    };
    s->liar = s->n_workers;
    if (!wanted || s->n_workers < 2)
        return;
    s->liar = (unsigned)sim_below(s, s->n_workers);
    struct sim_worker *w = &s->workers[s->liar];
    w->lie = (enum sim_lie)(1 + sim_below(s, LIE_KINDS - 1));
    w->stubborn = sim_chance(s, 40);
    s->lie_half = (unsigned)sim_below(s, 3);
    s->lies_from = sim_below(s, 300000);
    o->self_test |= w->lie == LIE_TEST;
    if (s->options.min_workers == s->n_workers)
        s->options.min_workers--; /* it may be found before it has served */
}

/* ---- Lies ----*/

/* How wrong a sum is: the same for the same question, when it is stubborn. */
static uint64_t error_of(struct sim *s, const struct sim_worker *w, const struct sim_msg *m,
                         uint64_t x)
{
    return w->stubborn ? sim_mix(m->layer, m->half, x) | 1 : sim_below(s, UINT64_MAX) | 1;
}

static bool lies_now(struct sim *s, const struct sim_worker *w, const struct sim_msg *m)
{
    switch (w->lie) {
    case LIE_ALWAYS:
        return true;
    case LIE_LATER:
        return s->now >= s->lies_from;
    case LIE_HALF:
        return m->half == s->lie_half;
    case LIE_SOMETIMES:
        return sim_chance(s, 20);
    default:
        return false;
    }
}

void sim_trust_lie(struct sim *s, unsigned worker, struct sim_msg *result)
{
    const struct sim_worker *w = &s->workers[worker];
    bool rows = w->lie == LIE_ROWS && result->half == HD_HALF_ATTENTION;
    if (!rows && !lies_now(s, w, result))
        return;
    for (size_t i = 0; i < result->n_rows && !rows; i++)
        result->rows[i].x += error_of(s, w, result, result->rows[i].x);
    if (!s->lying)
        s->lie_halves = s->halves;
    s->lying = true;
}

/* ---- The worker's side ----*/

void sim_trust_test(struct sim *s, unsigned worker, const struct sim_msg *m)
{
    struct sim_msg tested = {.type = MSG_TESTED, .digest = KNOWN_ANSWER};
    if (s->workers[worker].lie == LIE_TEST)
        tested.digest++;
    sim_worker_emit(s, worker, 1000, &tested);
}

void sim_trust_take(struct sim *s, unsigned worker, const struct sim_msg *m)
{
    struct sim_worker *w = &s->workers[worker];
    struct sim_msg cannot = {.type = MSG_AUDITED, .seq = m->seq, .cannot = true};
    if (w->n_audits == SIM_AUDITS) {
        sim_worker_emit(s, worker, 1, &cannot);
        return;
    }
    w->audits[w->n_audits++] = *m;
    sim_at(s, s->now + 100 + sim_below(s, 3000), AUDITING, worker, NULL);
}

/* The K/V rows of one head up to the position: from the audit's own rows, else from the log. */
static bool kv_rows(const struct sim_worker *w, const struct sim_msg *m, const struct sim_row *r,
                    uint32_t head, uint64_t *kv)
{
    for (uint32_t p = 0; p <= r->position; p++) {
        uint32_t q = sim_row_owner(w, r->sequence, p);
        const uint64_t *x = p < w->logged[q][m->layer] ? &w->log[q][m->layer][p] : NULL;
        for (size_t i = 0; i < m->n_rows; i++)
            if (m->rows[i].sequence == r->sequence && m->rows[i].position == p)
                x = &m->rows[i].x;
        if (!x)
            return false;
        kv[p] = sim_kv_row(m->layer, head, *x);
    }
    return true;
}

static bool audited_sum(const struct sim_worker *w, const struct sim_msg *m,
                        const struct sim_row *r, uint64_t *sum)
{
    uint64_t kv[SIM_POSITIONS], units = m->units[m->half];
    if (m->half != HD_HALF_ATTENTION) {
        *sum = sim_other_half(m, r, units);
        return true;
    }
    *sum = 0;
    for (uint32_t h = 0; h < SIM_HEADS; h++) {
        if (!(units >> h & 1))
            continue;
        if (!kv_rows(w, m, r, h, kv))
            return false;
        *sum += sim_attention(m->layer, h, r->x, kv, r->position);
    }
    return true;
}

static uint64_t digest_of(const struct sim_row *rows, size_t n, uint64_t units)
{
    uint64_t digest = units;
    for (size_t i = 0; i < n; i++)
        digest = sim_mix(digest, rows[i].sequence * 1000u + rows[i].position, rows[i].x);
    return digest | 1;
}

/* Whether it says something wrong when it is asked for somebody's sums. */
static bool lies_in_audit(struct sim *s, const struct sim_worker *w, const struct sim_msg *m)
{
    return w->lie == LIE_AUDITING || (w->stubborn && w->lie != LIE_SOMETIMES && lies_now(s, w, m));
}

static void compute_audit(struct sim *s, struct sim_worker *w, const struct sim_msg *m,
                          struct sim_msg *answer)
{
    struct sim_row rows[SIM_ROWS];
    memcpy(rows, m->rows, sizeof rows);
    answer->cannot = m->cannot;
    for (size_t i = 0; i < m->n_rows && !answer->cannot; i++)
        answer->cannot = !audited_sum(w, m, &m->rows[i], &rows[i].x);
    bool lies = lies_in_audit(s, w, m);
    for (size_t i = 0; i < m->n_rows && lies; i++)
        rows[i].x += error_of(s, w, m, rows[i].x);
    answer->digest = digest_of(rows, m->n_rows, m->units[m->half]);
}

void sim_trust_work(struct sim *s, unsigned worker)
{
    struct sim_worker *w = &s->workers[worker];
    if (!w->conn || w->n_audits == 0)
        return;
    struct sim_msg m = w->audits[0], answer = {.type = MSG_AUDITED, .seq = m.seq};
    memmove(w->audits, w->audits + 1, --w->n_audits * sizeof m);
    compute_audit(s, w, &m, &answer);
    sim_worker_emit(s, worker, 100 + sim_below(s, 500), &answer);
}

void sim_trust_damage(struct sim *s, unsigned worker)
{
    struct sim_msg m = {.type = MSG_DAMAGE, .complete = sim_chance(s, 70)};
    m.sequence = (uint32_t)sim_below(s, SIM_SEQUENCES);
    s->gave_up_log |= !m.complete; /* something is replayed */
    for (uint64_t n = 1 + sim_below(s, 4); n > 0 && s->workers[worker].conn; n--)
        sim_worker_emit(s, worker, 10, &m);
}

/* ---- The leader's side ----*/

static struct sim_audit *find(struct sim *s, uint64_t round)
{
    for (size_t i = 0; i < HD_MAX_ROUNDS; i++)
        if (s->audits[i].round == round)
            return &s->audits[i];
    return NULL;
}

uint64_t sim_trust_answer(struct sim *s, unsigned slot, const struct sim_msg *result,
                          uint64_t round)
{
    struct sim_audit *a = round ? find(s, round) : NULL;
    if (!round)
        return 0;
    if (!a) {
        a = find(s, 0);
        if (!a)
            sim_fail(s, "more half-steps are audited than there is room for");
        *a = (struct sim_audit){.round = round, .step = {.group = result->group}};
        sim_engine_fill_step(s, &a->step);
    }
    a->units[slot] = result->units[result->half];
    return digest_of(result->rows, result->n_rows, a->units[slot]);
}

bool sim_trust_event(struct sim *s, const struct sim_msg *m, struct hd_event *ev)
{
    switch (m->type) {
    case MSG_TESTED:
        ev->type = HD_EV_SELF_TEST;
        ev->digest = m->digest;
        for (unsigned i = 0; i < s->engine.n_requests; i++) /* of these it was not told */
            s->joined_late |= s->engine.requests[i].sequence >= 0;
        return true;
    case MSG_AUDITED:
        ev->type = HD_EV_AUDIT;
        ev->audit = (struct hd_audit_info){m->seq, m->cannot, m->digest};
        return true;
    case MSG_DAMAGE:
        ev->type = HD_EV_DAMAGE;
        ev->damage = (struct hd_damage_info){m->complete, !m->complete, m->sequence};
        return true;
    default:
        return false;
    }
}

static void ask(struct sim *s, const struct hd_action *a)
{
    const struct sim_audit *of = find(s, a->audit.round);
    if (!of || !s->slots[a->slot])
        return;
    struct sim_msg m = of->step;
    m.type = MSG_AUDIT;
    m.seq = a->audit.number;
    m.again = a->audit.again;
    m.units[m.half] = of->units[a->audit.subject];
    s->asked++;
    sim_send_to_worker(s, s->slots[a->slot], &m);
}

/* Those that have ended since are named. */
static void name_ended(struct sim *s, uint64_t since)
{
    for (unsigned i = 0; i < s->engine.n_requests; i++) {
        struct sim_request *r = &s->engine.requests[i];
        r->named |= r->ends > 0 && r->ended_at >= since;
    }
}

static void blame(struct sim *s, const struct hd_action *a)
{
    unsigned worker = (unsigned)(a->wrong.name[1] - '0');
    if (worker != s->liar)
        sim_fail(s, "%s is blamed, and the liar is w%u", a->wrong.name, s->liar);
    s->blamed++;
    sim_note_why(s, "blamed", a->slot, 0, "computed wrong bits");
    name_ended(s, a->wrong.since_us);
    sim_engine_fail_told(s, a->wrong.since_us);
    sim_branch_forget(s, UINT64_MAX);
    s->lying = false;
    s->gave_up_log = true; /* all that is left is replayed */
    for (unsigned i = 0; i < s->engine.n_requests; i++) {
        const struct sim_request *r = &s->engine.requests[i];
        if (s->kind == SIM_LIAR && r->wrong && r->ends == 0 && !r->named &&
            s->workers[worker].lie != LIE_SOMETIMES)
            sim_fail(s, "request %u goes on with wrong tokens", i);
    }
    if (s->options.trust.quarantine_us < 1000000)
        s->workers[worker].lie = LIE_NEVER; /* it was repaired */
}

/* Half-steps after which sums that are all wrong must have been found. */
static uint64_t patience(const struct sim *s)
{
    return 60 + 8 * (uint64_t)s->options.trust.audit_every;
}

/* Only where there is no third: in a pair, or when others are gone or cannot; or when the sequence
 * ended meanwhile and there was no other audit any more that could tell. */
static void nobody_knows(struct sim *s, const struct hd_action *a)
{
    bool pair = s->n_workers == 2 && s->workers[s->liar].stubborn;
    if (s->kind == SIM_LIAR && !pair && s->halves > s->differed_halves + patience(s))
        sim_fail(s, "nobody is blamed, and the liar is w%u", s->liar);
    s->doubts++;
    name_ended(s, a->doubt.since_us);
    sim_engine_fail_told(s, 0);
    sim_branch_forget(s, UINT64_MAX);
    s->gave_up_log = true;
}

static void differ(struct sim *s)
{
    s->differed_halves = s->halves;
    if (!has_liar(s))
        sim_fail(s, "two workers differ, and nobody lies");
}

/* Requests of these sequences say that they may be wrong. */
static void rows_differ(struct sim *s, const struct hd_action *a)
{
    if (!has_liar(s))
        sim_fail(s, "two workers have other rows, and nobody lies");
    s->gave_up_log = true;                       /* they may be replayed */
    for (uint32_t q = 0; q < SIM_SEQUENCES; q++) /* nobody begins with them any more */
        if (s->engine.branches[q].lineage & a->rows.sequences)
            sim_branch_forget(s, UINT64_C(1) << q);
    for (unsigned i = 0; i < s->engine.n_requests; i++) {
        struct sim_request *r = &s->engine.requests[i];
        r->named |= r->sequence >= 0 && a->rows.sequences & r->lineage;
    }
}

void sim_trust_act(struct sim *s, const struct hd_action *a)
{
    struct sim_msg m = {.type = MSG_SELF_TEST};
    struct sim_audit *over;
    switch (a->type) {
    case HD_ACT_SELF_TEST:
        if (s->slots[a->slot])
            sim_send_to_worker(s, s->slots[a->slot], &m);
        break;
    case HD_ACT_AUDIT:
        ask(s, a);
        break;
    case HD_ACT_AUDITED:
        over = find(s, a->round);
        if (over)
            over->round = 0;
        break;
    case HD_ACT_ROWS_DIFFER:
        rows_differ(s, a);
        break;
    case HD_ACT_DIFFER:
        differ(s);
        break;
    case HD_ACT_WRONG:
        blame(s, a);
        break;
    case HD_ACT_DOUBT:
        nobody_knows(s, a);
        break;
    case HD_ACT_FAILING:
        s->failing++;
        break;
    default:
        sim_fail(s, "an action that nobody carries out");
    }
}

/* ---- In the end ----*/

void sim_trust_check(struct sim *s)
{
    const struct sim_worker *w = &s->workers[has_liar(s) ? s->liar : 0];
    const struct hd_audit_totals *t = hd_core_audit_totals(s->core);
    s->equal = (unsigned)t->equal;
    s->rows_equal = (unsigned)t->rows_equal;
    s->rows_unequal = (unsigned)t->rows_unequal;
    for (unsigned i = 0; i < s->engine.n_requests; i++) {
        const struct sim_request *r = &s->engine.requests[i];
        if (!r->wrong || r->failed || r->cancelled || r->named)
            continue;
        s->ended_wrong++;
        if (s->kind == SIM_LIAR && (w->lie == LIE_ALWAYS || w->lie == LIE_LATER) &&
            r->ended_halves > s->lie_halves + patience(s))
            sim_fail(s, "request %u ended wrong %llu half-steps after the lies began", i,
                     (unsigned long long)(r->ended_halves - s->lie_halves));
    }
    if (!has_liar(s) && (t->rows_unequal || t->unequal || t->undecided || t->wrong))
        sim_fail(s, "somebody was blamed, and nobody lies");
}
