/* probe.c - multiplies more of the model's FFN than a core's caches hold; the best pass counts. */
#include "worker/cpu/probe.h"

#include "common/math/team.h"
#include "common/util/clock.h"

#include <stdlib.h>

#define PROBE_BYTES (16u << 20) /* of packed weights: more than a core's own caches hold */
#define PASS_US     1000        /* a pass that counts takes so long; the best is the speed */
#define PASSES      16          /* that have to count: others may use the processor as well */
#define PROBE_US    500000      /* all of them together, at most */
#define PIECE       4           /* groups that a thread takes at once */

struct probe {
    const struct hd_kernels *kernels;
    struct hd_weights w; /* [outputs][inputs], of an FFN */
    float *x;            /* [inputs] */
    float *y;            /* [outputs] */
};

static void multiply(void *arg, size_t index, unsigned thread)
{
    const struct probe *p = arg;
    size_t g0 = index * PIECE, g1 = g0 + PIECE;
    struct hd_matmul_args a = {
        .w = &p->w,
        .g0 = g0,
        .g1 = g1 < p->w.groups ? g1 : p->w.groups,
        .x = p->x,
        .x_stride = p->w.inputs,
        .y = p->y + g0 * HD_GROUP,
        .y_stride = p->w.outputs,
        .rows = 1,
    };
    hd_matmul(p->kernels, &a);
}

/* As many rows as make PROBE_BYTES, if there are so many. */
static int pack(struct probe *p, const struct hd_tensor *t)
{
    struct hd_slice s = {.n_rows = HD_GROUP, .n_cols = t->cols};
    size_t groups = PROBE_BYTES / hd_weights_bytes(t, &s);
    s.n_rows = groups * HD_GROUP;
    if (s.n_rows == 0 || s.n_rows > t->rows)
        s.n_rows = t->rows;
    if (t->data && t->layout == HD_LAYOUT_ROWS)
        return hd_weights_init(&p->w, t, &s);
    struct hd_tensor zeros = *t; /* the weights are not here yet; zeros take the same time */
    zeros.row_bytes = hd_dtype_row_bytes(t->type, t->cols);
    uint8_t *data = calloc(s.n_rows, zeros.row_bytes);
    if (!data)
        return HD_E_NOMEM;
    zeros.rows = s.n_rows;
    zeros.data = data;
    int rc = hd_weights_init(&p->w, &zeros, &s);
    free(data);
    return rc;
}

/* Multiply-adds a second. */
static double measure(struct probe *p, struct hd_team *team)
{
    double work = (double)p->w.outputs * (double)p->w.inputs, best = 0;
    size_t pieces = (p->w.groups + PIECE - 1) / PIECE;
    unsigned repeat = 1, counted = 0;       /* a small matrix takes less than the clock can tell */
    hd_team_run(team, pieces, multiply, p); /* wakes the threads, touches the pages */
    uint64_t begin = hd_now_us(), now = begin;
    while (counted < PASSES && now - begin < PROBE_US) {
        uint64_t start = hd_now_us();
        for (unsigned i = 0; i < repeat; i++)
            hd_team_run(team, pieces, multiply, p);
        now = hd_now_us();
        if (now - start < PASS_US) {
            repeat *= 2;
            continue;
        }
        double speed = work * repeat / (double)(now - start) * 1e6;
        best = speed > best ? speed : best;
        counted++;
    }
    return best;
}

uint64_t hd_probe(const struct hd_device_options *o)
{
    struct probe p = {.kernels = hd_kernels_get(o->isa)};
    struct hd_team_options team_options = {.threads = o->threads, .spin_us = 50, .name = "probe"};
    struct hd_team *team;
    uint64_t speed = 0;
    if (hd_team_new(&team, &team_options) < 0)
        return 0;
    if (pack(&p, &o->model->layers[0].up) < 0)
        goto out_after_team;
    p.x = calloc(p.w.inputs, sizeof *p.x); /* the time does not depend on the values */
    p.y = calloc(p.w.groups * HD_GROUP, sizeof *p.y);
    if (p.x && p.y)
        speed = (uint64_t)measure(&p, team);
    free(p.x);
    free(p.y);
    hd_weights_deinit(&p.w);
out_after_team:
    hd_team_free(team);
    return speed;
}
