/* driver.c - the ICD loader is opened when it is wanted; devices are asked what they can do. */
#include "worker/opencl/driver.h"

#include "common/util/clock.h"
#include "common/util/memory.h"

#include <ctype.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIBRARY      "libOpenCL.so.1"
#define MOST         16     /* platforms, and devices of one */
#define FREE_AMD     0x4039 /* CL_DEVICE_GLOBAL_FREE_MEMORY_AMD: KiB */
#define MAJOR_NVIDIA 0x4000 /* CL_DEVICE_COMPUTE_CAPABILITY_MAJOR_NV */
#define MMA_SINCE    8      /* m16n8k32 of bytes */
#define WANTED_FP    (CL_FP_FMA | CL_FP_DENORM | CL_FP_ROUND_TO_NEAREST | CL_FP_INF_NAN)
#define WANTED_LOCAL (48u << 10) /* bytes of local memory that the kernels count on */
#define WANTED_GROUP 256
#define AWAKE_US     2000 /* of waiting for a half-step: longer than most take */

/* ---- The library ----*/

static int load(void **library, struct hd_cl_calls *call, struct hd_error *err)
{
    *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!*library)
        return hd_fail(err, HD_E_CONFIG,
                       "compute.device: %s is not on this machine; install an OpenCL driver and "
                       "ocl-icd-libopencl1, or use cpu",
                       LIBRARY);
