/* cache.c - requests begin with rows that are there, and leave theirs behind.
 *
 * A request that is let in looks for the branch with the most of its prompt (prefixes.h): it goes
 * on with one that is kept and whole, or begins as a fork of it. If a running one is about to have
 * more, it waits for that: the rows are computed once. When it ends its sequence is kept; kept ones
 * that no request needs are closed, the last used first, when there are too many, when a request
 * wants their room or their number, when a worker is lost and would have to rebuild them
 * (hd_engine_forget), and when they may be wrong. So nothing is ever refused for their sake. */
#include "leader/engine/engine_impl.h"

#include <stdlib.h>

static uint64_t bit_of(uint32_t sequence)
{
    return UINT64_C(1) << sequence;
}

/* Of a model whose long sequences rotate otherwise than short ones no rows are shared: one may
 * become long. */
bool hd_cache_is_on(const struct hd_engine *e)
{
    return e->limit.cached > 0 && e->o.model->long_from == 0;
}

/* ---- Closing ----*/

static void evict(struct hd_engine *e, uint32_t sequence)
{
    free((void *)e->prefixes.of[sequence].tokens);
    hd_prefixes_close(&e->prefixes, sequence);
    e->stats.evictions++;
    e->o.ops.sequence_close(e->o.ops.arg, sequence);
}

/* Of the set, as far as it can go: the first to go. What follows from a close may close others. */
static uint32_t next_of(const struct hd_engine *e, uint64_t set)
{
    return hd_prefixes_oldest(&e->prefixes, set & hd_prefixes_spare(&e->prefixes));
}

static void evict_all(struct hd_engine *e, uint64_t set)
{
    uint32_t s;
    while ((s = next_of(e, set)) != HD_NO_SEQUENCE)
        evict(e, s);
}

void hd_cache_trim(struct hd_engine *e)
{
    uint32_t s;
    while (e->prefixes.kept > e->limit.cached && (s = next_of(e, UINT64_MAX)) != HD_NO_SEQUENCE)
        evict(e, s);
}

void hd_engine_will_forget(struct hd_engine *e, uint64_t sequences)
{
    for (uint32_t s = 0; s < HD_MAX_SEQUENCES; s++)
        if (sequences >> s & 1 && e->prefixes.of[s].state == HD_BRANCH_KEPT)
            e->prefixes.of[s].doomed = true;
}

void hd_engine_forget(struct hd_engine *e, uint64_t sequences)
{
    evict_all(e, hd_prefixes_with_children(&e->prefixes, sequences));
}

void hd_cache_free(struct hd_engine *e)
{
    for (uint64_t left = hd_prefixes_in(&e->prefixes, HD_BRANCH_KEPT); left; left &= left - 1)
        free((void *)e->prefixes.of[__builtin_ctzll(left)].tokens);
}

/* ---- Room ----*/

/* What it would take to let a request in with these rows. */
struct entry {
    struct hd_prefix_match m;
    uint64_t evictable; /* sequences that could go for it */
    uint64_t more;      /* positions that it comes to hold beside those that are there */
};

static struct entry entry_of(const struct hd_engine *e, const struct hd_request *r,
                             const struct hd_prefix_match *m)
{
    struct entry in = {.m = *m, .evictable = hd_prefixes_spare(&e->prefixes)};
    if (m->sequence != HD_NO_SEQUENCE)
        in.evictable &= ~hd_prefixes_with_parents(&e->prefixes, bit_of(m->sequence));
    in.more = r->capacity - m->positions;
    return in;
}

static bool fits(const struct hd_engine *e, uint64_t more, uint64_t gone)
{
    uint64_t positions = e->live_positions + e->prefixes.kept - gone + more;
    return positions <= e->limit.logged && positions <= e->limit.held;
}

static uint32_t free_sequence(const struct hd_engine *e)
{
    for (uint32_t i = 0; i < e->o.sequences; i++)
        if (e->prefixes.of[i].state == HD_BRANCH_FREE)
            return i;
    return HD_NO_SEQUENCE;
}

static bool has_number(const struct hd_engine *e, const struct entry *in)
{
    return in->m.whole || in->evictable || free_sequence(e) != HD_NO_SEQUENCE;
}

static bool has_room(const struct hd_engine *e, const struct entry *in)
{
    return fits(e, in->more, hd_prefixes_positions(&e->prefixes, in->evictable));
}

static bool lacks(const struct hd_engine *e, const struct entry *in)
{
    return !fits(e, in->more, 0) || (!in->m.whole && free_sequence(e) == HD_NO_SEQUENCE);
}

/* As much as it needs goes, of what may go. False: what it was to begin with has gone, too. */
static bool make_room(struct hd_engine *e, const struct entry *in)
{
    uint32_t s;
    while (lacks(e, in) && (s = next_of(e, in->evictable)) != HD_NO_SEQUENCE)
        evict(e, s);
    const struct hd_branch *b = in->m.positions ? &e->prefixes.of[in->m.sequence] : NULL;
    return !b || (b->state != HD_BRANCH_FREE && !b->doomed);
}

/* ---- Beginning ----*/

/* What comes out of every row of its prompt goes into the answer. */
static bool wants_all_rows(const struct hd_request *r)
{
    return r->o.prompt_logprobs || r->o.pooling == HD_POOLING_MEAN;
}

