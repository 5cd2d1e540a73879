/* adopt.c - rows that workers have kept of a leader before this one, or of this one while it had
 * lost them, become branches (prefixes.h) that requests begin with like any others.
 *
 * A row is a function of the tokens up to its own, so what a worker has is known by the tokens that
 * it names; what two name must agree. A sequence has as many positions as all of them have; behind
 * these some may have rows already, of the step that was interrupted. Whoever goes on with the same
 * tokens computes the same ones, so that does no harm; for anybody else they are in the way. */
#include "leader/engine/engine_impl.h"

#include <stdlib.h>
#include <string.h>

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t end_of(const struct hd_kept_rows *k)
{
    return k->shared + k->n_tokens;
}

/* How many of the branch's first `n` tokens the worker names too. */
static uint32_t count_same(const struct hd_branch *b, const struct hd_kept_rows *k, uint32_t n)
{
    uint32_t at = k->shared, end = least(n, end_of(k));
    while (at < end && b->tokens[at] == k->tokens[at - k->shared])
        at++;
    return at;
}

static bool shares_as(const struct hd_branch *b, const struct hd_kept_rows *k)
{
    return b->shared == k->shared && (k->shared == 0 || b->parent == k->parent) &&
           b->scope == k->scope;
}

static void tell(struct hd_engine *e, uint32_t sequence)
{
    const struct hd_branch *b = &e->prefixes.of[sequence];
    struct hd_kept_rows k = {
        .sequence = sequence, .parent = b->parent, .shared = b->shared, .positions = b->n};
    e->o.ops.sequence_adopt(e->o.ops.arg, &k);
}

/* The row of the last token may be on its way: whoever goes on computes at least that one again. */
static uint32_t positions_of(const struct hd_kept_rows *k)
{
    return least(k->positions, end_of(k) - 1);
}

/* ---- The first worker that has it ----*/

static bool is_usable(const struct hd_engine *e, const struct hd_kept_rows *k)
{
    const struct hd_branch *parent = &e->prefixes.of[k->parent];
    if (!hd_cache_is_on(e) || positions_of(k) < k->shared + HD_PREFIX_BLOCK)
        return false;
    return k->shared == 0 || (parent->state == HD_BRANCH_KEPT && parent->n >= k->shared &&
                              parent->shared < k->shared && parent->scope == k->scope);
}

static bool begin(struct hd_engine *e, const struct hd_kept_rows *k)
{
    int32_t *tokens = is_usable(e, k) ? malloc(end_of(k) * sizeof *tokens) : NULL;
    if (!tokens)
        return false;
    if (k->shared > 0)
        memcpy(tokens, e->prefixes.of[k->parent].tokens, k->shared * sizeof *tokens);
    memcpy(tokens + k->shared, k->tokens, k->n_tokens * sizeof *tokens);
    struct hd_prefix_match m = {.sequence = k->parent, .positions = k->shared};
    struct hd_branch *b = hd_prefixes_open(&e->prefixes, k->sequence, &m);
    b->tokens = tokens;
    b->scope = k->scope;
    hd_prefixes_keep(&e->prefixes, k->sequence, positions_of(k));
    b->tail = end_of(k);
    tell(e, k->sequence);
    return true;
}

/* ---- Another one has it, too ----*/

static bool extend(struct hd_branch *b, const struct hd_kept_rows *k)
{
    if (end_of(k) <= b->tail)
        return true;
    int32_t *more = realloc((void *)b->tokens, end_of(k) * sizeof *more);
    if (!more)
        return false;
    memcpy(more + b->tail, k->tokens + (b->tail - k->shared), (end_of(k) - b->tail) * sizeof *more);
    b->tokens = more;
    b->tail = end_of(k);
    return true;
}

/* A kept branch has no more positions than each has who has any. */
static bool agree(struct hd_engine *e, const struct hd_kept_rows *k)
{
    struct hd_branch *b = &e->prefixes.of[k->sequence];
    uint32_t tail = b->tail > b->n ? b->tail : b->n, same = count_same(b, k, tail);
    uint32_t n = least(least(b->n, same), positions_of(k));
    if (!shares_as(b, k) || same < least(tail, end_of(k)) || !extend(b, k))
        return false; /* behind what they have in common each would have rows of its own */
    if (n < b->shared + HD_PREFIX_BLOCK ||
        (n < b->n && hd_prefixes_has_children(&e->prefixes, k->sequence)))
        return false;
    hd_prefixes_shorten(&e->prefixes, k->sequence, n);
    tell(e, k->sequence);
    return true;
}

/* It is this leader's own: the worker may have fewer rows, and none that this one has not sent. */
static bool is_ours(const struct hd_branch *b, const struct hd_kept_rows *k, uint32_t sent)
{
    return shares_as(b, k) && end_of(k) <= sent && count_same(b, k, sent) == end_of(k);
}

static bool keeps_ours(struct hd_engine *e, const struct hd_kept_rows *k)
{
    const struct hd_branch *b = &e->prefixes.of[k->sequence];
    for (const struct hd_request *r = e->running; r; r = r->next)
        if (r->sequence == k->sequence)
            return is_ours(b, k, r->sent > r->done ? r->sent : r->done);
    return b->tail == 0 && is_ours(b, k, b->n);
}

const int32_t *hd_engine_tokens(const struct hd_engine *e, uint32_t sequence, uint32_t *n)
{
    const struct hd_branch *b = &e->prefixes.of[sequence];
    *n = b->n;
    return b->state == HD_BRANCH_FREE ? NULL : b->tokens;
}

uint64_t hd_engine_scope(const struct hd_engine *e, uint32_t sequence)
{
    return e->prefixes.of[sequence].scope;
}

const char *hd_engine_kept_wrong(const struct hd_engine *e, const struct hd_kept_rows *k)
{
    uint32_t most = e->o.context;
    if (k->sequence >= e->o.sequences || k->parent >= e->o.sequences)
        return "SequenceTokens of a sequence that cannot be";
    if (k->n_tokens == 0 || k->shared % HD_PREFIX_BLOCK ||
        (k->shared > 0 && k->parent == k->sequence))
        return "SequenceTokens that are none";
    if (k->shared > most || k->n_tokens > most - k->shared || k->positions > end_of(k))
        return "SequenceTokens of more positions than a sequence has";
    for (uint32_t i = 0; i < k->n_tokens; i++)
        if (k->tokens[i] < 0 || (uint32_t)k->tokens[i] >= e->o.model->shape.vocab)
            return "SequenceTokens with a token that the model has not";
    return NULL;
}

bool hd_engine_adopt(struct hd_engine *e, const struct hd_kept_rows *k)
{
    const struct hd_branch *b = &e->prefixes.of[k->sequence];
    if (b->state != HD_BRANCH_FREE && keeps_ours(e, k)) {
        tell(e, k->sequence);
        return true;
    }
    if (b->state == HD_BRANCH_FREE)
        return begin(e, k);
    if (b->state != HD_BRANCH_KEPT || b->tail == 0)
        return false;
    bool agreed = agree(e, k);
    if (!agreed)
        hd_engine_forget(e, UINT64_C(1) << k->sequence);
    return agreed;
}
