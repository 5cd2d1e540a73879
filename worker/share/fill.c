/* fill.c - one sequence after the other, from its first gap to its tail. */
#include "worker/share/fill.h"

#include "worker/share/hold.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct hd_fill {
    struct hd_node *node;
    const struct hd_pace *pace;
    uint64_t wanted, failed; /* masks of sequences: to be completed; of these, cannot be */
    struct {
        struct hd_sequence_need need;
        uint32_t layers_done[HD_MAX_GROUPS];
    } sequence[HD_MAX_SEQUENCES];
    bool under_way;
    struct hd_log_piece fetch; /* the latest; its id is never 0 */
    uint64_t sent_us;
    uint64_t next_us; /* when the next one may be sent */
};

int hd_fill_new(struct hd_fill **out, struct hd_node *n, const struct hd_pace *pace)
{
    struct hd_fill *f = calloc(1, sizeof *f);
    if (!f)
        return HD_E_NOMEM;
    f->node = n;
    f->pace = pace;
    *out = f;
    return 0;
}

void hd_fill_free(struct hd_fill *f)
{
    free(f);
}

void hd_fill_drop(struct hd_fill *f, uint64_t sequences)
{
    f->wanted &= ~sequences;
    f->failed &= ~sequences;
    if (sequences >> f->fetch.sequence & 1)
        f->under_way = false;
}

void hd_fill_cut(struct hd_fill *f, uint32_t sequence, uint32_t positions)
{
    const struct hd_log_piece *p = &f->fetch;
    hd_need_cut(&f->sequence[sequence].need, positions);
    if (p->sequence == sequence && p->position + p->count > positions)
        f->under_way = false;
}

void hd_fill_begin(struct hd_fill *f, const struct hd_assignment *a)
{
    for (size_t i = 0; i < a->n_needs; i++) {
        uint32_t s = a->needs[i].sequence;
        hd_fill_drop(f, UINT64_C(1) << s);
        f->wanted |= UINT64_C(1) << s;
        f->sequence[s].need = a->needs[i];
        memcpy(f->sequence[s].layers_done, a->layers_done, sizeof a->layers_done);
        hd_node_log_again(f->node, s);
    }
}

/* ---- What is missing ----*/

/* The rows that a layer lacks; none: count is 0. */
static struct hd_log_piece missing(const struct hd_fill *f, uint32_t sequence, uint32_t layer)
{
    const struct hd_input_log *log = f->node->input_log;
    struct hd_assignment a = {0};
    memcpy(a.layers_done, f->sequence[sequence].layers_done, sizeof a.layers_done);
    uint32_t first = hd_input_log_count(log, sequence, layer);
    uint32_t end = hd_input_log_tail(log, sequence, layer);
    if (end == 0)
        end = hd_needed(&a, &f->sequence[sequence].need, layer);
    return (struct hd_log_piece){.sequence = sequence,
                                 .layer = layer,
                                 .position = first,
                                 .count = end > first ? end - first : 0};
}

/* The rows that a sequence lacks in the first layer that lacks any. */
static struct hd_log_piece first_missing(const struct hd_fill *f, uint32_t sequence)
{
    uint32_t layers = f->node->model->shape.n_layers;
    struct hd_log_piece p = {.sequence = sequence};
    for (uint32_t l = 0; l < layers && p.count == 0; l++)
        p = missing(f, sequence, l);
    return p;
}

/* Rows that one fetch may bring. */
static uint32_t most_rows(const struct hd_fill *f, uint64_t now_us)
{
    size_t bytes = hd_pace_busy(f->pace, now_us) ? HD_FILL_BUSY_BYTES : HD_FILL_IDLE_BYTES;
    size_t rows = bytes / hd_node_row_bytes(f->node);
    if (rows > f->node->sizes.max_rows)
        rows = f->node->sizes.max_rows;
    return rows < 1 ? 1 : (uint32_t)rows;
}

static struct hd_fill_action state(struct hd_fill *f, uint32_t sequence, bool complete)
{
    hd_fill_drop(f, UINT64_C(1) << sequence);
    return (struct hd_fill_action){
        .what = HD_FILL_STATE, .piece = {.sequence = sequence}, .complete = complete};
}

static struct hd_fill_action fetch(struct hd_fill *f, struct hd_log_piece p, uint64_t now_us)
{
    uint32_t most = most_rows(f, now_us);
    p.id = f->fetch.id + 1;
    p.count = p.count < most ? p.count : most;
    f->fetch = p;
    f->under_way = true;
    f->sent_us = now_us;
    return (struct hd_fill_action){.what = HD_FILL_FETCH, .piece = p};
}

bool hd_fill_pending(const struct hd_fill *f)
{
    return f->wanted != 0 && !f->under_way;
}

struct hd_fill_action hd_fill_next(struct hd_fill *f, uint64_t now_us)
{
    struct hd_fill_action nothing = {.at_us = UINT64_MAX};
    if (!hd_fill_pending(f))
        return nothing;
    uint32_t s = (uint32_t)__builtin_ctzll(f->wanted);
    if (f->failed >> s & 1 || !f->node->o.keep_log)
        return state(f, s, false);
    struct hd_log_piece p = first_missing(f, s);
    if (p.count == 0)
        return state(f, s, true);
    nothing.at_us = f->next_us;
    return now_us < f->next_us ? nothing : fetch(f, p, now_us);
}

/* ---- What came ----*/

static int check_answer(const struct hd_fill *f, const struct hd_log_piece *p, struct hd_error *err)
{
    const struct hd_log_piece *q = &f->fetch;
    if (p->sequence == q->sequence && p->layer == q->layer && p->position == q->position &&
        p->count <= q->count)
        return 0;
    return hd_fail(err, HD_E_PROTO,
                   "Rows %" PRIu64 ": %u of sequence %u, layer %u from position %u, asked for were "
                   "%u of %u, %u from %u",
                   p->id, p->count, p->sequence, p->layer, p->position, q->count, q->sequence,
                   q->layer, q->position);
}

int hd_fill_rows(struct hd_fill *f, const struct hd_log_answer *answer, struct hd_error *err)
{
    const struct hd_log_piece *p = &answer->piece;
    size_t bytes = hd_node_row_bytes(f->node);
    if (!f->under_way || p->id != f->fetch.id)
        return 0;
    int rc = check_answer(f, p, err);
    if (rc < 0)
        return rc;
    bool kept = true;
    for (uint32_t i = 0; i < p->count && kept; i++) {
        struct hd_log_at at = {p->sequence, p->layer, p->position + i};
        kept = hd_node_log_row(f->node, at, answer->rows + i * bytes) == HD_LOG_KEPT;
    }
    uint64_t bit = UINT64_C(1) << p->sequence;
    f->under_way = false;
    f->next_us = hd_pace_next(f->pace, answer->now_us, answer->now_us - f->sent_us);
    if (!kept) /* live rows need not say so again */
        hd_node_log_hole(f->node, p->sequence);
    if (!kept || p->count == 0)
        f->failed |= bit;
    hd_hold_behind(f->node, bit);
    return 0;
}
