/* model.h - a model on disk, whatever its container.
 *
 * hd_model_open takes a .gguf file, or a Hugging Face folder (config.json, model.safetensors, or
 * parts of it with model.safetensors.index.json). Tensors are views into read-only mappings:
 * opening costs no reading of weights, and one mapping is shared by all processes of a machine. A
 * file that is cut shorter or overwritten while it is open gives other bytes, zeros where there are
 * none any more (guard.h), and no signal: whoever uses them compares digests (digests.h). Replace a
 * model by renaming another file over it. */
#ifndef HD_MODEL_MODEL_H
#define HD_MODEL_MODEL_H

#include "common/math/kernels.h"
#include "common/model/gguf.h"
#include "common/model/pooled.h"
#include "common/model/unit.h"
#include "common/util/error.h"
#include "common/util/warnings.h"

/* Named limits: a model outside them is refused when it is opened. */
#define HD_MAX_LAYERS  512
#define HD_MAX_DIM     65536
#define HD_MAX_HEADS   1024
#define HD_MAX_FFN     262144
#define HD_MAX_VOCAB   1048576
#define HD_MAX_CONTEXT 1048576
#define HD_MAX_EXPERTS 512
#define HD_MAX_USED    64                /* experts of a row */
#define HD_MAX_HIDDEN  (16 * HD_MAX_FFN) /* columns of all experts of a layer */

struct hd_model_shape {
    uint32_t n_layers, dim, n_heads, n_kv_heads, head_dim, ffn_dim, vocab, context;
    uint32_t rope_dim; /* values of a head that RoPE rotates, its first; head_dim: all */
    float norm_eps;
    bool tied_output;   /* the output matrix is the embedding */
    uint32_t n_experts; /* of each layer, ffn_dim wide each; 0: one FFN, which every row takes */
    uint32_t n_used;    /* experts that a row takes; 0 without experts */
};

enum hd_rope_order {
    HD_ROPE_INTERLEAVED, /* pairs (2i, 2i+1): Meta, GGUF */
    HD_ROPE_HALVES,      /* pairs (i, i + head_dim/2): Hugging Face */
};

enum hd_activation {
    HD_ACTIVATION_SILU,
    HD_ACTIVATION_GELU_TANH,
    HD_ACTIVATION_CLAMPED, /* hd_clamped_mul, by block.clamp */
    HD_ACTIVATION_GELU,    /* exact: by the error function */
    HD_ACTIVATION_RELU2,   /* the square of what is above 0 */
    HD_ACTIVATION_KINDS
};

enum hd_norm_kind {
    HD_NORM_RMS,   /* divided by the root mean square (Zhang & Sennrich 2019) */
    HD_NORM_LAYER, /* the mean taken off, divided by the deviation (Ba et al. 2016) */
};

/* What a family's blocks do that Llama's do not; a Llama has 0 or 1 everywhere but in
 * attention_scale. */
struct hd_block {
    enum hd_activation activation;
    float norm_offset;      /* added to the weights of norms as the file has them */
    float attention_scale;  /* of q.k; a Llama: 1 / sqrt(head_dim) */
    float attention_cap;    /* a score s becomes cap * tanh(s / cap); 0: as it is */
    float logit_scale;      /* a logit is multiplied by it, ... */
    float logit_cap;        /* ... then capped likewise */
    float embedding_scale;  /* a row of the embedding is multiplied by it */
    float residual_scale;   /* what a half adds to the residual is multiplied by it */
    enum hd_norm_kind norm; /* of the residual, and of heads of q and k */
    uint32_t parallel; /* 1: both halves of a layer read the residual before it: the FFN half the
                        * attention half's very input, if it has no norm of its own */
    struct hd_clamp clamp; /* of HD_ACTIVATION_CLAMPED */
    float growth;          /* scores of a row at position p are multiplied by ... */
    uint32_t growth_from;  /* ... 1 + growth * ln(1 + p / growth_from), rounded down; 0: are not */
};

/* How a row comes to its experts, from its logits router * row. Equal ones: leader/engine/route.h.
 */
struct hd_router {
    bool top_first; /* the best logits, then softmax over these; else softmax over all, then the
                     * best of it */
    bool normalise; /* ... which are then divided by their sum */
};

/* Which angles a layer rotates by: rope_freq has a set for each but NONE. */
enum hd_layer_rope { HD_LAYER_ROPE_MAIN, HD_LAYER_ROPE_LOCAL, HD_LAYER_ROPE_NONE };
#define HD_ROPE_SETS       2
#define HD_LAYER_ROPE_LONG HD_LAYER_ROPE_LOCAL /* a model has one or the other */

