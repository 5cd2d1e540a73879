/* kv.c - see kv.h. A block holds K and V of HD_ATTN_BLOCK positions in one allocation, and behind
 * them what proves them. */
#include "worker/cpu/kv.h"

#include "worker/seal.h"

#include <stdlib.h>
#include <string.h>

struct hd_device_lane {
    void **k;        /* [cap]: K of each block; also what is freed */
    void **v;        /* [cap]: V of each block, in the same allocation */
    uint32_t first;  /* blocks before it are the parent's */
    uint32_t blocks; /* there are, with those */
    uint32_t cap;
};

struct share {
    uint32_t parent, blocks; /* blocks 0: all are its own */
};

struct hd_cpu_kv {
    struct hd_device_kv base;
    size_t row_bytes;
    uint32_t layers, heads, sequences;
    struct hd_device_lane ***sequence; /* [sequences]: NULL, or [layers][heads], each may be NULL */
    struct share *shares;              /* [sequences] */
};

static const struct hd_cpu_kv *of(const struct hd_device_kv *kv)
{
    return (const struct hd_cpu_kv *)(const void *)kv;
}

/* K of a block, or V. */
static size_t half_bytes(const struct hd_cpu_kv *kv)
{
    return HD_ATTN_BLOCK * kv->row_bytes;
}

static size_t block_bytes(const struct hd_cpu_kv *kv)
{
    return 2 * half_bytes(kv) + HD_ATTN_BLOCK * sizeof(uint32_t);
}

/* [HD_ATTN_BLOCK]: of K and V of each position. */
static uint32_t *seals_of(const struct hd_cpu_kv *kv, const struct hd_device_lane *lane,
                          uint32_t block)
{
    return (uint32_t *)(void *)((uint8_t *)lane->v[block] + half_bytes(kv));
}

static struct hd_device_lane **slot_of(const struct hd_cpu_kv *kv, struct hd_kv_at at)
{
    struct hd_device_lane **lanes = kv->sequence[at.sequence];
    return lanes ? &lanes[(size_t)at.layer * kv->heads + at.head] : NULL;
}

/* Of a lane that is reserved. */
static struct hd_device_lane *find_lane(const struct hd_cpu_kv *kv, struct hd_kv_at at)
{
    return *slot_of(kv, at);
}

int hd_cpu_kv_new(struct hd_device *d, struct hd_device_kv **out)
{
    const struct hd_model_shape *m = &d->o.model->shape;
    struct hd_cpu_kv *kv = calloc(1, sizeof *kv);
    if (!kv)
        return HD_E_NOMEM;
    kv->base.device = d;
    kv->row_bytes =
        m->head_dim * (d->sizes.kv_type == HD_KV_F16 ? sizeof(uint16_t) : sizeof(float));
    kv->layers = m->n_layers;
    kv->heads = m->n_kv_heads;
    kv->sequences = d->sizes.max_sequences;
    kv->sequence = calloc(kv->sequences, sizeof *kv->sequence);
    kv->shares = calloc(kv->sequences, sizeof *kv->shares);
    if (!kv->sequence || !kv->shares) {
        free(kv->sequence);
        free(kv->shares);
        free(kv);
        return HD_E_NOMEM;
    }
    *out = &kv->base;
    return 0;
}

static void free_lane(struct hd_device_lane *lane)
{
    if (!lane)
        return;
    for (uint32_t b = lane->first; b < lane->blocks; b++)
        free(lane->k[b]);
    free(lane->k);
    free(lane->v);
    free(lane);
}

void hd_cpu_kv_free(struct hd_device_kv *base)
{
    struct hd_cpu_kv *kv = hd_cpu_kv(base);
    if (!kv)
        return;
    for (uint32_t s = 0; s < kv->sequences; s++) {
        for (size_t i = 0; kv->sequence[s] && i < (size_t)kv->layers * kv->heads; i++)
            free_lane(kv->sequence[s][i]);
        free(kv->sequence[s]);
    }
    free(kv->sequence);
    free(kv->shares);
    free(kv);
}

void hd_cpu_kv_share(struct hd_device_kv *base, uint32_t sequence, uint32_t parent, uint32_t shared)
{
    hd_cpu_kv(base)->shares[sequence] = (struct share){parent, shared / HD_ATTN_BLOCK};
}

void hd_cpu_kv_find_shared(const struct hd_cpu_kv *kv, struct hd_kv_at at)
{
    struct hd_device_lane *lane = find_lane(kv, at);
    for (uint32_t end = lane->first; end > 0;) {
        struct share s = kv->shares[at.sequence];
        at.sequence = s.parent;
        const struct hd_device_lane *from = find_lane(kv, at);
        uint32_t first = from->first < end ? from->first : end;
        memcpy(lane->k + first, from->k + first, (end - first) * sizeof *lane->k);
        memcpy(lane->v + first, from->v + first, (end - first) * sizeof *lane->v);
        end = first;
    }
}

struct hd_device_lane *hd_cpu_kv_lane(const struct hd_device_kv *kv, struct hd_kv_at at)
{
    struct hd_device_lane **slot = slot_of(of(kv), at);
    return slot ? *slot : NULL;
}

