/* process.h - what daemons that were started by another program of ours need. */
#ifndef HD_UTIL_PROCESS_H
#define HD_UTIL_PROCESS_H

#include "common/util/error.h"

#include <sys/types.h>

/* From now on this process is killed when its parent ends. `parent`: getppid() at the start of
 * main; HD_E_STATE when that one has ended since, HD_E_IO when the system refuses. */
int hd_die_with_parent(pid_t parent, struct hd_error *err);

#endif
