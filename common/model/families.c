/* The families: one row each, with the names of their tensors and the settings that they understand
 * besides those of all (gguf_rules.c, hf_rules.c). References: transformers' modeling_*.py for what
 * is computed, llama.cpp's src/llama-arch.cpp and convert_hf_to_gguf.py for GGUF's form of it. */
#include "common/model/arch.h"
#include "common/model/rules.h"

/* clang-format off */

/* ---- Tensors ----*/

#define ENDS \
    {"token_embd.weight",  "model.embed_tokens.weight", HD_SLOT_EMBEDDING, \
     .meta = "tok_embeddings.weight"}, \
    {"output_norm.weight", "model.norm.weight",         HD_SLOT_OUTPUT_NORM, \
     .meta = "norm.weight"}, \
    {"output.weight",      "lm_head.weight",            HD_SLOT_OUTPUT, \
     .meta = "output.weight"}
#define ATTN_NORM   {"attn_norm.weight",    "input_layernorm.weight",          HD_SLOT_ATTN_NORM, \
     .meta = "attention_norm.weight"}
#define FFN_NORM    {"ffn_norm.weight",     "post_attention_layernorm.weight", HD_SLOT_FFN_NORM, \
     .meta = "ffn_norm.weight"}
#define QKV \
    {"attn_q.weight",      "self_attn.q_proj.weight",   HD_SLOT_Q, \
     .meta = "attention.wq.weight"}, \
    {"attn_k.weight",      "self_attn.k_proj.weight",   HD_SLOT_K, \
     .meta = "attention.wk.weight"}, \
    {"attn_v.weight",      "self_attn.v_proj.weight",   HD_SLOT_V, \
     .meta = "attention.wv.weight"}
#define OUT         {"attn_output.weight",  "self_attn.o_proj.weight",         HD_SLOT_O, \
     .meta = "attention.wo.weight"}
#define DOWN        {"ffn_down.weight",     "mlp.down_proj.weight",            HD_SLOT_DOWN, \
     .meta = "feed_forward.w2.weight"}
#define ATTENTION   QKV, OUT
#define FFN \
    {"ffn_gate.weight",    "mlp.gate_proj.weight",      HD_SLOT_GATE, \
     .meta = "feed_forward.w1.weight"}, \
    {"ffn_up.weight",      "mlp.up_proj.weight",        HD_SLOT_UP, \
     .meta = "feed_forward.w3.weight"}, \
    DOWN
/* gate, then up, in one matrix */
#define GATE_UP     {"ffn_up.weight", "mlp.gate_up_proj.weight", HD_SLOT_GATE, .fused = 2}
#define QKV_BIASES(when) \
    {"attn_q.bias",        "self_attn.q_proj.bias",     HD_SLOT_Q_BIAS, .wanted = (when)}, \
    {"attn_k.bias",        "self_attn.k_proj.bias",     HD_SLOT_K_BIAS, .wanted = (when)}, \
    {"attn_v.bias",        "self_attn.v_proj.bias",     HD_SLOT_V_BIAS, .wanted = (when)}
#define IF_ATTENTION .wanted = HD_WANTED_ATTENTION_BIAS
#define IF_MLP       .wanted = HD_WANTED_MLP_BIAS
#define IF_EITHER    .wanted = HD_WANTED_EITHER
#define IF_QK_NORMS  .wanted = HD_WANTED_QK_NORMS
#define IF_ONE_NORM  .wanted = HD_WANTED_ONE_NORM
#define IF_TWO_NORMS .wanted = HD_WANTED_TWO_NORMS
#define BIASES_OF_ATTENTION \
    QKV_BIASES(HD_WANTED_ATTENTION_BIAS), \
    {"attn_output.bias",   "self_attn.o_proj.bias",     HD_SLOT_ATTN_BIAS, IF_ATTENTION}
#define BIASES \
    BIASES_OF_ATTENTION, \
    {"ffn_gate.bias",      "mlp.gate_proj.bias",        HD_SLOT_GATE_BIAS, IF_MLP}, \
    {"ffn_up.bias",        "mlp.up_proj.bias",          HD_SLOT_UP_BIAS,   IF_MLP}, \
    {"ffn_down.bias",      "mlp.down_proj.bias",        HD_SLOT_FFN_BIAS,  IF_MLP}
#define QK_NORMS \
    {"attn_q_norm.weight", "self_attn.q_norm.weight",   HD_SLOT_Q_NORM}, \
    {"attn_k_norm.weight", "self_attn.k_norm.weight",   HD_SLOT_K_NORM}
#define WHOLE_NORMS \
    {"attn_q_norm.weight", "self_attn.q_norm.weight",   HD_SLOT_Q_WHOLE_NORM}, \
    {"attn_k_norm.weight", "self_attn.k_norm.weight",   HD_SLOT_K_WHOLE_NORM}
#define END         {NULL, NULL, HD_SLOTS}

static const struct hd_tensor_name llama[] = {
    ENDS, ATTN_NORM, ATTENTION, FFN_NORM, FFN, BIASES, END,
};

static const struct hd_tensor_name qwen2[] = {
    ENDS, ATTN_NORM, ATTENTION, FFN_NORM, FFN, QKV_BIASES(HD_WANTED), END,
};

static const struct hd_tensor_name qwen3[] = {
    ENDS, ATTN_NORM, ATTENTION, QK_NORMS, FFN_NORM, FFN, BIASES, END,
};

/* One tensor of all experts in GGUF, one for each in folders; w1, w3, w2 are gate, up, down. */
static const struct hd_tensor_name mixtral[] = {
    ENDS, ATTN_NORM, ATTENTION, FFN_NORM,
    {"ffn_gate_inp.weight",  "block_sparse_moe.gate.weight",         HD_SLOT_ROUTER},
    {"ffn_gate_exps.weight", "block_sparse_moe.experts.*.w1.weight", HD_SLOT_GATE,
     .gguf_old = "ffn_gate.*.weight"},
    {"ffn_up_exps.weight",   "block_sparse_moe.experts.*.w3.weight", HD_SLOT_UP,
     .gguf_old = "ffn_up.*.weight"},
    {"ffn_down_exps.weight", "block_sparse_moe.experts.*.w2.weight", HD_SLOT_DOWN,
     .gguf_old = "ffn_down.*.weight"},
    END,
};

#define EXPERTS \
    {"ffn_gate_inp.weight",  "mlp.gate.weight",                HD_SLOT_ROUTER}, \
    {"ffn_gate_exps.weight", "mlp.experts.*.gate_proj.weight", HD_SLOT_GATE}, \
    {"ffn_up_exps.weight",   "mlp.experts.*.up_proj.weight",   HD_SLOT_UP}, \
    {"ffn_down_exps.weight", "mlp.experts.*.down_proj.weight", HD_SLOT_DOWN}

static const struct hd_tensor_name qwen3moe[] = {
    ENDS, ATTN_NORM, ATTENTION, QK_NORMS, FFN_NORM, EXPERTS, BIASES_OF_ATTENTION, END,
};

