/* gguf_impl.h - the inside of an opened GGUF file. Internal to common/model.
 *
 * Layout (ggml docs/gguf.md): magic, version, number of tensors, number of keys; the keys; the
 * tensors' names, shapes, types and offsets; padding to the alignment; the data. */
#ifndef HD_MODEL_GGUF_IMPL_H
#define HD_MODEL_GGUF_IMPL_H

#include "common/model/map.h"
#include "common/model/names.h"

enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
};

#define GGUF_MAGIC             0x46554747u /* "GGUF", little-endian */
#define GGUF_VERSION           3u
#define GGUF_VERSION_LITTLE    2u /* the same, before files could be big-endian */
#define GGUF_DEFAULT_ALIGNMENT 32
/* Real files have about 40 keys; the largest known model has a few thousand tensors. */
#define GGUF_MAX_KEYS    65536
#define GGUF_MAX_TENSORS 65536
#define GGUF_MAX_DIMS    4 /* GGML_MAX_DIMS */

/* Bytes of one value of a type of fixed size; 0 for strings, arrays and unknown types. */
size_t gguf_type_size(uint32_t type);

/* A type of tensors. */
struct gguf_dtype {
    const char *name;            /* NULL: not one of ggml's */
    uint16_t block, block_bytes; /* values and bytes of a block; 0: a type that was given up */
};
/* Never NULL. */
const struct gguf_dtype *gguf_dtype(uint32_t type);

struct gguf_value {
    uint32_t type;
    uint32_t element;     /* of an array */
    size_t n;             /* elements of an array, bytes of a string */
    const uint8_t *data;  /* the first byte of the value, of the string, of element 0 */
    const uint8_t **strs; /* array of strings: [n] where each (its length first) begins */
};

struct hd_said;
/* A value's elements for the rules (rules.h): of an array each, of anything else the one. */
size_t gguf_said_count(const struct gguf_value *v);
void gguf_said(const struct gguf_value *v, size_t i, struct hd_said *out);

struct gguf_tensor_info {
    uint32_t type;              /* GGML's number, maybe one that we do not know */
    uint64_t ne[GGUF_MAX_DIMS]; /* fastest first, 1 where not given */
    uint64_t offset;            /* from the beginning of the data */
    uint32_t part;              /* 0: this file's, else that of parts[part - 1] */
};

struct hd_gguf {
    char *path;
    struct hd_map map;
    struct hd_names keys;
    struct gguf_value *values; /* [keys.n] */
    struct hd_names tensors;
    struct gguf_tensor_info *infos; /* [tensors.n] */
    size_t data_at;                 /* where the data begins in the file */
    struct hd_gguf **parts;         /* [n_parts]: the other files of the model, in order */
    size_t n_parts;
};

/* One file as it is, a part or a whole. */
int gguf_open_one(struct hd_gguf **out, const char *path, struct hd_error *err);

#endif
