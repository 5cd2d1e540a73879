/* compute.h - the half-steps: what some units give for a batch of rows.
 *
 * Each unit's partial is computed whole, in the kernels' fixed order, and added to the row's sum as
 * integers, so that the sum over units is the same whoever owns them. The work of a half-step is
 * cut by unit and by range of outputs; each element of a sum is written by one thread, which walks
 * the units. A row's bits depend neither on the other rows nor on how the work was cut.
 *
 * Called by one thread, the one that leads the team. Scratch is sized once for the largest step. */
#ifndef HD_WORKER_CPU_COMPUTE_H
#define HD_WORKER_CPU_COMPUTE_H

#include "worker/cpu/kv.h"
#include "worker/cpu/rope.h"
#include "worker/cpu/weights.h"

struct hd_compute;

/* For the device's sizes. 0 or HD_E_NOMEM. Everything is borrowed. */
int hd_compute_new(struct hd_compute **out, const struct hd_device *d,
                   const struct hd_kernels *kernels);
void hd_compute_free(struct hd_compute *c);

/* The device's operations `half` and `rows` (device.h). */
int hd_compute_half(struct hd_compute *c, const struct hd_half_task *work,
                    struct hd_half_output *out, struct hd_error *err);
int hd_compute_rows(struct hd_compute *c, const struct hd_device_stores *to,
                    const struct hd_kv_work *list, size_t n);

/* The angles of the positions so far. */
struct hd_rope_table *hd_compute_angles(struct hd_compute *c);

#endif
