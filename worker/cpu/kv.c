/* kv.c - see kv.h. A block holds K and V of HD_ATTN_BLOCK positions in one allocation, and behind
 * them what proves them. */
#include "worker/cpu/kv.h"

#include "worker/seal.h"

#include <stdlib.h>
#include <string.h>

struct seals {
    uint64_t seen_us;
    uint32_t row[HD_ATTN_BLOCK]; /* of K and V of each position */
    /* Of a block that was dropped and is kept: */
    void *next;
    struct hd_kv_at at;
    uint32_t first, valid; /* its first position, and how many rows it has */
};

struct lane {
    void **k;        /* [cap]: K of each block; also what is freed */
    void **v;        /* [cap]: V of each block, in the same allocation */
    uint32_t blocks; /* allocated */
    uint32_t cap;
    uint32_t valid; /* positions */
};

struct hd_kv {
    struct hd_kv_options o;
    size_t row_bytes;
    uint64_t bytes;
    struct lane **sequence;          /* [sequences]: NULL or [layers][heads] */
    struct hd_kv_counters *counters; /* [layers][heads] */
    bool keep_dropped;
    void *dropped, *last_dropped; /* linked by their seals, the first one first; NULL: none */
    uint64_t dropped_bytes;
};

static size_t lanes_of_sequence(const struct hd_kv *kv)
{
    return (size_t)kv->o.layers * kv->o.heads;
}

/* K of a block, or V. */
static size_t half_bytes(const struct hd_kv *kv)
{
    return HD_ATTN_BLOCK * kv->row_bytes;
}

static size_t block_bytes(const struct hd_kv *kv)
{
    return 2 * half_bytes(kv) + sizeof(struct seals);
}

static struct seals *seals_in(const struct hd_kv *kv, void *block)
{
    return (struct seals *)(void *)((uint8_t *)block + 2 * half_bytes(kv));
}

static struct seals *seals_of(const struct hd_kv *kv, const struct lane *lane, uint32_t block)
{
    return seals_in(kv, lane->k[block]);
}

static struct lane *find_lane(const struct hd_kv *kv, struct hd_kv_at at)
{
    struct lane *lanes = kv->sequence[at.sequence];
    return lanes ? &lanes[(size_t)at.layer * kv->o.heads + at.head] : NULL;
}

