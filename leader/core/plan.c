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
