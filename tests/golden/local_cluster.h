/* local_cluster.h - a leader and its workers on one loop of this process, for tests that look
 * deeper than HTTP lets them. */
#ifndef HD_TESTS_LOCAL_CLUSTER_H
#define HD_TESTS_LOCAL_CLUSTER_H

#include "leader/daemon/leader.h"
#include "leader/engine/engine.h"
#include "worker/worker.h"

#define MAX_LOCAL_WORKERS 8

struct local_cluster {
    uv_loop_t *loop;
    char dir[64]; /* state of all, removed at the end */
    struct hd_log log;
    struct hd_leader_config leader_config;
    struct hd_worker_config worker_config[MAX_LOCAL_WORKERS];
    struct hd_leader *leader;
    struct hd_worker *workers[MAX_LOCAL_WORKERS];
    unsigned n_workers;
    unsigned open; /* parts that are not closed yet */
};

enum local_way {
    LOCAL_USUAL,   /* as one serves */
    LOCAL_EXACT,   /* K/V and activations are f32, as a reference computes them */
    LOCAL_COMPACT, /* as usual, with compute.wire compact */
};

/* Starts them; requests may be submitted at once and wait until all workers are there. */
int local_cluster_start(struct local_cluster *c, uv_loop_t *loop, const char *model,
                        unsigned workers, enum local_way way, struct hd_error *err);
/* Begins to close everything; the loop runs dry when it is done. */
void local_cluster_stop(struct local_cluster *c);
/* Closes one worker: its connection ends, as when it is killed. */
void local_cluster_lose(struct local_cluster *c, unsigned worker);
/* After the loop: removes the state folder. */
void local_cluster_clean(struct local_cluster *c);

#endif
