/* engine.c - a model engine: the same order of calls as the real one, with hashes for arithmetic.
 */
#include "tests/sim/sim.h"

#include <string.h>

/* ---- What an answer must be, computed in one place without any cluster ----*/

struct reference {
    uint64_t kv[SIM_LAYERS][SIM_HEADS][SIM_POSITIONS];
};

uint64_t sim_embed(const struct sim_request *r, uint32_t position, uint32_t token)
{
    return sim_mix(r->seed, position, token);
}

static uint32_t reference_token(const struct sim *s, struct reference *ref,
                                const struct sim_request *r, uint32_t position)
{
    const uint32_t *count = s->options.units;
    uint64_t x = sim_embed(r, position, r->expected[position]), logits = 0;
    for (uint32_t l = 0; l < SIM_LAYERS; l++) {
        uint64_t sum = 0, in = x;
        for (uint32_t h = 0; h < count[HD_UNIT_HEAD]; h++) {
            ref->kv[l][h][position] = sim_kv_row(l, h, in);
            sum += sim_attention(l, h, in, ref->kv[l][h], position);
        }
        x += sum;
        in = x;
        for (uint32_t b = 0; b < count[HD_UNIT_FFN]; b++)
            x += sim_ffn(l, b, in);
    }
    for (uint32_t b = 0; b < count[HD_UNIT_VOCAB]; b++)
        logits += sim_logits(b, x);
    return sim_token(logits);
}

/* Often it begins with tokens of one before it, and part of that one's answer. */
static void begin_like_another(struct sim *s, struct sim_request *r)
{
    uint64_t before = (uint64_t)(r - s->engine.requests);
    if (before == 0 || sim_chance(s, 40))
        return;
    const struct sim_request *other = &s->engine.requests[sim_below(s, before)];
    uint32_t most = other->n_prompt + other->n_want;
    most = most < r->n_prompt ? most : r->n_prompt;
    most = 1 + (uint32_t)sim_below(s, most);
    r->seed = other->seed;
    for (uint32_t p = 0; p < most; p++)
        r->tokens[p] = r->expected[p] = other->expected[p];
}

void sim_request_init(struct sim *s, struct sim_request *r)
{
    struct reference ref;
    *r = (struct sim_request){.seed = sim_below(s, UINT64_MAX), .sequence = -1};
    r->n_prompt = 1 + (uint32_t)sim_below(s, 12);
    r->n_want = 1 + (uint32_t)sim_below(s, SIM_POSITIONS - 12);
    r->n_tokens = r->n_prompt;
    for (uint32_t p = 0; p < r->n_prompt; p++)
        r->tokens[p] = r->expected[p] = (uint32_t)sim_below(s, 1000);
    begin_like_another(s, r);
    for (uint32_t p = 0; p + 1 < r->n_prompt + r->n_want; p++) {
        uint32_t token = reference_token(s, &ref, r, p);
        if (p + 1 >= r->n_prompt)
            r->expected[p + 1] = token;
    }
}

/* ---- Ends ----*/

static void end_request(struct sim *s, struct sim_request *r)
{
    r->ends++;
    r->ended_at = s->now;
    r->ended_halves = s->halves;
}

/* Only between steps: free the sequences of what has ended. */
static void sweep(struct sim *s)
{
    for (unsigned i = 0; i < s->engine.n_requests; i++) {
        struct sim_request *r = &s->engine.requests[i];
        if (r->submitted && r->cancelled && r->ends == 0)
            end_request(s, r);
        if (r->ends == 0 || r->sequence < 0)
            continue;
        int sequence = r->sequence;
        r->sequence = -1;
        sim_branch_end(s, (uint32_t)sequence, !r->failed && !r->named && !r->wrong);
    }
}

void sim_engine_cancel(struct sim *s, struct sim_request *r)
{
    r->cancelled = true;
    if (s->engine.n_rows == 0)
        sweep(s);
}

void sim_engine_fail_all(struct sim *s)
{
    struct hd_event abandoned = {.type = HD_EV_REPLAYED};
    if (s->engine.n_rows > 0 && s->n_leaders > 1) {
        s->engine.n_rows = 0;
        sim_leader_event(s, &abandoned);
    }
    s->engine.n_rows = 0;
    for (unsigned i = 0; i < s->engine.n_requests; i++) {
        struct sim_request *r = &s->engine.requests[i];
        if (r->submitted && r->ends == 0)
            end_request(s, r);
    }
    sweep(s);
}

