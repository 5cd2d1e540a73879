/* Synthetic models: the same bytes everywhere, values that survive the file, a valid tokenizer. */
#include "fixture.h"

#include "common/model/synth.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

TestSuite(synth, .init = folder_init, .fini = folder_fini, .timeout = 120);

static uint64_t file_hash(const char *path)
{
    size_t len;
    uint8_t *bytes = file_read(path, &len);
    uint64_t h = XXH3_64bits(bytes, len);

    free(bytes);
    return h;
}

/* Pinned: whoever changes one byte of a synthetic model invalidates every reference value that was
 * made from one. */
Test(synth, bytes_are_pinned)
{
    static const struct {
        const char *shape;
        enum hd_dtype type;
        uint64_t seed, hash;
    } pins[] = {
        {"tiny", HD_F32, 1, 0x0ADE6327EA344AC2},      {"tiny", HD_BF16, 1, 0x29D9F0F0E464212C},
        {"tiny", HD_F16, 1, 0x4CB92CA74416A9DE},      {"tiny-gqa3", HD_Q4_0, 7, 0x512C54B8B86DEBDE},
        {"tiny-mha", HD_Q4_1, 7, 0x2CE469CE48BB1313}, {"tiny-mha", HD_Q8_0, 1, 0xEA65881CEA05C9B2},
    };

    for (size_t i = 0; i < sizeof pins / sizeof *pins; i++) {
        uint64_t hash = file_hash(make_synth(pins[i].shape, pins[i].type, pins[i].seed));

        cr_expect_eq(hash, pins[i].hash, "%s %s: 0x%016llX", pins[i].shape,
                     hd_dtype_name(pins[i].type), (unsigned long long)hash);
    }
}

Test(synth, seeds_matter)
{
    uint64_t one = file_hash(make_synth("tiny-mha", HD_Q8_0, 1));

    cr_assert_eq(file_hash(make_synth("tiny-mha", HD_Q8_0, 1)), one);
    cr_assert_neq(file_hash(make_synth("tiny-mha", HD_Q8_0, 2)), one);
}

Test(synth, every_small_shape_opens)
{
    static const char *const all[] = {"tiny",         "tiny-mha",     "tiny-gqa3",   "smollm2-135m",
                                      "smollm2-360m", "llama-3.2-1b", "llama-3.2-3b"};
    const char *const *names = hd_synth_shapes();

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        cr_assert_str_eq(names[i], all[i]);
    for (size_t i = 0; names[i]; i++) {
        if (strncmp(names[i], "tiny", 4) != 0)
            continue;
        struct hd_model *m = open_ok(make_synth(names[i], HD_F16, 1));
        char name[64];

        snprintf(name, sizeof name, "synth-%s", names[i]);
        cr_assert_str_eq(m->name, name);
        cr_assert_eq(m->bos, 1);
        cr_assert_eq(m->eos, 2);
        hd_model_close(m);
    }
}

Test(synth, shape_of_tiny_gqa3)
{
    struct hd_model *m = open_ok(make_synth("tiny-gqa3", HD_Q4_0, 1));

    cr_assert_eq(m->shape.n_layers, 3);
    cr_assert_eq(m->shape.dim, 288);
    cr_assert_eq(m->shape.n_heads, 9);
    cr_assert_eq(m->shape.n_kv_heads, 3);
    cr_assert_eq(m->shape.head_dim, 32);
    cr_assert_eq(m->shape.ffn_dim, 768);
    cr_assert_eq(m->shape.vocab, 512);
    cr_assert_eq(m->shape.context, 2048);
    cr_assert(m->shape.tied_output);
    cr_assert_eq(m->layers[2].down.type, HD_Q4_0);
    cr_assert_eq(m->embedding.type, HD_Q8_0);
    cr_assert_eq(m->layers[2].attn_norm.type, HD_F32);
    hd_model_close(m);
}

/* ---- Values ---------------------------------------------------------------------------------*/

