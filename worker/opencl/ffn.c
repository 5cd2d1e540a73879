/* ffn.c - the FFN half: gate (where there is one) and up, the activation, then down summed up; one
 * submission. A block has the step's rows, or with experts (experts.c) those that want its expert.
 */
#include "worker/opencl/impl.h"

#include <string.h>

#define ACTIVATE_ITEMS 128

/* Else activation(up) goes into down. */
static bool has_gate(const struct hd_cl_ffn *f)
{
    return hd_slot_layers(f->o->base.o.model, HD_SLOT_GATE) > 0;
}

static void plan_inputs(struct hd_cl_ffn *f)
{
    struct hd_opencl *o = f->o;
    static const enum hd_slot_id slots[2] = {HD_SLOT_GATE, HD_SLOT_UP};
    unsigned first = has_gate(f) ? 0 : 1;
    size_t n = 0, most = 0;
    for (size_t s = 0; s < f->n; s++) {
        const struct hd_cl_wanted *b = &o->wanted[s];
        most = b->rows > most ? b->rows : most;
        for (unsigned i = first; i < 2; i++, n++) {
            o->part[0][n] = hd_cl_part_of(f->task->from.weights, b->at, slots[i]);
            o->matrix[0][n] = (struct hd_cl_matrix){
                .y = (uint32_t)((i ? f->up_at : 0) + b->first * o->s.ffn_width),
                .y_stride = (uint32_t)o->s.ffn_width,
                .x = (uint32_t)(f->x + b->input * f->x_stride),
                .d = f->d + b->input,
                .rows = b->rows};
            f->flops += 2 * (uint64_t)b->rows * o->part[0][n].outputs * o->part[0][n].inputs;
        }
    }
    hd_cl_plan(o, &(struct hd_cl_jobs){o->part[0], o->matrix[0], n, most}, &f->project);
}

void hd_cl_plan_down(struct hd_cl_ffn *f, size_t from, size_t end, struct hd_cl_down *down)
{
    struct hd_opencl *o = f->o;
    size_t n[2] = {0, 0}, width = o->s.ffn_width, most = 0, given = 0;
    bool is_sum = o->base.o.model->shape.n_experts == 0; /* else whoever adds says where */
    for (size_t s = from; s < end; s++) {
        const struct hd_cl_wanted *b = &o->wanted[s];
        struct hd_cl_part p = hd_cl_part_of(f->task->from.weights, b->at, HD_SLOT_DOWN);
        bool q8 = hd_cl_takes_q8(o, &p);
        o->part[q8][n[q8]] = p;
        o->matrix[q8][n[q8]++] =
            (struct hd_cl_matrix){.y = (uint32_t)(given * o->s.dim),
                                  .y_stride = (uint32_t)o->s.dim,
                                  .x = (uint32_t)(b->first * width / (q8 ? 4 : 1)),
                                  .d = b->first,
                                  .rows = b->rows};
        most = b->rows > most ? b->rows : most;
        given += b->rows;
        f->flops += 2 * (uint64_t)b->rows * p.outputs * p.inputs;
    }
    hd_cl_plan(o, &(struct hd_cl_jobs){o->part[1], o->matrix[1], n[1], most, is_sum}, &down->q8);
    hd_cl_plan(o, &(struct hd_cl_jobs){o->part[0], o->matrix[0], n[0], most, is_sum}, &down->f32);
}

static void add_blocks(struct hd_cl_ffn *f)
{
    struct hd_cl_block *b = hd_cl_in_add(f->o, f->n * sizeof *b, &f->blocks);
    for (size_t s = 0; s < f->n; s++) {
        const struct hd_cl_wanted *w = &f->o->wanted[s];
        struct hd_cl_part down = hd_cl_part_of(f->task->from.weights, w->at, HD_SLOT_DOWN);
        b[s] = (struct hd_cl_block){
            .gate = hd_cl_part_of(f->task->from.weights, w->at, HD_SLOT_GATE_BIAS).at,
            .up = hd_cl_part_of(f->task->from.weights, w->at, HD_SLOT_UP_BIAS).at,
            .width = down.inputs,
            .q8 = hd_cl_takes_q8(f->o, &down),
            .first = w->first,
            .rows = w->rows,
        };
    }
}

static cl_int activate(const struct hd_cl_ffn *f, const cl_mem *slabs)
{
    static const uint32_t kinds[] = {[HD_ACTIVATION_SILU] = 0, /* kernels/rows.cl */
                                     [HD_ACTIVATION_GELU_TANH] = 1,
                                     [HD_ACTIVATION_CLAMPED] = 2,
                                     [HD_ACTIVATION_GELU] = 3,
                                     [HD_ACTIVATION_RELU2] = 4};
    _Static_assert(sizeof kinds / sizeof *kinds == HD_ACTIVATION_KINDS, "all have a kernel");
    struct hd_opencl *o = f->o;
    const struct hd_block *model = &o->base.o.model->block;
    struct hd_cl_launch l = {o->cl, &o->programs.activate, 0, CL_SUCCESS};
    hd_cl_put_slabs(&l, slabs);
    hd_cl_put_buffer(&l, o->in_at);
    hd_cl_put_u32(&l, f->blocks);
    hd_cl_put_buffer(&l, o->y);
    hd_cl_put_u32(&l, f->up_at);
    hd_cl_put_buffer(&l, o->s.q8 ? o->y_q : o->y);
    hd_cl_put_buffer(&l, o->s.q8 ? o->y_d : o->y);
    hd_cl_put_u32(&l, o->s.hidden_rows);
    hd_cl_put_u32(&l, o->s.ffn_width);
    hd_cl_put_u32(&l, kinds[model->activation]);
    hd_cl_put_u32(&l, has_gate(f));
    hd_cl_put_f32(&l, model->clamp.alpha);
    hd_cl_put_f32(&l, model->clamp.limit);
    hd_cl_put_buffer(&l, o->result);
    hd_cl_put_u32(&l, o->travels_at / sizeof(uint32_t));
    return hd_cl_go(&l, ACTIVATE_ITEMS, (o->s.ffn_width + ACTIVATE_ITEMS - 1) / ACTIVATE_ITEMS,
                    f->project.rows, f->n);
}