/* The rows of gate, then those of up, of each expert. */
static const struct hd_tensor_name granitemoe[] = {
    ENDS, ATTN_NORM, ATTENTION, BIASES_OF_ATTENTION, FFN_NORM,
    {"ffn_gate_inp.weight",  "block_sparse_moe.router.layer.weight",  HD_SLOT_ROUTER},
    {"ffn_gate_exps.weight", NULL,                                    HD_SLOT_GATE},
    {"ffn_up_exps.weight",   NULL,                                    HD_SLOT_UP},
    {NULL,                   "block_sparse_moe.input_linear.weight",  HD_SLOT_GATE, .fused = 2},
    {"ffn_down_exps.weight", "block_sparse_moe.output_linear.weight", HD_SLOT_DOWN},
    END,
};

static const struct hd_tensor_name olmoe[] = {
    ENDS, ATTN_NORM, ATTENTION, BIASES_OF_ATTENTION, WHOLE_NORMS, FFN_NORM, EXPERTS, END,
};

static const struct hd_tensor_name gptoss[] = {
    ENDS, ATTN_NORM, ATTENTION, BIASES_OF_ATTENTION,
    {"attn_sinks.weight",          "self_attn.sinks",                 HD_SLOT_SINKS},
    {"post_attention_norm.weight", "post_attention_layernorm.weight", HD_SLOT_FFN_NORM},
    {"ffn_gate_inp.weight",        "mlp.router.weight",               HD_SLOT_ROUTER},
    {"ffn_gate_inp.bias",          "mlp.router.bias",                 HD_SLOT_ROUTER_BIAS},
    {"ffn_gate_exps.weight",       NULL,                              HD_SLOT_GATE},
    {"ffn_gate_exps.bias",         NULL,                              HD_SLOT_GATE_BIAS},
    {"ffn_up_exps.weight",         NULL,                              HD_SLOT_UP},
    {"ffn_up_exps.bias",           NULL,                              HD_SLOT_UP_BIAS},
    {NULL, "mlp.experts.gate_up_proj",      HD_SLOT_GATE,      .fused = 2, .pairs = true},
    {NULL, "mlp.experts.gate_up_proj_bias", HD_SLOT_GATE_BIAS, .fused = 2, .pairs = true},
    {"ffn_down_exps.weight", NULL,                         HD_SLOT_DOWN},
    {NULL,                   "mlp.experts.down_proj",      HD_SLOT_DOWN, .pairs = true},
    {"ffn_down_exps.bias",   "mlp.experts.down_proj_bias", HD_SLOT_EXPERT_BIAS},
    END,
};

static const struct hd_tensor_name phi3[] = {
    ENDS, ATTN_NORM,
    {"attn_qkv.weight", "self_attn.qkv_proj.weight", HD_SLOT_Q, .fused = 3}, OUT,
    FFN_NORM, GATE_UP, DOWN, END,
};

static const struct hd_tensor_name gemma2[] = {
    ENDS, ATTN_NORM, ATTENTION,
    {"post_attention_norm.weight", "post_attention_layernorm.weight",   HD_SLOT_ATTN_POST_NORM},
    {"ffn_norm.weight",            "pre_feedforward_layernorm.weight",  HD_SLOT_FFN_NORM},
    FFN,
    {"post_ffw_norm.weight",       "post_feedforward_layernorm.weight", HD_SLOT_FFN_POST_NORM},
    BIASES, END,
};

static const struct hd_tensor_name gemma3[] = {
    ENDS, ATTN_NORM, ATTENTION, QK_NORMS,
    {"post_attention_norm.weight", "post_attention_layernorm.weight",   HD_SLOT_ATTN_POST_NORM},
    {"ffn_norm.weight",            "pre_feedforward_layernorm.weight",  HD_SLOT_FFN_NORM},
    FFN,
    {"post_ffw_norm.weight",       "post_feedforward_layernorm.weight", HD_SLOT_FFN_POST_NORM},
    BIASES, END,
};

static const struct hd_tensor_name glm4[] = {
    ENDS, ATTN_NORM, ATTENTION, QKV_BIASES(HD_WANTED_ATTENTION_BIAS),
    {"post_attention_norm.weight", "post_self_attn_layernorm.weight", HD_SLOT_ATTN_POST_NORM},
    FFN_NORM, GATE_UP, DOWN,
    {"post_ffw_norm.weight",       "post_mlp_layernorm.weight",       HD_SLOT_FFN_POST_NORM},
    END,
};

/* Nothing before a half, and q and k normalised over all heads. */
static const struct hd_tensor_name olmo2[] = {
    ENDS, ATTENTION, QKV_BIASES(HD_WANTED_ATTENTION_BIAS),
    {"attn_output.bias",           "self_attn.o_proj.bias",             HD_SLOT_ATTN_BIAS, IF_ATTENTION},
    WHOLE_NORMS,
    {"post_attention_norm.weight", "post_attention_layernorm.weight",   HD_SLOT_ATTN_POST_NORM},
    FFN,
    {"post_ffw_norm.weight",       "post_feedforward_layernorm.weight", HD_SLOT_FFN_POST_NORM},
    END,
};

/* Halves are normalised behind, and q and k by head. */
static const struct hd_tensor_name exaone4[] = {
    ENDS, ATTENTION, QK_NORMS,
    {"post_attention_norm.weight", "post_attention_layernorm.weight",   HD_SLOT_ATTN_POST_NORM},
    FFN,
    {"post_ffw_norm.weight",       "post_feedforward_layernorm.weight", HD_SLOT_FFN_POST_NORM},
    END,
};

/* One norm for both halves of a layer. */
static const struct hd_tensor_name cohere[] = {
    ENDS, ATTN_NORM, ATTENTION,
    {"attn_q_norm.weight", "self_attn.q_norm.weight", HD_SLOT_Q_EACH_NORM, IF_QK_NORMS},
    {"attn_k_norm.weight", "self_attn.k_norm.weight", HD_SLOT_K_EACH_NORM, IF_QK_NORMS},
    FFN, END,
};
static const struct hd_tensor_name cohere2[] = {ENDS, ATTN_NORM, ATTENTION, FFN, END};

static const struct hd_tensor_name glm[] = {
    ENDS, ATTN_NORM,
    {"attn_qkv.weight", NULL, HD_SLOT_Q,      .fused = 3},
    {"attn_qkv.bias",   NULL, HD_SLOT_Q_BIAS, .fused = 3, .wanted = HD_WANTED_ATTENTION_BIAS},
    {NULL, "self_attn.q_proj.weight", HD_SLOT_Q},
    {NULL, "self_attn.k_proj.weight", HD_SLOT_K},
    {NULL, "self_attn.v_proj.weight", HD_SLOT_V},
    {NULL, "self_attn.q_proj.bias",   HD_SLOT_Q_BIAS, IF_ATTENTION},
    {NULL, "self_attn.k_proj.bias",   HD_SLOT_K_BIAS, IF_ATTENTION},
    {NULL, "self_attn.v_proj.bias",   HD_SLOT_V_BIAS, IF_ATTENTION},
    OUT, FFN_NORM, GATE_UP, DOWN, END,
};