/* Largest error of a value in a block whose largest magnitude is 1. */
static double error_of(enum hd_dtype type)
{
    switch (type) {
    case HD_F16:
        return 0x1p-11;
    case HD_BF16:
        return 0x1p-8;
    case HD_Q8_0:
        return 1.15 / 254; /* half a step, and the rounding of the scale to 16 bits */
    case HD_Q4_0:
        return 1.02 / 8; /* the side opposite to the extreme has one step less */
    default:
        return 1.05 / 15; /* Q4_1: half of 15 steps over 2 */
    }
}

static void compare(const struct hd_tensor *exact, const struct hd_tensor *t)
{
    float a[1024], b[1024];

    cr_assert_eq(exact->rows, t->rows);
    cr_assert_eq(exact->cols, t->cols);
    for (size_t r = 0; r < t->rows; r++) {
        hd_dequant(exact, r, 0, t->cols, a);
        hd_dequant(t, r, 0, t->cols, b);
        for (size_t c = 0; c < t->cols; c += 32) {
            float max = 0;
            for (size_t i = c; i < c + 32; i++)
                max = fmaxf(max, fabsf(a[i]));
            for (size_t i = c; i < c + 32; i++)
                cr_assert_float_eq(a[i], b[i], max * error_of(t->type) + 1e-12, "%s [%zu][%zu]",
                                   hd_dtype_name(t->type), r, i);
        }
    }
}

/* The same seed gives the same values in every type, as far as the type can hold them. */
Test(synth, types_agree)
{
    static const enum hd_dtype types[] = {HD_F16, HD_BF16, HD_Q8_0, HD_Q4_0, HD_Q4_1};
    struct hd_model *exact = open_ok(make_synth("tiny-mha", HD_F32, 9));

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct hd_model *m = open_ok(make_synth("tiny-mha", types[i], 9));

        compare(&exact->embedding, &m->embedding);
        compare(&exact->output, &m->output);
        for (uint32_t l = 0; l < 3; l++) {
            compare(&exact->layers[l].wq, &m->layers[l].wq);
            compare(&exact->layers[l].wk, &m->layers[l].wk);
            compare(&exact->layers[l].wv, &m->layers[l].wv);
            compare(&exact->layers[l].wo, &m->layers[l].wo);
            compare(&exact->layers[l].gate, &m->layers[l].gate);
            compare(&exact->layers[l].up, &m->layers[l].up);
            compare(&exact->layers[l].down, &m->layers[l].down);
        }
        hd_model_close(m);
    }
    hd_model_close(exact);
}

static double deviation(const struct hd_tensor *t, size_t from, size_t to)
{
    double sum = 0, squares = 0, n = (double)((to - from) * t->cols);
    float row[1024];

    for (size_t r = from; r < to; r++) {
        hd_dequant(t, r, 0, t->cols, row);
        for (size_t c = 0; c < t->cols; c++) {
            sum += row[c];
            squares += (double)row[c] * row[c];
        }
    }
    cr_assert_float_eq(sum / n, 0, 4 * sqrt(squares / n / n));
    return sqrt(squares / n);
}

Test(synth, values_are_spread_as_meant)
{
    struct hd_model *m = open_ok(make_synth("tiny", HD_F32, 4));
    float norm[256];

    cr_assert_float_eq(deviation(&m->embedding, 3, 512), 2 / sqrt(256), 0.001);
    cr_assert_float_eq(deviation(&m->embedding, 0, 3), 0.5 / sqrt(256), 0.002);
    cr_assert_float_eq(deviation(&m->layers[0].wv, 0, 128), 1 / sqrt(256), 0.001);
    cr_assert_float_eq(deviation(&m->layers[3].down, 0, 256), 3 / sqrt(704), 0.001);
    hd_dequant(&m->output_norm, 0, 0, 256, norm);
    for (int i = 0; i < 256; i++)
        cr_assert(norm[i] >= 0.875f && norm[i] <= 1.125f);
    hd_model_close(m);
}

