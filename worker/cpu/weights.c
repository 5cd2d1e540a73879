/* weights.c - a place for each piece of each unit, packed from its cuts and released whole. */
#include "worker/cpu/weights.h"

#include <stdlib.h>
#include <xxhash.h>

struct packed {
    enum hd_unit_kind kind;
    union { /* hd_pack's */
        struct hd_head_weights head;
        struct hd_ffn_weights ffn;
        struct hd_vocab_weights vocab;
    };
};

struct hd_cpu_weights {
    struct hd_device_weights base;
    const struct hd_model *model;
    const struct hd_units *units;
    size_t first[HD_UNIT_KINDS];  /* piece.h's number of the first of a kind ... */
    size_t layers[HD_UNIT_KINDS]; /* ... and how many a unit has */
    size_t n;
    struct packed **piece; /* [n], by piece.h's numbers: NULL, or packed */
};

static struct packed **slot_of(const struct hd_cpu_weights *w, struct hd_piece_at at)
{
    return &w->piece[w->first[at.kind] + at.unit * w->layers[at.kind] + at.layer];
}

int hd_cpu_weights_new(struct hd_device *d, struct hd_device_weights **out)
{
    struct hd_cpu_weights *w = calloc(1, sizeof *w);
    if (!w)
        return HD_E_NOMEM;
    w->base.device = d;
    w->model = d->o.model;
    w->units = &d->units;
    w->n = hd_piece_count(w->model, w->units);
    for (int k = 0; k < HD_UNIT_KINDS; k++) {
        struct hd_piece_at at = {.kind = (enum hd_unit_kind)k};
        w->first[k] = hd_piece_index(w->model, w->units, at);
        w->layers[k] = k == HD_UNIT_VOCAB ? 1 : w->model->shape.n_layers;
    }
    w->piece = calloc(w->n, sizeof *w->piece);
    if (!w->piece) {
        free(w);
        return HD_E_NOMEM;
    }
    *out = &w->base;
    return 0;
}

static void free_packed(struct packed *p)
{
    if (p)
        hd_packed_deinit(p->kind, &p->head);
    free(p);
}

void hd_cpu_weights_free(struct hd_device_weights *base)
{
    struct hd_cpu_weights *w = (struct hd_cpu_weights *)(void *)base;
    if (!w)
        return;
    for (size_t i = 0; i < w->n; i++)
        free_packed(w->piece[i]);
    free(w->piece);
    free(w);
}

int hd_cpu_load(struct hd_device_weights *base, struct hd_piece_at at, const uint8_t *bytes)
{
    const struct hd_cpu_weights *w = hd_cpu_weights(base);
    struct hd_unit_at from = {.model = w->model, .units = w->units, .piece = at, .bytes = bytes};
    struct packed *p = calloc(1, sizeof *p);
    if (!p)
        return HD_E_NOMEM;
    p->kind = at.kind;
    int rc = hd_pack(&p->head, &from);
    if (rc < 0)
        free(p);
    else
        *slot_of(w, at) = p;
    return rc;
}

void hd_cpu_release(struct hd_device_weights *base, struct hd_piece_at at)
{
    struct packed **slot = slot_of(hd_cpu_weights(base), at);
    free_packed(*slot);
    *slot = NULL;
}

const struct hd_head_weights *hd_cpu_head(const struct hd_cpu_weights *w, uint32_t head,
                                          uint32_t layer)
{
    return &(*slot_of(w, (struct hd_piece_at){HD_UNIT_HEAD, head, layer}))->head;
}

const struct hd_ffn_weights *hd_cpu_ffn(const struct hd_cpu_weights *w, uint32_t block,
                                        uint32_t layer)
{
    return &(*slot_of(w, (struct hd_piece_at){HD_UNIT_FFN, block, layer}))->ffn;
}

const struct hd_vocab_weights *hd_cpu_vocab(const struct hd_cpu_weights *w, uint32_t block)
{
    return &(*slot_of(w, (struct hd_piece_at){HD_UNIT_VOCAB, block, 0}))->vocab;
}

size_t hd_cpu_parts(const struct hd_cpu_weights *w, struct hd_piece_at at,
                    struct hd_cpu_part parts[HD_PIECE_MAX_CUTS])
{
    struct packed *p = *slot_of(w, at);
    size_t n = 0;
    for (enum hd_slot_id slot = 0; p && slot < HD_SLOTS; slot++) {
        const struct hd_weights *m = hd_packed_slot(p->kind, slot, &p->head);
        if (m && m->data)
            parts[n++] = (struct hd_cpu_part){m->data, m->groups * m->group_bytes};
    }
    return n;
}

uint64_t hd_cpu_piece_bytes(const struct hd_device_weights *w, struct hd_piece_at at)
{
    struct hd_cpu_part parts[HD_PIECE_MAX_CUTS];
    size_t n = hd_cpu_parts(hd_cpu_weights(w), at, parts);
    uint64_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += parts[i].bytes;
    return bytes;
}

/* XXH3 of each run of the parts, with that of the runs before as the seed. */
size_t hd_cpu_walk(const struct hd_device_weights *w, struct hd_piece_at at,
                   struct hd_piece_walk *walk)
{
    struct hd_cpu_part parts[HD_PIECE_MAX_CUTS];
    size_t n = hd_cpu_parts(hd_cpu_weights(w), at, parts);
    if (walk->part >= n)
        return 0;
    size_t left = parts[walk->part].bytes - walk->offset;
    size_t run = left < HD_PIECE_RUN ? left : HD_PIECE_RUN;
    walk->digest = XXH3_64bits_withSeed(parts[walk->part].data + walk->offset, run, walk->digest);
    walk->offset += run;
    if (run == left) {
        walk->part++;
        walk->offset = 0;
    }
    return run;
}
