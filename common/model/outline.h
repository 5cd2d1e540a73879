/* outline.h - what a worker must know of a model whose file it does not have: everything but the
 * weights themselves, which come by pieces (piece.h).
 *
 * A model made from an outline has the shape, RoPE, units and digest of the one it was made of; its
 * matrices have types and sizes and no data, its norms and its embedding are empty. */
#ifndef HD_MODEL_OUTLINE_H
#define HD_MODEL_OUTLINE_H

#include "common/model/arch.h"

#define HD_OUTLINE_MAX_TYPES (HD_MAX_LAYERS * HD_SLOTS + 1)

/* Borrows its lists and its name. May hold anything: hd_model_from_outline checks it. */
struct hd_outline {
    struct hd_model_shape shape;
    uint32_t rope_order;     /* enum hd_rope_order */
    const double *rope_freq; /* [1 or 2][head_dim / 2] */
    size_t n_rope_freq;
    const float *rope_scale; /* [1 or 2] */
    size_t n_rope_scale;
    uint32_t long_from;
    const char *name;
    uint64_t digest;
    struct hd_block block;   /* the scales of embedding and residual are the leader's alone */
    uint32_t activation;     /* block's, as it came */
    uint32_t norm;           /* likewise */
    const uint32_t *windows; /* [n_layers] */
    size_t n_windows;
    const uint8_t *layer_rope; /* [n_layers], enum hd_layer_rope */
    size_t n_layer_rope;
    uint64_t slots;       /* HD_SLOT_BIT of those that units need */
    const uint8_t *types; /* of their tensors, slot by slot, layer by layer: enum hd_dtype */
    size_t n_types;
};

/* Lists that are made for an outline. */
struct hd_outline_room {
    uint32_t windows[HD_MAX_LAYERS];
    uint8_t layer_rope[HD_MAX_LAYERS];
    uint8_t types[HD_OUTLINE_MAX_TYPES];
};
/* What is not in `room` is borrowed from the model. */
void hd_outline_of(const struct hd_model *m, struct hd_outline_room *room, struct hd_outline *out);

/* HD_E_FORMAT, HD_E_LIMIT, HD_E_UNSUPPORTED, HD_E_NOMEM; nothing is allocated by a number that was
 * not checked against the limits of model.h. hd_model_close. */
int hd_model_from_outline(struct hd_model **out, const struct hd_outline *o, struct hd_error *err);

#endif
