#include "worker/rope.h"

#include <stdlib.h>

#define FIRST_POSITIONS                                                                            \
    256 /* room made at first: most conversations fit without a second growth                      \
         */

int hd_rope_table_reserve(struct hd_rope_table *t, uint32_t positions)
{
    size_t stride = t->model->shape.head_dim;
    if (positions > t->cap) {
        uint32_t cap = t->cap ? t->cap : FIRST_POSITIONS;
        while (cap < positions)
            cap *= 2;
        float *cs = realloc(t->cs, cap * stride * sizeof *cs);
        if (!cs)
            return HD_E_NOMEM;
        t->cs = cs;
        t->cap = cap;
    }
    for (; t->positions < positions; t->positions++)
        hd_model_rope(t->model, t->positions, t->cs + t->positions * stride);
    return 0;
}

void hd_rope_table_deinit(struct hd_rope_table *t)
{
    free(t->cs);
    t->cs = NULL;
    t->positions = t->cap = 0;
}
