/* gguf.h - a GGUF file of version 2 or 3 (ggml's docs/gguf.md), or several parts of one, mapped
 * read-only.
 *
 * Everything that a file says is checked before it is believed: counts, lengths and offsets lie
 * inside the file, alignments are powers of two, names are unique. Strings and arrays are views
 * into the mapping, valid until hd_gguf_close. */
#ifndef HD_MODEL_GGUF_H
#define HD_MODEL_GGUF_H

#include "common/math/tensor.h"
#include "common/util/error.h"

struct hd_gguf;

struct hd_str {
    const char *data; /* not NUL-terminated */
    size_t len;
};

/* Of a model in parts the first. */
int hd_gguf_open(struct hd_gguf **out, const char *path, struct hd_error *err);
void hd_gguf_close(struct hd_gguf *g);
const char *hd_gguf_path(const struct hd_gguf *g);

/* Metadata. Each returns 0, HD_E_NOTFOUND (no such key), or HD_E_FORMAT (another type). Integers
 * of any GGUF width are accepted where they fit. Array elements: HD_E_RANGE beyond the end. */
int hd_gguf_u64(const struct hd_gguf *g, const char *key, uint64_t *out);
int hd_gguf_f64(const struct hd_gguf *g, const char *key, double *out);
int hd_gguf_bool(const struct hd_gguf *g, const char *key, bool *out);
int hd_gguf_str(const struct hd_gguf *g, const char *key, struct hd_str *out);
/* Arrays: the number of elements; then each element by index (strings: O(1), an index is built
 * when the file is opened). */
int hd_gguf_array_len(const struct hd_gguf *g, const char *key, size_t *n);
int hd_gguf_array_str(const struct hd_gguf *g, const char *key, size_t i, struct hd_str *out);
int hd_gguf_array_i64(const struct hd_gguf *g, const char *key, size_t i, int64_t *out);
int hd_gguf_array_f64(const struct hd_gguf *g, const char *key, size_t i, double *out);

/* Tensor by name: 0, HD_E_NOTFOUND, or HD_E_UNSUPPORTED (a type that is not in tensor.h). 1-D
 * tensors have rows = 1; of more than two dimensions, rows is the product of all but the first. */
int hd_gguf_tensor(const struct hd_gguf *g, const char *name, struct hd_tensor *out);
/* Its type as ggml calls it ("Q3_K", "number 77"), whether hydac can read it or not. */
void hd_gguf_tensor_type(const struct hd_gguf *g, const char *name, char *out, size_t size);

#endif
