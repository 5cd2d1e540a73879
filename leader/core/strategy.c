/* strategy.c - the strategies. Each gives the orphans of one kind after the other: it decides how
 * many each worker gets, then hands them out in runs, so that a fresh plan is contiguous. */
#include "leader/core/plan.h"

#include <string.h>

struct fill {
    struct hd_plan *p;
    const struct hd_plan_input *in;
    uint64_t takers;                /* workers that may get orphans */
    uint32_t owned[HD_MAX_WORKERS]; /* units of the present kind, `quota` included */
    uint32_t quota[HD_MAX_WORKERS]; /* orphans it is to get */
    double load[HD_MAX_WORKERS];    /* cost of everything it owns */
};

static bool in_set(uint64_t set, unsigned slot)
{
    return set >> slot & 1;
}

static bool is_orphan(const struct fill *f, enum hd_unit_kind kind, uint32_t unit)
{
    uint8_t owner = f->p->owner[kind][unit];
    return owner == HD_NOBODY || !in_set(f->in->workers, owner);
}

static double cost_of(const struct fill *f, enum hd_unit_kind kind)
{
    return f->in->cost[kind] > 0 ? f->in->cost[kind] : 1;
}

static void fill_init(struct fill *f, struct hd_plan *p, const struct hd_plan_input *in)
{
    *f = (struct fill){.p = p, .in = in};
    f->takers = in->workers & ~in->avoid;
    if (!f->takers)
        f->takers = in->workers;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        for (int k = 0; k < HD_UNIT_KINDS; k++)
            f->load[s] += hd_plan_owned(p, k, s, NULL) * cost_of(f, k);
}

static void count_owned(struct fill *f, enum hd_unit_kind kind)
{
    memset(f->quota, 0, sizeof f->quota);
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        f->owned[s] = hd_plan_owned(f->p, kind, s, NULL);
}

static void promise(struct fill *f, enum hd_unit_kind kind, unsigned slot)
{
    f->quota[slot]++;
    f->owned[slot]++;
    f->load[slot] += cost_of(f, kind);
}

/* Give the orphans out in runs: each worker its quota, in the order of slots. */
static void hand_out(struct fill *f, enum hd_unit_kind kind)
{
    unsigned s = 0;
    for (uint32_t u = 0; u < f->p->count[kind]; u++) {
        if (!is_orphan(f, kind, u))
            continue;
        while (f->quota[s] == 0)
            s++;
        f->p->owner[kind][u] = (uint8_t)s;
        f->quota[s]--;
    }
}

/* ---- even ----*/

/* Heads: who has the fewest; among those, who has the least to do. */
static bool fewer_heads(const struct fill *f, unsigned a, unsigned b)
{
    if (f->owned[a] != f->owned[b])
        return f->owned[a] < f->owned[b];
    return f->load[a] < f->load[b];
}

static bool less_load(const struct fill *f, unsigned a, unsigned b)
{
    return f->load[a] < f->load[b];
}

static void spread(struct fill *f, enum hd_unit_kind kind, uint64_t takers,
                   bool (*before)(const struct fill *, unsigned, unsigned))
{
    count_owned(f, kind);
    for (uint32_t u = 0; u < f->p->count[kind]; u++) {
        if (!is_orphan(f, kind, u))
            continue;
        int best = -1;
        for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
            if (in_set(takers, s) && (best < 0 || before(f, s, (unsigned)best)))
                best = (int)s;
        promise(f, kind, (unsigned)best);
    }
    hand_out(f, kind);
}

/* Who may get orphaned heads: those whose logs spare a replay, if there are any. */
static uint64_t head_takers(const struct fill *f)
{
    uint64_t preferred = f->in->preferred & f->in->workers;
    if (preferred & f->takers)
        return preferred & f->takers;
    return preferred ? preferred : f->takers;
}

static int check_input(const struct hd_plan_input *in, struct hd_error *err)
{
    if (in->workers == 0)
        return hd_fail(err, HD_E_STATE, "there is no worker to give work to");
    return 0;
}

static int even_fill(struct hd_plan *p, const struct hd_plan_input *in, struct hd_error *err)
{
    struct fill f;
    int rc = check_input(in, err);
    if (rc < 0)
        return rc;
    fill_init(&f, p, in);
    spread(&f, HD_UNIT_HEAD, head_takers(&f), fewer_heads);
    spread(&f, HD_UNIT_FFN, f.takers, less_load);
    spread(&f, HD_UNIT_VOCAB, f.takers, less_load);
    return 0;
}

/* ---- fixed ----*/

static int slot_of(const struct hd_plan_input *in, const char *name)
{
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (in_set(in->workers, s) && in->names[s] && strcmp(in->names[s], name) == 0)
            return (int)s;
    return -1;
}

