/* up.h - what `hydac up` was asked to do, and its running cluster. */
#ifndef HD_CTL_UP_H
#define HD_CTL_UP_H

#include "leader/ctl/args.h"
#include "leader/ctl/child.h"
#include "leader/core/plan.h"

#include <limits.h>

struct hd_up_options {
    char model[PATH_MAX];
    uint64_t workers, port, threads; /* threads of each worker */
    const char *state;               /* NULL: a temporary folder, removed at the end */
    const char *recovery, *log_level, *ready_file;
    bool restart;
    struct hd_arg_list leader_args, worker_args;
};

/* Runs the cluster in the foreground until it is told to stop (0) or fails (1). */
int hd_up(const struct hd_up_options *o);

#endif
