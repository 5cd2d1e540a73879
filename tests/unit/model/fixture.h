/* fixture.h - folders, files and small models for the tests of common/model. */
#ifndef TEST_MODEL_FIXTURE_H
#define TEST_MODEL_FIXTURE_H

#include "common/math/tensor.h"
#include "common/model/gguf_impl.h"
#include "common/model/model.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each test has a folder of its own: give these to TestSuite. */
void folder_init(void);
void folder_fini(void);
/* "<the folder>/<name>"; valid until the eighth call after this one. */
const char *in_folder(const char *name);

uint8_t *file_read(const char *path, size_t *len); /* malloc'ed */
void file_write(const char *path, const void *data, size_t len);
void file_write_text(const char *path, const char *text);

/* Writes a synthetic model; its path. */
const char *make_synth(const char *shape, enum hd_dtype type, uint64_t seed);
/* Opens a model that must open. */
struct hd_model *open_ok(const char *path);
/* Opens one that must, with such a warning; NULL: with none. */
struct hd_model *open_warned(const char *path, const char *words);
/* Opens one that must not: with this code, and this word in the message. */
void open_fails(const char *path, int code, const char *word);

/* Counter-based random numbers. */
uint64_t random_at(uint64_t seed, uint64_t i);

/* ---- A small model, written by the tests themselves: 2 layers, 4 heads on 2, head size 16 -----*/
enum { SMALL_LAYERS = 2, SMALL_DIM = 64, SMALL_FFN = 96, SMALL_VOCAB = 48 };

/* Value `i` of a tensor: exact in F32, F16 and BF16. */
float small_value(const char *name, size_t i);
/* Calls back for each tensor: Hugging Face's and ggml's names, its shape, and where it is in `m`
 * (NULL when m is). `output` only when there is one of its own. */
typedef void small_visit(void *arg, const char *hf, const char *gguf, const size_t shape[2],
                         const struct hd_tensor *t);
void small_each(const struct hd_model *m, bool own_output, small_visit *visit, void *arg);
/* All values of all tensors, through hd_dequant. */
void small_check(const struct hd_model *m, bool hf_names);

/* A key of a GGUF file that has a type and a value of its own. */
struct added_key {
    const char *key;
    enum gguf_type type; /* GGUF_U32, GGUF_F32, GGUF_BOOL, GGUF_STRING; GGUF_ARRAY: of two */
    double number;
    const char *text;
};

/* One thing to be wrong (or different) in a small GGUF or folder; all NULL: nothing. */
struct twist {
    const char *skip;      /* tensor that is left out (its name in the container) */
    const char *extra;     /* additional vector of this name */
    const char *misshaped; /* tensor with one row too many */
    const char *half_norm; /* norm that is quantized (GGUF), I32 (folder) */
    const char *drop_key;  /* key that is left out */
    const char *swap_key;  /* key whose value is a string instead; `text` is the string */
    const char *text;
    const char *add_u32; /* additional key */
    uint32_t u32;
    struct added_key add; /* another one */
    bool own_output;
    bool quantized;           /* GGUF: all matrices are Q8_0, of zeros, ... */
    const char *float_matrix; /* ... but this one */
    bool sharded;
    bool odd_places;    /* folder: the data of each file begins at an odd byte */
    const char *config; /* folder: the whole config.json */
};
const char *small_gguf(const struct twist *t);
const char *small_folder(const struct twist *t);
extern const char small_config[]; /* its config.json: %s stands for tie_word_embeddings */

#endif
