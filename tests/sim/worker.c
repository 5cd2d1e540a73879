/* worker.c - a model worker: K/V rows, input log, and the rules that real workers keep. */
#include "tests/sim/sim.h"

#include <string.h>

uint64_t sim_kv_row(uint32_t layer, uint32_t head, uint64_t x)
{
    return sim_mix(1000 + layer, head, x);
}

/* As this worker computes it. */
static uint64_t row_of(const struct sim_worker *w, uint32_t layer, uint32_t head, uint64_t x)
{
    return sim_kv_row(layer, head, x) + (w->lie == LIE_ROWS);
}

uint64_t sim_attention(uint32_t layer, uint32_t head, uint64_t x, const uint64_t *kv,
                       uint32_t position)
{
    uint64_t seen = 0;
    for (uint32_t p = 0; p <= position; p++)
        seen = seen * 31 + kv[p];
    return sim_mix(2000 + layer, sim_mix(3000, head, x), seen);
}

uint64_t sim_ffn(uint32_t layer, uint32_t block, uint64_t x)
{
    return sim_mix(4000 + layer, block, x);
}

uint64_t sim_logits(uint32_t block, uint64_t x)
{
    return sim_mix(5000, block, x);
}

uint32_t sim_token(uint64_t logits)
{
    return (uint32_t)(logits >> 32);
}