/* Rows that there may be behind `n` are those that the request would have there. */
static bool has_same_tail(const struct hd_branch *b, const struct hd_request *r, uint32_t n)
{
    while (n < b->tail && n < r->n_tokens && b->tokens[n] == r->tokens[n])
        n++;
    return n >= b->tail;
}

static void begin(struct hd_engine *e, struct hd_request *r, const struct hd_prefix_match *m)
{
    struct hd_branch *b;
    if (m->whole) {
        r->sequence = m->sequence;
        b = &e->prefixes.of[r->sequence];
        bool same = has_same_tail(b, r, m->positions);
        free((void *)b->tokens);
        r->sent = b->tail; /* workers may have so many rows */
        hd_prefixes_shorten(&e->prefixes, r->sequence, m->positions);
        hd_prefixes_resume(&e->prefixes, r->sequence);
        e->o.ops.sequence_kept(e->o.ops.arg, r->sequence, false);
        if (!same)
            hd_request_cut(e, r, m->positions);
    } else {
        r->sequence = free_sequence(e);
        b = hd_prefixes_open(&e->prefixes, r->sequence, m);
        b->scope = r->o.cache_scope;
        if (b->shared > 0)
            e->o.ops.sequence_fork(e->o.ops.arg, r->sequence, b->parent, b->shared);
        else
            e->o.ops.sequence_open(e->o.ops.arg, r->sequence, r->capacity);
    }
    b->tokens = r->tokens;
    b->coming = r->n_tokens;
    r->done = r->reused = m->positions;
    r->lineage |= b->lineage;
    e->live_positions += r->capacity - b->shared;
    if (hd_cache_is_on(e) && !wants_all_rows(r))
        e->stats.asked_tokens += r->n_tokens;
    e->stats.reused_tokens += r->reused;
}

static struct hd_prefix_match match(const struct hd_engine *e, const struct hd_request *r)
{
    struct hd_prefix_match none = {.sequence = HD_NO_SEQUENCE};
    struct hd_prefix_ask ask = {r->tokens, r->n_tokens - 1, r->o.cache_scope};
    if (!hd_cache_is_on(e) || wants_all_rows(r))
        return none;
    return hd_prefixes_match(&e->prefixes, &ask);
}

enum hd_cache_begins hd_cache_begin(struct hd_engine *e, struct hd_request *r)
{
    struct hd_prefix_match none = {.sequence = HD_NO_SEQUENCE}, m = match(e, r);
    if (m.coming)
        return HD_CACHE_COMING;
    struct entry in = entry_of(e, r, &m);
    if (!has_room(e, &in) || !has_number(e, &in))
        in = entry_of(e, r, &none); /* what stays only for the match may go then */
    if (!has_number(e, &in) || (!has_room(e, &in) && e->n_running > 0))
        return HD_CACHE_FULL;
    if (!make_room(e, &in))
        return hd_cache_begin(e, r); /* there is less each time */
    begin(e, r, &in.m);
    return HD_CACHE_BEGUN;
}

/* ---- Ending ----*/

static bool is_worth_keeping(const struct hd_engine *e, const struct hd_request *r)
{
    const struct hd_branch *b = &e->prefixes.of[r->sequence];
    return hd_cache_is_on(e) && !b->doomed && !r->failed && !r->suspect && !r->bad &&
           r->done >= HD_PREFIX_BLOCK && r->done > b->shared;
}

void hd_cache_end(struct hd_engine *e, struct hd_request *r)
{
    struct hd_branch *b = &e->prefixes.of[r->sequence];
    bool keep = is_worth_keeping(e, r),
         needed = hd_prefixes_has_children(&e->prefixes, r->sequence);
    e->live_positions -= r->capacity - b->shared;
    if (!keep && !needed) {
        hd_prefixes_close(&e->prefixes, r->sequence);
        e->o.ops.sequence_close(e->o.ops.arg, r->sequence);
    } else {
        b->doomed = b->doomed || !keep;
        hd_request_cut(e, r, r->done); /* of a step that was given up */
        hd_prefixes_keep(&e->prefixes, r->sequence, r->done);
        r->tokens = NULL; /* the branch's */
        e->o.ops.sequence_kept(e->o.ops.arg, r->sequence, true);
    }
    evict_all(e, hd_cache_doomed(e));
    hd_cache_trim(e);
}

void hd_cache_committed(struct hd_engine *e, const struct hd_request *r)
{
    e->prefixes.of[r->sequence].n = r->done;
}

void hd_cache_restart(struct hd_engine *e, struct hd_request *r)
{
    e->live_positions += e->prefixes.of[r->sequence].shared;
    hd_prefixes_restart(&e->prefixes, r->sequence);
    r->sent = 0; /* workers drop them */
}

/* ---- Doubt ----*/

uint64_t hd_cache_doomed(const struct hd_engine *e)
{
    uint64_t set = 0;
    for (uint32_t s = 0; s < HD_MAX_SEQUENCES; s++)
        set |= e->prefixes.of[s].doomed ? bit_of(s) : 0;
    return set;
}

void hd_cache_doom(struct hd_engine *e, uint64_t sequences)
{
    for (uint32_t s = 0; s < HD_MAX_SEQUENCES; s++)
        if (e->prefixes.of[s].state != HD_BRANCH_FREE && e->prefixes.of[s].lineage & sequences)
            e->prefixes.of[s].doomed = true;
    evict_all(e, hd_cache_doomed(e));
}
