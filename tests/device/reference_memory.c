/* reference_memory.c - pieces as their bytes, lanes as arrays, and digests that are nobody else's.
 */
#include "tests/device/reference_impl.h"

#include "worker/seal.h"

#include <stdlib.h>
#include <string.h>

/* FNV-1a: another digest than the other devices have, as each may. */
static uint64_t hash(uint64_t h, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    return h;
}

/* ---- Weights ----*/

static struct piece *slot_of(const struct hd_device_weights *w, struct hd_piece_at at)
{
    const struct hd_device *d = w->device;
    return &((const struct weights *)(const void *)w)
                ->piece[hd_piece_index(d->o.model, &d->units, at)];
}

const struct piece *reference_piece(const struct hd_device_weights *w, struct hd_piece_at at)
{
    return slot_of(w, at);
}

int reference_weights_new(struct hd_device *d, struct hd_device_weights **out)
{
    struct weights *w = calloc(1, sizeof *w);
    if (!w)
        return HD_E_NOMEM;
    w->base.device = d;
    w->piece = calloc(hd_piece_count(d->o.model, &d->units), sizeof *w->piece);
    if (!w->piece) {
        free(w);
        return HD_E_NOMEM;
    }
    *out = &w->base;
    return 0;
}

void reference_weights_free(struct hd_device_weights *base)
{
    struct weights *w = (struct weights *)(void *)base;
    const struct hd_device *d = base->device;
    for (size_t i = 0; i < hd_piece_count(d->o.model, &d->units); i++)
        free(w->piece[i].bytes);
    free(w->piece);
    free(w);
}

int reference_load(struct hd_device_weights *w, struct hd_piece_at at, const uint8_t *bytes)
{
    const struct hd_device *d = w->device;
    struct piece p = {.cuts = hd_piece_cuts(d->o.model, &d->units, at)};
    p.n = hd_piece_bytes(&p.cuts);
    p.bytes = aligned_alloc(HD_PIECE_ALIGN, p.n);
    if (!p.bytes)
        return HD_E_NOMEM;
    if (bytes)
        memcpy(p.bytes, bytes, p.n);
    else
        hd_piece_copy(&p.cuts, 0, p.n, p.bytes);
    hd_piece_view(&p.cuts, p.bytes);
    *slot_of(w, at) = p;
    return 0;
}

void reference_release(struct hd_device_weights *w, struct hd_piece_at at)
{
    free(slot_of(w, at)->bytes);
    *slot_of(w, at) = (struct piece){0};
}

uint64_t reference_piece_bytes(const struct hd_device_weights *w, struct hd_piece_at at)
{
    return slot_of(w, at)->n;
}

size_t reference_walk(const struct hd_device_weights *w, struct hd_piece_at at,
                      struct hd_piece_walk *walk)
{
    const struct piece *p = slot_of(w, at);
    size_t left = p->n - walk->offset, run = left < HD_PIECE_RUN ? left : HD_PIECE_RUN;
    walk->digest = hash(walk->digest, p->bytes + walk->offset, run);
    walk->offset += run;
    return run;
}

/* ---- K/V ----*/

static struct kv *of(const struct hd_device_kv *kv)
{
    return (struct kv *)(void *)(uintptr_t)kv;
}

static struct hd_device_lane **lane_of(const struct hd_device_kv *kv, struct hd_kv_at at)
{
    const struct hd_model_shape *m = &kv->device->o.model->shape;
    size_t layer = (size_t)at.sequence * m->n_layers + at.layer;
    return &of(kv)->lane[layer * m->n_kv_heads + at.head];
}

static size_t lanes_of(const struct hd_device *d)
{
    const struct hd_model_shape *m = &d->o.model->shape;
    return (size_t)d->sizes.max_sequences * m->n_layers * m->n_kv_heads;
}

int reference_kv_new(struct hd_device *d, struct hd_device_kv **out)
{
    struct kv *kv = calloc(1, sizeof *kv);
    if (!kv)
        return HD_E_NOMEM;
    kv->base.device = d;
    kv->row = d->o.model->shape.head_dim * (d->sizes.kv_type == HD_KV_F16 ? 2 : 4);
    kv->lane = calloc(lanes_of(d), sizeof *kv->lane);
    kv->shares = calloc(d->sizes.max_sequences, sizeof *kv->shares);
    if (!kv->lane || !kv->shares) {
        free(kv->lane);
        free(kv->shares);
        free(kv);
        return HD_E_NOMEM;
    }
    *out = &kv->base;
    return 0;
}

