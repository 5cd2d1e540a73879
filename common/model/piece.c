#include "common/model/piece.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* ---- All pieces ----*/

static uint32_t units_of(const struct hd_units *u, enum hd_unit_kind kind)
{
    return kind == HD_UNIT_HEAD ? u->heads : kind == HD_UNIT_FFN ? u->ffn_blocks : u->vocab_blocks;
}

static uint32_t layers_of(const struct hd_model *m, enum hd_unit_kind kind)
{
    return kind == HD_UNIT_VOCAB ? 1 : m->shape.n_layers;
}

/* Pieces of all kinds before this one. */
static size_t before(const struct hd_model *m, const struct hd_units *u, int kind)
{
    size_t n = 0;
    for (int k = 0; k < kind; k++)
        n += (size_t)units_of(u, (enum hd_unit_kind)k) * layers_of(m, (enum hd_unit_kind)k);
    return n;
}

size_t hd_piece_count(const struct hd_model *m, const struct hd_units *u)
{
    return before(m, u, HD_UNIT_KINDS);
}

bool hd_piece_exists(const struct hd_model *m, const struct hd_units *u, struct hd_piece_at at)
{
    return (unsigned)at.kind < HD_UNIT_KINDS && at.unit < units_of(u, at.kind) &&
           at.layer < layers_of(m, at.kind);
}

size_t hd_piece_index(const struct hd_model *m, const struct hd_units *u, struct hd_piece_at at)
{
    return before(m, u, (int)at.kind) + (size_t)at.unit * layers_of(m, at.kind) + at.layer;
}

struct hd_piece_at hd_piece_nth(const struct hd_model *m, const struct hd_units *u, size_t index)
{
    int kind = HD_UNIT_VOCAB;
    while (kind > 0 && index < before(m, u, kind))
        kind--;
    struct hd_piece_at at = {.kind = (enum hd_unit_kind)kind};
    size_t i = index - before(m, u, kind);
    at.unit = (uint32_t)(i / layers_of(m, at.kind));
    at.layer = (uint32_t)(i % layers_of(m, at.kind));
    return at;
}

/* ---- Cuts ----*/

static void add_rows(struct hd_cuts *c, const struct hd_tensor *t, size_t row0, size_t n)
{
    c->cut[c->n++] = (struct hd_cut){.t = *t, .row0 = row0, .n_rows = n, .n_cols = t->cols};
}

static void add_columns(struct hd_cuts *c, const struct hd_tensor *t, size_t col0, size_t n)
{
    c->cut[c->n++] = (struct hd_cut){.t = *t, .n_rows = t->rows, .col0 = col0, .n_cols = n};
}

static void cut_head(struct hd_cuts *c, const struct hd_model *m, struct hd_piece_at at)
{
    const struct hd_layer *l = &m->layers[at.layer];
    size_t hd = m->shape.head_dim;
    size_t width = m->shape.n_heads / m->shape.n_kv_heads * hd; /* n_rep * head_dim */
    add_rows(c, &l->wq, at.unit * width, width);
    add_rows(c, &l->wk, at.unit * hd, hd);
    add_rows(c, &l->wv, at.unit * hd, hd);
    add_columns(c, &l->wo, at.unit * width, width);
}

static void cut_ffn(struct hd_cuts *c, const struct hd_model *m, const struct hd_units *u,
                    struct hd_piece_at at)
{
    const struct hd_layer *l = &m->layers[at.layer];
    size_t first = (size_t)at.unit * u->ffn_width, left = m->shape.ffn_dim - first;
    size_t width = left < u->ffn_width ? left : u->ffn_width;
    add_rows(c, &l->gate, first, width);
    add_rows(c, &l->up, first, width);
    add_columns(c, &l->down, first, width);
}

