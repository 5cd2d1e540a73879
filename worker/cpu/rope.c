/* rope.c - grows by doubling, and keeps a seal of the values of each position. */
#include "worker/cpu/rope.h"

#include "worker/seal.h"

#include <stdlib.h>

#define FIRST_POSITIONS                                                                            \
    256 /* room made at first: most conversations fit without a second growth                      \
         */

static size_t position_bytes(const struct hd_rope_table *t)
{
    return t->model->rope_sets * t->model->shape.head_dim * sizeof *t->cs;
}

void hd_rope_table_mend(struct hd_rope_table *t, uint32_t position)
{
    float *cs = t->cs + (size_t)position * t->model->rope_sets * t->model->shape.head_dim;
    hd_model_rope(t->model, position, cs);
    t->seals[position] = hd_seal(cs, position_bytes(t));
}

static int grow(struct hd_rope_table *t, uint32_t cap)
{
    float *cs = realloc(t->cs, cap * position_bytes(t));
    if (!cs)
        return HD_E_NOMEM;
    t->cs = cs;
    uint32_t *seals = realloc(t->seals, cap * sizeof *seals);
    if (!seals)
        return HD_E_NOMEM;
    t->seals = seals;
    t->cap = cap;
    return 0;
}

int hd_rope_table_reserve(struct hd_rope_table *t, uint32_t positions)
{
    if (positions > t->cap) {
        uint32_t cap = t->cap ? t->cap : FIRST_POSITIONS;
        while (cap < positions)
            cap *= 2;
        int rc = grow(t, cap);
        if (rc < 0)
            return rc;
    }
    for (; t->positions < positions; t->positions++)
        hd_rope_table_mend(t, t->positions);
    return 0;
}

uint32_t hd_rope_table_bad(const struct hd_rope_table *t, uint32_t from, uint32_t n)
{
    for (uint32_t p = from; p < t->positions && p - from < n; p++)
        if (t->seals[p] != hd_seal(hd_rope_table_at(t, p, 0), position_bytes(t)))
            return p;
    return UINT32_MAX;
}

void hd_rope_table_deinit(struct hd_rope_table *t)
{
    free(t->cs);
    free(t->seals);
    t->cs = NULL;
    t->seals = NULL;
    t->positions = t->cap = 0;
}
