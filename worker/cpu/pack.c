/* pack.c - cuts of a piece are put behind each other in the order in which kernels read them. */
#include "worker/cpu/pack.h"

#include "common/util/size.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* ---- Columns ----*/

/* Columns [col0, col0 + n) of every row as f32, [rows][n], for slices that do not lie on the type's
 * blocks: whole blocks are unpacked and what belongs to the slice is kept. */
static float *columns_f32(const struct hd_tensor *t, size_t col0, size_t n)
{
    size_t block = hd_dtype_block(t->type);
    size_t first = col0 - col0 % block, end = col0 + n + (block - (col0 + n) % block) % block;
    size_t count;
    if (end > t->cols)
        end = t->cols;
    if (!hd_mul_size(t->rows, n, &count) || !hd_mul_size(count, sizeof(float), &count))
        return NULL;
    float *out = malloc(count), *row = malloc((end - first) * sizeof *row);
    if (!out || !row) {
        free(out);
        free(row);
        return NULL;
    }
    for (size_t r = 0; r < t->rows; r++) {
        hd_dequant(t, r, first, end - first, row);
        memcpy(out + r * n, row + (col0 - first), n * sizeof *row);
    }
    free(row);
    return out;
}

static int pack_columns(struct hd_weights *w, const struct hd_cut *c)
{
    const struct hd_tensor *t = &c->t;
    size_t block = hd_dtype_block(t->type), n = c->n_cols;
    if (c->col0 % block == 0 && n % block == 0)
        return hd_weights_init(w, t,
                               &(struct hd_slice){.n_rows = t->rows, .col0 = c->col0, .n_cols = n});
    float *f32 = columns_f32(t, c->col0, n);
    if (!f32)
        return HD_E_NOMEM;
    struct hd_tensor copy = {.type = HD_F32,
                             .rows = t->rows,
                             .cols = n,
                             .row_bytes = n * sizeof *f32,
                             .data = (const uint8_t *)f32};
    int rc = hd_weights_init(w, &copy, &(struct hd_slice){.n_rows = t->rows, .n_cols = n});
    free(f32);
    return rc;
}

/* ---- Rows ----*/

static int pack_rows(struct hd_weights *w, const struct hd_cut *c)
{
    return hd_weights_init(
        w, &c->t, &(struct hd_slice){.row0 = c->row0, .n_rows = c->n_rows, .n_cols = c->t.cols});
}

/* Which rows the packed ones are, for rows of whole head vectors in interleaved order: of a model
 * that rotates halves, the rows i and i + rope_dim/2 of a head become 2i and 2i + 1; those that are
 * not rotated stay. NULL: no memory. */
static uint32_t *rotated_rows(const struct hd_cut *c, const struct hd_model *m)
{
    size_t dim = m->shape.head_dim, half = m->shape.rope_dim / 2, n = c->n_rows;
    bool halves = m->rope_order == HD_ROPE_HALVES;
    uint32_t *map = malloc(n * sizeof *map);
    for (size_t i = 0; map && i < n; i++) {
        size_t head = i / dim, j = i % dim;
        if (halves && j < 2 * half)
            j = j / 2 + (j % 2) * half;
        map[i] = (uint32_t)(c->row0 + head * dim + j);
    }
    return map;
}

static int pack_rotated(struct hd_weights *w, const struct hd_cut *c, const struct hd_model *m)
{
    if (m->rope_order == HD_ROPE_INTERLEAVED)
        return pack_rows(w, c);
    uint32_t *map = rotated_rows(c, m);
    if (!map)
        return HD_E_NOMEM;
    int rc = hd_weights_init(
        w, &c->t, &(struct hd_slice){.n_rows = c->n_rows, .n_cols = c->t.cols, .row_map = map});
    free(map);
    return rc;
}

/* A vector as f32: as a matrix of one column it is packed value by value. */
static int pack_vector(struct hd_weights *w, const struct hd_cut *c, const struct hd_model *m)
{
    const struct hd_slot *s = &hd_slots[c->slot];
    bool rotated = s->cut == HD_CUT_ROTATED || s->cut == HD_CUT_WHOLE;
    float *f32 = malloc(c->n_rows * sizeof *f32);
    uint32_t *map = rotated ? rotated_rows(c, m) : NULL;
    int rc = f32 && (map || !rotated) ? 0 : HD_E_NOMEM;
    for (size_t i = 0; rc == 0 && i < c->n_rows; i++) {
        hd_dequant(&c->t, map ? map[i] : c->row0 + i, 0, 1, &f32[i]);
        f32[i] += s->norm ? m->block.norm_offset : 0.0f;
    }
    struct hd_tensor copy = {.type = HD_F32,
                             .rows = c->n_rows,
                             .cols = 1,
                             .row_bytes = sizeof *f32,
                             .data = (const uint8_t *)f32};
    if (rc == 0)
        rc = hd_weights_init(w, &copy, &(struct hd_slice){.n_rows = c->n_rows, .n_cols = 1});
    free(map);
    free(f32);
    return rc;
}

