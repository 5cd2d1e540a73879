/* attend.c - attention itself: q is finished, then every row attends to what it sees of its head's
 * lane. Work is cut by rows, or, where there are fewer of them than threads, by segments of the
 * positions. The cut changes no bit (hd_attention). Tiles of a prompt's rows, which read K and V
 * once for all, were no faster: a head's lane stays in the L2 cache. */
#include "worker/cpu/attention_impl.h"

#include <stdlib.h>

/* q of a row, as attention takes it. */
static void finish_query(const struct attention_job *j, size_t slot, size_t row)
{
    const struct hd_compute *c = j->c;
    const struct hd_head_weights *w = weights_of(j->work, slot);
    float *q = plane_row(c, c->q, slot, row, query_width(c)); /* [n_rep][head_dim] */
    struct hd_row_tail tail = hd_model_tail(c->model, input_of(j, row), c->row_bytes);
    hd_finish_heads(c,
                    &(struct hd_finish){&w->q_bias, &w->q_norm, &w->q_norm_bias, &w->q_each_norm,
                                        &w->q_whole_norm, tail.q_scale},
                    q, c->n_rep);
    for (size_t r = 0; r < c->n_rep; r++)
        hd_rotate(c, j->layer, j->rows->positions[row], &tail, q + r * c->model->shape.head_dim);
}

static struct hd_attention_args attention_of(const struct attention_job *j, size_t slot, size_t row)
{
    const struct hd_compute *c = j->c;
    const struct hd_head_weights *w = weights_of(j->work, slot);
    struct hd_kv_view kv = hd_cpu_kv_view(j->kv, lane_of(j, slot, row));
    size_t width = query_width(c);
    return (struct hd_attention_args){
        .q = plane_row(c, c->q, slot, row, width),
        .rows = 1,
        .n_rep = c->n_rep,
        .head_dim = c->model->shape.head_dim,
        .scale = hd_model_attention_scale(c->model, j->rows->positions[row]),
        .cap = c->model->block.attention_cap,
        .window = c->model->layers[j->layer].window,
        .sinks = w->sinks.data ? hd_vector_of(&w->sinks) : NULL,
        .kv_type = c->kv_type,
        .k_blocks = kv.k,
        .v_blocks = kv.v,
        .n_pos = (size_t)j->rows->positions[row] + 1,
        .out = plane_row(c, c->attended, slot, row, width)};
}

static void quantize_attended(const struct attention_job *j, size_t slot, size_t row)
{
    const struct hd_compute *c = j->c;
    size_t width = query_width(c);
    if (hd_takes_q8(c, &weights_of(j->work, slot)->o))
        hd_q8_quantize(c->kernels, plane_row(c, c->attended, slot, row, width), width,
                       attended_q8(c, slot, row));
}

/* ---- An item is one row of one head ----*/

static void attend_item(void *arg, size_t index, unsigned thread)
{
    struct attention_job *j = arg;
    size_t slot = index / j->rows->n, row = index % j->rows->n;
    if (!j->store_first)
        hd_attention_store_item(j, index, thread);
    finish_query(j, slot, row);
    struct hd_attention_args a = attention_of(j, slot, row);
    hd_attention(j->c->kernels, &a);
    quantize_attended(j, slot, row);
}

/* ---- An item is a segment of one row of one head ----*/

/* Rows of all heads in such a half-step, at most: more are work enough for all threads. */
static size_t most_rows(const struct hd_compute *c)
{
    return 2 * c->threads;
}

static size_t part_floats(const struct hd_compute *c) /* of a segment */
{
    return c->n_rep * hd_attention_part_floats(c->model->shape.head_dim);
}

bool hd_parts_init(struct hd_compute *c)
{
    c->parts.row = calloc(most_rows(c), sizeof *c->parts.row);
    return c->parts.row;
}

void hd_parts_deinit(struct hd_compute *c)
{
    free(c->parts.row);
    free(c->parts.part);
}

static int reserve_parts(struct hd_compute *c, size_t n)
{
    size_t room = c->parts.room ? c->parts.room : 64;
    if (n <= c->parts.room)
        return 0;
    while (room < n)
        room *= 2;
    float *part = aligned_alloc(64, room * part_floats(c) * sizeof *part);
    if (!part)
        return HD_E_NOMEM;
    free(c->parts.part);
    c->parts.part = part;
    c->parts.room = room;
    return 0;
}

/* Lists the rows' segments. How many; 0: work by rows is as good. */
static size_t list_parts(const struct attention_job *j)
{
    size_t rows = j->rows->n, all = j->heads.n * rows, threads = j->c->threads, n = 0;
    if (threads == 1 || all >= most_rows(j->c) || all % threads == 0)
        return 0;
    for (size_t i = 0; i < all; i++) {
        struct hd_attention_args a = {.window = j->c->model->layers[j->layer].window,
                                      .n_pos = (size_t)j->rows->positions[i % rows] + 1};
        struct hd_part_row *r = &j->c->parts.row[i];
        size_t first = hd_attention_first(&a), end = hd_attention_end(&a);
        *r = (struct hd_part_row){.at = n, .first = first, .n = end - first, .left = end - first};
        n += r->n;
    }
    return n > all ? n : 0;
}

static void query_item(void *arg, size_t index, unsigned thread)
{
    struct attention_job *j = arg;
    if (!j->store_first)
        hd_attention_store_item(j, index, thread);
    finish_query(j, index / j->rows->n, index % j->rows->n);
}

/* Whoever computes a row's last segment folds them. */
static void part_item(void *arg, size_t index, unsigned thread)
{
    struct attention_job *j = arg;
    struct hd_compute *c = j->c;
    size_t i = 0, floats = part_floats(c);
    (void)thread;
    while (index >= c->parts.row[i].at + c->parts.row[i].n)
        i++;
    struct hd_part_row *r = &c->parts.row[i];
    size_t slot = i / j->rows->n, row = i % j->rows->n;
    struct hd_attention_args a = attention_of(j, slot, row);
    hd_attention_part(c->kernels, &a, r->first + index - r->at, c->parts.part + index * floats);
    if (__atomic_sub_fetch(&r->left, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    hd_attention_fold(c->kernels, &a, r->n, c->parts.part + r->at * floats);
    quantize_attended(j, slot, row);
}

int hd_attend(struct attention_job *j, struct hd_error *err)
{
    size_t parts = list_parts(j);
    if (parts == 0) {
        hd_team_run(j->c->team, j->heads.n * j->rows->n, attend_item, j);
        return 0;
    }
    if (reserve_parts(j->c, parts) < 0)
        return hd_fail(err, HD_E_NOMEM, "out of memory for %zu parts of attention", parts);
    hd_team_run(j->c->team, j->heads.n * j->rows->n, query_item, j);
    hd_team_run(j->c->team, parts, part_item, j);
    return 0;
}
