/* experts.c - the FFN half of a model with experts: rows are gathered expert by expert; what down
 * gives of them rests in memory, as much of it as there is room for at a time, and is then added up
 * row by row. */
#include "worker/opencl/impl.h"

#include <stdlib.h>
#include <string.h>

#define SIDE_BY_SIDE 8 /* an expert's rows begin on a multiple */
#define NOT_WANTED   UINT32_MAX

static size_t padded(size_t rows)
{
    return (rows + SIDE_BY_SIDE - 1) / SIDE_BY_SIDE * SIDE_BY_SIDE;
}

/* ---- Room ----*/

void hd_cl_experts_shape(const struct hd_opencl *o, struct hd_cl_shape *s)
{
    const struct hd_model_shape *m = &o->base.o.model->shape;
    size_t most = o->base.sizes.max_rows * m->n_used + (size_t)SIDE_BY_SIDE * m->n_experts;
    size_t blocks = s->ffn_blocks / m->n_experts, rows = padded(o->base.sizes.max_rows);
    s->picked_rows = padded(most) + HD_CL_ROWS;
    s->hidden_rows = blocks * padded(most) + HD_CL_ROWS;
    s->given_rows = hd_cl_given_rows(s, 2 * rows, s->hidden_rows);
}

int hd_cl_experts_init(struct hd_opencl *o)
{
    const struct hd_model *m = o->base.o.model;
    if (m->shape.n_experts == 0)
        return 0;
    o->input_of = calloc(m->shape.n_experts, sizeof *o->input_of);
    /* Every round but the last has more rows than given_rows - max_rows, which is half of it. */
    o->most_rounds = 2 * (o->s.hidden_rows / o->s.given_rows + 1);
    o->rounds = calloc(o->most_rounds, sizeof *o->rounds);
    int rc = hd_picks_init(&o->picks, m, o->base.sizes.max_rows);
    return rc == 0 && o->input_of && o->rounds ? 0 : HD_E_NOMEM;
}

void hd_cl_experts_deinit(struct hd_opencl *o)
{
    hd_picks_deinit(&o->picks);
    free(o->input_of);
    free(o->rounds);
    o->input_of = NULL;
    o->rounds = NULL;
}

/* ---- Which blocks have which rows ----*/

void hd_cl_list_experts(struct hd_cl_ffn *f)
{
    struct hd_opencl *o = f->o;
    const struct hd_half_task *t = f->task;
    struct hd_picks *p = &o->picks;
    uint32_t hidden = 0;
    hd_picks_sort(p, t->rows);
    for (size_t e = 0; e < p->experts; e++)
        o->input_of[e] = NOT_WANTED;
    for (size_t i = 0; i < t->units.n; i++) {
        uint32_t unit = t->units.list[i], e = unit % p->experts;
        size_t rows = p->first[e + 1] - p->first[e];
        if (rows == 0)
            continue;
        if (o->input_of[e] == NOT_WANTED && t->rows->n > 1) {
            o->input_of[e] = (uint32_t)f->picked;
            f->picked += padded(rows);
        }
        o->wanted[f->n++] = (struct hd_cl_wanted){.at = {t->kind, unit, t->layer},
                                                  .input = t->rows->n > 1 ? o->input_of[e] : 0,
                                                  .first = hidden,
                                                  .rows = (uint32_t)rows,
                                                  .row = p->row + p->first[e],
                                                  .weight = p->weight + p->first[e]};
        hidden += (uint32_t)padded(rows);
        f->terms += rows;
    }
}

/* ---- Inputs of the experts, side by side ----*/

size_t hd_cl_experts_bytes(const struct hd_cl_ffn *f)
{
    size_t rounds = f->o->most_rounds, of_round = (f->task->rows->n + 1) * sizeof(uint32_t) + 128;
    return f->picked * sizeof(uint32_t) + 64 + f->terms * sizeof(struct hd_cl_term) +
           rounds * (of_round + 2 * hd_cl_jobs_bytes(0));
}

static void add_picked(struct hd_cl_ffn *f)
{
    uint32_t *row = hd_cl_in_add(f->o, f->picked * sizeof *row, &f->rows_at);
    memset(row, 0, f->picked * sizeof *row); /* what fills up an expert's rows is any row */
    for (size_t s = 0; s < f->n; s++) {
        const struct hd_cl_wanted *b = &f->o->wanted[s];
        memcpy(row + b->input, b->row, b->rows * sizeof *row);
    }
}