/* Vectors are F32, F16 or BF16; those that units cut are [n][1]. What a model does not have is
 * empty. */
struct hd_layer {
    uint32_t window; /* a position sees itself and window - 1 before it; 0: all */
    enum hd_layer_rope rope;
    struct hd_tensor attn_norm;              /* [1][dim]; none: the residual is taken as it is */
    struct hd_tensor wq;                     /* [n_heads * head_dim][dim] */
    struct hd_tensor wk, wv;                 /* [n_kv_heads * head_dim][dim] */
    struct hd_tensor wo;                     /* [dim][n_heads * head_dim] */
    struct hd_tensor ffn_norm;               /* [1][dim] */
    struct hd_tensor gate, up;               /* [ffn_dim][dim]; with experts the first's, and those
                                              * of the others through hd_slot_expert (arch.h). No
                                              * gate: it is up that is activated */
    struct hd_tensor down;                   /* [dim][ffn_dim]; likewise */
    struct hd_tensor router;                 /* [n_experts][dim] */
    struct hd_tensor router_bias;            /* [1][n_experts] */
    struct hd_tensor expert_bias;            /* [n_experts][dim]: of what an expert gives */
    struct hd_tensor sinks;                  /* [n_heads][1]: one more score of each head */
    struct hd_tensor q_bias, k_bias, v_bias; /* of the rows of wq, wk, wv */
    struct hd_tensor q_norm, k_norm;         /* [head_dim][1]: of each head, before RoPE */
    struct hd_tensor gate_bias, up_bias;     /* [ffn_dim][1] */
    /* Of a whole half, [1][dim]: added to its sum; then the sum is normalised. */
    struct hd_tensor attn_bias, ffn_bias, attn_post_norm, ffn_post_norm;
    /* [heads * head_dim][1]: the rows of all heads are normalised together, before RoPE. */
    struct hd_tensor q_whole_norm, k_whole_norm;
    struct hd_tensor attn_norm_bias, ffn_norm_bias; /* [1][dim] */
    /* [heads * head_dim][1]: of each head, whose weights are its own. A model has these, or q_norm
     * and k_norm, or none. */
    struct hd_tensor q_each_norm, k_each_norm;
    struct hd_tensor q_norm_bias, k_norm_bias; /* [head_dim][1]: with q_norm and k_norm */
};

/* ---- Activations: how a row of a half-step's input travels, is logged and is multiplied. */
enum hd_activations {
    HD_ACTIVATIONS_F32, /* f32 [dim] */
    HD_ACTIVATIONS_Q8,  /* a Q8 row (common/math/q8.h), multiplied in integers */
};

/* ---- Wire: how the partial sums of a half-step travel. */
enum hd_wire {
    HD_WIRE_EXACT,   /* int32 [dim] */
    HD_WIRE_COMPACT, /* a Q8 row: a quarter of that, and rounded as each worker's share has it */
};

/* Where the values of one expert's tensor lie; all else it has in common with the first's. */
struct hd_expert_data {
    const uint8_t *data, *apart;
};

struct hd_arch; /* arch.h */

struct hd_model {
    const struct hd_arch *arch; /* the family; NULL for a model made from an outline */
    uint64_t slots;             /* the tensors that there are: HD_SLOT_BIT of arch.h */
    struct hd_model_shape shape;
    enum hd_rope_order rope_order; /* of the rows of wq and wk */
    bool qkv_by_head; /* the rows of q, k and v of one KV head lie together, then those of the next:
                       * wq, wk, wv and their biases begin with those of the first */
    struct hd_block block;
    uint32_t rope_sets;             /* 1, or with HD_LAYER_ROPE_LOCAL 2 */
    double *rope_freq;              /* [rope_sets][head_dim / 2]: angle per position, scaling
                                     * applied; 0 behind rope_dim */
    float rope_scale[HD_ROPE_SETS]; /* of each set: cosines and sines are multiplied by it */
    uint32_t long_from;             /* a sequence of more positions rotates by the second set, all
                                     * of it (nothing may be shared by one that does and one
                                     * that does not); 0: none does */
    struct hd_tensor embedding;     /* [vocab][dim] */
    struct hd_tensor output_norm, output_norm_bias; /* [1][dim] */
    struct hd_tensor output;                        /* [vocab][dim]; = embedding when tied */
    struct hd_tensor output_bias;                   /* [vocab][1]: of the logits */
    struct hd_layer *layers;                        /* [n_layers] */
    struct hd_router router;
    struct hd_expert_data *expert_data; /* [n_layers][n_experts][HD_EXPERT_SLOTS] */
    char name[128];  /* general.name, or the file's or folder's name without ending */
    uint64_t digest; /* XXH3 of shape, RoPE, tensor names, types, sizes and a sample of the bytes
                      * of each tensor (its first and last 4 KiB): two machines compare it before
                      * they work together. The same for the same weights in the same container */
    enum hd_activations activations; /* Q8 when all matrices that read such rows are quantized */
    int32_t bos, eos;                /* token ids below vocab, or -1 */
    struct hd_pooled pooled;         /* embeddings of texts */
    struct hd_gguf *gguf;            /* the container, for the tokenizer; NULL for a folder */
    char *folder;                    /* the folder, for tokenizer.json; NULL for a GGUF file */
    void *impl;                      /* mappings of a folder's files */
    struct hd_split **splits;        /* [n_splits] vectors of which a folder has a tensor a head */
    size_t n_splits;
    struct hd_warnings warnings; /* about the file; whoever opens it logs them */
};

