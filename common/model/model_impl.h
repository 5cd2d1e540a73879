/* model_impl.h - how a container becomes a model. Internal to common/model.
 *
 * Each container fills `shape`, `rope_freq`, bos, eos and the name from what it says about the
 * model, then hands its tensors to hd_model_load through a source. */
#ifndef HD_MODEL_MODEL_IMPL_H
#define HD_MODEL_MODEL_IMPL_H

#include "common/model/model.h"
#include "common/model/names.h"
#include "common/model/rope.h"
#include "common/model/safetensors.h"

/* Everything that config.json or a GGUF's keys say, before it is checked. 0 stands for "not given"
 * where a default follows from the rest. */
struct hd_hyper {
    const struct hd_arch *arch; /* the family that the file is of */
    uint64_t n_layers, dim, n_heads, n_kv_heads, head_dim, ffn_dim, vocab, context;
    double norm_eps;
    bool tied_output;
    bool attention_bias, mlp_bias; /* folders: whether there are */
    bool qk_norms;                 /* folders: heads of q and k are normalised */
    bool parallel;                 /* both halves of a layer read the same residual, ... */
    bool two_norms;                /* ... by a norm each, in families that may have one or two */
    unsigned activation;           /* 1 + enum hd_activation; 0: as the family has it */
    bool meta;                     /* folders: Meta's names and order of rotated rows */
    bool wrapped;                  /* folders: a part of a model that sees or hears */
    double growth; /* of attention scores, from each so many positions to the next; 0: none */
    double growth_from;
    uint64_t rope_dim; /* 0: head_dim */
    struct hd_rope_config rope;
    struct hd_rope_config local; /* of layers with a window; theta 0: the same */
    double long_factors[HD_ROPE_FACTORS], short_factors[HD_ROPE_FACTORS]; /* longrope's divisors */
    size_t n_factors;                                                     /* of each */
    uint64_t window;                                                      /* 0: none */
    bool global[HD_MAX_LAYERS]; /* sees all, whatever the window */
    bool no_rope[HD_MAX_LAYERS];
    double clamp_alpha, clamp_limit; /* 0: as the family has it */
    uint64_t n_experts, n_used;      /* 0: no experts */
    int normalise; /* folders: 1: weights of experts are divided by their sum, -1: are not; 0: as
                    * the family has it */
    double attention_scale; /* 0: 1 / sqrt(head_dim) */
    double attention_cap, logit_cap, logit_scale, embedding_scale, residual_scale; /* 0: none */
    double norm_offset;
    int64_t bos, eos;          /* as the file has them; -1: not given */
    bool f8;                   /* folders: quantized to FP8 */
    uint64_t f8_rows, f8_cols; /* that share a scale; 0: 128, if they are rectangles */
};

/* Defaults (KV heads, head size), limits, divisibility. Fills m->shape, m->rope_freq, m->bos and
 * m->eos: an id that is no token's stands for none, with a warning.
 * HD_E_FORMAT, HD_E_UNSUPPORTED, HD_E_LIMIT, HD_E_NOMEM; `err` without the file's name. */
int hd_model_set_shape(struct hd_model *m, struct hd_hyper *h, struct hd_error *err);

/* Q8 when all matrices that read rows of activations are quantized. */
enum hd_activations hd_model_best_activations(const struct hd_model *m);

/* Which layers are what by the family's own turns, where a file does not say. */
void hd_hyper_turns(struct hd_hyper *h);

/* What the names of a folder's tensors begin with: those of the model and the output matrix. */
struct hd_prefixes {
    const char *model, *head; /* "model.", "" */
};

/* Where tensors come from. `get` is as hd_gguf_tensor. */
struct hd_source {
    const void *arg;
    int (*get)(const void *arg, const char *name, struct hd_tensor *out);
    /* A tensor of bytes (U8), whatever its shape; NULL: the container has none. 0 or negative. */
    int (*bytes)(const void *arg, const char *name, const uint8_t **data, size_t *n);
    const struct hd_names *names;       /* of all tensors there are */
    bool hf_names;                      /* Hugging Face's names instead of ggml's */
    bool meta_names;                    /* Meta's instead of Hugging Face's */
    const struct hd_prefixes *prefixes; /* with them: what they begin with */
    bool attention_bias, mlp_bias;      /* with them: whether such biases are to be there */
    bool qk_norms;                      /* with them: heads of q and k are normalised */
    bool two_norms;                     /* parallel halves have a norm each */
    bool f8_scaled;                     /* weights of FP8 must have scales */
    size_t f8_rows, f8_cols;            /* where these are of rectangles: how large */
    /* The type of a tensor that `get` refuses, in the words of the container. */
    void (*type_name)(const void *arg, const char *name, char *out, size_t size);
    /* Whether a tensor that is not loaded may be there all the same. */
    bool (*ignorable)(const struct hd_model *m, struct hd_str name);
};
/* All tensors of the model, each of the shape it must have, and the digest. A tensor that is there
 * and not used means another architecture (biases, experts...): HD_E_UNSUPPORTED. */
int hd_model_load(struct hd_model *m, const struct hd_source *src, struct hd_error *err);

/* The containers; m->gguf or m->folder is set. `err` names the file or the folder. */
int hd_model_from_gguf(struct hd_model *m, struct hd_error *err);
int hd_model_from_folder(struct hd_model *m, struct hd_error *err);

/* config.json; of a list of ids the first. HD_E_NOTFOUND, HD_E_IO, HD_E_FORMAT, HD_E_UNSUPPORTED,
 * HD_E_LIMIT; `err` names the file. */
int hd_hf_config_read(struct hd_hyper *h, const char *path, struct hd_warnings *w,
                      struct hd_error *err);
/* params.json likewise; a vocabulary of 0: it does not say. */
int hd_meta_params_read(struct hd_hyper *h, const char *path, struct hd_warnings *w,
                        struct hd_error *err);

#endif
