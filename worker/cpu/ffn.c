/* ffn.c - the FFN half: activation(gate) * up of the units' hidden columns, or activation(up) where
 * there is no gate, then down. */
#include "worker/cpu/compute_impl.h"

#include "common/math/activate.h"

struct ffn_job {
    struct hd_compute *c;
    struct hd_operand in; /* rows of the step, or of each expert one behind the other */
    struct split split;   /* over c->blocks */
};

static float *hidden_row(const struct hd_compute *c, size_t row)
{
    return c->hidden + row * c->units.ffn_width;
}

/* Lists the blocks that have rows; *rows: of the one that has most. Returns how many there are. */
static size_t list_blocks(struct hd_compute *c, const struct hd_half_task *work, size_t *rows)
{
    size_t n = 0, hidden = 0;
    *rows = 0;
    for (size_t i = 0; i < work->units.n; i++) {
        uint32_t unit = work->units.list[i];
        struct ffn_unit u = {.hidden = hidden};
        u.of = hd_picked_of(c, work->rows, unit % c->units.experts, &u.input);
        if (u.of.n == 0)
            continue;
        u.w = hd_cpu_ffn(hd_cpu_weights(work->from.weights), unit, work->layer);
        hidden += u.of.n;
        *rows = u.of.n > *rows ? u.of.n : *rows;
        c->blocks[n++] = u;
    }
    return n;
}

static void activate(const struct hd_compute *c, const float *gate, const float *up, float *out,
                     size_t n)
{
    if (c->model->block.activation == HD_ACTIVATION_GELU_TANH)
        hd_gelu_mul(c->kernels, gate, up, out, n);
    else if (c->model->block.activation == HD_ACTIVATION_CLAMPED)
        hd_clamped_mul(c->kernels, gate, up, c->model->block.clamp, out, n);
    else if (c->model->block.activation == HD_ACTIVATION_GELU)
        hd_gelu_erf_mul(gate, up, out, n);
    else if (c->model->block.activation == HD_ACTIVATION_RELU2)
        hd_relu2_mul(gate, up, out, n);
    else
        hd_silu_mul(c->kernels, gate, up, out, n);
}

/* n columns from `first` on of one row, with biases, activated. */
static void finish_row(const struct hd_compute *c, const struct hd_ffn_weights *w, size_t first,
                       size_t n, float *gate, float *up, float *out)
{
    if (w->gate_bias.data)
        hd_add_vector(gate, hd_vector_of(&w->gate_bias) + first, n);
    if (w->up_bias.data)
        hd_add_vector(up, hd_vector_of(&w->up_bias) + first, n);
    for (size_t i = 0; i < n && !w->gate.data; i++) { /* activation(up) * 1 */
        gate[i] = up[i];
        up[i] = 1;
    }
    activate(c, gate, up, out, n);
}

/* gate, up and their product for a range of one block's columns. */
static void hidden_item(void *arg, size_t index, unsigned thread)
{
    struct ffn_job *j = arg;
    struct hd_compute *c = j->c;
    struct split_item it = hd_split_item(&j->split, index);
    const struct ffn_unit *unit = &c->blocks[it.unit];
    const struct hd_ffn_weights *w = unit->w;
    size_t first = it.at.g0 * HD_GROUP, end = it.at.g1 * HD_GROUP, row0 = it.at.row0;
    float *gate = hd_scratch(c, thread); /* [rows][stride] */
    if (it.at.g0 >= w->up.groups)        /* the last block may be narrower */
        return;
    if (row0 >= unit->of.n) /* ... and another have more rows */
        return;
    it.at.rows = unit->of.n - row0 < it.at.rows ? unit->of.n - row0 : it.at.rows;
    it.at.row0 += unit->input;
    float *up = gate + it.at.rows * it.stride; /* [rows][stride] */
    if (w->gate.data)
        hd_product(c->kernels, &j->in, &w->gate, it.at, gate, it.stride);
    hd_product(c->kernels, &j->in, &w->up, it.at, up, it.stride);
    size_t n = (end < w->up.outputs ? end : w->up.outputs) - first;
    for (size_t i = 0; i < it.at.rows; i++)
        finish_row(c, w, first, n, gate + i * it.stride, up + i * it.stride,
                   hidden_row(c, unit->hidden + row0 + i) + first);
}

static uint8_t *hidden_q8(const struct hd_compute *c, size_t row)
{
    return c->hidden_q8 + row * hd_q8_prepared_bytes(c->units.ffn_width);
}

/* One row of one block, as the product with down takes it. */
static void quantize_item(void *arg, size_t index, unsigned thread)
{
    struct ffn_job *j = arg;
    struct hd_compute *c = j->c;
    const struct ffn_unit *unit = &c->blocks[index / j->split.rows];
    size_t row = index % j->split.rows;
    const struct hd_weights *w = &unit->w->down;
    (void)thread;
    if (row < unit->of.n && hd_takes_q8(c, w))
        hd_q8_quantize(c->kernels, hidden_row(c, unit->hidden + row), w->inputs,
                       hidden_q8(c, unit->hidden + row));
}

static struct unit_input down_of(const struct reduction *r, size_t slot)
{
    const struct hd_compute *c = r->c;
    const struct ffn_unit *unit = &c->blocks[slot];
    const struct hd_weights *w = &unit->w->down;
    return (struct unit_input){
        .w = w,
        .of = unit->of,
        .rows =
            {
                .x = hidden_row(c, unit->hidden),
                .stride = c->units.ffn_width,
                .q8 = hd_takes_q8(c, w) ? hidden_q8(c, unit->hidden) : NULL,
                .q8_stride = hd_q8_prepared_bytes(c->units.ffn_width),
            },
    };
}

int hd_compute_ffn(struct hd_compute *c, const struct hd_half_task *work,
                   struct hd_half_output *out, struct hd_error *err)
{
    struct ffn_job j = {.c = c, .in = hd_picked_take(c, work->rows)};
    size_t rows, blocks = list_blocks(c, work, &rows);
    size_t groups = (c->units.ffn_width + HD_GROUP - 1) / HD_GROUP;
    *out = (struct hd_half_output){0};
    if (blocks > 0) {
        j.split = hd_split(c, blocks, groups, rows);
        hd_team_run(c->team, hd_split_items(&j.split), hidden_item, &j);
    }
    if (blocks > 0 && c->q8)
        hd_team_run(c->team, blocks * rows, quantize_item, &j);
    for (size_t b = 0; b < blocks; b++) {
        const struct ffn_unit *u = &c->blocks[b];
        out->flops += hd_product_flops(&u->w->gate, u->of.n) + hd_product_flops(&u->w->up, u->of.n);
    }
    struct reduction r = {.c = c, .work = work, .units = blocks, .in = down_of};
    return hd_reduce(&r, out, err);
}