void sim_engine_fail_told(struct sim *s, uint64_t since)
{
    struct hd_event abandoned = {.type = HD_EV_REPLAYED};
    bool any = false;
    for (unsigned i = 0; i < s->engine.n_requests; i++) {
        struct sim_request *r = &s->engine.requests[i];
        if (r->sequence < 0 || r->ends || r->told_at < since)
            continue;
        r->failed = any = true;
        end_request(s, r);
    }
    if (!any)
        return;
    if (s->engine.n_rows > 0) {
        s->engine.n_rows = 0;
        sim_leader_event(s, &abandoned);
    }
    sweep(s);
}

/* ---- Steps ----*/

static void admit(struct sim *s)
{
    unsigned running = 0;
    for (unsigned i = 0; i < s->engine.n_requests; i++)
        running += s->engine.requests[i].sequence >= 0;
    for (unsigned i = 0; i < s->engine.n_requests && running < SIM_RUNNING; i++) {
        struct sim_request *r = &s->engine.requests[i];
        if (!r->submitted || r->ends || r->sequence >= 0)
            continue;
        if (!sim_branch_begin(s, r))
            return;
        running++;
    }
}

void sim_engine_cut(struct sim *s, struct sim_request *r, uint32_t sequence, uint32_t positions)
{
    struct hd_event ev = {.type = HD_EV_SEQ_CUT, .cut = {sequence, positions}};
    r->guessed = false;
    if (r->sent <= positions)
        return;
    r->sent = positions;
    s->cuts++;
    sim_leader_event(s, &ev);
}

/* Rows behind the last that is known, of guesses that are right more often than not. */
static void take_drafts(struct sim *s, struct sim_request *r)
{
    struct sim_engine *e = &s->engine;
    uint32_t most = (uint32_t)sim_below(s, 4), end = r->n_prompt + r->n_want;
    for (uint32_t p = r->n_tokens; p + 1 < end && most-- > 0 && e->n_rows < SIM_ROWS; p++) {
        uint32_t token = sim_chance(s, 70) ? r->expected[p] : (uint32_t)sim_below(s, 1000);
        e->rows[e->n_rows++] = (struct sim_step_row){.r = r,
                                                     .position = p,
                                                     .sampled = true,
                                                     .token = token,
                                                     .residual = sim_embed(r, p, token)};
        s->drafted++;
        r->guessed = true;
    }
}

static void take_rows(struct sim *s)
{
    struct sim_engine *e = &s->engine;
    bool drafts = !hd_core_audit_waits(s->core) && sim_chance(s, 70);
    for (unsigned i = 0; i < e->n_requests; i++) {
        struct sim_request *r = &e->requests[i];
        if (r->sequence < 0 || r->ends || r->cancelled)
            continue;
        if (r->guessed) /* of a step that was given up, or whose end was */
            sim_engine_cut(s, r, (uint32_t)r->sequence, r->done);
        uint32_t most = 1 + (uint32_t)sim_below(s, 4), p = r->done;
        for (; p < r->n_tokens && most-- > 0 && e->n_rows < SIM_ROWS; p++)
            e->rows[e->n_rows++] = (struct sim_step_row){
                .r = r,
                .position = p,
                .sampled = p + 1 == r->n_tokens,
                .token = r->tokens[p],
                .residual = sim_embed(r, p, r->tokens[p]),
            };
        if (p == r->n_tokens && drafts)
            take_drafts(s, r);
    }
}

/* ---- Groups ----*/

static bool takes_part(const struct sim_group *p, const struct sim_step_row *row)
{
    return p->half != HD_HALF_LOGITS || row->sampled;
}

static void set_group(struct sim_engine *e, unsigned group, size_t first, size_t n_rows)
{
    e->groups[group] = (struct sim_group){.rows = e->rows + first, .n_rows = n_rows};
}

