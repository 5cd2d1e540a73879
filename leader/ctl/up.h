/* up.h - what `hydac up` was asked to do, and its running cluster; others run theirs with it too.
 */
#ifndef HD_CTL_UP_H
#define HD_CTL_UP_H

#include "leader/ctl/args.h"
#include "leader/ctl/child.h"
#include "leader/core/plan.h"

#include <limits.h>

struct hd_up; /* a running cluster */

struct hd_up_options {
    char model[PATH_MAX];
    uint64_t workers, port, threads; /* threads of each worker */
    uint64_t leaders;  /* of which one serves, 0 = 1; HTTP ports one behind the other */
    const char *state; /* NULL: a temporary folder, removed at the end */
    const char *recovery, *log_level, *ready_file;
    const char
        *devices;     /* compute.device of w1, w2, ..., again from the first: "cpu,opencl"; NULL */
    const char *wire; /* the leader's compute.wire; NULL: its default */
    bool restart;
    struct hd_arg_list leader_args, worker_args;
    /* NULL, or what the cluster is for: called in a thread of its own once the cluster serves. The
     * cluster ends when it returns; when the cluster ends first, its HTTP requests fail. Nothing is
     * printed about children that live or were killed by hd_up_kill. */
    void (*client)(void *arg, struct hd_up *u);
    void *client_arg;
};

#define HD_UP_LEADERS 8 /* at most */

#define HD_UP_INTERRUPTED 130 /* what a shell says of SIGINT, too */

/* Runs the cluster in the foreground until it is told to stop (0; HD_UP_INTERRUPTED with a client),
 * the client is done (0) or it fails (1). */
int hd_up(const struct hd_up_options *o);

/* For the client, from its thread. */
const char *hd_up_url(const struct hd_up *u);
void hd_up_kill(struct hd_up *u, uint64_t workers); /* SIGKILL; bit i: worker i + 1 */

/* ---- What options have in common ------------------------------------------------------------*/
int hd_up_set_model(struct hd_up_options *o, const char *model, struct hd_error *err);
uint64_t hd_up_share_of_cores(uint64_t workers); /* threads of each, at least 1 */
/* HD_E_CONFIG unless leaders know this way of recovery; `option` is named. */
int hd_up_check_recovery(const char *option, const char *name, struct hd_error *err);

#endif
