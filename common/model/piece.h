/* piece.h - the smallest part of a model that a worker loads: one unit in one layer.
 *
 * A piece is cut out of the matrices of all slots (arch.h) of its kind, in their order: a head has
 * its rows of Wq, Wk and Wv and its columns of Wo; an FFN block its rows of gate and up and its
 * columns of down; a vocab block its rows of the output matrix. It travels and is kept as one run
 * of bytes: the cuts in this order, row by row, in the file's own type, each cut padded with zeros
 * to HD_PIECE_ALIGN. Columns that do not lie on the type's blocks are widened to whole blocks.
 * Weights are packed from either form by the same code: the cuts of a view are those of the model,
 * with another tensor below. Pure. */
#ifndef HD_MODEL_PIECE_H
#define HD_MODEL_PIECE_H

#include "common/model/arch.h"

#define HD_PIECE_ALIGN    64 /* of a cut in a piece's bytes: no f32 lies across a boundary */
#define HD_PIECE_MAX_CUTS 16 /* all slots of heads: an outline may name any of them */

/* The layer of a vocab block is 0. */
struct hd_piece_at {
    enum hd_unit_kind kind;
    uint32_t unit, layer;
};

/* Rows and columns of a matrix; one of the two is all there are. */
struct hd_cut {
    enum hd_slot_id slot;
    struct hd_tensor t;
    size_t row0, n_rows, col0, n_cols;
};

struct hd_cuts {
    struct hd_cut cut[HD_PIECE_MAX_CUTS];
    unsigned n;
};

/* ---- All pieces of a model, numbered ----*/

/* How many there are; those of one unit follow one another, layer by layer. */
size_t hd_piece_count(const struct hd_model *m, const struct hd_units *u);
bool hd_piece_exists(const struct hd_model *m, const struct hd_units *u, struct hd_piece_at at);
/* `at` exists; index < hd_piece_count. */
size_t hd_piece_index(const struct hd_model *m, const struct hd_units *u, struct hd_piece_at at);
struct hd_piece_at hd_piece_nth(const struct hd_model *m, const struct hd_units *u, size_t index);

/* ---- One piece ----*/

/* Its cuts of the model's matrices; `at` exists. */
struct hd_cuts hd_piece_cuts(const struct hd_model *m, const struct hd_units *u,
                             struct hd_piece_at at);
/* Of the whole piece. The named limits of model.h keep it far below 2^64. */
size_t hd_piece_bytes(const struct hd_cuts *c);
/* Bytes [offset, offset + n) of the piece, gathered from the matrices; they exist. */
void hd_piece_copy(const struct hd_cuts *c, size_t offset, size_t n, uint8_t *out);
/* Where the first of its bytes lies, to say where it is in a file. */
const uint8_t *hd_piece_first_byte(const struct hd_cuts *c);
/* All of its matrices lie as kernels are packed from them; else they are copied first. */
bool hd_piece_is_rows(const struct hd_cuts *c);
/* The same cuts of a piece whose bytes are given (borrowed; at least 4 bytes aligned). */
void hd_piece_view(struct hd_cuts *c, const uint8_t *bytes);
/* XXH3 of a piece's bytes; never 0, which stands for none. */
uint64_t hd_piece_digest(const uint8_t *bytes, size_t n);

#endif
