/* jobs.c - a runner (queue and thread) for each kind of job, so that a huge prompt delays no other
 * client. */
#include "leader/api/jobs.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAUSE      3  /* times the length of a large job that came to nothing */
#define LARGE_NICE 10 /* a tenth of a core that is wanted by others, all of one that is not */

struct queue {
    struct hd_job *first, **end;
};

struct runner {
    struct hd_jobs *jobs;
    enum hd_jobs_kind kind;
    uv_thread_t thread;
    uv_cond_t work;
    struct queue waiting;
};

struct hd_jobs {
    uv_async_t wake; /* of the loop: jobs are done */
    uv_mutex_t lock;
    struct runner runners[HD_JOBS_KINDS];
    unsigned running; /* threads that were started */
    struct queue done;
    bool ending;
    void (*closed)(void *arg);
    void *closed_arg;
};

static void push(struct queue *q, struct hd_job *job)
{
    job->next = NULL;
    *q->end = job;
    q->end = &job->next;
}

static struct hd_job *pop(struct queue *q)
{
    struct hd_job *job = q->first;
    if (!job)
        return NULL;
    q->first = job->next;
    if (!q->first)
        q->end = &q->first;
    return job;
}

/* Under the lock, but not while it waits. */
static void pause_runner(struct runner *l, uint64_t ns)
{
    uint64_t now = uv_hrtime(), until = now + ns;
    for (; now < until && !l->jobs->ending; now = uv_hrtime())
        uv_cond_timedwait(&l->work, &l->jobs->lock, until - now);
}

static void run_jobs(void *runner)
{
    struct runner *l = runner;
    struct hd_jobs *j = l->jobs;
    if (l->kind == HD_JOBS_LARGE) /* Linux: of this thread alone */
        setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), LARGE_NICE);
    uv_mutex_lock(&j->lock);
    for (;;) {
        struct hd_job *job = pop(&l->waiting);
        if (!job && j->ending)
            break;
        if (!job) {
            uv_cond_wait(&l->work, &j->lock);
            continue;
        }
        uv_mutex_unlock(&j->lock);
        uint64_t began = uv_hrtime();
        job->run(job->arg);
        uint64_t took = uv_hrtime() - began;
        bool wasted = job->wasted && l->kind == HD_JOBS_LARGE;
        uv_mutex_lock(&j->lock);
        push(&j->done, job);
        uv_async_send(&j->wake);
        if (wasted)
            pause_runner(l, PAUSE * took);
    }
    uv_mutex_unlock(&j->lock);
}

static void on_wake(uv_async_t *wake)
{
    struct hd_jobs *j = wake->data;
    for (;;) {
        uv_mutex_lock(&j->lock);
        struct hd_job *job = pop(&j->done);
        uv_mutex_unlock(&j->lock);
        if (!job)
            return;
        job->done(job->arg);
    }
}

static void end_threads(struct hd_jobs *j)
{
    uv_mutex_lock(&j->lock);
    j->ending = true;
    for (unsigned i = 0; i < j->running; i++)
        uv_cond_signal(&j->runners[i].work);
    uv_mutex_unlock(&j->lock);
    for (unsigned i = 0; i < j->running; i++)
        uv_thread_join(&j->runners[i].thread);
}

static void on_closed(uv_handle_t *wake)
{
    struct hd_jobs *j = wake->data;
    void (*closed)(void *arg) = j->closed;
    void *arg = j->closed_arg;
    for (unsigned i = 0; i < HD_JOBS_KINDS; i++)
        uv_cond_destroy(&j->runners[i].work);
    uv_mutex_destroy(&j->lock);
    free(j);
    if (closed)
        closed(arg);
}

void hd_jobs_close(struct hd_jobs *j, void (*closed)(void *arg), void *arg)
{
    end_threads(j);
    assert(!j->done.first);
    j->closed = closed;
    j->closed_arg = arg;
    uv_close((uv_handle_t *)&j->wake, on_closed);
}

int hd_jobs_new(struct hd_jobs **out, uv_loop_t *loop, struct hd_error *err)
{
    struct hd_jobs *j = calloc(1, sizeof *j);
    int rc = j ? uv_async_init(loop, &j->wake, on_wake) : UV_ENOMEM;
    if (rc < 0) {
        free(j);
        return hd_fail(err, HD_E_IO, "HTTP: cannot make threads: %s", uv_strerror(rc));
    }
    j->wake.data = j;
    j->done.end = &j->done.first;
    uv_mutex_init(&j->lock);
    for (unsigned i = 0; i < HD_JOBS_KINDS; i++) {
        struct runner *l = &j->runners[i];
        l->jobs = j;
        l->kind = (enum hd_jobs_kind)i;
        l->waiting.end = &l->waiting.first;
        uv_cond_init(&l->work);
    }
    while (rc == 0 && j->running < HD_JOBS_KINDS) {
        struct runner *l = &j->runners[j->running];
        rc = uv_thread_create(&l->thread, run_jobs, l);
        j->running += rc == 0;
    }
    if (rc < 0) {
        hd_jobs_close(j, NULL, NULL);
        return hd_fail(err, HD_E_IO, "HTTP: cannot make threads: %s", uv_strerror(rc));
    }
    *out = j;
    return 0;
}

void hd_jobs_add(struct hd_jobs *j, struct hd_job *job)
{
    struct runner *l = &j->runners[job->kind];
    uv_mutex_lock(&j->lock);
    push(&l->waiting, job);
    uv_cond_signal(&l->work);
    uv_mutex_unlock(&j->lock);
}

bool hd_jobs_cancel(struct hd_jobs *j, struct hd_job *job)
{
    struct queue *q = &j->runners[job->kind].waiting;
    uv_mutex_lock(&j->lock);
    struct hd_job **at = &q->first;
    while (*at && *at != job)
        at = &(*at)->next;
    bool found = *at != NULL;
    if (found) {
        *at = job->next;
        if (!*at)
            q->end = at;
    }
    uv_mutex_unlock(&j->lock);
    return found;
}
