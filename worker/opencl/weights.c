/* weights.c - a piece is packed as for the CPU (worker/cpu/pack.h), and copied to the device's
 * memory matrix by matrix behind one another. */
#include "common/model/arch.h"
#include "worker/cpu/pack.h"
#include "worker/opencl/impl.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define SLABS_OF_MODEL 9 /* of HD_CL_SLABS: memory that was given back is cut up */

static struct hd_cl_weights *of(const struct hd_device_weights *w)
{
    return (struct hd_cl_weights *)(void *)(uintptr_t)w;
}

static struct hd_cl_piece *piece_of(const struct hd_device_weights *w, struct hd_piece_at at)
{
    const struct hd_cl_weights *s = of(w);
    return &s->piece[s->first[at.kind] + at.unit * s->layers[at.kind] + at.layer];
}

/* What a cut takes once it is packed (worker/cpu/pack.h), which may be more than in the file. */
static uint64_t bytes_of_cut(const struct hd_cut *c)
{
    bool columns = hd_slots[c->slot].cut == HD_CUT_COLUMNS, vector = hd_slot_is_vector(c->slot);
    size_t block = hd_dtype_block(c->t.type);
    struct hd_tensor t = c->t;
    struct hd_slice s = {.n_rows = columns ? t.rows : c->n_rows,
                         .n_cols = columns  ? c->n_cols
                                   : vector ? 1
                                            : t.cols};
    if (vector || s.n_cols % block != 0 || (columns && c->col0 % block != 0))
        t.type = HD_F32;
    uint64_t bytes = hd_weights_bytes(&t, &s);
    return (bytes + HD_CL_ALIGN - 1) / HD_CL_ALIGN * HD_CL_ALIGN;
}

/* Of a slab: so that a few hold all pieces though the end of each fits none. */
static uint64_t bytes_of_slab(const struct hd_device *d)
{
    uint64_t all = 0, largest = 0;
    for (size_t i = 0; i < hd_piece_count(d->o.model, &d->units); i++) {
        struct hd_cuts c =
            hd_piece_cuts(d->o.model, &d->units, hd_piece_nth(d->o.model, &d->units, i));
        uint64_t bytes = 0;
        for (unsigned k = 0; k < c.n; k++)
            bytes += bytes_of_cut(&c.cut[k]);
        all += bytes;
        largest = bytes > largest ? bytes : largest;
    }
    return all / SLABS_OF_MODEL + largest;
}

int hd_cl_weights_new(struct hd_device *d, struct hd_device_weights **out)
{
    struct hd_cl_weights *w = calloc(1, sizeof *w);
    if (!w)
        return HD_E_NOMEM;
    w->base.device = d;
    for (int k = 0; k < HD_UNIT_KINDS; k++) {
        struct hd_piece_at at = {.kind = (enum hd_unit_kind)k};
        w->first[k] = hd_piece_index(d->o.model, &d->units, at);
        w->layers[k] = k == HD_UNIT_VOCAB ? 1 : d->o.model->shape.n_layers;
    }
    w->piece = calloc(hd_piece_count(d->o.model, &d->units), sizeof *w->piece);
    if (!w->piece || hd_cl_heap_init(&w->heap, hd_opencl(d)->cl, bytes_of_slab(d)) < 0) {
        free(w->piece);
        free(w);
        return HD_E_NOMEM;
    }
    *out = &w->base;
    return 0;
}

void hd_cl_weights_free(struct hd_device_weights *w)
{
    if (!w)
        return;
    hd_cl_heap_deinit(&of(w)->heap);
    free(of(w)->piece);
    free(w);
}

/* ---- Loading ----*/

union packed {
    struct hd_head_weights head;
    struct hd_ffn_weights ffn;
    struct hd_weights vocab;
};

static size_t bytes_of(const struct hd_weights *m)
{
    return (m->groups * m->group_bytes + HD_CL_ALIGN - 1) / HD_CL_ALIGN * HD_CL_ALIGN;
}

