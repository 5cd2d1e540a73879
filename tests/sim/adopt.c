/* adopt.c - what a model worker keeps when it has lost its leader, says to the next one, and what a
 * model engine makes of it: as worker/crew/kept.c and leader/engine/adopt.c have it, with any
 * number of positions. A token is known by its row's first input. */
#include "tests/sim/sim.h"

#include <string.h>

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* ---- The worker ----*/

void sim_adopt_note(struct sim_worker *w, const struct sim_msg *m)
{
    for (size_t i = 0; i < m->n_rows && m->layer == 0; i++) {
        const struct sim_row *r = &m->rows[i];
        uint32_t *n = &w->n_tokens[r->sequence];
        uint64_t *at = &w->tokens[r->sequence][r->position];
        if (r->position > *n || r->position < w->shares[r->sequence].shared)
            continue;
        if (r->position == *n || *at != r->x)
            *n = r->position + 1;
        *at = r->x;
    }
}

void sim_adopt_take_tokens(struct sim_worker *w, const struct sim_msg *m)
{
    if (m->fork.shared != w->shares[m->sequence].shared)
        return;
    memcpy(w->tokens[m->sequence], m->tokens, sizeof m->tokens);
    w->n_tokens[m->sequence] = m->n_tokens;
}

static uint32_t complete(const struct sim_worker *w, uint32_t q)
{
    uint32_t n = w->n_tokens[q];
    for (uint32_t l = 0; l < SIM_LAYERS; l++)
        for (uint32_t h = 0; h < SIM_HEADS; h++)
            if (w->owned[HD_UNIT_HEAD] >> h & 1)
                n = least(n, w->valid[q][l][h]);
    return n;
}

static bool is_of_use(const struct sim_worker *w, uint32_t q)
{
    return w->n_tokens[q] > w->shares[q].shared && complete(w, q) > w->shares[q].shared;
}

static void tell(struct sim *s, unsigned worker, uint32_t q, uint64_t *told)
{
    struct sim_worker *w = &s->workers[worker];
    struct sim_msg m = {.type = MSG_TOKENS,
                        .sequence = q,
                        .fork = w->shares[q],
                        .n_tokens = w->n_tokens[q],
                        .positions = complete(w, q),
                        .logged = UINT32_MAX};
    if (*told >> q & 1)
        return;
    *told |= UINT64_C(1) << q;
    if (w->shares[q].shared > 0)
        tell(s, worker, w->shares[q].parent, told);
    for (uint32_t l = 0; l < SIM_LAYERS; l++)
        m.logged = least(m.logged, w->logged[q][l]);
    memcpy(m.tokens, w->tokens[q], sizeof m.tokens);
    sim_worker_emit(s, worker, 1, &m);
}

void sim_adopt_tell(struct sim *s, unsigned worker)
{
    struct sim_worker *w = &s->workers[worker];
    struct sim_msg kept = {.type = MSG_KEPT};
    uint64_t told = 0;
    for (uint32_t q = 0; q < SIM_SEQUENCES; q++)
        if (!is_of_use(w, q))
            sim_worker_drop(w, q);
    for (uint32_t q = 0; q < SIM_SEQUENCES; q++)
        if (is_of_use(w, q))
            tell(s, worker, q, &told);
    memcpy(kept.units, w->owned, sizeof kept.units);
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        kept.hold[k] = w->hold[k] & w->held[k] & ~w->owned[k];
    kept.hold[HD_HOLD_KV] = kept.hold[HD_UNIT_HEAD] & w->hold[HD_HOLD_KV];
    sim_worker_emit(s, worker, 1, &kept);
}

/* ---- The engine ----*/

static void adopt(struct sim *s, uint32_t q)
{
    const struct sim_branch *b = &s->engine.branches[q];
    struct hd_event ev = {.type = HD_EV_SEQ_ADOPT,
                          .adopt = {.sequence = q,
                                    .base = b->state == SIM_RUNS ? b->of->done : b->done,
                                    .parent = b->parent,
                                    .shared = b->shared}};
    s->adopted++;
    sim_leader_event(s, &ev);
}

static uint32_t count_same(const struct sim_branch *b, const struct sim_msg *m, uint32_t n)
{
    uint32_t at = m->fork.shared;
    while (at < least(n, m->n_tokens) && sim_branch_token(b, at) == m->tokens[at])
        at++;
    return at;
}

