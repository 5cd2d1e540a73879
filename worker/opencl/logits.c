/* logits.c - products with the vocab blocks on the device, some rows at a time. What most rows want
 * of them, sums and the best few, is found there as well; where some row wants all, or a number is
 * not finite, all are read back and the team writes the answer. */
#include "worker/opencl/impl.h"

#include "common/net/conn.h"
#include "worker/answer.h"

#include <stdatomic.h>
#include <string.h>

#define BEST_MOST  64   /* of a row: each is another pass over its block */
#define BEST_ITEMS 128  /* kernels/logits.cl */
#define WIDTH_MOST 1024 /* likewise */
#define SUM_WORDS  4    /* of a row and block, before the best */

struct logits {
    struct hd_opencl *o;
    const struct hd_half_task *task;
    struct hd_logits answer;
    size_t row0, rows; /* of the launch */
    uint32_t best;     /* the most that a row of it wants; 0: some row wants all, or too many */
    uint32_t asks, blocks, biases;
    atomic_bool odd; /* something is not finite */
};

struct hd_cl_ask {
    uint32_t best;
    float temperature;
};

/* ---- From all logits ----*/

/* One row of one block. */
static void write_item(void *arg, size_t index, unsigned thread)
{
    const struct logits *l = arg;
    const struct hd_opencl *o = l->o;
    size_t units = l->task->units.n, row = index / units, slot = index % units;
    float *y = (float *)(void *)o->out.data + (row * units + slot) * o->s.vocab_width;
    (void)thread;
    if (!hd_logits_write(&l->answer, slot, l->row0 + row, y))
        __atomic_store_n(&o->is_bad[l->row0 + row], 1, __ATOMIC_RELAXED);
}

static cl_int write_all(struct logits *l)
{
    struct hd_opencl *o = l->o;
    size_t bytes = l->rows * l->task->units.n * o->s.vocab_width * sizeof(float);
    cl_int code = o->cl->call.EnqueueReadBuffer(o->cl->queue, o->y, CL_TRUE, 0, bytes, o->out.data,
                                                0, NULL, NULL);
    if (code == CL_SUCCESS)
        hd_team_run(o->base.o.team, l->rows * l->task->units.n, write_item, l);
    return code;
}

/* ---- From what the device has found ----*/

static void put_row(void *arg, size_t row, unsigned thread)
{
    struct logits *l = arg;
    size_t units = l->task->units.n, words = SUM_WORDS + 2 * (size_t)l->best;
    const uint32_t *at = (const uint32_t *)(const void *)l->o->out.data + row * units * words;
    (void)thread;
    for (size_t slot = 0; slot < units; slot++, at += words) {
        struct hd_logits_found f = {.best = at + SUM_WORDS};
        memcpy(f.sums, at, sizeof f.sums);
        if (!hd_logits_put(&l->answer, slot, l->row0 + row, &f))
            atomic_store_explicit(&l->odd, true, memory_order_relaxed);
    }
}

static cl_int find_best(struct logits *l)
{
    struct hd_opencl *o = l->o;
    const struct hd_block *m = &o->base.o.model->block;
    size_t items = l->rows * l->task->units.n, bytes = items * (SUM_WORDS + 2 * l->best) * 4;
    struct hd_cl_launch k = {o->cl, &o->programs.best_logits, 0, CL_SUCCESS};
    cl_event copied;
    hd_cl_put_buffer(&k, o->in_at);
    hd_cl_put_u32(&k, l->asks);
    hd_cl_put_u32(&k, l->blocks);
    hd_cl_put_buffer(&k, o->y);
    hd_cl_put_u32(&k, o->s.vocab_width);
    hd_cl_put_u32(&k, o->base.o.model->shape.vocab);
    hd_cl_put_f32(&k, m->logit_scale);
    hd_cl_put_f32(&k, m->logit_cap);
    hd_cl_put_f32(&k, m->logit_cap > 0 ? 1.0f / m->logit_cap : 0);
    hd_cl_put_u32(&k, l->best);
    hd_cl_put_buffer(&k, o->found);
    cl_int code = hd_cl_go(&k, BEST_ITEMS, l->task->units.n, l->rows, 1);
    if (code == CL_SUCCESS)
        code = o->cl->call.EnqueueReadBuffer(o->cl->queue, o->found, CL_FALSE, 0, bytes,
                                             o->out.data, 0, NULL, &copied);
    if (code == CL_SUCCESS)
        code = hd_cl_wait(o->cl, copied);
    if (code != CL_SUCCESS)
        return code;
    hd_team_run(o->base.o.team, l->rows, put_row, l);
    return CL_SUCCESS;
}

static bool has_bias(const struct hd_opencl *o)
{
    return hd_slot_layers(o->base.o.model, HD_SLOT_OUTPUT_BIAS) > 0;
}

static cl_int add_bias(struct logits *l)
{
    struct hd_opencl *o = l->o;
    struct hd_cl_launch k = {o->cl, &o->programs.add_output_bias, 0, CL_SUCCESS};
    hd_cl_put_slabs(&k, hd_cl_slabs_of(l->task->from.weights));
    hd_cl_put_buffer(&k, o->in_at);
    hd_cl_put_u32(&k, l->biases);
    hd_cl_put_buffer(&k, o->y);
    hd_cl_put_u32(&k, o->s.vocab_width);
    hd_cl_put_u32(&k, o->base.o.model->shape.vocab);
    hd_cl_put_u32(&k, l->blocks);
    return hd_cl_go(&k, 64, (o->s.vocab_width + 63) / 64, l->task->units.n, l->rows);
}

