/* branches.c - what the real engine's cache does (leader/engine/cache.c), with any number of
 * positions shared: sequences of ended requests stay, and others fork them or go on with them. */
#include "tests/sim/sim.h"

static uint64_t bit_of(uint32_t sequence)
{
    return UINT64_C(1) << sequence;
}

static uint32_t rows_of(const struct sim_branch *b)
{
    return b->state == SIM_RUNS ? b->of->done : b->done;
}

/* By its row's first input. */
uint64_t sim_branch_token(const struct sim_branch *b, uint32_t position)
{
    return b->state == SIM_RUNS ? sim_embed(b->of, position, b->of->tokens[position])
                                : b->x[position];
}

bool sim_branch_has_children(const struct sim *s, uint32_t sequence)
{
    for (uint32_t q = 0; q < SIM_SEQUENCES; q++) {
        const struct sim_branch *b = &s->engine.branches[q];
        if (b->state != SIM_FREE && b->shared > 0 && b->parent == sequence)
            return true;
    }
    return false;
}

static uint64_t with_parents(const struct sim *s, uint32_t sequence)
{
    uint64_t set = bit_of(sequence);
    while (s->engine.branches[sequence].shared > 0)
        set |= bit_of(sequence = s->engine.branches[sequence].parent);
    return set;
}

static void event(struct sim *s, enum hd_event_type type, uint32_t sequence)
{
    struct hd_event ev = {.type = type, .sequence = sequence};
    sim_leader_event(s, &ev);
}

static void close_branch(struct sim *s, uint32_t sequence)
{
    s->engine.branches[sequence] = (struct sim_branch){0};
    event(s, HD_EV_SEQ_CLOSE, sequence);
}

/* One of these that no request needs, without children; SIM_SEQUENCES: there is none. */
static uint32_t spare_of(const struct sim *s, uint64_t set)
{
    for (uint32_t q = 0; q < SIM_SEQUENCES; q++)
        if (set >> q & 1 && s->engine.branches[q].state == SIM_KEPT &&
            !sim_branch_has_children(s, q))
            return q;
    return SIM_SEQUENCES;
}

static uint32_t number(struct sim *s, uint64_t but)
{
    for (uint32_t q = 0; q < SIM_SEQUENCES; q++)
        if (s->engine.branches[q].state == SIM_FREE)
            return q;
    uint32_t q = spare_of(s, ~but);
    if (q < SIM_SEQUENCES) {
        s->evicted++;
        close_branch(s, q);
    }
    return q;
}

static uint32_t common(const struct sim_branch *b, const struct sim_request *r)
{
    uint32_t n = 0;
    if (b->state == SIM_FREE || b->doomed || (b->of && b->of->wrong))
        return 0;
    while (n < rows_of(b) && n + 1 < r->n_tokens &&
           sim_branch_token(b, n) == sim_embed(r, n, r->tokens[n]))
        n++;
    return n;
}

/* To be gone on with; of an earlier leader's rows also if the last few of them are too many. */
static bool is_whole(const struct sim *s, uint32_t q, const struct sim_request *r, uint32_t n)
{
    const struct sim_branch *b = &s->engine.branches[q];
    bool nearly = b->tail > 0 && n + 1 == r->n_tokens && n > b->shared && b->done - n < 5 &&
                  !sim_branch_has_children(s, q);
    return b->state == SIM_KEPT && (n == b->done || nearly);
}

/* Rows that there may be behind are those of the request, too. */
static bool has_same_tail(const struct sim_branch *b, const struct sim_request *r, uint32_t n)
{
    while (n < b->tail && n < r->n_tokens && b->x[n] == sim_embed(r, n, r->tokens[n]))
        n++;
    return n >= b->tail;
}

static void run(struct sim *s, struct sim_request *r, uint32_t sequence)
{
    struct sim_branch *b = &s->engine.branches[sequence];
    b->state = SIM_RUNS;
    b->of = r;
    b->lineage |= bit_of(sequence);
    r->sequence = (int)sequence;
    r->lineage |= b->lineage;
}

