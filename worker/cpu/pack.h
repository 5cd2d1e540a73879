/* pack.h - one unit's slices of a model's matrices, packed for the kernels. Any thread. */
#ifndef HD_WORKER_CPU_PACK_H
#define HD_WORKER_CPU_PACK_H

#include "common/math/kernels.h"
#include "common/model/piece.h"

/* One head in one layer. */
struct hd_head_weights {
    struct hd_weights q; /* [n_rep * head_dim][dim] */
    struct hd_weights k; /* [head_dim][dim] */
    struct hd_weights v; /* [head_dim][dim] */
    struct hd_weights o; /* [dim][n_rep * head_dim] */
    /* Vectors of floats, [n][1]; of a model without them empty. */
    struct hd_weights q_bias, k_bias, v_bias;
    struct hd_weights q_norm, k_norm;             /* [head_dim] */
    struct hd_weights sinks;                      /* [n_rep] */
    struct hd_weights q_whole_norm, k_whole_norm; /* this head's part of a norm of all of them */
    struct hd_weights q_each_norm, k_each_norm;   /* [heads * head_dim]: of each its own */
    struct hd_weights q_norm_bias, k_norm_bias;   /* [head_dim] */
};

/* One FFN block in one layer; width = ffn_width, or less for the last block. */
struct hd_ffn_weights {
    struct hd_weights gate, up;           /* [width][dim] */
    struct hd_weights down;               /* [dim][width] */
    struct hd_weights gate_bias, up_bias; /* vectors, as above */
};

/* A vocab block. */
struct hd_vocab_weights {
    struct hd_weights output; /* [width][dim] */
    struct hd_weights bias;   /* a vector, as above */
};

/* Which piece of which model. */
struct hd_unit_at {
    const struct hd_model *model;
    const struct hd_units *units;
    struct hd_piece_at piece;
    const uint8_t *bytes; /* of the piece (common/model/piece.h); NULL: the model has its data */
};

/* `packed` is a struct hd_head_weights, hd_ffn_weights or hd_vocab_weights: what hd_packed_size
 * says. 0, or HD_E_NOMEM, HD_E_RANGE, HD_E_UNSUPPORTED from hd_weights_init; on
 * failure it is empty. */
int hd_pack(void *packed, const struct hd_unit_at *at);
void hd_packed_deinit(enum hd_unit_kind kind, void *packed);
size_t hd_packed_size(enum hd_unit_kind kind);
/* The weights of one slot in it; NULL: not of this kind. */
struct hd_weights *hd_packed_slot(enum hd_unit_kind kind, enum hd_slot_id slot, void *packed);

#endif
