/* cpu.c - the table of operations, and what ties its parts together. */
#include "worker/cpu/cpu.h"

#include "common/util/memory.h"
#include "worker/cpu/probe.h"

#include <stdlib.h>

struct cpu {
    struct hd_device base;
    const struct hd_kernels *kernels;
    struct hd_compute *compute; /* of the session; NULL: none */
};

static struct cpu *of(struct hd_device *d)
{
    return (struct cpu *)(void *)d;
}

struct hd_compute *hd_cpu_compute(const struct hd_device *d)
{
    return ((const struct cpu *)(const void *)d)->compute;
}

static void free_cpu(struct hd_device *d)
{
    hd_compute_free(of(d)->compute);
    free(d);
}

static int resize(struct hd_device *d, const struct hd_device_sizes *sizes)
{
    hd_compute_free(of(d)->compute);
    of(d)->compute = NULL;
    d->sizes = *sizes;
    return hd_compute_new(&of(d)->compute, d, of(d)->kernels);
}

static int half(struct hd_device *d, const struct hd_half_task *task, struct hd_half_output *out,
                struct hd_error *err)
{
    return hd_compute_half(of(d)->compute, task, out, err);
}

static int rows(struct hd_device *d, const struct hd_device_stores *to,
                const struct hd_kv_work *list, size_t n)
{
    return hd_compute_rows(of(d)->compute, to, list, n);
}

#define ANGLES_AT_ONCE 64 /* of positions that are looked at together */

static size_t look(struct hd_device *d, uint32_t *position, uint32_t *mended)
{
    struct hd_rope_table *t = of(d)->compute ? hd_compute_angles(of(d)->compute) : NULL;
    *mended = UINT32_MAX;
    if (!t || *position >= t->positions)
        return 0;
    uint32_t bad = hd_rope_table_bad(t, *position, ANGLES_AT_ONCE);
    if (bad != UINT32_MAX)
        hd_rope_table_mend(t, bad);
    *mended = bad;
    *position = bad == UINT32_MAX ? *position + ANGLES_AT_ONCE : bad + 1;
    return ANGLES_AT_ONCE * (size_t)d->o.model->shape.head_dim * sizeof(float);
}

static int self_test(struct hd_device *d, uint64_t seed, struct hd_self_test *out)
{
    return hd_kernels_self_test(of(d)->kernels, seed, d->o.team, out);
}

static int lost(const struct hd_device *d, struct hd_error *err)
{
    return 0; /* it would take the process with it */
}

static const struct hd_device_ops ops = {
    .free = free_cpu,
    .resize = resize,
    .weights_new = hd_cpu_weights_new,
    .weights_free = hd_cpu_weights_free,
    .load = hd_cpu_load,
    .release = hd_cpu_release,
    .piece_bytes = hd_cpu_piece_bytes,
    .walk = hd_cpu_walk,
    .kv_new = hd_cpu_kv_new,
    .kv_free = hd_cpu_kv_free,
    .reserve = hd_cpu_kv_reserve,
    .share = hd_cpu_kv_share,
    .lane = hd_cpu_kv_lane,
    .detach = hd_cpu_kv_detach,
    .discard = hd_cpu_kv_discard,
    .row_bytes = hd_cpu_kv_row_bytes,
    .read = hd_cpu_kv_read,
    .bad_row = hd_cpu_kv_bad_row,
    .digests = hd_cpu_kv_digests,
    .rows = rows,
    .half = half,
    .look = look,
    .self_test = self_test,
    .lost = lost,
};

/* ---- The kind ----*/

static int check(const struct hd_device_options *o, struct hd_error *err)
{
    if (hd_isa_supported(o->isa))
        return 0;
    return hd_fail(err, HD_E_CONFIG, "compute.isa: this CPU has no %s; use auto",
                   hd_isa_name(o->isa));
}

static uint64_t memory(const struct hd_device_options *o)
{
    (void)o;
    return hd_memory();
}

static int create(struct hd_device **out, const struct hd_device_options *o, struct hd_error *err)
{
    struct cpu *c = calloc(1, sizeof *c);
    if (!c)
        return hd_fail(err, HD_E_NOMEM, "out of memory");
    c->base.ops = &ops;
    c->base.o = *o;
    hd_model_units(o->model, &c->base.units);
    c->kernels = hd_kernels_get(o->isa);
    *out = &c->base;
    return 0;
}

const struct hd_device_kind hd_cpu_device = {
    .name = "cpu",
    .check = check,
    .speed = hd_probe,
    .memory = memory,
    .create = create,
};
