/* What config.json says in published models of each family: every one is read whole. The lists of
 * factors and of layers are shorter than theirs. */
#include "fixture.h"

#include "common/model/arch.h"
#include "common/model/model_impl.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TestSuite(published, .init = folder_init, .fini = folder_fini, .timeout = 60);

#define COMMON                                                                                     \
    "\"attention_dropout\": 0.0, \"initializer_range\": 0.02, \"use_cache\": true,"                \
    " \"torch_dtype\": \"bfloat16\", \"transformers_version\": \"4.46.3\""
#define SILU "\"hidden_act\": \"silu\", "
#define SIZES(layers, dim, heads, kv, ffn, vocab, context)                                         \
    "\"num_hidden_layers\": " #layers ", \"hidden_size\": " #dim                                   \
    ", \"num_attention_heads\": " #heads ", \"num_key_value_heads\": " #kv                         \
    ", \"intermediate_size\": " #ffn ", \"vocab_size\": " #vocab                                   \
    ", \"max_position_embeddings\": " #context ", "

struct published {
    const char *name, *config;
    uint32_t head_dim, window; /* 0: none, or as many as there are positions */
    double theta;
    enum hd_rope_scaling scaling;
};

/* clang-format off */
static const struct published all[] = {
    {"TinyLlama 1.1B", "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", "
     "\"bos_token_id\": 1, \"eos_token_id\": 2, \"pretraining_tp\": 1, \"rms_norm_eps\": 1e-05, "
     "\"rope_scaling\": null, \"tie_word_embeddings\": false, \"attention_bias\": false, "
     "\"rope_theta\": 10000.0, " SILU SIZES(22, 2048, 32, 4, 5632, 32000, 2048) COMMON "}",
     64, 0, 10000, HD_ROPE_PLAIN},
    {"Llama 3.2 1B", "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", "
     "\"attention_bias\": false, \"mlp_bias\": false, \"bos_token_id\": 128000, "
     "\"eos_token_id\": [128001, 128008, 128009], \"head_dim\": 64, \"pretraining_tp\": 1, "
     "\"rms_norm_eps\": 1e-05, \"rope_scaling\": {\"factor\": 32.0, \"high_freq_factor\": 4.0, "
     "\"low_freq_factor\": 1.0, \"original_max_position_embeddings\": 8192, \"rope_type\": "
     "\"llama3\"}, \"rope_theta\": 500000.0, \"tie_word_embeddings\": true, " SILU
     SIZES(16, 2048, 32, 8, 8192, 128256, 131072) COMMON "}", 64, 0, 500000, HD_ROPE_LLAMA3},
    {"SmolLM2 135M", "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", "
     "\"attention_bias\": false, \"bos_token_id\": 1, \"eos_token_id\": 2, \"pad_token_id\": 2, "
     "\"is_llama_config\": true, \"mlp_bias\": false, \"pretraining_tp\": 1, \"rms_norm_eps\": "
     "1e-05, \"rope_interleaved\": false, \"rope_scaling\": null, \"rope_theta\": 100000, "
     "\"tie_word_embeddings\": true, \"transformers.js_config\": {\"kv_cache_dtype\": {\"q4f16\": "
     "\"float16\"}}, " SILU SIZES(30, 576, 9, 3, 1536, 49152, 8192) COMMON "}",
     64, 0, 100000, HD_ROPE_PLAIN},
    {"Mistral 7B v0.1", "{\"architectures\": [\"MistralForCausalLM\"], \"model_type\": \"mistral\", "
     "\"bos_token_id\": 1, \"eos_token_id\": 2, \"rms_norm_eps\": 1e-05, \"rope_theta\": 10000.0, "
     "\"sliding_window\": 4096, \"tie_word_embeddings\": false, " SILU
     SIZES(32, 4096, 32, 8, 14336, 32000, 32768) COMMON "}", 128, 4096, 10000, HD_ROPE_PLAIN},
    {"Mistral 7B v0.3", "{\"architectures\": [\"MistralForCausalLM\"], \"model_type\": \"mistral\", "
     "\"bos_token_id\": 1, \"eos_token_id\": 2, \"rms_norm_eps\": 1e-05, \"rope_theta\": "
     "1000000.0, \"sliding_window\": null, \"tie_word_embeddings\": false, " SILU
     SIZES(32, 4096, 32, 8, 14336, 32768, 32768) COMMON "}", 128, 0, 1000000, HD_ROPE_PLAIN},
    {"Mistral Nemo", "{\"architectures\": [\"MistralForCausalLM\"], \"model_type\": \"mistral\", "
     "\"bos_token_id\": 1, \"eos_token_id\": 2, \"head_dim\": 128, \"rms_norm_eps\": 1e-05, "
     "\"rope_theta\": 1000000.0, \"sliding_window\": null, \"tie_word_embeddings\": false, " SILU
     SIZES(40, 5120, 32, 8, 14336, 131072, 131072) COMMON "}", 128, 0, 1000000, HD_ROPE_PLAIN},
    {"Ministral 8B", "{\"architectures\": [\"MistralForCausalLM\"], \"model_type\": \"mistral\", "
     "\"bos_token_id\": 1, \"eos_token_id\": 2, \"head_dim\": 128, \"rms_norm_eps\": 1e-05, "
     "\"rope_theta\": 100000000.0, \"sliding_window\": 32768, \"tie_word_embeddings\": false, " SILU
     SIZES(36, 4096, 32, 8, 12288, 131072, 32768) COMMON "}", 128, 32768, 100000000, HD_ROPE_PLAIN},
    {"Ministral 3 3B", "{\"architectures\": [\"Mistral3ForConditionalGeneration\"], \"dtype\": "
     "\"bfloat16\", \"image_token_index\": 10, \"model_type\": \"mistral3\", "
     "\"multimodal_projector_bias\": false, \"projector_hidden_act\": \"gelu\", "
     "\"spatial_merge_size\": 2, \"text_config\": {\"head_dim\": 128, \"model_type\": "
     "\"ministral3\", \"rms_norm_eps\": 1e-05, \"rope_parameters\": {\"beta_fast\": 32.0, "
     "\"beta_slow\": 1.0, \"factor\": 16.0, \"llama_4_scaling_beta\": 0.1, \"mscale\": 1.0, "
     "\"mscale_all_dim\": 1.0, \"original_max_position_embeddings\": 16384, \"rope_theta\": "
     "1000000.0, \"rope_type\": \"yarn\", \"type\": \"yarn\"}, \"sliding_window\": null, "
     "\"tie_word_embeddings\": true, " SILU SIZES(26, 3072, 32, 8, 9216, 131072, 262144) COMMON
     "}, \"transformers_version\": \"5.0.0\", \"vision_config\": {\"model_type\": \"pixtral\"}, "
     "\"vision_feature_layer\": -1}", 128, 0, 1000000, HD_ROPE_YARN},
    {"Mistral Small 3.1", "{\"architectures\": [\"Mistral3ForConditionalGeneration\"], "
     "\"image_token_index\": 10, \"model_type\": \"mistral3\", \"multimodal_projector_bias\": "
     "false, \"projector_hidden_act\": \"gelu\", \"spatial_merge_size\": 2, \"text_config\": "
     "{\"head_dim\": 128, \"model_type\": \"mistral\", \"rms_norm_eps\": 1e-05, \"rope_theta\": "
     "1000000000.0, \"sliding_window\": null, " SILU
     SIZES(40, 5120, 32, 8, 32768, 131072, 131072) COMMON "}, \"torch_dtype\": \"bfloat16\", "
     "\"vision_config\": {\"head_dim\": 64}, \"vision_feature_layer\": -1}",
     128, 0, 1000000000, HD_ROPE_PLAIN},
    {"Qwen2.5 0.5B", "{\"architectures\": [\"Qwen2ForCausalLM\"], \"model_type\": \"qwen2\", "
     "\"bos_token_id\": 151643, \"eos_token_id\": 151645, \"max_window_layers\": 21, "
     "\"rms_norm_eps\": 1e-06, \"rope_theta\": 1000000.0, \"sliding_window\": 32768, "
     "\"tie_word_embeddings\": true, \"use_sliding_window\": false, " SILU
     SIZES(24, 896, 14, 2, 4864, 151936, 32768) COMMON "}", 64, 0, 1000000, HD_ROPE_PLAIN},
    {"Qwen2.5 7B with YaRN", "{\"architectures\": [\"Qwen2ForCausalLM\"], \"model_type\": "
     "\"qwen2\", \"bos_token_id\": 151643, \"eos_token_id\": 151645, \"max_window_layers\": 28, "
     "\"rms_norm_eps\": 1e-06, \"rope_theta\": 1000000.0, \"sliding_window\": 131072, "
     "\"rope_scaling\": {\"factor\": 4.0, \"original_max_position_embeddings\": 32768, \"type\": "
     "\"yarn\"}, \"tie_word_embeddings\": false, \"use_sliding_window\": false, " SILU
     SIZES(28, 3584, 28, 4, 18944, 152064, 32768) COMMON "}", 128, 0, 1000000, HD_ROPE_YARN},
    {"Qwen2.5-VL 3B", "{\"architectures\": [\"Qwen2_5_VLForConditionalGeneration\"], "
     "\"bos_token_id\": 151643, \"eos_token_id\": 151645, \"vision_start_token_id\": 151652, "
     "\"vision_end_token_id\": 151653, \"vision_token_id\": 151654, \"image_token_id\": 151655, "
     "\"video_token_id\": 151656, \"max_window_layers\": 70, \"model_type\": \"qwen2_5_vl\", "
     "\"rms_norm_eps\": 1e-06, \"rope_theta\": 1000000.0, \"sliding_window\": 32768, "
     "\"tie_word_embeddings\": true, \"use_sliding_window\": false, \"vision_config\": {\"depth\": "
     "32}, \"rope_scaling\": {\"type\": \"mrope\", \"mrope_section\": [16, 24, 24]}, " SILU
     SIZES(36, 2048, 16, 2, 11008, 151936, 128000) COMMON "}", 128, 0, 1000000, HD_ROPE_PLAIN},
    {"Qwen3 0.6B", "{\"architectures\": [\"Qwen3ForCausalLM\"], \"model_type\": \"qwen3\", "
     "\"attention_bias\": false, \"bos_token_id\": 151643, \"eos_token_id\": 151645, \"head_dim\": "
     "128, \"max_window_layers\": 28, \"rms_norm_eps\": 1e-06, \"rope_scaling\": null, "
     "\"rope_theta\": 1000000, \"sliding_window\": null, \"tie_word_embeddings\": true, "
     "\"use_sliding_window\": false, " SILU SIZES(28, 1024, 16, 8, 3072, 151936, 40960) COMMON "}",
     128, 0, 1000000, HD_ROPE_PLAIN},
    {"Qwen3-VL 2B", "{\"architectures\": [\"Qwen3VLForConditionalGeneration\"], \"image_token_id\": "
     "151655, \"model_type\": \"qwen3_vl\", \"text_config\": {\"attention_bias\": false, "
     "\"bos_token_id\": 151643, \"dtype\": \"bfloat16\", \"eos_token_id\": 151645, \"head_dim\": "
     "128, \"model_type\": \"qwen3_vl_text\", \"rms_norm_eps\": 1e-06, \"rope_scaling\": "
     "{\"mrope_interleaved\": true, \"mrope_section\": [24, 20, 20], \"rope_type\": \"default\"}, "
     "\"rope_theta\": 5000000, \"tie_word_embeddings\": true, " SILU
     SIZES(28, 2048, 16, 8, 6144, 151936, 262144) COMMON "}, \"tie_word_embeddings\": true, "
     "\"video_token_id\": 151656, \"vision_config\": {\"depth\": 24}, \"vision_end_token_id\": "
     "151653, \"vision_start_token_id\": 151652}", 128, 0, 5000000, HD_ROPE_PLAIN},
    {"Phi-3-mini 4k", "{\"_name_or_path\": \"Phi-3-mini-4k-instruct\", \"architectures\": "
     "[\"Phi3ForCausalLM\"], \"auto_map\": {\"AutoConfig\": \"configuration_phi3.Phi3Config\"}, "
     "\"bos_token_id\": 1, \"embd_pdrop\": 0.0, \"eos_token_id\": 32000, \"model_type\": \"phi3\", "
     "\"original_max_position_embeddings\": 4096, \"pad_token_id\": 32000, \"resid_pdrop\": 0.0, "
     "\"rms_norm_eps\": 1e-05, \"rope_scaling\": null, \"rope_theta\": 10000.0, "
     "\"sliding_window\": 2047, \"tie_word_embeddings\": false, \"attention_bias\": false, " SILU
     SIZES(32, 3072, 32, 32, 8192, 32064, 4096) COMMON "}", 96, 2047, 10000, HD_ROPE_PLAIN},
    {"Phi-4-mini", "{\"architectures\": [\"Phi3ForCausalLM\"], \"attention_bias\": false, "
     "\"auto_map\": {\"AutoConfig\": \"configuration_phi3.Phi3Config\"}, \"bos_token_id\": 199999, "
     "\"embd_pdrop\": 0.0, \"eos_token_id\": 199999, \"full_attn_mod\": 1, \"interpolate_factor\": "
     "1, \"lm_head_bias\": false, \"mlp_bias\": false, \"model_type\": \"phi3\", "
     "\"original_max_position_embeddings\": 4096, \"pad_token_id\": 199999, "
     "\"partial_rotary_factor\": 0.75, \"resid_pdrop\": 0.0, \"rms_norm_eps\": 1e-05, "
     "\"rope_scaling\": {\"long_factor\": [1, 1.118320672, 32.7], \"short_factor\": [1.0, 1.0, "
     "1.0], \"type\": \"longrope\"}, \"rope_theta\": 10000.0, \"sliding_window\": 262144, "
     "\"tie_word_embeddings\": true, " SILU SIZES(32, 3072, 24, 8, 8192, 200064, 131072) COMMON "}",
     128, 262144, 10000, HD_ROPE_LONGROPE},
    {"Gemma 2 2B", "{\"architectures\": [\"Gemma2ForCausalLM\"], \"attention_bias\": false, "
     "\"attn_logit_softcapping\": 50.0, \"bos_token_id\": 2, \"cache_implementation\": \"hybrid\", "
     "\"eos_token_id\": [1, 107], \"final_logit_softcapping\": 30.0, \"head_dim\": 256, "
     "\"hidden_act\": \"gelu_pytorch_tanh\", \"hidden_activation\": \"gelu_pytorch_tanh\", "
     "\"model_type\": \"gemma2\", \"pad_token_id\": 0, \"query_pre_attn_scalar\": 256, "
     "\"rms_norm_eps\": 1e-06, \"rope_theta\": 10000.0, \"sliding_window\": 4096, "
     SIZES(26, 2304, 8, 4, 9216, 256000, 8192) COMMON "}", 256, 4096, 10000, HD_ROPE_PLAIN},
    {"Gemma 3 1B", "{\"architectures\": [\"Gemma3ForCausalLM\"], \"attention_bias\": false, "
     "\"attn_logit_softcapping\": null, \"bos_token_id\": 2, \"cache_implementation\": \"hybrid\", "
     "\"eos_token_id\": [1, 106], \"final_logit_softcapping\": null, \"head_dim\": 256, "
     "\"hidden_activation\": \"gelu_pytorch_tanh\", \"model_type\": \"gemma3_text\", "
     "\"pad_token_id\": 0, \"query_pre_attn_scalar\": 256, \"rms_norm_eps\": 1e-06, "
     "\"rope_local_base_freq\": 10000, \"rope_scaling\": null, \"rope_theta\": 1000000, "
     "\"sliding_window\": 512, \"sliding_window_pattern\": 6, "
     SIZES(26, 1152, 4, 1, 6912, 262144, 32768) COMMON "}", 256, 512, 1000000, HD_ROPE_PLAIN},
    {"Gemma 3 4B", "{\"architectures\": [\"Gemma3ForConditionalGeneration\"], "
     "\"boi_token_index\": 255999, \"eoi_token_index\": 256000, \"eos_token_id\": [1, 106], "
     "\"image_token_index\": 262144, \"initializer_range\": 0.02, \"mm_tokens_per_image\": 256, "
     "\"model_type\": \"gemma3\", \"text_config\": {\"hidden_size\": 2560, \"intermediate_size\": "
     "10240, \"model_type\": \"gemma3_text\", \"num_hidden_layers\": 34, \"rope_scaling\": "
     "{\"factor\": 8.0, \"rope_type\": \"linear\"}, \"sliding_window\": 1024}, \"torch_dtype\": "
     "\"bfloat16\", \"transformers_version\": \"4.50.0.dev0\", \"vision_config\": {\"hidden_size\": "
     "1152}}", 256, 1024, 1000000, HD_ROPE_LINEAR},
    {"SmolLM3 3B", "{\"architectures\": [\"SmolLM3ForCausalLM\"], \"attention_bias\": false, "
     "\"bos_token_id\": 128000, \"eos_token_id\": 128012, \"layer_types\": [\"full_attention\", "
     "\"full_attention\", \"full_attention\", \"full_attention\"], \"max_window_layers\": 28, "
     "\"mlp_bias\": false, \"model_type\": \"smollm3\", \"no_rope_layer_interval\": 4, "
     "\"no_rope_layers\": [1, 1, 1, 0], \"pad_token_id\": 128004, \"pretraining_tp\": 2, "
     "\"rms_norm_eps\": 1e-06, \"rope_scaling\": null, \"rope_theta\": 5000000.0, "
     "\"sliding_window\": null, \"use_sliding_window\": false, \"tie_word_embeddings\": true, " SILU
     SIZES(4, 2048, 16, 4, 11008, 128256, 65536) COMMON "}", 128, 0, 5000000, HD_ROPE_PLAIN},
    {"Granite 3.3 2B", "{\"architectures\": [\"GraniteForCausalLM\"], \"attention_bias\": false, "
     "\"attention_multiplier\": 0.015625, \"bos_token_id\": 0, \"embedding_multiplier\": 12.0, "
     "\"eos_token_id\": 0, \"logits_scaling\": 8.0, \"mlp_bias\": false, \"model_type\": "
     "\"granite\", \"pad_token_id\": 0, \"residual_multiplier\": 0.22, \"rms_norm_eps\": 1e-05, "
     "\"rope_scaling\": null, \"rope_theta\": 10000000.0, \"tie_word_embeddings\": true, " SILU
     SIZES(40, 2048, 32, 8, 8192, 49159, 131072) COMMON "}", 64, 0, 10000000, HD_ROPE_PLAIN},
    {"GLM-4 9B 0414", "{\"architectures\": [\"Glm4ForCausalLM\"], \"attention_bias\": true, "
     "\"eos_token_id\": [151329, 151336, 151338], \"head_dim\": 128, \"partial_rotary_factor\": "
     "0.5, \"model_type\": \"glm4\", \"pad_token_id\": 151329, \"rms_norm_eps\": 1e-05, "
     "\"rope_theta\": 10000.0, \"tie_word_embeddings\": false, " SILU
     SIZES(40, 4096, 32, 2, 13696, 151552, 32768) COMMON "}", 128, 0, 10000, HD_ROPE_PLAIN},
    {"OLMo 2 1B", "{\"architectures\": [\"Olmo2ForCausalLM\"], \"attention_bias\": false, "
     "\"eos_token_id\": 100257, \"model_type\": \"olmo2\", \"pad_token_id\": 100277, "
     "\"rms_norm_eps\": 1e-06, \"rope_scaling\": null, \"rope_theta\": 500000, "
     "\"tie_word_embeddings\": false, " SILU SIZES(16, 2048, 16, 16, 8192, 100352, 4096) COMMON "}",
     128, 0, 500000, HD_ROPE_PLAIN},
    {"StableLM 2 1.6B", "{\"architectures\": [\"StableLmForCausalLM\"], \"bos_token_id\": 100257, "
     "\"eos_token_id\": 100257, \"layer_norm_eps\": 1e-05, \"model_type\": \"stablelm\", "
     "\"num_key_value_heads\": 32, \"partial_rotary_factor\": 0.25, \"rope_theta\": 10000, "
     "\"tie_word_embeddings\": false, \"use_qkv_bias\": true, " SILU
     "\"num_hidden_layers\": 24, \"hidden_size\": 2048, \"num_attention_heads\": 32, "
     "\"intermediate_size\": 5632, \"vocab_size\": 100352, \"max_position_embeddings\": 4096, "
     COMMON "}", 64, 0, 10000, HD_ROPE_PLAIN},
    {"Phi-2", "{\"_name_or_path\": \"microsoft/phi-2\", \"architectures\": [\"PhiForCausalLM\"], "
     "\"attention_dropout\": 0.0, \"bos_token_id\": 50256, \"embd_pdrop\": 0.0, "
     "\"eos_token_id\": 50256, \"hidden_act\": \"gelu_new\", \"hidden_size\": 2560, "
     "\"initializer_range\": 0.02, \"intermediate_size\": 10240, \"layer_norm_eps\": 1e-05, "
     "\"max_position_embeddings\": 2048, \"model_type\": \"phi\", \"num_attention_heads\": 32, "
     "\"num_hidden_layers\": 32, \"num_key_value_heads\": 32, \"partial_rotary_factor\": 0.4, "
     "\"qk_layernorm\": false, \"resid_pdrop\": 0.1, \"rope_scaling\": null, \"rope_theta\": "
     "10000.0, \"tie_word_embeddings\": false, \"torch_dtype\": \"float16\", "
     "\"transformers_version\": \"4.37.0\", \"use_cache\": true, \"vocab_size\": 51200}",
     80, 0, 10000, HD_ROPE_PLAIN},
    {"Falcon 7B", "{\"alibi\": false, \"apply_residual_connection_post_layernorm\": false, "
     "\"architectures\": [\"FalconForCausalLM\"], \"attention_dropout\": 0.0, \"bias\": false, "
     "\"bos_token_id\": 11, \"eos_token_id\": 11, \"hidden_dropout\": 0.0, \"hidden_size\": 4544, "
     "\"initializer_range\": 0.02, \"layer_norm_epsilon\": 1e-05, \"model_type\": \"falcon\", "
     "\"multi_query\": true, \"new_decoder_architecture\": false, \"num_attention_heads\": 71, "
     "\"num_hidden_layers\": 32, \"parallel_attn\": true, \"torch_dtype\": \"bfloat16\", "
     "\"transformers_version\": \"4.27.4\", \"use_cache\": true, \"vocab_size\": 65024}",
     64, 0, 10000, HD_ROPE_PLAIN},
    {"StarCoder2 3B", "{\"architectures\": [\"Starcoder2ForCausalLM\"], \"attention_dropout\": 0.1, "
     "\"attention_softmax_in_fp32\": true, \"bos_token_id\": 0, \"embedding_dropout\": 0.1, "
     "\"eos_token_id\": 0, \"hidden_act\": \"gelu_pytorch_tanh\", \"hidden_size\": 3072, "
     "\"initializer_range\": 0.018042, \"intermediate_size\": 12288, \"layer_norm_epsilon\": 1e-05, "
     "\"max_position_embeddings\": 16384, \"mlp_type\": \"default\", \"model_type\": "
     "\"starcoder2\", \"norm_epsilon\": 1e-05, \"norm_type\": \"layer_norm\", "
     "\"num_attention_heads\": 24, \"num_hidden_layers\": 30, \"num_key_value_heads\": 2, "
     "\"rope_theta\": 999999.4420358813, \"residual_dropout\": 0.1, "
     "\"scale_attention_softmax_in_fp32\": true, \"scale_attn_weights\": true, "
     "\"sliding_window\": 4096, \"torch_dtype\": \"bfloat16\", \"use_bias\": true, "
     "\"use_cache\": true, \"vocab_size\": 49152}",
     128, 4096, 999999.4420358813, HD_ROPE_PLAIN},
    {"Pythia 160M", "{\"architectures\": [\"GPTNeoXForCausalLM\"], \"bos_token_id\": 0, "
     "\"eos_token_id\": 0, \"hidden_act\": \"gelu\", \"hidden_size\": 768, "
     "\"initializer_range\": 0.02, \"intermediate_size\": 3072, \"layer_norm_eps\": 1e-05, "
     "\"max_position_embeddings\": 2048, \"model_type\": \"gpt_neox\", \"num_attention_heads\": "
     "12, \"num_hidden_layers\": 12, \"rotary_emb_base\": 10000, \"rotary_pct\": 0.25, "
     "\"tie_word_embeddings\": false, \"torch_dtype\": \"float16\", \"transformers_version\": "
     "\"4.24.0\", \"use_cache\": true, \"use_parallel_residual\": true, \"vocab_size\": 50304}",
     64, 0, 10000, HD_ROPE_PLAIN},
    {"Nemotron Mini 4B", "{\"architectures\": [\"NemotronForCausalLM\"], \"attention_bias\": false, "
     "\"attention_dropout\": 0.0, \"bos_token_id\": 2, \"eos_token_id\": 3, \"head_dim\": 128, "
     "\"hidden_act\": \"relu2\", \"hidden_size\": 3072, \"initializer_range\": 0.0134, "
     "\"intermediate_size\": 9216, \"max_position_embeddings\": 4096, \"mlp_bias\": false, "
     "\"model_type\": \"nemotron\", \"norm_eps\": 1e-05, \"num_attention_heads\": 24, "
     "\"num_hidden_layers\": 32, \"num_key_value_heads\": 8, \"partial_rotary_factor\": 0.5, "
     "\"rope_scaling\": null, \"rope_theta\": 10000, \"tie_word_embeddings\": false, "
     "\"torch_dtype\": \"bfloat16\", \"transformers_version\": \"4.44.0\", \"use_cache\": true, "
     "\"vocab_size\": 256000}",
     128, 0, 10000, HD_ROPE_PLAIN},
    {"LLaVA 1.5 7B", "{\"architectures\": [\"LlavaForConditionalGeneration\"], \"ignore_index\": "
     "-100, \"image_token_index\": 32000, \"model_type\": \"llava\", \"pad_token_id\": 32001, "
     "\"projector_hidden_act\": \"gelu\", \"text_config\": {\"_name_or_path\": "
     "\"lmsys/vicuna-7b-v1.5\", \"architectures\": [\"LlamaForCausalLM\"], "
     "\"max_position_embeddings\": 4096, \"model_type\": \"llama\", \"rms_norm_eps\": 1e-05, "
     "\"torch_dtype\": \"float16\", \"vocab_size\": 32064}, \"tie_word_embeddings\": false, "
     "\"torch_dtype\": \"float16\", \"transformers_version\": \"4.36.0.dev0\", "
     "\"vision_config\": {\"model_type\": \"clip_vision_model\"}, \"vision_feature_layer\": -2, "
     "\"vision_feature_select_strategy\": \"default\", \"vocab_size\": 32064}",
     128, 0, 10000, HD_ROPE_PLAIN},
};
/* clang-format on */

