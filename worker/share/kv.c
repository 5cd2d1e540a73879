/* kv.c - counts of valid rows, lane by lane; the rows lie with the device. */
#include "worker/share/kv.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct lane {
    uint32_t first;    /* blocks before it are the parent's */
    uint32_t valid;    /* positions; 0, or beyond those blocks */
    uint32_t blocks;   /* reserved, with those */
    uint64_t bytes;    /* of its own */
    uint64_t *seen_us; /* [blocks] */
};

/* One that was dropped and is kept. */
struct dropped {
    struct hd_kv_at at;
    struct lane lane;
    struct hd_device_lane *memory;
    uint32_t looked_at; /* blocks */
    struct dropped *next;
};

struct hd_kv {
    struct hd_device *device;
    struct hd_device_kv *memory;
    uint32_t layers, heads, sequences, max_positions;
    uint64_t bytes;
    struct lane **sequence;          /* [sequences]: NULL or [layers][heads] */
    struct hd_kv_share *shares;      /* [sequences] */
    struct hd_kv_counters *counters; /* [layers][heads] */
    bool keep_dropped;
    struct dropped *dropped, **last_dropped; /* the first one first */
    uint64_t dropped_bytes;
};

static size_t lanes_of_sequence(const struct hd_kv *kv)
{
    return (size_t)kv->layers * kv->heads;
}

static struct lane *find_lane(const struct hd_kv *kv, struct hd_kv_at at)
{
    struct lane *lanes = kv->sequence[at.sequence];
    return lanes ? &lanes[(size_t)at.layer * kv->heads + at.head] : NULL;
}

int hd_kv_new(struct hd_kv **out, struct hd_device *d)
{
    struct hd_kv *kv = calloc(1, sizeof *kv);
    if (!kv)
        return HD_E_NOMEM;
    kv->device = d;
    kv->layers = d->o.model->shape.n_layers;
    kv->heads = d->o.model->shape.n_kv_heads;
    kv->sequences = d->sizes.max_sequences;
    kv->max_positions = d->sizes.max_positions;
    kv->last_dropped = &kv->dropped;
    kv->sequence = calloc(kv->sequences, sizeof *kv->sequence);
    kv->shares = calloc(kv->sequences, sizeof *kv->shares);
    kv->counters = calloc(lanes_of_sequence(kv), sizeof *kv->counters);
    if (!kv->sequence || !kv->shares || !kv->counters || d->ops->kv_new(d, &kv->memory) < 0) {
        hd_kv_free(kv);
        return HD_E_NOMEM;
    }
    *out = kv;
    return 0;
}

void hd_kv_free(struct hd_kv *kv)
{
    if (!kv)
        return;
    if (kv->memory) {
        kv->keep_dropped = false;
        hd_kv_free_dropped(kv);
        hd_kv_clear(kv);
        kv->device->ops->kv_free(kv->memory);
    }
    free(kv->sequence);
    free(kv->shares);
    free(kv->counters);
    free(kv);
}

struct hd_device_kv *hd_kv_memory(const struct hd_kv *kv)
{
    return kv->memory;
}

/* ---- Shared rows ----*/

void hd_kv_share(struct hd_kv *kv, uint32_t sequence, struct hd_kv_share with)
{
    kv->shares[sequence] = with;
    kv->device->ops->share(kv->memory, sequence, with.parent, with.shared);
}

struct hd_kv_share hd_kv_shared(const struct hd_kv *kv, uint32_t sequence)
{
    return kv->shares[sequence];
}

/* UINT32_MAX: nobody. A parent shares less than its children do, so every way up has an end; what
 * says otherwise is not believed. */
static uint32_t parent_of(const struct hd_kv *kv, uint32_t sequence)
{
    struct hd_kv_share with = kv->shares[sequence];
    bool has = with.shared > 0 && with.parent < kv->sequences &&
               kv->shares[with.parent].shared < with.shared;
    return has ? with.parent : UINT32_MAX;
}

uint64_t hd_kv_lineage(const struct hd_kv *kv, uint32_t sequence)
{
    uint64_t mask = 0;
    for (; sequence != UINT32_MAX; sequence = parent_of(kv, sequence))
        mask |= UINT64_C(1) << sequence;
    return mask;
}

bool hd_kv_shared_valid(const struct hd_kv *kv, struct hd_kv_at at)
{
    while (kv->shares[at.sequence].shared > 0) {
        uint32_t end = kv->shares[at.sequence].shared;
        at.sequence = parent_of(kv, at.sequence);
        if (at.sequence == UINT32_MAX || hd_kv_valid(kv, at) < end)
            return false;
    }
    return true;
}

/* ---- Room ----*/

static int grow(struct lane *lane, uint32_t blocks)
{
    if (blocks <= lane->blocks)
        return 0;
    uint64_t *seen_us = realloc(lane->seen_us, blocks * sizeof *seen_us);
    if (!seen_us)
        return HD_E_NOMEM;
    lane->seen_us = seen_us;
    while (lane->blocks < blocks)
        seen_us[lane->blocks++] = 0;
    return 0;
}