void reference_kv_free(struct hd_device_kv *kv)
{
    for (size_t i = 0; i < lanes_of(kv->device); i++)
        reference_discard(kv, of(kv)->lane[i]);
    free(of(kv)->lane);
    free(of(kv)->shares);
    free(kv);
}

void reference_discard(struct hd_device_kv *kv, struct hd_device_lane *lane)
{
    if (!lane)
        return;
    free(lane->k);
    free(lane->v);
    free(lane->digest);
    free(lane);
}

void reference_share(struct hd_device_kv *kv, uint32_t sequence, uint32_t parent, uint32_t shared)
{
    of(kv)->shares[sequence] = (struct share){parent, shared};
}

const struct hd_device_lane *reference_lane_of(const struct hd_device_kv *kv, struct hd_kv_at at,
                                               uint32_t position)
{
    while (position < of(kv)->shares[at.sequence].positions)
        at.sequence = of(kv)->shares[at.sequence].parent;
    return reference_lane(kv, at);
}

/* Room for so many elements in place of `old`; zeros behind. NULL: out of memory. */
static void *grow(void *old, uint32_t old_n, uint32_t n, size_t size)
{
    uint8_t *p = realloc(old, n * size);
    if (p)
        memset(p + old_n * size, 0, (n - old_n) * size);
    return p;
}

int reference_reserve(struct hd_device_kv *kv, struct hd_kv_at at, uint32_t positions,
                      uint64_t *bytes)
{
    struct hd_device_lane **slot = lane_of(kv, at), *lane;
    size_t row = of(kv)->row;
    uint32_t n = (positions + HD_ATTN_BLOCK - 1) / HD_ATTN_BLOCK * HD_ATTN_BLOCK;
    if (!*slot && (*slot = calloc(1, sizeof **slot)))
        (*slot)->first = (*slot)->positions = of(kv)->shares[at.sequence].positions;
    lane = *slot;
    if (!lane)
        return HD_E_NOMEM;
    if (n <= lane->positions)
        return 0;
    uint32_t had = lane->positions - lane->first, all = n - lane->first;
    void *k = grow(lane->k, had, all, row);
    lane->k = k ? k : lane->k;
    void *v = k ? grow(lane->v, had, all, row) : NULL;
    lane->v = v ? v : lane->v;
    void *digest = v ? grow(lane->digest, had, all, sizeof *lane->digest) : NULL;
    lane->digest = digest ? digest : lane->digest;
    if (!digest)
        return HD_E_NOMEM;
    *bytes += (n - lane->positions) * (2 * row + sizeof *lane->digest);
    lane->positions = n;
    return 0;
}

struct hd_device_lane *reference_lane(const struct hd_device_kv *kv, struct hd_kv_at at)
{
    return *lane_of(kv, at);
}

struct hd_device_lane *reference_detach(struct hd_device_kv *kv, struct hd_kv_at at)
{
    struct hd_device_lane *lane = *lane_of(kv, at);
    *lane_of(kv, at) = NULL;
    return lane;
}

size_t reference_row_bytes(const struct hd_device_kv *kv)
{
    return of(kv)->row;
}

void reference_read(const struct hd_device_kv *kv, struct hd_kv_at at, uint32_t position, void *k,
                    void *v)
{
    const struct hd_device_lane *lane = *lane_of(kv, at);
    size_t at_byte = (position - lane->first) * of(kv)->row;
    memcpy(k, lane->k + at_byte, of(kv)->row);
    memcpy(v, lane->v + at_byte, of(kv)->row);
}

static uint64_t digest_of(const struct hd_device_lane *lane, uint32_t position, size_t row)
{
    size_t at = (position - lane->first) * row;
    return hash(hash(1, lane->k + at, row), lane->v + at, row);
}

void reference_seal(struct hd_device_lane *lane, uint32_t position, size_t row)
{
    lane->digest[position - lane->first] = digest_of(lane, position, row);
}

void reference_digests(const struct hd_device_kv *kv, struct hd_kv_at at, uint32_t from,
                       uint32_t end, uint32_t *out)
{
    const struct hd_device_lane *lane = reference_lane(kv, at);
    size_t row = of(kv)->row;
    for (uint32_t p = from; p < end; p++) {
        size_t i = (p - lane->first) * row;
        out[p - from] = hd_seal_pair(lane->k + i, lane->v + i, row);
    }
}

uint32_t reference_bad_row(const struct hd_device_kv *kv, const struct hd_device_lane *lane,
                           uint32_t from, uint32_t end)
{
    for (uint32_t p = from; p < end; p++)
        if (lane->digest[p - lane->first] != digest_of(lane, p, of(kv)->row))
            return p;
    return UINT32_MAX;
}
