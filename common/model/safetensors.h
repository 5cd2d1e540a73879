/* safetensors.h - the tensors of a Hugging Face folder: model.safetensors, or else the shards
 * that model.safetensors.index.json lists. Internal to common/model.
 *
 * A file is: length of the header (u64), the header (JSON: name -> dtype, shape, data_offsets),
 * the data. As with GGUF, everything is checked before it is believed. */
#ifndef HD_MODEL_SAFETENSORS_H
#define HD_MODEL_SAFETENSORS_H

#include "common/model/map.h"
#include "common/model/names.h"
#include "common/util/warnings.h"

struct hd_safetensors;

/* The format's own limit for a header. */
#define HD_SAFETENSORS_MAX_HEADER  100000000
#define HD_SAFETENSORS_MAX_SHARDS  1024
#define HD_SAFETENSORS_MAX_TENSORS 65536

/* HD_E_IO, HD_E_FORMAT, HD_E_UNSUPPORTED, HD_E_LIMIT, HD_E_NOMEM; `err` names the file. */
int hd_safetensors_open(struct hd_safetensors **out, const char *folder, struct hd_warnings *w,
                        struct hd_error *err);
void hd_safetensors_close(struct hd_safetensors *s);

/* 0, HD_E_NOTFOUND, or HD_E_UNSUPPORTED (a type other than F32, F16, BF16 and FP8, which is as its
 * bytes lie, HD_LAYOUT_F8, without scales). 1-D tensors have rows =
 * 1, as in GGUF. The data may begin at any byte: the format pads nothing. */
int hd_safetensors_tensor(const struct hd_safetensors *s, const char *name, struct hd_tensor *out);
/* The bytes of a tensor of U8 or F8_E8M0, whatever its shape. 0, HD_E_NOTFOUND or HD_E_UNSUPPORTED.
 */
int hd_safetensors_bytes(const struct hd_safetensors *s, const char *name, const uint8_t **data,
                         size_t *n);
/* Its type in the words of the file ("F8_E4M3"). */
void hd_safetensors_type(const struct hd_safetensors *s, const char *name, char *out, size_t size);
/* File i and its path; NULL behind the last. */
const struct hd_map *hd_safetensors_map(const struct hd_safetensors *s, size_t i,
                                        const char **path);
/* Names of all tensors. */
const struct hd_names *hd_safetensors_names(const struct hd_safetensors *s);

#endif