int hd_kv_reserve(struct hd_kv *kv, struct hd_kv_at at, uint32_t positions)
{
    if (positions > kv->max_positions)
        return HD_E_LIMIT;
    if (!kv->sequence[at.sequence]) {
        kv->sequence[at.sequence] = calloc(lanes_of_sequence(kv), sizeof(struct lane));
        if (!kv->sequence[at.sequence])
            return HD_E_NOMEM;
    }
    struct lane *lane = find_lane(kv, at);
    uint32_t blocks = (positions + HD_ATTN_BLOCK - 1) / HD_ATTN_BLOCK;
    if (blocks <= lane->blocks)
        return 0;
    lane->first = kv->shares[at.sequence].shared / HD_ATTN_BLOCK;
    uint64_t bytes = 0;
    int rc = kv->device->ops->reserve(kv->memory, at, positions, &bytes);
    kv->bytes += bytes;
    lane->bytes += bytes;
    hd_kv_counters(kv, at.layer, at.head)->bytes += bytes;
    return rc < 0 ? rc : grow(lane, blocks);
}

size_t hd_kv_row_bytes(const struct hd_kv *kv)
{
    return kv->device->ops->row_bytes(kv->memory);
}

void hd_kv_read(const struct hd_kv *kv, struct hd_kv_at at, uint32_t position, void *k, void *v)
{
    kv->device->ops->read(kv->memory, at, position, k, v);
}

uint64_t hd_kv_digest(const struct hd_kv *kv, struct hd_kv_at at, uint32_t positions, uint64_t seed)
{
    uint32_t rows[HD_ATTN_BLOCK];
    uint32_t shared = kv->shares[at.sequence].shared;
    for (uint32_t from = shared; from < positions; from += HD_ATTN_BLOCK) {
        uint32_t left = positions - from, n = left < HD_ATTN_BLOCK ? left : HD_ATTN_BLOCK;
        kv->device->ops->digests(kv->memory, at, from, from + n, rows);
        seed = XXH3_64bits_withSeed(rows, n * sizeof *rows, seed);
    }
    return seed;
}

/* Behind the last block that has a valid row of its own. */
static uint32_t used_blocks(const struct lane *lane)
{
    uint32_t used = (lane->valid + HD_ATTN_BLOCK - 1) / HD_ATTN_BLOCK;
    return used > lane->first ? used : lane->first;
}

static uint32_t bad_in(const struct hd_kv *kv, const struct lane *lane,
                       const struct hd_device_lane *memory, uint32_t block)
{
    uint32_t from = block * HD_ATTN_BLOCK, end = from + HD_ATTN_BLOCK;
    end = end < lane->valid ? end : lane->valid;
    return kv->device->ops->bad_row(kv->memory, memory, from, end);
}

uint32_t hd_kv_bad_row(const struct hd_kv *kv, struct hd_kv_at at, uint32_t block)
{
    const struct lane *lane = find_lane(kv, at);
    if (!lane || block < lane->first || block >= used_blocks(lane))
        return UINT32_MAX;
    return bad_in(kv, lane, kv->device->ops->lane(kv->memory, at), block);
}

uint64_t *hd_kv_seen_us(const struct hd_kv *kv, struct hd_kv_at at, uint32_t block)
{
    return &find_lane(kv, at)->seen_us[block];
}

void hd_kv_cut(struct hd_kv *kv, struct hd_kv_at at, uint32_t position)
{
    struct lane *lane = find_lane(kv, at);
    if (lane && lane->valid > position)
        lane->valid = position;
}

void hd_kv_cut_sequence(struct hd_kv *kv, uint32_t sequence, uint32_t position)
{
    for (uint32_t l = 0; kv->sequence[sequence] && l < kv->layers; l++)
        for (uint32_t h = 0; h < kv->heads; h++)
            hd_kv_cut(kv, (struct hd_kv_at){sequence, l, h}, position);
}

bool hd_kv_has(const struct hd_kv *kv, uint32_t sequence)
{
    return kv->sequence[sequence] != NULL;
}

void hd_kv_commit(struct hd_kv *kv, struct hd_kv_at at, uint32_t positions)
{
    struct lane *lane = find_lane(kv, at);
    if (positions > lane->valid)
        lane->valid = positions;
}

uint32_t hd_kv_valid(const struct hd_kv *kv, struct hd_kv_at at)
{
    const struct lane *lane = find_lane(kv, at);
    uint32_t shared = kv->shares[at.sequence].shared;
    return lane && lane->valid > shared ? lane->valid : shared;
}

uint32_t hd_kv_own(const struct hd_kv *kv, struct hd_kv_at at)
{
    return hd_kv_valid(kv, at) - kv->shares[at.sequence].shared;
}

/* ---- What is dropped ----*/

