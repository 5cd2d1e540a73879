/* picks.c - a half-step with experts is one of many FFNs, each with rows of its own. */
#include "worker/picks.h"

#include <stdlib.h>
#include <string.h>

int hd_picks_init(struct hd_picks *p, const struct hd_model *m, size_t rows)
{
    size_t most = rows * m->shape.n_used;
    *p = (struct hd_picks){.experts = m->shape.n_experts, .used = m->shape.n_used};
    if (most == 0)
        return 0;
    p->first = calloc((size_t)p->experts + 1, sizeof *p->first);
    p->row = calloc(most, sizeof *p->row);
    p->weight = calloc(most, sizeof *p->weight);
    return p->first && p->row && p->weight ? 0 : HD_E_NOMEM;
}

void hd_picks_deinit(struct hd_picks *p)
{
    free(p->first);
    free(p->row);
    free(p->weight);
    *p = (struct hd_picks){0};
}

/* Row by row into the experts' entries, which begin one behind the other. */
void hd_picks_sort(struct hd_picks *p, const struct hd_rows *rows)
{
    memset(p->first, 0, ((size_t)p->experts + 1) * sizeof *p->first);
    for (size_t i = 0; i < rows->n * p->used; i++)
        p->first[rows->experts[i] + 1]++;
    for (size_t e = 0; e < p->experts; e++)
        p->first[e + 1] += p->first[e];
    for (size_t i = 0; i < rows->n * p->used; i++) {
        size_t at = p->first[rows->experts[i]]++;
        p->row[at] = (uint32_t)(i / p->used);
        p->weight[at] = rows->weights[i];
    }
    memmove(p->first + 1, p->first, p->experts * sizeof *p->first); /* each stands at its end now */
    p->first[0] = 0;
}
