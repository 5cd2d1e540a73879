/* crew_impl.h - shared by crew.c (the threads and what passes between them) and jobs.c (the jobs).
 */
#ifndef HD_WORKER_CREW_IMPL_H
#define HD_WORKER_CREW_IMPL_H

#include "worker/crew.h"

#include <pthread.h>
#include <stdatomic.h>

struct hd_crew {
    struct hd_crew_options o;
    struct hd_team *team; /* made and freed by the thread, as its leader */
    struct hd_node *node;
    pthread_t thread;
    uv_async_t wake; /* replies are waiting */

    pthread_mutex_t lock; /* of everything down to `stop` */
    pthread_cond_t changed;
    struct hd_job *first, **last;
    size_t n_jobs;
    struct hd_reply *replies, **last_reply;
    bool lost_reply; /* there was no memory for one */
    bool started;
    struct hd_error start_error; /* code < 0: the thread could not start and has ended */
    bool stop;

    _Atomic uint64_t conversation, newest_epoch; /* of the latest job submitted */
    _Atomic uint64_t steps, busy_us, kv_bytes, log_bytes, weight_bytes;
    uint64_t epoch; /* of the assignment in force; compute thread only */

    void (*closed)(void *arg);
    void *closed_arg;
};

/* crew.c: hands a reply to the loop thread, from any thread; r == NULL: there was no memory for it.
 */
void hd_crew_send(struct hd_crew *c, struct hd_reply *r);

/* jobs.c, on the compute thread. */
void hd_crew_run_job(struct hd_crew *c, const struct hd_job *job);

#endif
