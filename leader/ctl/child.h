/* child.h - one process of `hydac up`. */
#ifndef HD_CTL_CHILD_H
#define HD_CTL_CHILD_H

#include "common/util/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#define HD_CHILD_MAX_ARGS 160 /* ours and those of --leader-arg or --worker-arg */

struct hd_child {
    uv_process_t process; /* its data belongs to the child */
    char name[16];        /* "leader", "w1" */
    bool running;
    int pid;                           /* of the last process */
    char how[64];                      /* "was killed by signal 9" */
    void (*ended)(struct hd_child *c); /* from the loop; may start it again */
    void *owner;
};

/* A command line that grows; too many arguments are an error of hd_child_start. */
struct hd_command_line {
    const char *argv[HD_CHILD_MAX_ARGS + 1];
    size_t n;
};
void hd_command_add(struct hd_command_line *l, const char *word);
void hd_command_add_option(struct hd_command_line *l, const char *name, const char *value);

/* Starts it with our standard output and error (standard input is empty). If this fails, `ended` is
 * not called. */
int hd_child_start(struct hd_child *c, uv_loop_t *loop, struct hd_command_line *l,
                   struct hd_error *err);
void hd_child_kill(struct hd_child *c, int number); /* nothing if it does not run */

#endif
