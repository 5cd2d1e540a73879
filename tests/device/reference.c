/* reference.c - half-steps as one would write them first: for each row, for each unit, for each
 * output. Products are one chain of fused multiply-adds an output over values that are unpacked as
 * they are needed; of 8-bit rows the portable kernel makes them, one output of one row a call. What
 * belongs to a row alone (norms, RoPE, attention, activations, sums in fixed point) is the portable
 * kernels'. */
#include "tests/device/reference_impl.h"

#include "common/math/activate.h"
#include "common/math/layer_norm.h"
#include "common/math/q8.h"
#include "common/net/conn.h"
#include "common/util/memory.h"
#include "worker/answer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What one half-step works with. */
struct half {
    struct hd_device *d;
    const struct hd_half_task *task;
    const struct hd_model_shape *shape;
    size_t row_bytes;
    bool q8;
    int64_t *sum;              /* [rows][dim] */
    uint8_t *is_bad, *is_wide; /* [rows] */
    uint64_t flops;
    bool failed; /* out of memory */
};

static const struct hd_kernels *portable(void)
{
    return hd_kernels_get(HD_ISA_PORTABLE);
}

/* 64-byte aligned; NULL also sets h->failed. */
static void *room(struct half *h, size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    h->failed = h->failed || !p;
    return p;
}

/* ---- Products ----*/

static const struct hd_cut *cut_of(const struct piece *p, enum hd_slot_id slot)
{
    for (unsigned i = 0; i < p->cuts.n; i++)
        if (p->cuts.cut[i].slot == slot)
            return &p->cuts.cut[i];
    return NULL;
}

static size_t outputs_of(const struct hd_cut *c)
{
    return hd_slots[c->slot].cut == HD_CUT_COLUMNS ? c->t.rows : c->n_rows;
}

static size_t inputs_of(const struct hd_cut *c)
{
    return hd_slots[c->slot].cut == HD_CUT_COLUMNS ? c->n_cols : c->t.cols;
}

/* The row of the matrix that an output is: pairs that rotate together lie side by side. */
static uint32_t row_of(const struct hd_model *m, const struct hd_cut *c, size_t output)
{
    size_t hd = m->shape.head_dim, head = output / hd, j = output % hd, rotated = m->shape.rope_dim;
    enum hd_cut_how cut = hd_slots[c->slot].cut;
    if ((cut == HD_CUT_ROTATED || cut == HD_CUT_WHOLE) && m->rope_order == HD_ROPE_HALVES &&
        j < rotated)
        output = head * hd + j / 2 + j % 2 * (rotated / 2);
    return (uint32_t)(hd_slots[c->slot].cut == HD_CUT_COLUMNS ? output : c->row0 + output);
}

/* 8-bit rows are multiplied as they are: the weights are quantized, and cut between their blocks.
 */
static bool takes_q8(const struct half *h, const struct hd_cut *c)
{
    size_t block = hd_dtype_block(c->t.type), col0 = inputs_of(c) == c->t.cols ? 0 : c->col0;
    return h->q8 && block > 1 && col0 % block == 0 && inputs_of(c) % block == 0;
}

static float dot(const struct hd_cut *c, uint32_t row, const float *x, float *scratch)
{
    size_t block = hd_dtype_block(c->t.type), n = inputs_of(c), col0 = n == c->t.cols ? 0 : c->col0;
    size_t first = col0 - col0 % block, end = (col0 + n + block - 1) / block * block;
    float sum = 0;
    hd_dequant(&c->t, row, first, (end < c->t.cols ? end : c->t.cols) - first, scratch);
    for (size_t i = 0; i < n; i++)
        sum = fmaf(scratch[col0 - first + i], x[i], sum);
    return sum;
}