uint32_t sim_row_owner(const struct sim_worker *w, uint32_t sequence, uint32_t position)
{
    while (position < w->shares[sequence].shared)
        sequence = w->shares[sequence].parent;
    return sequence;
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static void drop_own(struct sim_worker *w, uint32_t sequence, struct hd_fork share)
{
    w->shares[sequence] = share;
    for (uint32_t l = 0; l < SIM_LAYERS; l++) {
        for (uint32_t h = 0; h < SIM_HEADS; h++)
            w->valid[sequence][l][h] = share.shared;
        w->logged[sequence][l] = share.shared;
        w->tail[sequence][l] = SIM_NO_TAIL;
    }
    if (w->fill[sequence].active && w->fetch_sequence == sequence)
        w->fetch_id = 0;
    w->fill[sequence].active = false;
    for (unsigned i = 0; i < w->n_audits; i++)
        for (size_t r = 0; r < w->audits[i].n_rows; r++)
            w->audits[i].cannot |=
                w->audits[i].half == HD_HALF_ATTENTION && w->audits[i].rows[r].sequence == sequence;
    w->said_gap &= ~(UINT64_C(1) << sequence);
    w->n_tokens[sequence] = share.shared;
}

/* With it goes whoever shares its rows. */
static void drop_sequence(struct sim_worker *w, uint32_t sequence)
{
    drop_own(w, sequence, (struct hd_fork){0});
    for (uint32_t q = 0; q < SIM_SEQUENCES; q++)
        if (w->shares[q].shared > 0 && w->shares[q].parent == sequence)
            drop_sequence(w, q);
}

static void cut_needs(struct sim_msg *m, uint32_t sequence, uint32_t positions)
{
    for (size_t i = 0; i < m->n_needs; i++) {
        struct hd_seq_need *need = &m->needs[i];
        if (need->sequence != sequence)
            continue;
        uint32_t left = positions - (need->base = least(need->base, positions));
        for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
            left -= need->inflight[g] = least(need->inflight[g], left);
    }
}

/* Rows of a sequence behind are no more. */
static void cut(struct sim *s, unsigned worker, const struct sim_msg *m)
{
    struct sim_worker *w = &s->workers[worker];
    uint32_t q = m->sequence, n = m->positions;
    for (uint32_t i = 0; i < SIM_SEQUENCES; i++)
        if ((i == q || w->shares[i].parent == q) && w->shares[i].shared > n)
            sim_fail(s, "w%u: rows of sequence %u are cut that others share", worker, q);
    for (uint32_t l = 0; l < SIM_LAYERS; l++) {
        for (uint32_t h = 0; h < SIM_HEADS; h++)
            w->valid[q][l][h] = least(w->valid[q][l][h], n);
        w->logged[q][l] = least(w->logged[q][l], n);
        w->tail_end[q][l] = least(w->tail_end[q][l], n);
        if (w->tail[q][l] != SIM_NO_TAIL && w->tail[q][l] >= w->tail_end[q][l])
            w->tail[q][l] = SIM_NO_TAIL;
        w->fill[q].base[l] = least(w->fill[q].base[l], n);
    }
    for (unsigned i = 0; i < w->n_audits; i++) /* of a step that was given up */
        for (size_t r = 0; r < w->audits[i].n_rows; r++)
            w->audits[i].cannot |= w->audits[i].half == HD_HALF_ATTENTION &&
                                   w->audits[i].rows[r].sequence == q &&
                                   w->audits[i].rows[r].position >= n;
    cut_needs(&w->prepare, q, n);
    w->n_tokens[q] = least(w->n_tokens[q], n);
    if (w->fill[q].active && w->fetch_sequence == q) {
        w->fetch_id = 0; /* what comes may be what was cut */
        sim_log_go_on(s, worker);
    }
}

void sim_worker_drop(struct sim_worker *w, uint32_t sequence)
{
    drop_sequence(w, sequence);
}

void sim_worker_note_shares(struct sim_worker *w, const struct sim_msg *m)
{
    for (size_t i = 0; i < m->n_needs; i++) {
        const struct hd_seq_need *n = &m->needs[i];
        const struct hd_fork *has = &w->shares[n->sequence];
        if (has->shared != n->shared || (n->shared > 0 && has->parent != n->parent))
            drop_own(w, n->sequence, (struct hd_fork){n->sequence, n->parent, n->shared});
    }
}

/* The connection has ended: weights stay, sequences are forgotten. */
void sim_worker_reset(struct sim_worker *w)
{
    memset(w->owned, 0, sizeof w->owned);
    memset(w->hold, 0, sizeof w->hold);
    for (uint32_t q = 0; q < SIM_SEQUENCES; q++)
        drop_sequence(w, q);
    w->epoch = w->round = w->fetch_id = 0;
    w->n_audits = 0;
    w->busy_until = 0;
}

/* It may be gone on with: all stays, nothing is under way. */
static void rest(struct sim_worker *w)
{
    for (uint32_t q = 0; q < SIM_SEQUENCES; q++)
        w->fill[q].active = false;
    w->round = w->fetch_id = 0;
    w->n_audits = 0;
    w->busy_until = 0;
}

void sim_worker_connect(struct sim *s, unsigned worker)
{
    struct sim_worker *w = &s->workers[worker];
    struct sim_msg hello = {.type = MSG_HELLO};
    if (s->n_conns + 1 >= SIM_CONNS)
        sim_fail(s, "too many connections");
    if (!sim_leaders_choose(s, worker))
        return;
    w->kept = w->kept && w->running && s->now < w->kept_until;
    hello.kept = w->kept;
    hello.term = w->running ? w->term : 0;
    hello.epoch = w->kept ? w->epoch : 0;
    if (w->kept)
        rest(w);
    else
        sim_worker_reset(w);
    w->term = hello.term;
    if (!w->running)
        memset(w->held, 0, sizeof w->held);
    hello.complete = w->keeps_log;
    w->running = true;
    w->conn = ++s->n_conns;
    w->sent_at[0] = w->sent_at[1] = s->now;
    s->conn_slot[w->conn] = -1;
    s->conn_leader[w->conn] = w->leader;
    w->heard_at = s->now;
    s->conn_worker[w->conn] = worker;
    sim_send_to_leader(s, worker, &hello);
}

void sim_worker_kill(struct sim *s, unsigned worker)
{
    struct sim_worker *w = &s->workers[worker];
    struct sim_msg fin = {.type = MSG_FIN};
    if (w->conn)
        sim_send_to_leader(s, worker, &fin);
    w->running = false;
    w->conn = 0;
    w->stopped_until = 0;
}

void sim_worker_emit(struct sim *s, unsigned worker, uint64_t cost, struct sim_msg *msg)
{
    struct sim_worker *w = &s->workers[worker];
    uint64_t from = w->busy_until > s->now ? w->busy_until : s->now;
    w->busy_until = from + cost;
    msg->conn = w->conn;
    sim_at(s, w->busy_until, EMIT, worker, msg);
}

/* ---- Assignments ----*/

uint32_t sim_needed(const struct sim_msg *m, const struct hd_seq_need *need, uint32_t layer)
{
    uint32_t rows = need->base;
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        rows += layer < m->layers_done[g] ? need->inflight[g] : 0;
    return need->replayed ? 0 : rows;
}

static bool has_gap(const struct sim_worker *w, const struct sim_msg *m,
                    const struct hd_seq_need *need, uint64_t heads)
{
    for (uint32_t l = 0; l < SIM_LAYERS; l++)
        for (uint32_t h = 0; h < SIM_HEADS; h++)
            if (heads >> h & 1 && w->valid[need->sequence][l][h] < sim_needed(m, need, l) &&
                w->logged[need->sequence][l] < sim_needed(m, need, l))
                return true;
    return false;
}

static void rebuild_lane(struct sim_worker *w, uint32_t seq, uint32_t l, uint32_t h, uint32_t end,
                         struct sim_msg *kv)
{
    uint32_t *valid = &w->valid[seq][l][h];
    kv->rows_kept += *valid;
    for (; *valid < end; (*valid)++) {
        w->kv[seq][l][h][*valid] = row_of(w, l, h, w->log[seq][l][*valid]);
        kv->rows_rebuilt++;
    }
}

static void drop_heads(struct sim_worker *w, uint64_t heads)
{
    for (uint32_t q = 0; q < SIM_SEQUENCES; q++)
        for (uint32_t l = 0; l < SIM_LAYERS; l++)
            for (uint32_t h = 0; h < SIM_HEADS; h++)
                if (heads >> h & 1)
                    w->valid[q][l][h] = w->shares[q].shared;
}

static uint64_t gaps_of(const struct sim_worker *w, const struct sim_msg *m, uint64_t heads)
{
    uint64_t gaps = 0;
    for (size_t i = 0; i < m->n_needs; i++)
        if (has_gap(w, m, &m->needs[i], heads))
            gaps |= UINT64_C(1) << m->needs[i].sequence;
    return gaps;
}

/* Whether a head's rows of all that is needed are there. */
static bool is_ready(const struct sim_worker *w, const struct sim_msg *m, uint32_t head)
{
    for (size_t i = 0; i < m->n_needs; i++)
        for (uint32_t l = 0; l < SIM_LAYERS; l++)
            if (w->valid[m->needs[i].sequence][l][head] < sim_needed(m, &m->needs[i], l))
                return false;
    return w->held[HD_UNIT_HEAD] >> head & 1;
}

/* What is neither owned nor held is released, sooner or later, and the rows of bare heads. */
static void release(struct sim_worker *w)
{
    drop_heads(w, w->held[HD_UNIT_HEAD] & ~(w->owned[HD_UNIT_HEAD] | w->hold[HD_HOLD_KV]));
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        w->held[k] &= w->owned[k] | w->hold[k];
}

void sim_worker_wake(struct sim *s, unsigned worker)
{
    sim_at(s, s->now + 100 + sim_below(s, 2000), BACKGROUND, worker, NULL);
}

static void count_weights(struct sim *s, const struct sim_worker *w, const struct sim_msg *m)
{
    for (int k = 0; k < HD_UNIT_KINDS; k++) {
        uint64_t fresh = m->units[k] & ~w->owned[k];
        s->packed += (unsigned)__builtin_popcountll(fresh & ~w->held[k]);
        s->loaded += (unsigned)__builtin_popcountll(fresh & w->held[k]);
    }
}

/* An epoch: what is owned is made ready at once. */
static void take_over(struct sim *s, unsigned worker, const struct sim_msg *m, struct sim_msg *kv)
{
    struct sim_worker *w = &s->workers[worker];
    uint64_t heads = m->units[HD_UNIT_HEAD];
    kv->units[HD_UNIT_HEAD] = w->goes_on ? heads : heads & ~w->owned[HD_UNIT_HEAD];
    w->goes_on = false;
    count_weights(s, w, m);
    memcpy(w->owned, m->units, sizeof w->owned);
    for (uint32_t q = 0; q < SIM_SEQUENCES && m->clear; q++)
        drop_sequence(w, q);
    for (size_t i = 0; i < m->n_needs; i++)
        if (m->needs[i].replayed)
            drop_sequence(w, m->needs[i].sequence);
    sim_worker_note_shares(w, m);
    for (uint32_t h = 0; h < SIM_HEADS; h++)
        if (kv->units[HD_UNIT_HEAD] >> h & 1 && is_ready(w, m, h))
            kv->hold[HD_UNIT_HEAD] |= UINT64_C(1) << h;
    kv->gaps = gaps_of(w, m, heads);
    for (size_t i = 0; i < m->n_needs; i++)
        for (uint32_t l = 0; l < SIM_LAYERS; l++)
            for (uint32_t h = 0; h < SIM_HEADS; h++)
                if (heads >> h & 1 && !(kv->gaps >> m->needs[i].sequence & 1))
                    rebuild_lane(w, m->needs[i].sequence, l, h, sim_needed(m, &m->needs[i], l), kv);
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        w->held[k] |= w->owned[k];
}

/* Of each lane of which all is there that is needed, whoever owns it. */
static void say_digests(const struct sim_worker *w, const struct sim_msg *m, struct sim_msg *kv)
{
    for (size_t i = 0; i < m->n_needs; i++)
        for (uint32_t h = 0; h < SIM_HEADS; h++) {
            uint32_t q = m->needs[i].sequence, end = sim_needed(m, &m->needs[i], 0);
            uint64_t digest = 1;
            bool all = end > w->shares[q].shared;
            for (uint32_t l = 0; l < SIM_LAYERS; l++) {
                end = sim_needed(m, &m->needs[i], l);
                all &= w->valid[q][l][h] >= end;
                for (uint32_t p = w->shares[q].shared; p < end && all; p++)
                    digest = sim_mix(digest, l * 1000 + p, w->kv[q][l][h][p]);
            }
            kv->digests[q][h] = all ? digest | 1 : 0;
        }
}

static void assign(struct sim *s, unsigned worker, const struct sim_msg *m)
{
    struct sim_worker *w = &s->workers[worker];
    struct sim_msg kv = {.type = MSG_KV, .epoch = m->epoch};
    if (m->epoch < w->epoch)
        sim_fail(s, "w%u is assigned epoch %llu after %llu", worker, (unsigned long long)m->epoch,
                 (unsigned long long)w->epoch);
    w->epoch = m->epoch;
    w->round = m->round;
    w->prepare = *m;
    memcpy(w->hold, m->hold, sizeof w->hold);
    if (m->round) {
        sim_worker_note_shares(w, m);
    } else {
        take_over(s, worker, m, &kv);
        say_digests(w, m, &kv);
        sim_worker_emit(s, worker, 200 + sim_below(s, 4000), &kv);
    }
    if (sim_chance(s, 50))
        release(w);
    sim_worker_wake(s, worker);
}

/* ---- Beside the steps: what is to be held ----*/

/* One row of one lane that is behind; false when all are current. */
static bool catch_up(struct sim_worker *w)
{
    for (uint32_t q = 0; q < SIM_SEQUENCES; q++)
        for (uint32_t l = 0; l < SIM_LAYERS; l++)
            for (uint32_t h = 0; h < SIM_HEADS; h++) {
                uint32_t *valid = &w->valid[q][l][h];
                if (!(w->hold[HD_HOLD_KV] >> h & 1) || *valid >= w->logged[q][l])
                    continue;
                w->kv[q][l][h][*valid] = row_of(w, l, h, w->log[q][l][*valid]);
                (*valid)++;
                return true;
            }
    return false;
}

static bool load_one(struct sim_worker *w)
{
    for (int k = 0; k < HD_UNIT_KINDS; k++) {
        uint64_t missing = w->hold[k] & ~w->held[k];
        w->held[k] |= missing & -missing;
        if (missing)
            return true;
    }
    return false;
}

void sim_worker_background(struct sim *s, unsigned worker)
{
    struct sim_worker *w = &s->workers[worker];
    if (!w->conn)
        return;
    if (load_one(w) || catch_up(w)) {
        sim_worker_wake(s, worker);
        return;
    }
    release(w);
    if (!w->round)
        return;
    struct sim_msg kv = {.type = MSG_KV, .epoch = w->epoch, .round = w->round};
    kv.gaps = gaps_of(w, &w->prepare, w->hold[HD_HOLD_KV]);
    w->round = 0;
    sim_worker_emit(s, worker, 100, &kv);
}

/* ---- Half-steps ----*/

static void keep_inputs(struct sim *s, unsigned worker, const struct sim_msg *m)
{
    struct sim_worker *w = &s->workers[worker];
    for (size_t i = 0; i < m->n_rows; i++) {
        uint64_t bit = UINT64_C(1) << m->rows[i].sequence;
        if (sim_log_keep(w, m->layer, &m->rows[i]) || !w->keeps_log || w->said_gap & bit)
            continue;
        w->said_gap |= bit;
        sim_log_say(s, worker, m->rows[i].sequence, false);
    }
}

/* Rows of heads that are held, where they are current. */
static void follow(struct sim_worker *w, const struct sim_msg *m)
{
    uint64_t heads = w->hold[HD_HOLD_KV] & w->held[HD_UNIT_HEAD] & ~w->owned[HD_UNIT_HEAD];
    for (size_t i = 0; i < m->n_rows; i++)
        for (uint32_t h = 0; h < SIM_HEADS; h++) {
            const struct sim_row *r = &m->rows[i];
            uint32_t *valid = &w->valid[r->sequence][m->layer][h];
            if (heads >> h & 1 && r->position == *valid)
                w->kv[r->sequence][m->layer][h][(*valid)++] = row_of(w, m->layer, h, r->x);
        }
}

/* Rows 0 .. position of a head, each where it is. */
static void gather(struct sim *s, const struct sim_worker *w, const struct sim_msg *m,
                   const struct sim_row *r, uint32_t head, uint64_t *rows)
{
    for (uint32_t p = 0; p <= r->position; p++) {
        uint32_t q = sim_row_owner(w, r->sequence, p);
        if (w->valid[q][m->layer][head] <= p)
            sim_fail(s, "position %u of sequence %u, which %u shares, is not there", p, q,
                     r->sequence);
        rows[p] = w->kv[q][m->layer][head][p];
    }
}

static uint64_t attention(struct sim *s, unsigned worker, const struct sim_msg *m,
                          const struct sim_row *r)
{
    struct sim_worker *w = &s->workers[worker];
    uint64_t sum = 0, rows[SIM_POSITIONS];
    for (uint32_t h = 0; h < SIM_HEADS; h++) {
        if (!(w->owned[HD_UNIT_HEAD] >> h & 1))
            continue;
        uint32_t *valid = &w->valid[r->sequence][m->layer][h];
        uint64_t *kv = w->kv[r->sequence][m->layer][h];
        if (r->position > *valid)
            sim_fail(s, "w%u: position %u of sequence %u where %u of layer %u head %u is next",
                     worker, r->position, r->sequence, *valid, m->layer, h);
        uint64_t row = row_of(w, m->layer, h, r->x);
        if (r->position == *valid)
            kv[(*valid)++] = row;
        else if (kv[r->position] != row && !s->lying)
            sim_fail(s, "w%u: position %u of sequence %u was another row before", worker,
                     r->position, r->sequence);
        gather(s, w, m, r, h, rows);
        sum += sim_attention(m->layer, h, r->x, rows, r->position);
    }
    return sum;
}

uint64_t sim_other_half(const struct sim_msg *m, const struct sim_row *r, uint64_t units)
{
    uint64_t sum = 0;
    for (uint32_t b = 0; b < 64; b++)
        if (units >> b & 1)
            sum += m->half == HD_HALF_FFN ? sim_ffn(m->layer, b, r->x) : sim_logits(b, r->x);
    return sum;
}

static uint64_t partial(struct sim *s, unsigned worker, const struct sim_msg *m,
                        const struct sim_row *r)
{
    if (m->half == HD_HALF_ATTENTION)
        return attention(s, worker, m, r);
    return sim_other_half(m, r, s->workers[worker].owned[m->half]);
}

static void step(struct sim *s, unsigned worker, const struct sim_msg *m)
{
    struct sim_worker *w = &s->workers[worker];
    struct sim_msg result = *m;
    enum hd_unit_kind kind = hd_half_units(m->half);
    if (m->epoch < w->epoch)
        return; /* overtaken by an assignment */
    if (m->half == HD_HALF_ATTENTION) {
        keep_inputs(s, worker, m);
        follow(w, m);
        sim_adopt_note(w, m);
    }
    if (m->epoch > w->epoch)
        sim_fail(s, "w%u got a step of epoch %llu and was assigned %llu", worker,
                 (unsigned long long)m->epoch, (unsigned long long)w->epoch);
    if (w->goes_on || !w->owned[kind])
        return; /* nothing to add */
    result.type = MSG_RESULT;
    if (m->half == HD_HALF_ATTENTION && w->round == 0 && sim_chance(s, 20))
        sim_worker_wake(s, worker);
    memset(result.units, 0, sizeof result.units);
    result.units[kind] = w->owned[kind];
    for (size_t i = 0; i < m->n_rows; i++)
        result.rows[i].x = partial(s, worker, m, &m->rows[i]);
    sim_trust_lie(s, worker, &result);
    uint64_t cost = 50 + sim_below(s, sim_chance(s, 3) ? 30000 : 500);
    if (s->now < w->slow_until && w->slow_times)
        cost += 500 * w->slow_times;
    sim_worker_emit(s, worker, cost, &result);
}

void sim_worker_leave(struct sim *s, unsigned worker)
{
    struct sim_msg m = {.type = MSG_DRAIN};
    if (s->workers[worker].conn)
        sim_send_to_leader(s, worker, &m);
}

void sim_worker_lost(struct sim *s, unsigned worker, bool keep)
{
    struct sim_worker *w = &s->workers[worker];
    w->conn = 0;
    if (keep && s->grace_us > 0) {
        if (w->worked) {
            w->kept = true;
            w->kept_until = s->now + s->grace_us;
        }
        w->worked = false;
        sim_at(s, s->now + 500 + sim_below(s, 5000), CONNECT, worker, NULL);
        return;
    }
    w->kept = w->worked = false;
    sim_worker_reset(w);
    sim_at(s, s->now + 20000 + sim_below(s, 100000), CONNECT, worker, NULL);
}

static void welcomed(struct sim *s, unsigned worker, const struct sim_msg *m)
{
    struct sim_worker *w = &s->workers[worker];
    struct sim_msg fin = {.type = MSG_FIN};
    if (m->term < w->term) {
        sim_send_to_leader(s, worker, &fin);
        sim_worker_lost(s, worker, true);
        return;
    }
    w->term = m->term;
    w->epoch = m->epoch;
    w->worked = true;
    w->goes_on = w->kept;
    if (w->kept)
        sim_adopt_tell(s, worker);
    w->kept = false;
}

void sim_worker_receive(struct sim *s, unsigned worker, const struct sim_msg *m)
{
    struct sim_worker *w = &s->workers[worker];
    w->heard_at = s->now;
    struct sim_msg ack = {.type = MSG_ACK, .seq = m->seq, .sent_us = m->sent_us};
    switch (m->type) {
    case MSG_WELCOME:
        welcomed(s, worker, m);
        break;
    case MSG_TOKENS:
        sim_adopt_take_tokens(w, m);
        break;
    case MSG_HEARTBEAT:
        sim_send_to_leader(s, worker, &ack);
        break;
    case MSG_ASSIGN:
        assign(s, worker, m);
        break;
    case MSG_OPEN:
    case MSG_CLOSE:
        drop_sequence(w, m->sequence);
        drop_own(w, m->sequence, m->fork);
        break;
    case MSG_CUT:
        cut(s, worker, m);
        break;
    case MSG_STEP:
        step(s, worker, m);
        break;
    case MSG_FILL:
        sim_log_fill(s, worker, m);
        break;
    case MSG_FETCH:
        sim_log_serve(s, worker, m);
        break;
    case MSG_ROWS:
        sim_log_take_rows(s, worker, m);
        break;
    case MSG_DRAINED:
        s->drained++;
        sim_worker_kill(s, worker);
        sim_at(s, s->now + 5000 + sim_below(s, 200000), CONNECT, worker, NULL);
        break;
    case MSG_REJECT:
    case MSG_FIN:
        sim_worker_lost(s, worker, !m->complete);
        break;
    case MSG_SELF_TEST:
        sim_trust_test(s, worker, m);
        break;
    case MSG_AUDIT:
        sim_trust_take(s, worker, m);
        break;
    default:
        sim_fail(s, "w%u got what only a worker sends", worker);
    }
}