struct hd_cuts hd_piece_cuts(const struct hd_model *m, const struct hd_units *u,
                             struct hd_piece_at at)
{
    struct hd_cuts c = {.n = 0};
    if (at.kind == HD_UNIT_HEAD) {
        cut_head(&c, m, at);
    } else if (at.kind == HD_UNIT_FFN) {
        cut_ffn(&c, m, u, at);
    } else {
        size_t first = (size_t)at.unit * u->vocab_width, left = m->shape.vocab - first;
        add_rows(&c, &m->output, first, left < u->vocab_width ? left : u->vocab_width);
    }
    return c;
}

/* ---- A cut as bytes ----*/

/* The columns that are kept of each row, on whole blocks, and their bytes. */
struct kept {
    size_t col0, n_cols, row_bytes;
    size_t bytes;  /* of all rows */
    size_t padded; /* likewise, as they lie in the piece */
};

static struct kept kept_of(const struct hd_cut *c)
{
    size_t block = hd_dtype_block(c->t.type), end = c->col0 + c->n_cols;
    struct kept k = {.col0 = c->col0 - c->col0 % block};
    end += (block - end % block) % block;
    if (end > c->t.cols)
        end = c->t.cols;
    k.n_cols = end - k.col0;
    k.row_bytes = hd_dtype_row_bytes(c->t.type, k.n_cols);
    k.bytes = k.row_bytes * c->n_rows;
    k.padded = (k.bytes + HD_PIECE_ALIGN - 1) / HD_PIECE_ALIGN * HD_PIECE_ALIGN;
    return k;
}

size_t hd_piece_bytes(const struct hd_cuts *c)
{
    size_t n = 0;
    for (unsigned i = 0; i < c->n; i++)
        n += kept_of(&c->cut[i]).padded;
    return n;
}

/* Bytes [offset, offset + n) of one cut. */
static void copy_cut(const struct hd_cut *c, const struct kept *k, size_t offset, size_t n,
                     uint8_t *out)
{
    const uint8_t *first = c->t.data + hd_dtype_row_bytes(c->t.type, k->col0);
    while (n > 0 && offset < k->bytes) {
        size_t row = offset / k->row_bytes, at = offset % k->row_bytes;
        size_t some = k->row_bytes - at < n ? k->row_bytes - at : n;
        memcpy(out, first + (c->row0 + row) * c->t.row_bytes + at, some);
        out += some;
        offset += some;
        n -= some;
    }
    memset(out, 0, n); /* padding */
}

void hd_piece_copy(const struct hd_cuts *c, size_t offset, size_t n, uint8_t *out)
{
    for (unsigned i = 0; i < c->n && n > 0; i++) {
        struct kept k = kept_of(&c->cut[i]);
        if (offset >= k.padded) {
            offset -= k.padded;
            continue;
        }
        size_t some = k.padded - offset < n ? k.padded - offset : n;
        copy_cut(&c->cut[i], &k, offset, some, out);
        out += some;
        n -= some;
        offset = 0;
    }
}

const uint8_t *hd_piece_first_byte(const struct hd_cuts *c)
{
    const struct hd_cut *first = &c->cut[0];
    return first->t.data + first->row0 * first->t.row_bytes +
           hd_dtype_row_bytes(first->t.type, kept_of(first).col0);
}

void hd_piece_view(struct hd_cuts *c, const uint8_t *bytes)
{
    for (unsigned i = 0; i < c->n; i++) {
        struct hd_cut *cut = &c->cut[i];
        struct kept k = kept_of(cut);
        cut->t.rows = cut->n_rows;
        cut->t.cols = k.n_cols;
        cut->t.row_bytes = k.row_bytes;
        cut->t.data = bytes;
        cut->row0 = 0;
        cut->col0 -= k.col0;
        bytes += k.padded;
    }
}

uint64_t hd_piece_digest(const uint8_t *bytes, size_t n)
{
    uint64_t digest = XXH3_64bits(bytes, n);
    return digest ? digest : 1;
}
