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
    HD_SLOT_Q_BIAS,
    HD_SLOT_K_BIAS,
    HD_SLOT_V_BIAS,
    HD_SLOT_Q_NORM,
    HD_SLOT_K_NORM,
    HD_SLOT_GATE_BIAS,
    HD_SLOT_UP_BIAS,
    HD_SLOT_ATTN_BIAS,
    HD_SLOT_FFN_BIAS,
    HD_SLOT_ATTN_POST_NORM,
    HD_SLOT_FFN_POST_NORM,
    HD_SLOT_Q_WHOLE_NORM,
    HD_SLOT_K_WHOLE_NORM,
    HD_SLOT_ATTN_NORM_BIAS,
    HD_SLOT_FFN_NORM_BIAS,
    HD_SLOT_OUTPUT_NORM_BIAS,
    HD_SLOT_ROUTER,
    HD_SLOT_ROUTER_BIAS,
    HD_SLOT_EXPERT_BIAS,
    HD_SLOT_SINKS,
    HD_SLOT_OUTPUT_BIAS,
    HD_SLOT_Q_EACH_NORM,
    HD_SLOT_K_EACH_NORM,
    HD_SLOT_Q_NORM_BIAS,
    HD_SLOT_K_NORM_BIAS,
    HD_SLOTS, /* one past the last */
};
#define HD_SLOT_BIT(slot) (UINT64_C(1) << (slot))
/* No model is computed without these. */
#define HD_SLOTS_NEEDED                                                                            \
    (HD_SLOT_BIT(HD_SLOT_OUTPUT) | HD_SLOT_BIT(HD_SLOT_Q) | HD_SLOT_BIT(HD_SLOT_K) |               \
     HD_SLOT_BIT(HD_SLOT_V) | HD_SLOT_BIT(HD_SLOT_O) | HD_SLOT_BIT(HD_SLOT_UP) |                   \
     HD_SLOT_BIT(HD_SLOT_DOWN))

enum hd_size {
    HD_SIZE_ONE,
    HD_SIZE_DIM,
    HD_SIZE_Q,
    HD_SIZE_KV,
    HD_SIZE_HEAD,
    HD_SIZE_FFN,
    HD_SIZE_EXPERTS,
    HD_SIZE_HEADS,
    HD_SIZE_VOCAB,
};

/* How a unit cuts its part out of a tensor. */
enum hd_cut_how {
    HD_CUT_ROWS,
    HD_CUT_ROTATED, /* rows of heads that RoPE rotates, whose order depends on the model */
    HD_CUT_COLUMNS,
    HD_CUT_WHOLE, /* each unit has all of it, in the order of rotated rows */
    HD_CUT_NONE,  /* the leader's own: no unit has it */
};

struct hd_slot {
    bool in_layer;           /* each layer has one; else the model has */
    size_t offset;           /* of its struct hd_tensor in struct hd_layer, or struct hd_model */
    enum hd_size rows, cols; /* one of them HD_SIZE_ONE: a vector, in files [1][n] */
    enum hd_unit_kind unit;  /* HD_CUT_NONE: no meaning */
    enum hd_cut_how cut;
    bool by_head;   /* in files a row, or a vector, for each head */
    bool norm;      /* a norm's weights: block.norm_offset is added */
    bool of_expert; /* where there are experts, each has one; all of a layer are of one type */
};
extern const struct hd_slot hd_slots[HD_SLOTS];

/* The tensor of a slot; `layer` has no meaning for those of the model. */
struct hd_tensor *hd_slot_tensor(struct hd_model *m, enum hd_slot_id slot, uint32_t layer);
const struct hd_tensor *hd_slot_of(const struct hd_model *m, enum hd_slot_id slot, uint32_t layer);
/* The tensor of one expert; that of the layer for a slot that experts do not have. */
struct hd_tensor hd_slot_expert(const struct hd_model *m, enum hd_slot_id slot, uint32_t layer,
                                uint32_t expert);
/* Where the expert's bytes are kept, for whoever loads them; a slot of experts. */
struct hd_expert_data *hd_expert_data(const struct hd_model *m, enum hd_slot_id slot,
                                      uint32_t layer, uint32_t expert);
#define HD_EXPERT_SLOTS 5 /* of which each expert has one */
/* How many tensors the model has of it: one, or one in each layer; 0: none. */
uint32_t hd_slot_layers(const struct hd_model *m, enum hd_slot_id slot);
/* A vector: of floats. */
bool hd_slot_is_vector(enum hd_slot_id slot);
/* Units read rows of activations through it: a matrix [outputs][dim]. */
bool hd_slot_takes_input(enum hd_slot_id slot);
size_t hd_size_of(const struct hd_model_shape *s, enum hd_size size);
/* Some unit needs it; else it is the leader's alone. */
static inline bool hd_slot_is_units(enum hd_slot_id slot)
{
    return hd_slots[slot].cut != HD_CUT_NONE;
}

/* ---- Families ----*/

