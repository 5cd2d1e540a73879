/* sums.c - reading the sums of a half back, and what travels of them. */
#include "worker/opencl/impl.h"

#include "common/net/conn.h"
#include "worker/answer.h"

#include <stdlib.h>
#include <string.h>

static cl_int make_compact(struct hd_opencl *o, size_t rows)
{
    size_t blocks = o->s.dim / HD_Q8_BLOCK;
    struct hd_cl_launch l = {o->cl, &o->programs.compact, 0, CL_SUCCESS};
    if (!o->narrow)
        return CL_SUCCESS;
    hd_cl_put_buffer(&l, o->narrow);
    hd_cl_put_buffer(&l, o->travels);
    hd_cl_put_u32(&l, o->s.dim);
    return hd_cl_go(&l, 64, (blocks + 63) / 64, rows, 1);
}

static const uint32_t *flags_of(const struct hd_opencl *o, bool wide)
{
    return (const uint32_t *)(const void *)(o->out.data + (wide ? o->travels_at / 2 : 0));
}

/* Rows that need 64 bits are read apart, into their places of an array of all. NULL: no memory. */
static cl_int read_wide(struct hd_opencl *o, size_t rows, int64_t *sum)
{
    cl_int rc = CL_SUCCESS;
    size_t bytes = o->s.dim * sizeof *sum;
    for (size_t i = 0; i < rows && rc == CL_SUCCESS; i++)
        if (o->is_bad[o->base.sizes.max_rows + i])
            rc = o->cl->call.EnqueueReadBuffer(o->cl->queue, o->sum, CL_TRUE, i * bytes, bytes,
                                               sum + i * o->s.dim, 0, NULL, NULL);
    return rc;
}

static bool note_flags(struct hd_opencl *o, size_t rows)
{
    uint8_t *is_bad = o->is_bad, *is_wide = o->is_bad + o->base.sizes.max_rows;
    bool any_wide = false;
    for (size_t i = 0; i < rows; i++) {
        is_bad[i] = flags_of(o, false)[i] != 0;
        is_wide[i] = !is_bad[i] && flags_of(o, true)[i] != 0;
        any_wide = any_wide || is_wide[i];
        if (is_bad[i])
            memset(o->out.data + o->travels_at + i * o->s.sum_bytes, 0, o->s.sum_bytes);
    }
    return any_wide;
}

/* Enqueues the copy of what travels and what comes behind it, and waits for the copy. */
static cl_int copy_back(struct hd_opencl *o, size_t rows, cl_int (*behind)(void *arg), void *arg)
{
    cl_event copied;
    size_t bytes = o->travels_at + rows * o->s.sum_bytes;
    cl_int rc = o->cl->call.EnqueueReadBuffer(o->cl->queue, o->result, CL_FALSE, 0, bytes,
                                              o->out.data, 0, NULL, &copied);
    if (rc != CL_SUCCESS)
        return rc;
    cl_int late = behind ? behind(arg) : CL_SUCCESS;
    rc = hd_cl_wait(o->cl, copied);
    return rc == CL_SUCCESS ? late : rc;
}

/* ---- The payload: megabytes, so the team copies ----*/

#define AT_ONCE 8 /* rows of a work item */

struct copying {
    const uint8_t *from;
    uint8_t *to;
    size_t rows, row_bytes;
};

static void copy_item(void *arg, size_t index, unsigned thread)
{
    const struct copying *c = arg;
    size_t first = index * AT_ONCE, left = c->rows - first;
    (void)thread;
    memcpy(c->to + first * c->row_bytes, c->from + first * c->row_bytes,
           (left < AT_ONCE ? left : AT_ONCE) * c->row_bytes);
}

/* Of rows none of which is wide. */
static int copy_rows(struct hd_opencl *o, size_t rows, struct hd_half_output *out,
                     struct hd_error *err)
{
    struct copying c = {o->out.data + o->travels_at, NULL, rows, o->s.sum_bytes};
    out->payload = hd_shared_new(rows * o->s.sum_bytes);
    if (!out->payload)
        return hd_fail(err, HD_E_NOMEM, "out of memory for the partial sums of %zu rows", rows);
    c.to = hd_shared_data(out->payload);
    if (rows <= 2 * AT_ONCE)
        memcpy(c.to, c.from, rows * c.row_bytes);
    else
        hd_team_run(o->base.o.team, (rows + AT_ONCE - 1) / AT_ONCE, copy_item, &c);
    out->wide = o->lists;
    out->bad = o->lists + o->base.sizes.max_rows;
    out->n_bad = hd_list_flags(o->is_bad, rows, o->lists + o->base.sizes.max_rows);
    return 0;
}

int hd_cl_answer(struct hd_opencl *o, const struct hd_half_task *task, cl_int (*behind)(void *arg),
                 void *arg, struct hd_half_output *out, struct hd_error *err)
{
    size_t rows = task->rows->n;
    int64_t *sum = NULL;
    cl_int rc = make_compact(o, rows);
    if (rc == CL_SUCCESS)
        rc = copy_back(o, rows, behind, arg);
    if (rc != CL_SUCCESS)
        return hd_cl_fail(o->cl, rc, "a half-step", err);
    if (!note_flags(o, rows))
        return copy_rows(o, rows, out, err);
    sum = malloc(rows * o->s.dim * sizeof *sum);
    if (!sum)
        return hd_fail(err, HD_E_NOMEM, "out of memory for the sums of %zu rows", rows);
    rc = read_wide(o, rows, sum);
    struct hd_sums s = {
        .rows = rows,
        .dim = o->s.dim,
        .is_bad = o->is_bad,
        .is_wide = o->is_bad + o->base.sizes.max_rows,
        .sum = sum,
        .narrow = o->out.data + o->travels_at,
        .narrow_bytes = o->s.sum_bytes,
        .wide = o->lists,
        .bad = o->lists + o->base.sizes.max_rows,
    };
    int result = rc == CL_SUCCESS ? hd_answer_sums(&s, out, err)
                                  : hd_cl_fail(o->cl, rc, "clEnqueueReadBuffer", err);
    free(sum);
    return result;
}
