/* gguf_read.h - reading keys of a GGUF file, shared by the files that make a model of them only. */
#ifndef HD_MODEL_GGUF_READ_H
#define HD_MODEL_GGUF_READ_H

#include "common/model/arch.h"
#include "common/model/gguf_impl.h"
#include "common/model/rules.h"

/* A key of the architecture: its family's name goes before it. */
struct gguf_key {
    char s[96];
};
struct gguf_key gguf_key_of(const struct hd_hyper *h, const char *rest);

bool gguf_str_is(struct hd_str s, const char *word);
/* What hd_gguf_... has returned: HD_E_NOTFOUND is left to the caller; another type is an error with
 * a sentence. */
int gguf_typed(int rc, const char *key, const char *type, struct hd_error *err);

/* Of all: 0 or HD_E_FORMAT, HD_E_UNSUPPORTED; *out keeps its value when the key is not there. */
/* An integer, or a list of equal ones. */
int gguf_read_count(const struct hd_gguf *g, const char *key, uint64_t *out, struct hd_error *err);
int gguf_read_real(const struct hd_gguf *g, const char *key, double *out, struct hd_error *err);
/* A number of either kind. */
int gguf_read_number(const struct hd_gguf *g, const char *key, double *out, struct hd_error *err);
/* -1 when the file does not say. */
int gguf_read_token(const struct hd_gguf *g, const char *key, int64_t *out, struct hd_error *err);

/* gguf_rope.c */
int gguf_read_rope(const struct hd_gguf *g, struct hd_hyper *h, struct hd_error *err);
/* What tensors say of the frequencies, once the shape is set. */
int gguf_apply_rope_freqs(struct hd_model *m, struct hd_error *err);

#endif