/* With parallel halves there is one norm for both. */
static const struct hd_tensor_name stablelm[] = {
    ENDS,
    {"output_norm.bias",   "model.norm.bias",               HD_SLOT_OUTPUT_NORM_BIAS},
    ATTN_NORM,
    {"attn_norm.bias",     "input_layernorm.bias",          HD_SLOT_ATTN_NORM_BIAS},
    ATTENTION, QKV_BIASES(HD_WANTED_ATTENTION_BIAS),
    {"attn_q_norm.weight", "self_attn.q_layernorm.norms.*.weight", HD_SLOT_Q_EACH_NORM, IF_QK_NORMS},
    {"attn_k_norm.weight", "self_attn.k_layernorm.norms.*.weight", HD_SLOT_K_EACH_NORM, IF_QK_NORMS},
    {"ffn_norm.weight",    "post_attention_layernorm.weight", HD_SLOT_FFN_NORM,
     .wanted = HD_WANTED_SERIAL},
    {"ffn_norm.bias",      "post_attention_layernorm.bias", HD_SLOT_FFN_NORM_BIAS,
     .wanted = HD_WANTED_SERIAL},
    FFN, END,
};

/* ---- Tensors of families whose FFN has no gate ----*/

#define LAYER_NORMS \
    {"attn_norm.weight",   "input_layernorm.weight",          HD_SLOT_ATTN_NORM}, \
    {"attn_norm.bias",     "input_layernorm.bias",            HD_SLOT_ATTN_NORM_BIAS}, \
    {"ffn_norm.weight",    "post_attention_layernorm.weight", HD_SLOT_FFN_NORM}, \
    {"ffn_norm.bias",      "post_attention_layernorm.bias",   HD_SLOT_FFN_NORM_BIAS}
#define OUTPUT_NORM_BIAS \
    {"output_norm.bias",   "model.norm.bias",                 HD_SLOT_OUTPUT_NORM_BIAS}

static const struct hd_tensor_name phi[] = {
    {"token_embd.weight",  "model.embed_tokens.weight",    HD_SLOT_EMBEDDING},
    {"output_norm.weight", "model.final_layernorm.weight", HD_SLOT_OUTPUT_NORM},
    {"output_norm.bias",   "model.final_layernorm.bias",   HD_SLOT_OUTPUT_NORM_BIAS},
    {"output.weight",      "lm_head.weight",               HD_SLOT_OUTPUT},
    {"output.bias",        "lm_head.bias",                 HD_SLOT_OUTPUT_BIAS},
    ATTN_NORM,
    {"attn_norm.bias",     "input_layernorm.bias",         HD_SLOT_ATTN_NORM_BIAS},
    {"attn_qkv.weight",    NULL,                           HD_SLOT_Q, .fused = 3, IF_EITHER},
    {"attn_qkv.bias",      NULL,                           HD_SLOT_Q_BIAS, .fused = 3, IF_EITHER},
    {"attn_q.weight",      "self_attn.q_proj.weight",      HD_SLOT_Q, IF_EITHER},
    {"attn_k.weight",      "self_attn.k_proj.weight",      HD_SLOT_K, IF_EITHER},
    {"attn_v.weight",      "self_attn.v_proj.weight",      HD_SLOT_V, IF_EITHER},
    {"attn_q.bias",        "self_attn.q_proj.bias",        HD_SLOT_Q_BIAS, IF_EITHER},
    {"attn_k.bias",        "self_attn.k_proj.bias",        HD_SLOT_K_BIAS, IF_EITHER},
    {"attn_v.bias",        "self_attn.v_proj.bias",        HD_SLOT_V_BIAS, IF_EITHER},
    {NULL,                 "self_attn.q_layernorm.weight", HD_SLOT_Q_NORM, IF_QK_NORMS},
    {NULL,                 "self_attn.q_layernorm.bias",   HD_SLOT_Q_NORM_BIAS, IF_QK_NORMS},
    {NULL,                 "self_attn.k_layernorm.weight", HD_SLOT_K_NORM, IF_QK_NORMS},
    {NULL,                 "self_attn.k_layernorm.bias",   HD_SLOT_K_NORM_BIAS, IF_QK_NORMS},
    {"attn_output.weight", "self_attn.dense.weight",       HD_SLOT_O},
    {"attn_output.bias",   "self_attn.dense.bias",         HD_SLOT_ATTN_BIAS},
    {"ffn_up.weight",      "mlp.fc1.weight",               HD_SLOT_UP},
    {"ffn_up.bias",        "mlp.fc1.bias",                 HD_SLOT_UP_BIAS},
    {"ffn_down.weight",    "mlp.fc2.weight",               HD_SLOT_DOWN},
    {"ffn_down.bias",      "mlp.fc2.bias",                 HD_SLOT_FFN_BIAS},
    END,
};

static const struct hd_tensor_name starcoder2[] = {
    ENDS, OUTPUT_NORM_BIAS, LAYER_NORMS, ATTENTION, BIASES_OF_ATTENTION,
    {"ffn_up.weight",      "mlp.c_fc.weight",              HD_SLOT_UP},
    {"ffn_up.bias",        "mlp.c_fc.bias",                HD_SLOT_UP_BIAS, IF_MLP},
    {"ffn_down.weight",    "mlp.c_proj.weight",            HD_SLOT_DOWN},
    {"ffn_down.bias",      "mlp.c_proj.bias",              HD_SLOT_FFN_BIAS, IF_MLP},
    END,
};

static const struct hd_tensor_name nemotron[] = {
    ENDS, OUTPUT_NORM_BIAS, LAYER_NORMS, ATTENTION, BIASES_OF_ATTENTION,
    {"ffn_up.weight",      "mlp.up_proj.weight",           HD_SLOT_UP},
    {"ffn_up.bias",        "mlp.up_proj.bias",             HD_SLOT_UP_BIAS, IF_MLP},
    DOWN,
    {"ffn_down.bias",      "mlp.down_proj.bias",           HD_SLOT_FFN_BIAS, IF_MLP},
    END,
};

/* GGUF's converter calls the attention half's norm the second, where there are two. */
static const struct hd_tensor_name falcon[] = {
    {"token_embd.weight",  "transformer.word_embeddings.weight", HD_SLOT_EMBEDDING},
    {"output_norm.weight", "transformer.ln_f.weight",      HD_SLOT_OUTPUT_NORM},
    {"output_norm.bias",   "transformer.ln_f.bias",        HD_SLOT_OUTPUT_NORM_BIAS},
    {"output.weight",      "lm_head.weight",               HD_SLOT_OUTPUT},
    {"attn_norm.weight",   "input_layernorm.weight",       HD_SLOT_ATTN_NORM,      IF_ONE_NORM},
    {"attn_norm.bias",     "input_layernorm.bias",         HD_SLOT_ATTN_NORM_BIAS, IF_ONE_NORM},
    {"attn_norm_2.weight", "ln_attn.weight",               HD_SLOT_ATTN_NORM,      IF_TWO_NORMS},
    {"attn_norm_2.bias",   "ln_attn.bias",                 HD_SLOT_ATTN_NORM_BIAS, IF_TWO_NORMS},
    {"attn_norm.weight",   "ln_mlp.weight",                HD_SLOT_FFN_NORM,       IF_TWO_NORMS},
    {"attn_norm.bias",     "ln_mlp.bias",                  HD_SLOT_FFN_NORM_BIAS,  IF_TWO_NORMS},
    {"attn_qkv.weight",    "self_attention.query_key_value.weight", HD_SLOT_Q, .fused = 3},
    {"attn_qkv.bias",      "self_attention.query_key_value.bias", HD_SLOT_Q_BIAS, .fused = 3, IF_ATTENTION},
    {"attn_output.weight", "self_attention.dense.weight",  HD_SLOT_O},
    {"attn_output.bias",   "self_attention.dense.bias",    HD_SLOT_ATTN_BIAS, IF_ATTENTION},
    {"ffn_up.weight",      "mlp.dense_h_to_4h.weight",     HD_SLOT_UP},
    {"ffn_up.bias",        "mlp.dense_h_to_4h.bias",       HD_SLOT_UP_BIAS, IF_MLP},
    {"ffn_down.weight",    "mlp.dense_4h_to_h.weight",     HD_SLOT_DOWN},
    {"ffn_down.bias",      "mlp.dense_4h_to_h.bias",       HD_SLOT_FFN_BIAS, IF_MLP},
    END,
};

