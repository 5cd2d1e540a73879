/* gguf_write.h - writing a GGUF v3 file: keys, then the list of tensors, then their data in the
 * same order. Internal to common/model.
 *
 * The file is written under a temporary name beside `path` and renamed at the end, so that nobody
 * sees half a model. Errors are remembered: only begin and commit report them. */
#ifndef HD_MODEL_GGUF_WRITE_H
#define HD_MODEL_GGUF_WRITE_H

#include "common/math/tensor.h"
#include "common/model/gguf.h"
#include "common/model/gguf_impl.h"

struct hd_gguf_writer;

/* HD_E_IO, HD_E_NOMEM. */
int hd_gguf_write_begin(struct hd_gguf_writer **out, const char *path, struct hd_error *err);

void hd_gguf_put_u32(struct hd_gguf_writer *w, const char *key, uint32_t v);
void hd_gguf_put_f32(struct hd_gguf_writer *w, const char *key, float v);
void hd_gguf_put_bool(struct hd_gguf_writer *w, const char *key, bool v);
void hd_gguf_put_str(struct hd_gguf_writer *w, const char *key, const char *v);
/* The head of an array; exactly `n` elements of the type follow. */
void hd_gguf_put_array(struct hd_gguf_writer *w, const char *key, enum gguf_type type, uint64_t n);
void hd_gguf_element_str(struct hd_gguf_writer *w, const char *v);
void hd_gguf_element_i32(struct hd_gguf_writer *w, int32_t v);

/* A tensor, in the order of the data. rows = 0: a vector; planes from 2 on: so many matrices. */
void hd_gguf_put_tensor(struct hd_gguf_writer *w, const char *name, enum hd_dtype type,
                        const size_t ne[3]);
#define HD_GGUF_NE(cols, rows, planes) ((const size_t[]){(cols), (rows), (planes)})
/* After the last tensor is listed. */
void hd_gguf_write_header(struct hd_gguf_writer *w);
/* The data, in pieces of any size; hd_gguf_end_tensor after the last piece of each tensor: false
 * when something failed and more work is useless. */
void hd_gguf_write_data(struct hd_gguf_writer *w, const void *data, size_t len);
bool hd_gguf_end_tensor(struct hd_gguf_writer *w);
/* Instead of data: a hole of so many bytes, which reads as zeros and takes no room. */
void hd_gguf_write_hole(struct hd_gguf_writer *w, uint64_t len);
/* The caller cannot go on: commit will give up with this errno. */
void hd_gguf_write_fail(struct hd_gguf_writer *w, int error);

/* Syncs, renames, frees. HD_E_IO, HD_E_NOMEM; then nothing is left behind. */
int hd_gguf_write_commit(struct hd_gguf_writer *w, struct hd_error *err);

#endif
