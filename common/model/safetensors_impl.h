/* safetensors_impl.h - what the files of safetensors.h share: entries, whichever kind of file they
 * come from. */
#ifndef HD_MODEL_SAFETENSORS_IMPL_H
#define HD_MODEL_SAFETENSORS_IMPL_H

#include "common/model/json.h"
#include "common/model/safetensors.h"

#define TYPE_OTHER (-1)
#define TYPE_E5M2  (-2)

struct entry {
    int type; /* enum hd_dtype or one of the two above */
    size_t rows, cols;
    uint32_t shard;
    size_t at;              /* in its file; maybe at an odd place, the format pads nothing */
    const char *dtype;      /* as the header says it; a view into it */
    struct hd_split *split; /* it lies in all files; NULL: in one */
};

struct shard {
    char *path;
    struct hd_map map;
    json_t *header; /* kept: the names are views into it */
    void *pickle;   /* likewise, of a file that PyTorch wrote */
};

struct hd_safetensors {
    struct shard *shards; /* [n_shards], room for HD_SAFETENSORS_MAX_SHARDS */
    size_t n_shards;
    struct hd_names names;
    struct entry *entries; /* [names.n] */
};

/* safetensors.c */
/* The number of the file of this name; a new one when it is not there yet; negative: an error. */
int safetensors_file(struct hd_safetensors *st, const char *folder, const char *name,
                     struct hd_error *err);
/* Of a type of the format, or TYPE_OTHER. */
int safetensors_type(const char *dtype);
int safetensors_add(struct hd_safetensors *st, const struct shard *s, struct hd_str name,
                    const struct entry *e, struct hd_error *err);

/* torch_folder.c: a file that PyTorch wrote, and whether a name is that of one. */
bool torch_is_named(const char *path);
int torch_open_file(struct hd_safetensors *st, struct shard *s, struct hd_error *err);
/* Meta's files consolidated.NN.pth, each with a part of each tensor. HD_E_NOTFOUND: not there. */
int torch_open_parts(struct hd_safetensors *st, const char *folder, struct hd_error *err);

#endif