static bool shares_as(const struct sim_branch *b, const struct sim_msg *m)
{
    return b->shared == m->fork.shared && (b->shared == 0 || b->parent == m->fork.parent);
}

static bool is_ours(const struct sim_branch *b, const struct sim_msg *m)
{
    uint32_t sent = b->state == SIM_RUNS ? b->of->sent : b->done;
    if (b->state == SIM_RUNS && b->of->done > sent)
        sent = b->of->done;
    return b->state != SIM_FREE && b->tail == 0 && shares_as(b, m) && m->n_tokens <= sent &&
           count_same(b, m, sent) == m->n_tokens;
}

static bool begin(struct sim *s, const struct sim_msg *m)
{
    struct sim_branch *b = &s->engine.branches[m->sequence];
    const struct sim_branch *parent = &s->engine.branches[m->fork.parent];
    uint32_t n = least(m->positions, m->n_tokens - 1), shared = m->fork.shared;
    if (n <= shared || (shared > 0 && (parent->state != SIM_KEPT || parent->done < shared ||
                                       parent->shared >= shared)))
        return false;
    *b = (struct sim_branch){.state = SIM_KEPT,
                             .parent = m->fork.parent,
                             .shared = shared,
                             .done = n,
                             .tail = m->n_tokens,
                             .lineage = UINT64_C(1) << m->sequence};
    b->lineage |= shared > 0 ? parent->lineage : 0;
    memcpy(b->x, m->tokens, sizeof b->x);
    for (uint32_t p = 0; p < shared; p++)
        b->x[p] = sim_branch_token(parent, p);
    adopt(s, m->sequence);
    return true;
}

static bool agree(struct sim *s, const struct sim_msg *m)
{
    struct sim_branch *b = &s->engine.branches[m->sequence];
    uint32_t same = count_same(b, m, b->tail);
    uint32_t n = least(least(b->done, same), least(m->positions, m->n_tokens - 1));
    if (!shares_as(b, m) || same < least(b->tail, m->n_tokens) || n <= b->shared ||
        (n < b->done && sim_branch_has_children(s, m->sequence)))
        return false;
    for (; b->tail < m->n_tokens; b->tail++)
        b->x[b->tail] = m->tokens[b->tail];
    b->done = n;
    adopt(s, m->sequence);
    return true;
}

static bool use(struct sim *s, const struct sim_msg *m)
{
    struct sim_branch *b = &s->engine.branches[m->sequence];
    if (hd_core_state(s->core) != HD_CLUSTER_WAITING)
        return false;
    if (is_ours(b, m)) {
        adopt(s, m->sequence);
        return true;
    }
    if (b->state == SIM_FREE)
        return begin(s, m);
    if (b->state != SIM_KEPT || b->tail == 0)
        return false;
    bool agreed = agree(s, m);
    if (!agreed)
        sim_branch_forget(s, UINT64_C(1) << m->sequence);
    return agreed;
}

void sim_adopt_take(struct sim *s, unsigned slot, const struct sim_msg *m)
{
    struct sim_msg close = {.type = MSG_CLOSE, .sequence = m->sequence};
    const struct sim_branch *b = &s->engine.branches[m->sequence];
    bool used = use(s, m);
    sim_note(s, used ? "kept" : "of no use", slot, m->sequence);
    if (!used)
        sim_send_to_worker(s, m->conn, &close);
    else if (m->logged >= (b->state == SIM_RUNS ? b->of->done : b->done))
        s->kept_covers[m->conn] |= UINT64_C(1) << m->sequence;
}

void sim_adopt_send_tokens(struct sim *s, uint64_t conn, uint32_t q)
{
    const struct sim_branch *b = &s->engine.branches[q];
    struct sim_msg m = {.type = MSG_TOKENS, .sequence = q};
    m.fork = (struct hd_fork){q, b->parent, b->shared};
    m.n_tokens = b->state == SIM_RUNS ? b->of->done : b->done;
    for (uint32_t p = 0; p < m.n_tokens; p++)
        m.tokens[p] = sim_branch_token(b, p);
    sim_send_to_worker(s, conn, &m);
}
