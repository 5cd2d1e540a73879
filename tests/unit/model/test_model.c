/* Opening models: every value arrives, everything odd is refused. */
#include "fixture.h"

#include "common/model/files.h"
#include "common/model/gguf_write.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(model, .init = folder_init, .fini = folder_fini, .timeout = 120);

Test(model, gguf_values_and_shape)
{
    struct hd_model *m = open_ok(small_gguf(&(struct twist){0}));

    small_check(m, false);
    cr_assert(m->shape.tied_output);
    cr_assert_eq(m->rope_order, HD_ROPE_INTERLEAVED);
    cr_assert_eq(m->bos, -1);
    cr_assert_eq(m->eos, 7);
    cr_assert_str_eq(m->name, "small");
    cr_assert_not_null(m->gguf);
    cr_assert_null(m->folder);
    hd_model_close(m);

    m = open_ok(small_gguf(&(struct twist){.own_output = true}));
    small_check(m, false);
    cr_assert_not(m->shape.tied_output);
    hd_model_close(m);
}

Test(model, gguf_kv_heads_default_to_heads)
{
    struct twist t = {.drop_key = "llama.attention.head_count_kv"};

    open_fails(small_gguf(&t), HD_E_FORMAT, "blk.0.attn_k.weight is 32 x 64, not 64 x 64");
}

Test(model, gguf_refuses_tensors_that_do_not_fit)
{
    open_fails(small_gguf(&(struct twist){.skip = "blk.1.ffn_up.weight"}), HD_E_FORMAT,
               "blk.1.ffn_up.weight is missing");
    open_fails(small_gguf(&(struct twist){.skip = "token_embd.weight"}), HD_E_FORMAT, "vocabulary");
    open_fails(small_gguf(&(struct twist){.misshaped = "blk.0.attn_v.weight"}), HD_E_FORMAT,
               "blk.0.attn_v.weight is 33 x 64, not 32 x 64");
    open_fails(small_gguf(&(struct twist){.half_norm = "blk.1.ffn_norm.weight"}), HD_E_UNSUPPORTED,
               "blk.1.ffn_norm.weight is Q8_0");
    open_fails(small_gguf(&(struct twist){.extra = "blk.0.attn_q_norm.weight"}), HD_E_UNSUPPORTED,
               "blk.0.attn_q_norm.weight");
    open_fails(small_gguf(&(struct twist){.extra = "blk.0.attn_q.bias"}), HD_E_FORMAT,
               "blk.0.attn_q.bias is 1 x 8, not 1 x 64");
}

Test(model, gguf_refuses_keys_that_do_not_fit)
{
    static const char *const needed[] = {
        "llama.block_count",         "llama.embedding_length", "llama.attention.head_count",
        "llama.feed_forward_length", "llama.context_length",   "general.architecture",
    };
    static const struct {
        const char *key;
        uint32_t v;
        int code;
        const char *word;
    } added[] = {
        {"llama.expert_count", 8, HD_E_FORMAT, "experts that a row takes is missing"},
        {"llama.expert_used_count", 2, HD_E_UNSUPPORTED, "key llama.expert_used_count is 2"},
        {"split.count", 3, HD_E_UNSUPPORTED, "part 1 of 3"},
        {"split.count", 3000, HD_E_LIMIT, "3000 parts"},
        {"llama.rope.dimension_count", 8, HD_E_UNSUPPORTED, "llama.rope.dimension_count"},
        {"llama.attention.value_length", 32, HD_E_UNSUPPORTED, "value_length"},
        {"llama.logit_scale", 2, HD_E_UNSUPPORTED, "llama.logit_scale"},
        {"llama.rope.freq_base", 10000, HD_E_FORMAT, "llama.rope.freq_base is not"},
        {"llama.vocab_size", 49, HD_E_FORMAT, "token_embd.weight is 48 x 64, not 49 x 64"},
        {"llama.vocab_size", HD_MAX_VOCAB + 1, HD_E_LIMIT, "vocabulary"},
    };

    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        open_fails(small_gguf(&(struct twist){.drop_key = needed[i]}), HD_E_FORMAT, "missing");
    for (size_t i = 0; i + 1 < sizeof needed / sizeof *needed; i++)
        open_fails(small_gguf(&(struct twist){.swap_key = needed[i], .text = "two"}), HD_E_FORMAT,
                   "is not an unsigned integer");
    for (size_t i = 0; i < sizeof added / sizeof *added; i++)
        open_fails(small_gguf(&(struct twist){.add_u32 = added[i].key, .u32 = added[i].v}),
                   added[i].code, added[i].word);
    open_fails(small_gguf(&(struct twist){.drop_key = "llama.attention.layer_norm_rms_epsilon"}),
               HD_E_FORMAT, "epsilon");
    open_fails(small_gguf(&(struct twist){.swap_key = "general.architecture", .text = "mamba"}),
               HD_E_UNSUPPORTED, "mamba");
}

