/* piece.c - pieces are counted, not listed: index and unit follow from each other by arithmetic. */
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

/* Numbers [first, first + n) of what a unit has of `all`. */
struct span {
    size_t first, n;
};

static struct span share_of(const struct hd_units *u, struct hd_piece_at at, size_t all)
{
    size_t width = at.kind == HD_UNIT_HEAD  ? all / u->heads
                   : at.kind == HD_UNIT_FFN ? u->ffn_width
                                            : u->vocab_width;
    size_t first = hd_units_part(u, at.kind, at.unit) * width, left = all - first;
    return (struct span){first, left < width ? left : width};
}

static bool is_of_qkv(enum hd_slot_id slot)
{
    return (slot >= HD_SLOT_Q && slot <= HD_SLOT_V) ||
           (slot >= HD_SLOT_Q_BIAS && slot <= HD_SLOT_V_BIAS);
}

/* Rows of the other two between those of one head and of the next, where they lie together. */
static size_t others_rows(const struct hd_model *m, enum hd_slot_id slot)
{
    const struct hd_model_shape *s = &m->shape;
    size_t rep = s->n_heads / s->n_kv_heads;
    bool q = slot == HD_SLOT_Q || slot == HD_SLOT_Q_BIAS;
    return (q ? 2 : rep + 1) * s->head_dim;
}

static void add_cut(struct hd_cuts *c, enum hd_slot_id slot, const struct hd_model *m,
                    const struct hd_units *u, struct hd_piece_at at)
{
    uint32_t expert = at.kind == HD_UNIT_FFN ? at.unit % u->experts : 0;
    struct hd_tensor t = hd_slot_expert(m, slot, at.layer, expert);
    bool columns = hd_slots[slot].cut == HD_CUT_COLUMNS;
    if (m->qkv_by_head && at.kind == HD_UNIT_HEAD && is_of_qkv(slot) && t.data)
        t.data += at.unit * others_rows(m, slot) * t.row_bytes;
    struct span rows = {0, t.rows}, cols = {0, t.cols};
    if (columns)
        cols = share_of(u, at, t.cols);
    else if (hd_slots[slot].cut != HD_CUT_WHOLE)
        rows = share_of(u, at, t.rows);
    c->cut[c->n++] = (struct hd_cut){.t = t,
                                     .slot = slot,
                                     .row0 = rows.first,
                                     .n_rows = rows.n,
                                     .col0 = cols.first,
                                     .n_cols = cols.n};
}

struct hd_cuts hd_piece_cuts(const struct hd_model *m, const struct hd_units *u,
                             struct hd_piece_at at)
{
    struct hd_cuts c = {.n = 0};
    for (enum hd_slot_id s = 0; s < HD_SLOTS; s++)
        if (hd_slots[s].unit == at.kind && at.layer < hd_slot_layers(m, s))
            add_cut(&c, s, m, u, at);
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

/* Bytes [at, at + n) of a row that lies column by column. */
static void copy_columns(const struct hd_cut *c, const struct kept *k, size_t row, size_t at,
                         size_t n, uint8_t *out)
{
    size_t bytes = hd_dtype_block_bytes(c->t.type);
    const uint8_t *first = c->t.data + (c->row0 + row) * c->t.step + k->col0 * c->t.row_bytes;
    while (n > 0) {
        size_t col = at / bytes, of = at % bytes, some = bytes - of < n ? bytes - of : n;
        memcpy(out, first + col * c->t.row_bytes + of, some);
        at += some;
        out += some;
        n -= some;
    }
}

/* A block of MXFP4 as GGML has it: value i and i + 16 in byte i, behind the scale. */
static void join_block(const struct hd_tensor *t, size_t row, size_t block, uint8_t out[17])
{
    const uint8_t *q = t->data + row * t->row_bytes + block * 16;
    out[0] = t->apart[row * t->step + block];
    for (size_t i = 0; i < 16; i++) {
        uint8_t low = q[i / 2], high = q[8 + i / 2];
        out[1 + i] =
            (uint8_t)((i % 2 ? low >> 4 : low & 15) | (i % 2 ? high >> 4 : high & 15) << 4);
    }
}

static void copy_apart(const struct hd_cut *c, const struct kept *k, size_t row, size_t at,
                       size_t n, uint8_t *out)
{
    uint8_t joined[17];
    while (n > 0) {
        size_t block = at / sizeof joined, of = at % sizeof joined;
        size_t some = sizeof joined - of < n ? sizeof joined - of : n;
        join_block(&c->t, c->row0 + row, k->col0 / 32 + block, joined);
        memcpy(out, joined + of, some);
        at += some;
        out += some;
        n -= some;
    }
}

static void copy_f8(const struct hd_cut *c, const struct kept *k, size_t row, size_t at, size_t n,
                    uint8_t *out)
{
    size_t bytes = hd_dtype_block_bytes(c->t.type), first = k->col0 / hd_dtype_block(c->t.type);
    while (n > 0) {
        uint8_t joined[64];
        size_t of = at % bytes, some = bytes - of < n ? bytes - of : n;
        hd_f8_blocks(&c->t, c->row0 + row, first + at / bytes, 1, joined);
        memcpy(out, joined + of, some);
        at += some;
        out += some;
        n -= some;
    }
}

/* Bytes [at, at + n) of one row of a cut. */
static void copy_row(const struct hd_cut *c, const struct kept *k, size_t row, size_t at, size_t n,
                     uint8_t *out)
{
    if (c->t.layout == HD_LAYOUT_COLUMNS)
        copy_columns(c, k, row, at, n, out);
    else if (c->t.layout == HD_LAYOUT_APART)
        copy_apart(c, k, row, at, n, out);
    else if (c->t.layout == HD_LAYOUT_F8)
        copy_f8(c, k, row, at, n, out);
    else
        hd_tensor_row(&c->t, c->row0 + row, hd_dtype_row_bytes(c->t.type, k->col0) + at, n, out);
}

/* Bytes [offset, offset + n) of one cut. */
static void copy_cut(const struct hd_cut *c, const struct kept *k, size_t offset, size_t n,
                     uint8_t *out)
{
    while (n > 0 && offset < k->bytes) {
        size_t row = offset / k->row_bytes, at = offset % k->row_bytes;
        size_t some = k->row_bytes - at < n ? k->row_bytes - at : n;
        copy_row(c, k, row, at, some, out);
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
    if (first->t.layout != HD_LAYOUT_ROWS)
        return first->t.data;
    return first->t.data + first->row0 * first->t.row_bytes +
           hd_dtype_row_bytes(first->t.type, kept_of(first).col0);
}

bool hd_piece_is_rows(const struct hd_cuts *c)
{
    for (unsigned i = 0; i < c->n; i++)
        if (c->cut[i].t.layout != HD_LAYOUT_ROWS)
            return false;
    return true;
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
        cut->t.layout = HD_LAYOUT_ROWS;
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
