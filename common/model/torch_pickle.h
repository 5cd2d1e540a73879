/* torch_pickle.h - the tensors that a pickle of torch.save names. Internal to common/model.
 *
 * A pickle is a program for a stack machine that may call any function there is. This one calls
 * none: it knows the opcodes that a dictionary of tensors is written with (Python's pickletools,
 * protocol 2), and of functions those that stand for a tensor, a parameter and an ordered
 * dictionary. Anything else is refused by name. */
#ifndef HD_MODEL_TORCH_PICKLE_H
#define HD_MODEL_TORCH_PICKLE_H

#include "common/util/error.h"

#include <stddef.h>
#include <stdint.h>

#define HD_PICKLE_MAX_BYTES  (64u << 20)
#define HD_PICKLE_MAX_VALUES (4u << 20) /* on the stack, remembered, and in tuples */
#define HD_PICKLE_MAX_DIMS   4

/* A part of the pickle. */
struct hd_pickle_text {
    const char *data;
    size_t len;
};

struct hd_pickle_tensor {
    struct hd_pickle_text name;
    struct hd_pickle_text type;    /* of its storage: "FloatStorage" */
    struct hd_pickle_text storage; /* the record data/STORAGE of the archive */
    uint64_t values;               /* in the storage */
    uint64_t first;                /* value of it that is the tensor's first */
    uint64_t dim[HD_PICKLE_MAX_DIMS];
    size_t n_dims; /* row-major, without gaps */
};

/* `tensor` is called for each tensor of the dictionary, in its order, until it returns something
 * negative, which is returned. HD_E_FORMAT, HD_E_UNSUPPORTED, HD_E_LIMIT, HD_E_NOMEM; `err` without
 * the file's name. */
int hd_pickle_read(const uint8_t *data, size_t len,
                   int (*tensor)(void *arg, const struct hd_pickle_tensor *t, struct hd_error *err),
                   void *arg, struct hd_error *err);

#endif
