/* devices.c - hydac-worker-reference is hydac-worker with one more kind of device. */
#include "tests/device/reference.h"
#include "worker/cpu/cpu.h"
#include "worker/opencl/opencl.h"

const struct hd_device_kind *const hd_device_kinds[] = {
    &hd_cpu_device,
    &hd_opencl_device,
    &hd_reference_device,
    NULL,
};