static const struct hd_tensor_name gpt_neox[] = {
    {"token_embd.weight",  "gpt_neox.embed_in.weight",     HD_SLOT_EMBEDDING},
    {"output_norm.weight", "gpt_neox.final_layer_norm.weight", HD_SLOT_OUTPUT_NORM},
    {"output_norm.bias",   "gpt_neox.final_layer_norm.bias", HD_SLOT_OUTPUT_NORM_BIAS},
    {"output.weight",      "embed_out.weight",             HD_SLOT_OUTPUT},
    LAYER_NORMS,
    {"attn_qkv.weight",    "attention.query_key_value.weight", HD_SLOT_Q, .fused = 3},
    {"attn_qkv.bias",      "attention.query_key_value.bias", HD_SLOT_Q_BIAS, .fused = 3, IF_ATTENTION},
    {"attn_output.weight", "attention.dense.weight",       HD_SLOT_O},
    {"attn_output.bias",   "attention.dense.bias",         HD_SLOT_ATTN_BIAS, IF_ATTENTION},
    {"ffn_up.weight",      "mlp.dense_h_to_4h.weight",     HD_SLOT_UP},
    {"ffn_up.bias",        "mlp.dense_h_to_4h.bias",       HD_SLOT_UP_BIAS},
    {"ffn_down.weight",    "mlp.dense_4h_to_h.weight",     HD_SLOT_DOWN},
    {"ffn_down.bias",      "mlp.dense_4h_to_h.bias",       HD_SLOT_FFN_BIAS},
    END,
};

/* ---- Settings ----*/

#define TANH "gelu_pytorch_tanh"
#define HF_BIASES HD_READ("attention_bias"), HD_READ("mlp_bias")

static const struct hd_rule llama_hf[] = {HF_BIASES, HD_RULES_END};

#define WINDOWS HD_WORDS("layer_types", "full_attention|sliding_attention")
/* The last layers may have windows. */
#define QWEN_WINDOWS HD_READ("sliding_window"), HD_READ("max_window_layers"), WINDOWS

/* What is fixed in this model's program, whatever the setting says. */
#define QWEN2_HF HD_NOTE("attention_bias"), HD_IS("use_mrope", 0), QWEN_WINDOWS
static const struct hd_rule qwen2_hf[] = {QWEN2_HF, HD_RULES_END};

static const struct hd_rule qwen3_hf[] = {HF_BIASES, QWEN_WINDOWS, HD_RULES_END};

/* Of a text the three positions of each token are one: RoPE is as ever, and nothing comes from the
 * encoder into the first layers. */
#define SIGHT \
    HD_NOTE("mrope_section"), HD_NOTE("mrope_interleaved"), HD_NOTE("vision_config"), \
    HD_NOTE("deepstack_visual_indexes")
static const struct hd_rule qwen2_vl_hf[] = {QWEN2_HF, SIGHT, HD_RULES_END};
static const struct hd_rule qwen3_vl_hf[] = {HF_BIASES, QWEN_WINDOWS, SIGHT, HD_RULES_END};
static const struct hd_rule qwen_vl_gguf[] = {
    HD_NOTE("rope.dimension_sections"), HD_NOTE("n_deepstack_layers"), HD_RULES_END,
};

static const struct hd_rule mistral_hf[] = {HD_READ("sliding_window"), HD_RULES_END};

static const struct hd_rule ministral_hf[] = {HD_READ("sliding_window"), WINDOWS, HD_RULES_END};

static const struct hd_rule ministral3_hf[] = {
    HD_READ("sliding_window"), HD_READ("llama_4_scaling_beta"),
    HD_NOTE("max_position_embeddings"), /* among RoPE's, once more */
    HD_RULES_END,
};
static const struct hd_rule ministral3_gguf[] = {
    HD_READ("attention.temperature_scale"), HD_READ("attention.temperature_length"), HD_RULES_END,
};

static const struct hd_rule phi3_hf[] = {
    HD_READ("sliding_window"), HD_READ("partial_rotary_factor"), HD_IS("full_attn_mod", 1),
    HD_IS("lm_head_bias", 0), HD_IS("interpolate_factor", 1), HD_RULES_END,
};
static const struct hd_rule phi3_gguf[] = {
    HD_READ("attention.sliding_window"), HD_RULES_END,
};

static const struct hd_rule gemma_hf[] = {
    HF_BIASES, HD_WORDS("hidden_act", TANH "|gelu"), HD_WORDS("hidden_activation", TANH "|gelu"),
    HD_RULES_END,
};

#define GEMMA2_HF \
    HF_BIASES, HD_WORDS("hidden_act", TANH), HD_WORDS("hidden_activation", TANH), \
    HD_READ("query_pre_attn_scalar"), HD_READ("attn_logit_softcapping"), \
    HD_READ("final_logit_softcapping"), HD_READ("sliding_window"), \
    HD_NOTE("sliding_window_size"), /* an old name; transformers does not read it */ \
    HD_WORDS("layer_types", "full_attention|sliding_attention")
static const struct hd_rule gemma2_hf[] = {GEMMA2_HF, HD_RULES_END};
static const struct hd_rule gemma2_gguf[] = {
    HD_READ("attn_logit_softcapping"), HD_READ("final_logit_softcapping"),
    HD_READ("attention.sliding_window"), HD_IS("attention.sliding_window_pattern", 2),
    HD_RULES_END,
};

static const char *const gemma2_needs[] = {
    "attn_logit_softcapping", "final_logit_softcapping", "attention.sliding_window", NULL,
};

static const struct hd_rule gemma3_hf[] = {
    GEMMA2_HF, HD_READ("sliding_window_pattern"), HD_READ("_sliding_window_pattern"),
    HD_READ("rope_local_base_freq"), HD_RULES_END,
};
static const struct hd_rule gemma3_gguf[] = {
    HD_READ("attn_logit_softcapping"), HD_READ("final_logit_softcapping"),
    HD_READ("attention.sliding_window"), HD_IS("attention.sliding_window_pattern", 6),
    HD_IS("rope.freq_base_swa", 10000), HD_RULES_END,
};

static const char *const gemma3_needs[] = {"attention.sliding_window", NULL};

static const struct hd_rule smollm3_hf[] = {
    HF_BIASES, HD_READ("no_rope_layers"), HD_READ("no_rope_layer_interval"), HD_RULES_END,
};

static const struct hd_rule granite_hf[] = {
    HF_BIASES, HD_READ("embedding_multiplier"), HD_READ("residual_multiplier"),
    HD_READ("attention_multiplier"), HD_READ("logits_scaling"), HD_RULES_END,
};
static const struct hd_rule granite_gguf[] = {
    HD_READ("embedding_scale"), HD_READ("residual_scale"), HD_READ("attention.scale"),
    HD_READ("logit_scale"), HD_RULES_END,
};