struct hd_device_lane *hd_cpu_kv_detach(struct hd_device_kv *kv, struct hd_kv_at at)
{
    struct hd_device_lane **slot = slot_of(of(kv), at), *lane = slot ? *slot : NULL;
    if (slot)
        *slot = NULL;
    return lane;
}

void hd_cpu_kv_discard(struct hd_device_kv *kv, struct hd_device_lane *lane)
{
    free_lane(lane);
}

static int grow_list(struct hd_device_lane *lane, uint32_t blocks)
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

static int add_block(struct hd_cpu_kv *kv, struct hd_device_lane *lane)
{
    void *block;
    if (posix_memalign(&block, 64, block_bytes(kv)) != 0)
        return HD_E_NOMEM;
    /* Kernels may load whole blocks; what they load beyond the last row must be a number. */
    memset(block, 0, block_bytes(kv));
    lane->k[lane->blocks] = block;
    lane->v[lane->blocks] = (uint8_t *)block + half_bytes(kv);
    lane->blocks++;
    return 0;
}

int hd_cpu_kv_reserve(struct hd_device_kv *base, struct hd_kv_at at, uint32_t positions,
                      uint64_t *bytes)
{
    struct hd_cpu_kv *kv = hd_cpu_kv(base);
    if (!kv->sequence[at.sequence])
        kv->sequence[at.sequence] = calloc((size_t)kv->layers * kv->heads, sizeof **kv->sequence);
    struct hd_device_lane **slot = slot_of(kv, at);
    if (slot && !*slot && (*slot = calloc(1, sizeof **slot)))
        (*slot)->first = kv->shares[at.sequence].blocks;
    if (!slot || !*slot)
        return HD_E_NOMEM;
    uint32_t blocks = (positions + HD_ATTN_BLOCK - 1) / HD_ATTN_BLOCK;
    int rc = grow_list(*slot, blocks);
    if (rc == 0 && (*slot)->blocks < (*slot)->first)
        (*slot)->blocks = (*slot)->first;
    while (rc == 0 && (*slot)->blocks < blocks) {
        rc = add_block(kv, *slot);
        *bytes += rc == 0 ? block_bytes(kv) : 0;
    }
    return rc;
}

void *hd_cpu_kv_k(const struct hd_cpu_kv *kv, struct hd_kv_at at, uint32_t position)
{
    uint8_t *block = find_lane(kv, at)->k[position / HD_ATTN_BLOCK];
    return block + position % HD_ATTN_BLOCK * kv->row_bytes;
}

void *hd_cpu_kv_v(const struct hd_cpu_kv *kv, struct hd_kv_at at, uint32_t position)
{
    uint8_t *block = find_lane(kv, at)->v[position / HD_ATTN_BLOCK];
    return block + position % HD_ATTN_BLOCK * kv->row_bytes;
}

size_t hd_cpu_kv_row_bytes(const struct hd_device_kv *kv)
{
    return of(kv)->row_bytes;
}

void hd_cpu_kv_read(const struct hd_device_kv *base, struct hd_kv_at at, uint32_t position, void *k,
                    void *v)
{
    const struct hd_cpu_kv *kv = of(base);
    memcpy(k, hd_cpu_kv_k(kv, at, position), kv->row_bytes);
    memcpy(v, hd_cpu_kv_v(kv, at, position), kv->row_bytes);
}

void hd_cpu_kv_seal(struct hd_cpu_kv *kv, struct hd_kv_at at, uint32_t position)
{
    struct hd_device_lane *lane = find_lane(kv, at);
    seals_of(kv, lane, position / HD_ATTN_BLOCK)[position % HD_ATTN_BLOCK] =
        hd_seal_pair(hd_cpu_kv_k(kv, at, position), hd_cpu_kv_v(kv, at, position), kv->row_bytes);
}

void hd_cpu_kv_digests(const struct hd_device_kv *base, struct hd_kv_at at, uint32_t from,
                       uint32_t end, uint32_t *out)
{
    const struct hd_cpu_kv *kv = of(base);
    const uint32_t *seals = seals_of(kv, find_lane(kv, at), from / HD_ATTN_BLOCK);
    memcpy(out, seals + from % HD_ATTN_BLOCK, (end - from) * sizeof *out);
}

uint32_t hd_cpu_kv_bad_row(const struct hd_device_kv *base, const struct hd_device_lane *lane,
                           uint32_t from, uint32_t end)
{
    const struct hd_cpu_kv *kv = of(base);
    uint32_t block = from / HD_ATTN_BLOCK;
    for (uint32_t p = from; p < end; p++) {
        size_t i = p % HD_ATTN_BLOCK;
        const uint8_t *k = (const uint8_t *)lane->k[block] + i * kv->row_bytes;
        const uint8_t *v = (const uint8_t *)lane->v[block] + i * kv->row_bytes;
        if (seals_of(kv, lane, block)[i] != hd_seal_pair(k, v, kv->row_bytes))
            return p;
    }
    return UINT32_MAX;
}

struct hd_kv_view hd_cpu_kv_view(const struct hd_cpu_kv *kv, struct hd_kv_at at)
{
    const struct hd_device_lane *lane = find_lane(kv, at);
    return (struct hd_kv_view){
        .k = (const void *const *)lane->k,
        .v = (const void *const *)lane->v,
    };
}
