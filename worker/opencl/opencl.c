/* opencl.c - the table of operations, and the kind. */
#include "worker/opencl/opencl.h"

#include "worker/opencl/impl.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

/* ---- The device ----*/

static void free_opencl(struct hd_device *d)
{
    struct hd_opencl *o = hd_opencl(d);
    hd_cl_scratch_free(o);
    hd_cl_programs_deinit(&o->programs);
    hd_cl_close(o->cl);
    free(o);
}

static int resize(struct hd_device *d, const struct hd_device_sizes *sizes)
{
    hd_cl_scratch_free(hd_opencl(d));
    d->sizes = *sizes;
    int rc = hd_cl_scratch_new(hd_opencl(d), NULL);
    if (rc < 0)
        hd_cl_scratch_free(hd_opencl(d));
    return rc;
}

static int half(struct hd_device *d, const struct hd_half_task *task, struct hd_half_output *out,
                struct hd_error *err)
{
    struct hd_opencl *o = hd_opencl(d);
    *out = (struct hd_half_output){0};
    switch (task->kind) {
    case HD_UNIT_HEAD:
        return hd_cl_attention(o, task, out, err);
    case HD_UNIT_FFN:
        return hd_cl_ffn(o, task, out, err);
    default:
        return hd_cl_logits(o, task, out, err);
    }
}

static int rows(struct hd_device *d, const struct hd_device_stores *to,
                const struct hd_kv_work *list, size_t n)
{
    return hd_cl_rows(hd_opencl(d), to, list, n);
}

#define ANGLES_AT_ONCE 64 /* of positions that are looked at together */

/* The host's table has digests; what the device has must be the same. */
static size_t look(struct hd_device *d, uint32_t *position, uint32_t *mended)
{
    struct hd_opencl *o = hd_opencl(d);
    size_t bytes = d->o.model->rope_sets * d->o.model->shape.head_dim * sizeof(float);
    *mended = UINT32_MAX;
    if (*position >= o->angles)
        return 0;
    uint32_t n = o->angles - *position < ANGLES_AT_ONCE ? o->angles - *position : ANGLES_AT_ONCE;
    uint32_t bad = hd_rope_table_bad(&o->rope, *position, n);
    if (bad != UINT32_MAX)
        hd_rope_table_mend(&o->rope, bad);
    uint8_t *copy = malloc(n * bytes);
    const uint8_t *right = (const uint8_t *)o->rope.cs + *position * bytes;
    if (copy &&
        o->cl->call.EnqueueReadBuffer(o->cl->queue, o->angles_at, CL_TRUE, *position * bytes,
                                      n * bytes, copy, 0, NULL, NULL) == CL_SUCCESS)
        for (uint32_t i = 0; i < n && bad == UINT32_MAX; i++)
            bad = memcmp(copy + i * bytes, right + i * bytes, bytes) ? *position + i : bad;
    if (bad != UINT32_MAX)
        o->cl->call.EnqueueWriteBuffer(o->cl->queue, o->angles_at, CL_TRUE, *position * bytes,
                                       n * bytes, right, 0, NULL, NULL);
    free(copy);
    *mended = bad;
    *position = bad == UINT32_MAX ? *position + n : bad + 1;
    return n * bytes;
}

static int self_test(struct hd_device *d, uint64_t seed, struct hd_self_test *out)
{
    return hd_cl_prove(hd_opencl(d), seed, out);
}

static int lost(const struct hd_device *d, struct hd_error *err)
{
    return hd_cl_lost(((const struct hd_opencl *)(const void *)d)->cl, err);
}

static const struct hd_device_ops ops = {
    .free = free_opencl,
    .resize = resize,
    .weights_new = hd_cl_weights_new,
    .weights_free = hd_cl_weights_free,
    .load = hd_cl_load,
    .release = hd_cl_release_piece,
    .piece_bytes = hd_cl_piece_bytes,
    .walk = hd_cl_walk,
    .kv_new = hd_cl_kv_new,
    .kv_free = hd_cl_kv_free,
    .reserve = hd_cl_kv_reserve,
    .share = hd_cl_kv_share,
    .lane = hd_cl_kv_lane,
    .detach = hd_cl_kv_detach,
    .discard = hd_cl_kv_discard,
    .row_bytes = hd_cl_kv_row_bytes,
    .read = hd_cl_kv_read,
    .bad_row = hd_cl_kv_bad_row,
    .digests = hd_cl_kv_digests,
    .rows = rows,
    .half = half,
    .look = look,
    .self_test = self_test,
    .lost = lost,
};

/* ---- The kind ----*/

static int check(const struct hd_device_options *o, struct hd_error *err)
{
    struct hd_cl *cl;
    int rc = hd_cl_open(&cl, o->where, o->state_dir, err);
    if (rc < 0)
        return rc;
    rc = hd_cl_check_bits(cl, err);
    hd_cl_close(cl);
    return rc;
}

/* What units read and what they do not fit in is the model's; forms that some of its matrices have.
 * Columns that lie across a block are packed as floats. */
