/* logits.c - logits of some vocab blocks: for each row and block the log-sum-exp, if wanted
 * also that of logit / temperature, then every logit or the best few (best first; equal ones by
 * token id, so that no order of work shows). */
#include "worker/cpu/compute_impl.h"

#include "common/util/size.h"

#include <math.h>
#include <string.h>

struct logits_job {
    struct hd_compute *c;
    const struct hd_shard *shard;
    const struct hd_rows *rows;
    struct hd_unit_list blocks;
    struct split split;
    uint8_t *payload;
    const size_t *offset; /* [rows]: where a row begins */
};

/* A pair as it travels. */
struct pair {
    uint32_t id;
    float logit;
};

static uint32_t block_rows(const struct hd_compute *c, uint32_t block)
{
    uint32_t left = c->o.model->shape.vocab - block * c->units.vocab_width;
    return left < c->units.vocab_width ? left : c->units.vocab_width;
}

/* Bytes of one row of one block of `n` tokens. */
static size_t entry_bytes(const struct hd_rows *rows, size_t row, uint32_t n)
{
    uint32_t want = rows->want[row];
    size_t pairs = want < n ? want : n, sums = rows->temperatures[row] > 0 ? 2 : 1;
    return sums * sizeof(float) + (want ? pairs * sizeof(struct pair) : n * sizeof(float));
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

/* A sum as it travels; returns what follows it. */
static uint8_t *write_sum(const struct logits_job *j, size_t row, const float *x, uint32_t n,
                          uint8_t *out)
{
    float lse = hd_log_sum_exp(j->c->o.kernels, x, n);
    if (!isfinite(lse))
        __atomic_store_n(&j->c->is_bad[row], 1, __ATOMIC_RELAXED);
    memcpy(out, &lse, sizeof lse);
    return out + sizeof lse;
}

/* The logits are divided by the temperature in place, when all else is written. */
static void write_entry(const struct logits_job *j, size_t slot, size_t row, float *logits)
{
    struct hd_compute *c = j->c;
    uint32_t block = j->blocks.list[slot], n = block_rows(c, block), want = j->rows->want[row];
    /* Only the last block of all may be narrower, and nothing follows it. */
    uint8_t *out =
        j->payload + j->offset[row] + slot * entry_bytes(j->rows, row, c->units.vocab_width);
    float temperature = j->rows->temperatures[row];
    out = write_sum(j, row, logits, n, out);
    uint8_t *at_temperature = out;
    out += temperature > 0 ? sizeof(float) : 0;
    if (want == 0)
        memcpy(out, logits, n * sizeof *logits);
    else
        best_of(logits, block * c->units.vocab_width, n, want < n ? want : n, out);
    if (temperature == 1) { /* what most clients ask for: both sums are the same */
        memcpy(at_temperature, at_temperature - sizeof(float), sizeof(float));
    } else if (temperature > 0) {
        for (uint32_t i = 0; i < n; i++)
            logits[i] /= temperature;
        write_sum(j, row, logits, n, at_temperature);
    }
}

static void logits_item(void *arg, size_t index, unsigned thread)
{
    struct logits_job *j = arg;
    struct hd_compute *c = j->c;
    struct split_item it = hd_split_item(&j->split, index);
    size_t width = c->units.vocab_width;
    const struct hd_weights *w = hd_shard_vocab(j->shard, j->blocks.list[it.unit]);
    float *y = hd_scratch(c, thread); /* [LOGITS_TILE][vocab_width] */
    hd_multiply_inputs(
        c, j->rows,
        &(struct input_product){
            .w = w, .g1 = w->groups, .row0 = it.row0, .rows = it.rows, .y = y, .y_stride = width});
    for (size_t i = 0; i < it.rows; i++)
        write_entry(j, it.unit, it.row0 + i, y + i * width);
}

/* Fills offset[rows]; the payload's length, or 0 when it does not fit a frame. */
static size_t lay_out(const struct logits_job *j, size_t *offset)
{
    size_t at = 0, most = UINT32_MAX;
    for (size_t i = 0; i < j->rows->n; i++) {
        offset[i] = at;
        for (size_t b = 0; b < j->blocks.n; b++)
            at += entry_bytes(j->rows, i, block_rows(j->c, j->blocks.list[b]));
        if (at > most)
            return 0;
    }
    return at;
}

int hd_compute_logits(struct hd_compute *c, const struct hd_half_task *work,
                      struct hd_half_output *out, struct hd_error *err)
{
    const struct hd_rows *rows = work->rows;
    struct logits_job j = {.c = c, .shard = work->from.shard, .rows = rows, .blocks = work->units};
    *out = (struct hd_half_output){0};
    j.offset = c->offset;
    size_t len = lay_out(&j, c->offset);
    if (len == 0)
        return hd_fail(err, HD_E_LIMIT, "the logits of %zu rows do not fit a frame", rows->n);
    out->payload = hd_shared_new(len);
    if (!out->payload)
        return hd_fail(err, HD_E_NOMEM, "out of memory for the logits of %zu rows", rows->n);
    j.payload = hd_shared_data(out->payload);
    memset(c->is_bad, 0, rows->n);
    j.split = (struct split){
        .units = j.blocks.n,
        .parts = 1,
        .tiles = (rows->n + LOGITS_TILE - 1) / LOGITS_TILE,
        .tile_rows = LOGITS_TILE,
        .rows = rows->n,
    };
    hd_prepare_inputs(c, rows);
    hd_team_run(c->o.team, hd_split_items(&j.split), logits_item, &j);
    for (size_t b = 0; b < j.blocks.n; b++)
        out->flops += hd_product_flops(hd_shard_vocab(j.shard, j.blocks.list[b]), rows->n);
    out->bad = c->bad;
    out->n_bad = hd_list_flags(c->is_bad, rows->n, c->bad);
    return 0;
}
