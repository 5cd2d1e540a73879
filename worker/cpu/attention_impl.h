/* attention_impl.h - what the files of the attention half share: attention.c (q, k, v, K/V rows)
 * and attend.c (attention itself). */
#ifndef HD_WORKER_CPU_ATTENTION_IMPL_H
#define HD_WORKER_CPU_ATTENTION_IMPL_H

#include "worker/cpu/compute_impl.h"

struct attention_job {
    struct hd_compute *c;
    const struct hd_half_task *work;
    struct hd_cpu_kv *kv;
    uint32_t layer;
    const struct hd_rows *rows;
    struct hd_unit_list heads;
    struct hd_operand in;
    struct split split;
    bool store_first; /* rows of one sequence see each other: store all before attention */
};

static inline const struct hd_head_weights *weights_of(const struct hd_half_task *w, size_t slot)
{
    return hd_cpu_head(hd_cpu_weights(w->from.weights), w->units.list[slot], w->layer);
}

static inline size_t query_width(const struct hd_compute *c)
{
    return c->n_rep * c->model->shape.head_dim;
}

/* Element 0 of a row in the plane of a slot. */
static inline float *plane_row(const struct hd_compute *c, float *plane, size_t slot, size_t row,
                               size_t width)
{
    return plane + (slot * c->max_rows + row) * width;
}

static inline const uint8_t *input_of(const struct attention_job *j, size_t row)
{
    return (const uint8_t *)j->rows->x + row * j->c->row_bytes;
}

static inline struct hd_kv_at lane_of(const struct attention_job *j, size_t slot, size_t row)
{
    return (struct hd_kv_at){j->rows->sequences[row], j->layer, j->heads.list[slot]};
}

/* What comes between the products and RoPE: v [heads][head_dim] += its part of the bias, then each
 * head is normalised, by weights of all or its own, or its part of all heads by the scale that the
 * leader has found. All may be empty. */
struct hd_finish {
    const struct hd_weights *bias, *norm, *norm_bias, *each, *whole;
    float scale; /* whole */
};
void hd_finish_heads(const struct hd_compute *c, const struct hd_finish *f, float *v, size_t heads);
/* Rotates one head's vector, if its layer does. */
void hd_rotate(const struct hd_compute *c, uint32_t layer, uint32_t position,
               const struct hd_row_tail *tail, float *v);
/* The K/V row of index = slot * rows + row, if it is to be stored; for hd_team_run. */
void hd_attention_store_item(void *arg, size_t index, unsigned thread);

static inline uint8_t *attended_q8(const struct hd_compute *c, size_t slot, size_t row)
{
    return c->attended_q8 + (slot * c->max_rows + row) * hd_q8_prepared_bytes(query_width(c));
}

/* q of all rows and heads -> attended. 0 or HD_E_NOMEM. */
int hd_attend(struct attention_job *j, struct hd_error *err);

#endif