static int compile_products(struct hd_opencl *o, struct hd_error *err)
{
    const struct hd_model *m = o->base.o.model;
    int rc = hd_cl_programs_add(&o->programs, HD_PACK_ID_f32, err);
    for (enum hd_slot_id slot = 0; slot < HD_SLOTS; slot++)
        for (uint32_t l = 0; rc == 0 && hd_slot_is_units(slot) && l < hd_slot_layers(m, slot); l++)
            if (!hd_slot_is_vector(slot))
                rc =
                    hd_cl_programs_add(&o->programs, hd_pack_id(hd_slot_of(m, slot, l)->type), err);
    return rc;
}

static bool has(const struct hd_model *m, enum hd_slot_id slot)
{
    return hd_slot_layers(m, slot) > 0;
}

/* What units read of the model, and no kernel here knows yet; NULL: there is nothing. */
static const char *unknown_of(const struct hd_model *m)
{
    static const uint64_t known = HD_SLOTS_NEEDED | HD_SLOT_BIT(HD_SLOT_GATE) |
                                  HD_SLOT_BIT(HD_SLOT_Q_BIAS) | HD_SLOT_BIT(HD_SLOT_K_BIAS) |
                                  HD_SLOT_BIT(HD_SLOT_V_BIAS) | HD_SLOT_BIT(HD_SLOT_Q_NORM) |
                                  HD_SLOT_BIT(HD_SLOT_K_NORM) | HD_SLOT_BIT(HD_SLOT_Q_WHOLE_NORM) |
                                  HD_SLOT_BIT(HD_SLOT_K_WHOLE_NORM) | HD_SLOT_BIT(HD_SLOT_SINKS) |
                                  HD_SLOT_BIT(HD_SLOT_GATE_BIAS) | HD_SLOT_BIT(HD_SLOT_UP_BIAS) |
                                  HD_SLOT_BIT(HD_SLOT_OUTPUT_BIAS);
    if (has(m, HD_SLOT_Q_EACH_NORM) || has(m, HD_SLOT_K_EACH_NORM))
        return "norms of which each head has its own";
    if (m->block.norm == HD_NORM_LAYER && (has(m, HD_SLOT_Q_NORM) || has(m, HD_SLOT_K_NORM)))
        return "norms of heads by LayerNorm";
    for (enum hd_slot_id slot = 0; slot < HD_SLOTS; slot++)
        if (hd_slot_is_units(slot) && has(m, slot) && !(known & HD_SLOT_BIT(slot)))
            return "tensors";
    return NULL;
}

static int check_model(const struct hd_model *m, struct hd_error *err)
{
    const char *what = unknown_of(m);
    if (!what)
        return 0;
    return hd_fail(err, HD_E_UNSUPPORTED,
                   "compute.device: opencl does not compute the %s of %s; use cpu for this model",
                   what, m->name);
}

static int create(struct hd_device **out, const struct hd_device_options *options,
                  struct hd_error *err)
{
    int rc = check_model(options->model, err);
    struct hd_opencl *o = rc == 0 ? calloc(1, sizeof *o) : NULL;
    if (!o)
        return rc < 0 ? rc : hd_fail(err, HD_E_NOMEM, "out of memory");
    o->base.ops = &ops;
    o->base.o = *options;
    hd_model_units(options->model, &o->base.units);
    rc = hd_cl_open(&o->cl, options->where, options->state_dir, err);
    if (rc == 0)
        rc = hd_cl_programs_init(&o->programs, o->cl, err);
    if (rc == 0)
        rc = compile_products(o, err);
    if (rc < 0) {
        hd_cl_programs_deinit(&o->programs);
        hd_cl_close(o->cl);
        free(o);
        return rc;
    }
    /* Answers are megabytes, hundreds of times a second: their memory is not to be new each time.
     */
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 128 << 20);
    *out = &o->base;
    return 0;
}

/* ---- What there is ----*/

static uint64_t memory(const struct hd_device_options *o)
{
    struct hd_cl *cl;
    if (hd_cl_open(&cl, o->where, NULL, NULL) < 0)
        return 0;
    uint64_t bytes = cl->info.memory_free;
    hd_cl_close(cl);
    return bytes;
}

struct listing {
    FILE *to;
    unsigned n;
};

static void list_one(void *arg, unsigned platform, unsigned device, const struct hd_cl_info *info)
{
    struct listing *l = arg;
    l->n++;
    fprintf(l->to, "opencl:%u/%u  %s, %s (driver %s), %" PRIu64 " MiB%s\n", platform, device,
            info->name, info->platform, info->driver, info->memory >> 20,
            info->is_gpu ? "" : ", no GPU");
}

unsigned hd_opencl_list(FILE *to)
{
    struct listing l = {.to = to};
    hd_cl_each(list_one, &l);
    return l.n;
}

const struct hd_device_kind hd_opencl_device = {
    .name = "opencl",
    .check = check,
    .speed = hd_cl_speed,
    .memory = memory,
    .create = create,
};
