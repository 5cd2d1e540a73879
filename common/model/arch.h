/* arch.h - architectures as data: which tensors a model has, and who computes with them.
 *
 * A slot is a place for a tensor in the computation, the same for all families: its size as an
 * expression of the shape, the kind of unit that needs it and how units cut it. A family is a row
 * of a table: the names by which the files of that family say the slots, and what its blocks do.
 * Loading, digests, pieces, outlines, costs and synthetic models walk over the two tables; nothing
 * else names a family. To add one: a row in families.c, and rules for its settings beside it. */
#ifndef HD_MODEL_ARCH_H
#define HD_MODEL_ARCH_H

#include "common/model/model.h"
#include "common/model/unit.h"

/* ---- Slots ----*/

/* In the order in which pieces have them; the numbers travel (ModelOutline.slots). */
enum hd_slot_id {
    HD_SLOT_EMBEDDING,
    HD_SLOT_OUTPUT_NORM,
    HD_SLOT_OUTPUT,
    HD_SLOT_ATTN_NORM,
    HD_SLOT_Q,
    HD_SLOT_K,
    HD_SLOT_V,
    HD_SLOT_O,
    HD_SLOT_FFN_NORM,
    HD_SLOT_GATE,
    HD_SLOT_UP,
    HD_SLOT_DOWN,
    HD_SLOTS, /* one past the last */
};
#define HD_SLOT_BIT(slot) (UINT64_C(1) << (slot))
/* No model is computed without these. */
#define HD_SLOTS_NEEDED                                                                            \
    (HD_SLOT_BIT(HD_SLOT_OUTPUT) | HD_SLOT_BIT(HD_SLOT_Q) | HD_SLOT_BIT(HD_SLOT_K) |               \
     HD_SLOT_BIT(HD_SLOT_V) | HD_SLOT_BIT(HD_SLOT_O) | HD_SLOT_BIT(HD_SLOT_GATE) |                 \
     HD_SLOT_BIT(HD_SLOT_UP) | HD_SLOT_BIT(HD_SLOT_DOWN))

enum hd_size { HD_SIZE_ONE, HD_SIZE_DIM, HD_SIZE_Q, HD_SIZE_KV, HD_SIZE_FFN, HD_SIZE_VOCAB };

/* How a unit cuts its part out of a tensor. */
enum hd_cut_how {
    HD_CUT_ROWS,
    HD_CUT_ROTATED, /* rows of heads that RoPE rotates, whose order depends on the model */
    HD_CUT_COLUMNS,
    HD_CUT_NONE, /* the leader's own: no unit has it */
};

struct hd_slot {
    bool in_layer;           /* each layer has one; else the model has */
    size_t offset;           /* of its struct hd_tensor in struct hd_layer, or struct hd_model */
    enum hd_size rows, cols; /* rows HD_SIZE_ONE: a vector */
    enum hd_unit_kind unit;  /* HD_CUT_NONE: no meaning */
    enum hd_cut_how cut;
};
extern const struct hd_slot hd_slots[HD_SLOTS];

/* The tensor of a slot; `layer` has no meaning for those of the model. */
struct hd_tensor *hd_slot_tensor(struct hd_model *m, enum hd_slot_id slot, uint32_t layer);
const struct hd_tensor *hd_slot_of(const struct hd_model *m, enum hd_slot_id slot, uint32_t layer);
/* How many tensors the model has of it: one, or one in each layer; 0: none. */
uint32_t hd_slot_layers(const struct hd_model *m, enum hd_slot_id slot);
/* Units read rows of activations through it: a matrix [outputs][dim]. */
bool hd_slot_takes_input(enum hd_slot_id slot);
size_t hd_size_of(const struct hd_model_shape *s, enum hd_size size);
/* Some unit needs it; else it is the leader's alone. */
static inline bool hd_slot_is_units(enum hd_slot_id slot)
{
    return hd_slots[slot].cut != HD_CUT_NONE;
}

/* ---- Families ----*/

/* A tensor of a family's files. Those of a layer stand behind "blk.N." and "model.layers.N.". */
struct hd_tensor_name {
    const char *gguf, *hf;
    enum hd_slot_id slot;
};

struct hd_arch {
    const char *gguf;                     /* general.architecture, and what its keys begin with */
    const char *hf;                       /* model_type */
    const struct hd_tensor_name *tensors; /* in the order of their digest; slot HD_SLOTS ends */
    enum hd_rope_order gguf_order, hf_order; /* of rotated rows, in each form */
};

/* The row for what a file says it is; NULL: there is none. */
const struct hd_arch *hd_arch_of_gguf(struct hd_str name);
const struct hd_arch *hd_arch_of_hf(const char *model_type);
/* All there are; one with tensors NULL ends. */
extern const struct hd_arch hd_arches[];
/* "\"llama\", ...": what is supported, for sentences. */
void hd_arch_list(bool hf, char *out, size_t size);

#endif