static const char *const minicpm_needs[] = {
    "embedding_scale", "residual_scale", "logit_scale", NULL,
};

/* What trains the router, or is said of it. */
/* Their number has two names, and transformers 5 writes both. */
#define EITHER_COUNT HD_READ("num_local_experts"), HD_READ("num_experts")
#define ROUTER_HF HD_NOTE("router_aux_loss_coef"), HD_NOTE("output_router_logits")
#define EXPERTS_GGUF \
    HD_READ("expert_count"), HD_READ("expert_used_count"), HD_READ("expert_feed_forward_length"), \
    HD_IS("expert_weights_norm", 1), HD_EITHER("expert_gating_func", 0, 1) /* softmax */

static const struct hd_rule mixtral_hf[] = {
    HD_READ("sliding_window"), EITHER_COUNT, HD_READ("num_experts_per_tok"),
    ROUTER_HF, HD_NOTE("router_jitter_noise"), HD_RULES_END,
};
static const struct hd_rule experts_gguf[] = {EXPERTS_GGUF, HD_RULES_END};

static const struct hd_rule qwen3moe_hf[] = {
    HD_READ("attention_bias"), HD_READ("sliding_window"), EITHER_COUNT,
    HD_READ("num_experts_per_tok"), HD_READ("moe_intermediate_size"), HD_READ("norm_topk_prob"),
    HD_IS("decoder_sparse_step", 1), HD_EMPTY("mlp_only_layers"), ROUTER_HF, HD_RULES_END,
};
static const struct hd_rule granitemoe_hf[] = {
    HD_READ("attention_bias"), HD_READ("embedding_multiplier"), HD_READ("residual_multiplier"),
    HD_READ("attention_multiplier"), HD_READ("logits_scaling"), EITHER_COUNT,
    HD_READ("num_experts_per_tok"), ROUTER_HF, HD_RULES_END,
};
static const struct hd_rule granitemoe_gguf[] = {
    HD_READ("embedding_scale"), HD_READ("residual_scale"), HD_READ("attention.scale"),
    HD_READ("logit_scale"), EXPERTS_GGUF, HD_RULES_END,
};
static const char *const granitemoe_needs[] = {
    "embedding_scale", "residual_scale", "attention.scale", "logit_scale", NULL,
};

static const struct hd_rule olmoe_hf[] = {
    HD_READ("attention_bias"), EITHER_COUNT, HD_READ("num_experts_per_tok"),
    HD_READ("norm_topk_prob"), ROUTER_HF, HD_RULES_END,
};
static const struct hd_rule olmoe_gguf[] = {
    HD_IS("expert_weights_norm", 0), EXPERTS_GGUF, HD_RULES_END,
};

static const struct hd_rule gptoss_hf[] = {
    HD_READ("attention_bias"), HD_READ("sliding_window"), EITHER_COUNT,
    HD_READ("num_experts_per_tok"), HD_READ("swiglu_alpha"), HD_READ("swiglu_limit"),
    HD_READ("quantization_config"), HD_WORDS("layer_types", "full_attention|sliding_attention"),
    HD_NOTE("experts_per_token"), HD_NOTE("initial_context_length"), ROUTER_HF, HD_RULES_END,
};
static const struct hd_rule gptoss_gguf[] = {
    HD_READ("attention.sliding_window"), HD_IS("attention.sliding_window_pattern", 2),
    EXPERTS_GGUF, HD_RULES_END,
};
static const char *const gptoss_needs[] = {
    "attention.sliding_window", "expert_feed_forward_length", NULL,
};

static const char *const qwen3moe_needs[] = {"expert_feed_forward_length", NULL};

static const struct hd_rule glm4_hf[] = {
    HF_BIASES, HD_READ("partial_rotary_factor"), HD_RULES_END,
};

static const struct hd_rule olmo2_hf[] = {HD_READ("attention_bias"), HD_RULES_END};

static const struct hd_rule olmo3_hf[] = {
    HD_READ("attention_bias"), HD_READ("sliding_window"), WINDOWS, HD_RULES_END,
};

static const struct hd_rule exaone4_hf[] = {
    HD_READ("sliding_window"), HD_READ("sliding_window_pattern"), WINDOWS, HD_RULES_END,
};

#define COHERE_HF \
    HD_READ("layer_norm_eps"), HD_READ("logit_scale"), HD_READ("sliding_window"), \
    HD_READ("sliding_window_pattern"), HD_NOTE("_sliding_window_pattern"), WINDOWS, \
    HD_IS("layer_switch", 4), HD_WORDS("order_of_interleaved_layers", "local_attn_first"), \
    HD_WORDS("position_embedding_type", "rope_gptj"), HD_IS("use_embedding_sharing", 1), \
    HD_IS("use_gated_activation", 1), HD_IS("use_parallel_block", 1), \
    HD_NOTE("use_parallel_embedding")
static const struct hd_rule cohere_hf[] = {COHERE_HF, HD_READ("use_qk_norm"), HD_RULES_END};
static const struct hd_rule cohere2_hf[] = {COHERE_HF, HD_RULES_END};
static const struct hd_rule cohere_gguf[] = {
    HD_READ("attention.layer_norm_epsilon"), HD_READ("logit_scale"),
    HD_READ("attention.sliding_window"), HD_IS("attention.sliding_window_pattern", 4),
    HD_RULES_END,
};
static const char *const cohere_needs[] = {"logit_scale", NULL};
static const char *const cohere2_needs[] = {"logit_scale", "attention.sliding_window", NULL};

static const struct hd_rule stablelm_hf[] = {
    HD_READ("partial_rotary_factor"), HD_READ("use_qkv_bias"), HD_READ("layer_norm_eps"),
    HD_READ("use_parallel_residual"), HD_READ("qk_layernorm"),
    HD_NOTE("rms_norm_eps"), /* no norm of it is such */
    HD_RULES_END,
};
static const struct hd_rule stablelm_gguf[] = {
    HD_READ("attention.layer_norm_epsilon"), HD_READ("use_parallel_residual"), HD_RULES_END,
};

static const struct hd_rule phi_hf[] = {
    HD_READ("layer_norm_eps"), HD_READ("hidden_act"), HD_READ("partial_rotary_factor"),
    HD_READ("qk_layernorm"), HD_RULES_END,
};
/* Of all that have a LayerNorm and nothing else of their own. */
static const struct hd_rule layer_norm_gguf[] = {
    HD_READ("attention.layer_norm_epsilon"), HD_RULES_END,
};

static const struct hd_rule starcoder2_hf[] = {
    HD_READ("norm_epsilon"), HD_READ("layer_norm_eps"), HD_READ("hidden_act"), HD_READ("use_bias"),
    HF_BIASES, HD_READ("sliding_window"), HD_WORDS("mlp_type", "default"),
    HD_WORDS("norm_type", "layer_norm"), HD_IS("scale_attn_weights", 1),
    HD_NOTE("layer_norm_epsilon"), HD_NOTE("activation_function"),
    HD_NOTE("attention_softmax_in_fp32"), HD_NOTE("scale_attention_softmax_in_fp32"),
    HD_NOTE("residual_dropout"), HD_NOTE("embedding_dropout"), HD_RULES_END,
};
static const struct hd_alias starcoder2_aliases[] = {
    {"norm_epsilon", "layer_norm_eps"}, {"use_bias", "attention_bias"}, {"use_bias", "mlp_bias"},
    {NULL, NULL},
};

