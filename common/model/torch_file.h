/* torch_file.h - the tensors of a file of torch.save (model.pth, pytorch_model.bin), read without
 * running what is in it. Internal to common/model. */
#ifndef HD_MODEL_TORCH_FILE_H
#define HD_MODEL_TORCH_FILE_H

#include "common/model/map.h"
#include "common/model/names.h"

struct hd_torch_tensor {
    struct hd_str name; /* a view into *pickle */
    const char *type;   /* in the words of safetensors: "BF16" */
    size_t rows, cols;  /* the last dimension is a row */
    size_t at;          /* in the file */
};

/* `add` is called for each tensor, until it returns something negative, which is returned. Each
 * tensor lies whole in its record. *pickle: what the names are views into; to be freed, also when
 * something went wrong. HD_E_FORMAT, HD_E_UNSUPPORTED, HD_E_LIMIT, HD_E_NOMEM; `err` names `path`.
 */
int hd_torch_read(const struct hd_map *map, const char *path, void **pickle,
                  int (*add)(void *arg, const struct hd_torch_tensor *t, struct hd_error *err),
                  void *arg, struct hd_error *err);

#endif
