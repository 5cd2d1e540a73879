/* kv.c - lanes as lists of blocks of one pool. A block on the device: K [HD_ATTN_BLOCK][row], V
 * likewise, then a digest of each position, which the kernel that stores a row makes. */
#include "worker/opencl/impl.h"

#include "worker/seal.h"

#include <stdlib.h>
#include <string.h>

static size_t lanes_of(const struct hd_device *d)
{
    const struct hd_model_shape *m = &d->o.model->shape;
    return (size_t)d->sizes.max_sequences * m->n_layers * m->n_kv_heads;
}

static struct hd_device_lane **slot_of(const struct hd_device_kv *kv, struct hd_kv_at at)
{
    const struct hd_model_shape *m = &kv->device->o.model->shape;
    size_t layer = (size_t)at.sequence * m->n_layers + at.layer;
    return &hd_cl_kv(kv)->lane[layer * m->n_kv_heads + at.head];
}

int hd_cl_kv_new(struct hd_device *d, struct hd_device_kv **out)
{
    struct hd_cl_kv *kv = calloc(1, sizeof *kv);
    if (!kv)
        return HD_E_NOMEM;
    kv->base.device = d;
    kv->row_bytes = d->o.model->shape.head_dim * (d->sizes.kv_type == HD_KV_F16 ? 2 : 4);
    kv->lane = calloc(lanes_of(d), sizeof(struct hd_device_lane *));
    kv->shares = calloc(d->sizes.max_sequences, sizeof *kv->shares);
    uint64_t block = HD_ATTN_BLOCK * (2 * kv->row_bytes + sizeof(uint32_t));
    if (!kv->lane || !kv->shares || hd_cl_pool_init(&kv->pool, hd_opencl(d)->cl, block) < 0) {
        free(kv->lane);
        free(kv->shares);
        free(kv);
        return HD_E_NOMEM;
    }
    *out = &kv->base;
    return 0;
}

void hd_cl_kv_free(struct hd_device_kv *kv)
{
    if (!kv)
        return;
    for (size_t i = 0; i < lanes_of(kv->device); i++)
        hd_cl_kv_discard(kv, hd_cl_kv(kv)->lane[i]);
    hd_cl_pool_deinit(&hd_cl_kv(kv)->pool);
    free(hd_cl_kv(kv)->lane);
    free(hd_cl_kv(kv)->shares);
    free(kv);
}

struct hd_device_lane *hd_cl_kv_lane(const struct hd_device_kv *kv, struct hd_kv_at at)
{
    return *slot_of(kv, at);
}

void hd_cl_kv_share(struct hd_device_kv *kv, uint32_t sequence, uint32_t parent, uint32_t shared)
{
    hd_cl_kv(kv)->shares[sequence] = (struct hd_cl_share){parent, shared / HD_ATTN_BLOCK};
}

const struct hd_device_lane *hd_cl_kv_whole(const struct hd_device_kv *kv, struct hd_kv_at at)
{
    struct hd_device_lane *lane = hd_cl_kv_lane(kv, at);
    for (uint32_t end = lane->first; end > 0;) {
        at.sequence = hd_cl_kv(kv)->shares[at.sequence].parent;
        const struct hd_device_lane *from = hd_cl_kv_lane(kv, at);
        uint32_t first = from->first < end ? from->first : end;
        memcpy(lane->block + first, from->block + first, (end - first) * sizeof *lane->block);
        end = first;
    }
    return lane;
}

struct hd_device_lane *hd_cl_kv_detach(struct hd_device_kv *kv, struct hd_kv_at at)
{
    struct hd_device_lane *lane = *slot_of(kv, at);
    *slot_of(kv, at) = NULL;
    return lane;
}

void hd_cl_kv_discard(struct hd_device_kv *kv, struct hd_device_lane *lane)
{
    if (!lane)
        return;
    for (uint32_t b = lane->first; b < lane->blocks; b++)
        hd_cl_pool_give(&hd_cl_kv(kv)->pool, lane->block[b]);
    free(lane->block);
    free(lane);
}

