/* prefixes.c - the tree is walked from its roots: what a branch shares with its parent is compared
 * once, as the parent's. */
#include "leader/engine/prefixes.h"

#include <stddef.h>

static uint64_t bit_of(uint32_t sequence)
{
    return UINT64_C(1) << sequence;
}

static uint32_t first_of(uint64_t set)
{
    return (uint32_t)__builtin_ctzll(set);
}

static uint32_t blocks_of(uint32_t positions)
{
    return positions - positions % HD_PREFIX_BLOCK;
}

static bool is_child(const struct hd_branch *b, uint32_t parent)
{
    return b->state != HD_BRANCH_FREE && b->shared > 0 && b->parent == parent;
}

/* ---- Sets ----*/

uint64_t hd_prefixes_in(const struct hd_prefixes *p, enum hd_branch_state state)
{
    uint64_t set = 0;
    for (uint32_t s = 0; s < HD_MAX_SEQUENCES; s++)
        set |= p->of[s].state == state ? bit_of(s) : 0;
    return set;
}

uint64_t hd_prefixes_with_parents(const struct hd_prefixes *p, uint64_t set)
{
    for (uint64_t left = set; left; left &= left - 1)
        for (const struct hd_branch *b = &p->of[first_of(left)]; b->shared > 0;) {
            set |= bit_of(b->parent);
            b = &p->of[b->parent];
        }
    return set;
}

uint64_t hd_prefixes_with_children(const struct hd_prefixes *p, uint64_t set)
{
    uint64_t all = set;
    for (uint32_t s = 0; s < HD_MAX_SEQUENCES; s++)
        if (p->of[s].state != HD_BRANCH_FREE && hd_prefixes_with_parents(p, bit_of(s)) & set)
            all |= bit_of(s);
    return all;
}

bool hd_prefixes_has_children(const struct hd_prefixes *p, uint32_t sequence)
{
    for (uint32_t s = 0; s < HD_MAX_SEQUENCES; s++)
        if (is_child(&p->of[s], sequence))
            return true;
    return false;
}

uint64_t hd_prefixes_spare(const struct hd_prefixes *p)
{
    uint64_t needed = hd_prefixes_with_parents(p, hd_prefixes_in(p, HD_BRANCH_RUNNING));
    return hd_prefixes_in(p, HD_BRANCH_KEPT) & ~needed;
}

/* Is `a` to be closed before `b`? */
static bool goes_before(const struct hd_branch *a, const struct hd_branch *b)
{
    return a->doomed != b->doomed ? a->doomed : a->used < b->used;
}

uint32_t hd_prefixes_oldest(const struct hd_prefixes *p, uint64_t set)
{
    uint32_t oldest = HD_NO_SEQUENCE;
    for (; set; set &= set - 1) {
        uint32_t s = first_of(set);
        if (!hd_prefixes_has_children(p, s) &&
            (oldest == HD_NO_SEQUENCE || goes_before(&p->of[s], &p->of[oldest])))
            oldest = s;
    }
    return oldest;
}

uint64_t hd_prefixes_positions(const struct hd_prefixes *p, uint64_t set)
{
    uint64_t sum = 0;
    for (set &= hd_prefixes_in(p, HD_BRANCH_KEPT); set; set &= set - 1)
        sum += p->of[first_of(set)].n - p->of[first_of(set)].shared;
    return sum;
}

/* ---- Matching ----*/

/* How many of its first tokens a branch has in common with what is asked for: of those with rows,
 * and of those to come. */
struct common {
    bool known;
    uint32_t now, later;
};

static uint32_t count_same(const struct hd_branch *b, const struct hd_prefix_ask *ask,
                           uint32_t from, uint32_t end)
{
    end = end < ask->n ? end : ask->n;
    while (from < end && b->tokens[from] == ask->tokens[from])
        from++;
    return from;
}

static struct common compare(const struct hd_prefixes *p, const struct hd_prefix_ask *ask,
                             uint32_t sequence, struct common *list)
{
    const struct hd_branch *b = &p->of[sequence];
    struct common *c = &list[sequence];
    if (c->known)
        return *c;
    uint32_t from = b->shared;
    c->known = true;
    if (from > 0)
        from = compare(p, ask, b->parent, list).now;
    if (from < b->shared) {
        c->now = c->later = from;
        return *c;
    }
    uint32_t end = b->coming > b->n ? b->coming : b->n;
    c->later = count_same(b, ask, b->shared, end);
    c->now = c->later < b->n ? c->later : b->n;
    return *c;
}

/* A kept one, to be gone on with: with all its rows, or, if they are of an earlier leader, with
 * nearly all of them: that one was a few tokens further. What is behind goes. */
