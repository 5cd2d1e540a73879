/* answer.c - rows side by side, then the lists of what is wide or bad. */
#include "worker/answer.h"

#include "common/math/log.h"

#include "common/net/conn.h"

#include <math.h>
#include <string.h>

/* ---- Partial sums ----*/

size_t hd_list_flags(const uint8_t *flags, size_t rows, uint32_t *list)
{
    size_t n = 0;
    for (size_t i = 0; i < rows; i++)
        if (flags[i])
            list[n++] = (uint32_t)i;
    return n;
}

/* Rows in order, wide ones with 64 bits an element. */
static void write_sums(const struct hd_sums *s, uint8_t *to)
{
    size_t wide_bytes = s->dim * sizeof *s->sum;
    for (size_t i = 0; i < s->rows; i++) {
        size_t bytes = s->is_wide[i] ? wide_bytes : s->narrow_bytes;
        const uint8_t *narrow = (const uint8_t *)s->narrow + i * s->narrow_bytes;
        memcpy(to, s->is_wide[i] ? (const void *)(s->sum + i * s->dim) : narrow, bytes);
        to += bytes;
    }
}

int hd_answer_sums(const struct hd_sums *s, struct hd_half_output *out, struct hd_error *err)
{
    out->wide = s->wide;
    out->n_wide = hd_list_flags(s->is_wide, s->rows, s->wide);
    out->bad = s->bad;
    out->n_bad = hd_list_flags(s->is_bad, s->rows, s->bad);
    if (s->payload && out->n_wide == 0) {
        out->payload = s->payload;
        return 0;
    }
    out->payload = hd_shared_new((s->rows - out->n_wide) * s->narrow_bytes +
                                 out->n_wide * s->dim * sizeof *s->sum);
    if (out->payload)
        write_sums(s, hd_shared_data(out->payload));
    hd_shared_unref(s->payload);
    return out->payload ? 0
                        : hd_fail(err, HD_E_NOMEM, "out of memory for the partial sums of %zu rows",
                                  s->rows);
}

/* ---- Logits ----*/

/* A pair as it travels. */
struct pair {
    uint32_t id;
    float logit;
};

uint32_t hd_logits_of_block(const struct hd_logits *l, uint32_t block)
{
    uint32_t left = l->vocab - block * l->vocab_width;
    return left < l->vocab_width ? left : l->vocab_width;
}

/* Bytes of one row of one block of `n` tokens. */
static size_t entry_bytes(const struct hd_rows *rows, size_t row, uint32_t n)
{
    uint32_t want = rows->want[row];
    size_t pairs = want < n ? want : n, sums = rows->temperatures[row] > 0 ? 2 : 1;
    return sums * sizeof(float) + (want ? pairs * sizeof(struct pair) : n * sizeof(float));
}

/* The payload's length, or 0 when it does not fit a frame. */
static size_t lay_out(const struct hd_logits *l)
{
    size_t at = 0, most = UINT32_MAX;
    for (size_t i = 0; i < l->rows->n; i++) {
        l->offset[i] = at;
        for (size_t b = 0; b < l->blocks.n; b++)
            at += entry_bytes(l->rows, i, hd_logits_of_block(l, l->blocks.list[b]));
        if (at > most)
            return 0;
    }
    return at;
}

int hd_answer_logits(struct hd_logits *l, struct hd_half_output *out, struct hd_error *err)
{
    size_t len = lay_out(l);
    if (len == 0)
        return hd_fail(err, HD_E_LIMIT, "the logits of %zu rows do not fit a frame", l->rows->n);
    out->payload = hd_shared_new(len);
    if (!out->payload)
        return hd_fail(err, HD_E_NOMEM, "out of memory for the logits of %zu rows", l->rows->n);
    l->payload = hd_shared_data(out->payload);
    return 0;
}