/* The small model without one tensor, which is alone in a second file; that file says it is part
 * `no` of `of`. */
static const char *in_parts(uint32_t no, uint32_t of, const char *tensor)
{
    const char *first = in_folder("small-00001-of-00002.gguf");
    const char *second = in_folder("small-00002-of-00002.gguf");
    struct hd_gguf_writer *w = NULL;

    cr_assert_eq(rename(small_gguf(&(struct twist){
                            .skip = "blk.1.ffn_up.weight", .add_u32 = "split.count", .u32 = 2}),
                        first),
                 0);
    cr_assert_eq(hd_gguf_write_begin(&w, second, NULL), 0);
    hd_gguf_put_u32(w, "split.no", no);
    hd_gguf_put_u32(w, "split.count", of);
    hd_gguf_put_tensor(w, tensor, HD_F32, HD_GGUF_NE(SMALL_DIM, SMALL_FFN, 0));
    hd_gguf_write_header(w);
    for (size_t i = 0; i < (size_t)SMALL_FFN * SMALL_DIM; i++) {
        float v = small_value("blk.1.ffn_up.weight", i);
        hd_gguf_write_data(w, &v, sizeof v);
    }
    hd_gguf_end_tensor(w);
    cr_assert_eq(hd_gguf_write_commit(w, NULL), 0);
    return first;
}

Test(model, gguf_in_parts)
{
    struct hd_model *m = open_ok(in_parts(1, 2, "blk.1.ffn_up.weight"));
    uint64_t offset;

    small_check(m, false);
    cr_assert(strstr(hd_model_where(m, m->layers[1].up.data, &offset), "00002-of-00002"));
    cr_assert(strstr(hd_model_where(m, m->layers[1].gate.data, &offset), "00001-of-00002"));
    cr_assert_eq(hd_model_check_files(m, NULL), HD_FILES_SAME);
    hd_model_let_go(m); /* what is read again is what it was */
    small_check(m, false);
    hd_model_close(m);
    open_fails(in_folder("small-00002-of-00002.gguf"), HD_E_UNSUPPORTED, "give the first part");
    open_fails(in_parts(0, 2, "blk.1.ffn_up.weight"), HD_E_FORMAT, "says that it is part 1 of 2");
    open_fails(in_parts(1, 3, "blk.1.ffn_up.weight"), HD_E_FORMAT, "says that it is part 2 of 3");
    open_fails(in_parts(1, 2, "blk.1.ffn_gate.weight"), HD_E_FORMAT, "in another part");
    open_fails(in_parts(1, 2, "blk.1.ffn_upper.weight"), HD_E_FORMAT, "ffn_up.weight is missing");
    cr_assert_eq(unlink(in_folder("small-00002-of-00002.gguf")), 0);
    open_fails(in_folder("small-00001-of-00002.gguf"), HD_E_IO, "small-00002-of-00002.gguf");
}

/* Widening is said, once a type, and only where it costs. */
Test(model, notes_types_that_take_more_memory)
{
    hd_model_close(
        open_warned(make_synth("tiny-256", HD_Q2_K, 1), "Q2_K tensors take 4.6 times their size"));
    hd_model_close(
        open_warned(make_synth("tiny-256", HD_IQ4_NL, 1), "IQ4_NL tensors take 1.9 times"));
    hd_model_close(open_warned(make_synth("tiny-256", HD_Q4_K, 1), NULL));
    hd_model_close(open_warned(make_synth("tiny-256", HD_Q6_K, 1), NULL));
}