static bool is_whole(const struct hd_prefixes *p, const struct hd_prefix_ask *ask,
                     uint32_t sequence, uint32_t positions)
{
    const struct hd_branch *b = &p->of[sequence];
    bool nearly = b->tail > 0 && positions == ask->n && positions > b->shared &&
                  b->n - positions < HD_PREFIX_BLOCK && !hd_prefixes_has_children(p, sequence);
    return b->state == HD_BRANCH_KEPT && (positions == b->n || nearly);
}

/* A fork in what its parent shares itself would be the parent's parent's. */
static uint32_t usable(const struct hd_prefixes *p, const struct hd_prefix_ask *ask,
                       uint32_t sequence, uint32_t positions)
{
    const struct hd_branch *b = &p->of[sequence];
    if (is_whole(p, ask, sequence, positions))
        return positions;
    return blocks_of(positions) > b->shared ? blocks_of(positions) : 0;
}

struct hd_prefix_match hd_prefixes_match(const struct hd_prefixes *p,
                                         const struct hd_prefix_ask *ask)
{
    struct hd_prefix_match m = {.sequence = HD_NO_SEQUENCE};
    struct common list[HD_MAX_SEQUENCES] = {{0}};
    uint32_t later = 0;
    for (uint32_t s = 0; s < HD_MAX_SEQUENCES; s++) {
        const struct hd_branch *b = &p->of[s];
        if (b->state == HD_BRANCH_FREE || b->doomed || b->scope != ask->scope)
            continue;
        struct common c = compare(p, ask, s, list);
        uint32_t now = usable(p, ask, s, c.now);
        later = blocks_of(c.later) > later ? blocks_of(c.later) : later;
        if (now > m.positions)
            m = (struct hd_prefix_match){
                .sequence = s, .positions = now, .whole = is_whole(p, ask, s, now)};
    }
    m.coming = later > m.positions;
    return m;
}

/* ---- What happens ----*/

static void touch(struct hd_prefixes *p, uint32_t sequence)
{
    p->clock++;
    for (uint64_t left = hd_prefixes_with_parents(p, bit_of(sequence)); left; left &= left - 1)
        p->of[first_of(left)].used = p->clock;
}

struct hd_branch *hd_prefixes_open(struct hd_prefixes *p, uint32_t sequence,
                                   const struct hd_prefix_match *m)
{
    struct hd_branch *b = &p->of[sequence];
    *b = (struct hd_branch){.state = HD_BRANCH_RUNNING, .lineage = bit_of(sequence)};
    if (m->positions > 0) {
        b->parent = m->sequence;
        b->shared = b->n = m->positions;
        b->lineage |= p->of[m->sequence].lineage;
    }
    touch(p, sequence);
    return b;
}

void hd_prefixes_resume(struct hd_prefixes *p, uint32_t sequence)
{
    p->kept -= p->of[sequence].n - p->of[sequence].shared;
    p->of[sequence].state = HD_BRANCH_RUNNING;
    p->of[sequence].tail = 0;
    touch(p, sequence);
}

void hd_prefixes_keep(struct hd_prefixes *p, uint32_t sequence, uint32_t n)
{
    struct hd_branch *b = &p->of[sequence];
    b->state = HD_BRANCH_KEPT;
    b->n = n;
    b->coming = 0;
    p->kept += b->n - b->shared;
    touch(p, sequence);
}

void hd_prefixes_shorten(struct hd_prefixes *p, uint32_t sequence, uint32_t n)
{
    p->kept -= p->of[sequence].n - n;
    p->of[sequence].n = n;
}

void hd_prefixes_close(struct hd_prefixes *p, uint32_t sequence)
{
    struct hd_branch *b = &p->of[sequence];
    p->kept -= b->state == HD_BRANCH_KEPT ? b->n - b->shared : 0;
    *b = (struct hd_branch){0};
}

void hd_prefixes_restart(struct hd_prefixes *p, uint32_t sequence)
{
    p->of[sequence].shared = p->of[sequence].n = 0;
}

const char *hd_prefixes_check(const struct hd_prefixes *p)
{
    uint64_t kept = 0;
    for (uint32_t s = 0; s < HD_MAX_SEQUENCES; s++) {
        const struct hd_branch *b = &p->of[s], *parent = &p->of[b->parent];
        if (b->state == HD_BRANCH_FREE)
            continue;
        kept += b->state == HD_BRANCH_KEPT ? b->n - b->shared : 0;
        if (b->n < b->shared)
            return "a branch has what it shares";
        if (b->shared > 0 && (parent->state == HD_BRANCH_FREE || parent->n < b->shared))
            return "a parent has what its children share";
        if (b->shared > 0 && parent->shared >= b->shared)
            return "a child shares more than its parent does";
        if (b->shared % HD_PREFIX_BLOCK)
            return "whole blocks are shared";
    }
    return kept == p->kept ? NULL : "kept positions are counted";
}
