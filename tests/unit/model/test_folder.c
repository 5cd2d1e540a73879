/* Hugging Face folders: config.json in both forms, safetensors in one file and in several. */
#include "fixture.h"

#include "common/model/model_impl.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LLAMA "{\"model_type\": \"llama\", "
#define SMALL_SIZES                                                                                \
    "\"num_hidden_layers\": 2, \"hidden_size\": 64, \"intermediate_size\": 96, "                   \
    "\"vocab_size\": 48, \"max_position_embeddings\": 128, \"tie_word_embeddings\": true, "

TestSuite(folder, .init = folder_init, .fini = folder_fini, .timeout = 120);

Test(folder, values_of_one_file)
{
    struct hd_model *m = open_ok(small_folder(&(struct twist){.own_output = true}));

    small_check(m, true);
    cr_assert_eq(m->rope_order, HD_ROPE_HALVES);
    cr_assert_eq(m->bos, 1);
    cr_assert_eq(m->eos, 7, "the first of the list");
    cr_assert_str_eq(m->name, "small-hf");
    cr_assert_str_eq(m->folder, in_folder("small-hf"));
    cr_assert_null(m->gguf);
    hd_model_close(m);
}

Test(folder, values_of_two_files)
{
    struct hd_model *m = open_ok(small_folder(&(struct twist){.sharded = true}));

    small_check(m, true);
    cr_assert(m->shape.tied_output);
    hd_model_close(m);
}

/* A folder of two files, and one file beside them that was a model of a tied output. */
static const char *one_and_two(bool own_output)
{
    size_t len;

    small_folder(&(struct twist){0});
    uint8_t *bytes = file_read(in_folder("small-hf/model.safetensors"), &len);
    small_folder(&(struct twist){.sharded = true, .own_output = own_output});
    file_write(in_folder("small-hf/model.safetensors"), bytes, len);
    free(bytes);
    return in_folder("small-hf");
}

/* As in transformers. */
Test(folder, one_file_goes_before_several)
{
    hd_model_close(open_warned(one_and_two(false), "model.safetensors is used, not the files of"));
    open_fails(one_and_two(true), HD_E_FORMAT, "lm_head.weight is missing");
}

/* The format pads nothing: data may begin at any byte. */
Test(folder, values_at_odd_places)
{
    for (int sharded = 0; sharded < 2; sharded++) {
        struct hd_model *m =
            open_ok(small_folder(&(struct twist){.sharded = sharded, .odd_places = true}));

        cr_assert_eq((uintptr_t)m->embedding.data % 2, 1);
        small_check(m, true);
        hd_model_close(m);
    }
}

/* A head of the file's own is used whatever config.json says; whoever tied it is told if it differs
 * (in these models every tensor does). */
Test(folder, head_where_the_output_is_tied)
{
    const char *path = small_folder(&(struct twist){.own_output = true});
    char config[1024];

    snprintf(config, sizeof config, small_config, "true");
    file_write_text(in_folder("small-hf/config.json"), config);
    struct hd_model *m = open_warned(path, "lm_head.weight is there and differs");
    small_check(m, true);
    cr_assert_not(m->shape.tied_output);
    cr_assert_neq(m->output.data, m->embedding.data);
    hd_model_close(m);
    snprintf(config, sizeof config, small_config, "false");
    file_write_text(in_folder("small-hf/config.json"), config);
    hd_model_close(open_warned(path, NULL));
}

static void ids(const char *eos, int32_t want, const char *warning)
{
    char config[1024];

    snprintf(config, sizeof config,
             LLAMA SMALL_SIZES "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, "
                               "\"eos_token_id\": %s}",
             eos);
    struct hd_model *m = open_warned(small_folder(&(struct twist){.config = config}), warning);
    cr_assert_eq(m->eos, want, "%s", eos);
    hd_model_close(m);
}

Test(folder, ids_that_are_no_tokens)
{
    ids("47", 47, NULL);
    ids("[47]", 47, NULL);
    ids("null", -1, NULL);
    ids("-1", -1, NULL);
    ids("[]", -1, NULL);
    ids("48", -1, "eos_token_id is 48, which is none of the 48 tokens");
    ids("-2", -1, "eos_token_id is -2");
    ids("[4294967295, 7]", -1, "eos_token_id is 4294967295");
}