static void list_biases(struct logits *l)
{
    const struct hd_half_task *t = l->task;
    uint64_t *bias = hd_cl_in_add(l->o, t->units.n * sizeof *bias, &l->biases);
    for (size_t s = 0; s < t->units.n; s++) {
        struct hd_piece_at at = {HD_UNIT_VOCAB, t->units.list[s], 0};
        bias[s] = hd_cl_part_of(t->from.weights, at, HD_SLOT_OUTPUT_BIAS).at;
    }
}

static void add_asks(struct logits *l)
{
    const struct hd_rows *rows = l->task->rows;
    struct hd_cl_ask *ask = hd_cl_in_add(l->o, l->rows * sizeof *ask, &l->asks);
    uint32_t *block = hd_cl_in_add(l->o, l->task->units.n * sizeof *block, &l->blocks);
    bool any = l->o->s.vocab_width <= WIDTH_MOST;
    l->best = 0;
    for (size_t i = 0; i < l->rows; i++) {
        uint32_t want = rows->want[l->row0 + i];
        any = any && want > 0 && want <= BEST_MOST;
        ask[i] = (struct hd_cl_ask){want, rows->temperatures[l->row0 + i]};
        l->best = want > l->best ? want : l->best;
    }
    l->best = any ? l->best : 0;
    memcpy(block, l->task->units.list, l->task->units.n * sizeof *block);
}

size_t hd_cl_found_bytes(const struct hd_cl_shape *s)
{
    return s->logit_rows * s->vocab_blocks * (SUM_WORDS + 2 * BEST_MOST) * sizeof(uint32_t);
}

/* ---- The half ----*/

static cl_int multiply(struct logits *l, const struct hd_cl_input *in)
{
    struct hd_opencl *o = l->o;
    const struct hd_half_task *t = l->task;
    size_t units = t->units.n;
    struct hd_cl_plan plan;
    for (size_t s = 0; s < units; s++) {
        struct hd_piece_at at = {HD_UNIT_VOCAB, t->units.list[s], 0};
        o->part[0][s] = hd_cl_part_of(t->from.weights, at, HD_SLOT_OUTPUT);
        o->matrix[0][s] = (struct hd_cl_matrix){.y = (uint32_t)(s * o->s.vocab_width),
                                                .y_stride = (uint32_t)(units * o->s.vocab_width),
                                                .x = in->x,
                                                .d = in->d,
                                                .rows = (uint32_t)l->rows};
    }
    hd_cl_plan(o, &(struct hd_cl_jobs){o->part[0], o->matrix[0], units, l->rows}, &plan);
    cl_int code = hd_cl_in_send(o);
    struct hd_cl_operand x = {0};
    if (code == CL_SUCCESS)
        x = hd_cl_inputs(o, in, &code);
    return code == CL_SUCCESS ? hd_cl_project(o, &plan, hd_cl_slabs_of(t->from.weights), &x, o->y)
                              : code;
}

static int launch(struct logits *l, struct hd_error *err)
{
    struct hd_opencl *o = l->o;
    const struct hd_half_task *t = l->task;
    size_t units = t->units.n;
    struct hd_cl_input in;
    int rc = hd_cl_in_begin(o,
                            hd_cl_input_bytes(o, l->rows) + hd_cl_jobs_bytes(2 * units) +
                                l->rows * sizeof(struct hd_cl_ask) +
                                units * (sizeof(uint32_t) + sizeof(uint64_t)) + 1024,
                            err);
    if (rc < 0)
        return rc;
    hd_cl_add_input(o, (const uint8_t *)t->rows->x + l->row0 * o->s.row_bytes, l->rows, &in);
    add_asks(l);
    if (has_bias(o))
        list_biases(l);
    atomic_store(&l->odd, false);
    cl_int code = multiply(l, &in);
    if (code == CL_SUCCESS && has_bias(o))
        code = add_bias(l);
    if (code == CL_SUCCESS && l->best > 0)
        code = find_best(l);
    if (code == CL_SUCCESS && (l->best == 0 || atomic_load(&l->odd)))
        code = write_all(l);
    return code == CL_SUCCESS ? 0 : hd_cl_fail(o->cl, code, "logits", err);
}

int hd_cl_logits(struct hd_opencl *o, const struct hd_half_task *t, struct hd_half_output *out,
                 struct hd_error *err)
{
    struct logits l = {
        .o = o,
        .task = t,
        .answer = {.kernels = hd_kernels_get(o->base.o.isa),
                   .rows = t->rows,
                   .blocks = t->units,
                   .vocab = o->base.o.model->shape.vocab,
                   .vocab_width = o->base.units.vocab_width,
                   .model = &o->base.o.model->block,
                   .offset = o->offsets},
    };
    int rc = hd_answer_logits(&l.answer, out, err);
    memset(o->is_bad, 0, t->rows->n);
    for (; rc == 0 && l.row0 < t->rows->n; l.row0 += l.rows) {
        size_t left = t->rows->n - l.row0;
        l.rows = left < o->s.logit_rows ? left : o->s.logit_rows;
        rc = launch(&l, err);
    }
    if (rc < 0) {
        hd_shared_unref(out->payload);
        out->payload = NULL;
        return rc;
    }
    for (size_t s = 0; s < t->units.n; s++)
        out->flops += 2 * (uint64_t)t->rows->n * o->part[0][s].outputs * o->part[0][s].inputs;
    out->bad = o->lists;
    out->n_bad = hd_list_flags(o->is_bad, t->rows->n, o->lists);
    return 0;
}
