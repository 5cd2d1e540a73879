/* reference_attention.c - the attention half, row by row. */
#include "tests/device/reference_impl.h"

#include "common/math/layer_norm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Each head of y is normalised by weights and maybe a bias, if the model does so: those of all
 * heads, or of each its own. */
static void normalise(struct half *h, const struct piece *p, const enum hd_slot_id slots[2],
                      float *y, size_t heads)
{
    const struct hd_cut *c = reference_cut_of(p, slots[0]), *b = reference_cut_of(p, slots[1]);
    size_t hd = h->shape->head_dim;
    float *w = reference_room(h, 2 * hd * sizeof *w), *bias = w + hd;
    for (size_t r = 0; c && w && r < heads; r++, y += hd) {
        for (size_t i = 0; i < hd; i++) {
            w[i] = reference_value(h, c, c->n_rows == hd ? i : r * hd + i);
            bias[i] = b ? reference_value(h, b, i) : 0;
        }
        if (h->d->o.model->block.norm == HD_NORM_LAYER)
            hd_layer_norm(y, w, bias, h->shape->norm_eps, y, hd);
        else
            hd_rms_norm(reference_portable(), y, w, h->shape->norm_eps, y, hd);
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
    const struct hd_cut *c = reference_cut_of(p, slot);
    for (size_t i = 0; c && i < c->n_rows; i++)
        y[i] = y[i] * scale * reference_value(h, c, i);
}

struct hd_row_tail reference_tail_of(const struct half *h, const void *x, size_t i)
{
    return hd_model_tail(h->d->o.model, (const uint8_t *)x + i * h->row_bytes, h->row_bytes);
}

/* Rotates a head by the angles of its position, if its layer does. */
static void rotate(struct half *h, struct hd_kv_at at, uint32_t position,
                   const struct hd_row_tail *tail, float *v)
{
    const struct hd_model *m = h->d->o.model;
    size_t hd = h->shape->head_dim;
    float *angles = reference_room(h, m->rope_sets * hd * sizeof *angles);
    enum hd_layer_rope set = hd_model_rope_set(m, at.layer, tail);
    if (angles && set != HD_LAYER_ROPE_NONE) {
        hd_model_rope(m, position, angles);
        hd_rope(reference_portable(), v, hd, angles + set * hd);
    }
    free(angles);
}

void reference_store(struct half *h, const struct piece *p, const void *x, struct place to)
{
    size_t hd = h->shape->head_dim, row = reference_row_bytes(to.kv);
    struct hd_device_lane *lane = reference_lane(to.kv, to.at);
    enum hd_kv_type type = h->d->sizes.kv_type;
    float *k = reference_room(h, 2 * hd * sizeof *k);
    if (!k)
        return;
    float *v = k + hd;
    reference_multiply(h, reference_cut_of(p, HD_SLOT_K), x, k);
    reference_multiply(h, reference_cut_of(p, HD_SLOT_V), x, v);
    reference_add_vector(h, p, HD_SLOT_K_BIAS, k);
    reference_add_vector(h, p, HD_SLOT_V_BIAS, v);
    normalise_part(h, p, HD_SLOT_K_WHOLE_NORM, to.tail.k_scale, k);
    normalise(h, p, k_norm, k, 1);
    normalise(h, p, k_each, k, 1);
    rotate(h, to.at, to.position, &to.tail, k);
    hd_kv_store(reference_portable(), type, k, lane->k + (to.position - lane->first) * row, hd);
    hd_kv_store(reference_portable(), type, v, lane->v + (to.position - lane->first) * row, hd);
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
    const void **k = reference_room(h, 2 * blocks * sizeof *k), **v = k + blocks;
    float *out = reference_room(h, n_rep * hd * sizeof *out), *sinks = calloc(n_rep, sizeof *sinks);
    h->failed = h->failed || !sinks;
    for (size_t b = 0; b < blocks && !h->failed; b++) {
        const struct hd_device_lane *lane =
            reference_lane_of(h->task->from.kv, at, (uint32_t)b * HD_ATTN_BLOCK);
        size_t own = b - lane->first / HD_ATTN_BLOCK;
        k[b] = lane->k + own * block;
        v[b] = lane->v + own * block;
    }
    if (!h->failed) {
        reference_add_vector(h, p, HD_SLOT_SINKS, sinks);
        hd_attention(
            reference_portable(),
            &(struct hd_attention_args){.q = q,
                                        .rows = 1,
                                        .n_rep = n_rep,
                                        .head_dim = hd,
                                        .scale = hd_model_attention_scale(m, position),
                                        .cap = m->block.attention_cap,
                                        .window = m->layers[h->task->layer].window,
                                        .sinks = reference_cut_of(p, HD_SLOT_SINKS) ? sinks : NULL,
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
    void *x = reference_input(h, rows->x, i);
    float *q = reference_room(h, n_rep * hd * sizeof *q);
    if (!h->failed) {
        reference_multiply(h, reference_cut_of(p, HD_SLOT_Q), x, q);
        struct hd_row_tail tail = reference_tail_of(h, rows->x, i);
        reference_add_vector(h, p, HD_SLOT_Q_BIAS, q);
        normalise_part(h, p, HD_SLOT_Q_WHOLE_NORM, tail.q_scale, q);
        normalise(h, p, q_norm, q, n_rep);
        normalise(h, p, q_each, q, n_rep);
        for (size_t r = 0; r < n_rep; r++)
            rotate(h, at, rows->positions[i], &tail, q + r * hd);
        attend(h, p, (struct place){h->task->from.kv, at, rows->positions[i], tail}, q);
        reference_add(h, reference_cut_of(p, HD_SLOT_O), i, q, 1);
    }
    free(q);
    free(x);
}

/* All rows are stored before any attends. */
void reference_attention_unit(struct half *h, size_t slot)
{
    const struct hd_half_task *t = h->task;
    uint32_t head = t->units.list[slot];
    const struct piece *p =
        reference_piece(t->from.weights, (struct hd_piece_at){HD_UNIT_HEAD, head, t->layer});
    for (size_t i = 0; i < t->rows->n && !h->failed; i++) {
        struct hd_kv_at at = {t->rows->sequences[i], t->layer, head};
        void *x = t->fresh[slot * t->rows->n + i] ? reference_input(h, t->rows->x, i) : NULL;
        if (x)
            reference_store(h, p, x,
                            (struct place){t->from.kv, at, t->rows->positions[i],
                                           reference_tail_of(h, t->rows->x, i)});
        free(x);
    }
    for (size_t i = 0; i < t->rows->n && !h->failed; i++)
        attention_row(h, p, i, (struct hd_kv_at){t->rows->sequences[i], t->layer, head});
}
