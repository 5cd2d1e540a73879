/* cpu.h - the device that is always there: this machine's CPUs (device.h). */
#ifndef HD_WORKER_CPU_H
#define HD_WORKER_CPU_H

#include "worker/cpu/compute.h"

extern const struct hd_device_kind hd_cpu_device;

/* What its half-steps are computed with; NULL before the first resize. For tests. */
struct hd_compute *hd_cpu_compute(const struct hd_device *d);

#endif