static bool fork_or_open(struct sim *s, struct sim_request *r, uint32_t parent, uint32_t shared)
{
    uint32_t q = number(s, shared ? with_parents(s, parent) : 0);
    if (q == SIM_SEQUENCES)
        return false;
    /* What has been closed for it may have closed others. */
    if (shared > 0 && common(&s->engine.branches[parent], r) < shared)
        return fork_or_open(s, r, 0, 0);
    r->done = shared;
    if (shared > 0) {
        s->engine.branches[q] = (struct sim_branch){
            .parent = parent, .shared = shared, .lineage = s->engine.branches[parent].lineage};
        run(s, r, q);
        s->forks++;
        struct hd_event ev = {.type = HD_EV_SEQ_FORK, .fork = {q, parent, shared}};
        sim_leader_event(s, &ev);
    } else {
        s->engine.branches[q] = (struct sim_branch){0};
        run(s, r, q);
        event(s, HD_EV_SEQ_OPEN, q);
    }
    return true;
}

bool sim_branch_begin(struct sim *s, struct sim_request *r)
{
    uint32_t best = 0, shared = 0;
    for (uint32_t q = 0; q < SIM_SEQUENCES; q++) {
        const struct sim_branch *b = &s->engine.branches[q];
        uint32_t n = common(b, r);
        if (n > shared && (n > b->shared || is_whole(s, q, r, n))) {
            best = q;
            shared = n;
        }
    }
    const struct sim_branch *b = &s->engine.branches[best];
    if (shared > 0 && is_whole(s, best, r, shared)) {
        bool same = has_same_tail(b, r, shared);
        r->done = shared;
        r->sent = b->tail;
        s->engine.branches[best].tail = 0;
        s->engine.branches[best].done = shared;
        run(s, r, best);
        s->resumed++;
        sim_note(s, "goes on", best, shared);
        event(s, HD_EV_SEQ_TAKEN, best);
        if (!same)
            sim_engine_cut(s, r, best, shared);
        return true;
    }
    return fork_or_open(s, r, best, shared);
}

void sim_branch_end(struct sim *s, uint32_t sequence, bool keep)
{
    struct sim_branch *b = &s->engine.branches[sequence];
    for (uint32_t p = 0; p < b->of->done; p++)
        b->x[p] = sim_branch_token(b, p);
    b->done = b->of->done;
    if (!sim_branch_has_children(s, sequence) &&
        (!keep || b->done <= b->shared || sim_chance(s, 25))) {
        close_branch(s, sequence);
        return;
    }
    sim_engine_cut(s, b->of, sequence, b->done);
    b->state = SIM_KEPT;
    event(s, HD_EV_SEQ_KEPT, sequence);
}

void sim_branch_forget(struct sim *s, uint64_t sequences)
{
    uint64_t set = sequences;
    for (uint32_t q = 0; q < SIM_SEQUENCES; q++)
        if (s->engine.branches[q].state != SIM_FREE && with_parents(s, q) & sequences)
            set |= bit_of(q);
    uint32_t q;
    while ((q = spare_of(s, set)) < SIM_SEQUENCES) {
        s->forgot++;
        close_branch(s, q);
    }
}

void sim_branch_doom(struct sim *s, uint64_t sequences)
{
    for (uint32_t q = 0; q < SIM_SEQUENCES; q++)
        if (sequences >> q & 1 && s->engine.branches[q].state == SIM_KEPT)
            s->engine.branches[q].doomed = true;
}

void sim_branch_restart(struct sim *s, uint64_t sequences)
{
    for (uint32_t q = 0; q < SIM_SEQUENCES; q++)
        if (sequences >> q & 1 && s->engine.branches[q].state == SIM_RUNS)
            s->engine.branches[q].shared = 0;
    sim_branch_forget(s, sequences);
}
