/* synth_impl.h - shapes, blocks and the tokenizer of synthetic models. Internal to common/model. */
#ifndef HD_MODEL_SYNTH_IMPL_H
#define HD_MODEL_SYNTH_IMPL_H

#include "common/model/gguf_write.h"
#include "common/model/rope.h"

/* A key of the architecture beside those that every model has. */
struct hd_synth_key {
    const char *name; /* NULL ends a list */
    double value;
    bool real, truth; /* a number with a fraction; a truth value; else a count */
};

struct hd_synth_shape {
    const char *name, *arch; /* arch: of arch.h, in GGUF's words */
    uint32_t n_layers, dim, n_heads, n_kv_heads, head_dim, ffn_dim, vocab, context;
    bool own_output;
    struct hd_rope_config rope;
    uint32_t rope_dim;          /* 0: head_dim */
    uint32_t n_experts, n_used; /* ffn_dim is that of each */
    bool biases;                /* those that a model of the family may have */
    bool qk_norms;              /* likewise: norms of heads of q and k */
    struct hd_synth_key keys[6];
};

/* NULL: there is none of this name. */
const struct hd_synth_shape *hd_synth_shape_of(const char *name);

/* The finalizer of splitmix64. */
uint64_t hd_synth_mix(uint64_t x);
/* n blocks of a quantized type: random quants, and scales such that the values have a mean of about
 * 0 and this standard deviation. For types that hd_quant does not make. */
void hd_synth_blocks(enum hd_dtype type, uint64_t seed, double deviation, size_t n, uint8_t *out);

/* Ids below and from this on are special or never meant to be chosen. */
#define HD_SYNTH_FIRST_TEXT 3
/* One more than the last id that stands for text. */
uint32_t hd_synth_text_end(uint32_t vocab);
/* The tokenizer.* keys for a vocabulary of this many tokens, at least 259. */
void hd_synth_put_tokenizer(struct hd_gguf_writer *w, uint32_t vocab);

#endif