/* What down reads. */
static struct hd_cl_operand hidden(const struct hd_opencl *o, bool q8)
{
    size_t width = o->s.ffn_width;
    return q8 ? (struct hd_cl_operand){o->y_q, o->y_d, width / 4, o->s.hidden_rows}
              : (struct hd_cl_operand){o->y, NULL, width, 0};
}

cl_int hd_cl_project_down(struct hd_cl_ffn *f, const struct hd_cl_down *down)
{
    struct hd_opencl *o = f->o;
    const struct hd_cl_operand q8 = hidden(o, true), f32 = hidden(o, false);
    const cl_mem *slabs = hd_cl_slabs_of(f->task->from.weights);
    cl_int rc = hd_cl_project(o, &down->q8, slabs, &q8, o->given);
    return rc == CL_SUCCESS ? hd_cl_project(o, &down->f32, slabs, &f32, o->given) : rc;
}

static cl_int submit(struct hd_cl_ffn *f, const struct hd_cl_input *in,
                     const struct hd_cl_down *down)
{
    struct hd_opencl *o = f->o;
    const cl_mem *slabs = hd_cl_slabs_of(f->task->from.weights);
    cl_int rc = hd_cl_in_send(o);
    if (rc != CL_SUCCESS)
        return rc;
    struct hd_cl_operand x = hd_cl_inputs(o, in, &rc);
    if (rc == CL_SUCCESS && f->picked > 0)
        x = hd_cl_gather(f, in, &x, &rc);
    if (rc == CL_SUCCESS)
        rc = hd_cl_project(o, &f->project, slabs, &x, o->y);
    if (rc == CL_SUCCESS)
        rc = activate(f, slabs);
    if (!down)
        return rc == CL_SUCCESS ? hd_cl_add_experts(f) : rc;
    struct hd_cl_sum sum = {
        .q8 = &down->q8,
        .f32 = &down->f32,
        .x_q8 = hidden(o, true),
        .x_f32 = hidden(o, false),
        .shifts = f->shifts,
        .rows = f->task->rows->n,
    };
    return rc == CL_SUCCESS ? hd_cl_reduce(o, &sum, slabs) : rc;
}

/* All blocks have all rows. */
static void list_blocks(struct hd_cl_ffn *f)
{
    const struct hd_half_task *t = f->task;
    for (size_t s = 0; s < t->units.n; s++)
        f->o->wanted[s] = (struct hd_cl_wanted){.at = {t->kind, t->units.list[s], t->layer},
                                                .first = (uint32_t)(s * f->o->s.stride),
                                                .rows = (uint32_t)t->rows->n};
    f->n = t->units.n;
}

int hd_cl_ffn(struct hd_opencl *o, const struct hd_half_task *t, struct hd_half_output *out,
              struct hd_error *err)
{
    size_t rows = t->rows->n;
    bool has_experts = o->base.o.model->shape.n_experts > 0;
    struct hd_cl_ffn f = {.o = o, .task = t, .up_at = o->s.hidden_rows * o->s.ffn_width};
    struct hd_cl_input in;
    struct hd_cl_down down;
    if (has_experts)
        hd_cl_list_experts(&f);
    else
        list_blocks(&f);
    int rc = hd_cl_in_begin(o,
                            hd_cl_input_bytes(o, rows) + rows * sizeof(int32_t) +
                                f.n * sizeof(struct hd_cl_block) + hd_cl_jobs_bytes(4 * f.n) * 3 +
                                (has_experts ? hd_cl_experts_bytes(&f) : 0),
                            err);
    if (rc < 0)
        return rc;
    hd_cl_add_input(o, t->rows->x, rows, &in);
    memcpy(hd_cl_in_add(o, rows * sizeof(int32_t), &f.shifts), t->rows->shifts,
           rows * sizeof(int32_t));
    add_blocks(&f);
    f.x = f.picked > 0 ? 0 : in.x;
    f.d = f.picked > 0 ? 0 : in.d;
    f.x_stride =
        o->s.q8 ? o->s.dim / 4 : o->s.dim; /* of rows that are gathered: all others' is 0 */
    if (has_experts)
        hd_cl_plan_experts(&f);
    else
        hd_cl_plan_down(&f, 0, f.n, &down);
    plan_inputs(&f);
    cl_int code = submit(&f, &in, has_experts ? NULL : &down);
    if (code != CL_SUCCESS)
        return hd_cl_fail(o->cl, code, "an FFN half", err);
    out->flops = f.flops;
    return hd_cl_answer(o, t, NULL, NULL, out, err);
}
