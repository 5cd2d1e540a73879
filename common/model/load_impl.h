/* load_impl.h - what the loader's files share. */
#ifndef HD_MODEL_LOAD_IMPL_H
#define HD_MODEL_LOAD_IMPL_H

#include "common/model/arch.h"
#include "common/model/model_impl.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#define NAME_MAX_LEN 96 /* the longest that a family makes is 60 */

struct loader {
    struct hd_model *m;
    const struct hd_source *src;
    XXH3_state_t *hash;
    bool *used; /* [src->names->n] */
    bool noted_f8, noted_wide;
    struct hd_error *err;
};

/* The tensor of that name, which is used then. HD_E_FORMAT: there is none; HD_E_UNSUPPORTED: of a
 * type that is not known. */
int load_tensor(struct loader *l, const char *name, struct hd_tensor *out);
/* HD_E_FORMAT: another shape than {rows, columns}; HD_E_UNSUPPORTED: a vector that is no floats. */
int load_check(const struct loader *l, const char *name, const struct hd_tensor *t,
               const size_t want[2]);
/* HD_E_UNSUPPORTED: no floats, as norms and biases must be. */
int load_check_floats(const struct loader *l, const char *name, const struct hd_tensor *t);
/* Rows [row, row + what the slot wants) of a tensor that has been read, as the slot's own. */
void load_take_rows(struct loader *l, const struct hd_tensor *t, size_t row, enum hd_slot_id id,
                    uint32_t layer);
/* Into the model's digest. */
void load_hash(struct loader *l, const char *name, const struct hd_tensor *t);

/* load_f8.c: finds what the bytes are multiplied by, and says how the tensor is kept. HD_E_FORMAT,
 * HD_E_UNSUPPORTED. */
int load_f8(struct loader *l, const char *name, struct hd_tensor *t);
/* HD_E_UNSUPPORTED: a tensor of FP8 that somebody reads as it lies in the file. */
int load_check_f8(const struct loader *l, const char *name, const struct hd_tensor *t,
                  enum hd_slot_id slot);

/* load_heads.c: a vector of each head, one behind the other: a matrix of them in one tensor, or, if
 * the name has a '*', a tensor of each. */
int load_heads(struct loader *l, const char *name, const struct hd_tensor_name *n, uint32_t layer);

/* load_experts.c: a tensor of one expert (its name has a '*') or of all of a layer. */
int load_experts(struct loader *l, const char *name, const struct hd_tensor_name *n,
                 uint32_t layer);

#endif