/* Every tensor's shape is checked against the hyper-parameters, head_dim must be a multiple of 4,
 * n_heads a multiple of n_kv_heads. Unread means refused: a tensor that its family does not
 * have, and a key or a field that may change what is computed and that no table knows with its
 * value (rules.h), refuse the model. What is served, but maybe not as meant, is in m->warnings.
 * HD_E_IO, HD_E_FORMAT, HD_E_UNSUPPORTED (another architecture, setting or type of tensor, or no
 * model at all), HD_E_LIMIT (a named limit), HD_E_RANGE (RoPE parameters), HD_E_NOMEM; `err` names
 * the file, and the tensor or the setting with its value. */
int hd_model_open(struct hd_model **out, const char *path, struct hd_error *err);
void hd_model_close(struct hd_model *m);

/* cos/sin of the angles of one position below HD_MAX_CONTEXT: cs[rope_sets][head_dim/2][2], in
 * double, rounded to f32; without libm, so that all machines have the same bits. */
void hd_model_rope(const struct hd_model *m, uint32_t pos, float *cs);

/* Positions by which a worker's input log grows; the leader reckons with it, too. */
#define HD_LOG_CHUNK 64
/* Bytes of a row of a half-step's input as it travels and is logged. */
size_t hd_model_row_bytes(const struct hd_model *m, enum hd_activations a);

/* What only the leader knows of a row, in the last of its bytes. Models that need nothing of it
 * have rows without. */
struct hd_row_tail {
    float q_scale, k_scale; /* 1 / the root mean square of q and of k over all heads, of models that
                             * normalise them so; else 0 */
    uint32_t is_long;       /* 1: the sequence has more than long_from positions */
    uint32_t zero;
};
bool hd_model_has_tail(const struct hd_model *m);
/* Of a row of so many bytes; all 0 if the model's rows have none. */
struct hd_row_tail hd_model_tail(const struct hd_model *m, const void *row, size_t row_bytes);
/* What q.k of a row at this position is multiplied by. */
float hd_model_attention_scale(const struct hd_model *m, uint32_t position);
/* Which angles such a row of a layer is rotated by. */
enum hd_layer_rope hd_model_rope_set(const struct hd_model *m, uint32_t layer,
                                     const struct hd_row_tail *t);

/* Bytes of a row of partial sums as it travels, unless it needs 64 bits; 0: such rows cannot travel
 * that way (compact ones are whole blocks of 32). */
size_t hd_model_sum_bytes(const struct hd_model *m, enum hd_wire w);
extern const char *const hd_wires[]; /* their words in this order, NULL at the end */

/* ---- Units: how a model is cut for workers. A function of the model alone, never of the plan. */
struct hd_units {
    uint32_t heads;      /* = n_kv_heads */
    uint32_t ffn_blocks; /* blocks of ffn_width hidden columns; the last may be narrower */
    uint32_t experts;    /* at least 1: FFN block u is block u / experts of expert u % experts, so
                          * that any run of them has about as much of each expert */
    uint32_t ffn_width;
    uint32_t vocab_blocks; /* blocks of vocab_width rows of the output matrix */
    uint32_t vocab_width;
};
/* ffn_width: the widest multiple of the down matrix's quantization block (16 for float types)
 * that still gives at least 4 blocks a head, at least one block wide and at most 512; of experts at
 * least 4 blocks each.
 * vocab_width: multiple of 16, at least 4 blocks a head if the vocabulary allows, at most 1024. */
void hd_model_units(const struct hd_model *m, struct hd_units *u);
/* Which part of its matrices a unit has, counted in units' widths: its number, or that of its block
 * in its expert. */
static inline uint32_t hd_units_part(const struct hd_units *u, enum hd_unit_kind kind,
                                     uint32_t unit)
{
    return kind == HD_UNIT_FFN ? unit / u->experts : unit;
}

#endif