static float dot_q8(struct half *h, const struct hd_cut *c, uint32_t row, const void *prepared)
{
    struct hd_weights w;
    float y[HD_GROUP];
    size_t col0 = inputs_of(c) == c->t.cols ? 0 : c->col0;
    struct hd_slice one = {.row_map = &row, .n_rows = 1, .col0 = col0, .n_cols = inputs_of(c)};
    if (hd_weights_init(&w, &c->t, &one) < 0) {
        h->failed = true;
        return 0;
    }
    hd_matmul_q8(portable(), &(struct hd_matmul_q8_args){.w = &w,
                                                         .g1 = 1,
                                                         .x = prepared,
                                                         .x_stride = hd_q8_prepared_bytes(w.inputs),
                                                         .y = y,
                                                         .y_stride = HD_GROUP,
                                                         .rows = 1});
    hd_weights_deinit(&w);
    return y[0];
}

/* y[outputs] of one row: x are floats, or a prepared row where the weights take that. */
static void multiply(struct half *h, const struct hd_cut *c, const void *x, float *y)
{
    float *scratch = room(h, (c->t.cols + 1) * sizeof *scratch);
    for (size_t o = 0; o < outputs_of(c) && scratch; o++) {
        uint32_t row = row_of(h->d->o.model, c, o);
        y[o] = takes_q8(h, c) ? dot_q8(h, c, row, x) : dot(c, row, x, scratch);
    }
    h->flops += 2 * outputs_of(c) * inputs_of(c);
    free(scratch);
}

/* Row i of the inputs `x`, as products take it. The caller frees. */
static void *input(struct half *h, const void *x, size_t i)
{
    const uint8_t *row = (const uint8_t *)x + i * h->row_bytes;
    size_t bytes = h->q8 ? hd_q8_prepared_bytes(h->shape->dim) : h->row_bytes;
    void *p = room(h, bytes);
    if (p && h->q8)
        hd_q8_prepare(portable(), row, h->shape->dim, p);
    else if (p)
        memcpy(p, row, bytes);
    return p;
}

/* Adds what the last matrix of a unit makes of x [inputs] to the sums of a row, times a weight. */
static void add(struct half *h, const struct hd_cut *c, size_t row, const float *x, float weight)
{
    size_t dim = h->shape->dim, n = inputs_of(c);
    float *y = room(h, dim * sizeof *y);
    void *prepared = takes_q8(h, c) ? room(h, hd_q8_prepared_bytes(n)) : NULL;
    if (prepared)
        hd_q8_quantize(portable(), x, n, prepared);
    if (!h->failed) {
        multiply(h, c, prepared ? prepared : x, y);
        for (size_t i = 0; i < dim && weight != 1; i++)
            y[i] *= weight;
        if (hd_fixed_add(portable(), h->sum + row * dim, y, h->task->rows->shifts[row], dim) < 0)
            h->is_bad[row] = 1;
    }
    free(prepared);
    free(y);
}

/* Value i of a vector, in the order of outputs. */
static float value(const struct half *h, const struct hd_cut *c, size_t i)
{
    float v;
    hd_dequant(&c->t, row_of(h->d->o.model, c, i), 0, 1, &v);
    return hd_slots[c->slot].norm ? v + h->d->o.model->block.norm_offset : v;
}

/* y[n] += the slot's vector, if there is one. */
static void add_vector(const struct half *h, const struct piece *p, enum hd_slot_id slot, float *y)
{
    const struct hd_cut *c = cut_of(p, slot);
    for (size_t i = 0; c && i < c->n_rows; i++)
        y[i] += value(h, c, i);
}

/* ---- The attention half ----*/

/* Each head of y is normalised by weights and maybe a bias, if the model does so: those of all
 * heads, or of each its own. */
