/* drafts.c - what guesses are worth, and which of them a step takes. */
#include "leader/engine/drafts.h"

#include "common/text/grammar.h"
#include "common/util/clock.h"
#include "leader/engine/engine_impl.h"

#include <math.h>

/* Guesses of a class are right so often before anything is known, with the weight of so many; the
 * classes are matches of 1, 2, 3, 4 and 5, 6 to 9, 10 and more tokens, and what a grammar forces.
 */
static const double expected[HD_DRAFT_CLASSES] = {0.12, 0.25, 0.4, 0.55, 0.7, 0.85, 0.95};
#define PRIOR_OF_ALL 8.0
#define PRIOR        2.0
#define FADE_OF_ALL  0.99 /* what a guess leaves of those before it */
#define FADE         0.9
#define US_SHARE     0.125 /* of a new time in the one that is known */
#define ROW_COST     0.03  /* of a step, for a row more, before anything is known */
#define WORTH        1.02  /* times as many tokens a second at least */
#define FORCED       (HD_DRAFT_CLASSES - 1)
#define LEAST_ODDS   0.02 /* less likely guesses are not looked at */

static unsigned class_of(uint32_t length)
{
    return length < 4 ? length - 1 : length < 6 ? 3 : length < 10 ? 4 : 5;
}

void hd_drafts_deinit(struct hd_drafts *d)
{
    hd_ngrams_deinit(&d->ngrams);
}

/* ---- How likely ----*/

static double odds_of(const struct hd_engine *e, const struct hd_request *r)
{
    unsigned k = r->drafts.kind;
    const struct hd_draft_odds *all = &e->speculation.odds[k], *own = &r->drafts.odds[k];
    double usual = (all->right + PRIOR_OF_ALL * expected[k]) / (all->all + PRIOR_OF_ALL);
    return (own->right + PRIOR * usual) / (own->all + PRIOR);
}

static void note(struct hd_draft_odds *o, double fade, uint32_t right, uint32_t wrong)
{
    double keep = pow(fade, right + wrong);
    o->right = o->right * keep + right;
    o->all = o->all * keep + right + wrong;
}

void hd_drafts_judge(struct hd_engine *e, struct hd_request *r, uint32_t right, bool ended)
{
    unsigned k = r->drafts.kind;
    uint32_t wrong = right < r->drafts.n && !ended;
    note(&e->speculation.odds[k], FADE_OF_ALL, right, wrong);
    note(&r->drafts.odds[k], FADE, right, wrong);
    e->stats.drafted += r->drafts.n;
    e->stats.accepted += right;
    r->drafts.n = 0;
}

/* ---- How long ----*/

static uint32_t slot_of(size_t rows)
{
    return rows < HD_DRAFT_ROWS ? (uint32_t)rows : HD_DRAFT_ROWS;
}

void hd_drafts_begun(struct hd_engine *e)
{
    struct hd_speculation *s = &e->speculation;
    s->begun_us = hd_now_us();
    s->timed = s->max_rows > 0;
    for (size_t i = 0; i < e->n_rows && s->timed; i++)
        s->timed = e->rows[i].sampled && !e->rows[i].r->o.prompt_logprobs;
}

void hd_drafts_interrupted(struct hd_engine *e)
{
    e->speculation.timed = false;
}

void hd_drafts_ended(struct hd_engine *e)
{
    struct hd_speculation *s = &e->speculation;
    uint32_t rows = slot_of(e->n_rows);
    if (!s->timed)
        return;
    double us = (double)(hd_now_us() - s->begun_us), *known = &s->us[rows];
    *known = *known > 0 ? *known + (us - *known) * US_SHARE : us;
    s->at[rows] = e->stats.steps;
}

/* From the next numbers of rows that are known. */
static double us_of(const struct hd_engine *e, uint32_t rows)
{
    const struct hd_speculation *s = &e->speculation;
    if (e->o.draft_always)
        return 1;
    uint32_t less = rows, more = rows;
    while (less > 0 && s->us[less] <= 0)
        less--;
    while (more < HD_DRAFT_ROWS && s->us[more] <= 0)
        more++;
    double low = s->us[less], high = s->us[more];
    if (low <= 0 && high <= 0)
        return 1 + ROW_COST * rows;
    if (low <= 0)
        return high / (1 + ROW_COST * (more - rows));
    if (high <= 0)
        return low * (1 + ROW_COST * (rows - less));
    return less == more ? low : low + (high - low) * (rows - less) / (more - less);
}

/* ---- Which ----*/

/* Guesses that can be of use: behind each of them a token is wanted. */
static uint32_t room_for(const struct hd_engine *e, const struct hd_request *r)
{
    uint32_t answered = r->n_tokens - r->n_prompt, most = HD_DRAFTS_MOST;
    uint32_t wanted = r->o.max_tokens > answered ? r->o.max_tokens - answered - 1 : 0;
    uint32_t room = r->capacity > r->n_tokens ? r->capacity - r->n_tokens - 1 : 0;
    uint32_t limit = e->o.model->long_from; /* there all begins again */
    most = wanted < most ? wanted : most;
    most = room < most ? room : most;
    if (limit > 0 && r->n_tokens <= limit && limit - r->n_tokens < most)
        most = limit - r->n_tokens;
    return r->o.prompt_logprobs ? 0 : most;
}

