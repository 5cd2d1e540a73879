/* guard.h - mapped files whose bytes may not be had: zeros in their place instead of SIGBUS.
 *
 * A file that is cut shorter while it is mapped, or that lies on a failing disk, answers a read of
 * the mapping with SIGBUS, in whichever thread reads. The first hd_guard_add of the process
 * installs a handler that puts a page of zeros where the fault was, if that lies in a guarded
 * range, and counts it; the read then goes on. What is read is wrong, and found by its digest.
 * Faults elsewhere go to the handler that was there before, or end the process as ever.
 *
 * The list of ranges is the process's: a signal's handler has no argument. Any thread. */
#ifndef HD_MODEL_GUARD_H
#define HD_MODEL_GUARD_H

#include <stddef.h>

struct hd_guard;

/* A mapped, page-aligned range. NULL: no memory, or no handler could be installed. */
struct hd_guard *hd_guard_add(const void *start, size_t len);
/* Before it is unmapped. NULL is allowed. */
void hd_guard_remove(struct hd_guard *g);
/* Pages of zeros that stand in for what could not be read. */
size_t hd_guard_lost(const struct hd_guard *g);

#endif