static void normalise(struct half *h, const struct piece *p, const enum hd_slot_id slots[2],
                      float *y, size_t heads)
{
    const struct hd_cut *c = cut_of(p, slots[0]), *b = cut_of(p, slots[1]);
    size_t hd = h->shape->head_dim;
    float *w = room(h, 2 * hd * sizeof *w), *bias = w + hd;
    for (size_t r = 0; c && w && r < heads; r++, y += hd) {
        for (size_t i = 0; i < hd; i++) {
            w[i] = value(h, c, c->n_rows == hd ? i : r * hd + i);
            bias[i] = b ? value(h, b, i) : 0;
        }
        if (h->d->o.model->block.norm == HD_NORM_LAYER)
            hd_layer_norm(y, w, bias, h->shape->norm_eps, y, hd);
        else
            hd_rms_norm(portable(), y, w, h->shape->norm_eps, y, hd);
    }
    free(w);
}
static const enum hd_slot_id q_norm[] = {HD_SLOT_Q_NORM, HD_SLOT_Q_NORM_BIAS},
                             q_each[] = {HD_SLOT_Q_EACH_NORM, HD_SLOTS},
                             k_norm[] = {HD_SLOT_K_NORM, HD_SLOT_K_NORM_BIAS},
                             k_each[] = {HD_SLOT_K_EACH_NORM, HD_SLOTS};

/* This head's part of the norm of all heads, whose scale the row has. */
static void normalise_part(const struct half *h, const struct piece *p, enum hd_slot_id slot,
                           float scale, float *y)
{
    const struct hd_cut *c = cut_of(p, slot);
    for (size_t i = 0; c && i < c->n_rows; i++)
        y[i] = y[i] * scale * value(h, c, i);
}

static struct hd_row_tail tail_of(const struct half *h, const void *x, size_t i)
{
    return hd_model_tail(h->d->o.model, (const uint8_t *)x + i * h->row_bytes, h->row_bytes);
}

/* Rotates a head by the angles of its position, if its layer does. */
static void rotate(struct half *h, struct hd_kv_at at, uint32_t position,
                   const struct hd_row_tail *tail, float *v)
{
    const struct hd_model *m = h->d->o.model;
    size_t hd = h->shape->head_dim;
    float *angles = room(h, m->rope_sets * hd * sizeof *angles);
    enum hd_layer_rope set = hd_model_rope_set(m, at.layer, tail);
    if (angles && set != HD_LAYER_ROPE_NONE) {
        hd_model_rope(m, position, angles);
        hd_rope(portable(), v, hd, angles + set * hd);
    }
    free(angles);
}

/* Where a row is to be stored. */
struct place {
    struct hd_device_kv *kv;
    struct hd_kv_at at;
    uint32_t position;
    struct hd_row_tail tail;
};

static void store(struct half *h, const struct piece *p, const void *x, struct place to)
{
    size_t hd = h->shape->head_dim, row = reference_row_bytes(to.kv);
    struct hd_device_lane *lane = reference_lane(to.kv, to.at);
    enum hd_kv_type type = h->d->sizes.kv_type;
    float *k = room(h, 2 * hd * sizeof *k);
    if (!k)
        return;
    float *v = k + hd;
    multiply(h, cut_of(p, HD_SLOT_K), x, k);
    multiply(h, cut_of(p, HD_SLOT_V), x, v);
    add_vector(h, p, HD_SLOT_K_BIAS, k);
    add_vector(h, p, HD_SLOT_V_BIAS, v);
    normalise_part(h, p, HD_SLOT_K_WHOLE_NORM, to.tail.k_scale, k);
    normalise(h, p, k_norm, k, 1);
    normalise(h, p, k_each, k, 1);
    rotate(h, to.at, to.position, &to.tail, k);
    hd_kv_store(portable(), type, k, lane->k + (to.position - lane->first) * row, hd);
    hd_kv_store(portable(), type, v, lane->v + (to.position - lane->first) * row, hd);
    reference_seal(lane, to.position, row);
    free(k);
}

