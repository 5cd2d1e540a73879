/* jobs.h - what would stop the loop for longer than a moment is done by threads of its own: parsing
 * a body, templates, tokenizing, writing a long answer.
 *
 * Two queues, a thread each, first come first served: a small job never waits behind large ones,
 * and large ones, at a lower priority, take little from whoever computes on the same cores. Behind
 * a large one that came to nothing its thread pauses for three times as long as it took: who sends
 * what is refused, as fast as he can, gets a quarter of a core at most.
 *
 * Happy path: add -> run, on the thread -> done, on the loop. A job that is cancelled in time does
 * neither; one that runs already cannot be stopped, and its `done` comes. */
#ifndef HD_API_JOBS_H
#define HD_API_JOBS_H

#include "common/util/error.h"

#include <stdbool.h>
#include <uv.h>

enum hd_jobs_kind { HD_JOBS_SMALL, HD_JOBS_LARGE, HD_JOBS_KINDS };

struct hd_job {
    void (*run)(void *arg);  /* on a thread; nothing else may touch what it touches */
    void (*done)(void *arg); /* on the loop, afterwards */
    void *arg;
    enum hd_jobs_kind kind;
    bool wasted;         /* set by `run`: it came to nothing */
    struct hd_job *next; /* the pool's own, as is what follows */
};

struct hd_jobs;
int hd_jobs_new(struct hd_jobs **out, uv_loop_t *loop, struct hd_error *err);
/* The job lives until its `done`, or until it was cancelled. */
void hd_jobs_add(struct hd_jobs *j, struct hd_job *job);
/* True: it had not begun, and neither function will be called. */
bool hd_jobs_cancel(struct hd_jobs *j, struct hd_job *job);
/* When no job is left: ends the threads, then frees; `closed` is called from the loop. */
void hd_jobs_close(struct hd_jobs *j, void (*closed)(void *arg), void *arg);

#endif
