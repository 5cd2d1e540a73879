/* The families: one row each. */
#include "common/model/arch.h"

/* clang-format off */
#define ENDS \
    {"token_embd.weight",  "model.embed_tokens.weight", HD_SLOT_EMBEDDING}, \
    {"output_norm.weight", "model.norm.weight",         HD_SLOT_OUTPUT_NORM}, \
    {"output.weight",      "lm_head.weight",            HD_SLOT_OUTPUT}
#define ATTENTION \
    {"attn_q.weight",      "self_attn.q_proj.weight",   HD_SLOT_Q}, \
    {"attn_k.weight",      "self_attn.k_proj.weight",   HD_SLOT_K}, \
    {"attn_v.weight",      "self_attn.v_proj.weight",   HD_SLOT_V}, \
    {"attn_output.weight", "self_attn.o_proj.weight",   HD_SLOT_O}
#define FFN \
    {"ffn_gate.weight",    "mlp.gate_proj.weight",      HD_SLOT_GATE}, \
    {"ffn_up.weight",      "mlp.up_proj.weight",        HD_SLOT_UP}, \
    {"ffn_down.weight",    "mlp.down_proj.weight",      HD_SLOT_DOWN}
#define END {NULL, NULL, HD_SLOTS}

static const struct hd_tensor_name llama[] = {
    ENDS,
    {"attn_norm.weight",   "input_layernorm.weight",          HD_SLOT_ATTN_NORM},
    ATTENTION,
    {"ffn_norm.weight",    "post_attention_layernorm.weight", HD_SLOT_FFN_NORM},
    FFN,
    END,
};

const struct hd_arch hd_arches[] = {
    {.gguf = "llama", .hf = "llama", .tensors = llama,
     .gguf_order = HD_ROPE_INTERLEAVED, .hf_order = HD_ROPE_HALVES},
    {.tensors = NULL},
};
/* clang-format on */
