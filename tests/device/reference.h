/* reference.h - a device that is slow on purpose: the contract of worker/device.h in plain loops,
 * for tests. It keeps pieces as their bytes, and multiplies one row by one output at a time. */
#ifndef HD_TESTS_DEVICE_REFERENCE_H
#define HD_TESTS_DEVICE_REFERENCE_H

#include "worker/device.h"

extern const struct hd_device_kind hd_reference_device;

#endif
