/* products.c - launches of products: matrices sorted by the form of their weights, and for each
 * form the kernel that suits the rows. */
#include "common/math/half.h"
#include "worker/opencl/impl.h"

#include <string.h>

#define FEW          4 /* rows of a work-group: kernels/products.cl */
#define FEW_ITEMS    256
#define F32_ITEMS    64
#define F32_GROUPS   4
#define REDUCE_ITEMS 256
#define MMA_ITEMS    256 /* kernels/mma.cl */
#define MMA_GROUPS   8
#define MMA_ROWS     64
#define ADD_ITEMS    64
#define MANY         (HD_CL_FEW + 1) /* rows; fewer fill too little of a tile */

size_t hd_cl_jobs_bytes(size_t n)
{
    return n * sizeof(struct hd_cl_matrix) + HD_PACK_COUNT * 64;
}

/* Of how many units what they give rests in memory before it is added up; 0: of none, sums of so
 * few rows are made in one launch. */
static size_t units_at_once(const struct hd_opencl *o, size_t rows)
{
    return o->s.q8 && rows >= MANY ? o->s.given_rows / rows : 0;
}

void hd_cl_plan(struct hd_opencl *o, const struct hd_cl_jobs *jobs, struct hd_cl_plan *plan)
{
    size_t given = jobs->is_sum ? units_at_once(o, jobs->rows) : 0;
    *plan = (struct hd_cl_plan){.rows = jobs->rows};
    for (size_t i = 0; i < jobs->n; i++)
        plan->form[jobs->part[i].form].n++;
    for (unsigned f = 0; f < HD_PACK_COUNT; f++) {
        struct hd_cl_forms *form = &plan->form[f];
        if (form->n == 0)
            continue;
        struct hd_cl_matrix *m = hd_cl_in_add(o, form->n * sizeof *m, &form->at), *first = m;
        for (size_t i = 0; i < jobs->n; i++) {
            const struct hd_cl_part *p = &jobs->part[i];
            if (p->form != f)
                continue;
            *m = jobs->matrix[i];
            m->at = p->at;
            m->groups = p->groups;
            m->group_bytes = p->group_bytes;
            m->outputs = p->outputs;
            m->inputs = p->inputs;
            if (given > 0) {
                m->y = (uint32_t)((size_t)(m - first) % given * jobs->rows * o->s.dim);
                m->y_stride = (uint32_t)o->s.dim;
            }
            form->most_groups = p->groups > form->most_groups ? p->groups : form->most_groups;
            m++;
        }
    }
}

static size_t parts(size_t n, size_t size)
{
    return (n + size - 1) / size;
}

/* The kernel for some rows: of the projections, or (one further) of the sums. */
static enum hd_cl_product kernel_for(const struct hd_opencl *o, bool q8, size_t rows)
{
    if (!q8)
        return HD_CL_PROJECT_F32;
    if (o->cl->info.has_mma && rows >= MANY)
        return HD_CL_PROJECT_MMA;
    return rows == 1 ? HD_CL_PROJECT_ONE : HD_CL_PROJECT_FEW;
}

/* The products of one form's matrices. */
static cl_int project_form(struct hd_opencl *o, unsigned f, const struct hd_cl_forms *form,
                           size_t rows, const cl_mem *slabs, const struct hd_cl_operand *x,
                           cl_mem y)
{
    enum hd_cl_product kind = kernel_for(o, x->d != NULL, rows);
    struct hd_cl_launch l = {o->cl, &o->programs.product[f][kind], 0, CL_SUCCESS};
    hd_cl_put_slabs(&l, slabs);
    hd_cl_put_buffer(&l, o->in_at);
    hd_cl_put_u32(&l, form->at);
    hd_cl_put_buffer(&l, x->x);
    hd_cl_put_buffer(&l, x->d ? x->d : x->x);
    hd_cl_put_u32(&l, x->x_stride);
    hd_cl_put_u32(&l, x->d_stride);
    hd_cl_put_buffer(&l, y);
    if (kind == HD_CL_PROJECT_F32)
        return hd_cl_go(&l, F32_ITEMS, parts(form->most_groups, F32_GROUPS), form->n,
                        parts(rows, FEW));
    if (kind != HD_CL_PROJECT_MMA)
        return hd_cl_go(&l, FEW_ITEMS, form->most_groups, form->n, parts(rows, FEW));
    return hd_cl_go(&l, MMA_ITEMS, parts(form->most_groups, MMA_GROUPS), form->n,
                    parts(rows, MMA_ROWS));
}