/* Whether a model of the family has a tensor. */
enum hd_wanted {
    HD_WANTED,
    HD_WANTED_ATTENTION_BIAS, /* in folders as config.json says, in GGUF if it is there */
    HD_WANTED_MLP_BIAS,
    HD_WANTED_SERIAL,    /* not if both halves of a layer read the same input */
    HD_WANTED_QK_NORMS,  /* in folders as config.json says, in GGUF if it is there */
    HD_WANTED_EITHER,    /* one of the names that the slot has in the form */
    HD_WANTED_ONE_NORM,  /* parallel halves share one, ... */
    HD_WANTED_TWO_NORMS, /* ... or have one each */
};

/* A tensor of a family's files. Those of a layer stand behind "blk.N." and "model.layers.N.". Of a
 * slot that experts have a name with a '*' is that of one expert, whose number stands there; one
 * without is of all of them, one behind the other. Of one that heads have, likewise. */
struct hd_tensor_name {
    const char *gguf, *hf;
    enum hd_slot_id slot; /* HD_SLOTS ends a list */
    unsigned fused;       /* slots from this on whose rows follow one another in it; 0: one */
    enum hd_wanted wanted;
    const char *meta;     /* in Meta's form, behind "layers.N."; NULL: it has no such tensor */
    const char *gguf_old; /* what files had before they had `gguf`; NULL: nothing */
    bool pairs; /* of all experts, and as gpt-oss has them: rows of the slots by turns; matrices
                 * column by column, or as NAME_blocks and NAME_scales of MXFP4 */
};

/* A field of config.json by a name that one family alone has for it. */
struct hd_alias {
    const char *theirs, *usual;
};

struct hd_rule; /* rules.h */

struct hd_arch {
    const char *gguf; /* general.architecture, and what its keys begin with; NULL: no such files */
    const char *hf;   /* model_type; NULL likewise */
    const struct hd_tensor_name *tensors;    /* in the order of the model's digest */
    enum hd_rope_order gguf_order, hf_order; /* of rotated rows, in each form */
    /* Settings that this family understands besides those of all, or otherwise; NULL: none. */
    const struct hd_rule *gguf_rules, *hf_rules;
    /* Keys, NULL at the end, that old converters left out though the model's arithmetic hangs on
     * them: a file without one is refused. NULL: none. */
    const char *const *gguf_needs;
    const char *hf_part_defaults; /* likewise, where it is a part of a model that sees or hears:
                                   * such files leave out whatever is as in the program */
    const char *hf_defaults;      /* JSON: what fields of config.json are when they are not there */
    const struct hd_alias *hf_aliases; /* theirs NULL at the end; NULL: none */
    const char *hf_layers;      /* what stands before a layer's number; NULL: "model.layers." */
    const char *gguf_two_norms; /* a tensor that is there if parallel halves have a norm each */
    bool hf_by_head;            /* struct hd_model, qkv_by_head */
    bool own_norms;             /* each half has a norm of its own, parallel or not */
    bool ffn_by_four; /* folders: the FFN is four times as wide as the residual, if nothing
                       * is said of it */

    bool experts;            /* a row for models with experts; GGUF may call others the same */
    struct hd_router router; /* where the file does not say otherwise */
    const char *hf_rope;     /* JSON: rope_scaling where config.json says nothing of RoPE */
    bool exact_yarn;         /* GGUF: the ramp of yarn is not rounded, and no key says so */
    enum hd_activation activation;
    struct hd_clamp clamp; /* where the file does not say otherwise */
    enum hd_norm_kind norm;
    bool parallel;              /* both halves of a layer read the same input, always */
    bool logits_multiplied;     /* GGUF: the key logit_scale is not what they are divided by */
    bool global_no_rope;        /* layers that see all have no RoPE, if others have windows */
    bool local_plain;           /* in layers with a window RoPE is not scaled */
    bool embedding_by_sqrt_dim; /* the embedding is scaled by sqrt(dim) */
    float hf_norm_offset;       /* GGUF's converters have added it */
    bool partial_rope;          /* RoPE may rotate a part of a head */
    bool long_rope;             /* folders: whatever RoPE's scaling is called, it is longrope */
    unsigned global_every;      /* windows are for all layers but each so manieth; 0: for all */
    double local_theta;         /* RoPE's base in layers with a window; 0: that of all */
    unsigned no_rope_every;     /* each so manieth layer has no RoPE; 0: all have */
    unsigned wide_scale_layers; /* GGUF: a model of so many layers scales attention by
                                 * 1 / sqrt(dim / heads), and no key says so; 0: none does */
};

/* The row for what a file says it is; NULL: there is none. */
const struct hd_arch *hd_arch_of_gguf(struct hd_str name, bool experts);
const struct hd_arch *hd_arch_of_hf(const char *model_type);
/* All there are; one with tensors NULL ends. */
extern const struct hd_arch hd_arches[];
/* "\"llama\", ...": what is supported, for sentences. */
void hd_arch_list(bool hf, char *out, size_t size);

#endif
