/* pack.h - one unit's slices of a model's matrices, packed for the kernels. Any thread. */
#ifndef HD_WORKER_PACK_H
#define HD_WORKER_PACK_H

#include "common/model/piece.h"
#include "worker/share/shard.h"

/* Which unit of which layer (the layer of a vocab block is 0). */
struct hd_unit_at {
    const struct hd_model *model;
    const struct hd_units *units;
    uint32_t unit, layer;
    const uint8_t *bytes; /* of the piece (common/model/piece.h); NULL: the model has its data */
};

/* 0, or HD_E_NOMEM, HD_E_RANGE, HD_E_UNSUPPORTED from hd_weights_init; on failure *w is empty. */
int hd_pack_head(struct hd_head_weights *w, const struct hd_unit_at *at);
int hd_pack_ffn(struct hd_ffn_weights *w, const struct hd_unit_at *at);
int hd_pack_vocab(struct hd_weights *w, const struct hd_unit_at *at);

void hd_head_weights_deinit(struct hd_head_weights *w);
void hd_ffn_weights_deinit(struct hd_ffn_weights *w);

#endif
