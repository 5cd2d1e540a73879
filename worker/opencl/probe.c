/* probe.c - how fast a device multiplies one row by a matrix of the model, launch and wait
 * included, as a half-step has them: for plans that weigh workers against each other. */
#include "common/util/clock.h"
#include "worker/opencl/impl.h"
#include "worker/opencl/opencl.h"

#include <stdlib.h>

#define PROBE_US 20000
#define PASSES   5

struct probe {
    struct hd_opencl *o; /* a device without a conversation */
    cl_mem w, x, d;
    struct hd_cl_plan plan;
    struct hd_cl_operand in;
    double work; /* multiply-adds */
};

/* Zeros take the same time. */
static int prepare(struct probe *p)
{
    const struct hd_model *m = p->o->base.o.model;
    const struct hd_tensor *t = &m->layers[0].up;
    struct hd_pack f = hd_pack_of(hd_pack_id(t->type));
    bool q8 = m->activations == HD_ACTIVATIONS_Q8 && f.is_float == HD_PACK_QUANT;
    size_t groups = (t->rows + HD_GROUP - 1) / HD_GROUP;
    struct hd_cl_part part = {
        .form = hd_pack_id(t->type),
        .groups = (uint32_t)groups,
        .group_bytes = (uint32_t)((t->cols / f.span * hd_pack_span_bytes(f) + 63) / 64 * 64),
        .outputs = (uint32_t)t->rows,
        .inputs = (uint32_t)t->cols};
    struct hd_cl_matrix matrix = {.y_stride = part.outputs, .rows = 1};
    int rc = hd_cl_in_begin(p->o, hd_cl_jobs_bytes(1), NULL);
    if (rc == 0)
        p->w = hd_cl_buffer(p->o->cl, groups * part.group_bytes, &rc, NULL);
    if (rc == 0)
        p->x = hd_cl_buffer(p->o->cl, HD_CL_ROWS * t->cols * sizeof(float), &rc, NULL);
    if (rc == 0)
        p->d = hd_cl_buffer(p->o->cl, HD_CL_ROWS * t->cols, &rc, NULL);
    if (rc == 0)
        p->o->y = hd_cl_buffer(p->o->cl, groups * HD_GROUP * sizeof(float), &rc, NULL);
    if (rc < 0)
        return rc;
    hd_cl_plan(p->o, &(struct hd_cl_jobs){&part, &matrix, 1, 1}, &p->plan);
    p->in = (struct hd_cl_operand){p->x, q8 ? p->d : NULL, q8 ? t->cols / 4 : t->cols, HD_CL_ROWS};
    p->work = (double)t->rows * (double)t->cols;
    return hd_cl_in_send(p->o) == CL_SUCCESS ? 0 : HD_E_DEVICE;
}

/* Multiply-adds a second: the best of some passes. */
static double measure(struct probe *p)
{
    const cl_mem slabs[HD_CL_SLABS] = {p->w};
    double best = 0;
    uint64_t begin = hd_now_us();
    for (unsigned i = 0; i <= PASSES || hd_now_us() - begin < PROBE_US; i++) {
        uint64_t start = hd_now_us();
        if (hd_cl_project(p->o, &p->plan, slabs, &p->in, p->o->y) != CL_SUCCESS ||
            p->o->cl->call.Finish(p->o->cl->queue) != CL_SUCCESS)
            return 0;
        uint64_t us = hd_now_us() - start;
        double speed = p->work / (double)(us > 0 ? us : 1) * 1e6;
        best = i > 0 && speed > best ? speed : best; /* the first may compile */
    }
    return best;
}

uint64_t hd_cl_speed(const struct hd_device_options *options)
{
    struct hd_device *d;
    struct probe p = {0};
    if (hd_opencl_device.create(&d, options, NULL) < 0)
        return 0;
    p.o = hd_opencl(d);
    uint64_t speed = prepare(&p) == 0 ? (uint64_t)measure(&p) : 0;
    hd_cl_release(p.o->cl, p.w);
    hd_cl_release(p.o->cl, p.x);
    hd_cl_release(p.o->cl, p.d);
    hd_device_free(d);
    return speed;
}