/* The same weights have the same digest however they are spread over files. */
Test(folder, digest_does_not_depend_on_shards)
{
    struct hd_model *one = open_ok(small_folder(&(struct twist){0}));
    uint64_t digest = one->digest;

    hd_model_close(one);
    struct hd_model *two = open_ok(small_folder(&(struct twist){.sharded = true}));
    cr_assert_eq(two->digest, digest);
    hd_model_close(two);
}

Test(folder, slashes_behind_its_name)
{
    char path[600];

    snprintf(path, sizeof path, "%s///", small_folder(&(struct twist){0}));
    struct hd_model *m = open_ok(path);
    cr_assert_str_eq(m->name, "small-hf");
    cr_assert_str_eq(m->folder, in_folder("small-hf"));
    hd_model_close(m);
}

Test(folder, what_may_be_there_besides)
{
    struct twist inv_freq = {.extra = "model.layers.0.self_attn.rotary_emb.inv_freq"};

    hd_model_close(open_ok(small_folder(&inv_freq)));
    open_fails(small_folder(&(struct twist){.extra = "model.layers.0.self_attn.q_proj.bias"}),
               HD_E_UNSUPPORTED, "q_proj.bias");
}

Test(folder, refuses_tensors_that_do_not_fit)
{
    open_fails(small_folder(&(struct twist){.skip = "model.layers.1.mlp.down_proj.weight"}),
               HD_E_FORMAT, "down_proj.weight is missing");
    open_fails(small_folder(&(struct twist){.misshaped = "model.embed_tokens.weight"}), HD_E_FORMAT,
               "49 x 64, not 48 x 64");
    open_fails(small_folder(&(struct twist){.half_norm = "model.norm.weight"}), HD_E_UNSUPPORTED,
               "model.norm.weight");
}

/* ---- Shards ---------------------------------------------------------------------------------*/

static void index_fails(const char *index, int code, const char *word)
{
    const char *path = small_folder(&(struct twist){.sharded = true});

    file_write_text(in_folder("small-hf/model.safetensors.index.json"), index);
    open_fails(path, code, word);
}

Test(folder, bad_indexes)
{
    index_fails("{}", HD_E_FORMAT, "weight_map");
    index_fails("[]", HD_E_FORMAT, "not a JSON object");
    index_fails("{\"weight_map\": {}}", HD_E_FORMAT, "weight_map");
    index_fails("{\"weight_map\": {\"a\": 3}}", HD_E_FORMAT, "not the name of a file");
    index_fails("{\"weight_map\": {\"a\": \"../x.safetensors\"}}", HD_E_FORMAT,
                "not the name of a file");
    index_fails("{\"weight_map\": {\"a\": \"gone.safetensors\"}}", HD_E_IO, "gone.safetensors");
    index_fails("{\"weight_map\": {\"a\": \"model-1.safetensors\"}}", HD_E_FORMAT,
                "tensor a is not in model-1.safetensors");
    index_fails("{\"weight_map\": {\"a\": \"model-1.safetensors\", \"a\": \"b\"}}", HD_E_FORMAT,
                "duplicate");
}

Test(folder, missing_files)
{
    small_folder(&(struct twist){0});
    unlink(in_folder("small-hf/config.json"));
    open_fails(in_folder("small-hf"), HD_E_UNSUPPORTED, "no config.json, but model.safetensors");
    unlink(in_folder("small-hf/model.safetensors"));
    open_fails(in_folder("small-hf"), HD_E_IO, "config.json");
    small_folder(&(struct twist){0});
    unlink(in_folder("small-hf/model.safetensors"));
    open_fails(in_folder("small-hf"), HD_E_IO, "neither model.safetensors nor");
    small_folder(&(struct twist){.sharded = true});
    unlink(in_folder("small-hf/model-2.safetensors"));
    open_fails(in_folder("small-hf"), HD_E_IO,
               "model-2.safetensors: listed in model.safetensors.index.json");
}

