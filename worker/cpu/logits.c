/* logits.c - logits of some vocab blocks, a tile of rows and a whole block at a time. */
#include "worker/cpu/compute_impl.h"

#include <string.h>

struct logits_job {
    struct hd_compute *c;
    const struct hd_cpu_weights *weights;
    struct hd_operand in;
    struct hd_logits answer;
    struct split split;
};

static void logits_item(void *arg, size_t index, unsigned thread)
{
    struct logits_job *j = arg;
    struct hd_compute *c = j->c;
    struct split_item it = hd_split_item(&j->split, index);
    size_t width = c->units.vocab_width;
    const struct hd_vocab_weights *v = hd_cpu_vocab(j->weights, j->answer.blocks.list[it.unit]);
    const struct hd_weights *w = &v->output;
    float *y = hd_scratch(c, thread); /* [LOGITS_TILE][vocab_width] */
    hd_product(c->kernels, &j->in, w, (struct hd_range){0, w->groups, it.at.row0, it.at.rows}, y,
               width);
    for (size_t i = 0; i < it.at.rows && v->bias.data; i++)
        hd_add_vector(y + i * width, hd_vector_of(&v->bias), w->outputs);
    for (size_t i = 0; i < it.at.rows; i++)
        if (!hd_logits_write(&j->answer, it.unit, it.at.row0 + i, y + i * width))
            __atomic_store_n(&c->is_bad[it.at.row0 + i], 1, __ATOMIC_RELAXED);
}

int hd_compute_logits(struct hd_compute *c, const struct hd_half_task *work,
                      struct hd_half_output *out, struct hd_error *err)
{
    const struct hd_rows *rows = work->rows;
    struct logits_job j = {
        .c = c,
        .weights = hd_cpu_weights(work->from.weights),
        .answer = {.kernels = c->kernels,
                   .rows = rows,
                   .blocks = work->units,
                   .vocab = c->model->shape.vocab,
                   .vocab_width = c->units.vocab_width,
                   .model = &c->model->block,
                   .offset = c->offset},
        .split = {.units = work->units.n,
                  .parts = 1,
                  .tiles = (rows->n + LOGITS_TILE - 1) / LOGITS_TILE,
                  .tile_rows = LOGITS_TILE,
                  .rows = rows->n},
    };
    *out = (struct hd_half_output){0};
    int rc = hd_answer_logits(&j.answer, out, err);
    if (rc < 0)
        return rc;
    memset(c->is_bad, 0, rows->n);
    j.in = hd_inputs(c, rows);
    hd_team_run(c->team, hd_split_items(&j.split), logits_item, &j);
    for (size_t b = 0; b < work->units.n; b++)
        out->flops +=
            hd_product_flops(&hd_cpu_vocab(j.weights, work->units.list[b])->output, rows->n);
    out->bad = c->bad;
    out->n_bad = hd_list_flags(c->is_bad, rows->n, c->bad);
    return 0;
}
