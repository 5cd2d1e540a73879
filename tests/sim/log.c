/* log.c - a model worker's input log: what is kept, completing it, serving others. */
#include "tests/sim/sim.h"

void sim_log_say(struct sim *s, unsigned worker, uint32_t sequence, bool complete)
{
    struct sim_msg m = {.type = MSG_LOG_STATE, .sequence = sequence, .complete = complete};
    s->gave_up_log |= !complete;
    s->fills += complete;
    sim_worker_emit(s, worker, 10, &m);
}

/* The next piece that is missing of any sequence, or word that one is complete. */
void sim_log_go_on(struct sim *s, unsigned worker)
{
    struct sim_worker *w = &s->workers[worker];
    for (uint32_t q = 0; q < SIM_SEQUENCES && !w->fetch_id; q++) {
        if (!w->fill[q].active)
            continue;
        for (uint32_t l = 0; l < SIM_LAYERS && !w->fetch_id; l++) {
            uint32_t end = w->tail[q][l] == SIM_NO_TAIL ? w->fill[q].base[l] : w->tail[q][l];
            if (w->logged[q][l] >= end)
                continue;
            struct sim_msg m = {.type = MSG_FETCH};
            m.fetch = (struct hd_fetch){.id = w->fetch_id = ++w->next_id,
                                        .sequence = w->fetch_sequence = q,
                                        .layer = l,
                                        .position = w->logged[q][l],
                                        .count = 1 + (uint32_t)sim_below(s, SIM_ROWS)};
            if (m.fetch.count > end - m.fetch.position)
                m.fetch.count = end - m.fetch.position;
            sim_worker_emit(s, worker, 10, &m);
        }
        if (w->fetch_id)
            return;
        w->fill[q].active = false;
        sim_log_say(s, worker, q, true);
    }
}

void sim_log_fill(struct sim *s, unsigned worker, const struct sim_msg *m)
{
    struct sim_worker *w = &s->workers[worker];
    sim_worker_note_shares(w, m);
    for (size_t i = 0; i < m->n_needs; i++) {
        struct sim_fill *f = &w->fill[m->needs[i].sequence];
        f->active = true;
        for (uint32_t l = 0; l < SIM_LAYERS; l++)
            f->base[l] = sim_needed(m, &m->needs[i], l);
    }
    sim_log_go_on(s, worker);
}

/* False when the log cannot take the row. */
bool sim_log_keep(struct sim_worker *w, uint32_t layer, const struct sim_row *r)
{
    uint32_t q = r->sequence, p = r->position;
    uint32_t *n = &w->logged[q][layer], *tail = &w->tail[q][layer], *end = &w->tail_end[q][layer];
    if (p < *n || (*tail != SIM_NO_TAIL && p >= *tail && p < *end))
        return true;
    if (!w->keeps_log || p >= w->log_most)
        return false;
    if (p == *n)
        ++*n;
    else if (*tail == SIM_NO_TAIL)
        *end = (*tail = p) + 1;
    else if (p == *end)
        ++*end;
    else
        return false;
    w->log[q][layer][p] = r->x;
    if (*n == *tail) {
        *n = *end;
        *tail = SIM_NO_TAIL;
    }
    return true;
}

void sim_log_take_rows(struct sim *s, unsigned worker, const struct sim_msg *m)
{
    struct sim_worker *w = &s->workers[worker];
    uint32_t q = m->fetch.sequence;
    if (m->fetch.id != w->fetch_id)
        return;
    w->fetch_id = 0;
    bool kept = m->fetch.count > 0;
    for (uint32_t i = 0; i < m->fetch.count && kept; i++) {
        struct sim_row r = {q, m->fetch.position + i,
                            m->rows[i].x}; /* as asked: bytes have no name */
        kept = sim_log_keep(w, m->fetch.layer, &r);
    }
    if (!kept) {
        w->fill[q].active = false;
        sim_log_say(s, worker, q, false);
    }
    sim_log_go_on(s, worker);
    sim_worker_wake(s, worker);
}

void sim_log_serve(struct sim *s, unsigned worker, const struct sim_msg *m)
{
    struct sim_worker *w = &s->workers[worker];
    const struct hd_fetch *f = &m->fetch;
    struct sim_msg rows = {.type = MSG_ROWS, .fetch = *f};
    uint32_t have = w->logged[f->sequence][f->layer], n = 0;
    for (; n < f->count && n < SIM_ROWS && f->position + n < have; n++)
        rows.rows[n] = (struct sim_row){f->sequence, f->position + n,
                                        w->log[f->sequence][f->layer][f->position + n]};
    rows.fetch.count = n;
    sim_worker_emit(s, worker, 20, &rows);
}