Test(model, gguf_rope_scaling)
{
    const char *key = "llama.rope.scaling.type";
    struct hd_model *m = open_ok(small_gguf(&(struct twist){.swap_key = key, .text = "none"}));

    cr_assert_float_eq(m->rope_freq[0], 1, 1e-15);
    hd_model_close(m);
    m = open_ok(small_gguf(&(struct twist){.swap_key = key, .text = "linear"}));
    for (int i = 0; i < 8; i++)
        cr_assert_float_eq(m->rope_freq[i], pow(10000, -i / 8.0) / 4, 1e-14);
    hd_model_close(m);
    m = open_ok(small_gguf(&(struct twist){.extra = "rope_freqs.weight"}));
    static const double divisors[8] = {1, 1, 1, 2, 2, 4, 4, 8};
    for (int i = 0; i < 8; i++)
        cr_assert_float_eq(m->rope_freq[i], pow(10000, -i / 8.0) / divisors[i], 1e-14);
    hd_model_close(m);
    open_fails(small_gguf(&(struct twist){.swap_key = key, .text = "ntk"}), HD_E_UNSUPPORTED,
               "ntk");
}

Test(model, gguf_ids_that_are_no_tokens)
{
    static const struct {
        uint32_t id;
        int32_t want;
        const char *warning;
    } cases[] = {{0, 0, NULL},
                 {47, 47, NULL},
                 {48, -1, "bos_token_id is 48, which is none of the 48 tokens"},
                 {UINT32_MAX, -1, "bos_token_id is 4294967295"}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct twist t = {.add_u32 = "tokenizer.ggml.bos_token_id", .u32 = cases[i].id};
        struct hd_model *m = open_warned(small_gguf(&t), cases[i].warning);

        cr_assert_eq(m->bos, cases[i].want);
        hd_model_close(m);
    }
}

Test(model, paths_that_are_not_models)
{
    file_write_text(in_folder("text.gguf"), "certainly not a model, but long enough for one");
    file_write_text(in_folder("empty.gguf"), "");
    open_fails(in_folder("text.gguf"), HD_E_FORMAT, "not a GGUF file");
    open_fails(in_folder("empty.gguf"), HD_E_FORMAT, "not a GGUF file, but empty");
    open_fails(in_folder("nothing"), HD_E_IO, "nothing: No such file");
    open_fails(in_folder("."), HD_E_UNSUPPORTED, "give the GGUF file itself");
    open_fails("/dev/null", HD_E_IO, "regular");
}

/* ---- Activations ----------------------------------------------------------------------------*/

static enum hd_activations activations_of(const char *path)
{
    struct hd_model *m = open_ok(path);
    enum hd_activations a = m->activations;

    hd_model_close(m);
    return a;
}

static enum hd_activations with_float(const char *matrix)
{
    return activations_of(
        small_gguf(&(struct twist){.quantized = true, .own_output = true, .float_matrix = matrix}));
}

/* One float matrix among those that read a half-step's input is enough; what reads attended rows or
 * hidden columns, and the table of embeddings, may be anything. */
Test(model, activations_have_8_bits_if_all_that_read_them_are_quantized)
{
    static const char *const readers[] = {"attn_q", "attn_k", "attn_v", "ffn_gate", "ffn_up"};
    static const char *const others[] = {"attn_output", "ffn_down"};
    char name[64];

    cr_assert_eq(with_float(NULL), HD_ACTIVATIONS_Q8);
    for (int l = 0; l < SMALL_LAYERS; l++) {
        for (size_t i = 0; i < sizeof readers / sizeof *readers; i++) {
            snprintf(name, sizeof name, "blk.%d.%s.weight", l, readers[i]);
            cr_assert_eq(with_float(name), HD_ACTIVATIONS_F32, "%s", name);
        }
        for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
            snprintf(name, sizeof name, "blk.%d.%s.weight", l, others[i]);
            cr_assert_eq(with_float(name), HD_ACTIVATIONS_Q8, "%s", name);
        }
    }
    cr_assert_eq(with_float("output.weight"), HD_ACTIVATIONS_F32);
    cr_assert_eq(with_float("token_embd.weight"), HD_ACTIVATIONS_Q8);
    cr_assert_eq(activations_of(small_gguf(
                     &(struct twist){.quantized = true, .float_matrix = "token_embd.weight"})),
                 HD_ACTIVATIONS_F32, "a tied output is the embedding");
    cr_assert_eq(activations_of(small_gguf(&(struct twist){0})), HD_ACTIVATIONS_F32);
    cr_assert_eq(activations_of(make_synth("tiny-mha", HD_Q4_0, 1)), HD_ACTIVATIONS_Q8);
    cr_assert_eq(activations_of(make_synth("tiny-mha", HD_BF16, 1)), HD_ACTIVATIONS_F32);
}

