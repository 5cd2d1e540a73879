/* logits.c - blocks are folded in their own order, whoever sent them and whenever they came. */
#include "leader/engine/logits.h"

#include "common/util/size.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint32_t block_rows(const struct hd_logits *l, uint32_t block)
{
    uint32_t first = block * l->units->vocab_width;
    uint32_t left = l->vocab - first;
    return left < l->units->vocab_width ? left : l->units->vocab_width;
}

static int row_init(struct hd_logits *l, struct hd_logits_row *row, uint32_t want,
                    float temperature)
{
    size_t blocks = l->units->vocab_blocks, n = l->vocab;
    if (want > 0 && !hd_mul_size(blocks, want, &n))
        return HD_E_NOMEM;
    row->want = want;
    row->temperature = temperature;
    row->lse = calloc(blocks, sizeof *row->lse);
    row->lse_t = calloc(blocks, sizeof *row->lse_t);
    row->n = calloc(blocks, sizeof *row->n);
    row->c = calloc(n, sizeof *row->c);
    return row->lse && row->lse_t && row->n && row->c ? 0 : HD_E_NOMEM;
}

int hd_logits_init(struct hd_logits *l, const struct hd_units *units, uint32_t vocab,
                   const struct hd_half_work *work)
{
    *l = (struct hd_logits){.units = units, .vocab = vocab};
    l->row = calloc(work->rows, sizeof *l->row);
    if (!l->row)
        return HD_E_NOMEM;
    l->rows = work->rows;
    for (size_t i = 0; i < l->rows; i++)
        if (row_init(l, &l->row[i], work->want[i], work->temperatures[i]) < 0) {
            hd_logits_deinit(l);
            return HD_E_NOMEM;
        }
    return 0;
}

void hd_logits_deinit(struct hd_logits *l)
{
    for (size_t i = 0; i < l->rows; i++) {
        free(l->row[i].lse);
        free(l->row[i].lse_t);
        free(l->row[i].n);
        free(l->row[i].c);
    }
    free(l->row);
    *l = (struct hd_logits){0};
}

static uint32_t pairs_of(const struct hd_logits *l, size_t row, uint32_t block)
{
    uint32_t rows = block_rows(l, block), want = l->row[row].want;
    return want < rows ? want : rows;
}

static size_t expected_len(const struct hd_logits *l, const struct hd_half_result *r)
{
    size_t len = 0;
    for (size_t i = 0; i < l->rows; i++)
        for (size_t b = 0; b < r->n_vocab_blocks; b++) {
            uint32_t block = r->vocab_blocks[b];
            len += l->row[i].temperature > 0 ? 8 : 4;
            len += l->row[i].want ? (size_t)pairs_of(l, i, block) * 8
                                  : (size_t)block_rows(l, block) * 4;
        }
    return len;
}

static bool is_bad(const struct hd_half_result *r, size_t row)
{
    for (size_t i = 0; i < r->n_bad; i++)
        if (r->bad[i] == row)
            return true;
    return false;
}

/* Are there numbers to choose by? Minus infinity is a logit: of what never comes. */
static bool are_numbers(const struct hd_logits_row *row, uint32_t block, size_t first)
{
    for (uint32_t i = 0; i < row->n[block]; i++)
        if (!(row->c[first + i].logit < INFINITY))
            return false;
    return isfinite(row->lse[block]) && isfinite(row->lse_t[block]);
}

/* Reads the logits of one block of one row at *p; false when a token id is not of the block. */
static bool take_block(struct hd_logits *l, size_t row, uint32_t block, const uint8_t **p)
{
    struct hd_logits_row *to = &l->row[row];
    uint32_t first = block * l->units->vocab_width, rows = block_rows(l, block);
    memcpy(&to->lse[block], *p, 4);
    *p += 4;
    if (to->temperature > 0) {
        memcpy(&to->lse_t[block], *p, 4);
        *p += 4;
    }
    if (to->want == 0) {
        for (uint32_t i = 0; i < rows; i++, *p += 4) {
            to->c[first + i].id = (int32_t)(first + i);
            memcpy(&to->c[first + i].logit, *p, 4);
        }
        to->n[block] = rows;
        return true;
    }
    struct hd_candidate *c = to->c + (size_t)block * to->want;
    to->n[block] = pairs_of(l, row, block);
    for (uint32_t i = 0; i < to->n[block]; i++, *p += 8) {
        uint32_t id;
        memcpy(&id, *p, 4);
        memcpy(&c[i].logit, *p + 4, 4);
        if (id < first || id - first >= rows)
            return false;
        c[i].id = (int32_t)id;
    }
    return true;
}

