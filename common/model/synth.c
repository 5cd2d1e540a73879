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

/* ---- Values ---------------------------------------------------------------------------------*/

struct fill {
    uint64_t seed; /* of this tensor */
    float centre, step;
};

/* The finalizer of splitmix64. */
uint64_t hd_synth_mix(uint64_t x)
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
        uint64_t x = hd_synth_mix(f->seed + (at + i + 2) / 2 * 0x9E3779B97F4A7C15u);

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
    [HD_SLOT_ROUTER] = {KIND_ROUTER, 2},      [HD_SLOT_ROUTER_BIAS] = {KIND_BIAS, 0},
    [HD_SLOT_EXPERT_BIAS] = {KIND_BIAS, 0},   [HD_SLOT_SINKS] = {KIND_BIAS, 0},
    [HD_SLOT_OUTPUT_BIAS] = {KIND_BIAS, 0},   [HD_SLOT_Q_EACH_NORM] = {KIND_NORM, 0},
    [HD_SLOT_K_EACH_NORM] = {KIND_NORM, 0},   [HD_SLOT_Q_NORM_BIAS] = {KIND_BIAS, 0},
    [HD_SLOT_K_NORM_BIAS] = {KIND_BIAS, 0},
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
    if (slot->by_head) {
        t.rows = t.cols / p->sizes.head_dim;
        t.cols = p->sizes.head_dim;
    }
    if (p->s->n_experts && slot->of_expert && hd_slot_is_vector(n->slot))
        t.rows = p->s->n_experts;
    else if (p->s->n_experts && slot->of_expert)
        t.planes = p->s->n_experts;
    return visit(p, &t);
}

/* Of several names and forms the newest, and of norms what most models have. */
static bool is_made(const struct hd_synth_shape *s, const struct hd_tensor_name *t)
{
    switch (t->wanted) {
    case HD_WANTED_ATTENTION_BIAS:
    case HD_WANTED_MLP_BIAS:
        return s->biases;
    case HD_WANTED_QK_NORMS:
        return s->qk_norms;
    case HD_WANTED_EITHER:
        return !t->fused;
    case HD_WANTED_TWO_NORMS:
        return false;
    default:
        return true;
    }
}

static bool visit_layer(struct plan *p, uint32_t n, visit_fn *visit)
{
    bool ok = true;

    for (const struct hd_tensor_name *t = p->arch->tensors; ok && t->slot < HD_SLOTS; t++) {
        char name[NAME_ROOM];

        if (!t->gguf)
            continue;
        snprintf(name, sizeof name, "blk.%u.%s", n, t->gguf);
        if (hd_slots[t->slot].in_layer && is_made(p->s, t))
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
    ok = ok && (!s->own_output || visit_end(p, HD_SLOT_OUTPUT, visit));
    return ok && visit_end(p, HD_SLOT_OUTPUT_BIAS, visit);
}

/* Vectors are F32; with matrices of few bits the tables are Q8_0, as people make such files, and so
 * are matrices whose rows are no whole blocks. */
static enum hd_dtype type_of(const struct plan *p, const struct item *t)
{
    enum hd_dtype type = p->o->type;

    if (t->rows == 0 || t->how.kind == KIND_ROUTER || t->how.kind == KIND_BIAS ||
        t->how.kind == KIND_NORM)
        return HD_F32;
    if (hd_dtype_block(type) == 1)
        return type;
    return t->how.kind == KIND_TABLE || t->cols % hd_dtype_block(type) != 0 ? HD_Q8_0 : type;
}

static bool declare(struct plan *p, const struct item *t)
{
    hd_gguf_put_tensor(p->w, t->name, type_of(p, t), HD_GGUF_NE(t->cols, t->rows, t->planes));
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
    enum hd_dtype type = type_of(p, t);
    struct fill f = {.seed = XXH3_64bits_withSeed(t->name, strlen(t->name), p->o->seed)};

    if (p->o->sparse && t->rows > 0) {
        hd_gguf_write_hole(p->w, (uint64_t)t->rows * (t->planes ? t->planes : 1) *
                                     hd_dtype_row_bytes(type, t->cols));
        return hd_gguf_end_tensor(p->w);
    }
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
            hd_synth_blocks(type, hd_synth_mix(f.seed + r), t->how.gain / sqrt((double)t->cols),
                            t->cols / hd_dtype_block(type), p->packed);
        hd_gguf_write_data(p->w, p->packed, hd_dtype_row_bytes(type, t->cols));
    }
    return hd_gguf_end_tensor(p->w);
}

/* ---- The whole ------------------------------------------------------------------------------*/

/* general.file_type: ggml's LLAMA_FTYPE numbers ("mostly ..."). */
static uint32_t file_type(enum hd_dtype type)
{
    static const uint8_t numbers[HD_DTYPES] = {
        [HD_F16] = 1,     [HD_Q4_0] = 2,     [HD_Q4_1] = 3,    [HD_Q8_0] = 7,     [HD_Q5_0] = 8,
        [HD_Q5_1] = 9,    [HD_Q2_K] = 10,    [HD_Q3_K] = 12,   [HD_Q4_K] = 15,    [HD_Q5_K] = 17,
        [HD_Q6_K] = 18,   [HD_IQ2_XXS] = 19, [HD_IQ2_XS] = 20, [HD_IQ3_XXS] = 23, [HD_IQ1_S] = 24,
        [HD_IQ4_NL] = 25, [HD_IQ3_S] = 26,   [HD_IQ2_S] = 28,  [HD_IQ4_XS] = 30,  [HD_IQ1_M] = 31,
        [HD_BF16] = 32,   [HD_TQ1_0] = 36,   [HD_TQ2_0] = 37,  [HD_NVFP4] = 39,   [HD_Q1_0] = 40,
    };
    return numbers[type];
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

static void put_truth(const struct plan *p, const char *rest, bool v)
{
    char key[NAME_ROOM];

    snprintf(key, sizeof key, "%s.%s", p->arch->gguf, rest);
    hd_gguf_put_bool(p->w, key, v);
}

static void put_keys(const struct plan *p)
{
    const struct hd_synth_shape *s = p->s;
    char name[96];

    snprintf(name, sizeof name, "synth-%s", s->name);
    hd_gguf_put_str(p->w, "general.architecture", p->arch->gguf);
    hd_gguf_put_str(p->w, "general.name", name);
    hd_gguf_put_u32(p->w, "general.file_type", file_type(p->o->type));
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
        else if (k->truth)
            put_truth(p, k->name, k->value != 0);
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

int hd_synth_write(const struct hd_synth_options *o, struct hd_error *err)
{
    struct hd_synth_shape cut;
    struct plan p = {.o = o, .s = hd_synth_shape_of(o->shape)};
    int rc;

    if (!p.s)
        return hd_fail(err, HD_E_RANGE, "\"%s\" is not a known shape of a model", o->shape);
    if (o->layers > p.s->n_layers)
        return hd_fail(err, HD_E_RANGE, "%s has %u layers, not %u", o->shape, p.s->n_layers,
                       o->layers);
    if (o->layers) {
        cut = *p.s;
        cut.n_layers = o->layers;
        p.s = &cut;
    }
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
    /* The widest rows are those of the down matrix, with narrow experts those of all that take the
     * residual, or a bias of q, k and v in one or of the logits. */
    size_t heads = (size_t)(p.s->n_heads + 2 * p.s->n_kv_heads) * p.s->head_dim;
    const size_t widths[] = {p.s->dim, p.s->ffn_dim, heads, p.s->vocab};
    size_t widest = 0;
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        widest = widths[i] > widest ? widths[i] : widest;
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
