/* The small model: one list of tensors, written as GGUF or as a Hugging Face folder. */
#include "fixture.h"

#include "common/model/gguf_write.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEADS_DIM = 64, KV_DIM = 32 };

float small_value(const char *name, size_t i)
{
    uint32_t h = 0;

    for (; *name; name++)
        h = h * 31 + (uint8_t)*name;
    return (float)((int)((h + i * 7919) % 251) - 125) / 128;
}

void small_each(const struct hd_model *m, bool own_output, small_visit *visit, void *arg)
{
    static const struct {
        const char *hf, *gguf;
        size_t shape[2], offset;
    } slots[] = {
        {"input_layernorm", "attn_norm", {1, SMALL_DIM}, offsetof(struct hd_layer, attn_norm)},
        {"self_attn.q_proj", "attn_q", {HEADS_DIM, SMALL_DIM}, offsetof(struct hd_layer, wq)},
        {"self_attn.k_proj", "attn_k", {KV_DIM, SMALL_DIM}, offsetof(struct hd_layer, wk)},
        {"self_attn.v_proj", "attn_v", {KV_DIM, SMALL_DIM}, offsetof(struct hd_layer, wv)},
        {"self_attn.o_proj", "attn_output", {SMALL_DIM, HEADS_DIM}, offsetof(struct hd_layer, wo)},
        {"post_attention_layernorm",
         "ffn_norm",
         {1, SMALL_DIM},
         offsetof(struct hd_layer, ffn_norm)},
        {"mlp.gate_proj", "ffn_gate", {SMALL_FFN, SMALL_DIM}, offsetof(struct hd_layer, gate)},
        {"mlp.up_proj", "ffn_up", {SMALL_FFN, SMALL_DIM}, offsetof(struct hd_layer, up)},
        {"mlp.down_proj", "ffn_down", {SMALL_DIM, SMALL_FFN}, offsetof(struct hd_layer, down)},
    };
    const size_t table[2] = {SMALL_VOCAB, SMALL_DIM}, norm[2] = {1, SMALL_DIM};

    visit(arg, "model.embed_tokens.weight", "token_embd.weight", table, m ? &m->embedding : NULL);
    for (int l = 0; l < SMALL_LAYERS; l++) {
        for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
            char hf[96], gguf[64];
            const void *t = m ? (const char *)&m->layers[l] + slots[i].offset : NULL;

            snprintf(hf, sizeof hf, "model.layers.%d.%s.weight", l, slots[i].hf);
            snprintf(gguf, sizeof gguf, "blk.%d.%s.weight", l, slots[i].gguf);
            visit(arg, hf, gguf, slots[i].shape, t);
        }
    }
    visit(arg, "model.norm.weight", "output_norm.weight", norm, m ? &m->output_norm : NULL);
    if (own_output)
        visit(arg, "lm_head.weight", "output.weight", table, m ? &m->output : NULL);
}

static void check_tensor(void *arg, const char *hf, const char *gguf, const size_t shape[2],
                         const struct hd_tensor *t)
{
    const char *name = *(bool *)arg ? hf : gguf;
    float row[128];

    cr_assert_eq(t->rows, shape[0], "%s", name);
    cr_assert_eq(t->cols, shape[1], "%s", name);
    for (size_t r = 0; r < t->rows; r++) {
        hd_dequant(t, r, 0, t->cols, row);
        for (size_t c = 0; c < t->cols; c++)
            cr_assert_eq(row[c], small_value(name, r * t->cols + c), "%s[%zu][%zu]", name, r, c);
    }
}

void small_check(const struct hd_model *m, bool hf_names)
{
    const struct hd_model_shape *s = &m->shape;

    cr_assert_eq(s->n_layers, SMALL_LAYERS);
    cr_assert_eq(s->dim, SMALL_DIM);
    cr_assert_eq(s->n_heads, 4);
    cr_assert_eq(s->n_kv_heads, 2);
    cr_assert_eq(s->head_dim, 16);
    cr_assert_eq(s->ffn_dim, SMALL_FFN);
    cr_assert_eq(s->vocab, SMALL_VOCAB);
    cr_assert_eq(s->context, 128);
    cr_assert_float_eq(s->norm_eps, 1e-5f, 1e-12);
    small_each(m, !s->tied_output, check_tensor, &hf_names);
    if (s->tied_output)
        cr_assert_eq(m->output.data, m->embedding.data);
}

