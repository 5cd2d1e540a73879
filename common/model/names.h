/* names.h - a set of unique names with their numbers: open addressing over views. Internal to
 * common/model. */
#ifndef HD_MODEL_NAMES_H
#define HD_MODEL_NAMES_H

#include "common/model/gguf.h"

struct hd_names {
    struct hd_str *names; /* [n], room for `cap`; views, owned by whoever added them */
    size_t n, cap;
    uint32_t *slots; /* number + 1; 0 = free */
    size_t n_slots;  /* a power of two, at most half full */
};

/* Room for `cap` names (below 2^31). HD_E_NOMEM, without a text. */
int hd_names_init(struct hd_names *x, size_t cap);
void hd_names_deinit(struct hd_names *x);
/* The new name's number (0, 1, 2, ...), or -1 when it is there already. */
ptrdiff_t hd_names_add(struct hd_names *x, struct hd_str name);
/* -1: not there. */
ptrdiff_t hd_names_find(const struct hd_names *x, struct hd_str name);

#endif
