/* The fields of config.json for model_type llama: what transformers 4.28 to 5.24 writes for
 * LlamaConfig and for every configuration, and what trainers and publishers add. */
#include "common/model/rules.h"

#define QUANTIZED "take the model as it was before, or a GGUF file"
#define CUSTOM                                                                                     \
    "config.json names a program of its own (auto_map), which is not run: the model is computed "  \
    "as a plain Llama"

/* clang-format off */
const struct hd_rule hd_config_rules[] = {
    HD_READ("model_type"), HD_READ("num_hidden_layers"), HD_READ("hidden_size"),
    HD_READ("num_attention_heads"), HD_READ("num_key_value_heads"), HD_READ("head_dim"),
    HD_READ("intermediate_size"), HD_READ("vocab_size"), HD_READ("max_position_embeddings"),
    HD_READ("rms_norm_eps"), HD_READ("tie_word_embeddings"), HD_READ("bos_token_id"),
    HD_READ("eos_token_id"), HD_READ("rope_theta"), HD_READ("rope_scaling"),
    HD_READ("rope_parameters"), HD_READ("original_max_position_embeddings"),
    HD_READ("use_sliding_window"),
    /* The block. */
    HD_WORDS("hidden_act", "silu|swish"), HD_WORDS("hidden_activation", "silu|swish"),
    HD_IS("attention_bias", 0), HD_IS("mlp_bias", 0), HD_IS("bias", 0), HD_IS("qkv_bias", 0),
    HD_IS("use_bias", 0), HD_IS("use_qk_norm", 0), HD_IS("qk_layernorm", 0),
    HD_IS("use_parallel_residual", 0),
    HD_IS("partial_rotary_factor", 1), HD_IS("rotary_pct", 1), HD_IS("rope_interleaved", 0),
    HD_WORDS("layer_types", "full_attention"),
    HD_WINDOW("sliding_window"), HD_NOTE("sliding_window_pattern"), HD_NOTE("max_window_layers"),
    HD_IS("is_causal", 1), HD_IS("use_bidirectional_attention", 0), HD_IS("is_encoder_decoder", 0),
    HD_IS("add_cross_attention", 0), HD_IS("tie_encoder_decoder", 0),
    HD_IS("cross_attention_hidden_size", 0), HD_IS("clip_qkv", 0),
    HD_IS("attn_logit_softcapping", 0), HD_IS("final_logit_softcapping", 0),
    HD_IS("embedding_multiplier", 1), HD_IS("residual_multiplier", 1), HD_IS("logits_scaling", 1),
    HD_IS("logit_scale", 1), HD_SCALE("attention_multiplier"),
    HD_IS("num_local_experts", 0), HD_IS("num_experts", 0), HD_IS("num_experts_per_tok", 0),
    HD_IS("pruned_heads", 0), HD_IS("per_layer_config", 0), /* empty lists */
    HD_READ("quantization_config"), HD_NEVER("quantization", QUANTIZED),
    HD_NEVER("compression_config", QUANTIZED),
    HD_WARN("auto_map", CUSTOM),
    /* The file, and who made it. */
    HD_NOTE("architectures"), HD_NOTE("transformers_version"), HD_NOTE("_name_or_path"),
    HD_NOTE("name_or_path"), HD_NOTE("_commit_hash"), HD_NOTE("torch_dtype"), HD_NOTE("dtype"),
    HD_NOTE("_attn_implementation_autoset"), HD_NOTE("_attn_implementation"),
    HD_NOTE("attn_implementation"), HD_NOTE("experts_implementation"), HD_NOTE("tokenizer_class"),
    HD_NOTE("torchscript"), HD_NOTE("tf_legacy_loss"), HD_NOTE("use_bfloat16"),
    HD_NOTE("xla_device"), HD_NOTE("unsloth_version"), HD_NOTE("unsloth_fixed"),
    HD_NOTE("unsloth_tied_embeddings"), HD_NOTE("transformers.js_config"), HD_NOTE("is_llama_config"),
    HD_NOTE("model_max_length"), HD_NOTE("max_sequence_length"),
    HD_NOTE("tokenizer_model_max_length"), HD_NOTE("tokenizer_padding_side"),
    /* How a program runs it. Ranks of the old sliced products change the order of sums only. */
    HD_NOTE("use_cache"), HD_NOTE("pretraining_tp"), HD_NOTE("return_dict"),
    HD_NOTE("use_return_dict"), HD_NOTE("output_attentions"), HD_NOTE("output_hidden_states"),
    HD_NOTE("output_scores"), HD_NOTE("tie_last_hidden_states"), HD_NOTE("chunk_size_feed_forward"),
    HD_NOTE("is_decoder"), HD_NOTE("return_dict_in_generate"), HD_NOTE("cache_implementation"),
    /* Training. */
    HD_NOTE("initializer_range"), HD_NOTE("attention_dropout"), HD_NOTE("hidden_dropout"),
    HD_NOTE("resid_pdrop"), HD_NOTE("embd_pdrop"), HD_NOTE("attn_pdrop"), HD_NOTE("dropout"),
    HD_NOTE("neftune_noise_alpha"), HD_NOTE("gradient_checkpointing"),
    /* Other tasks. */
    HD_NOTE("is_matryoshka"), HD_NOTE("matryoshka_dimensions"),
    HD_NOTE("id2label"), HD_NOTE("label2id"), HD_NOTE("num_labels"), HD_NOTE("problem_type"),
    HD_NOTE("finetuning_task"), HD_NOTE("task_specific_params"),
    /* Ids and sampling, which requests say or the tokenizer. */
    HD_NOTE("pad_token_id"), HD_NOTE("unk_token_id"), HD_NOTE("sep_token_id"),
    HD_NOTE("cls_token_id"), HD_NOTE("mask_token_id"), HD_NOTE("decoder_start_token_id"),
    HD_NOTE("forced_bos_token_id"), HD_NOTE("forced_eos_token_id"), HD_NOTE("prefix"),
    HD_NOTE("max_length"), HD_NOTE("min_length"), HD_NOTE("max_new_tokens"), HD_NOTE("do_sample"),
    HD_NOTE("early_stopping"), HD_NOTE("num_beams"), HD_NOTE("num_beam_groups"),
    HD_NOTE("diversity_penalty"), HD_NOTE("temperature"), HD_NOTE("top_k"), HD_NOTE("top_p"),
    HD_NOTE("min_p"), HD_NOTE("typical_p"), HD_NOTE("repetition_penalty"),
    HD_NOTE("length_penalty"), HD_NOTE("no_repeat_ngram_size"),
    HD_NOTE("encoder_no_repeat_ngram_size"), HD_NOTE("bad_words_ids"),
    HD_NOTE("num_return_sequences"), HD_NOTE("remove_invalid_values"),
    HD_NOTE("exponential_decay_length_penalty"), HD_NOTE("suppress_tokens"),
    HD_NOTE("begin_suppress_tokens"),
    HD_RULES_END,
};

const struct hd_rule hd_rope_rules[] = {
    HD_READ("rope_type"), HD_READ("type"), HD_READ("rope_theta"), HD_READ("factor"),
    HD_READ("low_freq_factor"), HD_READ("high_freq_factor"),
    HD_READ("original_max_position_embeddings"),
    HD_READ("beta_fast"), HD_READ("beta_slow"), HD_READ("truncate"), HD_READ("attention_factor"),
    HD_READ("mscale"), HD_READ("mscale_all_dim"),
    HD_READ("short_factor"), HD_READ("long_factor"),
    HD_IS("partial_rotary_factor", 1), HD_NOTE("finetuned"),
    HD_RULES_END,
};
/* clang-format on */