#define X(name)                                                                                    \
    *(void **)(void *)&call->name = dlsym(*library, "cl" #name);                                   \
    if (!call->name) {                                                                             \
        dlclose(*library);                                                                         \
        return hd_fail(err, HD_E_CONFIG,                                                           \
                       "compute.device: %s has no cl%s; use OpenCL 1.2 or later", LIBRARY, #name); \
    }
    HD_CL_CALLS(X)
#undef X
    return 0;
}

/* ---- What a device is ----*/

static void text_of(const struct hd_cl_calls *call, cl_device_id d, cl_device_info what, char *to,
                    size_t size)
{
    to[0] = '\0';
    if (call->GetDeviceInfo(d, what, size, to, NULL) != CL_SUCCESS)
        to[0] = '\0';
    to[size - 1] = '\0';
}

static uint64_t number_of(const struct hd_cl_calls *call, cl_device_id d, cl_device_info what)
{
    uint64_t v = 0;
    return call->GetDeviceInfo(d, what, sizeof v, &v, NULL) == CL_SUCCESS ? v : 0;
}

static bool has_extension(const struct hd_cl_calls *call, cl_device_id d, const char *name)
{
    static const size_t most = 1 << 16;
    char *all = malloc(most);
    if (!all)
        return false;
    text_of(call, d, CL_DEVICE_EXTENSIONS, all, most);
    bool has = strstr(all, name) != NULL;
    free(all);
    return has;
}

static void describe(const struct hd_cl_calls *call, cl_platform_id p, cl_device_id d,
                     struct hd_cl_info *info)
{
    uint64_t kib[2] = {0};
    *info = (struct hd_cl_info){0};
    call->GetPlatformInfo(p, CL_PLATFORM_NAME, sizeof info->platform - 1, info->platform, NULL);
    text_of(call, d, CL_DEVICE_NAME, info->name, sizeof info->name);
    text_of(call, d, CL_DRIVER_VERSION, info->driver, sizeof info->driver);
    info->is_gpu =
        number_of(call, d, CL_DEVICE_TYPE) & (CL_DEVICE_TYPE_GPU | CL_DEVICE_TYPE_ACCELERATOR);
    info->memory = number_of(call, d, CL_DEVICE_GLOBAL_MEM_SIZE);
    info->most_at_once = number_of(call, d, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
    info->shares_memory = (uint32_t)number_of(call, d, CL_DEVICE_HOST_UNIFIED_MEMORY) != 0;
    info->is_nvidia = has_extension(call, d, "cl_nv_device_attribute_query");
    info->has_dot = has_extension(call, d, "cl_khr_integer_dot_product");
    info->has_mma = info->is_nvidia && (uint32_t)number_of(call, d, MAJOR_NVIDIA) >= MMA_SINCE;
    info->memory_free = info->memory;
    if (call->GetDeviceInfo(d, FREE_AMD, sizeof kib, kib, NULL) == CL_SUCCESS && kib[0] > 0)
        info->memory_free = kib[0] << 10;
    if (info->shares_memory && hd_memory() < info->memory_free)
        info->memory_free = hd_memory();
}

static unsigned platforms_of(const struct hd_cl_calls *call, cl_platform_id *list)
{
    cl_uint n = 0;
    if (call->GetPlatformIDs(MOST, list, &n) != CL_SUCCESS)
        return 0;
    return n < MOST ? n : MOST;
}

static unsigned devices_of(const struct hd_cl_calls *call, cl_platform_id p, cl_device_id *list)
{
    cl_uint n = 0;
    if (call->GetDeviceIDs(p, CL_DEVICE_TYPE_ALL, MOST, list, &n) != CL_SUCCESS)
        return 0;
    return n < MOST ? n : MOST;
}

static void each(const struct hd_cl_calls *call, hd_cl_seen *fn, void *arg)
{
    cl_platform_id platforms[MOST];
    cl_device_id devices[MOST];
    struct hd_cl_info info;
    unsigned n = platforms_of(call, platforms);
    for (unsigned p = 0; p < n; p++) {
        unsigned n_devices = devices_of(call, platforms[p], devices);
        for (unsigned d = 0; d < n_devices; d++) {
            describe(call, platforms[p], devices[d], &info);
            fn(arg, p, d, &info);
        }
    }
}

void hd_cl_each(hd_cl_seen *fn, void *arg)
{
    void *library;
    struct hd_cl_calls call;
    if (load(&library, &call, NULL) < 0)
        return;
    each(&call, fn, arg); /* the library stays, as in hd_cl_close */
}

/* ---- Choosing one ----*/

/* A number, or a part of the name, upper or lower case; "" is any. */
static bool fits(const char *wanted, unsigned number, const char *name)
{
    char *end;
    unsigned long n = strtoul(wanted, &end, 10);
    if (wanted[0] == '\0' || (isdigit((unsigned char)wanted[0]) && *end == '\0' && n == number))
        return true;
    size_t length = strlen(wanted);
    for (; *name; name++) {
        size_t i = 0;
        while (i < length && tolower((unsigned char)name[i]) == tolower((unsigned char)wanted[i]))
            i++;
        if (i == length)
            return true;
    }
    return false;
}

struct choice {
    char platform[128], device[128]; /* wanted */
    bool found, is_gpu;
    unsigned at[2];
};

static void consider(void *arg, unsigned platform, unsigned device, const struct hd_cl_info *info)
{
    struct choice *c = arg;
    if (!fits(c->platform, platform, info->platform) || !fits(c->device, device, info->name))
        return;
    if (c->found && (c->is_gpu || !info->is_gpu))
        return;
    c->found = true;
    c->is_gpu = info->is_gpu;
    c->at[0] = platform;
    c->at[1] = device;
}

static int choose(struct hd_cl *cl, const char *where, struct hd_error *err)
{
    struct choice c = {0};
    cl_platform_id platforms[MOST];
    cl_device_id devices[MOST];
    size_t cut = strcspn(where, "/");
    snprintf(c.platform, sizeof c.platform, "%.*s", (int)cut, where);
    snprintf(c.device, sizeof c.device, "%s", where[cut] ? where + cut + 1 : "");
    each(&cl->call, consider, &c);
    if (!c.found)
        return hd_fail(err, HD_E_CONFIG,
                       "compute.device: no OpenCL device fits \"%s\"; hydac-worker --list-devices "
                       "says what there is",
                       where);
    platforms_of(&cl->call, platforms);
    devices_of(&cl->call, platforms[c.at[0]], devices);
    cl->device = devices[c.at[1]];
    describe(&cl->call, platforms[c.at[0]], cl->device, &cl->info);
    return 0;
}

/* What its numbers say; what it does is tried afterwards. */
static int check(const struct hd_cl *cl, struct hd_error *err)
{
    uint64_t fp = number_of(&cl->call, cl->device, CL_DEVICE_SINGLE_FP_CONFIG);
    const char *lacks = NULL;
    if ((fp & WANTED_FP) != WANTED_FP)
        lacks = "fused multiply-adds, subnormals and rounding to nearest";
    else if (!(fp & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT))
        lacks = "correctly rounded division";
    else if (number_of(&cl->call, cl->device, CL_DEVICE_LOCAL_MEM_SIZE) < WANTED_LOCAL)
        lacks = "48 KiB of local memory";
    else if (number_of(&cl->call, cl->device, CL_DEVICE_MAX_WORK_GROUP_SIZE) < WANTED_GROUP)
        lacks = "work-groups of 256";
    else if (!(cl_bool)number_of(&cl->call, cl->device, CL_DEVICE_ENDIAN_LITTLE))
        lacks = "little-endian memory";
    if (!lacks)
        return 0;
    return hd_fail(err, HD_E_CONFIG,
                   "compute.device: %s has no %s, without which its results would differ; use cpu",
                   cl->info.name, lacks);
}

/* ---- Opening ----*/

static int open_context(struct hd_cl *cl, struct hd_error *err)
{
    cl_int rc;
    cl->context = cl->call.CreateContext(NULL, 1, &cl->device, NULL, NULL, &rc);
    if (rc != CL_SUCCESS)
        return hd_cl_fail(cl, rc, "clCreateContext", err);
    cl->queue = cl->call.CreateCommandQueue(cl->context, cl->device, 0, &rc);
    if (rc == CL_SUCCESS)
        cl->side = cl->call.CreateCommandQueue(cl->context, cl->device, 0, &rc);
    return rc == CL_SUCCESS ? 0 : hd_cl_fail(cl, rc, "clCreateCommandQueue", err);
}

int hd_cl_open(struct hd_cl **out, const char *where, const char *state_dir, struct hd_error *err)
{
    struct hd_cl *cl = calloc(1, sizeof *cl);
    if (!cl)
        return hd_fail(err, HD_E_NOMEM, "out of memory");
    pthread_mutex_init(&cl->lock, NULL);
    snprintf(cl->state_dir, sizeof cl->state_dir, "%s", state_dir ? state_dir : "");
    int rc = load(&cl->library, &cl->call, err);
    if (rc < 0) {
        pthread_mutex_destroy(&cl->lock);
        free(cl);
        return rc;
    }
    rc = choose(cl, where ? where : "", err);
    if (rc == 0)
        rc = check(cl, err);
    if (rc == 0)
        rc = open_context(cl, err);
    if (rc < 0) {
        hd_cl_close(cl);
        return rc;
    }
    *out = cl;
    return 0;
}

/* The library stays: drivers leave threads and handlers at exit behind in it. */
void hd_cl_close(struct hd_cl *cl)
{
    if (!cl)
        return;
    if (cl->side)
        cl->call.ReleaseCommandQueue(cl->side);
    if (cl->queue)
        cl->call.ReleaseCommandQueue(cl->queue);
    if (cl->context)
        cl->call.ReleaseContext(cl->context);
    pthread_mutex_destroy(&cl->lock);
    free(cl);
}

cl_int hd_cl_wait(struct hd_cl *cl, cl_event event)
{
    cl_int status = CL_QUEUED, rc = cl->call.Flush(cl->queue);
    uint64_t end = hd_now_us() + AWAKE_US;
    while (rc == CL_SUCCESS && status > CL_COMPLETE && hd_now_us() < end)
        rc = cl->call.GetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status,
                                   NULL);
    if (rc == CL_SUCCESS && status > CL_COMPLETE)
        rc = cl->call.WaitForEvents(1, &event);
    cl->call.ReleaseEvent(event);
    return rc == CL_SUCCESS && status < 0 ? status : rc;
}

/* ---- Errors ----*/

/* Those of a device that is gone, as drivers say it. */
static const char *name_of(cl_int code)
{
    switch (code) {
#define X(name)                                                                                    \
    case CL_##name:                                                                                \
        return "CL_" #name;
        X(DEVICE_NOT_AVAILABLE)
        X(OUT_OF_RESOURCES)
        X(EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST)
        X(INVALID_CONTEXT)
        X(INVALID_COMMAND_QUEUE)
        X(INVALID_MEM_OBJECT)
        X(INVALID_OPERATION)
#undef X
    default:
        return "an error";
    }
}

int hd_cl_lost(struct hd_cl *cl, struct hd_error *err)
{
    pthread_mutex_lock(&cl->lock);
    int rc = cl->lost.code;
    if (rc < 0 && err)
        *err = cl->lost;
    pthread_mutex_unlock(&cl->lock);
    return rc;
}

int hd_cl_fail(struct hd_cl *cl, cl_int code, const char *what, struct hd_error *err)
{
    bool is_short = code == CL_MEM_OBJECT_ALLOCATION_FAILURE || code == CL_OUT_OF_HOST_MEMORY;
    pthread_mutex_lock(&cl->lock);
    if (cl->lost.code == 0 && !is_short)
        hd_fail(&cl->lost, HD_E_DEVICE,
                "the OpenCL device %s is lost: %s failed with %s (%d); start the worker again",
                cl->info.name, what, name_of(code), code);
    pthread_mutex_unlock(&cl->lock);
    int rc = hd_cl_lost(cl, err);
    return rc < 0 ? rc
                  : hd_fail(err, HD_E_NOMEM, "%s is out of memory (%s: %d)", cl->info.name, what,
                            code);
}