struct hd_cl_operand hd_cl_gather(const struct hd_cl_ffn *f, const struct hd_cl_input *in,
                                  const struct hd_cl_operand *x, cl_int *rc)
{
    struct hd_opencl *o = f->o;
    size_t words = o->s.q8 ? o->s.dim / 4 : o->s.dim;
    struct hd_cl_launch l = {o->cl, &o->programs.gather_rows, 0, CL_SUCCESS};
    hd_cl_put_buffer(&l, o->in_at);
    hd_cl_put_u32(&l, f->rows_at);
    hd_cl_put_u32(&l, words);
    hd_cl_put_buffer(&l, x->x);
    hd_cl_put_u32(&l, in->x);
    hd_cl_put_u32(&l, x->x_stride);
    hd_cl_put_buffer(&l, x->d ? x->d : x->x);
    hd_cl_put_u32(&l, in->d);
    hd_cl_put_u32(&l, x->d ? x->d_stride : 0);
    hd_cl_put_buffer(&l, o->picked);
    hd_cl_put_buffer(&l, o->picked_d);
    hd_cl_put_u32(&l, o->s.picked_rows);
    *rc = hd_cl_go(&l, 64, (words + 63) / 64, f->picked, 1);
    return (struct hd_cl_operand){o->picked, x->d ? o->picked_d : NULL, words, o->s.picked_rows};
}

/* ---- Rounds of down ----*/

/* The end of a round that begins with block `from`. */
static size_t round_end(const struct hd_cl_ffn *f, size_t from)
{
    size_t rows = 0, s = from;
    for (; s < f->n; s++) {
        rows += f->o->wanted[s].rows;
        if (rows > f->o->s.given_rows)
            break;
    }
    return s;
}

/* Which rows of what is given each row of the step adds up. */
static void add_terms(struct hd_cl_ffn *f, size_t from, size_t end, struct hd_cl_round *r)
{
    struct hd_opencl *o = f->o;
    size_t rows = f->task->rows->n, n = 0;
    uint32_t *first = hd_cl_in_add(o, (rows + 1) * sizeof *first, &r->first_at);
    memset(first, 0, (rows + 1) * sizeof *first);
    for (size_t s = from; s < end; s++)
        for (size_t i = 0; i < o->wanted[s].rows; i++, n++)
            first[o->wanted[s].row[i] + 1]++;
    for (size_t i = 0; i < rows; i++)
        first[i + 1] += first[i];
    struct hd_cl_term *terms = hd_cl_in_add(o, n * sizeof *terms, &r->terms_at);
    uint32_t given = 0;
    for (size_t s = from; s < end; s++)
        for (size_t i = 0; i < o->wanted[s].rows; i++, given++)
            terms[first[o->wanted[s].row[i]]++] =
                (struct hd_cl_term){given, o->wanted[s].weight[i]};
    memmove(first + 1, first, rows * sizeof *first); /* each stands at its end now */
    first[0] = 0;
}

/* At least one round, which writes zeros where no row wants anything. */
void hd_cl_plan_experts(struct hd_cl_ffn *f)
{
    size_t from = 0;
    if (f->picked > 0)
        add_picked(f);
    do {
        size_t end = round_end(f, from);
        struct hd_cl_round *r = &f->o->rounds[f->rounds++];
        hd_cl_plan_down(f, from, end, &r->down);
        add_terms(f, from, end, r);
        from = end;
    } while (from < f->n);
}

static cl_int add_round(const struct hd_cl_ffn *f, const struct hd_cl_round *r, uint32_t order)
{
    struct hd_opencl *o = f->o;
    struct hd_cl_launch l = {o->cl, &o->programs.add_terms, 0, CL_SUCCESS};
    hd_cl_put_buffer(&l, o->in_at);
    hd_cl_put_u32(&l, r->first_at);
    hd_cl_put_u32(&l, r->terms_at);
    hd_cl_put_u32(&l, f->shifts);
    hd_cl_put_buffer(&l, o->given);
    hd_cl_put_sums(&l, o);
    hd_cl_put_u32(&l, o->s.dim);
    hd_cl_put_u32(&l, order);
    return hd_cl_go(&l, 64, (o->s.dim + 63) / 64, f->task->rows->n, 1);
}

cl_int hd_cl_add_experts(struct hd_cl_ffn *f)
{
    struct hd_opencl *o = f->o;
    static const cl_uint zero = 0;
    cl_int rc = CL_SUCCESS;
    if (f->n == 0) /* else the activation has cleared the flags */
        rc = o->cl->call.EnqueueFillBuffer(o->cl->queue, o->result, &zero, sizeof zero, 0,
                                           o->travels_at, 0, NULL, NULL);
    for (size_t i = 0; i < f->rounds && rc == CL_SUCCESS; i++) {
        rc = hd_cl_project_down(f, &o->rounds[i].down);
        if (rc == CL_SUCCESS)
            rc =
                add_round(f, &o->rounds[i],
                          (i == 0 ? HD_CL_IS_FIRST : 0) | (i + 1 == f->rounds ? HD_CL_IS_LAST : 0));
    }
    return rc;
}
