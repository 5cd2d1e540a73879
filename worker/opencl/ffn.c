/* ffn.c - the FFN half: gate and up, the activation, then down summed up; one submission. */
#include "worker/opencl/impl.h"

#include <string.h>

#define ACTIVATE_ITEMS 128

struct ffn {
    struct hd_opencl *o;
    const struct hd_half_task *task;
    struct hd_cl_input in;
    uint32_t shifts, biases;
    size_t up_at; /* floats of y */
    struct hd_cl_plan project, q8, f32;
    uint64_t flops;
};

static struct hd_piece_at piece_at(const struct hd_half_task *t, size_t slot)
{
    return (struct hd_piece_at){t->kind, t->units.list[slot], t->layer};
}

static void plan_inputs(struct ffn *f)
{
    struct hd_opencl *o = f->o;
    const struct hd_half_task *t = f->task;
    static const enum hd_slot_id slots[2] = {HD_SLOT_GATE, HD_SLOT_UP};
    size_t rows = t->rows->n, n = 0;
    for (size_t s = 0; s < t->units.n; s++)
        for (unsigned i = 0; i < 2; i++, n++) {
            size_t at = (i ? f->up_at : 0) + s * o->s.stride * o->s.ffn_width;
            o->part[0][n] = hd_cl_part_of(t->from.weights, piece_at(t, s), slots[i]);
            o->matrix[0][n] = (struct hd_cl_matrix){.y = (uint32_t)at,
                                                    .y_stride = (uint32_t)o->s.ffn_width,
                                                    .x = f->in.x,
                                                    .d = f->in.d,
                                                    .rows = (uint32_t)rows};
            f->flops += 2 * (uint64_t)rows * o->part[0][n].outputs * o->part[0][n].inputs;
        }
    hd_cl_plan(o, &(struct hd_cl_jobs){o->part[0], o->matrix[0], n, rows}, &f->project);
}

static void plan_outputs(struct ffn *f)
{
    struct hd_opencl *o = f->o;
    const struct hd_half_task *t = f->task;
    size_t n[2] = {0, 0}, plane = o->s.stride * o->s.ffn_width, rows = t->rows->n;
    for (size_t s = 0; s < t->units.n; s++) {
        struct hd_cl_part p = hd_cl_part_of(t->from.weights, piece_at(t, s), HD_SLOT_DOWN);
        bool q8 = hd_cl_takes_q8(o, &p);
        o->part[q8][n[q8]] = p;
        o->matrix[q8][n[q8]++] = (struct hd_cl_matrix){.x = (uint32_t)(s * plane / (q8 ? 4 : 1)),
                                                       .d = (uint32_t)(s * plane / HD_Q8_BLOCK),
                                                       .rows = (uint32_t)rows};
        f->flops += 2 * (uint64_t)rows * p.outputs * p.inputs;
    }
    hd_cl_plan(o, &(struct hd_cl_jobs){o->part[1], o->matrix[1], n[1], rows}, &f->q8);
    hd_cl_plan(o, &(struct hd_cl_jobs){o->part[0], o->matrix[0], n[0], rows}, &f->f32);
}

static void add_biases(struct ffn *f)
{
    const struct hd_half_task *t = f->task;
    struct hd_cl_biases *b = hd_cl_in_add(f->o, t->units.n * sizeof *b, &f->biases);
    for (size_t s = 0; s < t->units.n; s++) {
        struct hd_cl_part down = hd_cl_part_of(t->from.weights, piece_at(t, s), HD_SLOT_DOWN);
        b[s] = (struct hd_cl_biases){
            .gate = hd_cl_part_of(t->from.weights, piece_at(t, s), HD_SLOT_GATE_BIAS).at,
            .up = hd_cl_part_of(t->from.weights, piece_at(t, s), HD_SLOT_UP_BIAS).at,
            .width = down.inputs,
            .q8 = hd_cl_takes_q8(f->o, &down),
        };
    }
}

static cl_int activate(const struct ffn *f, const cl_mem *slabs)
{
    struct hd_opencl *o = f->o;
    struct hd_cl_launch l = {o->cl, &o->programs.activate, 0, CL_SUCCESS};
    hd_cl_put_slabs(&l, slabs);
    hd_cl_put_buffer(&l, o->in_at);
    hd_cl_put_u32(&l, f->biases);
    hd_cl_put_buffer(&l, o->y);
    hd_cl_put_u32(&l, f->up_at);
    hd_cl_put_buffer(&l, o->s.q8 ? o->y_q : o->y);
    hd_cl_put_buffer(&l, o->s.q8 ? o->y_d : o->y);
    hd_cl_put_u32(&l, o->s.stride);
    hd_cl_put_u32(&l, o->s.ffn_width);
    hd_cl_put_u32(&l, o->base.o.model->block.activation == HD_ACTIVATION_GELU_TANH);
    hd_cl_put_buffer(&l, o->result);
    hd_cl_put_u32(&l, o->travels_at / sizeof(uint32_t));
    return hd_cl_go(&l, ACTIVATE_ITEMS, (o->s.ffn_width + ACTIVATE_ITEMS - 1) / ACTIVATE_ITEMS,
                    f->task->rows->n, f->task->units.n);
}

static cl_int submit(const struct ffn *f)
{
    struct hd_opencl *o = f->o;
    const struct hd_cl_weights *w = (const struct hd_cl_weights *)(void *)f->task->from.weights;
    const cl_mem *slabs = w->heap.slabs.slab;
    size_t rows = f->task->rows->n, width = o->s.ffn_width;
    cl_int rc = hd_cl_in_send(o);
    if (rc != CL_SUCCESS)
        return rc;
    struct hd_cl_operand x = hd_cl_inputs(o, &f->in, &rc);
    if (rc == CL_SUCCESS)
        rc = hd_cl_project(o, &f->project, slabs, &x);
    if (rc == CL_SUCCESS)
        rc = activate(f, slabs);
    struct hd_cl_sum sum = {
        .q8 = &f->q8,
        .f32 = &f->f32,
        .x_q8 = {o->y_q, o->y_d, width / 4, o->s.stride},
        .x_f32 = {o->y, NULL, width, 0},
        .shifts = f->shifts,
        .rows = rows,
    };
    return rc == CL_SUCCESS ? hd_cl_reduce(o, &sum, slabs) : rc;
}

int hd_cl_ffn(struct hd_opencl *o, const struct hd_half_task *t, struct hd_half_output *out,
              struct hd_error *err)
{
    size_t rows = t->rows->n, units = t->units.n;
    struct ffn f = {.o = o, .task = t, .up_at = o->s.ffn_blocks * o->s.stride * o->s.ffn_width};
    int rc =
        hd_cl_in_begin(o,
                       hd_cl_input_bytes(o, rows) + rows * sizeof(int32_t) +
                           units * sizeof(struct hd_cl_biases) + hd_cl_jobs_bytes(4 * units) * 3,
                       err);
    if (rc < 0)
        return rc;
    hd_cl_add_input(o, t->rows->x, rows, &f.in);
    memcpy(hd_cl_in_add(o, rows * sizeof(int32_t), &f.shifts), t->rows->shifts,
           rows * sizeof(int32_t));
    add_biases(&f);
    plan_inputs(&f);
    plan_outputs(&f);
    cl_int code = submit(&f);
    if (code != CL_SUCCESS)
        return hd_cl_fail(o->cl, code, "an FFN half", err);
    out->flops = f.flops;
    return hd_cl_answer(o, t, NULL, NULL, out, err);
}
