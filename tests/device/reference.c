/* reference.c - half-steps as one would write them first: for each row, for each unit, for each
 * output. Products are one chain of fused multiply-adds an output over values that are unpacked as
 * they are needed; of 8-bit rows the portable kernel makes them, one output of one row a call. What
 * belongs to a row alone (norms, RoPE, attention, activations, sums in fixed point) is the portable
 * kernels'. */
#include "tests/device/reference_impl.h"

#include "common/math/activate.h"
#include "common/math/q8.h"
#include "common/net/conn.h"
#include "common/util/memory.h"
#include "worker/answer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- The FFN half ----*/

/* What a row's output of an expert is multiplied with; -1: the row does not want it. */
static float weight_of(const struct half *h, uint32_t unit, size_t row)
{
    uint32_t expert = unit % h->d->units.experts, used = h->shape->n_used;
    for (size_t i = row * used; i < (row + 1) * used; i++)
        if (h->task->rows->experts[i] == expert)
            return h->task->rows->weights[i];
    return used ? -1 : 1;
}

/* gate [n] becomes what goes into down. */
static void activate(const struct hd_block *b, float *gate, const float *up, size_t n)
{
    if (b->activation == HD_ACTIVATION_GELU_TANH)
        hd_gelu_mul(reference_portable(), gate, up, gate, n);
    else if (b->activation == HD_ACTIVATION_CLAMPED)
        hd_clamped_mul(reference_portable(), gate, up, b->clamp, gate, n);
    else if (b->activation == HD_ACTIVATION_GELU)
        hd_gelu_erf_mul(gate, up, gate, n);
    else if (b->activation == HD_ACTIVATION_RELU2)
        hd_relu2_mul(gate, up, gate, n);
    else
        hd_silu_mul(reference_portable(), gate, up, gate, n);
}

static void ffn_unit(struct half *h, size_t slot)
{
    const struct hd_half_task *t = h->task;
    const struct piece *p = reference_piece(
        t->from.weights, (struct hd_piece_at){HD_UNIT_FFN, t->units.list[slot], t->layer});
    size_t n = reference_outputs_of(reference_cut_of(p, HD_SLOT_UP));
    for (size_t i = 0; i < t->rows->n && !h->failed; i++) {
        float weight = weight_of(h, t->units.list[slot], i);
        if (weight < 0)
            continue;
        void *x = reference_input(h, t->rows->x, i);
        float *gate = reference_room(h, 2 * n * sizeof *gate);
        if (!h->failed) {
            if (reference_cut_of(p, HD_SLOT_GATE))
                reference_multiply(h, reference_cut_of(p, HD_SLOT_GATE), x, gate);
            reference_multiply(h, reference_cut_of(p, HD_SLOT_UP), x, gate + n);
            reference_add_vector(h, p, HD_SLOT_GATE_BIAS, gate);
            reference_add_vector(h, p, HD_SLOT_UP_BIAS, gate + n);
            for (size_t k = 0; k < n && !reference_cut_of(p, HD_SLOT_GATE); k++) {
                gate[k] = gate[n + k];
                gate[n + k] = 1;
            }
            activate(&h->d->o.model->block, gate, gate + n, n);
            reference_add(h, reference_cut_of(p, HD_SLOT_DOWN), i, gate, weight);
        }
        free(gate);
        free(x);
    }
}

/* ---- Answers ----*/

static int answer_sums(struct half *h, struct hd_half_output *out, struct hd_error *err)
{
    size_t rows = h->task->rows->n, dim = h->shape->dim;
    size_t bytes = hd_model_sum_bytes(h->d->o.model, h->d->sizes.wire);
    int32_t *narrow = reference_room(h, dim * sizeof *narrow);
    uint8_t *travels = reference_room(h, rows * bytes);
    int rc = h->failed ? HD_E_NOMEM : 0;
    for (size_t i = 0; i < rows && rc == 0; i++) {
        int64_t *sum = h->sum + i * dim;
        if (h->is_bad[i])
            memset(sum, 0, dim * sizeof *sum);
        h->is_wide[i] = !hd_fixed_narrow(reference_portable(), sum, narrow, dim);
        if (h->is_wide[i])
            continue;
        if (h->d->sizes.wire == HD_WIRE_COMPACT)
            hd_sum_encode(reference_portable(), narrow, dim, travels + i * bytes);
        else
            memcpy(travels + i * bytes, narrow, bytes);
    }
    struct hd_sums s = {.rows = rows,
                        .dim = dim,
                        .is_bad = h->is_bad,
                        .is_wide = h->is_wide,
                        .sum = h->sum,
                        .narrow = travels,
                        .narrow_bytes = bytes,
                        .wide = (uint32_t *)out->wide,
                        .bad = (uint32_t *)out->bad};
    if (rc == 0)
        rc = hd_answer_sums(&s, out, err);
    free(travels);
    free(narrow);
    return rc;
}

static int logits(struct half *h, struct hd_half_output *out, struct hd_error *err)
{
    const struct hd_half_task *t = h->task;
    const struct hd_units *u = &h->d->units;
    float *y = reference_room(h, u->vocab_width * sizeof *y);
    struct hd_logits l = {.kernels = reference_portable(),
                          .rows = t->rows,
                          .blocks = t->units,
                          .vocab = h->shape->vocab,
                          .vocab_width = u->vocab_width,
                          .model = &h->d->o.model->block,
                          .offset = reference_room(h, t->rows->n * sizeof(size_t))};
    int rc = h->failed ? HD_E_NOMEM : hd_answer_logits(&l, out, err);
    for (size_t i = 0; i < t->rows->n && rc == 0; i++) {
        void *x = reference_input(h, t->rows->x, i);
        for (size_t b = 0; b < t->units.n && x; b++) {
            struct hd_piece_at at = {HD_UNIT_VOCAB, t->units.list[b], 0};
            const struct piece *p = reference_piece(t->from.weights, at);
            reference_multiply(h, reference_cut_of(p, HD_SLOT_OUTPUT), x, y);
            reference_add_vector(h, p, HD_SLOT_OUTPUT_BIAS, y);
            h->is_bad[i] |= !hd_logits_write(&l, b, i, y);
        }
        free(x);
    }
    if (rc == 0 && h->failed) {
        hd_shared_unref(out->payload);
        rc = HD_E_NOMEM;
    }
    out->n_bad = hd_list_flags(h->is_bad, t->rows->n, (uint32_t *)out->bad);
    free(l.offset);
    free(y);
    return rc;
}