cl_int hd_cl_project(struct hd_opencl *o, const struct hd_cl_plan *plan, const cl_mem *slabs,
                     const struct hd_cl_operand *x, cl_mem y)
{
    cl_int rc = CL_SUCCESS;
    for (unsigned f = 0; f < HD_PACK_COUNT && rc == CL_SUCCESS; f++)
        if (plan->form[f].n > 0)
            rc = project_form(o, f, &plan->form[f], plan->rows, slabs, x, y);
    return rc;
}

void hd_cl_put_sums(struct hd_cl_launch *l, const struct hd_opencl *o)
{
    hd_cl_put_buffer(l, o->sum);
    hd_cl_put_buffer(l, o->narrow ? o->narrow : o->travels);
    hd_cl_put_buffer(l, o->bad);
    hd_cl_put_buffer(l, o->wide);
}

static cl_int add_units(struct hd_opencl *o, const struct hd_cl_sum *s, size_t units,
                        uint32_t order)
{
    struct hd_cl_launch l = {o->cl, &o->programs.add_units, 0, CL_SUCCESS};
    hd_cl_put_buffer(&l, o->in_at);
    hd_cl_put_u32(&l, s->shifts);
    hd_cl_put_buffer(&l, o->given);
    hd_cl_put_u32(&l, units);
    hd_cl_put_sums(&l, o);
    hd_cl_put_u32(&l, o->s.dim);
    hd_cl_put_u32(&l, order);
    return hd_cl_go(&l, ADD_ITEMS, parts(o->s.dim, ADD_ITEMS), s->rows, 1);
}

/* Many rows: products as for any other matrix, then their sum, of so many units at a time. */
static cl_int reduce_many(struct hd_opencl *o, const struct hd_cl_sum *s, const cl_mem *slabs,
                          const struct hd_cl_operand *x, unsigned f, const struct hd_cl_forms *form,
                          uint32_t order)
{
    uint32_t most = (uint32_t)units_at_once(o, s->rows);
    cl_int rc = CL_SUCCESS;
    for (uint32_t u = 0, n; u < form->n && rc == CL_SUCCESS; u += n) {
        n = form->n - u < most ? form->n - u : most;
        struct hd_cl_forms some = {form->at + u * (uint32_t)sizeof(struct hd_cl_matrix), n,
                                   form->most_groups};
        uint32_t now =
            (u == 0 ? order & HD_CL_IS_FIRST : 0) | (u + n == form->n ? order & HD_CL_IS_LAST : 0);
        rc = project_form(o, f, &some, s->rows, slabs, x, o->given);
        if (rc == CL_SUCCESS)
            rc = add_units(o, s, n, now);
    }
    return rc;
}

static cl_int reduce_form(struct hd_opencl *o, const struct hd_cl_sum *s, const cl_mem *slabs,
                          const struct hd_cl_operand *x, unsigned f, const struct hd_cl_forms *form,
                          uint32_t order)
{
    enum hd_cl_product kind = kernel_for(o, x->d != NULL, s->rows) + 1;
    if (x->d && units_at_once(o, s->rows) > 0)
        return reduce_many(o, s, slabs, x, f, form, order);
    struct hd_cl_launch l = {o->cl, &o->programs.product[f][kind], 0, CL_SUCCESS};
    hd_cl_put_slabs(&l, slabs);
    hd_cl_put_buffer(&l, o->in_at);
    hd_cl_put_u32(&l, form->at);
    hd_cl_put_u32(&l, form->n);
    hd_cl_put_buffer(&l, x->x);
    hd_cl_put_buffer(&l, x->d ? x->d : x->x);
    hd_cl_put_u32(&l, x->x_stride);
    hd_cl_put_u32(&l, x->d_stride);
    hd_cl_put_u32(&l, s->shifts);
    hd_cl_put_sums(&l, o);
    hd_cl_put_u32(&l, s->rows);
    hd_cl_put_u32(&l, o->s.dim);
    hd_cl_put_u32(&l, order);
    return hd_cl_go(&l, REDUCE_ITEMS, form->most_groups, parts(s->rows, FEW), 1);
}