static void give_fixed_heads(struct fill *f)
{
    const struct hd_fixed_table *t = f->in->fixed;
    for (size_t e = 0; t && e < t->n; e++) {
        int slot = slot_of(f->in, t->entries[e].name);
        for (uint32_t i = 0; slot >= 0 && i < t->entries[e].n_heads; i++) {
            uint32_t head = t->entries[e].heads[i];
            if (head >= f->p->count[HD_UNIT_HEAD] || !is_orphan(f, HD_UNIT_HEAD, head))
                continue;
            f->p->owner[HD_UNIT_HEAD][head] = (uint8_t)slot;
            f->load[slot] += cost_of(f, HD_UNIT_HEAD);
        }
    }
}

/* Blocks in proportion to heads, by the method of highest averages (D'Hondt): the next block goes
 * to the worker that would then have the fewest blocks a head. */
static void spread_by_heads(struct fill *f, enum hd_unit_kind kind, const uint32_t *heads)
{
    count_owned(f, kind);
    for (uint32_t u = 0; u < f->p->count[kind]; u++) {
        if (!is_orphan(f, kind, u))
            continue;
        int best = -1;
        for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
            if (!in_set(f->takers, s) || heads[s] == 0)
                continue;
            if (best < 0 || (uint64_t)(f->owned[s] + 1) * heads[best] <
                                (uint64_t)(f->owned[best] + 1) * heads[s])
                best = (int)s;
        }
        promise(f, kind, (unsigned)best);
    }
    hand_out(f, kind);
}

static int fixed_fill(struct hd_plan *p, const struct hd_plan_input *in, struct hd_error *err)
{
    struct fill f;
    uint32_t heads[HD_MAX_WORKERS];
    bool any = false;
    int rc = check_input(in, err);
    if (rc < 0)
        return rc;
    fill_init(&f, p, in);
    give_fixed_heads(&f);
    spread(&f, HD_UNIT_HEAD, head_takers(&f), fewer_heads); /* of workers that are not here */
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        heads[s] = hd_plan_owned(p, HD_UNIT_HEAD, s, NULL);
        any |= in_set(f.takers, s) && heads[s] > 0;
    }
    for (unsigned s = 0; s < HD_MAX_WORKERS && !any; s++)
        heads[s] = 1; /* only those that should not get more have heads: share evenly */
    spread_by_heads(&f, HD_UNIT_FFN, heads);
    spread_by_heads(&f, HD_UNIT_VOCAB, heads);
    return 0;
}

static int check_entry(const struct hd_fixed_table *t, size_t at, uint32_t heads, uint8_t *seen,
                       struct hd_error *err)
{
    const struct hd_fixed_entry *e = &t->entries[at];
    for (size_t i = 0; i < at; i++)
        if (strcmp(t->entries[i].name, e->name) == 0)
            return hd_fail(err, HD_E_CONFIG, "worker %s stands twice in the table of heads",
                           e->name);
    for (uint32_t i = 0; i < e->n_heads; i++) {
        uint32_t h = e->heads[i];
        if (h >= heads)
            return hd_fail(err, HD_E_CONFIG, "worker %s: head %u does not exist (0 to %u do)",
                           e->name, h, heads - 1);
        if (seen[h]++)
            return hd_fail(err, HD_E_CONFIG, "worker %s: head %u is given twice; give it once",
                           e->name, h);
    }
    return 0;
}

int hd_fixed_validate(const struct hd_fixed_table *table, uint32_t heads, struct hd_error *err)
{
    uint8_t seen[HD_MAX_WORKERS * 128] = {0}; /* as many as the table can hold */
    if (heads > sizeof seen)
        return hd_fail(err, HD_E_CONFIG, "a table of heads can hold %zu heads, the model has %u",
                       sizeof seen, heads);
    for (size_t i = 0; i < table->n; i++) {
        int rc = check_entry(table, i, heads, seen, err);
        if (rc < 0)
            return rc;
    }
    for (uint32_t h = 0; h < heads; h++)
        if (!seen[h])
            return hd_fail(err, HD_E_CONFIG, "head %u is given to no worker; add it to one", h);
    return 0;
}

/* ---- The table ----*/

static const struct hd_strategy even = {.name = "even", .fill = even_fill};
static const struct hd_strategy fixed = {.name = "fixed", .fill = fixed_fill};
const struct hd_strategy *const hd_strategies[] = {&even, &fixed, NULL};

const struct hd_strategy *hd_strategy_find(const char *name)
{
    for (size_t i = 0; hd_strategies[i]; i++)
        if (strcmp(hd_strategies[i]->name, name) == 0)
            return hd_strategies[i];
    return NULL;
}