/* ---- Tokenizer ------------------------------------------------------------------------------*/

static bool is(struct hd_str s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}

static bool has_token(const struct hd_gguf *g, size_t n, struct hd_str text, size_t *id)
{
    for (*id = 0; *id < n; ++*id) {
        struct hd_str s;

        hd_gguf_array_str(g, "tokenizer.ggml.tokens", *id, &s);
        if (s.len == text.len && memcmp(s.data, text.data, s.len) == 0)
            return true;
    }
    return false;
}

/* Each merge joins two tokens that come before the token that it makes. */
static void check_merge(const struct hd_gguf *g, size_t i, size_t n)
{
    struct hd_str s;
    char joined[64];
    size_t left, right, id;

    cr_assert_eq(hd_gguf_array_str(g, "tokenizer.ggml.merges", i, &s), 0);
    const char *blank = memchr(s.data, ' ', s.len);
    cr_assert_not_null(blank);
    size_t l = (size_t)(blank - s.data), r = s.len - l - 1;
    memcpy(joined, s.data, l);
    memcpy(joined + l, blank + 1, r);
    cr_assert(has_token(g, n, (struct hd_str){joined, l + r}, &id));
    cr_assert_eq(id, 259 + i);
    cr_assert(has_token(g, n, (struct hd_str){joined, l}, &left) && left < id);
    cr_assert(has_token(g, n, (struct hd_str){blank + 1, r}, &right) && right < id);
}

Test(synth, tokenizer_is_valid)
{
    struct hd_model *m = open_ok(make_synth("tiny", HD_Q4_0, 1));
    const struct hd_gguf *g = m->gguf;
    struct hd_str s;
    size_t n, n_types, n_merges, id;
    bool add_bos = true;

    cr_assert_eq(hd_gguf_array_len(g, "tokenizer.ggml.tokens", &n), 0);
    cr_assert_eq(hd_gguf_array_len(g, "tokenizer.ggml.token_type", &n_types), 0);
    cr_assert_eq(hd_gguf_array_len(g, "tokenizer.ggml.merges", &n_merges), 0);
    cr_assert(n == 512 && n_types == 512 && n_merges == 512 - 259);
    hd_gguf_array_str(g, "tokenizer.ggml.tokens", 2, &s);
    cr_assert(is(s, "<|im_end|>"));
    for (size_t i = 0; i < n; i++) {
        int64_t type;

        hd_gguf_array_str(g, "tokenizer.ggml.tokens", i, &s);
        cr_assert(has_token(g, n, s, &id));
        cr_assert_eq(id, i, "token %zu is token %zu again", i, id);
        cr_assert_eq(hd_gguf_array_i64(g, "tokenizer.ggml.token_type", i, &type), 0);
        cr_assert_eq(type, i < 3 ? 3 : 1);
    }
    for (size_t i = 0; i < n_merges; i++)
        check_merge(g, i, n);
    cr_assert_eq(hd_gguf_bool(g, "tokenizer.ggml.add_bos_token", &add_bos), 0);
    cr_assert_not(add_bos);
    cr_assert_eq(hd_gguf_str(g, "tokenizer.chat_template", &s), 0);
    cr_assert_not_null(memmem(s.data, s.len, "<|im_start|>", 12));
    hd_model_close(m);
}

/* ---- Other types and parts of a model --------------------------------------------------------*/