/* As many of the n guesses as the request's grammar allows; if it allows none, what must come. */
static uint32_t heed(struct hd_request *r, uint32_t n, uint32_t most)
{
    int32_t *ids = r->tokens + r->n_tokens;
    n = (uint32_t)hd_grammar_allows(r->o.sampling.grammar, ids, n);
    if (n > 0)
        return n;
    r->drafts.kind = FORCED;
    return (uint32_t)hd_grammar_forced(r->o.sampling.grammar, ids, most);
}

/* Returns how many there are. */
static uint32_t guess(struct hd_engine *e, struct hd_request *r)
{
    struct hd_drafts *d = &r->drafts;
    uint32_t most = room_for(e, r), length = 1;
    if (most == 0 || !hd_ngrams_reserve(&d->ngrams, r->capacity))
        return 0;
    uint32_t n =
        hd_ngrams_guess(&d->ngrams, r->tokens, r->n_tokens, r->tokens + r->n_tokens, most, &length);
    d->kind = class_of(length);
    return r->o.sampling.grammar ? heed(r, n, most) : n;
}

/* The guesses of one request that are not taken yet. */
struct offer {
    struct hd_request *r;
    uint32_t n, taken;
    double odds, next; /* of each, if all before it are right; of the next one, at all */
};

/* Rows whose every logit crosses the wire are few. */
static void limit_full(struct offer *offers, size_t n, uint32_t most)
{
    for (size_t i = 0; i < n; i++) {
        if (!hd_sampling_wants_all(&offers[i].r->o.sampling))
            continue;
        offers[i].n = offers[i].n < most ? offers[i].n : most;
        most -= offers[i].n;
    }
}

static size_t list_offers(struct hd_engine *e, struct offer *offers, uint32_t *answering)
{
    size_t n = 0;
    uint32_t full = 0;
    *answering = 0;
    for (struct hd_request *r = e->running; r; r = r->next) {
        r->drafts.n = 0;
        if (!hd_request_answers(r) || *answering == e->o.max_rows)
            continue;
        ++*answering;
        full += hd_sampling_wants_all(&r->o.sampling);
        uint32_t guesses = guess(e, r);
        double odds = guesses > 0 ? odds_of(e, r) : 0;
        if (guesses > 0)
            offers[n++] = (struct offer){.r = r, .n = guesses, .odds = odds, .next = odds};
    }
    limit_full(offers, n, full < HD_MAX_FULL_ROWS ? HD_MAX_FULL_ROWS - full : 0);
    return n;
}

static struct offer *likeliest(struct offer *offers, size_t n)
{
    struct offer *best = NULL;
    for (size_t i = 0; i < n; i++)
        if (offers[i].taken < offers[i].n && offers[i].next > LEAST_ODDS &&
            (!best || offers[i].next > best->next))
            best = &offers[i];
    return best;
}

/* In the order of their odds; as many as give the most tokens for the time. */
static void take(struct hd_engine *e, struct offer *offers, size_t n, uint32_t answering)
{
    struct hd_speculation *s = &e->speculation;
    uint32_t most = e->o.max_rows - answering, order[HD_DRAFT_ROWS];
    double tokens = answering, best = WORTH * tokens / us_of(e, slot_of(answering));
    uint32_t best_rows = 0, rows = 0;
    most = s->max_rows < most ? s->max_rows : most;
    for (struct offer *o; rows < most && rows < HD_DRAFT_ROWS && (o = likeliest(offers, n));) {
        tokens += o->next;
        o->next *= o->odds;
        o->taken++;
        order[rows++] = (uint32_t)(o - offers);
        double value = tokens / us_of(e, slot_of(answering + rows));
        if (value > best) {
            best = value;
            best_rows = rows;
        }
    }
    for (uint32_t i = 0; i < best_rows; i++)
        offers[order[i]].r->drafts.n++;
}

/* One guess of a request that has had none for long: the text may have changed. */
static void try_again(struct offer *offers, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct hd_drafts *d = &offers[i].r->drafts;
        d->spared = d->n > 0 ? 0 : d->spared + 1;
        if (d->spared < HD_DRAFT_PATIENCE || offers[i].n == 0)
            continue;
        d->n = 1;
        d->spared = 0;
        return;
    }
}

void hd_drafts_plan(struct hd_engine *e)
{
    struct hd_speculation *s = &e->speculation;
    struct offer offers[HD_MAX_SEQUENCES];
    uint32_t answering;
    if (s->max_rows == 0)
        return;
    size_t n = list_offers(e, offers, &answering);
    if (n == 0 || (e->o.ops.may_draft && !e->o.ops.may_draft(e->o.ops.arg)))
        return;
    uint32_t plain = slot_of(answering);
    bool known = s->us[plain] > 0 && e->stats.steps - s->at[plain] <= HD_DRAFT_PATIENCE;
    if (!known && !e->o.draft_always)
        return; /* what a step takes without any is measured first */
    take(e, offers, n, answering);
    if (answering < e->o.max_rows)
        try_again(offers, n);
}
