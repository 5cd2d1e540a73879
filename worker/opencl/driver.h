/* driver.h - an OpenCL driver: found, opened, asked, and its errors. */
#ifndef HD_WORKER_OPENCL_DRIVER_H
#define HD_WORKER_OPENCL_DRIVER_H

#include "common/util/error.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#define HD_CL_CALLS(X)                                                                             \
    X(GetPlatformIDs)                                                                              \
    X(GetPlatformInfo)                                                                             \
    X(GetDeviceIDs)                                                                                \
    X(GetDeviceInfo)                                                                               \
    X(CreateContext)                                                                               \
    X(ReleaseContext)                                                                              \
    X(CreateCommandQueue)                                                                          \
    X(ReleaseCommandQueue)                                                                         \
    X(CreateBuffer)                                                                                \
    X(CreateSubBuffer)                                                                             \
    X(ReleaseMemObject)                                                                            \
    X(CreateProgramWithSource)                                                                     \
    X(CreateProgramWithBinary)                                                                     \
    X(BuildProgram)                                                                                \
    X(GetProgramInfo)                                                                              \
    X(GetProgramBuildInfo)                                                                         \
    X(ReleaseProgram)                                                                              \
    X(CreateKernel)                                                                                \
    X(ReleaseKernel)                                                                               \
    X(SetKernelArg)                                                                                \
    X(EnqueueNDRangeKernel)                                                                        \
    X(EnqueueReadBuffer)                                                                           \
    X(EnqueueWriteBuffer)                                                                          \
    X(EnqueueFillBuffer)                                                                           \
    X(EnqueueMapBuffer)                                                                            \
    X(EnqueueUnmapMemObject)                                                                       \
    X(GetEventInfo)                                                                                \
    X(WaitForEvents)                                                                               \
    X(ReleaseEvent)                                                                                \
    X(Flush)                                                                                       \
    X(Finish)

struct hd_cl_calls {
#define X(name) __typeof__(&cl##name) name;
    HD_CL_CALLS(X)
#undef X
};

struct hd_cl_info {
    char platform[128], name[128], driver[128];
    uint64_t memory, memory_free, most_at_once; /* bytes; the last of one buffer */
    bool is_gpu, is_nvidia, has_dot, has_mma;
    bool shares_memory; /* with the host: its memory is the host's */
};

struct hd_cl {
    void *library;
    struct hd_cl_calls call;
    cl_device_id device;
    cl_context context;
    cl_command_queue queue; /* of the thread that leads */
    cl_command_queue side;  /* of any thread: copies */
    struct hd_cl_info info;
    char state_dir[4096];      /* programs are kept there; "": nowhere */
    _Atomic uint64_t released; /* buffers so far */
    pthread_mutex_t lock;
    struct hd_error lost; /* under the lock: how the driver has failed; code 0: it has not */
};

/* The device of opencl.h's `where`. 0, HD_E_CONFIG (there is none, or it lacks what is asked for),
 * HD_E_DEVICE, HD_E_NOMEM. */
int hd_cl_open(struct hd_cl **out, const char *where, const char *state_dir, struct hd_error *err);
void hd_cl_close(struct hd_cl *cl);

/* Calls fn for each device of each platform: its numbers, what it is. */
typedef void hd_cl_seen(void *arg, unsigned platform, unsigned device,
                        const struct hd_cl_info *info);
void hd_cl_each(hd_cl_seen *fn, void *arg);

/* Waits for what was enqueued, and gives the event back: some time awake, since a half-step takes
 * less than being woken. CL_SUCCESS or the driver's code. */
cl_int hd_cl_wait(struct hd_cl *cl, cl_event event);

/* An error of the driver: HD_E_NOMEM where memory is what it lacks, else the device is lost and it
 * is HD_E_DEVICE; so is all that fails afterwards, with the words for the first. `what` names the
 * call. */
int hd_cl_fail(struct hd_cl *cl, cl_int code, const char *what, struct hd_error *err);
/* 0; HD_E_DEVICE: the device is lost, *err says how. Any thread. */
int hd_cl_lost(struct hd_cl *cl, struct hd_error *err);

#endif
