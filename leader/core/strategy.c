/* strategy.c - the table of strategies, what they share, and the two simple ones. */
#include "leader/core/strategy_impl.h"

#include <string.h>

/* ---- What all share ----*/

bool strategy_is_orphan(const struct strategy_fill *f, enum hd_unit_kind kind, uint32_t unit)
{
    uint8_t owner = f->p->owner[kind][unit];
    return owner == HD_NOBODY || !strategy_in(f->in->workers, owner);
}

uint32_t strategy_orphans(const struct strategy_fill *f, enum hd_unit_kind kind)
{
    uint32_t n = 0;
    for (uint32_t u = 0; u < f->p->count[kind]; u++)
        n += strategy_is_orphan(f, kind, u);
    return n;
}

double strategy_cost(const struct strategy_fill *f, enum hd_unit_kind kind)
{
    return f->in->cost[kind] > 0 ? f->in->cost[kind] : 1;
}

int strategy_begin(struct strategy_fill *f, struct hd_plan *p, const struct hd_plan_input *in,
                   struct hd_error *err)
{
    if (in->workers == 0)
        return hd_fail(err, HD_E_STATE, "there is no worker to give work to");
    *f = (struct strategy_fill){.p = p, .in = in};
    f->takers = in->workers & ~in->avoid;
    if (!f->takers)
        f->takers = in->workers;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        for (int k = 0; k < HD_UNIT_KINDS; k++) {
            uint32_t n = hd_plan_owned(p, k, s, NULL);
            f->total[s] += n * strategy_cost(f, k);
            f->bytes[s] += n * in->unit[k].bytes;
        }
    return 0;
}

void strategy_count_owned(struct strategy_fill *f, enum hd_unit_kind kind)
{
    memset(f->quota, 0, sizeof f->quota);
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        f->owned[s] = hd_plan_owned(f->p, kind, s, NULL);
        f->load[s] += f->owned[s] * strategy_cost(f, kind);
    }
}

void strategy_promise(struct strategy_fill *f, enum hd_unit_kind kind, unsigned slot)
{
    f->quota[slot]++;
    f->owned[slot]++;
    f->load[slot] += strategy_cost(f, kind);
    f->total[slot] += strategy_cost(f, kind);
    f->bytes[slot] += f->in->unit[kind].bytes;
}

void strategy_hand_out(struct strategy_fill *f, enum hd_unit_kind kind)
{
    unsigned s = 0;
    for (uint32_t u = 0; u < f->p->count[kind]; u++) {
        if (!strategy_is_orphan(f, kind, u))
            continue;
        while (f->quota[s] == 0)
            s++;
        f->p->owner[kind][u] = (uint8_t)s;
        f->quota[s]--;
    }
}

uint64_t strategy_head_takers(const struct strategy_fill *f)
{
    uint64_t preferred = f->in->preferred & f->in->workers;
    if (preferred & f->takers)
        return preferred & f->takers;
    return preferred ? preferred : f->takers;
}

/* ---- even ----*/

static bool fewer_units(const struct strategy_fill *f, unsigned a, unsigned b)
{
    if (f->owned[a] != f->owned[b])
        return f->owned[a] < f->owned[b];
    return f->total[a] < f->total[b];
}

static bool less_load(const struct strategy_fill *f, unsigned a, unsigned b)
{
    if (f->load[a] != f->load[b])
        return f->load[a] < f->load[b];
    return f->total[a] < f->total[b];
}

/* For one more unit; of whom nothing is known always has. */
static bool has_room(const struct strategy_fill *f, enum hd_unit_kind kind, unsigned slot)
{
    double room = f->in->measured ? f->in->measured[slot].memory : 0;
    return room <= 0 || f->bytes[slot] + f->in->unit[kind].bytes <= room;
}

/* Each unit to the taker that comes before the others, of those that have room if any has. */
static void spread(struct strategy_fill *f, enum hd_unit_kind kind, uint64_t takers,
                   bool (*before)(const struct strategy_fill *, unsigned, unsigned))
{
    strategy_count_owned(f, kind);
    for (uint32_t n = strategy_orphans(f, kind); n > 0; n--) {
        int best = -1;
        bool best_has = false;
        for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
            bool has = has_room(f, kind, s);
            if (!strategy_in(takers, s) || (best >= 0 && has < best_has) ||
                (best >= 0 && has == best_has && !before(f, s, (unsigned)best)))
                continue;
            best = (int)s;
            best_has = has;
        }
        strategy_promise(f, kind, (unsigned)best);
    }
    strategy_hand_out(f, kind);
}

void strategy_spread_heads(struct strategy_fill *f, uint64_t takers)
{
    spread(f, HD_UNIT_HEAD, takers, fewer_units);
}

void strategy_spread_blocks(struct strategy_fill *f)
{
    spread(f, HD_UNIT_FFN, f->takers, less_load);
    spread(f, HD_UNIT_VOCAB, f->takers, less_load);
}

static int even_fill(struct hd_plan *p, const struct hd_plan_input *in, struct hd_error *err)
{
    struct strategy_fill f;
    int rc = strategy_begin(&f, p, in, err);
    if (rc < 0)
        return rc;
    strategy_spread_heads(&f, strategy_head_takers(&f));
    strategy_spread_blocks(&f);
    return 0;
}

/* ---- single ----*/

/* SplitMix64 (Steele, Lea & Flood 2014): every bit of the epoch matters. */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* The worker that the config names, if it may take heads; else one that the epoch picks. */
static unsigned pick_target(const struct strategy_fill *f, uint64_t takers)
{
    const struct hd_plan_input *in = f->in;
    for (unsigned s = 0; s < HD_MAX_WORKERS && in->target && in->target[0]; s++)
        if (strategy_in(takers, s) && in->names[s] && strcmp(in->names[s], in->target) == 0)
            return s;
    unsigned nth = (unsigned)(mix(in->epoch) % (unsigned)__builtin_popcountll(takers));
    while (nth-- > 0)
        takers &= takers - 1;
    return (unsigned)__builtin_ctzll(takers);
}

/* A fresh plan is even: only heads that were lost go to one worker. FFN and vocab blocks hold
 * nothing that would have to be rebuilt; one worker with all of them would only be slow. */
static int single_fill(struct hd_plan *p, const struct hd_plan_input *in, struct hd_error *err)
{
    struct strategy_fill f;
    int rc = strategy_begin(&f, p, in, err);
    if (rc < 0)
        return rc;
    uint64_t takers = strategy_head_takers(&f);
    if (hd_plan_owners(p, HD_UNIT_HEAD))
        takers = UINT64_C(1) << pick_target(&f, takers);
    strategy_spread_heads(&f, takers);
    strategy_spread_blocks(&f);
    return 0;
}

/* ---- The table ----*/

static const struct hd_strategy even = {.name = "even", .fill = even_fill};
static const struct hd_strategy single = {.name = "single", .fill = single_fill};
const struct hd_strategy *const hd_strategies[] = {
    &even, &strategy_fixed, &single, &strategy_weighted, &strategy_bandwidth, NULL};

const struct hd_strategy *hd_strategy_find(const char *name)
{
    for (size_t i = 0; hd_strategies[i]; i++)
        if (strcmp(hd_strategies[i]->name, name) == 0)
            return hd_strategies[i];
    return NULL;
}
