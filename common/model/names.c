/* names.c - a hash table that is never deleted from: linear probing, no string is copied. */
#include "common/model/names.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

int hd_names_init(struct hd_names *x, size_t cap)
{
    size_t n_slots = 16;

    while (n_slots < 2 * cap)
        n_slots *= 2;
    *x = (struct hd_names){.cap = cap, .n_slots = n_slots};
    x->names = calloc(cap ? cap : 1, sizeof *x->names);
    x->slots = calloc(n_slots, sizeof *x->slots);
    if (x->names && x->slots)
        return 0;
    hd_names_deinit(x);
    return HD_E_NOMEM;
}

void hd_names_deinit(struct hd_names *x)
{
    free(x->names);
    free(x->slots);
    *x = (struct hd_names){0};
}

/* The slot of this name, or the free slot where it belongs. */
static size_t slot_of(const struct hd_names *x, struct hd_str name)
{
    size_t at = (size_t)XXH3_64bits(name.data, name.len) & (x->n_slots - 1);

    while (x->slots[at]) {
        struct hd_str s = x->names[x->slots[at] - 1];

        if (s.len == name.len && memcmp(s.data, name.data, s.len) == 0)
            break;
        at = (at + 1) & (x->n_slots - 1);
    }
    return at;
}

ptrdiff_t hd_names_add(struct hd_names *x, struct hd_str name)
{
    size_t at = slot_of(x, name);

    if (x->slots[at])
        return -1;
    x->names[x->n++] = name;
    x->slots[at] = (uint32_t)x->n;
    return (ptrdiff_t)x->n - 1;
}

ptrdiff_t hd_names_find(const struct hd_names *x, struct hd_str name)
{
    return x->n_slots ? (ptrdiff_t)x->slots[slot_of(x, name)] - 1 : -1;
}
