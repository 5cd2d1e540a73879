/* process.h - what a program of ours does before anything else. */
#ifndef HD_UTIL_PROCESS_H
#define HD_UTIL_PROCESS_H

#include "common/util/error.h"

#include <sys/types.h>

/* Opens /dev/null on those of 0, 1 and 2 that are closed. Otherwise the next file, socket or pipe
 * of our own gets such a number, and what is meant for standard error goes into it. First thing in
 * main. */
void hd_open_stdio(void);
/* From now on this process is killed when its parent ends. `parent`: getppid() at the start of
 * main; HD_E_STATE when that one has ended since, HD_E_IO when the system refuses. */
int hd_die_with_parent(pid_t parent, struct hd_error *err);
/* As many open files as the system lets this process have (at most `most`): servers hold one for
 * each client. The limit that holds now. */
size_t hd_raise_file_limit(size_t most);

#endif
