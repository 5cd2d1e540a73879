/* devices.c - the kinds of devices of this program, the one that "auto" takes first. */
#include "worker/cpu/cpu.h"
#include "worker/opencl/opencl.h"

const struct hd_device_kind *const hd_device_kinds[] = {
    &hd_cpu_device,
    &hd_opencl_device,
    NULL,
};