/* Cut anywhere, unless every row is of another sequence. */
static void form_groups(struct sim *s)
{
    struct sim_engine *e = &s->engine;
    size_t n = e->n_rows, first = n;
    bool single = true;
    for (size_t i = 1; i < n; i++)
        single &= e->rows[i].r != e->rows[i - 1].r;
    if (!single && sim_chance(s, 60))
        first = 1 + (size_t)sim_below(s, n - 1);
    e->turn = 0;
    e->n_groups = first < n ? 2 : 1;
    s->pairs += first < n;
    set_group(e, 0, 0, first);
    set_group(e, 1, first, n - first);
}

static void ask(struct sim *s, unsigned group)
{
    struct sim_engine *e = &s->engine;
    struct sim_group *p = &e->groups[group];
    struct hd_seq_rows rows[SIM_ROWS];
    struct hd_event ev = {.type = HD_EV_HALF,
                          .half = {.step = e->step,
                                   .half = p->half,
                                   .layer = p->layer,
                                   .group = group,
                                   .groups = e->n_groups,
                                   .rows = rows}};
    p->state = SIM_IN_HAND;
    s->halves++;
    sim_engine_reset_half(s, group);
    for (size_t i = 0; i < p->n_rows; i++) {
        uint32_t sequence = (uint32_t)p->rows[i].r->sequence;
        ev.half.drafted |= p->rows[i].position >= p->rows[i].r->n_tokens;
        if (ev.half.n_rows > 0 && rows[ev.half.n_rows - 1].sequence == sequence)
            rows[ev.half.n_rows - 1].rows++;
        else
            rows[ev.half.n_rows++] = (struct hd_seq_rows){sequence, 1};
    }
    sim_leader_event(s, &ev);
}

static void ask_in_turn(struct sim *s)
{
    struct sim_engine *e = &s->engine;
    while (e->n_rows > 0 && e->groups[e->turn].state == SIM_READY) {
        unsigned group = e->turn;
        e->turn = (e->turn + 1) % e->n_groups;
        ask(s, group);
    }
}

void sim_engine_kick(struct sim *s)
{
    struct sim_engine *e = &s->engine;
    if (!e->ready || e->n_rows > 0)
        return;
    if (s->n_leaders > 1 && hd_core_state(s->core) == HD_CLUSTER_WAITING)
        return;
    admit(s);
    take_rows(s);
    if (e->n_rows == 0)
        return;
    e->step++;
    for (size_t i = 0; i < e->n_rows; i++)
        if (e->rows[i].r->sent <= e->rows[i].position)
            e->rows[i].r->sent = e->rows[i].position + 1;
    form_groups(s);
    ask_in_turn(s);
}

void sim_engine_fill_step(const struct sim *s, struct sim_msg *m)
{
    const struct sim_engine *e = &s->engine;
    const struct sim_group *p = &e->groups[m->group];
    if (e->n_rows == 0 || p->state != SIM_IN_HAND)
        sim_fail(s, "a half-step is to be sent and there is none");
    m->step = e->step;
    m->half = p->half;
    m->layer = p->layer;
    for (size_t i = 0; i < p->n_rows; i++) {
        const struct sim_step_row *row = &p->rows[i];
        if (takes_part(p, row))
            m->rows[m->n_rows++] =
                (struct sim_row){(uint32_t)row->r->sequence, row->position, row->residual};
    }
}

void sim_engine_reset_half(struct sim *s, unsigned group)
{
    struct sim_group *p = &s->engine.groups[group];
    if (s->engine.n_rows == 0)
        return;
    p->summed = 0;
    for (size_t i = 0; i < p->n_rows; i++)
        p->rows[i].sum = 0;
}

void sim_engine_use(struct sim *s, const struct sim_msg *m)
{
    struct sim_engine *e = &s->engine;
    struct sim_group *p = &e->groups[m->group];
    uint64_t units = m->units[m->half];
    size_t at = 0;
    if (m->epoch != hd_core_epoch(s->core) || m->step != e->step || p->state != SIM_IN_HAND ||
        m->half != p->half || m->layer != p->layer)
        sim_fail(s, "a result of another epoch or half-step is used");
    if (p->summed & units)
        sim_fail(s, "units %llx are summed up twice", (unsigned long long)(p->summed & units));
    p->summed |= units;
    for (size_t i = 0; i < p->n_rows; i++)
        if (takes_part(p, &p->rows[i]))
            p->rows[i].sum += m->rows[at++].x;
}