/* q [n_rep][head_dim] becomes what its heads attend to. */
static void attend(struct half *h, const struct piece *p, struct place from, float *q)
{
    struct hd_kv_at at = from.at;
    uint32_t position = from.position;
    const struct hd_model *m = h->d->o.model;
    size_t hd = h->shape->head_dim, n_rep = h->shape->n_heads / h->shape->n_kv_heads;
    size_t blocks = position / HD_ATTN_BLOCK + 1;
    size_t block = hd * (h->d->sizes.kv_type == HD_KV_F16 ? 2 : 4) * HD_ATTN_BLOCK;
    const void **k = room(h, 2 * blocks * sizeof *k), **v = k + blocks;
    float *out = room(h, n_rep * hd * sizeof *out), *sinks = calloc(n_rep, sizeof *sinks);
    h->failed = h->failed || !sinks;
    for (size_t b = 0; b < blocks && !h->failed; b++) {
        const struct hd_device_lane *lane =
            reference_lane_of(h->task->from.kv, at, (uint32_t)b * HD_ATTN_BLOCK);
        size_t own = b - lane->first / HD_ATTN_BLOCK;
        k[b] = lane->k + own * block;
        v[b] = lane->v + own * block;
    }
    if (!h->failed) {
        add_vector(h, p, HD_SLOT_SINKS, sinks);
        hd_attention(portable(),
                     &(struct hd_attention_args){.q = q,
                                                 .rows = 1,
                                                 .n_rep = n_rep,
                                                 .head_dim = hd,
                                                 .scale = hd_model_attention_scale(m, position),
                                                 .cap = m->block.attention_cap,
                                                 .window = m->layers[h->task->layer].window,
                                                 .sinks = cut_of(p, HD_SLOT_SINKS) ? sinks : NULL,
                                                 .kv_type = h->d->sizes.kv_type,
                                                 .k_blocks = k,
                                                 .v_blocks = v,
                                                 .n_pos = (size_t)position + 1,
                                                 .out = out});
        memcpy(q, out, n_rep * hd * sizeof *out);
        h->flops += 4 * ((uint64_t)position + 1) * n_rep * hd;
    }
    free(sinks);
    free(out);
    free(k);
}

static void attention_row(struct half *h, const struct piece *p, size_t i, struct hd_kv_at at)
{
    const struct hd_rows *rows = h->task->rows;
    size_t hd = h->shape->head_dim, n_rep = h->shape->n_heads / h->shape->n_kv_heads;
    void *x = input(h, rows->x, i);
    float *q = room(h, n_rep * hd * sizeof *q);
    if (!h->failed) {
        multiply(h, cut_of(p, HD_SLOT_Q), x, q);
        struct hd_row_tail tail = tail_of(h, rows->x, i);
        add_vector(h, p, HD_SLOT_Q_BIAS, q);
        normalise_part(h, p, HD_SLOT_Q_WHOLE_NORM, tail.q_scale, q);
        normalise(h, p, q_norm, q, n_rep);
        normalise(h, p, q_each, q, n_rep);
        for (size_t r = 0; r < n_rep; r++)
            rotate(h, at, rows->positions[i], &tail, q + r * hd);
        attend(h, p, (struct place){h->task->from.kv, at, rows->positions[i], tail}, q);
        add(h, cut_of(p, HD_SLOT_O), i, q, 1);
    }
    free(q);
    free(x);
}

/* All rows are stored before any attends. */
static void attention_unit(struct half *h, size_t slot)
{
    const struct hd_half_task *t = h->task;
    uint32_t head = t->units.list[slot];
    const struct piece *p =
        reference_piece(t->from.weights, (struct hd_piece_at){HD_UNIT_HEAD, head, t->layer});
    for (size_t i = 0; i < t->rows->n && !h->failed; i++) {
        struct hd_kv_at at = {t->rows->sequences[i], t->layer, head};
        void *x = t->fresh[slot * t->rows->n + i] ? input(h, t->rows->x, i) : NULL;
        if (x)
            store(h, p, x,
                  (struct place){t->from.kv, at, t->rows->positions[i], tail_of(h, t->rows->x, i)});
        free(x);
    }
    for (size_t i = 0; i < t->rows->n && !h->failed; i++)
        attention_row(h, p, i, (struct hd_kv_at){t->rows->sequences[i], t->layer, head});
}

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
        hd_gelu_mul(portable(), gate, up, gate, n);
    else if (b->activation == HD_ACTIVATION_CLAMPED)
        hd_clamped_mul(portable(), gate, up, b->clamp, gate, n);
    else if (b->activation == HD_ACTIVATION_GELU)
        hd_gelu_erf_mul(gate, up, gate, n);
    else if (b->activation == HD_ACTIVATION_RELU2)
        hd_relu2_mul(gate, up, gate, n);
    else
        hd_silu_mul(portable(), gate, up, gate, n);
}