/* ---- The operations ----*/

struct reference {
    struct hd_device base;
    uint32_t *lists; /* [2][max_rows]: of the last answer */
};

static struct reference *of(struct hd_device *d)
{
    return (struct reference *)(void *)d;
}

static struct half begin(struct hd_device *d, const struct hd_half_task *task)
{
    return (struct half){
        .d = d,
        .task = task,
        .shape = &d->o.model->shape,
        .row_bytes = hd_model_row_bytes(d->o.model, d->sizes.activations),
        .q8 = d->sizes.activations == HD_ACTIVATIONS_Q8,
    };
}

static int half(struct hd_device *d, const struct hd_half_task *task, struct hd_half_output *out,
                struct hd_error *err)
{
    struct half h = begin(d, task);
    size_t rows = task->rows->n;
    h.sum = calloc(rows * h.shape->dim, sizeof *h.sum);
    h.is_bad = calloc(2 * rows, 1);
    h.is_wide = h.is_bad + rows;
    h.failed = !h.sum || !h.is_bad;
    *out = (struct hd_half_output){.wide = of(d)->lists, .bad = of(d)->lists + d->sizes.max_rows};
    for (size_t s = 0; s < task->units.n && !h.failed && task->kind != HD_UNIT_VOCAB; s++)
        (task->kind == HD_UNIT_HEAD ? reference_attention_unit : ffn_unit)(&h, s);
    int rc = h.failed                      ? HD_E_NOMEM
             : task->kind == HD_UNIT_VOCAB ? logits(&h, out, err)
                                           : answer_sums(&h, out, err);
    out->flops = h.flops;
    free(h.sum);
    free(h.is_bad);
    return rc == HD_E_NOMEM ? hd_fail(err, rc, "out of memory for a half-step") : rc;
}

static int rows(struct hd_device *d, const struct hd_device_stores *to,
                const struct hd_kv_work *list, size_t n)
{
    struct half h = begin(d, NULL);
    for (size_t w = 0; w < n; w++) {
        struct hd_piece_at at = {HD_UNIT_HEAD, list[w].at.head, list[w].at.layer};
        for (size_t i = 0; i < list[w].n && !h.failed; i++) {
            void *x = reference_input(&h, list[w].x, i);
            struct place place = {to->kv, list[w].at, list[w].position + (uint32_t)i,
                                  reference_tail_of(&h, list[w].x, i)};
            if (x)
                reference_store(&h, reference_piece(to->weights, at), x, place);
            free(x);
        }
    }
    return h.failed ? HD_E_NOMEM : 0;
}

static int resize(struct hd_device *d, const struct hd_device_sizes *sizes)
{
    d->sizes = *sizes;
    free(of(d)->lists);
    of(d)->lists = calloc(2 * (size_t)sizes->max_rows, sizeof *of(d)->lists);
    return of(d)->lists ? 0 : HD_E_NOMEM;
}

static void free_device(struct hd_device *d)
{
    free(of(d)->lists);
    free(d);
}

/* It has no tables of its own. */
static size_t look(struct hd_device *d, uint32_t *position, uint32_t *mended)
{
    *mended = UINT32_MAX;
    return 0;
}

static int self_test(struct hd_device *d, uint64_t seed, struct hd_self_test *out)
{
    return hd_kernels_self_test(reference_portable(), seed, NULL, out);
}

static int lost(const struct hd_device *d, struct hd_error *err)
{
    return 0;
}

static const struct hd_device_ops ops = {
    .free = free_device,
    .resize = resize,
    .weights_new = reference_weights_new,
    .weights_free = reference_weights_free,
    .load = reference_load,
    .release = reference_release,
    .piece_bytes = reference_piece_bytes,
    .walk = reference_walk,
    .kv_new = reference_kv_new,
    .kv_free = reference_kv_free,
    .reserve = reference_reserve,
    .share = reference_share,
    .lane = reference_lane,
    .detach = reference_detach,
    .discard = reference_discard,
    .row_bytes = reference_row_bytes,
    .read = reference_read,
    .bad_row = reference_bad_row,
    .digests = reference_digests,
    .rows = rows,
    .half = half,
    .look = look,
    .self_test = self_test,
    .lost = lost,
};

static int check(const struct hd_device_options *o, struct hd_error *err)
{
    return 0;
}

static uint64_t speed(const struct hd_device_options *o)
{
    return 0;
}

static uint64_t memory(const struct hd_device_options *o)
{
    return hd_memory();
}

static int create(struct hd_device **out, const struct hd_device_options *o, struct hd_error *err)
{
    struct reference *r = calloc(1, sizeof *r);
    if (!r)
        return HD_E_NOMEM;
    r->base.ops = &ops;
    r->base.o = *o;
    hd_model_units(o->model, &r->base.units);
    *out = &r->base;
    return 0;
}

const struct hd_device_kind hd_reference_device = {
    .name = "reference",
    .check = check,
    .speed = speed,
    .memory = memory,
    .create = create,
};