Test(folder, an_adapter_beside_the_model)
{
    small_folder(&(struct twist){0});
    file_write_text(in_folder("small-hf/adapter_config.json"), "{}");
    open_fails(in_folder("small-hf"), HD_E_UNSUPPORTED, "adapter_config.json: a LoRA adapter");
    unlink(in_folder("small-hf/adapter_config.json"));
    hd_model_close(open_ok(in_folder("small-hf")));
}

/* ---- Headers of safetensors -----------------------------------------------------------------*/

static void header_fails(const char *header, size_t data, const char *word)
{
    const char *path = small_folder(&(struct twist){0});
    uint64_t len = strlen(header);
    uint8_t *file = calloc(1, sizeof len + len + data);

    memcpy(file, &len, sizeof len);
    memcpy(file + sizeof len, header, len);
    file_write(in_folder("small-hf/model.safetensors"), file, sizeof len + len + data);
    free(file);
    open_fails(path, HD_E_FORMAT, word);
}

Test(folder, bad_headers)
{
    header_fails("{}", 0, "do not fill the file");
    header_fails("", 8, "not a safetensors file");
    header_fails("{\"a\": 1}", 0, "tensor a has no type");
    header_fails("{\"a\": {\"dtype\": \"F31\"}}", 0, "impossible shape");
    header_fails("{\"a\": {\"dtype\": \"F32\", \"shape\": [-1]}}", 0, "impossible shape");
    header_fails("{\"a\": {\"dtype\": \"F32\", \"shape\": [9223372036854775807, 16]}}", 0,
                 "impossible shape");
    header_fails("{\"a\": {\"dtype\": \"F32\", \"shape\": [2], \"data_offsets\": [8]}}", 8,
                 "no data_offsets");
    header_fails("{\"a\": {\"dtype\": \"F32\", \"shape\": [2], \"data_offsets\": [0, 9]}}", 8,
                 "another size");
    header_fails("{\"a\": {\"dtype\": \"F32\", \"shape\": [3], \"data_offsets\": [0, 12]}}", 8,
                 "its last 4 bytes are missing");
    header_fails("{\"a\": {\"dtype\": \"F32\", \"shape\": [2], \"data_offsets\": [8, 0]}}", 8,
                 "ends before it begins");
    header_fails("{\"a\": {\"dtype\": \"F32\", \"shape\": [1], \"data_offsets\": [0, 8]}}", 8,
                 "another size");
    header_fails("{\"a\": {\"dtype\": \"F32\", \"shape\": [1], \"data_offsets\": [0, 4]}}", 8,
                 "do not fill the file");
    header_fails("{\"a\": {\"dtype\": \"F32\", \"shape\": [1], \"data_offsets\": [0, 4]},"
                 " \"a\": {\"dtype\": \"F32\", \"shape\": [1], \"data_offsets\": [4, 8]}}",
                 8, "duplicate");
}

/* ---- config.json ----------------------------------------------------------------------------*/

static int read_config(const char *text, struct hd_hyper *c, struct hd_error *err)
{
    const char *path = in_folder("config.json");

    file_write_text(path, text);
    return hd_hf_config_read(c, path, NULL, err);
}

static void config_fails(const char *text, int code, const char *word)
{
    struct hd_hyper c;
    struct hd_error err = {0};

    cr_assert_eq(read_config(text, &c, &err), code, "%s: %s", text, err.text);
    cr_assert_not_null(strstr(err.text, word), "%s", err.text);
}

Test(folder, config_before_version_5)
{
    struct hd_hyper c;
    struct hd_error err = {0};

    cr_assert_eq(read_config(LLAMA
                             "\"rope_theta\": 500000.0, \"rope_scaling\": {\"type\": \"llama3\","
                             "\"factor\": 32.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4,"
                             "\"original_max_position_embeddings\": 8192}, \"eos_token_id\": 3}",
                             &c, &err),
                 0, "%s", err.text);
    cr_assert_eq(c.rope.scaling, HD_ROPE_LLAMA3);
    cr_assert_float_eq(c.rope.theta, 500000, 0);
    cr_assert_float_eq(c.rope.factor, 32, 0);
    cr_assert_float_eq(c.rope.high_freq_factor, 4, 0);
    cr_assert_float_eq(c.rope.original_context, 8192, 0);
    cr_assert_eq(c.eos, 3);
    cr_assert_eq(c.bos, -1);
    cr_assert_not(c.tied_output);
    cr_assert_eq(read_config(LLAMA "\"rope_scaling\": null, \"eos_token_id\": null}", &c, &err), 0);
    cr_assert_eq(c.rope.scaling, HD_ROPE_PLAIN);
    cr_assert_float_eq(c.rope.theta, 10000, 0);
}

