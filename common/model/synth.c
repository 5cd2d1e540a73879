/* Models of random weights.
 *
 * A value depends on the seed, its tensor's name and its place in the tensor; it is a 24-bit
 * integer times one float, so that every machine makes the same bits. The scales are those of a
 * well-conditioned network: unit variance through each matrix, queries and keys somewhat larger
 * (attention that looks somewhere makes the text depend on what came before), logits with a
 * standard deviation of about 2. Rows of ids that are not text are a quarter as long: they are
 * hardly ever chosen, so that a random model neither stops nor says nothing. */
#include "common/model/synth.h"

#include "common/model/arch.h"
#include "common/model/synth_impl.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define NORM_EPS  1e-5f
#define NAME_ROOM 64

#define PLAIN(base)                                                                                \
    {                                                                                              \
        .theta = (base)                                                                            \
    }
#define LLAMA3(original)                                                                           \
    {                                                                                              \
        .theta = 500000, .scaling = HD_ROPE_LLAMA3, .factor = 32, .low_freq_factor = 1,            \
        .high_freq_factor = 4, .original_context = (original)                                      \
    }

/* clang-format off */
static const struct hd_synth_shape shapes[] = {
    {"tiny",         "llama",  4,  256,  8, 4, 32,  704,    512,   2048, false, LLAMA3(64)},
    {"tiny-mha",     "llama",  3,  192,  6, 6, 32,  512,    320,   2048, true,  PLAIN(10000)},
    {"tiny-gqa3",    "llama",  3,  288,  9, 3, 32,  768,    512,   2048, false, PLAIN(10000)},
    {"smollm2-135m", "llama", 30,  576,  9, 3, 64, 1536,  49152,   8192, false, PLAIN(100000)},
    {"smollm2-360m", "llama", 32,  960, 15, 5, 64, 2560,  49152,   8192, false, PLAIN(100000)},
    {"llama-3.2-1b", "llama", 16, 2048, 32, 8, 64,  8192, 128256, 131072, false, LLAMA3(8192)},
    {"llama-3.1-8b", "llama", 32, 4096, 32, 8, 128, 14336, 128256, 131072, false, LLAMA3(8192)},
    {"llama-3.2-3b", "llama", 28, 3072, 24, 8, 128, 8192, 128256, 131072, false, LLAMA3(8192)},
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
    {"tiny-stablelm", "stablelm", 3, 192, 6, 6, 32, 512, 320, 2048, true, PLAIN(10000),
     .rope_dim = 8, .biases = true},
    {"tiny-long",    "phi3",    3, 192, 6, 2, 32, 512, 320, 2048, true,
     {.theta = 10000, .scaling = HD_ROPE_LONGROPE, .original_context = 90},
     .keys = {{"rope.scaling.original_context_length", 90},
              {"rope.scaling.attn_factor", 1.2, true}}},
    {"tiny-mixtral",  "llama",    3, 192, 6, 1, 32, 256, 320, 2048, true, PLAIN(1000000),
     .n_experts = 6, .n_used = 2},
    {"tiny-qwen3moe", "qwen3moe", 3, 192, 4, 2, 64, 96,  320, 2048, true, PLAIN(1000000),
     .n_experts = 16, .n_used = 4},
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

/* ---- Values ---------------------------------------------------------------------------------*/

struct fill {
    uint64_t seed; /* of this tensor */
    float centre, step;
};

/* The finalizer of splitmix64. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

static float value(const struct fill *f, uint32_t bits)
{
    return f->centre + (float)((int32_t)(bits >> 8) - (1 << 23)) * f->step;
}

/* out[n] = the values from number `at` of the tensor; at and n are even. */
static void fill_values(const struct fill *f, uint64_t at, size_t n, float *out)
{
    for (size_t i = 0; i < n; i += 2) {
        uint64_t x = mix(f->seed + (at + i + 2) / 2 * 0x9E3779B97F4A7C15u);

        out[i] = value(f, (uint32_t)x);
        out[i + 1] = value(f, (uint32_t)(x >> 32));
    }
}

/* ---- Tensors --------------------------------------------------------------------------------*/

enum kind { KIND_NORM, KIND_MATRIX, KIND_TABLE, KIND_ROPE, KIND_BIAS, KIND_ROUTER };

/* gain: the standard deviation of an output for inputs of unit variance. */
static const struct making {
    enum kind kind;
    double gain;
} makings[HD_SLOTS] = {
    [HD_SLOT_EMBEDDING] = {KIND_TABLE, 2},    [HD_SLOT_OUTPUT_NORM] = {KIND_NORM, 0},
    [HD_SLOT_OUTPUT] = {KIND_TABLE, 2},       [HD_SLOT_ATTN_NORM] = {KIND_NORM, 0},
    [HD_SLOT_Q] = {KIND_MATRIX, 1.75},        [HD_SLOT_K] = {KIND_MATRIX, 1.75},
    [HD_SLOT_V] = {KIND_MATRIX, 1},           [HD_SLOT_O] = {KIND_MATRIX, 4},
    [HD_SLOT_FFN_NORM] = {KIND_NORM, 0},      [HD_SLOT_GATE] = {KIND_MATRIX, 1},
    [HD_SLOT_UP] = {KIND_MATRIX, 1},          [HD_SLOT_DOWN] = {KIND_MATRIX, 3},
    [HD_SLOT_Q_BIAS] = {KIND_BIAS, 0},        [HD_SLOT_K_BIAS] = {KIND_BIAS, 0},
    [HD_SLOT_V_BIAS] = {KIND_BIAS, 0},        [HD_SLOT_Q_NORM] = {KIND_NORM, 0},
    [HD_SLOT_K_NORM] = {KIND_NORM, 0},        [HD_SLOT_GATE_BIAS] = {KIND_BIAS, 0},
    [HD_SLOT_UP_BIAS] = {KIND_BIAS, 0},       [HD_SLOT_ATTN_BIAS] = {KIND_BIAS, 0},
    [HD_SLOT_FFN_BIAS] = {KIND_BIAS, 0},      [HD_SLOT_ATTN_POST_NORM] = {KIND_NORM, 0},
    [HD_SLOT_FFN_POST_NORM] = {KIND_NORM, 0}, [HD_SLOT_Q_WHOLE_NORM] = {KIND_NORM, 0},
    [HD_SLOT_K_WHOLE_NORM] = {KIND_NORM, 0},  [HD_SLOT_ATTN_NORM_BIAS] = {KIND_BIAS, 0},
    [HD_SLOT_FFN_NORM_BIAS] = {KIND_BIAS, 0}, [HD_SLOT_OUTPUT_NORM_BIAS] = {KIND_BIAS, 0},
    [HD_SLOT_ROUTER] = {KIND_ROUTER, 2},
};

struct plan {
    const struct hd_synth_options *o;
    const struct hd_synth_shape *s;
    const struct hd_arch *arch;
    struct hd_model_shape sizes;
    struct hd_gguf_writer *w;
    float *row;      /* [widest row] */
    uint8_t *packed; /* the same row as the file has it */
};

struct item {
    const char *name;
    struct making how;
    size_t rows, cols; /* rows = 0: a vector */
    size_t planes;     /* so many of them, one behind the other; 0: one */
};

/* Called for each tensor, in the order of the file; false ends the visit. */
typedef bool visit_fn(struct plan *p, const struct item *t);

static bool visit_tensor(struct plan *p, const char *name, const struct hd_tensor_name *n,
                         visit_fn *visit)
{
    const struct hd_slot *slot = &hd_slots[n->slot];
    struct item t = {
        .name = name, .how = makings[n->slot], .cols = hd_size_of(&p->sizes, slot->cols)};

    for (unsigned i = 0; i < (n->fused ? n->fused : 1); i++)
        t.rows += hd_size_of(&p->sizes, hd_slots[n->slot + i].rows);
    if (hd_slot_is_vector(n->slot)) { /* in files they lie down */
        t.cols *= t.rows;
        t.rows = 0;
    }
    if (p->s->n_experts && slot->of_expert && hd_slot_is_vector(n->slot))
        t.rows = p->s->n_experts;
    else if (p->s->n_experts && slot->of_expert)
        t.planes = p->s->n_experts;
    return visit(p, &t);
}

static bool visit_layer(struct plan *p, uint32_t n, visit_fn *visit)
{
    bool ok = true;

    for (const struct hd_tensor_name *t = p->arch->tensors; ok && t->slot < HD_SLOTS; t++) {
        char name[NAME_ROOM];

        snprintf(name, sizeof name, "blk.%u.%s", n, t->gguf);
        if (hd_slots[t->slot].in_layer &&
            (t->wanted == HD_WANTED || t->wanted == HD_WANTED_SERIAL || p->s->biases))
            ok = visit_tensor(p, name, t, visit);
    }
    return ok;
}

/* A tensor that is not in a layer, by its slot. */
static bool visit_end(struct plan *p, enum hd_slot_id slot, visit_fn *visit)
{
    for (const struct hd_tensor_name *t = p->arch->tensors; t->slot < HD_SLOTS; t++)
        if (t->slot == slot)
            return visit_tensor(p, t->gguf, t, visit);
    return true;
}

static bool visit_all(struct plan *p, visit_fn *visit)
{
    const struct hd_synth_shape *s = p->s;
    const struct item rope = {"rope_freqs.weight", {KIND_ROPE, 0}, 0, s->head_dim / 2};
    const struct item short_factors = {"rope_factors_short.weight", rope.how, 0, rope.cols},
                      long_factors = {"rope_factors_long.weight", rope.how, 0, rope.cols};
    bool ok = visit_end(p, HD_SLOT_EMBEDDING, visit);

    if (s->rope.scaling == HD_ROPE_LLAMA3)
        ok = ok && visit(p, &rope);
    if (s->rope.scaling == HD_ROPE_LONGROPE)
        ok = ok && visit(p, &short_factors) && visit(p, &long_factors);
    for (uint32_t n = 0; n < s->n_layers; n++)
        ok = ok && visit_layer(p, n, visit);
    ok = ok && visit_end(p, HD_SLOT_OUTPUT_NORM, visit) &&
         visit_end(p, HD_SLOT_OUTPUT_NORM_BIAS, visit);
    return ok && (!s->own_output || visit_end(p, HD_SLOT_OUTPUT, visit));
}

/* Vectors are F32; with 4-bit matrices the tables are Q8_0, as people make such files. */
static enum hd_dtype type_of(const struct plan *p, enum kind kind)
{
    if (kind == KIND_NORM || kind == KIND_ROPE || kind == KIND_BIAS || kind == KIND_ROUTER)
        return HD_F32;
    if (kind == KIND_TABLE && (p->o->type == HD_Q4_0 || p->o->type == HD_Q4_1))
        return HD_Q8_0;
    return p->o->type;
}

static bool declare(struct plan *p, const struct item *t)
{
    hd_gguf_put_tensor(p->w, t->name, type_of(p, t->how.kind),
                       HD_GGUF_NE(t->cols, t->rows, t->planes));
    return true;
}

static bool write_rope(struct plan *p, const struct item *t)
{
    double *divisor = calloc(t->cols, sizeof *divisor);

    if (!divisor) {
        hd_gguf_write_fail(p->w, ENOMEM);
        return false;
    }
    hd_rope_divisors(&p->s->rope, p->s->head_dim, divisor);
    double step = strstr(t->name, "long") ? 0.5 : 0.0625; /* from pair to pair, with longrope */
    for (size_t i = 0; i < t->cols; i++)
        p->row[i] = p->s->rope.scaling == HD_ROPE_LONGROPE ? (float)(1 + (double)i * step)
                                                           : (float)divisor[i];
    free(divisor);
    hd_gguf_write_data(p->w, p->row, t->cols * sizeof *p->row);
    return hd_gguf_end_tensor(p->w);
}

static bool write_tensor(struct plan *p, const struct item *t)
{
    enum hd_dtype type = type_of(p, t->how.kind);
    struct fill f = {.seed = XXH3_64bits_withSeed(t->name, strlen(t->name), p->o->seed)};

    if (t->how.kind == KIND_ROPE)
        return write_rope(p, t);
    f.centre = t->how.kind == KIND_NORM ? 1.0f : 0.0f;
    /* The standard deviation of a uniform value is its bound / sqrt(3). IEEE rounds sqrt exactly.
     */
    double bound = t->how.kind == KIND_NORM   ? 0.125
                   : t->how.kind == KIND_BIAS ? 0.25
                                              : t->how.gain * sqrt(3.0 / (double)t->cols);
    float full = (float)(bound / (1 << 23));
    for (size_t r = 0; r < (t->rows ? t->rows : 1) * (t->planes ? t->planes : 1); r++) {
        bool text = r >= HD_SYNTH_FIRST_TEXT && r < hd_synth_text_end(p->s->vocab);

        f.step = t->how.kind == KIND_TABLE && !text ? full / 4 : full;
        fill_values(&f, (uint64_t)r * t->cols, t->cols, p->row);
        if (hd_quant(type, p->row, t->cols, p->packed) < 0)
            hd_gguf_write_fail(p->w, EINVAL); /* not reached: the type has been checked */
        hd_gguf_write_data(p->w, p->packed, hd_dtype_row_bytes(type, t->cols));
    }
    return hd_gguf_end_tensor(p->w);
}

/* ---- The whole ------------------------------------------------------------------------------*/

/* general.file_type: ggml's LLAMA_FTYPE numbers ("mostly ..."). */
static int file_type(enum hd_dtype type)
{
    switch (type) {
    case HD_F32:
        return 0;
    case HD_F16:
        return 1;
    case HD_Q4_0:
        return 2;
    case HD_Q4_1:
        return 3;
    case HD_Q8_0:
        return 7;
    case HD_BF16:
        return 32;
    default:
        return -1;
    }
}

/* Keys of the architecture. */
static void put_u32(const struct plan *p, const char *rest, uint32_t v)
{
    char key[NAME_ROOM];

    snprintf(key, sizeof key, "%s.%s", p->arch->gguf, rest);
    hd_gguf_put_u32(p->w, key, v);
}

static void put_f32(const struct plan *p, const char *rest, float v)
{
    char key[NAME_ROOM];

    snprintf(key, sizeof key, "%s.%s", p->arch->gguf, rest);
    hd_gguf_put_f32(p->w, key, v);
}

static void put_keys(const struct plan *p)
{
    const struct hd_synth_shape *s = p->s;
    char name[96];

    snprintf(name, sizeof name, "synth-%s", s->name);
    hd_gguf_put_str(p->w, "general.architecture", p->arch->gguf);
    hd_gguf_put_str(p->w, "general.name", name);
    hd_gguf_put_u32(p->w, "general.file_type", (uint32_t)file_type(p->o->type));
    hd_gguf_put_u32(p->w, "general.quantization_version", 2);
    put_u32(p, "block_count", s->n_layers);
    put_u32(p, "context_length", s->context);
    put_u32(p, "embedding_length", s->dim);
    put_u32(p, "feed_forward_length", s->ffn_dim);
    put_u32(p, "attention.head_count", s->n_heads);
    put_u32(p, "attention.head_count_kv", s->n_kv_heads);
    put_u32(p, "attention.key_length", s->head_dim);
    put_u32(p, "attention.value_length", s->head_dim);
    put_f32(p,
            p->arch->norm == HD_NORM_RMS ? "attention.layer_norm_rms_epsilon"
                                         : "attention.layer_norm_epsilon",
            NORM_EPS);
    put_u32(p, "rope.dimension_count", s->rope_dim ? s->rope_dim : s->head_dim);
    put_f32(p, "rope.freq_base", (float)s->rope.theta);
    put_u32(p, "vocab_size", s->vocab);
    if (s->n_experts) {
        put_u32(p, "expert_count", s->n_experts);
        put_u32(p, "expert_used_count", s->n_used);
        put_u32(p, "expert_feed_forward_length", s->ffn_dim);
    }
    for (const struct hd_synth_key *k = s->keys; k->name; k++)
        if (k->real)
            put_f32(p, k->name, (float)k->value);
        else
            put_u32(p, k->name, (uint32_t)k->value);
    hd_synth_put_tokenizer(p->w, s->vocab);
}

static int write_model(struct plan *p, struct hd_error *err)
{
    int rc = hd_gguf_write_begin(&p->w, p->o->out, err);

    if (rc < 0)
        return rc;
    put_keys(p);
    visit_all(p, declare);
    hd_gguf_write_header(p->w);
    visit_all(p, write_tensor);
    return hd_gguf_write_commit(p->w, err);
}

static const struct hd_synth_shape *find_shape(const char *name)
{
    for (size_t i = 0; i < N_SHAPES; i++)
        if (strcmp(shapes[i].name, name) == 0)
            return &shapes[i];
    return NULL;
}

int hd_synth_write(const struct hd_synth_options *o, struct hd_error *err)
{
    struct plan p = {.o = o, .s = find_shape(o->shape)};
    int rc;

    if (!p.s)
        return hd_fail(err, HD_E_RANGE, "\"%s\" is not a known shape of a model", o->shape);
    if (file_type(o->type) < 0)
        return hd_fail(err, HD_E_UNSUPPORTED,
                       "models of type %s cannot be made (F32, F16, BF16, Q8_0, Q4_0 and Q4_1 can)",
                       hd_dtype_name((int)o->type));
    p.arch = hd_arch_of_gguf((struct hd_str){p.s->arch, strlen(p.s->arch)}, p.s->n_experts > 0);
    p.sizes = (struct hd_model_shape){.n_layers = p.s->n_layers,
                                      .dim = p.s->dim,
                                      .n_heads = p.s->n_heads,
                                      .n_kv_heads = p.s->n_kv_heads,
                                      .head_dim = p.s->head_dim,
                                      .ffn_dim = p.s->ffn_dim,
                                      .n_experts = p.s->n_experts,
                                      .n_used = p.s->n_used,
                                      .vocab = p.s->vocab};
    /* The widest rows are those of the down matrix, or with narrow experts those of all that take
     * the residual. */
    size_t widest = p.s->ffn_dim > p.s->dim ? p.s->ffn_dim : p.s->dim;
    widest = widest > p.s->n_heads * p.s->head_dim ? widest : p.s->n_heads * p.s->head_dim;
    p.row = calloc(widest, sizeof *p.row);
    p.packed = calloc(widest, sizeof(float));
    if (p.row && p.packed)
        rc = write_model(&p, err);
    else
        rc = hd_fail(err, HD_E_NOMEM, "no memory for a row of the model");
    free(p.row);
    free(p.packed);
    return rc;
}
