/* card.c - a layer of the OpenCL loader (OPENCL_LAYERS) under which a driver's device is a smaller
 * card, or one that is lost: for tests of the programs, which know nothing of it.
 *
 *     CARD_SAYS   bytes of memory that it says it has
 *     CARD_HAS    bytes that it gives, all buffers together
 *     CARD_LOST   a file: the launch or read that finds it there takes it away and fails with the
 *                 code that stands in it, as does from then on all that is asked of the device in
 *                 this process; a new one finds it well */
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl_layer.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct _cl_icd_dispatch *next; /* the driver, or the layer below */
static struct _cl_icd_dispatch own;
static uint64_t says, has; /* 0: what the driver says and has */
static const char *lost_file;
static atomic_int lost; /* CL_SUCCESS: it is there */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t used; /* under the lock */

/* ---- A smaller one ----*/

/* Pinned memory is the host's. */
static uint64_t on_card(cl_mem_flags flags, size_t bytes)
{
    return flags & CL_MEM_ALLOC_HOST_PTR ? 0 : bytes;
}

static cl_int CL_API_CALL device_info(cl_device_id d, cl_device_info what, size_t size, void *value,
                                      size_t *needed)
{
    cl_int rc = next->clGetDeviceInfo(d, what, size, value, needed);
    bool is_memory = what == CL_DEVICE_GLOBAL_MEM_SIZE || what == CL_DEVICE_MAX_MEM_ALLOC_SIZE;
    cl_ulong *bytes = value;
    if (rc == CL_SUCCESS && is_memory && bytes && says > 0 && says < *bytes)
        *bytes = says;
    return rc;
}

static cl_mem CL_API_CALL create_buffer(cl_context c, cl_mem_flags flags, size_t bytes, void *host,
                                        cl_int *rc)
{
    cl_mem m = NULL;
    cl_int code = atomic_load(&lost);
    pthread_mutex_lock(&lock);
    if (code == CL_SUCCESS && has > 0 && used + on_card(flags, bytes) > has)
        code = CL_MEM_OBJECT_ALLOCATION_FAILURE;
    if (code == CL_SUCCESS)
        m = next->clCreateBuffer(c, flags, bytes, host, &code);
    if (m)
        used += on_card(flags, bytes);
    pthread_mutex_unlock(&lock);
    if (rc)
        *rc = code;
    return m;
}

static cl_int CL_API_CALL release(cl_mem m)
{
    size_t bytes = 0;
    cl_uint left = 0;
    cl_mem whole = NULL;
    cl_mem_flags flags = 0;
    next->clGetMemObjectInfo(m, CL_MEM_SIZE, sizeof bytes, &bytes, NULL);
    next->clGetMemObjectInfo(m, CL_MEM_FLAGS, sizeof flags, &flags, NULL);
    next->clGetMemObjectInfo(m, CL_MEM_REFERENCE_COUNT, sizeof left, &left, NULL);
    next->clGetMemObjectInfo(m, CL_MEM_ASSOCIATED_MEMOBJECT, sizeof whole, &whole, NULL);
    pthread_mutex_lock(&lock);
    if (left == 1 && !whole) /* parts of others have no memory of their own */
        used -= on_card(flags, bytes);
    pthread_mutex_unlock(&lock);
    return next->clReleaseMemObject(m);
}

/* ---- One that is lost ----*/

static void look_whether_lost(void)
{
    FILE *f = lost_file && atomic_load(&lost) == CL_SUCCESS ? fopen(lost_file, "r") : NULL;
    int code;
    if (!f)
        return;
    if (fscanf(f, "%d", &code) == 1 && unlink(lost_file) == 0)
        atomic_store(&lost, code);
    fclose(f);
}

static cl_int CL_API_CALL launch(cl_command_queue q, cl_kernel k, cl_uint dims,
                                 const size_t *offset, const size_t *global, const size_t *local,
                                 cl_uint n, const cl_event *list, cl_event *event)
{
    look_whether_lost();
    cl_int rc = atomic_load(&lost);
    return rc ? rc
              : next->clEnqueueNDRangeKernel(q, k, dims, offset, global, local, n, list, event);
}

static cl_int CL_API_CALL read_buffer(cl_command_queue q, cl_mem m, cl_bool waits, size_t offset,
                                      size_t bytes, void *to, cl_uint n, const cl_event *list,
                                      cl_event *event)
{
    look_whether_lost();
    cl_int rc = atomic_load(&lost);
    return rc ? rc : next->clEnqueueReadBuffer(q, m, waits, offset, bytes, to, n, list, event);
}

static cl_int CL_API_CALL write_buffer(cl_command_queue q, cl_mem m, cl_bool waits, size_t offset,
                                       size_t bytes, const void *from, cl_uint n,
                                       const cl_event *list, cl_event *event)
{
    cl_int rc = atomic_load(&lost);
    return rc ? rc : next->clEnqueueWriteBuffer(q, m, waits, offset, bytes, from, n, list, event);
}

static cl_int CL_API_CALL fill_buffer(cl_command_queue q, cl_mem m, const void *pattern,
                                      size_t size, size_t offset, size_t bytes, cl_uint n,
                                      const cl_event *list, cl_event *event)
{
    cl_int rc = atomic_load(&lost);
    return rc ? rc : next->clEnqueueFillBuffer(q, m, pattern, size, offset, bytes, n, list, event);
}

static cl_int CL_API_CALL flush(cl_command_queue q)
{
    cl_int rc = atomic_load(&lost);
    return rc ? rc : next->clFlush(q);
}

static cl_int CL_API_CALL finish(cl_command_queue q)
{
    cl_int rc = atomic_load(&lost);
    return rc ? rc : next->clFinish(q);
}

/* ---- What the loader asks for ----*/

static uint64_t number(const char *name)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : 0;
}

cl_int CL_API_CALL clGetLayerInfo(cl_layer_info what, size_t size, void *value, size_t *needed)
{
    static const cl_layer_api_version version = CL_LAYER_API_VERSION_100;
    if (what != CL_LAYER_API_VERSION || (value && size < sizeof version))
        return CL_INVALID_VALUE;
    if (value)
        memcpy(value, &version, sizeof version);
    if (needed)
        *needed = sizeof version;
    return CL_SUCCESS;
}

cl_int CL_API_CALL clInitLayer(cl_uint n, const struct _cl_icd_dispatch *target, cl_uint *n_own,
                               const struct _cl_icd_dispatch **out)
{
    cl_uint most = sizeof own / sizeof(void *);
    next = target;
    memcpy(&own, target, (n < most ? n : most) * sizeof(void *)); /* of which age each of us is */
    own.clGetDeviceInfo = device_info;
    own.clCreateBuffer = create_buffer;
    own.clReleaseMemObject = release;
    own.clEnqueueNDRangeKernel = launch;
    own.clEnqueueReadBuffer = read_buffer;
    own.clEnqueueWriteBuffer = write_buffer;
    own.clEnqueueFillBuffer = fill_buffer;
    own.clFlush = flush;
    own.clFinish = finish;
    says = number("CARD_SAYS");
    has = number("CARD_HAS");
    lost_file = getenv("CARD_LOST");
    *out = &own;
    *n_own = n < most ? n : most;
    return CL_SUCCESS;
}
