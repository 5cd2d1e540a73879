/* memory.c - buffers are filled when they are made, since some drivers find out only then that
 * there is no memory. */
#include "worker/opencl/memory.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_POOL  (UINT64_C(4) << 20) /* bytes of a pool's first slab; each next is */
#define POOL_GROWTH 4                   /* ... so many times larger, while there is room */
#define SMALLEST    16                  /* ... but no smaller than for so many blocks */
#define OFFSET      ((UINT64_C(1) << 48) - 1)
#define BLOCKS_MAX  (UINT64_C(1) << 28)

/* ---- Buffers ----*/

/* Some drivers say that they are out of resources where they have no memory, and all of them where
 * the device is gone: then nothing else goes either. */
static cl_int of_memory(struct hd_cl *cl, cl_int code)
{
    bool is_short = code == CL_INVALID_BUFFER_SIZE ||
                    (code == CL_OUT_OF_RESOURCES && cl->call.Finish(cl->queue) == CL_SUCCESS);
    return is_short ? CL_MEM_OBJECT_ALLOCATION_FAILURE : code;
}

cl_mem hd_cl_buffer(struct hd_cl *cl, uint64_t bytes, int *rc, struct hd_error *err)
{
    static const cl_uint zero = 0;
    cl_int code;
    bytes = (bytes + HD_CL_ALIGN - 1) / HD_CL_ALIGN * HD_CL_ALIGN;
    cl_mem m = cl->call.CreateBuffer(cl->context, CL_MEM_READ_WRITE, bytes ? bytes : HD_CL_ALIGN,
                                     NULL, &code);
    if (code == CL_SUCCESS && bytes > 0)
        code =
            cl->call.EnqueueFillBuffer(cl->queue, m, &zero, sizeof zero, 0, bytes, 0, NULL, NULL);
    if (code == CL_SUCCESS)
        code = cl->call.Finish(cl->queue);
    *rc = 0;
    if (code == CL_SUCCESS)
        return m;
    hd_cl_release(cl, m);
    *rc = hd_cl_fail(cl, of_memory(cl, code), "clCreateBuffer", err);
    return NULL;
}

void hd_cl_release(struct hd_cl *cl, cl_mem m)
{
    if (!m)
        return;
    atomic_fetch_add(&cl->released, 1);
    cl->call.ReleaseMemObject(m);
}

int hd_cl_pinned_new(struct hd_cl *cl, size_t bytes, struct hd_cl_pinned *out, struct hd_error *err)
{
    cl_int code;
    *out = (struct hd_cl_pinned){.bytes = bytes};
    out->buffer = cl->call.CreateBuffer(cl->context, CL_MEM_READ_WRITE | CL_MEM_ALLOC_HOST_PTR,
                                        bytes, NULL, &code);
    if (code == CL_SUCCESS)
        out->data =
            cl->call.EnqueueMapBuffer(cl->queue, out->buffer, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE,
                                      0, bytes, 0, NULL, NULL, &code);
    if (code == CL_SUCCESS)
        return 0;
    hd_cl_pinned_free(cl, out);
    return hd_cl_fail(cl, of_memory(cl, code), "clEnqueueMapBuffer", err);
}

void hd_cl_pinned_free(struct hd_cl *cl, struct hd_cl_pinned *p)
{
    if (p->data) {
        cl->call.EnqueueUnmapMemObject(cl->queue, p->buffer, p->data, 0, NULL, NULL);
        cl->call.Finish(cl->queue);
    }
    hd_cl_release(cl, p->buffer);
    *p = (struct hd_cl_pinned){0};
}

/* ---- Slabs ----*/

void hd_cl_slabs_deinit(struct hd_cl_slabs *s)
{
    for (unsigned i = 0; i < s->n; i++)
        hd_cl_release(s->cl, s->slab[i]);
    s->n = 0;
}

int hd_cl_slabs_add(struct hd_cl_slabs *s, uint64_t bytes, struct hd_error *err)
{
    int rc = HD_E_NOMEM;
    if (s->n == HD_CL_SLABS)
        return hd_fail(err, rc, "%s is out of memory: all slabs are in use", s->cl->info.name);
    cl_mem m = hd_cl_buffer(s->cl, bytes, &rc, err);
    if (!m)
        return rc;
    s->slab[s->n] = m;
    s->bytes[s->n++] = bytes;
    return 0;
}

int hd_cl_slabs_read(const struct hd_cl_slabs *s, uint64_t address, void *to, size_t bytes)
{
    cl_int rc = s->cl->call.EnqueueReadBuffer(s->cl->side, s->slab[address >> 48], CL_TRUE,
                                              address & OFFSET, bytes, to, 0, NULL, NULL);
    return rc == CL_SUCCESS ? 0 : hd_cl_fail(s->cl, rc, "clEnqueueReadBuffer", NULL);
}

int hd_cl_slabs_write(const struct hd_cl_slabs *s, uint64_t address, const void *from, size_t bytes)
{
    cl_int rc = s->cl->call.EnqueueWriteBuffer(s->cl->side, s->slab[address >> 48], CL_TRUE,
                                               address & OFFSET, bytes, from, 0, NULL, NULL);
    return rc == CL_SUCCESS ? 0 : hd_cl_fail(s->cl, rc, "clEnqueueWriteBuffer", NULL);
}

/* ---- Pieces of any size ----*/

struct hd_cl_extent {
    uint64_t address, bytes;
    struct hd_cl_extent *next;
};

int hd_cl_heap_init(struct hd_cl_heap *h, struct hd_cl *cl, uint64_t slab_bytes)
{
    *h = (struct hd_cl_heap){.slabs = {.cl = cl}, .slab_bytes = slab_bytes};
    return pthread_mutex_init(&h->lock, NULL) == 0 ? 0 : HD_E_NOMEM;
}

