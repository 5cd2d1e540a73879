/* ffn.c - the FFN half: silu(gate) * up of the owned hidden columns, then down. */
#include "worker/compute_impl.h"

struct ffn_job {
    struct hd_compute *c;
    uint32_t layer;
    const struct hd_rows *rows;
    struct hd_unit_list blocks;
    struct split split;
};

static float *hidden_row(const struct hd_compute *c, size_t slot, size_t row)
{
    return c->hidden + (slot * c->max_rows + row) * c->units->ffn_width;
}

/* gate, up and their product for a range of one block's columns. */
static void hidden_item(void *arg, size_t index, unsigned thread)
{
    struct ffn_job *j = arg;
    struct hd_compute *c = j->c;
    struct split_item it = hd_split_item(&j->split, index);
    const struct hd_ffn_weights *w = hd_shard_ffn(c->o.shard, j->blocks.list[it.unit], j->layer);
    size_t dim = c->o.model->shape.dim, stride = MAX_GROUPS * HD_GROUP;
    float *gate = hd_scratch(c, thread);  /* [rows][stride] */
    float *up = gate + ROW_TILE * stride; /* [rows][stride] */
    if (it.g0 >= w->gate.groups)          /* the last block may be narrower */
        return;
    struct hd_matmul_args a = {
        .w = &w->gate,
        .g0 = it.g0,
        .g1 = it.g1 < w->gate.groups ? it.g1 : w->gate.groups,
        .x = j->rows->x + it.row0 * dim,
        .x_stride = dim,
        .y = gate,
        .y_stride = stride,
        .rows = it.rows,
    };
    hd_matmul(c->o.kernels, &a);
    a.w = &w->up;
    a.y = up;
    hd_matmul(c->o.kernels, &a);
    size_t first = it.g0 * HD_GROUP, end = a.g1 * HD_GROUP;
    size_t n = (end < w->gate.outputs ? end : w->gate.outputs) - first;
    for (size_t i = 0; i < it.rows; i++)
        hd_silu_mul(c->o.kernels, gate + i * stride, up + i * stride,
                    hidden_row(c, it.unit, it.row0 + i) + first, n);
}

static struct unit_input down_of(const struct hd_compute *c, uint32_t layer, uint32_t unit,
                                 size_t slot)
{
    return (struct unit_input){
        .w = &hd_shard_ffn(c->o.shard, unit, layer)->down,
        .x = hidden_row(c, slot, 0),
        .stride = c->units->ffn_width,
    };
}

int hd_compute_ffn(struct hd_compute *c, uint32_t layer, const struct hd_rows *rows,
                   struct hd_half_output *out, struct hd_error *err)
{
    struct ffn_job j = {.c = c, .layer = layer, .rows = rows};
    *out = (struct hd_half_output){0};
    j.blocks = hd_shard_owned(c->o.shard, HD_SHARD_FFN);
    size_t groups = (c->units->ffn_width + HD_GROUP - 1) / HD_GROUP;
    j.split = hd_split(c, j.blocks.n, groups, rows->n);
    hd_team_run(c->o.team, hd_split_items(&j.split), hidden_item, &j);
    for (size_t b = 0; b < j.blocks.n; b++) {
        const struct hd_ffn_weights *w = hd_shard_ffn(c->o.shard, j.blocks.list[b], layer);
        out->flops += hd_product_flops(&w->gate, rows->n) + hd_product_flops(&w->up, rows->n);
    }
    struct reduction r = {.c = c, .rows = rows, .layer = layer, .units = j.blocks, .in = down_of};
    return hd_reduce(&r, out, err);
}