void hd_kv_keep_dropped(struct hd_kv *kv, bool keep)
{
    kv->keep_dropped = keep;
}

static uint64_t block_bytes(const struct lane *lane)
{
    return lane->blocks > lane->first ? lane->bytes / (lane->blocks - lane->first) : 0;
}

/* Ends with the memory of a lane that nobody has any more. */
static void free_lane(struct hd_kv *kv, struct lane *lane, struct hd_device_lane *memory)
{
    kv->bytes -= lane->bytes;
    free(lane->seen_us);
    if (memory)
        kv->device->ops->discard(kv->memory, memory);
}

static bool keep(struct hd_kv *kv, struct hd_kv_at at, struct lane *lane,
                 struct hd_device_lane *memory)
{
    uint32_t used = used_blocks(lane) - lane->first;
    struct dropped *d = kv->keep_dropped && used > 0 ? malloc(sizeof *d) : NULL;
    if (!d)
        return false;
    *d = (struct dropped){.at = at, .lane = *lane, .memory = memory, .looked_at = lane->first};
    *kv->last_dropped = d;
    kv->last_dropped = &d->next;
    kv->dropped_bytes += used * block_bytes(lane);
    return true;
}

static void free_first_dropped(struct hd_kv *kv)
{
    struct dropped *d = kv->dropped;
    kv->dropped = d->next;
    if (!kv->dropped)
        kv->last_dropped = &kv->dropped;
    kv->dropped_bytes -= (used_blocks(&d->lane) - d->looked_at) * block_bytes(&d->lane);
    free_lane(kv, &d->lane, d->memory);
    free(d);
}

size_t hd_kv_prove_dropped(struct hd_kv *kv, struct hd_kv_dropped *out)
{
    struct dropped *d = kv->dropped;
    if (!d)
        return 0;
    uint64_t bytes = block_bytes(&d->lane);
    *out = (struct hd_kv_dropped){.at = d->at,
                                  .bad = bad_in(kv, &d->lane, d->memory, d->looked_at),
                                  .seen_us = d->lane.seen_us[d->looked_at]};
    d->looked_at++;
    kv->dropped_bytes -= bytes;
    if (d->looked_at == used_blocks(&d->lane))
        free_first_dropped(kv);
    return bytes;
}

uint64_t hd_kv_dropped_bytes(const struct hd_kv *kv)
{
    return kv->dropped_bytes;
}

void hd_kv_free_dropped(struct hd_kv *kv)
{
    while (kv->dropped)
        free_first_dropped(kv);
}

static void drop_lane(struct hd_kv *kv, struct hd_kv_at at)
{
    struct lane *lane = find_lane(kv, at);
    if (!lane)
        return;
    struct hd_device_lane *memory = kv->device->ops->detach(kv->memory, at);
    hd_kv_counters(kv, at.layer, at.head)->bytes -= lane->bytes;
    if (!keep(kv, at, lane, memory))
        free_lane(kv, lane, memory);
    *lane = (struct lane){0};
}

void hd_kv_drop_sequence(struct hd_kv *kv, uint32_t sequence)
{
    for (uint32_t l = 0; kv->sequence[sequence] && l < kv->layers; l++)
        for (uint32_t h = 0; h < kv->heads; h++)
            drop_lane(kv, (struct hd_kv_at){sequence, l, h});
    free(kv->sequence[sequence]);
    kv->sequence[sequence] = NULL;
    hd_kv_share(kv, sequence, (struct hd_kv_share){0});
}

void hd_kv_drop_lanes(struct hd_kv *kv, uint32_t layer, uint32_t head)
{
    for (uint32_t s = 0; s < kv->sequences; s++)
        drop_lane(kv, (struct hd_kv_at){s, layer, head});
}

void hd_kv_drop_head(struct hd_kv *kv, uint32_t head)
{
    for (uint32_t l = 0; l < kv->layers; l++)
        hd_kv_drop_lanes(kv, l, head);
}

void hd_kv_clear(struct hd_kv *kv)
{
    for (uint32_t s = 0; s < kv->sequences; s++)
        hd_kv_drop_sequence(kv, s);
}

struct hd_kv_counters *hd_kv_counters(struct hd_kv *kv, uint32_t layer, uint32_t head)
{
    return &kv->counters[(size_t)layer * kv->heads + head];
}

void hd_kv_count_anew(struct hd_kv *kv)
{
    memset(kv->counters, 0, lanes_of_sequence(kv) * sizeof *kv->counters);
}

uint64_t hd_kv_valid_total(const struct hd_kv *kv, uint32_t layer, uint32_t head)
{
    uint64_t sum = 0;
    for (uint32_t s = 0; s < kv->sequences; s++)
        sum += hd_kv_own(kv, (struct hd_kv_at){s, layer, head});
    return sum;
}

uint64_t hd_kv_bytes(const struct hd_kv *kv)
{
    return kv->bytes;
}