/* What Qwen's cards say to add, and what transformers makes of a factor that is not said. */
Test(folder, yarn)
{
    struct hd_hyper c;
    struct hd_error err = {0};

    cr_assert_eq(read_config(LLAMA "\"max_position_embeddings\": 131072, \"rope_scaling\":"
                                   "{\"type\": \"yarn\", \"factor\": 4.0,"
                                   "\"original_max_position_embeddings\": 32768}}",
                             &c, &err),
                 0, "%s", err.text);
    cr_assert_eq(c.rope.scaling, HD_ROPE_YARN);
    cr_assert_eq(c.rope.factor, 4);
    cr_assert_eq(c.rope.original_context, 32768);
    cr_assert_not(c.rope.exact_ramp);
    cr_assert_eq(read_config(LLAMA "\"max_position_embeddings\": 65536, \"rope_parameters\":"
                                   "{\"rope_type\": \"yarn\", \"rope_theta\": 150000,"
                                   "\"beta_fast\": 40, \"beta_slow\": 2, \"truncate\": false,"
                                   "\"attention_factor\": 1.5, \"mscale\": null,"
                                   "\"original_max_position_embeddings\": 4096}}",
                             &c, &err),
                 0, "%s", err.text);
    cr_assert_eq(c.rope.factor, 16);
    cr_assert_eq(c.rope.beta_fast, 40);
    cr_assert_eq(c.rope.beta_slow, 2);
    cr_assert_eq(c.rope.attention_factor, 1.5);
    cr_assert(c.rope.exact_ramp);
    config_fails(LLAMA
                 "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2, \"beta_fast\": 32}}",
                 HD_E_UNSUPPORTED, "beta_fast");
}

/* As Phi3's files have it, in the names of then and of now. */
Test(folder, longrope)
{
    static const char *const names[] = {"longrope", "su", "yarn"};
    struct hd_hyper c;
    struct hd_error err = {0};

    for (size_t i = 0; i < 3; i++) {
        char text[512];

        snprintf(text, sizeof text,
                 "{\"model_type\": \"phi3\", \"max_position_embeddings\": 131072,"
                 "\"original_max_position_embeddings\": 4096, \"rope_scaling\": {\"type\": \"%s\","
                 "\"short_factor\": [1, 1.5, 2], \"long_factor\": [1, 32, 64.5]}}",
                 names[i]);
        cr_assert_eq(read_config(text, &c, &err), 0, "%s", err.text);
        cr_assert_eq(c.rope.scaling, HD_ROPE_LONGROPE);
        cr_assert_eq(c.rope.factor, 32);
        cr_assert_eq(c.rope.original_context, 4096);
        cr_assert_eq(c.n_factors, 3);
        cr_assert_eq(c.short_factors[1], 1.5);
        cr_assert_eq(c.long_factors[2], 64.5);
        cr_assert_float_eq(hd_rope_attention_factor(&c.rope), sqrt(1 + log(32) / log(4096)), 1e-14);
    }
#define FACTORS(short, long)                                                                       \
    LLAMA "\"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": " short ", "               \
                                                                                "\"long_factor\":" \
                                                                                " " long "}}"
    config_fails(FACTORS("[1, 2]", "[1]"), HD_E_FORMAT, "2 short and 1 long");
    config_fails(FACTORS("[1, 0]", "[1, 2]"), HD_E_RANGE, "short_factor");
    config_fails(FACTORS("[1, 2]", "[1, \"2\"]"), HD_E_RANGE, "long_factor");
    config_fails(FACTORS("[]", "[]"), HD_E_FORMAT, "short_factor");
    config_fails(FACTORS("null", "[1]"), HD_E_FORMAT, "short_factor");
    config_fails(LLAMA
                 "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2, \"long_factor\": [1]}}",
                 HD_E_UNSUPPORTED, "long_factor");
#undef FACTORS
}