/* The deviation is that of values which are rounded: outputs of unit variance. */
Test(synth, quantized_types_have_values_of_the_right_size)
{
    for (int type = 0; type < HD_DTYPES; type++) {
        double sum = 0, squares = 0, n = 0;
        if (!hd_dtype_is_ggml(type) || hd_dtype_block((enum hd_dtype)type) == 1)
            continue;
        const char *path = make_synth("tiny-256", (enum hd_dtype)type, 3);
        struct hd_model *m = NULL;
        cr_assert_eq(hd_model_open(&m, path, NULL), 0, "%s", hd_dtype_name(type));
        const struct hd_tensor *t = &m->layers[1].down;
        cr_assert_eq((int)t->type, type);
        cr_assert_eq(m->activations, HD_ACTIVATIONS_Q8);
        for (size_t r = 0; r < t->rows; r++) {
            float row[1536];
            hd_dequant(t, r, 0, t->cols, row);
            for (size_t c = 0; c < t->cols; c++, n++) {
                sum += (double)row[c];
                squares += (double)row[c] * (double)row[c];
            }
        }
        double want = 3 / sqrt((double)t->cols); /* makings[HD_SLOT_DOWN] */
        cr_expect_float_eq(sqrt(squares / n), want, 0.06 * want, "%s", hd_dtype_name(type));
        cr_expect_float_eq(sum / n, 0, 0.25 * want, "%s", hd_dtype_name(type));
        hd_model_close(m);
    }
}

Test(synth, a_slice_is_the_beginning_of_the_whole)
{
    struct hd_model *whole = open_ok(make_synth("tiny", HD_Q4_0, 3)), *m;
    struct hd_synth_options o = {.shape = "tiny", .type = HD_Q4_0, .seed = 3, .layers = 2};
    struct hd_error err = {0};

    o.out = in_folder("slice.gguf");
    cr_assert_eq(hd_synth_write(&o, &err), 0, "%s", err.text);
    m = open_ok(o.out);
    cr_assert_eq(m->shape.n_layers, 2);
    const struct hd_tensor *a = &m->layers[1].down, *b = &whole->layers[1].down;
    cr_assert_eq(memcmp(a->data, b->data, a->rows * a->row_bytes), 0);
    hd_model_close(m);
    o.layers = 5;
    cr_assert_eq(hd_synth_write(&o, &err), HD_E_RANGE);
    hd_model_close(whole);
}

/* Sizes of the real ones, without their gigabytes. */
Test(synth, sparse_models_have_all_but_weights)
{
    static const char *const large[] = {"llama-3.1-8b", "qwen3-8b", "qwen3-30b-a3b"};

    for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
        struct hd_synth_options o = {.shape = large[i], .type = HD_Q4_K, .sparse = true};
        struct hd_error err = {0};
        struct stat st;

        o.out = in_folder("large.gguf");
        cr_assert_eq(hd_synth_write(&o, &err), 0, "%s", err.text);
        cr_assert_eq(stat(o.out, &st), 0);
        cr_assert_gt(st.st_size, (off_t)4000000000);
        cr_assert_lt(st.st_blocks * 512, (off_t)50000000);
        struct hd_model *m = open_ok(o.out);
        cr_assert_eq(m->layers[m->shape.n_layers - 1].down.type, HD_Q4_K);
        cr_assert_eq(m->shape.n_experts, i == 2 ? 128 : 0);
        hd_model_close(m);
    }
}

/* ---- Errors ---------------------------------------------------------------------------------*/

static void synth_fails(const char *shape, enum hd_dtype type, const char *out, int code)
{
    struct hd_error err = {0};
    struct hd_synth_options o = {.shape = shape, .type = type, .seed = 1, .out = out};

    cr_assert_eq(hd_synth_write(&o, &err), code, "%s", err.text);
    cr_assert_eq(err.code, code);
    cr_assert_neq(err.text[0], '\0');
}

Test(synth, errors_leave_nothing_behind)
{
    synth_fails("huge", HD_F32, in_folder("m.gguf"), HD_E_RANGE);
    synth_fails("tiny", HD_Q4_0, in_folder("no/folder/m.gguf"), HD_E_IO);
    synth_fails("tiny", HD_Q4_0, in_folder("."), HD_E_IO);
    DIR *d = opendir(in_folder("."));
    for (struct dirent *e; (e = readdir(d));)
        cr_assert(e->d_name[0] == '.' && strlen(e->d_name) <= 2, "%s is left", e->d_name);
    closedir(d);
}