/* Where each matrix is to lie, from the piece's address on. */
static void lay_out(struct hd_cl_piece *p, enum hd_unit_kind kind, union packed *packed)
{
    *p = (struct hd_cl_piece){0};
    for (enum hd_slot_id slot = 0; slot < HD_SLOTS; slot++) {
        const struct hd_weights *m = hd_packed_slot(kind, slot, packed);
        if (!m || !m->data)
            continue;
        p->slot[p->n] = slot;
        p->part[p->n++] = (struct hd_cl_part){
            .form = hd_pack_id(m->type),
            .groups = (uint32_t)m->groups,
            .group_bytes = (uint32_t)m->group_bytes,
            .outputs = (uint32_t)m->outputs,
            .inputs = (uint32_t)m->inputs,
            .at = p->bytes,
        };
        p->bytes += bytes_of(m);
    }
}

static int copy(struct hd_cl_weights *w, const struct hd_cl_piece *p, enum hd_unit_kind kind,
                union packed *packed)
{
    uint8_t *bytes = calloc(1, p->bytes);
    if (!bytes)
        return HD_E_NOMEM;
    for (unsigned i = 0; i < p->n; i++) {
        const struct hd_weights *m = hd_packed_slot(kind, p->slot[i], packed);
        memcpy(bytes + p->part[i].at - p->address, m->data, m->groups * m->group_bytes);
    }
    int rc = hd_cl_slabs_write(&w->heap.slabs, p->address, bytes, p->bytes);
    free(bytes);
    return rc;
}

static int place(struct hd_cl_weights *w, struct hd_cl_piece *p, enum hd_unit_kind kind,
                 union packed *packed)
{
    int rc = hd_cl_heap_take(&w->heap, p->bytes, &p->address, NULL);
    if (rc < 0)
        return rc;
    for (unsigned i = 0; i < p->n; i++)
        p->part[i].at += p->address;
    rc = copy(w, p, kind, packed);
    if (rc < 0)
        hd_cl_heap_give(&w->heap, p->address, p->bytes);
    return rc;
}

int hd_cl_load(struct hd_device_weights *w, struct hd_piece_at at, const uint8_t *bytes)
{
    const struct hd_device *d = w->device;
    struct hd_unit_at from = {.model = d->o.model, .units = &d->units, .piece = at, .bytes = bytes};
    union packed packed;
    struct hd_cl_piece p;
    int rc = hd_pack(&packed, &from);
    if (rc < 0)
        return rc;
    lay_out(&p, at.kind, &packed);
    rc = place(of(w), &p, at.kind, &packed);
    hd_packed_deinit(at.kind, &packed);
    if (rc == 0)
        *piece_of(w, at) = p;
    return rc;
}

void hd_cl_release_piece(struct hd_device_weights *w, struct hd_piece_at at)
{
    struct hd_cl_piece *p = piece_of(w, at);
    hd_cl_heap_give(&of(w)->heap, p->address, p->bytes);
    *p = (struct hd_cl_piece){0};
}

uint64_t hd_cl_piece_bytes(const struct hd_device_weights *w, struct hd_piece_at at)
{
    return piece_of(w, at)->bytes;
}

struct hd_cl_part hd_cl_part_of(const struct hd_device_weights *w, struct hd_piece_at at,
                                enum hd_slot_id slot)
{
    const struct hd_cl_piece *p = piece_of(w, at);
    for (unsigned i = 0; i < p->n; i++)
        if (p->slot[i] == slot)
            return p->part[i];
    return (struct hd_cl_part){.at = HD_CL_NOWHERE};
}

/* As it lies on the device, read back run by run; the digest of the runs before is the seed. What
 * cannot be read has another digest than what was written. */
size_t hd_cl_walk(const struct hd_device_weights *w, struct hd_piece_at at,
                  struct hd_piece_walk *walk)
{
    static const size_t most = HD_PIECE_RUN;
    const struct hd_cl_piece *p = piece_of(w, at);
    size_t left = p->bytes - walk->offset, run = left < most ? left : most;
    uint8_t bytes[HD_PIECE_RUN];
    if (run == 0)
        return 0;
    if (hd_cl_slabs_read(&of(w)->heap.slabs, p->address + walk->offset, bytes, run) < 0)
        memset(bytes, 0, run);
    walk->digest = XXH3_64bits_withSeed(bytes, run, walk->digest);
    walk->offset += run;
    return run;
}
