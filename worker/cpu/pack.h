/* pack.h - one unit's slices of a model's matrices, packed for the kernels. Any thread. */
#ifndef HD_WORKER_PACK_H
#define HD_WORKER_PACK_H

#include "common/model/piece.h"
#include "worker/share/shard.h"

/* Which piece of which model. */
struct hd_unit_at {
    const struct hd_model *model;
    const struct hd_units *units;
    struct hd_piece_at piece;
    const uint8_t *bytes; /* of the piece (common/model/piece.h); NULL: the model has its data */
};

/* `packed` is a struct hd_head_weights, hd_ffn_weights or, of a vocab block, hd_weights: what
 * hd_packed_size says. 0, or HD_E_NOMEM, HD_E_RANGE, HD_E_UNSUPPORTED from hd_weights_init; on
 * failure it is empty. */
int hd_pack(void *packed, const struct hd_unit_at *at);
void hd_packed_deinit(enum hd_unit_kind kind, void *packed);
size_t hd_packed_size(enum hd_unit_kind kind);
/* The weights of one slot in it; NULL: not of this kind. */
struct hd_weights *hd_packed_slot(enum hd_unit_kind kind, enum hd_slot_id slot, void *packed);

#endif
