/* leader.h - the leader daemon as an object: core + engine + HTTP on one libuv loop.
 *
 * Nothing in it is global: tests run two leaders and their workers in one process. */
#ifndef HD_DAEMON_LEADER_H
#define HD_DAEMON_LEADER_H

#include "common/util/log.h"
#include "leader/daemon/config.h"

#include <uv.h>

struct hd_engine;
struct hd_leader;

struct hd_leader_options {
    uv_loop_t *loop;
    const struct hd_leader_config *config; /* borrowed, must outlive the leader */
    const struct hd_log *log;              /* likewise */
    /* Requests are served (why: NULL) or not any more (why: a sentence). May be NULL. */
    void (*serving)(void *arg, const char *why);
    void *arg;
};

/* Opens the model, listens for workers and for HTTP. On error nothing is left once the loop has
 * run. */
int hd_leader_new(struct hd_leader **out, const struct hd_leader_options *o, struct hd_error *err);
/* For a program that runs the leader itself and asks it directly instead of over HTTP; kick the
 * engine after a submit. Borrowed. */
struct hd_engine *hd_leader_engine(struct hd_leader *l);
unsigned hd_leader_cluster_port(const struct hd_leader *l);
unsigned hd_leader_http_port(const struct hd_leader *l);
/* Ends requests with an error, closes every connection, then frees; `closed` is called once from
 * the loop when nothing is left. */
void hd_leader_close(struct hd_leader *l, void (*closed)(void *arg), void *arg);

#endif
