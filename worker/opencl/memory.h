/* memory.h - the device's memory: buffers, and two ways of sharing out slabs of it.
 *
 * Kernels reach all of a store through the same few buffers, its slabs; an address is
 * slab << 48 | offset. Slabs are made when they are needed and stay until the store goes. */
#ifndef HD_WORKER_OPENCL_MEMORY_H
#define HD_WORKER_OPENCL_MEMORY_H

#include "worker/opencl/driver.h"

#include <pthread.h>
#include <stddef.h>

#define HD_CL_SLABS 12 /* kernels/common.cl: SLAB_PARAMS */
#define HD_CL_ALIGN 256

/* NULL: *rc is HD_E_NOMEM or HD_E_DEVICE. Its memory is there when this returns. */
cl_mem hd_cl_buffer(struct hd_cl *cl, uint64_t bytes, int *rc, struct hd_error *err);
void hd_cl_release(struct hd_cl *cl, cl_mem m);
/* Memory of the host that the driver copies from and to without detours. */
struct hd_cl_pinned {
    cl_mem buffer;
    uint8_t *data; /* NULL: none */
    size_t bytes;
};
int hd_cl_pinned_new(struct hd_cl *cl, size_t bytes, struct hd_cl_pinned *out,
                     struct hd_error *err);
void hd_cl_pinned_free(struct hd_cl *cl, struct hd_cl_pinned *p);

struct hd_cl_slabs {
    struct hd_cl *cl;
    cl_mem slab[HD_CL_SLABS]; /* [n], the others NULL */
    uint64_t bytes[HD_CL_SLABS];
    unsigned n;
};
void hd_cl_slabs_deinit(struct hd_cl_slabs *s);
/* Adds one. 0, HD_E_NOMEM or HD_E_DEVICE. */
int hd_cl_slabs_add(struct hd_cl_slabs *s, uint64_t bytes, struct hd_error *err);
/* Copies. Any thread. 0 or HD_E_DEVICE. */
int hd_cl_slabs_read(const struct hd_cl_slabs *s, uint64_t address, void *to, size_t bytes);
int hd_cl_slabs_write(const struct hd_cl_slabs *s, uint64_t address, const void *from,
                      size_t bytes);

/* ---- Pieces of any size. Any thread. ----*/

struct hd_cl_extent;
struct hd_cl_heap {
    struct hd_cl_slabs slabs;
    uint64_t slab_bytes;         /* of the next slab */
    struct hd_cl_extent *extent; /* what is free, by address */
    pthread_mutex_t lock;
};
int hd_cl_heap_init(struct hd_cl_heap *h, struct hd_cl *cl, uint64_t slab_bytes);
void hd_cl_heap_deinit(struct hd_cl_heap *h);
int hd_cl_heap_take(struct hd_cl_heap *h, uint64_t bytes, uint64_t *address, struct hd_error *err);
void hd_cl_heap_give(struct hd_cl_heap *h, uint64_t address, uint64_t bytes);

/* ---- Blocks of one size: a block's number is slab << 28 | number in the slab ----*/

struct hd_cl_pool {
    struct hd_cl_slabs slabs;
    uint64_t block_bytes;
    uint32_t *free; /* [n_free], room for all there are */
    size_t n_free, n_all;
};
int hd_cl_pool_init(struct hd_cl_pool *p, struct hd_cl *cl, uint64_t block_bytes);
void hd_cl_pool_deinit(struct hd_cl_pool *p);
int hd_cl_pool_take(struct hd_cl_pool *p, uint32_t *block, struct hd_error *err);
void hd_cl_pool_give(struct hd_cl_pool *p, uint32_t block);
static inline uint64_t hd_cl_pool_address(const struct hd_cl_pool *p, uint32_t block)
{
    return (uint64_t)(block >> 28) << 48 | (block & 0xfffffffu) * p->block_bytes;
}

#endif
