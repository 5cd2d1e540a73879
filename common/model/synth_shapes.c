/* The shapes that synthetic models can have: those of models that people run, and small ones. */
#include "common/model/synth.h"

#include "common/model/synth_impl.h"

#include <string.h>

#define PLAIN(base)                                                                                \
    {                                                                                              \
        .theta = (base)                                                                            \
    }
#define LLAMA3(by, original)                                                                       \
    {                                                                                              \
        .theta = 500000, .scaling = HD_ROPE_LLAMA3, .factor = (by), .low_freq_factor = 1,          \
        .high_freq_factor = 4, .original_context = (original)                                      \
    }

/* clang-format off */
static const struct hd_synth_shape shapes[] = {
    {"tiny",         "llama",  4,  256,  8, 4, 32,  704,    512,   2048, false, LLAMA3(32, 64)},
    {"tiny-mha",     "llama",  3,  192,  6, 6, 32,  512,    320,   2048, true,  PLAIN(10000)},
    {"tiny-gqa3",    "llama",  3,  288,  9, 3, 32,  768,    512,   2048, false, PLAIN(10000)},
    {"smollm2-135m", "llama", 30,  576,  9, 3, 64, 1536,  49152,   8192, false, PLAIN(100000)},
    {"smollm2-360m", "llama", 32,  960, 15, 5, 64, 2560,  49152,   8192, false, PLAIN(100000)},
    {"llama-3.2-1b", "llama", 16, 2048, 32, 8, 64,  8192, 128256, 131072, false, LLAMA3(32, 8192)},
    {"llama-3.2-3b", "llama", 28, 3072, 24, 8, 128, 8192, 128256, 131072, false, LLAMA3(32, 8192)},
    {"llama-3.1-8b", "llama", 32, 4096, 32, 8, 128, 14336, 128256, 131072, true, LLAMA3(8, 8192)},
    {"qwen3-8b",     "qwen3", 36, 4096, 32, 8, 128, 12288, 151936, 40960, true, PLAIN(1000000)},
    {"qwen3-30b-a3b", "qwen3moe", 48, 2048, 32, 4, 128, 768, 151936, 40960, true, PLAIN(1000000),
     .n_experts = 128, .n_used = 8},
    /* Whose rows are whole blocks of all types. */
    {"tiny-256",     "llama",  2,  256,  4, 4, 64, 1536,    512,   2048, false, PLAIN(10000)},
    /* A tiny one of each family: windows shorter than most prompts, one KV head, biases. */
    {"tiny-biases",  "llama",   3, 192, 6, 1, 32, 512, 320, 2048, true,  PLAIN(10000),
     .biases = true},
    {"tiny-qwen2",   "qwen2",   3, 192, 6, 2, 32, 512, 320, 2048, false, PLAIN(1000000)},
    {"tiny-qwen3",   "qwen3",   3, 192, 4, 2, 64, 512, 320, 2048, false, PLAIN(1000000)},
    {"tiny-phi3",    "phi3",    3, 192, 6, 3, 32, 512, 320, 2048, true,  PLAIN(10000),
     .rope_dim = 16, .keys = {{"attention.sliding_window", 40}}},
    {"tiny-gemma",   "gemma",   3, 192, 6, 1, 32, 512, 320, 2048, false, PLAIN(10000)},
    {"tiny-gemma2",  "gemma2",  4, 192, 6, 2, 32, 512, 320, 2048, false, PLAIN(10000),
     .keys = {{"attention.sliding_window", 24}, {"attn_logit_softcapping", 5, true},
              {"final_logit_softcapping", 3, true}}},
    {"tiny-gemma3",  "gemma3",  7, 192, 6, 3, 32, 512, 320, 2048, false, PLAIN(1000000),
     .keys = {{"attention.sliding_window", 30}}},
    {"tiny-smollm3", "smollm3", 5, 192, 6, 3, 32, 512, 320, 2048, false, PLAIN(2000000)},
    {"tiny-granite", "granite", 3, 192, 6, 2, 32, 512, 320, 2048, false, PLAIN(10000),
     .keys = {{"embedding_scale", 2, true}, {"residual_scale", 0.5, true},
              {"attention.scale", 0.2, true}, {"logit_scale", 1.5, true}}},
    {"tiny-glm4",    "glm4",    3, 192, 6, 2, 32, 512, 320, 2048, true,  PLAIN(10000),
     .rope_dim = 16, .biases = true},
    {"tiny-head24",  "llama",   3, 192, 8, 4, 24, 512, 320, 2048, false, PLAIN(10000)},
    {"tiny-olmo2",   "olmo2",   3, 192, 6, 2, 32, 512, 320, 2048, true,  PLAIN(500000)},
    {"tiny-cohere2", "cohere2", 5, 192, 6, 2, 32, 512, 320, 2048, false, PLAIN(50000),
     .keys = {{"attention.sliding_window", 24}, {"logit_scale", 0.5, true}}},
    {"tiny-mistral3", "mistral3", 3, 192, 6, 2, 32, 512, 320, 2048, true, PLAIN(10000),
     .keys = {{"attention.temperature_scale", 0.2, true}, {"attention.temperature_length", 30}}},
    {"tiny-stablelm", "stablelm", 3, 192, 6, 6, 32, 512, 320, 2048, true, PLAIN(10000),
     .rope_dim = 8, .biases = true},
    {"tiny-stablelm-12b", "stablelm", 3, 192, 6, 2, 32, 512, 320, 2048, true, PLAIN(10000),
     .rope_dim = 8, .qk_norms = true},
    {"tiny-command-r-plus", "command-r", 3, 192, 6, 2, 32, 512, 320, 2048, false, PLAIN(75000),
     .qk_norms = true, .keys = {{"logit_scale", 0.5, true}}},
    {"tiny-exaone4", "exaone4", 3, 192, 6, 1, 32, 512, 320, 2048, false, PLAIN(1000000)},
    {"tiny-ernie4_5", "ernie4_5", 3, 192, 6, 2, 32, 512, 320, 2048, false, PLAIN(500000)},
    {"tiny-chatglm", "chatglm", 3, 192, 6, 2, 32, 512, 320, 2048, true,  PLAIN(10000),
     .rope_dim = 16, .biases = true},
    {"tiny-long",    "phi3",    3, 192, 6, 2, 32, 512, 320, 2048, true,
     {.theta = 10000, .scaling = HD_ROPE_LONGROPE, .original_context = 90},
     .keys = {{"rope.scaling.original_context_length", 90},
              {"rope.scaling.attn_factor", 1.2, true}}},
    /* FFNs without a gate. */
    {"tiny-phi2",    "phi2",    3, 192, 6, 6, 32, 512, 320, 2048, true,  PLAIN(10000),
     .rope_dim = 12},
    {"tiny-starcoder2", "starcoder2", 3, 192, 6, 2, 32, 512, 320, 2048, false, PLAIN(100000),
     .biases = true},
    {"tiny-nemotron", "nemotron", 3, 192, 6, 3, 32, 512, 320, 2048, true, PLAIN(10000),
     .rope_dim = 16},
    {"tiny-falcon",  "falcon",  3, 192, 6, 1, 32, 512, 320, 2048, false, PLAIN(10000)},
    {"tiny-gptneox", "gptneox", 3, 192, 6, 6, 32, 512, 320, 2048, true,  PLAIN(10000),
     .rope_dim = 8, .biases = true, .keys = {{"use_parallel_residual", 1, .truth = true}}},
    {"tiny-mixtral",  "llama",    3, 192, 6, 1, 32, 256, 320, 2048, true, PLAIN(1000000),
     .n_experts = 6, .n_used = 2},
    {"tiny-qwen3moe", "qwen3moe", 3, 192, 4, 2, 64, 96,  320, 2048, true, PLAIN(1000000),
     .n_experts = 16, .n_used = 4},
    {"tiny-granitemoe", "granitemoe", 3, 192, 6, 2, 32, 96, 320, 2048, false, PLAIN(10000),
     .n_experts = 8, .n_used = 3,
     .keys = {{"embedding_scale", 2, true}, {"residual_scale", 0.5, true},
              {"attention.scale", 0.2, true}, {"logit_scale", 1.5, true}}},
    {"tiny-olmoe",    "olmoe",    3, 192, 6, 3, 32, 96,  320, 2048, true, PLAIN(10000),
     .n_experts = 8, .n_used = 4},
    {"tiny-gpt-oss",  "gpt-oss",  4, 192, 6, 2, 32, 96,  320, 2048, true, PLAIN(150000),
     .biases = true, .n_experts = 8, .n_used = 3, .keys = {{"attention.sliding_window", 20}}},
};
/* clang-format on */
#define N_SHAPES (sizeof shapes / sizeof *shapes)

const char *const *hd_synth_shapes(void)
{
    static const char *names[N_SHAPES + 1];

    for (size_t i = 0; i < N_SHAPES; i++)
        names[i] = shapes[i].name;
    return names;
}

const struct hd_synth_shape *hd_synth_shape_of(const char *name)
{
    for (size_t i = 0; i < N_SHAPES; i++)
        if (strcmp(shapes[i].name, name) == 0)
            return &shapes[i];
    return NULL;
}
