/* rope.h - cosines and sines of the positions seen so far, computed once for each.
 *
 * Grows on one thread, between parallel loops; read by all of them. Each position has a digest, so
 * that damage is found, and computed anew. */
#ifndef HD_WORKER_CPU_ROPE_H
#define HD_WORKER_CPU_ROPE_H

#include "common/model/model.h"

struct hd_rope_table {
    const struct hd_model *model; /* borrowed */
    float *cs;       /* [positions][rope_sets][head_dim/2][2], room for `cap` positions */
    uint32_t *seals; /* [positions], likewise */
    uint32_t positions, cap;
};

/* Makes positions 0 .. positions-1 readable. 0 or HD_E_NOMEM. */
int hd_rope_table_reserve(struct hd_rope_table *t, uint32_t positions);
void hd_rope_table_deinit(struct hd_rope_table *t);

/* The first position from `from` on, of at most n, that is not what was computed; UINT32_MAX: all
 * are. hd_rope_table_mend computes it again. */
uint32_t hd_rope_table_bad(const struct hd_rope_table *t, uint32_t from, uint32_t n);
void hd_rope_table_mend(struct hd_rope_table *t, uint32_t position);

/* [head_dim/2][2] = {cos, sin} of a position that was reserved, in one of the model's sets. */
static inline const float *hd_rope_table_at(const struct hd_rope_table *t, uint32_t position,
                                            uint32_t set)
{
    return t->cs + ((size_t)position * t->model->rope_sets + set) * t->model->shape.head_dim;
}

#endif
