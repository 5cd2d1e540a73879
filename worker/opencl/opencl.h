/* opencl.h - a device behind worker/device.h on what an OpenCL driver offers: a GPU as a rule.
 *
 * The driver is found when the program runs, through libOpenCL.so.1; where there is none, or no
 * header when hydac was built, the kind's check says so and all else is as without. OpenCL 1.2,
 * with correctly rounded division, subnormals and fused multiply-adds asked for by name; NVIDIA's
 * integer products by inline PTX. Whether the driver's bits are those of the CPU is tried when it
 * is opened (prove.h); if they are not it is refused with the operation that differs. */
#ifndef HD_WORKER_OPENCL_OPENCL_H
#define HD_WORKER_OPENCL_OPENCL_H

#include "worker/device.h"

#include <stdio.h>

/* Kind "opencl"; options.where chooses: "", "platform", "platform/device", each a number or a part
 * of the name. "": the first GPU, or else the first device of any kind. */
extern const struct hd_device_kind hd_opencl_device;

/* Writes what there is, a line each: where, what it is, its memory. How many there are. */
unsigned hd_opencl_list(FILE *to);

#endif
