/* groups.c - which rows of a step walk through the layers together. */
#include "leader/engine/engine_impl.h"

/* Rows by sequence, for the core. Rows of one sequence are neighbours. */
static size_t count_sequences(const struct hd_engine *e, size_t first, size_t n_rows,
                              struct hd_seq_rows *list)
{
    size_t n = 0;
    for (size_t i = first; i < first + n_rows; i++) {
        uint32_t s = e->rows[i].r->sequence;
        if (n > 0 && list[n - 1].sequence == s)
            list[n - 1].rows++;
        else
            list[n++] = (struct hd_seq_rows){.sequence = s, .rows = 1};
    }
    return n;
}

static bool has_drafts(const struct hd_engine *e, size_t first, size_t n_rows)
{
    for (size_t i = first; i < first + n_rows; i++)
        if (e->rows[i].drafted)
            return true;
    return false;
}

static void set_group(struct hd_engine *e, unsigned group, size_t first, size_t n_rows)
{
    struct hd_seq_rows *by_sequence = e->by_sequence + first;
    e->groups[group] = (struct hd_group){
        .first = first,
        .n_rows = n_rows,
        .work = {.step = e->step,
                 .group = group,
                 .groups = e->n_groups,
                 .drafted = has_drafts(e, first, n_rows),
                 .x = e->x + first * e->row_bytes,
                 .row_bytes = e->row_bytes,
                 .sequences = e->sequences + first,
                 .positions = e->positions + first,
                 .shifts = e->shifts + first,
                 .want = e->want + first,
                 .temperatures = e->temperatures + first,
                 .by_sequence = by_sequence,
                 .n_sequences = count_sequences(e, first, n_rows, by_sequence)},
    };
}

void hd_groups_form(struct hd_engine *e)
{
    size_t n = e->n_rows, half = (n + 1) / 2;
    bool many = e->o.overlap_rows > 0 && n > 1 && n >= e->o.overlap_rows;
    e->n_groups = many && count_sequences(e, 0, n, e->by_sequence) < n ? 2 : 1;
    e->turn = 0;
    set_group(e, 0, 0, e->n_groups == 2 ? half : n);
    if (e->n_groups == 2)
        set_group(e, 1, half, n - half);
}

void hd_groups_join(struct hd_engine *e)
{
    e->n_groups = 1;
    e->turn = 0;
    set_group(e, 0, 0, e->n_rows);
    e->groups[0].half = HD_HALF_LOGITS;
    e->groups[0].layer = e->o.model->shape.n_layers - 1;
}
