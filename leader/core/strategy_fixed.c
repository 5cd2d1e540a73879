/* strategy_fixed.c - heads as the config's table says. */
#include "leader/core/strategy_impl.h"

#include <string.h>

static int slot_of(const struct hd_plan_input *in, const char *name)
{
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (strategy_in(in->workers, s) && in->names[s] && strcmp(in->names[s], name) == 0)
            return (int)s;
    return -1;
}

static void give_fixed_heads(struct strategy_fill *f)
{
    const struct hd_fixed_table *t = f->in->fixed;
    for (size_t e = 0; t && e < t->n; e++) {
        int slot = slot_of(f->in, t->entries[e].name);
        for (uint32_t i = 0; slot >= 0 && i < t->entries[e].n_heads; i++) {
            uint32_t head = t->entries[e].heads[i];
            if (head >= f->p->count[HD_UNIT_HEAD] || !strategy_is_orphan(f, HD_UNIT_HEAD, head))
                continue;
            f->p->owner[HD_UNIT_HEAD][head] = (uint8_t)slot;
            f->total[slot] += strategy_cost(f, HD_UNIT_HEAD);
        }
    }
}

/* Blocks in proportion to heads, by the method of highest averages (D'Hondt): the next block goes
 * to the worker that would then have the fewest blocks a head. */
static void spread_by_heads(struct strategy_fill *f, enum hd_unit_kind kind, const uint32_t *heads)
{
    strategy_count_owned(f, kind);
    for (uint32_t u = 0; u < f->p->count[kind]; u++) {
        if (!strategy_is_orphan(f, kind, u))
            continue;
        int best = -1;
        for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
            if (!strategy_in(f->takers, s) || heads[s] == 0)
                continue;
            if (best < 0 || (uint64_t)(f->owned[s] + 1) * heads[best] <
                                (uint64_t)(f->owned[best] + 1) * heads[s])
                best = (int)s;
        }
        strategy_promise(f, kind, (unsigned)best);
    }
    strategy_hand_out(f, kind);
}

static int fixed_fill(struct hd_plan *p, const struct hd_plan_input *in, struct hd_error *err)
{
    struct strategy_fill f;
    uint32_t heads[HD_MAX_WORKERS];
    bool any = false;
    int rc = strategy_begin(&f, p, in, err);
    if (rc < 0)
        return rc;
    give_fixed_heads(&f);
    strategy_spread_heads(&f, strategy_head_takers(&f)); /* of workers that are not here */
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        heads[s] = hd_plan_owned(p, HD_UNIT_HEAD, s, NULL);
        any |= strategy_in(f.takers, s) && heads[s] > 0;
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

const struct hd_strategy strategy_fixed = {.name = "fixed", .exact = true, .fill = fixed_fill};
