/* ffn.c - the FFN half: activation(gate) * up of the units' hidden columns, then down. */
#include "worker/cpu/compute_impl.h"

struct ffn_job {
    struct hd_compute *c;
    const struct hd_half_task *work;
    struct hd_operand in;
    struct split split;
};

static const struct hd_ffn_weights *weights_of(const struct hd_half_task *w, size_t slot)
{
    return hd_cpu_ffn(hd_cpu_weights(w->from.weights), w->units.list[slot], w->layer);
}

static float *hidden_row(const struct hd_compute *c, size_t slot, size_t row)
{
    return c->hidden + (slot * c->max_rows + row) * c->units.ffn_width;
}

static void activate(const struct hd_compute *c, const float *gate, const float *up, float *out,
                     size_t n)
{
    if (c->model->block.activation == HD_ACTIVATION_GELU_TANH)
        hd_gelu_mul(c->kernels, gate, up, out, n);
    else
        hd_silu_mul(c->kernels, gate, up, out, n);
}

/* gate, up and their product for a range of one block's columns. */
static void hidden_item(void *arg, size_t index, unsigned thread)
{
    struct ffn_job *j = arg;
    struct hd_compute *c = j->c;
    struct split_item it = hd_split_item(&j->split, index);
    const struct hd_ffn_weights *w = weights_of(j->work, it.unit);
    size_t first = it.at.g0 * HD_GROUP, end = it.at.g1 * HD_GROUP;
    float *gate = hd_scratch(c, thread);       /* [rows][stride] */
    float *up = gate + it.at.rows * it.stride; /* [rows][stride] */
    if (it.at.g0 >= w->gate.groups)            /* the last block may be narrower */
        return;
    hd_product(c->kernels, &j->in, &w->gate, it.at, gate, it.stride);
    hd_product(c->kernels, &j->in, &w->up, it.at, up, it.stride);
    size_t n = (end < w->gate.outputs ? end : w->gate.outputs) - first;
    for (size_t i = 0; i < it.at.rows; i++) {
        float *g = gate + i * it.stride, *u = up + i * it.stride;
        if (w->gate_bias.data)
            hd_add_vector(g, hd_vector_of(&w->gate_bias) + first, n);
        if (w->up_bias.data)
            hd_add_vector(u, hd_vector_of(&w->up_bias) + first, n);
        activate(c, g, u, hidden_row(c, it.unit, it.at.row0 + i) + first, n);
    }
}

static uint8_t *hidden_q8(const struct hd_compute *c, size_t slot, size_t row)
{
    return c->hidden_q8 + (slot * c->max_rows + row) * hd_q8_prepared_bytes(c->units.ffn_width);
}

/* One row of one block, as the product with down takes it. */
static void quantize_item(void *arg, size_t index, unsigned thread)
{
    struct ffn_job *j = arg;
    struct hd_compute *c = j->c;
    size_t n = j->work->rows->n, slot = index / n, row = index % n;
    const struct hd_weights *w = &weights_of(j->work, slot)->down;
    (void)thread;
    if (hd_takes_q8(c, w))
        hd_q8_quantize(c->kernels, hidden_row(c, slot, row), w->inputs, hidden_q8(c, slot, row));
}

static struct unit_input down_of(const struct reduction *r, size_t slot)
{
    const struct hd_compute *c = r->c;
    const struct hd_weights *w = &weights_of(r->work, slot)->down;
    return (struct unit_input){
        .w = w,
        .rows =
            {
                .x = hidden_row(c, slot, 0),
                .stride = c->units.ffn_width,
                .q8 = hd_takes_q8(c, w) ? hidden_q8(c, slot, 0) : NULL,
                .q8_stride = hd_q8_prepared_bytes(c->units.ffn_width),
            },
    };
}

int hd_compute_ffn(struct hd_compute *c, const struct hd_half_task *work,
                   struct hd_half_output *out, struct hd_error *err)
{
    struct ffn_job j = {.c = c, .work = work};
    size_t blocks = work->units.n, rows = work->rows->n;
    *out = (struct hd_half_output){0};
    size_t groups = (c->units.ffn_width + HD_GROUP - 1) / HD_GROUP;
    j.split = hd_split(c, blocks, groups, rows);
    j.in = hd_inputs(c, work->rows);
    hd_team_run(c->team, hd_split_items(&j.split), hidden_item, &j);
    if (c->q8)
        hd_team_run(c->team, blocks * rows, quantize_item, &j);
    for (size_t b = 0; b < blocks; b++) {
        const struct hd_ffn_weights *w = weights_of(work, b);
        out->flops += hd_product_flops(&w->gate, rows) + hd_product_flops(&w->up, rows);
    }
    struct reduction r = {.c = c, .work = work, .in = down_of};
    return hd_reduce(&r, out, err);
}
