/* picks.c - the rows of a step by the experts that they want: a half-step with experts is one of
 * many FFNs, each with rows of its own, and kernels want these side by side. */
#include "worker/cpu/compute_impl.h"

#include <stdlib.h>
#include <string.h>

size_t hd_operand_bytes(const struct hd_compute *c)
{
    size_t dim = c->model->shape.dim;
    return c->q8 ? hd_q8_prepared_bytes(dim) : dim * sizeof(float);
}

bool hd_picks_init(struct hd_compute *c)
{
    struct hd_picks *p = &c->picks;
    size_t most = c->max_rows * c->model->shape.n_used;
    if (most == 0)
        return true;
    p->first = calloc((size_t)c->model->shape.n_experts + 1, sizeof *p->first);
    p->row = calloc(most, sizeof *p->row);
    p->weight = calloc(most, sizeof *p->weight);
    p->input = aligned_alloc(64, (most * hd_operand_bytes(c) + 63) / 64 * 64);
    return p->first && p->row && p->weight && p->input;
}

void hd_picks_deinit(struct hd_compute *c)
{
    free(c->picks.first);
    free(c->picks.row);
    free(c->picks.weight);
    free(c->picks.input);
}

/* Row by row into the experts' entries, which begin one behind the other. */
static void sort(struct hd_compute *c, const struct hd_rows *rows)
{
    struct hd_picks *p = &c->picks;
    size_t used = c->model->shape.n_used, experts = c->model->shape.n_experts;
    memset(p->first, 0, (experts + 1) * sizeof *p->first);
    for (size_t i = 0; i < rows->n * used; i++)
        p->first[rows->experts[i] + 1]++;
    for (size_t e = 0; e < experts; e++)
        p->first[e + 1] += p->first[e];
    for (size_t i = 0; i < rows->n * used; i++) {
        size_t at = p->first[rows->experts[i]]++;
        p->row[at] = (uint32_t)(i / used);
        p->weight[at] = rows->weights[i];
    }
    memmove(p->first + 1, p->first, experts * sizeof *p->first); /* each stands at its end now */
    p->first[0] = 0;
}

struct gathering {
    const struct hd_compute *c;
    const uint8_t *x;     /* the step's rows as products take them, */
    size_t stride, bytes; /* which may have something behind them */
};

static void gather(void *arg, size_t index, unsigned thread)
{
    const struct gathering *g = arg;
    const struct hd_picks *p = &g->c->picks;
    (void)thread;
    memcpy(p->input + index * g->bytes, g->x + p->row[index] * g->stride, g->bytes);
}

struct hd_operand hd_picks_take(struct hd_compute *c, const struct hd_rows *rows)
{
    struct hd_operand in = hd_inputs(c, rows);
    size_t n = rows->n * c->model->shape.n_used;
    struct gathering g = {c, c->q8 ? in.q8 : (const uint8_t *)in.x,
                          c->q8 ? in.q8_stride : in.stride * sizeof(float), hd_operand_bytes(c)};
    if (n == 0)
        return in;
    sort(c, rows);
    if (rows->n == 1) /* it is every expert's first, and there is no second */
        return in;
    hd_team_run(c->team, n, gather, &g);
    in.x = (const float *)(const void *)c->picks.input;
    in.q8 = c->q8 ? c->picks.input : NULL;
    in.stride = in.q8_stride = g.bytes;
    in.stride /= sizeof(float);
    return in;
}

struct hd_share hd_picks_of(const struct hd_compute *c, const struct hd_rows *rows, uint32_t expert,
                            size_t *input)
{
    const struct hd_picks *p = &c->picks;
    *input = 0;
    if (c->model->shape.n_used == 0)
        return (struct hd_share){.n = rows->n};
    size_t first = p->first[expert];
    *input = rows->n == 1 ? 0 : first;
    return (struct hd_share){p->first[expert + 1] - first, p->row + first, p->weight + first};
}