Test(folder, config_from_version_5)
{
    struct hd_hyper c;
    struct hd_error err = {0};

    cr_assert_eq(read_config(LLAMA "\"rope_parameters\": {\"rope_type\": \"default\","
                                   "\"rope_theta\": 100000}, \"tie_word_embeddings\": true}",
                             &c, &err),
                 0, "%s", err.text);
    cr_assert_eq(c.rope.scaling, HD_ROPE_PLAIN);
    cr_assert_float_eq(c.rope.theta, 100000, 0);
    cr_assert(c.tied_output);
    cr_assert_eq(read_config(LLAMA "\"rope_parameters\": {\"rope_type\": \"linear\","
                                   "\"rope_theta\": 5e5, \"factor\": 2}}",
                             &c, &err),
                 0, "%s", err.text);
    cr_assert_eq(c.rope.scaling, HD_ROPE_LINEAR);
}

Test(folder, configs_that_are_refused)
{
    config_fails("{", HD_E_FORMAT, "line 1");
    config_fails("", HD_E_FORMAT, "line 1");
    config_fails("{}", HD_E_UNSUPPORTED, "model_type");
    config_fails("{\"model_type\": \"deepseek_v3\"}", HD_E_UNSUPPORTED, "deepseek_v3");
    config_fails(LLAMA "\"hidden_act\": \"gelu\"}", HD_E_UNSUPPORTED, "hidden_act");
    config_fails(LLAMA "\"qkv_bias\": true}", HD_E_UNSUPPORTED, "qkv_bias");
    config_fails(LLAMA "\"attention_bias\": 1}", HD_E_FORMAT, "attention_bias");
    config_fails(LLAMA "\"quantization_config\": {}}", HD_E_UNSUPPORTED, "quantization_config");
    config_fails(LLAMA "\"hidden_size\": \"64\"}", HD_E_FORMAT, "hidden_size");
    config_fails(LLAMA "\"hidden_size\": 0}", HD_E_FORMAT, "hidden_size");
    config_fails(LLAMA "\"rms_norm_eps\": \"small\"}", HD_E_FORMAT, "rms_norm_eps");
    config_fails(LLAMA "\"eos_token_id\": 0.5}", HD_E_FORMAT, "eos_token_id");
    config_fails(LLAMA "\"rope_scaling\": 4}", HD_E_FORMAT, "rope_scaling");
    config_fails(LLAMA "\"rope_scaling\": {\"rope_type\": \"ntk\"}}", HD_E_UNSUPPORTED, "ntk");
    config_fails(LLAMA "\"rope_parameters\": {\"partial_rotary_factor\": 0.5}}", HD_E_UNSUPPORTED,
                 "partial_rotary_factor");
}

#define SMALL(more) LLAMA SMALL_SIZES more "}"

Test(folder, shapes_that_are_refused)
{
    static const struct {
        const char *config;
        int code;
        const char *word;
    } cases[] = {
        {SMALL("\"num_attention_heads\": 4, \"num_key_value_heads\": 3"), HD_E_FORMAT, "evenly"},
        {SMALL("\"num_attention_heads\": 32"), HD_E_UNSUPPORTED, "head size 2"},
        {SMALL("\"num_attention_heads\": 5"), HD_E_FORMAT, "head size"},
        {SMALL("\"num_attention_heads\": 2000"), HD_E_LIMIT, "number of heads"},
        {SMALL("\"num_attention_heads\": 4, \"rms_norm_eps\": 0"), HD_E_FORMAT, "epsilon"},
        {SMALL("\"num_attention_heads\": 4, \"rope_theta\": -1"), HD_E_RANGE, "RoPE base"},
        {SMALL("\"num_attention_heads\": 4, \"rope_scaling\": {\"rope_type\": \"llama3\"}"),
         HD_E_RANGE, "factor"},
        {SMALL("\"num_attention_heads\": 4, \"head_dim\": 32"), HD_E_FORMAT, "q_proj"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        open_fails(small_folder(&(struct twist){.config = cases[i].config}), cases[i].code,
                   cases[i].word);
}
