/* shared.c - reference-counted payloads. */
#include "common/net/conn.h"

#include "common/util/size.h"

#include <stdatomic.h>
#include <stdlib.h>

#define ALIGNED 64 /* one 512-bit vector */

struct hd_shared {
    atomic_uint refs;
    size_t len;
    _Alignas(ALIGNED) uint8_t data[];
};

struct hd_shared *hd_shared_new(size_t len)
{
    size_t total;
    void *block;
    if (!hd_add_size(sizeof(struct hd_shared), len, &total) ||
        posix_memalign(&block, ALIGNED, total) != 0)
        return NULL;
    struct hd_shared *s = block;
    atomic_init(&s->refs, 1);
    s->len = len;
    return s;
}

uint8_t *hd_shared_data(struct hd_shared *s)
{
    return s->data;
}

size_t hd_shared_len(const struct hd_shared *s)
{
    return s->len;
}

struct hd_shared *hd_shared_ref(struct hd_shared *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void hd_shared_unref(struct hd_shared *s)
{
    /* The last one frees: it must see what the others did with the bytes before they let go. */
    if (s && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1)
        free(s);
}