Test(model, a_row_is_as_long_as_its_activations)
{
    struct hd_model *m = open_ok(small_gguf(&(struct twist){0}));

    cr_assert_eq(hd_model_row_bytes(m, HD_ACTIVATIONS_F32), SMALL_DIM * 4);
    cr_assert_eq(hd_model_row_bytes(m, HD_ACTIVATIONS_Q8), SMALL_DIM / 32 * 34);
    hd_model_close(m);
}

/* The digest is that of the weights and of nothing else: not of the path, not of the time. */
Test(model, digest_follows_the_weights)
{
    const char *path = make_synth("tiny-mha", HD_Q4_0, 3);
    struct hd_model *m = open_ok(path);
    uint64_t digest = m->digest;
    size_t len;
    uint8_t *bytes = file_read(path, &len);
    const char *copy = in_folder("copy.gguf");
    size_t at[3] = {len - 1, 0, 0}; /* of output.weight, then of two others */

    cr_assert_not_null(bytes);
    at[1] = (size_t)(m->layers[1].gate.data - m->embedding.data); /* relative to the first */
    at[2] = at[1] + m->layers[1].gate.rows * m->layers[1].gate.row_bytes - 1;
    size_t first =
        len - (size_t)(m->output.data - m->embedding.data) - m->output.rows * m->output.row_bytes;
    at[1] += first;
    at[2] += first;
    hd_model_close(m);
    file_write(copy, bytes, len);
    m = open_ok(copy);
    cr_assert_eq(m->digest, digest);
    hd_model_close(m);
    for (int i = 0; i < 3; i++) {
        bytes[at[i]] ^= 1;
        file_write(copy, bytes, len);
        m = open_ok(copy);
        cr_assert_neq(m->digest, digest, "byte %zu", at[i]);
        hd_model_close(m);
        bytes[at[i]] ^= 1;
    }
    free(bytes);
}

/* The reference models of the developers, where they are. */
Test(model, golden_models_open)
{
    static const struct {
        const char *name;
        struct hd_model_shape shape;
        enum hd_dtype type;
    } golden[] = {
        {"tiny-llama3", {4, 256, 8, 4, 32, 704, 512, 4096, 32, 1e-5f, true}, HD_BF16},
        {"tiny-llama2", {3, 192, 6, 6, 32, 512, 320, 4096, 32, 1e-5f, false}, HD_F32},
    };
    const char *folder = getenv("HYDAC_GOLDEN");

    if (!folder || !*folder) {
        fputs("model: skipped, HYDAC_GOLDEN does not name the folder of reference models\n",
              stderr);
        return;
    }
    for (int i = 0; i < 2; i++) {
        char path[600];

        snprintf(path, sizeof path, "%s/%s", folder, golden[i].name);
        struct hd_model *m = open_ok(path);
        const struct hd_model_shape *s = &m->shape, *want = &golden[i].shape;
        cr_assert_eq(s->n_layers, want->n_layers);
        cr_assert_eq(s->dim, want->dim);
        cr_assert_eq(s->n_heads, want->n_heads);
        cr_assert_eq(s->n_kv_heads, want->n_kv_heads);
        cr_assert_eq(s->head_dim, want->head_dim);
        cr_assert_eq(s->ffn_dim, want->ffn_dim);
        cr_assert_eq(s->vocab, want->vocab);
        cr_assert_eq(s->tied_output, want->tied_output);
        cr_assert_eq(m->layers[1].down.type, golden[i].type);
        cr_assert_eq(m->rope_order, HD_ROPE_HALVES);
        cr_assert_eq(m->bos, 1);
        cr_assert_eq(m->eos, 2);
        cr_assert_str_eq(m->name, golden[i].name);
        hd_model_close(m);
    }
}

Test(model, compact_sums_are_whole_blocks)
{
    struct hd_model m = {.shape = {.dim = 96}};
    cr_assert_eq(hd_model_sum_bytes(&m, HD_WIRE_EXACT), 96 * 4);
    cr_assert_eq(hd_model_sum_bytes(&m, HD_WIRE_COMPACT), 3 * 34);
    m.shape.dim = 48;
    cr_assert_eq(hd_model_sum_bytes(&m, HD_WIRE_EXACT), 48 * 4);
    cr_assert_eq(hd_model_sum_bytes(&m, HD_WIRE_COMPACT), 0);
}