Test(published, configurations)
{
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const struct published *p = &all[i];
        const char *path = in_folder("config.json");
        struct hd_warnings w = {0};
        struct hd_error err = {0};
        struct hd_hyper h;

        file_write_text(path, p->config);
        cr_assert_eq(hd_hf_config_read(&h, path, &w, &err), 0, "%s: %s", p->name, err.text);
        cr_assert_eq(h.head_dim ? h.head_dim : h.dim / h.n_heads, p->head_dim, "%s", p->name);
        cr_assert_eq(h.window, p->window, "%s: %u", p->name, (unsigned)h.window);
        cr_assert_eq(h.rope.theta, p->theta, "%s", p->name);
        cr_assert_eq(h.rope.scaling, p->scaling, "%s", p->name);
    }
}

/* params.json of the same publishers: what it leaves out follows. */
Test(published, parameters)
{
    static const struct {
        const char *name, *params;
        uint64_t ffn, context;
        double theta, factor;
    } cases[] = {
        {"Llama 2 7B",
         "{\"dim\": 4096, \"multiple_of\": 256, \"n_heads\": 32, \"n_layers\": 32, \"norm_eps\": "
         "1e-05, \"vocab_size\": -1}",
         11008, 4096, 10000, 0},
        {"Llama 3 8B",
         "{\"dim\": 4096, \"n_layers\": 32, \"n_heads\": 32, \"n_kv_heads\": 8, \"vocab_size\": "
         "128256, \"multiple_of\": 1024, \"ffn_dim_multiplier\": 1.3, \"norm_eps\": 1e-05, "
         "\"rope_theta\": 500000.0}",
         14336, 8192, 500000, 0},
        {"Llama 3.1 8B",
         "{\"dim\": 4096, \"ffn_dim_multiplier\": 1.3, \"multiple_of\": 1024, \"n_heads\": 32, "
         "\"n_kv_heads\": 8, \"n_layers\": 32, \"norm_eps\": 1e-05, \"rope_theta\": 500000.0, "
         "\"use_scaled_rope\": true, \"vocab_size\": 128256}",
         14336, 131072, 500000, 8},
        {"Llama 3.2 1B",
         "{\"dim\": 2048, \"ffn_dim_multiplier\": 1.5, \"multiple_of\": 256, \"n_heads\": 32, "
         "\"n_kv_heads\": 8, \"n_layers\": 16, \"norm_eps\": 1e-05, \"rope_theta\": 500000.0, "
         "\"use_scaled_rope\": true, \"vocab_size\": 128256}",
         8192, 131072, 500000, 32},
        {"Mistral 7B v0.3",
         "{\"dim\": 4096, \"n_layers\": 32, \"head_dim\": 128, \"hidden_dim\": 14336, \"n_heads\": "
         "32, \"n_kv_heads\": 8, \"norm_eps\": 1e-05, \"vocab_size\": 32768, \"rope_theta\": "
         "1000000.0}",
         14336, 32768, 1000000, 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = in_folder("params.json");
        struct hd_warnings w = {0};
        struct hd_error err = {0};
        struct hd_hyper h;

        file_write_text(path, cases[i].params);
        cr_assert_eq(hd_meta_params_read(&h, path, &w, &err), 0, "%s: %s", cases[i].name, err.text);
        cr_assert_eq(h.ffn_dim, cases[i].ffn, "%s: %u", cases[i].name, (unsigned)h.ffn_dim);
        cr_assert_eq(h.context, cases[i].context, "%s", cases[i].name);
        cr_assert_eq(h.rope.theta, cases[i].theta, "%s", cases[i].name);
        cr_assert_eq(h.rope.factor, cases[i].factor, "%s", cases[i].name);
    }
}

Test(published, parameters_that_are_refused)
{
    static const struct {
        const char *params, *word;
    } cases[] = {
        {"{\"dim\": 4096, \"moe\": {\"num_experts\": 8}}", "moe"},
        {"{\"dim\": 4096, \"quantization\": {\"qformat_weight\": \"fp8_e4m3\"}}", "quantization"},
        {"{\"dim\": \"wide\"}", "dim"},
        {"{\"dim\": 4096, \"use_biases\": true}", "use_biases"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = in_folder("params.json");
        struct hd_warnings w = {0};
        struct hd_error err = {0};
        struct hd_hyper h;

        file_write_text(path, cases[i].params);
        cr_assert_lt(hd_meta_params_read(&h, path, &w, &err), 0, "%s", cases[i].params);
        cr_assert_not_null(strstr(err.text, cases[i].word), "%s", err.text);
    }
}
