#include "worker/cpu/pack.h"

#include "common/util/size.h"

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

/* Rows of whole head vectors, in interleaved order: of a model that rotates halves the rows i and
 * i + head_dim/2 of a head become 2i and 2i + 1. */
static int pack_rotated(struct hd_weights *w, const struct hd_cut *c, const struct hd_model *m)
{
    if (m->rope_order == HD_ROPE_INTERLEAVED)
        return pack_rows(w, c);
    size_t half = m->shape.head_dim / 2, n = c->n_rows;
    uint32_t *map = malloc(n * sizeof *map);
    if (!map)
        return HD_E_NOMEM;
    for (size_t i = 0; i < n; i++) {
        size_t head = i / (2 * half), j = i % (2 * half);
        map[i] = (uint32_t)(c->row0 + head * 2 * half + j / 2 + (j % 2) * half);
    }
    int rc = hd_weights_init(w, &c->t,
                             &(struct hd_slice){.n_rows = n, .n_cols = c->t.cols, .row_map = map});
    free(map);
    return rc;
}

/* ---- Units ----*/

static struct hd_cuts cuts_of(const struct hd_unit_at *at, enum hd_unit_kind kind)
{
    struct hd_piece_at piece = {kind, at->unit, kind == HD_UNIT_VOCAB ? 0 : at->layer};
    struct hd_cuts c = hd_piece_cuts(at->model, at->units, piece);
    if (at->bytes)
        hd_piece_view(&c, at->bytes);
    return c;
}

int hd_pack_head(struct hd_head_weights *w, const struct hd_unit_at *at)
{
    struct hd_cuts c = cuts_of(at, HD_UNIT_HEAD);
    *w = (struct hd_head_weights){0};
    int rc = pack_rotated(&w->q, &c.cut[0], at->model);
    if (rc == 0)
        rc = pack_rotated(&w->k, &c.cut[1], at->model);
    if (rc == 0)
        rc = pack_rows(&w->v, &c.cut[2]);
    if (rc == 0)
        rc = pack_columns(&w->o, &c.cut[3]);
    if (rc < 0)
        hd_head_weights_deinit(w);
    return rc;
}

int hd_pack_ffn(struct hd_ffn_weights *w, const struct hd_unit_at *at)
{
    struct hd_cuts c = cuts_of(at, HD_UNIT_FFN);
    *w = (struct hd_ffn_weights){0};
    int rc = pack_rows(&w->gate, &c.cut[0]);
    if (rc == 0)
        rc = pack_rows(&w->up, &c.cut[1]);
    if (rc == 0)
        rc = pack_columns(&w->down, &c.cut[2]);
    if (rc < 0)
        hd_ffn_weights_deinit(w);
    return rc;
}

int hd_pack_vocab(struct hd_weights *w, const struct hd_unit_at *at)
{
    struct hd_cuts c = cuts_of(at, HD_UNIT_VOCAB);
    return pack_rows(w, &c.cut[0]);
}

void hd_head_weights_deinit(struct hd_head_weights *w)
{
    hd_weights_deinit(&w->q);
    hd_weights_deinit(&w->k);
    hd_weights_deinit(&w->v);
    hd_weights_deinit(&w->o);
}

void hd_ffn_weights_deinit(struct hd_ffn_weights *w)
{
    hd_weights_deinit(&w->gate);
    hd_weights_deinit(&w->up);
    hd_weights_deinit(&w->down);
}
