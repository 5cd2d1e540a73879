/* devices.c - the kinds of devices of this program, the one that "auto" takes first. */
#include "worker/cpu/cpu.h"

const struct hd_device_kind *const hd_device_kinds[] = {
    &hd_cpu_device,
    NULL,
};