int hd_logits_add(struct hd_logits *l, const struct hd_half_result *r, struct hd_error *err)
{
    for (size_t b = 0; b < r->n_vocab_blocks; b++)
        if (r->vocab_blocks[b] >= l->units->vocab_blocks)
            return hd_fail(err, HD_E_PROTO, "vocab block %u does not exist", r->vocab_blocks[b]);
    size_t want = expected_len(l, r);
    if (r->payload_len != want)
        return hd_fail(err, HD_E_PROTO, "logits of %zu bytes where %zu were expected",
                       r->payload_len, want);
    const uint8_t *p = r->payload;
    for (size_t i = 0; i < l->rows; i++)
        for (size_t b = 0; b < r->n_vocab_blocks; b++) {
            uint32_t block = r->vocab_blocks[b], most = l->row[i].want;
            size_t first = (size_t)block * (most ? most : l->units->vocab_width);
            if (!take_block(l, i, block, &p))
                return hd_fail(err, HD_E_PROTO, "a candidate lies outside vocab block %u", block);
            if (!are_numbers(&l->row[i], block, first) && !is_bad(r, i))
                return hd_fail(err, HD_E_PROTO,
                               "row %zu has logits in vocab block %u that are no numbers, and is "
                               "not called bad",
                               i, block);
        }
    return 0;
}

/* The sum over all blocks, in their order. */
static double fold(const struct hd_logits *l, const float *lse)
{
    double max = -INFINITY, sum = 0;
    for (uint32_t b = 0; b < l->units->vocab_blocks; b++)
        max = lse[b] > max ? lse[b] : max;
    for (uint32_t b = 0; b < l->units->vocab_blocks; b++)
        sum += exp((double)lse[b] - max);
    return max + log(sum);
}

double hd_logits_lse(const struct hd_logits *l, size_t row)
{
    return fold(l, l->row[row].lse);
}

/* What a block has kept back is no better than the last that it has sent. */
static float bound_of(const struct hd_logits *l, const struct hd_logits_row *r)
{
    float bound = -INFINITY;
    for (uint32_t b = 0; b < l->units->vocab_blocks; b++) {
        const struct hd_candidate *c = r->c + (size_t)b * r->want;
        if (r->n[b] < block_rows(l, b) && c[r->n[b] - 1].logit > bound)
            bound = c[r->n[b] - 1].logit;
    }
    return bound;
}

size_t hd_logits_candidates(struct hd_logits *l, size_t row, struct hd_candidate **c)
{
    struct hd_logits_row *r = &l->row[row];
    *c = r->c;
    if (r->want == 0)
        return l->vocab;
    if (r->joined)
        return r->joined;
    r->bound = bound_of(l, r);
    for (uint32_t b = 0; b < l->units->vocab_blocks; b++) {
        memmove(r->c + r->joined, r->c + (size_t)b * r->want, r->n[b] * sizeof *r->c);
        r->joined += r->n[b];
    }
    return r->joined;
}

void hd_logits_distribution(struct hd_logits *l, size_t row, struct hd_distribution *d)
{
    const struct hd_logits_row *r = &l->row[row];
    d->n = hd_logits_candidates(l, row, &d->c);
    bool all = d->n == l->vocab;
    d->each = all ? 0 : r->want;
    d->bound = all ? NAN : r->bound;
    d->lse = r->temperature > 0 ? fold(l, r->lse_t) : NAN;
}