int hd_cl_kv_reserve(struct hd_device_kv *kv, struct hd_kv_at at, uint32_t positions,
                     uint64_t *bytes)
{
    struct hd_device_lane **slot = slot_of(kv, at), *lane;
    uint32_t blocks = (positions + HD_ATTN_BLOCK - 1) / HD_ATTN_BLOCK;
    struct hd_cl_pool *pool = &hd_cl_kv(kv)->pool;
    if (!*slot && (*slot = calloc(1, sizeof **slot)))
        (*slot)->first = hd_cl_kv(kv)->shares[at.sequence].blocks;
    lane = *slot;
    if (!lane)
        return HD_E_NOMEM;
    if (blocks > lane->cap) {
        uint32_t cap = blocks > 2 * lane->cap ? blocks : 2 * lane->cap;
        uint32_t *list = realloc(lane->block, cap * sizeof *list);
        if (!list)
            return HD_E_NOMEM;
        lane->block = list;
        lane->cap = cap;
    }
    if (lane->blocks < lane->first && lane->first <= lane->cap)
        lane->blocks = lane->first; /* filled in when a half-step sees them */
    for (; lane->blocks < blocks; lane->blocks++) {
        int rc = hd_cl_pool_take(pool, &lane->block[lane->blocks], NULL);
        if (rc < 0)
            return rc;
        *bytes += pool->block_bytes;
    }
    return 0;
}

size_t hd_cl_kv_row_bytes(const struct hd_device_kv *kv)
{
    return hd_cl_kv(kv)->row_bytes;
}

/* ---- Reading ----*/

/* Bytes of a block from an offset on. What cannot be read is zeros. */
static void read_block(const struct hd_cl_kv *kv, uint32_t block, size_t offset, void *to,
                       size_t bytes)
{
    if (hd_cl_slabs_read(&kv->pool.slabs, hd_cl_pool_address(&kv->pool, block) + offset, to,
                         bytes) < 0)
        memset(to, 0, bytes);
}

void hd_cl_kv_read(const struct hd_device_kv *base, struct hd_kv_at at, uint32_t position, void *k,
                   void *v)
{
    const struct hd_cl_kv *kv = hd_cl_kv(base);
    uint32_t block = hd_cl_kv_lane(base, at)->block[position / HD_ATTN_BLOCK];
    size_t offset = position % HD_ATTN_BLOCK * kv->row_bytes;
    read_block(kv, block, offset, k, kv->row_bytes);
    read_block(kv, block, HD_ATTN_BLOCK * kv->row_bytes + offset, v, kv->row_bytes);
}

void hd_cl_kv_digests(const struct hd_device_kv *base, struct hd_kv_at at, uint32_t from,
                      uint32_t end, uint32_t *out)
{
    const struct hd_cl_kv *kv = hd_cl_kv(base);
    uint32_t block = hd_cl_kv_lane(base, at)->block[from / HD_ATTN_BLOCK];
    read_block(kv, block, 2 * HD_ATTN_BLOCK * kv->row_bytes + from % HD_ATTN_BLOCK * sizeof *out,
               out, (end - from) * sizeof *out);
}

uint32_t hd_cl_kv_bad_row(const struct hd_device_kv *base, const struct hd_device_lane *lane,
                          uint32_t from, uint32_t end)
{
    const struct hd_cl_kv *kv = hd_cl_kv(base);
    uint8_t *block = malloc(kv->pool.block_bytes);
    uint32_t bad = UINT32_MAX;
    if (!block)
        return bad; /* the next round looks again */
    read_block(kv, lane->block[from / HD_ATTN_BLOCK], 0, block, kv->pool.block_bytes);
    const uint8_t *v = block + HD_ATTN_BLOCK * kv->row_bytes;
    const uint8_t *seals = v + HD_ATTN_BLOCK * kv->row_bytes;
    for (uint32_t p = from; p < end && bad == UINT32_MAX; p++) {
        size_t i = p % HD_ATTN_BLOCK;
        uint32_t seal;
        memcpy(&seal, seals + i * sizeof seal, sizeof seal);
        if (seal != hd_seal_pair(block + i * kv->row_bytes, v + i * kv->row_bytes, kv->row_bytes))
            bad = p;
    }
    free(block);
    return bad;
}