static bool same(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

/* ---- GGUF -----------------------------------------------------------------------------------*/

struct gguf_arg {
    const struct twist *t;
    struct hd_gguf_writer *w;
};

static void put_key(const struct gguf_arg *a, const char *key, uint32_t v)
{
    if (same(a->t->swap_key, key))
        hd_gguf_put_str(a->w, key, a->t->text);
    else if (!same(a->t->drop_key, key))
        hd_gguf_put_u32(a->w, key, v);
}

static void put_added(struct hd_gguf_writer *w, const struct added_key *k)
{
    switch (k->type) {
    case GGUF_U32:
        hd_gguf_put_u32(w, k->key, (uint32_t)k->number);
        break;
    case GGUF_F32:
        hd_gguf_put_f32(w, k->key, (float)k->number);
        break;
    case GGUF_BOOL:
        hd_gguf_put_bool(w, k->key, k->number != 0);
        break;
    case GGUF_STRING:
        hd_gguf_put_str(w, k->key, k->text);
        break;
    default: /* two integers: the number, and the length of the text */
        hd_gguf_put_array(w, k->key, GGUF_I32, 2);
        hd_gguf_element_i32(w, (int32_t)k->number);
        hd_gguf_element_i32(w, (int32_t)strlen(k->text));
    }
}

static void put_keys(const struct gguf_arg *a)
{
    if (!same(a->t->drop_key, "general.architecture"))
        hd_gguf_put_str(a->w, "general.architecture",
                        same(a->t->swap_key, "general.architecture") ? a->t->text : "llama");
    put_key(a, "llama.block_count", SMALL_LAYERS);
    put_key(a, "llama.embedding_length", SMALL_DIM);
    put_key(a, "llama.attention.head_count", 4);
    put_key(a, "llama.attention.head_count_kv", 2);
    put_key(a, "llama.feed_forward_length", SMALL_FFN);
    put_key(a, "llama.context_length", 128);
    put_key(a, "tokenizer.ggml.eos_token_id", 7);
    if (!same(a->t->drop_key, "llama.attention.layer_norm_rms_epsilon"))
        hd_gguf_put_f32(a->w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    if (same(a->t->swap_key, "llama.rope.scaling.type"))
        hd_gguf_put_str(a->w, "llama.rope.scaling.type", a->t->text);
    if (same(a->t->swap_key, "llama.rope.scaling.type"))
        hd_gguf_put_f32(a->w, "llama.rope.scaling.factor", 4);
    if (a->t->add_u32)
        hd_gguf_put_u32(a->w, a->t->add_u32, a->t->u32);
    if (a->t->add.key)
        put_added(a->w, &a->t->add);
}

/* Rows of zeros in Q8_0, so many bytes; 0: the tensor is F32 and has its values. */
static size_t zero_bytes(const struct twist *t, const char *gguf, const size_t shape[2])
{
    bool quantized = t->quantized && shape[0] > 1 && !same(t->float_matrix, gguf);

    return quantized || same(t->half_norm, gguf) ? shape[0] * hd_dtype_row_bytes(HD_Q8_0, shape[1])
                                                 : 0;
}

static void list_tensor(void *arg, const char *hf, const char *gguf, const size_t shape[2],
                        const struct hd_tensor *t)
{
    struct gguf_arg *a = arg;
    size_t rows = shape[0] == 1 ? 0 : shape[0] + same(a->t->misshaped, gguf);

    if (!same(a->t->skip, gguf))
        hd_gguf_put_tensor(a->w, gguf, zero_bytes(a->t, gguf, shape) ? HD_Q8_0 : HD_F32,
                           HD_GGUF_NE(shape[1], rows, 0));
}

static void write_tensor(void *arg, const char *hf, const char *gguf, const size_t shape[2],
                         const struct hd_tensor *t)
{
    struct gguf_arg *a = arg;
    size_t n = (shape[0] + same(a->t->misshaped, gguf)) * shape[1];
    size_t zeros = zero_bytes(a->t, gguf, shape);

    if (same(a->t->skip, gguf))
        return;
    for (size_t i = 0; i < zeros; i++)
        hd_gguf_write_data(a->w, "", 1);
    if (zeros == 0)
        for (size_t i = 0; i < n; i++) {
            float v = small_value(gguf, i);

            hd_gguf_write_data(a->w, &v, sizeof v);
        }
    hd_gguf_end_tensor(a->w);
}

const char *small_gguf(const struct twist *t)
{
    const char *path = in_folder("small.gguf");
    const float eight[8] = {1, 1, 1, 2, 2, 4, 4, 8};
    struct gguf_arg a = {.t = t};
    struct hd_error err = {0};

    cr_assert_eq(hd_gguf_write_begin(&a.w, path, &err), 0, "%s", err.text);
    put_keys(&a);
    small_each(NULL, t->own_output, list_tensor, &a);
    if (t->extra)
        hd_gguf_put_tensor(a.w, t->extra, HD_F32, HD_GGUF_NE(8, 0, 0));
    hd_gguf_write_header(a.w);
    small_each(NULL, t->own_output, write_tensor, &a);
    if (t->extra) {
        hd_gguf_write_data(a.w, eight, sizeof eight);
        hd_gguf_end_tensor(a.w);
    }
    cr_assert_eq(hd_gguf_write_commit(a.w, &err), 0, "%s", err.text);
    return path;
}

/* ---- Folder ---------------------------------------------------------------------------------*/

struct st_file {
    json_t *header;
    uint8_t *data;
    size_t len;
};

struct folder_arg {
    const struct twist *t;
    const char *path;
    struct st_file files[2];
    json_t *map;
    unsigned n;
};

const char small_config[] =
    "{\"model_type\": \"llama\", \"num_hidden_layers\": 2, \"hidden_size\": 64,"
    " \"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"intermediate_size\": 96,"
    " \"vocab_size\": 48, \"max_position_embeddings\": 128, \"rms_norm_eps\": 1e-05,"
    " \"bos_token_id\": 1, \"eos_token_id\": [7, 9], \"rope_theta\": 10000.0,"
    " \"tie_word_embeddings\": %s}";

static void put_value(uint8_t *to, int type, float v)
{
    uint16_t h = type == 1 ? hd_f32_to_f16(v) : hd_f32_to_bf16(v);

    if (type == 0)
        memcpy(to, &v, sizeof v);
    else
        memcpy(to, &h, sizeof h);
}

static void add_entry(struct st_file *f, const char *name, const char *dtype, json_t *shape,
                      size_t bytes)
{
    json_object_set_new(f->header, name,
                        json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtype, "shape", shape,
                                  "data_offsets", (json_int_t)f->len,
                                  (json_int_t)(f->len + bytes)));
    f->data = realloc(f->data, f->len + bytes);
}

static void add_tensor(void *arg, const char *hf, const char *gguf, const size_t shape[2],
                       const struct hd_tensor *t)
{
    static const char *const names[] = {"F32", "F16", "BF16"};
    static const size_t sizes[] = {4, 2, 2};
    struct folder_arg *a = arg;
    int type = (int)(a->n++ % 3), file = a->t->sharded ? (int)(a->n % 2) : 0;
    struct st_file *f = &a->files[file];
    size_t rows = shape[0] + same(a->t->misshaped, hf), n = rows * shape[1];

    if (same(a->t->skip, hf))
        return;
    if (same(a->t->half_norm, hf))
        type = 0;
    json_t *dims = shape[0] == 1 ? json_pack("[i]", (int)shape[1])
                                 : json_pack("[i, i]", (int)rows, (int)shape[1]);
    add_entry(f, hf, same(a->t->half_norm, hf) ? "I32" : names[type], dims, n * sizes[type]);
    for (size_t i = 0; i < n; i++, f->len += sizes[type])
        put_value(f->data + f->len, type, small_value(hf, i));
    json_object_set_new(a->map, hf,
                        json_string(file ? "model-2.safetensors" : "model-1.safetensors"));
}

static void write_st(const char *path, struct st_file *f, bool odd)
{
    char *text = json_dumps(f->header, JSON_COMPACT);
    size_t len = strlen(text), padded = odd ? len | 1 : (len + 7) / 8 * 8;
    uint64_t head = padded;
    FILE *out = fopen(path, "wb");

    cr_assert_not_null(out);
    fwrite(&head, sizeof head, 1, out);
    fprintf(out, "%s%*s", text, (int)(padded - len), "");
    fwrite(f->data, 1, f->len, out);
    cr_assert_eq(fclose(out), 0);
    free(text);
    free(f->data);
    json_decref(f->header);
}

static void write_files(struct folder_arg *a)
{
    char path[600], *text;

    if (!a->t->sharded) {
        snprintf(path, sizeof path, "%s/model.safetensors", a->path);
        write_st(path, &a->files[0], a->t->odd_places);
        json_decref(a->files[1].header);
        json_decref(a->map);
        return;
    }
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/model-%d.safetensors", a->path, i + 1);
        write_st(path, &a->files[i], a->t->odd_places);
    }
    json_t *index = json_pack("{s:{}, s:o}", "metadata", "weight_map", a->map);
    text = json_dumps(index, 0);
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", a->path);
    file_write_text(path, text);
    free(text);
    json_decref(index);
}

const char *small_folder(const struct twist *t)
{
    struct folder_arg a = {.t = t, .path = in_folder("small-hf")};
    char path[600], config[1024];

    mkdir(a.path, 0777);
    unlink(in_folder("small-hf/model.safetensors")); /* of a test's earlier one */
    unlink(in_folder("small-hf/model.safetensors.index.json"));
    snprintf(config, sizeof config, small_config, t->own_output ? "false" : "true");
    snprintf(path, sizeof path, "%s/config.json", a.path);
    file_write_text(path, t->config ? t->config : config);
    a.files[0].header = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    a.files[1].header = json_object();
    a.map = json_object();
    small_each(NULL, t->own_output, add_tensor, &a);
    if (t->extra) {
        add_entry(&a.files[0], t->extra, "F32", json_pack("[i]", 8), 32);
        memset(a.files[0].data + a.files[0].len, 0, 32);
        a.files[0].len += 32;
        json_object_set_new(a.map, t->extra, json_string("model-1.safetensors"));
    }
    write_files(&a);
    return a.path;
}