void hd_cl_heap_deinit(struct hd_cl_heap *h)
{
    for (struct hd_cl_extent *e = h->extent, *next; e; e = next) {
        next = e->next;
        free(e);
    }
    hd_cl_slabs_deinit(&h->slabs);
    pthread_mutex_destroy(&h->lock);
}

/* Puts what is free back in its place, joined with its neighbours. False: no memory. */
static bool put_extent(struct hd_cl_heap *h, uint64_t address, uint64_t bytes)
{
    struct hd_cl_extent **at = &h->extent, *before = NULL;
    for (; *at && (*at)->address < address; at = &(*at)->next)
        before = *at;
    struct hd_cl_extent *behind = *at;
    bool joins = before && before->address + before->bytes == address;
    if (joins)
        before->bytes += bytes;
    struct hd_cl_extent *e = joins ? before : malloc(sizeof *e);
    if (!e)
        return false;
    if (!joins) {
        *e = (struct hd_cl_extent){address, bytes, behind};
        *at = e;
    }
    if (behind && e->address + e->bytes == behind->address) {
        e->bytes += behind->bytes;
        e->next = behind->next;
        free(behind);
    }
    return true;
}

static bool take_extent(struct hd_cl_heap *h, uint64_t bytes, uint64_t *address)
{
    for (struct hd_cl_extent **at = &h->extent; *at; at = &(*at)->next) {
        struct hd_cl_extent *e = *at;
        if (e->bytes < bytes)
            continue;
        *address = e->address;
        e->address += bytes;
        e->bytes -= bytes;
        if (e->bytes == 0) {
            *at = e->next;
            free(e);
        }
        return true;
    }
    return false;
}

static uint64_t rounded(uint64_t bytes)
{
    return (bytes + HD_CL_ALIGN - 1) / HD_CL_ALIGN * HD_CL_ALIGN;
}

static int add_slab(struct hd_cl_heap *h, uint64_t bytes, struct hd_error *err)
{
    uint64_t most = h->slabs.cl->info.most_at_once;
    uint64_t size = h->slab_bytes > bytes ? h->slab_bytes : bytes;
    if (size > most && most > bytes)
        size = most;
    size = rounded(size);
    int rc = hd_cl_slabs_add(&h->slabs, size, err);
    while (rc == HD_E_NOMEM && size > bytes) { /* as large as there is room for */
        size = rounded(size / 2 > bytes ? size / 2 : bytes);
        rc = hd_cl_slabs_add(&h->slabs, size, err);
    }
    if (rc < 0)
        return rc;
    return put_extent(h, (uint64_t)(h->slabs.n - 1) << 48, size) ? 0 : HD_E_NOMEM;
}

int hd_cl_heap_take(struct hd_cl_heap *h, uint64_t bytes, uint64_t *address, struct hd_error *err)
{
    int rc = 0;
    bytes = rounded(bytes);
    pthread_mutex_lock(&h->lock);
    if (!take_extent(h, bytes, address)) {
        rc = add_slab(h, bytes, err);
        if (rc == 0 && !take_extent(h, bytes, address))
            rc = HD_E_NOMEM;
    }
    pthread_mutex_unlock(&h->lock);
    return rc;
}

void hd_cl_heap_give(struct hd_cl_heap *h, uint64_t address, uint64_t bytes)
{
    pthread_mutex_lock(&h->lock);
    put_extent(h, address,
               rounded(bytes)); /* without memory for it, it is lost until the store goes */
    pthread_mutex_unlock(&h->lock);
}

/* ---- Blocks ----*/

int hd_cl_pool_init(struct hd_cl_pool *p, struct hd_cl *cl, uint64_t block_bytes)
{
    *p = (struct hd_cl_pool){.slabs = {.cl = cl}, .block_bytes = block_bytes};
    return 0;
}

void hd_cl_pool_deinit(struct hd_cl_pool *p)
{
    hd_cl_slabs_deinit(&p->slabs);
    free(p->free);
    p->free = NULL;
}

/* As large as it should be, or as there is room for. */
static int grow_pool(struct hd_cl_pool *p, struct hd_error *err)
{
    uint64_t most = p->slabs.cl->info.most_at_once, bytes = FIRST_POOL;
    for (unsigned i = 0; i < p->slabs.n && bytes < most; i++)
        bytes *= POOL_GROWTH;
    bytes = bytes > most ? most : bytes;
    uint64_t blocks = bytes / p->block_bytes;
    blocks = blocks < SMALLEST ? SMALLEST : blocks > BLOCKS_MAX ? BLOCKS_MAX : blocks;
    int rc = HD_E_NOMEM;
    for (; rc == HD_E_NOMEM && blocks >= SMALLEST; blocks /= 2) {
        uint32_t *list = realloc(p->free, (p->n_all + blocks) * sizeof *list);
        if (!list)
            continue;
        p->free = list;
        rc = hd_cl_slabs_add(&p->slabs, blocks * p->block_bytes, err);
        if (rc == 0)
            break;
    }
    for (uint64_t i = blocks; rc == 0 && i-- > 0;)
        p->free[p->n_free++] = (p->slabs.n - 1) << 28 | (uint32_t)i;
    p->n_all += rc == 0 ? blocks : 0;
    return rc;
}

int hd_cl_pool_take(struct hd_cl_pool *p, uint32_t *block, struct hd_error *err)
{
    int rc = p->n_free == 0 ? grow_pool(p, err) : 0;
    if (rc == 0)
        *block = p->free[--p->n_free];
    return rc;
}

void hd_cl_pool_give(struct hd_cl_pool *p, uint32_t block)
{
    p->free[p->n_free++] = block;
}
