/* worker.h - hydac-worker as an object: several fit in one process, each on a loop of the caller's.
 *
 * Happy path: hd_worker_new -> (without a file: asks its leader which model there is) -> (joins its
 * leader, serves, joins again whenever it must) -> hd_worker_close -> closed. Failure modes: 1. the
 * model cannot be opened, or no thread started: hd_worker_new says so, nothing is left, no callback
 * fires; 2. the leader refuses this worker for good, or the model that it names cannot be worked
 * with: `refused`, after which only hd_worker_close makes sense. */
#ifndef HD_WORKER_WORKER_H
#define HD_WORKER_WORKER_H

#include "common/util/error.h"
#include "common/util/log.h"
#include "worker/config.h"

#include <uv.h>

struct hd_worker;

struct hd_worker_options {
    uv_loop_t *loop;
    const struct hd_worker_config *config; /* borrowed until closed, as is the log */
    const struct hd_log *log;
    void (*refused)(void *arg, const char *why); /* may be NULL */
    void (*joined)(void *arg, bool joined);      /* a leader has taken it; has lost it. Likewise */
    void *arg;
};

int hd_worker_new(struct hd_worker **out, const struct hd_worker_options *o, struct hd_error *err);
/* Asks the leader to give this worker's units to others; `drained` fires once, perhaps before this
 * returns, when nothing is to be waited for any more: then hd_worker_close. */
void hd_worker_drain(struct hd_worker *w, void (*drained)(void *arg), void *arg);
/* Leaves the leader and ends the threads (waiting for the job in hand). `closed` (may be NULL)
 * fires once, from the loop; the worker is gone after it. May be called while it is draining. */
void hd_worker_close(struct hd_worker *w, void (*closed)(void *arg), void *arg);

#endif
