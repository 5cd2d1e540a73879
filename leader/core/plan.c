/* plan.c - lists of owners; giving units away moves as few as possible. */
#include "leader/core/plan.h"

#include <stdlib.h>
#include <string.h>

int hd_plan_init(struct hd_plan *p, const uint32_t count[HD_UNIT_KINDS])
{
    *p = (struct hd_plan){0};
    for (int k = 0; k < HD_UNIT_KINDS; k++) {
        p->count[k] = count[k];
        p->owner[k] = malloc((size_t)count[k] + 1); /* a model may have no unit of a kind */
        if (!p->owner[k]) {
            hd_plan_deinit(p);
            return HD_E_NOMEM;
        }
        memset(p->owner[k], HD_NOBODY, count[k]);
    }
    return 0;
}

void hd_plan_deinit(struct hd_plan *p)
{
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        free(p->owner[k]);
    *p = (struct hd_plan){0};
}

void hd_plan_copy(struct hd_plan *to, const struct hd_plan *from)
{
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        memcpy(to->owner[k], from->owner[k], from->count[k]);
}

void hd_plan_clear(struct hd_plan *p)
{
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        memset(p->owner[k], HD_NOBODY, p->count[k]);
}

uint32_t hd_plan_owned(const struct hd_plan *p, enum hd_unit_kind kind, unsigned slot,
                       uint32_t *list)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->count[kind]; i++) {
        if (p->owner[kind][i] != slot)
            continue;
        if (list)
            list[n] = i;
        n++;
    }
    return n;
}

uint64_t hd_plan_owners(const struct hd_plan *p, enum hd_unit_kind kind)
{
    uint64_t owners = 0;
    for (uint32_t i = 0; i < p->count[kind]; i++)
        if (p->owner[kind][i] != HD_NOBODY)
            owners |= UINT64_C(1) << p->owner[kind][i];
    return owners;
}

bool hd_plan_complete(const struct hd_plan *p, uint64_t workers)
{
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        for (uint32_t i = 0; i < p->count[k]; i++)
            if (p->owner[k][i] == HD_NOBODY || !(workers >> p->owner[k][i] & 1))
                return false;
    return true;
}

static void give_exact(struct hd_plan *p, const struct hd_plan *ideal, int kind, uint64_t to)
{
    for (uint32_t u = 0; u < p->count[kind]; u++) {
        uint8_t owner = ideal->owner[kind][u];
        if (owner != HD_NOBODY && to >> owner & 1)
            p->owner[kind][u] = owner;
    }
}

/* The worker that owns the most beyond its ideal share; -1 when nobody does. */
static int richest(const struct hd_plan *p, const struct hd_plan *ideal, enum hd_unit_kind kind)
{
    int best = -1;
    uint32_t most = 0;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        uint32_t has = hd_plan_owned(p, kind, s, NULL);
        uint32_t fair = hd_plan_owned(ideal, kind, s, NULL);
        if (has <= fair || has - fair <= most)
            continue;
        most = has - fair;
        best = (int)s;
    }
    return best;
}

static void move_last(struct hd_plan *p, enum hd_unit_kind kind, unsigned from, unsigned to)
{
    uint32_t u = p->count[kind];
    while (u-- > 0)
        if (p->owner[kind][u] == from) {
            p->owner[kind][u] = (uint8_t)to;
            return;
        }
}

static void give_number(struct hd_plan *p, const struct hd_plan *ideal, enum hd_unit_kind kind,
                        uint64_t to)
{
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        if (!(to >> s & 1))
            continue;
        uint32_t fair = hd_plan_owned(ideal, kind, s, NULL);
        while (hd_plan_owned(p, kind, s, NULL) < fair) {
            int from = richest(p, ideal, kind);
            if (from < 0)
                return;
            move_last(p, kind, (unsigned)from, s);
        }
    }
}

void hd_plan_give(struct hd_plan *p, const struct hd_plan *ideal, uint64_t to, bool exact)
{
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        if (exact)
            give_exact(p, ideal, k, to);
        else
            give_number(p, ideal, k, to);
}