static void sample(struct sim *s, const struct sim_step_row *row)
{
    struct sim_request *r = row->r;
    bool follows = row->position + 1 == r->n_tokens && row->token == r->tokens[row->position];
    if (!row->sampled || !follows || r->ends || r->cancelled)
        return;
    s->accepted += r->done == row->position;
    r->done = row->position + 1;
    uint32_t token = sim_token(row->sum);
    bool wrong = token != r->expected[r->n_tokens];
    if (wrong && !r->wrong && !s->lying)
        sim_fail(s, "request %u: token %u is wrong", (unsigned)(r - s->engine.requests),
                 r->n_tokens - r->n_prompt);
    r->wrong |= wrong;
    r->told_at = s->now;
    r->tokens[r->n_tokens++] = token;
    sim_leaders_told(s, r);
    if (r->n_tokens == r->n_prompt + r->n_want)
        end_request(s, r);
}

static void finish_step(struct sim *s)
{
    struct sim_engine *e = &s->engine;
    struct hd_event ev = {.type = HD_EV_STEP_DONE};
    sim_leader_event(s, &ev);
    for (size_t i = 0; i < e->n_rows; i++)
        if (e->rows[i].position < e->rows[i].r->n_tokens)
            e->rows[i].r->done = e->rows[i].position + 1;
    for (size_t i = 0; i < e->n_rows; i++)
        sample(s, &e->rows[i]);
    for (size_t i = 0; i < e->n_rows; i++)
        sim_engine_cut(s, e->rows[i].r, (uint32_t)e->rows[i].r->sequence, e->rows[i].r->done);
    e->n_rows = 0;
    sweep(s);
    sim_engine_kick(s);
}

/* The sums are complete: the group's next half-step, if there is one. */
static void advance(struct sim *s, struct sim_group *p)
{
    uint64_t all = (UINT64_C(1) << s->options.units[p->half]) - 1;
    if (p->summed != all)
        sim_fail(s, "units %llx are missing in a sum", (unsigned long long)(all & ~p->summed));
    for (size_t i = 0; i < p->n_rows && p->half != HD_HALF_LOGITS; i++)
        p->rows[i].residual += p->rows[i].sum;
    p->state = SIM_READY;
    if (p->half == HD_HALF_ATTENTION) {
        p->half = HD_HALF_FFN;
    } else if (p->half == HD_HALF_FFN && p->layer + 1 < SIM_LAYERS) {
        p->half = HD_HALF_ATTENTION;
        p->layer++;
    } else {
        p->state = SIM_THROUGH;
    }
}

void sim_engine_half_done(struct sim *s, unsigned group)
{
    struct sim_engine *e = &s->engine;
    struct sim_group *p = &e->groups[group];
    bool sampled = false, through = true;
    if (e->n_rows == 0 || p->state != SIM_IN_HAND)
        sim_fail(s, "a half-step is done and there is none");
    bool logits = p->half == HD_HALF_LOGITS;
    advance(s, p);
    for (unsigned g = 0; g < e->n_groups; g++)
        through &= e->groups[g].state == SIM_THROUGH;
    for (size_t i = 0; i < e->n_rows; i++)
        sampled |= e->rows[i].sampled;
    if (through && (logits || !sampled)) {
        finish_step(s);
        return;
    }
    if (through) { /* all of them together */
        e->turn = 0;
        e->n_groups = 1;
        set_group(e, 0, 0, e->n_rows);
        e->groups[0].half = HD_HALF_LOGITS;
        e->groups[0].layer = SIM_LAYERS - 1;
    }
    ask_in_turn(s);
}

void sim_engine_replay(struct sim *s, uint64_t mask)
{
    struct sim_engine *e = &s->engine;
    e->n_rows = 0;
    for (unsigned i = 0; i < e->n_requests; i++) {
        struct sim_request *r = &e->requests[i];
        if (r->sequence >= 0 && mask >> r->sequence & 1) {
            e->rows_replayed += r->done;
            r->done = r->sent = 0;
        }
    }
    sim_branch_restart(s, mask);
    sweep(s);
}