static void ffn_unit(struct half *h, size_t slot)
{
    const struct hd_half_task *t = h->task;
    const struct piece *p = reference_piece(
        t->from.weights, (struct hd_piece_at){HD_UNIT_FFN, t->units.list[slot], t->layer});
    size_t n = outputs_of(cut_of(p, HD_SLOT_UP));
    for (size_t i = 0; i < t->rows->n && !h->failed; i++) {
        float weight = weight_of(h, t->units.list[slot], i);
        if (weight < 0)
            continue;
        void *x = input(h, t->rows->x, i);
        float *gate = room(h, 2 * n * sizeof *gate);
        if (!h->failed) {
            if (cut_of(p, HD_SLOT_GATE))
                multiply(h, cut_of(p, HD_SLOT_GATE), x, gate);
            multiply(h, cut_of(p, HD_SLOT_UP), x, gate + n);
            add_vector(h, p, HD_SLOT_GATE_BIAS, gate);
            add_vector(h, p, HD_SLOT_UP_BIAS, gate + n);
            for (size_t k = 0; k < n && !cut_of(p, HD_SLOT_GATE); k++) {
                gate[k] = gate[n + k];
                gate[n + k] = 1;
            }
            activate(&h->d->o.model->block, gate, gate + n, n);
            add(h, cut_of(p, HD_SLOT_DOWN), i, gate, weight);
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
    int32_t *narrow = room(h, dim * sizeof *narrow);
    uint8_t *travels = room(h, rows * bytes);
    int rc = h->failed ? HD_E_NOMEM : 0;
    for (size_t i = 0; i < rows && rc == 0; i++) {
        int64_t *sum = h->sum + i * dim;
        if (h->is_bad[i])
            memset(sum, 0, dim * sizeof *sum);
        h->is_wide[i] = !hd_fixed_narrow(portable(), sum, narrow, dim);
        if (h->is_wide[i])
            continue;
        if (h->d->sizes.wire == HD_WIRE_COMPACT)
            hd_sum_encode(portable(), narrow, dim, travels + i * bytes);
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
    float *y = room(h, u->vocab_width * sizeof *y);
    struct hd_logits l = {.kernels = portable(),
                          .rows = t->rows,
                          .blocks = t->units,
                          .vocab = h->shape->vocab,
                          .vocab_width = u->vocab_width,
                          .model = &h->d->o.model->block,
                          .offset = room(h, t->rows->n * sizeof(size_t))};
    int rc = h->failed ? HD_E_NOMEM : hd_answer_logits(&l, out, err);
    for (size_t i = 0; i < t->rows->n && rc == 0; i++) {
        void *x = input(h, t->rows->x, i);
        for (size_t b = 0; b < t->units.n && x; b++) {
            struct hd_piece_at at = {HD_UNIT_VOCAB, t->units.list[b], 0};
            const struct piece *p = reference_piece(t->from.weights, at);
            multiply(h, cut_of(p, HD_SLOT_OUTPUT), x, y);
            add_vector(h, p, HD_SLOT_OUTPUT_BIAS, y);
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
        (task->kind == HD_UNIT_HEAD ? attention_unit : ffn_unit)(&h, s);
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
            void *x = input(&h, list[w].x, i);
            struct place place = {to->kv, list[w].at, list[w].position + (uint32_t)i,
                                  tail_of(&h, list[w].x, i)};
            if (x)
                store(&h, reference_piece(to->weights, at), x, place);
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
    return hd_kernels_self_test(portable(), seed, NULL, out);
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
