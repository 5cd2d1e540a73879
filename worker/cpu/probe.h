/* probe.h - how fast this worker multiplies, for the leader's plans.
 *
 * One row times matrices of the model, as in decoding, by the kernels and threads that will serve.
 * The number only weighs workers against each other: what is computed does not depend on it. */
#ifndef HD_WORKER_CPU_PROBE_H
#define HD_WORKER_CPU_PROBE_H

#include "worker/device.h"

/* Multiply-adds a second. Takes some 20 ms. 0 = could not be measured (no memory, no threads, no
 * time on a busy machine). */
uint64_t hd_probe(const struct hd_device_options *o);

#endif