static const struct hd_rule nemotron_hf[] = {
    HD_READ("norm_eps"), HD_READ("layer_norm_eps"), HD_READ("hidden_act"), HF_BIASES,
    HD_READ("partial_rotary_factor"), HD_RULES_END,
};
static const struct hd_alias nemotron_aliases[] = {{"norm_eps", "layer_norm_eps"}, {NULL, NULL}};

static const struct hd_rule falcon_hf[] = {
    HD_READ("layer_norm_epsilon"), HD_READ("layer_norm_eps"), HD_READ("activation"),
    HD_READ("hidden_act"), HD_READ("num_kv_heads"), HD_READ("n_embed"), HD_READ("ffn_hidden_size"),
    HD_READ("multi_query"), HD_READ("new_decoder_architecture"),
    HD_READ("num_ln_in_parallel_attn"), HD_READ("bias"), HF_BIASES, HD_IS("alibi", 0),
    HD_IS("parallel_attn", 1), HD_IS("apply_residual_connection_post_layernorm", 0), HD_RULES_END,
};
static const struct hd_alias falcon_aliases[] = {
    {"layer_norm_epsilon", "layer_norm_eps"}, {"activation", "hidden_act"},
    {"num_kv_heads", "num_key_value_heads"}, {"n_embed", "hidden_size"},
    {"ffn_hidden_size", "intermediate_size"}, {"bias", "attention_bias"}, {"bias", "mlp_bias"},
    {NULL, NULL},
};
static const struct hd_rule falcon_gguf[] = {
    HD_READ("attention.layer_norm_epsilon"), HD_WORDS("tensor_data_layout", "jploski"),
    HD_RULES_END,
};

static const struct hd_rule gpt_neox_hf[] = {
    HD_READ("layer_norm_eps"), HD_READ("hidden_act"), HD_READ("use_parallel_residual"),
    HD_READ("rotary_pct"), HD_READ("rotary_emb_base"), HD_READ("partial_rotary_factor"),
    HD_READ("attention_bias"), HD_NOTE("classifier_dropout"), HD_RULES_END,
};
static const struct hd_alias gpt_neox_aliases[] = {
    {"rotary_pct", "partial_rotary_factor"}, {"rotary_emb_base", "rope_theta"}, {NULL, NULL},
};
static const struct hd_rule gpt_neox_gguf[] = {
    HD_READ("attention.layer_norm_epsilon"), HD_READ("use_parallel_residual"), HD_RULES_END,
};

/* ---- Families ----*/

#define QWEN_DEFAULTS \
    "{\"use_sliding_window\": false, \"sliding_window\": 4096, \"max_window_layers\": 28"
#define VL_DEFAULTS ", \"rope_theta\": 1000000.0, \"rms_norm_eps\": 1e-5"