cl_int hd_cl_reduce(struct hd_opencl *o, const struct hd_cl_sum *s, const cl_mem *slabs)
{
    const struct hd_cl_plan *plans[2] = {s->q8, s->f32};
    const struct hd_cl_operand *x[2] = {&s->x_q8, &s->x_f32};
    unsigned left = 0;
    uint32_t order = HD_CL_IS_FIRST;
    cl_int rc = CL_SUCCESS;
    for (unsigned i = 0; i < 2 * HD_PACK_COUNT; i++)
        left += plans[i / HD_PACK_COUNT]->form[i % HD_PACK_COUNT].n > 0;
    for (unsigned i = 0; i < 2 * HD_PACK_COUNT && rc == CL_SUCCESS; i++) {
        unsigned f = i % HD_PACK_COUNT;
        const struct hd_cl_forms *form = &plans[i / HD_PACK_COUNT]->form[f];
        if (form->n == 0)
            continue;
        order |= --left == 0 ? HD_CL_IS_LAST : 0;
        rc = reduce_form(o, s, slabs, x[i / HD_PACK_COUNT], f, form, order);
        order = 0;
    }
    return rc;
}

/* ---- Inputs ----*/

size_t hd_cl_input_bytes(const struct hd_opencl *o, size_t rows)
{
    size_t prepared = rows * o->s.dim + HD_CL_FEW * o->s.dim / HD_Q8_BLOCK * 8;
    return rows * o->s.row_bytes + (rows <= HD_CL_FEW ? prepared : 0) + 256;
}

/* kernels/rows.cl: prepare_rows. */
static void prepare_row(const struct hd_opencl *o, const uint8_t *row, int8_t *q, float *d)
{
    for (size_t b = 0; b < o->s.dim / HD_Q8_BLOCK; b++, row += HD_Q8_BLOCK_BYTES) {
        int32_t sum = 0;
        for (size_t i = 0; i < HD_Q8_BLOCK; i++, q++) {
            int8_t v = (int8_t)row[2 + i];
            *q = v < -127 ? -127 : v;
            sum += *q;
        }
        float scale = hd_half_widen((uint16_t)(row[0] | row[1] << 8));
        d[b * HD_CL_FEW * 2] = scale;
        d[b * HD_CL_FEW * 2 + 1] = scale * (float)sum;
    }
}

void hd_cl_add_input(struct hd_opencl *o, const void *x, size_t rows, struct hd_cl_input *in)
{
    *in = (struct hd_cl_input){.rows = rows, .ready = o->s.q8 && rows <= HD_CL_FEW};
    if (!in->ready) {
        memcpy(hd_cl_in_add(o, rows * o->s.row_bytes, &in->at), x, rows * o->s.row_bytes);
        in->x = o->s.q8 ? 0 : in->at / 4;
        return;
    }
    int8_t *q = hd_cl_in_add(o, rows * o->s.dim, &in->at);
    float *d = hd_cl_in_add(o, HD_CL_FEW * o->s.dim / HD_Q8_BLOCK * 8, &in->d_at);
    for (size_t i = 0; i < rows; i++)
        prepare_row(o, (const uint8_t *)x + i * o->s.row_bytes, q + i * o->s.dim, d + 2 * i);
    in->x = in->at / 4;
    in->d = in->d_at / 8;
}

struct hd_cl_operand hd_cl_inputs(struct hd_opencl *o, const struct hd_cl_input *in, cl_int *rc)
{
    size_t blocks = o->s.dim / HD_Q8_BLOCK;
    if (!o->s.q8)
        return (struct hd_cl_operand){.x = o->in_at, .x_stride = hd_cl_input_stride(o)};
    if (in->ready)
        return (struct hd_cl_operand){o->in_at, o->in_at, o->s.dim / 4, HD_CL_FEW};
    struct hd_cl_launch l = {o->cl, &o->programs.prepare_rows, 0, CL_SUCCESS};
    hd_cl_put_buffer(&l, o->in_at);
    hd_cl_put_u64(&l, in->at);
    hd_cl_put_u32(&l, o->s.row_bytes);
    hd_cl_put_u32(&l, blocks);
    hd_cl_put_buffer(&l, o->x_q);
    hd_cl_put_buffer(&l, o->x_d);
    hd_cl_put_u32(&l, o->s.input_rows);
    *rc = hd_cl_go(&l, 64, parts(blocks, 64), in->rows, 1);
    return (struct hd_cl_operand){o->x_q, o->x_d, o->s.dim / 4, o->s.input_rows};
}