/* The best k of n, best first, into memory that need not be aligned. */
static void best_of(const float *logits, uint32_t first_id, uint32_t n, uint32_t k, uint8_t *out)
{
    uint32_t have = 0;
    struct pair at;
    for (uint32_t i = 0; i < n; i++) {
        struct pair p = {first_id + i, logits[i]};
        uint32_t to = have;
        if (have == k) {
            memcpy(&at, out + (size_t)(k - 1) * sizeof at, sizeof at);
            if (!(p.logit > at.logit))
                continue;
            to = k - 1;
        }
        for (; to > 0; to--) {
            memcpy(&at, out + (size_t)(to - 1) * sizeof at, sizeof at);
            if (!(p.logit > at.logit))
                break;
            memcpy(out + (size_t)to * sizeof at, &at, sizeof at);
        }
        memcpy(out + (size_t)to * sizeof p, &p, sizeof p);
        have += have < k;
    }
}

/* A sum as it travels; false: it is not finite. */
static bool write_sum(const struct hd_logits *l, const float *x, uint32_t n, uint8_t *out)
{
    float lse = hd_log_sum_exp(l->kernels, x, n);
    memcpy(out, &lse, sizeof lse);
    return isfinite(lse);
}

static void finish(const struct hd_logits *l, float *logits, uint32_t n)
{
    for (uint32_t i = 0; i < n && l->model->logit_scale != 1; i++)
        logits[i] *= l->model->logit_scale;
    if (l->model->logit_cap > 0)
        hd_soft_cap(l->kernels, logits, l->model->logit_cap, n);
}

/* Where a row's answer of a block lies. */
struct entry {
    uint8_t *sum, *at_temperature, *best;
    uint32_t n; /* tokens of the block */
};

static struct entry entry_of(const struct hd_logits *l, size_t slot, size_t row)
{
    /* Only the last block of all may be narrower, and nothing follows it. */
    uint8_t *at = l->payload + l->offset[row] + slot * entry_bytes(l->rows, row, l->vocab_width);
    bool twice = l->rows->temperatures[row] > 0;
    return (struct entry){at, at + sizeof(float), at + (twice ? 2 : 1) * sizeof(float),
                          hd_logits_of_block(l, l->blocks.list[slot])};
}

bool hd_logits_put(const struct hd_logits *l, size_t slot, size_t row,
                   const struct hd_logits_found *found)
{
    struct entry e = entry_of(l, slot, row);
    uint32_t want = l->rows->want[row] < e.n ? l->rows->want[row] : e.n;
    float sum = hd_log_sum(found->sums[0], found->sums[1]);
    float heated = hd_log_sum(found->sums[2], found->sums[3]);
    memcpy(e.sum, &sum, sizeof sum);
    if (l->rows->temperatures[row] > 0)
        memcpy(e.at_temperature, &heated, sizeof heated);
    memcpy(e.best, found->best, want * sizeof(struct pair));
    return isfinite(sum) && isfinite(heated);
}

/* The logits are divided by the temperature in place, when all else is written. */
bool hd_logits_write(const struct hd_logits *l, size_t slot, size_t row, float *logits)
{
    struct entry e = entry_of(l, slot, row);
    uint32_t block = l->blocks.list[slot], n = e.n, want = l->rows->want[row];
    float temperature = l->rows->temperatures[row];
    finish(l, logits, n);
    bool finite = write_sum(l, logits, n, e.sum);
    if (want == 0)
        memcpy(e.best, logits, n * sizeof *logits);
    else
        best_of(logits, block * l->vocab_width, n, want < n ? want : n, e.best);
    if (temperature == 1) { /* what most clients ask for: both sums are the same */
        memcpy(e.at_temperature, e.sum, sizeof(float));
    } else if (temperature > 0) {
        for (uint32_t i = 0; i < n; i++)
            logits[i] /= temperature;
        finite = write_sum(l, logits, n, e.at_temperature) && finite;
    }
    return finite;
}
