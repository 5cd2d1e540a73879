/* worker.c - a model worker: K/V rows, input log, and the rules that real workers keep. */
#include "tests/sim/sim.h"

#include <string.h>

uint64_t sim_kv_row(uint32_t layer, uint32_t head, uint64_t x)
{
    return sim_mix(1000 + layer, head, x);
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

void sim_worker_reset(struct sim_worker *w)
{
    memset(w->owned, 0, sizeof w->owned);
    memset(w->valid, 0, sizeof w->valid);
    memset(w->logged, 0, sizeof w->logged);
    w->epoch = 0;
    w->busy_until = 0;
}

void sim_worker_connect(struct sim *s, unsigned worker)
{
    struct sim_worker *w = &s->workers[worker];
    struct sim_msg hello = {.type = MSG_HELLO};
    if (s->n_conns + 1 >= SIM_CONNS)
        sim_fail(s, "too many connections");
    sim_worker_reset(w);
    w->running = true;
    w->conn = ++s->n_conns;
    w->sent_at[0] = w->sent_at[1] = s->now;
    s->conn_slot[w->conn] = -1;
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

/* The compute thread takes one job after the other; the answer leaves when it is done. */
static void emit(struct sim *s, unsigned worker, uint64_t cost, struct sim_msg *msg)
{
    struct sim_worker *w = &s->workers[worker];
    uint64_t from = w->busy_until > s->now ? w->busy_until : s->now;
    w->busy_until = from + cost;
    msg->conn = w->conn;
    sim_at(s, w->busy_until, EMIT, worker, msg);
}

static void drop_sequence(struct sim_worker *w, uint32_t sequence)
{
    memset(w->valid[sequence], 0, sizeof w->valid[sequence]);
    memset(w->logged[sequence], 0, sizeof w->logged[sequence]);
}

/* ---- Assignments ----*/

static uint32_t needed(const struct sim_msg *m, const struct hd_seq_need *need, uint32_t layer)
{
    return need->replayed ? 0 : need->base + (layer < m->layers_done ? need->inflight : 0);
}

static bool has_gap(const struct sim_worker *w, const struct sim_msg *m,
                    const struct hd_seq_need *need)
{
    for (uint32_t l = 0; l < SIM_LAYERS; l++)
        for (uint32_t h = 0; h < SIM_HEADS; h++)
            if (w->owned[HD_UNIT_HEAD] >> h & 1 &&
                w->valid[need->sequence][l][h] < needed(m, need, l) &&
                w->logged[need->sequence][l] < needed(m, need, l))
                return true;
    return false;
}

static void rebuild_lane(struct sim_worker *w, uint32_t seq, uint32_t l, uint32_t h, uint32_t end,
                         struct sim_msg *kv)
{
    uint32_t *valid = &w->valid[seq][l][h];
    kv->rows_kept += *valid;
    for (; *valid < end; (*valid)++) {
        w->kv[seq][l][h][*valid] = sim_kv_row(l, h, w->log[seq][l][*valid]);
        kv->rows_rebuilt++;
    }
}

static void drop_heads(struct sim_worker *w, uint64_t heads)
{
    for (uint32_t q = 0; q < SIM_SEQUENCES; q++)
        for (uint32_t l = 0; l < SIM_LAYERS; l++)
            for (uint32_t h = 0; h < SIM_HEADS; h++)
                if (heads >> h & 1)
                    w->valid[q][l][h] = 0;
}

static void assign(struct sim *s, unsigned worker, const struct sim_msg *m)
{
    struct sim_worker *w = &s->workers[worker];
    struct sim_msg kv = {.type = MSG_KV, .epoch = m->epoch};
    kv.units[HD_UNIT_HEAD] = m->units[HD_UNIT_HEAD] & ~w->owned[HD_UNIT_HEAD];
    if (m->epoch < w->epoch)
        sim_fail(s, "w%u is assigned epoch %llu after %llu", worker, (unsigned long long)m->epoch,
                 (unsigned long long)w->epoch);
    w->epoch = m->epoch;
    drop_heads(w, w->owned[HD_UNIT_HEAD] & ~m->units[HD_UNIT_HEAD]);
    memcpy(w->owned, m->units, sizeof w->owned);
    for (uint32_t q = 0; q < SIM_SEQUENCES && m->clear; q++)
        drop_sequence(w, q);
    for (size_t i = 0; i < m->n_needs; i++) {
        const struct hd_seq_need *need = &m->needs[i];
        if (need->replayed)
            drop_sequence(w, need->sequence);
        if (has_gap(w, m, need)) {
            kv.gaps |= UINT64_C(1) << need->sequence;
            continue;
        }
        for (uint32_t l = 0; l < SIM_LAYERS; l++)
            for (uint32_t h = 0; h < SIM_HEADS; h++)
                if (w->owned[HD_UNIT_HEAD] >> h & 1)
                    rebuild_lane(w, need->sequence, l, h, needed(m, need, l), &kv);
    }
    emit(s, worker, 200 + sim_below(s, 4000), &kv);
}

/* ---- Half-steps ----*/

static void keep_inputs(struct sim_worker *w, const struct sim_msg *m)
{
    for (size_t i = 0; i < m->n_rows; i++) {
        const struct sim_row *r = &m->rows[i];
        uint32_t *n = &w->logged[r->sequence][m->layer];
        if (r->position == *n)
            w->log[r->sequence][m->layer][(*n)++] = r->x;
    }
}

static uint64_t attention(struct sim *s, unsigned worker, const struct sim_msg *m,
                          const struct sim_row *r)
{
    struct sim_worker *w = &s->workers[worker];
    uint64_t sum = 0;
    for (uint32_t h = 0; h < SIM_HEADS; h++) {
        if (!(w->owned[HD_UNIT_HEAD] >> h & 1))
            continue;
        uint32_t *valid = &w->valid[r->sequence][m->layer][h];
        uint64_t *kv = w->kv[r->sequence][m->layer][h];
        if (r->position > *valid)
            sim_fail(s, "w%u: position %u of sequence %u where %u of layer %u head %u is next",
                     worker, r->position, r->sequence, *valid, m->layer, h);
        uint64_t row = sim_kv_row(m->layer, h, r->x);
        if (r->position == *valid)
            kv[(*valid)++] = row;
        else if (kv[r->position] != row)
            sim_fail(s, "w%u: position %u of sequence %u was another row before", worker,
                     r->position, r->sequence);
        sum += sim_attention(m->layer, h, r->x, kv, r->position);
    }
    return sum;
}

static uint64_t partial(struct sim *s, unsigned worker, const struct sim_msg *m,
                        const struct sim_row *r)
{
    const struct sim_worker *w = &s->workers[worker];
    uint64_t sum = 0;
    if (m->half == HD_HALF_ATTENTION)
        return attention(s, worker, m, r);
    for (uint32_t b = 0; b < 64 && m->half == HD_HALF_FFN; b++)
        if (w->owned[HD_UNIT_FFN] >> b & 1)
            sum += sim_ffn(m->layer, b, r->x);
    for (uint32_t b = 0; b < 64 && m->half == HD_HALF_LOGITS; b++)
        if (w->owned[HD_UNIT_VOCAB] >> b & 1)
            sum += sim_logits(b, r->x);
    return sum;
}

static void step(struct sim *s, unsigned worker, const struct sim_msg *m)
{
    struct sim_worker *w = &s->workers[worker];
    struct sim_msg result = *m;
    enum hd_unit_kind kind = (enum hd_unit_kind)m->half;
    if (m->half == HD_HALF_ATTENTION)
        keep_inputs(w, m);
    if (m->epoch > w->epoch)
        sim_fail(s, "w%u got a step of epoch %llu and was assigned %llu", worker,
                 (unsigned long long)m->epoch, (unsigned long long)w->epoch);
    if (m->epoch < w->epoch || !w->owned[kind])
        return; /* overtaken by an assignment, or nothing to add */
    result.type = MSG_RESULT;
    memset(result.units, 0, sizeof result.units);
    result.units[kind] = w->owned[kind];
    for (size_t i = 0; i < m->n_rows; i++)
        result.rows[i].x = partial(s, worker, m, &m->rows[i]);
    emit(s, worker, 50 + sim_below(s, sim_chance(s, 3) ? 30000 : 500), &result);
}

static void lost_connection(struct sim *s, unsigned worker)
{
    s->workers[worker].conn = 0;
    sim_worker_reset(&s->workers[worker]);
    sim_at(s, s->now + 20000 + sim_below(s, 100000), CONNECT, worker, NULL);
}

void sim_worker_receive(struct sim *s, unsigned worker, const struct sim_msg *m)
{
    struct sim_worker *w = &s->workers[worker];
    struct sim_msg ack = {.type = MSG_ACK, .seq = m->seq, .sent_us = m->sent_us};
    switch (m->type) {
    case MSG_WELCOME:
        w->epoch = m->epoch;
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
        break;
    case MSG_STEP:
        step(s, worker, m);
        break;
    case MSG_REJECT:
    case MSG_FIN:
        lost_connection(s, worker);
        break;
    default:
        sim_fail(s, "w%u got what only a worker sends", worker);
    }
}
