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
    const double *rope_freq; /* [head_dim / 2] */
    size_t n_rope_freq;
    const char *name;
    uint64_t digest;
    uint64_t slots;       /* HD_SLOT_BIT of those that units need */
    const uint8_t *types; /* of their tensors, slot by slot, layer by layer: enum hd_dtype */
    size_t n_types;
};

/* `types` has room for HD_OUTLINE_MAX_TYPES; the rest is borrowed from the model. */
void hd_outline_of(const struct hd_model *m, uint8_t *types, struct hd_outline *out);

/* HD_E_FORMAT, HD_E_LIMIT, HD_E_UNSUPPORTED, HD_E_NOMEM; nothing is allocated by a number that was
 * not checked against the limits of model.h. hd_model_close. */
int hd_model_from_outline(struct hd_model **out, const struct hd_outline *o, struct hd_error *err);

#endif