int hd_kv_new(struct hd_kv **out, const struct hd_kv_options *o)
{
    struct hd_kv *kv = calloc(1, sizeof *kv);
    if (!kv)
        return HD_E_NOMEM;
    kv->o = *o;
    kv->row_bytes = o->head_dim * (o->type == HD_KV_F16 ? sizeof(uint16_t) : sizeof(float));
    kv->sequence = calloc(o->sequences, sizeof *kv->sequence);
    kv->counters = calloc(lanes_of_sequence(kv), sizeof *kv->counters);
    if (!kv->sequence || !kv->counters) {
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
    kv->keep_dropped = false;
    hd_kv_free_dropped(kv);
    if (kv->sequence)
        hd_kv_clear(kv);
    free(kv->sequence);
    free(kv->counters);
    free(kv);
}

static int grow_list(struct lane *lane, uint32_t blocks)
{
    if (blocks <= lane->cap)
        return 0;
    uint32_t cap = lane->cap ? lane->cap : 4;
    while (cap < blocks)
        cap *= 2;
    void **k = realloc(lane->k, cap * sizeof *k);
    if (!k)
        return HD_E_NOMEM;
    lane->k = k;
    void **v = realloc(lane->v, cap * sizeof *v);
    if (!v)
        return HD_E_NOMEM;
    lane->v = v;
    lane->cap = cap;
    return 0;
}

static int add_block(struct hd_kv *kv, struct hd_kv_at at, struct lane *lane)
{
    void *block;
    if (posix_memalign(&block, 64, block_bytes(kv)) != 0)
        return HD_E_NOMEM;
    /* Kernels may load whole blocks; what they load beyond the last row must be a number. */
    memset(block, 0, block_bytes(kv));
    lane->k[lane->blocks] = block;
    lane->v[lane->blocks] = (uint8_t *)block + half_bytes(kv);
    lane->blocks++;
    kv->bytes += block_bytes(kv);
    hd_kv_counters(kv, at.layer, at.head)->bytes += block_bytes(kv);
    return 0;
}

int hd_kv_reserve(struct hd_kv *kv, struct hd_kv_at at, uint32_t positions)
{
    if (positions > kv->o.max_positions)
        return HD_E_LIMIT;
    if (!kv->sequence[at.sequence]) {
        kv->sequence[at.sequence] = calloc(lanes_of_sequence(kv), sizeof(struct lane));
        if (!kv->sequence[at.sequence])
            return HD_E_NOMEM;
    }
    struct lane *lane = find_lane(kv, at);
    uint32_t blocks = (positions + HD_ATTN_BLOCK - 1) / HD_ATTN_BLOCK;
    int rc = grow_list(lane, blocks);
    while (rc == 0 && lane->blocks < blocks)
        rc = add_block(kv, at, lane);
    return rc;
}

void *hd_kv_k(const struct hd_kv *kv, struct hd_kv_at at, uint32_t position)
{
    uint8_t *block = find_lane(kv, at)->k[position / HD_ATTN_BLOCK];
    return block + position % HD_ATTN_BLOCK * kv->row_bytes;
}

void *hd_kv_v(const struct hd_kv *kv, struct hd_kv_at at, uint32_t position)
{
    uint8_t *block = find_lane(kv, at)->v[position / HD_ATTN_BLOCK];
    return block + position % HD_ATTN_BLOCK * kv->row_bytes;
}

size_t hd_kv_row_bytes(const struct hd_kv *kv)
{
    return kv->row_bytes;
}

void hd_kv_seal(struct hd_kv *kv, struct hd_kv_at at, uint32_t position)
{
    struct lane *lane = find_lane(kv, at);
    seals_of(kv, lane, position / HD_ATTN_BLOCK)->row[position % HD_ATTN_BLOCK] =
        hd_seal_pair(hd_kv_k(kv, at, position), hd_kv_v(kv, at, position), kv->row_bytes);
}

/* Valid rows of a block that begins with this position. */
static uint32_t rows_from(const struct lane *lane, uint32_t first)
{
    uint32_t rows = lane->valid > first ? lane->valid - first : 0;
    return rows < HD_ATTN_BLOCK ? rows : HD_ATTN_BLOCK;
}

/* The first of so many rows that is not what was sealed; UINT32_MAX: all are. */
static uint32_t bad_in(const struct hd_kv *kv, void *block, uint32_t rows)
{
    for (uint32_t i = 0; i < rows; i++) {
        const uint8_t *k = (const uint8_t *)block + i * kv->row_bytes, *v = k + half_bytes(kv);
        if (seals_in(kv, block)->row[i] != hd_seal_pair(k, v, kv->row_bytes))
            return i;
    }
    return UINT32_MAX;
}

uint32_t hd_kv_bad_row(const struct hd_kv *kv, struct hd_kv_at at, uint32_t block)
{
    const struct lane *lane = find_lane(kv, at);
    uint32_t first = block * HD_ATTN_BLOCK, rows = lane ? rows_from(lane, first) : 0;
    uint32_t bad = rows > 0 ? bad_in(kv, lane->k[block], rows) : UINT32_MAX;
    return bad == UINT32_MAX ? UINT32_MAX : first + bad;
}

uint64_t *hd_kv_seen_us(const struct hd_kv *kv, struct hd_kv_at at, uint32_t block)
{
    return &seals_of(kv, find_lane(kv, at), block)->seen_us;
}

void hd_kv_cut(struct hd_kv *kv, struct hd_kv_at at, uint32_t position)
{
    struct lane *lane = find_lane(kv, at);
    if (lane && lane->valid > position)
        lane->valid = position;
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
    return lane ? lane->valid : 0;
}

struct hd_kv_view hd_kv_view(const struct hd_kv *kv, struct hd_kv_at at)
{
    const struct lane *lane = find_lane(kv, at);
    if (!lane)
        return (struct hd_kv_view){0};
    return (struct hd_kv_view){
        .k = (const void *const *)lane->k,
        .v = (const void *const *)lane->v,
        .valid = lane->valid,
    };
}

void hd_kv_keep_dropped(struct hd_kv *kv, bool keep)
{
    kv->keep_dropped = keep;
}

static void keep(struct hd_kv *kv, struct hd_kv_at at, struct lane *lane, uint32_t block)
{
    void *p = lane->k[block];
    struct seals *seals = seals_in(kv, p);
    seals->at = at;
    seals->first = block * HD_ATTN_BLOCK;
    seals->valid = rows_from(lane, seals->first);
    seals->next = NULL;
    if (kv->dropped)
        seals_in(kv, kv->last_dropped)->next = p;
    else
        kv->dropped = p;
    kv->last_dropped = p;
    kv->dropped_bytes += block_bytes(kv);
}

static void free_block(struct hd_kv *kv, void *block)
{
    kv->bytes -= block_bytes(kv);
    free(block);
}

static void *take_dropped(struct hd_kv *kv)
{
    void *block = kv->dropped;
    if (!block)
        return NULL;
    kv->dropped = seals_in(kv, block)->next;
    kv->dropped_bytes -= block_bytes(kv);
    return block;
}

size_t hd_kv_prove_dropped(struct hd_kv *kv, struct hd_kv_dropped *out)
{
    void *block = take_dropped(kv);
    if (!block)
        return 0;
    const struct seals *seals = seals_in(kv, block);
    uint32_t bad = bad_in(kv, block, seals->valid);
    *out = (struct hd_kv_dropped){.at = seals->at,
                                  .bad = bad == UINT32_MAX ? bad : seals->first + bad,
                                  .seen_us = seals->seen_us};
    free_block(kv, block);
    return block_bytes(kv);
}

uint64_t hd_kv_dropped_bytes(const struct hd_kv *kv)
{
    return kv->dropped_bytes;
}

void hd_kv_free_dropped(struct hd_kv *kv)
{
    for (void *block; (block = take_dropped(kv));)
        free_block(kv, block);
}

static void drop_lane(struct hd_kv *kv, struct hd_kv_at at)
{
    struct lane *lane = find_lane(kv, at);
    if (!lane)
        return;
    hd_kv_counters(kv, at.layer, at.head)->bytes -= lane->blocks * (uint64_t)block_bytes(kv);
    for (uint32_t b = 0; b < lane->blocks; b++)
        if (kv->keep_dropped && rows_from(lane, b * HD_ATTN_BLOCK) > 0)
            keep(kv, at, lane, b);
        else
            free_block(kv, lane->k[b]);
    free(lane->k);
    free(lane->v);
    *lane = (struct lane){0};
}

void hd_kv_drop_sequence(struct hd_kv *kv, uint32_t sequence)
{
    if (!kv->sequence[sequence])
        return;
    for (uint32_t l = 0; l < kv->o.layers; l++)
        for (uint32_t h = 0; h < kv->o.heads; h++)
            drop_lane(kv, (struct hd_kv_at){sequence, l, h});
    free(kv->sequence[sequence]);
    kv->sequence[sequence] = NULL;
}

void hd_kv_drop_lanes(struct hd_kv *kv, uint32_t layer, uint32_t head)
{
    for (uint32_t s = 0; s < kv->o.sequences; s++)
        drop_lane(kv, (struct hd_kv_at){s, layer, head});
}

void hd_kv_drop_head(struct hd_kv *kv, uint32_t head)
{
    for (uint32_t l = 0; l < kv->o.layers; l++)
        hd_kv_drop_lanes(kv, l, head);
}

void hd_kv_clear(struct hd_kv *kv)
{
    for (uint32_t s = 0; s < kv->o.sequences; s++)
        hd_kv_drop_sequence(kv, s);
}

struct hd_kv_counters *hd_kv_counters(struct hd_kv *kv, uint32_t layer, uint32_t head)
{
    return &kv->counters[(size_t)layer * kv->o.heads + head];
}

uint64_t hd_kv_valid_total(const struct hd_kv *kv, uint32_t layer, uint32_t head)
{
    uint64_t sum = 0;
    for (uint32_t s = 0; s < kv->o.sequences; s++)
        sum += hd_kv_valid(kv, (struct hd_kv_at){s, layer, head});
    return sum;
}

uint64_t hd_kv_bytes(const struct hd_kv *kv)
{
    return kv->bytes;
}

const struct hd_kv_options *hd_kv_shape(const struct hd_kv *kv)
{
    return &kv->o;
}