const struct hd_arch hd_arches[] = {
    {.gguf = "llama", .hf = "llama", .tensors = llama,
     .gguf_order = HD_ROPE_INTERLEAVED, .hf_order = HD_ROPE_HALVES, .hf_rules = llama_hf,
     .hf_part_defaults =
         "{\"hidden_size\": 4096, \"intermediate_size\": 11008, \"num_hidden_layers\": 32,"
         " \"num_attention_heads\": 32, \"vocab_size\": 32000,"
         " \"max_position_embeddings\": 2048}"},

    /* GGUF calls it llama. */
    {.hf = "mistral", .tensors = llama, .hf_order = HD_ROPE_HALVES, .hf_rules = mistral_hf,
     .hf_defaults = "{\"sliding_window\": 4096}",
     .hf_part_defaults =
         "{\"hidden_size\": 4096, \"intermediate_size\": 14336, \"num_hidden_layers\": 32,"
         " \"num_attention_heads\": 32, \"num_key_value_heads\": 8, \"vocab_size\": 32000,"
         " \"max_position_embeddings\": 131072}"},

    {.hf = "ministral", .tensors = llama, .hf_order = HD_ROPE_HALVES, .hf_rules = ministral_hf,
     .hf_defaults = "{\"sliding_window\": 4096}"},

    {.gguf = "mistral3", .hf = "ministral3", .tensors = llama,
     .gguf_order = HD_ROPE_INTERLEAVED, .hf_order = HD_ROPE_HALVES,
     .gguf_rules = ministral3_gguf, .hf_rules = ministral3_hf,
     .hf_defaults = "{\"head_dim\": 128, \"rms_norm_eps\": 1e-5, \"rope_parameters\":"
                    " {\"rope_type\": \"yarn\", \"rope_theta\": 1000000.0, \"factor\": 16.0,"
                    " \"original_max_position_embeddings\": 16384, \"mscale\": 1.0,"
                    " \"mscale_all_dim\": 1.0, \"llama_4_scaling_beta\": 0.1}}",
     .hf_part_defaults =
         "{\"hidden_size\": 4096, \"intermediate_size\": 14336, \"num_hidden_layers\": 34,"
         " \"num_attention_heads\": 32, \"num_key_value_heads\": 8, \"vocab_size\": 131072,"
         " \"max_position_embeddings\": 262144}"},

    {.gguf = "qwen2", .hf = "qwen2", .tensors = qwen2,
     .gguf_order = HD_ROPE_HALVES, .hf_order = HD_ROPE_HALVES, .hf_rules = qwen2_hf,
     .hf_defaults = QWEN_DEFAULTS "}"},

    {.gguf = "qwen2vl", .hf = "qwen2_vl_text", .tensors = qwen2,
     .gguf_order = HD_ROPE_HALVES, .hf_order = HD_ROPE_HALVES,
     .gguf_rules = qwen_vl_gguf, .hf_rules = qwen2_vl_hf,
     .hf_defaults = QWEN_DEFAULTS VL_DEFAULTS "}"},

    {.hf = "qwen2_5_vl_text", .tensors = qwen2, .hf_order = HD_ROPE_HALVES,
     .hf_rules = qwen2_vl_hf, .hf_defaults = QWEN_DEFAULTS VL_DEFAULTS "}"},

    {.gguf = "qwen3", .hf = "qwen3", .tensors = qwen3,
     .gguf_order = HD_ROPE_HALVES, .hf_order = HD_ROPE_HALVES, .hf_rules = qwen3_hf,
     .hf_defaults = QWEN_DEFAULTS ", \"head_dim\": 128}"},

    {.gguf = "qwen3vl", .hf = "qwen3_vl_text", .tensors = qwen3,
     .gguf_order = HD_ROPE_HALVES, .hf_order = HD_ROPE_HALVES,
     .gguf_rules = qwen_vl_gguf, .hf_rules = qwen3_vl_hf,
     .hf_defaults = QWEN_DEFAULTS ", \"head_dim\": 128, \"rope_theta\": 500000.0}"},

    {.gguf = "phi3", .hf = "phi3", .tensors = phi3,
     .gguf_order = HD_ROPE_HALVES, .hf_order = HD_ROPE_HALVES,
     .gguf_rules = phi3_gguf, .hf_rules = phi3_hf, .hf_defaults = "{\"rms_norm_eps\": 1e-5,"
     " \"original_max_position_embeddings\": 4096}",
     .partial_rope = true, .long_rope = true},

    {.gguf = "gemma", .hf = "gemma", .tensors = llama,
     .gguf_order = HD_ROPE_HALVES, .hf_order = HD_ROPE_HALVES, .hf_rules = gemma_hf,
     .hf_defaults = "{\"head_dim\": 256, \"tie_word_embeddings\": true}",
     .activation = HD_ACTIVATION_GELU_TANH, .embedding_by_sqrt_dim = true, .hf_norm_offset = 1},

    {.gguf = "gemma2", .hf = "gemma2", .tensors = gemma2,
     .gguf_order = HD_ROPE_HALVES, .hf_order = HD_ROPE_HALVES,
     .gguf_rules = gemma2_gguf, .hf_rules = gemma2_hf, .gguf_needs = gemma2_needs,
     .hf_defaults = "{\"head_dim\": 256, \"tie_word_embeddings\": true, \"sliding_window\": 4096,"
                    " \"query_pre_attn_scalar\": 256, \"attn_logit_softcapping\": 50.0,"
                    " \"final_logit_softcapping\": 30.0}",
     .activation = HD_ACTIVATION_GELU_TANH, .embedding_by_sqrt_dim = true, .hf_norm_offset = 1,
     .global_every = 2, .wide_scale_layers = 46},

    {.gguf = "gemma3", .hf = "gemma3_text", .tensors = gemma3,
     .gguf_order = HD_ROPE_HALVES, .hf_order = HD_ROPE_HALVES,
     .gguf_rules = gemma3_gguf, .hf_rules = gemma3_hf, .gguf_needs = gemma3_needs,
     .hf_defaults = "{\"head_dim\": 256, \"tie_word_embeddings\": true, \"sliding_window\": 4096,"
                    " \"query_pre_attn_scalar\": 256, \"rope_theta\": 1000000.0}",
     .hf_part_defaults =
         "{\"hidden_size\": 2304, \"intermediate_size\": 9216, \"num_hidden_layers\": 26,"
         " \"num_attention_heads\": 8, \"num_key_value_heads\": 4, \"vocab_size\": 262208,"
         " \"max_position_embeddings\": 131072}",
     .activation = HD_ACTIVATION_GELU_TANH, .embedding_by_sqrt_dim = true, .hf_norm_offset = 1,
     .global_every = 6, .local_theta = 10000, .wide_scale_layers = 62},

    {.gguf = "smollm3", .hf = "smollm3", .tensors = llama,
     .gguf_order = HD_ROPE_INTERLEAVED, .hf_order = HD_ROPE_HALVES, .hf_rules = smollm3_hf,
     .hf_defaults = "{\"use_sliding_window\": false, \"tie_word_embeddings\": true,"
                    " \"rope_theta\": 2000000.0}",
     .no_rope_every = 4},

    {.gguf = "granite", .hf = "granite", .tensors = llama,
     .gguf_order = HD_ROPE_INTERLEAVED, .hf_order = HD_ROPE_HALVES,
     .gguf_rules = granite_gguf, .hf_rules = granite_hf,
     .hf_defaults = "{\"attention_multiplier\": 1.0}"},

    {.gguf = "glm4", .hf = "glm4", .tensors = glm4,
     .gguf_order = HD_ROPE_INTERLEAVED, .hf_order = HD_ROPE_INTERLEAVED, .hf_rules = glm4_hf,
     .hf_defaults = "{\"partial_rotary_factor\": 0.5, \"head_dim\": 128,"
                    " \"rms_norm_eps\": 1.5625e-7}",
     .partial_rope = true},

    {.gguf = "olmo2", .hf = "olmo2", .tensors = olmo2,
     .gguf_order = HD_ROPE_HALVES, .hf_order = HD_ROPE_HALVES, .hf_rules = olmo2_hf,
     .hf_defaults = "{\"rms_norm_eps\": 1e-5}"},

    {.hf = "olmo3", .tensors = olmo2, .hf_order = HD_ROPE_HALVES, .hf_rules = olmo3_hf,
     .hf_defaults = "{\"rms_norm_eps\": 1e-5, \"sliding_window\": 4096, \"rope_theta\": 500000.0}",
     .global_every = 4, .local_plain = true},

    {.gguf = "exaone4", .hf = "exaone4", .tensors = exaone4,
     .gguf_order = HD_ROPE_HALVES, .hf_order = HD_ROPE_HALVES, .hf_rules = exaone4_hf,
     .hf_defaults = "{\"rms_norm_eps\": 1e-5, \"sliding_window\": 4096}",
     .global_every = 4, .global_no_rope = true},

    {.gguf = "command-r", .hf = "cohere", .tensors = cohere,
     .gguf_order = HD_ROPE_INTERLEAVED, .hf_order = HD_ROPE_INTERLEAVED,
     .gguf_rules = cohere_gguf, .hf_rules = cohere_hf, .gguf_needs = cohere_needs,
     .hf_defaults = "{\"layer_norm_eps\": 1e-5, \"logit_scale\": 0.0625, \"rope_theta\": 500000.0,"
                    " \"tie_word_embeddings\": true}",
     .norm = HD_NORM_LAYER, .parallel = true, .logits_multiplied = true},

    {.gguf = "cohere2", .hf = "cohere2", .tensors = cohere2,
     .gguf_order = HD_ROPE_INTERLEAVED, .hf_order = HD_ROPE_INTERLEAVED,
     .gguf_rules = cohere_gguf, .hf_rules = cohere2_hf, .gguf_needs = cohere2_needs,
     .hf_defaults = "{\"layer_norm_eps\": 1e-5, \"logit_scale\": 0.0625,"
                    " \"tie_word_embeddings\": true, \"sliding_window\": 4096}",
     .norm = HD_NORM_LAYER, .parallel = true, .logits_multiplied = true,
     .global_every = 4, .global_no_rope = true},

    {.gguf = "chatglm", .hf = "glm", .tensors = glm,
     .gguf_order = HD_ROPE_INTERLEAVED, .hf_order = HD_ROPE_INTERLEAVED, .hf_rules = glm4_hf,
     .hf_defaults = "{\"partial_rotary_factor\": 0.5, \"head_dim\": 128,"
                    " \"attention_bias\": true, \"rms_norm_eps\": 1.5625e-7}",
     .partial_rope = true},

    {.gguf = "ernie4_5", .hf = "ernie4_5", .tensors = llama,
     .gguf_order = HD_ROPE_INTERLEAVED, .hf_order = HD_ROPE_INTERLEAVED,
     .hf_defaults = "{\"head_dim\": 128, \"rms_norm_eps\": 1e-5, \"rope_theta\": 500000.0,"
                    " \"tie_word_embeddings\": true}"},

    /* GGUF alone: folders of these run programs of their own. */
    {.gguf = "internlm2", .tensors = llama, .gguf_order = HD_ROPE_INTERLEAVED},

    {.gguf = "exaone", .tensors = llama, .gguf_order = HD_ROPE_HALVES},

    {.gguf = "minicpm", .tensors = llama, .gguf_order = HD_ROPE_INTERLEAVED,
     .gguf_rules = granite_gguf, .gguf_needs = minicpm_needs},

    {.gguf = "stablelm", .hf = "stablelm", .tensors = stablelm,
     .gguf_order = HD_ROPE_HALVES, .hf_order = HD_ROPE_HALVES,
     .gguf_rules = stablelm_gguf, .hf_rules = stablelm_hf,
     .hf_defaults = "{\"partial_rotary_factor\": 0.25, \"layer_norm_eps\": 1e-5,"
                    " \"rms_norm_eps\": 1e-5}",
     .norm = HD_NORM_LAYER, .partial_rope = true},

    /* Without a gate. GGUF does not say which GELU; where the family's models have the exact one,
     * so has theirs. */
    {.gguf = "phi2", .hf = "phi", .tensors = phi,
     .gguf_order = HD_ROPE_HALVES, .hf_order = HD_ROPE_HALVES,
     .gguf_rules = layer_norm_gguf, .hf_rules = phi_hf,
     .hf_defaults = "{\"partial_rotary_factor\": 0.5, \"layer_norm_eps\": 1e-5}",
     .activation = HD_ACTIVATION_GELU_TANH, .norm = HD_NORM_LAYER, .parallel = true,
     .partial_rope = true},

    {.gguf = "starcoder2", .hf = "starcoder2", .tensors = starcoder2,
     .gguf_order = HD_ROPE_HALVES, .hf_order = HD_ROPE_HALVES,
     .gguf_rules = layer_norm_gguf, .hf_rules = starcoder2_hf, .hf_aliases = starcoder2_aliases,
     .hf_defaults = "{\"layer_norm_eps\": 1e-5, \"attention_bias\": true, \"mlp_bias\": true,"
                    " \"tie_word_embeddings\": true, \"num_key_value_heads\": 2,"
                    " \"max_position_embeddings\": 4096}",
     .activation = HD_ACTIVATION_GELU_TANH, .norm = HD_NORM_LAYER},

    {.gguf = "nemotron", .hf = "nemotron", .tensors = nemotron,
     .gguf_order = HD_ROPE_HALVES, .hf_order = HD_ROPE_HALVES,
     .gguf_rules = layer_norm_gguf, .hf_rules = nemotron_hf, .hf_aliases = nemotron_aliases,
     .hf_defaults = "{\"layer_norm_eps\": 1e-5, \"partial_rotary_factor\": 0.5,"
                    " \"max_position_embeddings\": 4096}",
     .activation = HD_ACTIVATION_RELU2, .norm = HD_NORM_LAYER, .hf_norm_offset = 1,
     .partial_rope = true},

    {.gguf = "falcon", .hf = "falcon", .tensors = falcon,
     .gguf_order = HD_ROPE_HALVES, .hf_order = HD_ROPE_HALVES,
     .gguf_rules = falcon_gguf, .hf_rules = falcon_hf, .hf_aliases = falcon_aliases,
     .hf_defaults = "{\"layer_norm_eps\": 1e-5, \"tie_word_embeddings\": true,"
                    " \"max_position_embeddings\": 2048}",
     .hf_layers = "transformer.h.", .gguf_two_norms = "blk.0.attn_norm_2.weight",
     .hf_by_head = true, .ffn_by_four = true,
     .activation = HD_ACTIVATION_GELU, .norm = HD_NORM_LAYER, .parallel = true},

    {.gguf = "gptneox", .hf = "gpt_neox", .tensors = gpt_neox,
     .gguf_order = HD_ROPE_HALVES, .hf_order = HD_ROPE_HALVES,
     .gguf_rules = gpt_neox_gguf, .hf_rules = gpt_neox_hf, .hf_aliases = gpt_neox_aliases,
     .hf_defaults = "{\"layer_norm_eps\": 1e-5, \"partial_rotary_factor\": 0.25,"
                    " \"attention_bias\": true, \"use_parallel_residual\": true,"
                    " \"max_position_embeddings\": 2048}",
     .hf_layers = "gpt_neox.layers.", .hf_by_head = true, .own_norms = true,
     .activation = HD_ACTIVATION_GELU, .norm = HD_NORM_LAYER, .partial_rope = true},

    /* GGUF calls it llama. */
    {.gguf = "llama", .hf = "mixtral", .tensors = mixtral,
     .gguf_order = HD_ROPE_INTERLEAVED, .hf_order = HD_ROPE_HALVES,
     .gguf_rules = experts_gguf, .hf_rules = mixtral_hf,
     .hf_defaults = "{\"num_local_experts\": 8, \"num_experts_per_tok\": 2,"
                    " \"num_key_value_heads\": 8, \"rms_norm_eps\": 1e-5,"
                    " \"rope_theta\": 1000000.0}",
     .experts = true, .router = {.normalise = true}},

    {.gguf = "qwen3moe", .hf = "qwen3_moe", .tensors = qwen3moe,
     .gguf_order = HD_ROPE_HALVES, .hf_order = HD_ROPE_HALVES,
     .gguf_rules = experts_gguf, .hf_rules = qwen3moe_hf, .gguf_needs = qwen3moe_needs,
     .hf_defaults = "{\"num_experts\": 128, \"num_experts_per_tok\": 8,"
                    " \"moe_intermediate_size\": 768, \"norm_topk_prob\": false,"
                    " \"num_key_value_heads\": 4, \"use_sliding_window\": false}",
     .experts = true, .router = {.normalise = true}},

    {.gguf = "granitemoe", .hf = "granitemoe", .tensors = granitemoe,
     .gguf_order = HD_ROPE_INTERLEAVED, .hf_order = HD_ROPE_HALVES,
     .gguf_rules = granitemoe_gguf, .hf_rules = granitemoe_hf, .gguf_needs = granitemoe_needs,
     .hf_defaults = "{\"attention_multiplier\": 1.0, \"num_local_experts\": 8,"
                    " \"num_experts_per_tok\": 2}",
     .experts = true, .router = {.top_first = true}},

    {.gguf = "olmoe", .hf = "olmoe", .tensors = olmoe,
     .gguf_order = HD_ROPE_HALVES, .hf_order = HD_ROPE_HALVES,
     .gguf_rules = olmoe_gguf, .hf_rules = olmoe_hf,
     .hf_defaults = "{\"num_experts\": 64, \"num_experts_per_tok\": 8, \"rms_norm_eps\": 1e-5,"
                    " \"norm_topk_prob\": false}",
     .experts = true},

    {.gguf = "gpt-oss", .hf = "gpt_oss", .tensors = gptoss,
     .gguf_order = HD_ROPE_HALVES, .hf_order = HD_ROPE_HALVES,
     .gguf_rules = gptoss_gguf, .hf_rules = gptoss_hf, .gguf_needs = gptoss_needs,
     .hf_defaults = "{\"num_local_experts\": 128, \"num_experts_per_tok\": 4, \"head_dim\": 64,"
                    " \"sliding_window\": 128, \"attention_bias\": true, \"rms_norm_eps\": 1e-5,"
                    " \"rope_theta\": 150000.0, \"swiglu_alpha\": 1.702, \"swiglu_limit\": 7.0}",
     .hf_rope = "{\"rope_type\": \"yarn\", \"factor\": 32.0, \"beta_fast\": 32.0, \"beta_slow\": 1.0,"
                " \"truncate\": false, \"original_max_position_embeddings\": 4096}",
     .exact_yarn = true, .activation = HD_ACTIVATION_CLAMPED, .clamp = {1.702f, 7}, .global_every = 2,
     .experts = true, .router = {.top_first = true}},

    {.tensors = NULL},
};
/* clang-format on */
