/* logits.c - products with the vocab blocks on the device, some rows at a time; what is wanted of
 * them is written by the team. */
#include "worker/opencl/impl.h"

#include "common/net/conn.h"
#include "worker/answer.h"

#include <stdatomic.h>
#include <string.h>

struct logits {
    struct hd_opencl *o;
    const struct hd_half_task *task;
    struct hd_logits answer;
    size_t row0, rows; /* of the launch */
};

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

static int launch(struct logits *l, struct hd_error *err)
{
    struct hd_opencl *o = l->o;
    const struct hd_half_task *t = l->task;
    size_t units = t->units.n, row_bytes = o->s.row_bytes, width = units * o->s.vocab_width;
    struct hd_cl_plan plan;
    struct hd_cl_input in;
    int rc =
        hd_cl_in_begin(o, hd_cl_input_bytes(o, l->rows) + hd_cl_jobs_bytes(2 * units) + 1024, err);
    if (rc < 0)
        return rc;
    hd_cl_add_input(o, (const uint8_t *)t->rows->x + l->row0 * row_bytes, l->rows, &in);
    for (size_t s = 0; s < units; s++) {
        struct hd_piece_at at = {HD_UNIT_VOCAB, t->units.list[s], 0};
        o->part[0][s] = hd_cl_part_of(t->from.weights, at, HD_SLOT_OUTPUT);
        o->matrix[0][s] = (struct hd_cl_matrix){.y = (uint32_t)(s * o->s.vocab_width),
                                                .y_stride = (uint32_t)width,
                                                .x = in.x,
                                                .d = in.d,
                                                .rows = (uint32_t)l->rows};
    }
    hd_cl_plan(o, &(struct hd_cl_jobs){o->part[0], o->matrix[0], units, l->rows}, &plan);
    cl_int code = hd_cl_in_send(o);
    struct hd_cl_operand x = {0};
    if (code == CL_SUCCESS)
        x = hd_cl_inputs(o, &in, &code);
    if (code == CL_SUCCESS)
        code = hd_cl_project(o, &plan, hd_cl_slabs_of(t->from.weights), &x, o->y);
    if (code == CL_SUCCESS)
        code = o->cl->call.EnqueueReadBuffer(o->cl->queue, o->y, CL_TRUE, 0,
                                             l->rows * width * sizeof(float), o->out.data, 0, NULL,
                                             NULL);
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
        if (rc == 0)
            hd_team_run(o->base.o.team, l.rows * t->units.n, write_item, &l);
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