/* ---- Units ----*/

/* Where the weights of a slot are in what is packed of their unit. */
static const size_t places[HD_SLOTS] = {
    [HD_SLOT_OUTPUT] = offsetof(struct hd_vocab_weights, output),
    [HD_SLOT_OUTPUT_BIAS] = offsetof(struct hd_vocab_weights, bias),
    [HD_SLOT_Q] = offsetof(struct hd_head_weights, q),
    [HD_SLOT_K] = offsetof(struct hd_head_weights, k),
    [HD_SLOT_V] = offsetof(struct hd_head_weights, v),
    [HD_SLOT_O] = offsetof(struct hd_head_weights, o),
    [HD_SLOT_Q_BIAS] = offsetof(struct hd_head_weights, q_bias),
    [HD_SLOT_K_BIAS] = offsetof(struct hd_head_weights, k_bias),
    [HD_SLOT_V_BIAS] = offsetof(struct hd_head_weights, v_bias),
    [HD_SLOT_Q_NORM] = offsetof(struct hd_head_weights, q_norm),
    [HD_SLOT_K_NORM] = offsetof(struct hd_head_weights, k_norm),
    [HD_SLOT_SINKS] = offsetof(struct hd_head_weights, sinks),
    [HD_SLOT_Q_WHOLE_NORM] = offsetof(struct hd_head_weights, q_whole_norm),
    [HD_SLOT_K_WHOLE_NORM] = offsetof(struct hd_head_weights, k_whole_norm),
    [HD_SLOT_Q_EACH_NORM] = offsetof(struct hd_head_weights, q_each_norm),
    [HD_SLOT_K_EACH_NORM] = offsetof(struct hd_head_weights, k_each_norm),
    [HD_SLOT_Q_NORM_BIAS] = offsetof(struct hd_head_weights, q_norm_bias),
    [HD_SLOT_K_NORM_BIAS] = offsetof(struct hd_head_weights, k_norm_bias),
    [HD_SLOT_GATE] = offsetof(struct hd_ffn_weights, gate),
    [HD_SLOT_UP] = offsetof(struct hd_ffn_weights, up),
    [HD_SLOT_DOWN] = offsetof(struct hd_ffn_weights, down),
    [HD_SLOT_GATE_BIAS] = offsetof(struct hd_ffn_weights, gate_bias),
    [HD_SLOT_UP_BIAS] = offsetof(struct hd_ffn_weights, up_bias),
};

struct hd_weights *hd_packed_slot(enum hd_unit_kind kind, enum hd_slot_id slot, void *packed)
{
    if (!hd_slot_is_units(slot) || hd_slots[slot].unit != kind)
        return NULL;
    return (struct hd_weights *)(void *)((char *)packed + places[slot]);
}

static int pack_cut(struct hd_weights *w, const struct hd_cut *c, const struct hd_model *m)
{
    if (hd_slot_is_vector(c->slot))
        return pack_vector(w, c, m);
    switch (hd_slots[c->slot].cut) {
    case HD_CUT_ROTATED:
        return pack_rotated(w, c, m);
    case HD_CUT_COLUMNS:
        return pack_columns(w, c);
    default:
        return pack_rows(w, c);
    }
}

size_t hd_packed_size(enum hd_unit_kind kind)
{
    return kind == HD_UNIT_HEAD  ? sizeof(struct hd_head_weights)
           : kind == HD_UNIT_FFN ? sizeof(struct hd_ffn_weights)
                                 : sizeof(struct hd_vocab_weights);
}

/* What does not lie in rows is put so. 0 or HD_E_NOMEM; *copy is to be freed. */
static int put_in_rows(struct hd_cuts *c, uint8_t **copy)
{
    size_t n = hd_piece_bytes(c);
    *copy = aligned_alloc(HD_PIECE_ALIGN, n);
    if (!*copy)
        return HD_E_NOMEM;
    hd_piece_copy(c, 0, n, *copy);
    hd_piece_view(c, *copy);
    return 0;
}

int hd_pack(void *packed, const struct hd_unit_at *at)
{
    struct hd_cuts c = hd_piece_cuts(at->model, at->units, at->piece);
    uint8_t *copy = NULL;
    int rc = 0;
    if (at->bytes)
        hd_piece_view(&c, at->bytes);
    else if (!hd_piece_is_rows(&c))
        rc = put_in_rows(&c, &copy);
    memset(packed, 0, hd_packed_size(at->piece.kind));
    for (unsigned i = 0; i < c.n && rc == 0; i++)
        rc = pack_cut(hd_packed_slot(at->piece.kind, c.cut[i].slot, packed), &c.cut[i], at->model);
    free(copy);
    if (rc < 0)
        hd_packed_deinit(at->piece.kind, packed);
    return rc;
}

void hd_packed_deinit(enum hd_unit_kind kind, void *packed)
{
    for (enum hd_slot_id s = 0; s < HD_SLOTS; s++) {
        struct hd_weights *w = hd_packed_slot(kind, s, packed);
        if (w)
            hd_weights_deinit(w);
    }
}
