/* picks.c - the inputs of each expert's rows side by side, as kernels want them. */
#include "worker/cpu/compute_impl.h"

#include <stdlib.h>
#include <string.h>

size_t hd_operand_bytes(const struct hd_compute *c)
{
    size_t dim = c->model->shape.dim;
    return c->q8 ? hd_q8_prepared_bytes(dim) : dim * sizeof(float);
}

bool hd_picked_init(struct hd_compute *c)
{
    size_t most = c->max_rows * c->model->shape.n_used;
    if (hd_picks_init(&c->picks, c->model, c->max_rows) < 0)
        return false;
    if (most > 0)
        c->picked = aligned_alloc(64, (most * hd_operand_bytes(c) + 63) / 64 * 64);
    return most == 0 || c->picked;
}

void hd_picked_deinit(struct hd_compute *c)
{
    hd_picks_deinit(&c->picks);
    free(c->picked);
}

struct gathering {
    const struct hd_compute *c;
    const uint8_t *x;     /* the step's rows as products take them, */
    size_t stride, bytes; /* which may have something behind them */
};

static void gather(void *arg, size_t index, unsigned thread)
{
    const struct gathering *g = arg;
    (void)thread;
    memcpy(g->c->picked + index * g->bytes, g->x + g->c->picks.row[index] * g->stride, g->bytes);
}

struct hd_operand hd_picked_take(struct hd_compute *c, const struct hd_rows *rows)
{
    struct hd_operand in = hd_inputs(c, rows);
    size_t n = rows->n * c->model->shape.n_used;
    struct gathering g = {c, c->q8 ? in.q8 : (const uint8_t *)in.x,
                          c->q8 ? in.q8_stride : in.stride * sizeof(float), hd_operand_bytes(c)};
    if (n == 0)
        return in;
    hd_picks_sort(&c->picks, rows);
    if (rows->n == 1) /* it is every expert's first, and there is no second */
        return in;
    hd_team_run(c->team, n, gather, &g);
    in.x = (const float *)(const void *)c->picked;
    in.q8 = c->q8 ? c->picked : NULL;
    in.stride = in.q8_stride = g.bytes;
    in.stride /= sizeof(float);
    return in;
}

struct hd_share hd_picked_of(const struct hd_compute *c, const struct hd_rows *rows,
                             uint32_t expert, size_t *input)
{
    const struct hd_picks *p = &c->picks;
    *input = 0;
    if (c->model->shape.n_used == 0)
        return (struct hd_share){.n = rows->n};
    size_t first = p->first[expert];
    *input = rows->n == 1 ? 0 : first;
    return (struct hd_share){p->first[expert + 1] - first, p->row + first, p->weight + first};
}
