/* crew.c - two queues, a lock, and the rule by which the loop thread may compute itself. */
#include "worker/crew/crew_impl.h"

#include "common/util/clock.h"
#include "worker/crew/whole.h"

#include <stdlib.h>
#include <string.h>

#define MAX_JOBS 4096 /* a leader waits for answers: far fewer than this are ever under way */
#define SPIN_US  200  /* a stream's half-steps follow one another within this */
#define LONG_US  2000 /* ... with many rows, or several workers */

/* A half-step that the loop thread may compute itself: of so few rows, and quick the last time. */
#define QUICK_ROWS 16
#define QUICK_US   5000

static void clear_job(struct hd_job *job)
{
    if (job->message)
        protobuf_c_message_free_unpacked(job->message, NULL);
    hd_frame_clear(&job->frame);
}

void hd_crew_free_job(struct hd_job *job)
{
    clear_job(job);
    free(job);
}

static void deliver(struct hd_crew *c);

void hd_crew_send(struct hd_crew *c, struct hd_reply *r)
{
    pthread_mutex_lock(&c->lock);
    bool on_loop = c->lent;
    if (r) {
        *c->last_reply = r;
        c->last_reply = &r->next;
    } else {
        c->lost_reply = true;
    }
    pthread_mutex_unlock(&c->lock);
    if (on_loop)
        deliver(c);
    else
        uv_async_send(&c->wake);
}

/* ---- The thread ----*/

static void tear_down(struct hd_crew *c)
{
    hd_crew_forget_untold(c);
    hd_fill_free(c->fill);
    hd_node_free(c->node);
    hd_device_free(c->device);
    hd_supply_free(c->supply);
    hd_team_free(c->team);
}

static int make_device(struct hd_crew *c, struct hd_error *err)
{
    struct hd_device_options o = {.model = c->o.model,
                                  .threads = c->o.threads,
                                  .isa = c->o.isa,
                                  .where = c->o.where,
                                  .state_dir = c->o.state_dir,
                                  .team = c->team};
    return c->o.device->create(&c->device, &o, err);
}

static int make_node(struct hd_crew *c)
{
    struct hd_node_options o = {.device = c->device,
                                .log = c->o.log,
                                .state_dir = c->o.state_dir,
                                .log_limit = c->o.log_limit,
                                .keep_log = c->o.keep_log,
                                .supply = c->supply,
                                .loading = &c->weight_bytes};
    hd_crew_watch_findings(c, &o);
    int rc = hd_node_new(&c->node, &o);
    return rc < 0 ? rc : hd_fill_new(&c->fill, c->node, &c->pace);
}

static int set_up(struct hd_crew *c, struct hd_error *err)
{
    int rc = hd_team_new(&c->team, &(struct hd_team_options){.threads = c->o.threads,
                                                             .spin_us = SPIN_US,
                                                             .longest_us = LONG_US,
                                                             .name = "hydac-compute"});
    if (rc < 0)
        return hd_fail(err, rc, "cannot start %u compute threads (%s)", c->o.threads,
                       hd_error_name(rc));
    rc = hd_crew_new_supply(c);
    if (rc == 0)
        rc = make_device(c, err);
    if (rc == 0)
        rc = make_node(c);
    if (rc < 0) {
        tear_down(c);
        return err->text[0] ? rc
                            : hd_fail(err, rc, "out of memory for the list of weights and units");
    }
    return 0;
}

/* A condition that is waited for by the clock of hd_now_us. */
static void init_condition(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

static bool is_due(const struct hd_crew *c)
{
    return !c->lent &&
           (c->jobs.first || c->arrived.first || hd_now_us() >= hd_crew_background_at(c));
}

static void wait_for_change(struct hd_crew *c)
{
    uint64_t until_us = c->lent ? UINT64_MAX : hd_crew_background_at(c);
    c->sleeps_until_us = until_us;
    struct timespec t = {.tv_sec = (time_t)(until_us / 1000000),
                         .tv_nsec = (long)(until_us % 1000000 * 1000)};
    if (until_us == UINT64_MAX)
        pthread_cond_wait(&c->changed, &c->lock);
    else
        pthread_cond_timedwait(&c->changed, &c->lock, &t);
}

static void append(struct hd_job_queue *q, struct hd_job *job)
{
    job->next = NULL;
    *q->last = job;
    q->last = &job->next;
    q->n++;
}

/* The first, or NULL. */
static struct hd_job *pop(struct hd_job_queue *q)
{
    struct hd_job *job = q->first;
    if (!job)
        return NULL;
    q->first = job->next;
    q->n--;
    if (!q->first)
        q->last = &q->first;
    return job;
}

static void free_jobs(struct hd_job_queue *q)
{
    for (struct hd_job *job; (job = pop(q));)
        hd_crew_free_job(job);
}

/* Waits for a job, for weights, or until it is time for the background: *job is NULL when no job
 * came. False when it is time to stop. */
static bool take_job(struct hd_crew *c, struct hd_job **job)
{
    pthread_mutex_lock(&c->lock);
    c->idle = true;
    while (!c->stop && !is_due(c))
        wait_for_change(c);
    c->idle = false;
    bool go_on = !c->stop;
    *job = go_on && !hd_crew_must_repair(c) ? pop(&c->jobs) : NULL;
    pthread_mutex_unlock(&c->lock);
    return go_on;
}

/* This thread and the team's, which inherit it, do not interrupt a thread that runs when they are
 * woken (sched(7): SCHED_BATCH). Else the first worker of a machine to get its inputs takes the
 * leader's CPU before the leader has written to the next worker. A refusal costs only that. */
static void yield_to_loops(void)
{
    pthread_setschedparam(pthread_self(), SCHED_BATCH, &(struct sched_param){.sched_priority = 0});
}

static void *compute_thread(void *arg)
{
    struct hd_crew *c = arg;
    struct hd_error err = {0};
    pthread_setname_np(pthread_self(), "hydac-compute");
    yield_to_loops();
    int rc = set_up(c, &err);
    pthread_mutex_lock(&c->lock);
    c->started = true;
    c->start_error = err;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    if (rc < 0)
        return NULL;
    for (struct hd_job *job; take_job(c, &job);) {
        if (!job) {
            hd_crew_background(c);
            continue;
        }
        hd_crew_run_job(c, job);
        hd_crew_wake_background(c);
        hd_crew_run_scrub(c);
        hd_crew_free_job(job);
    }
    tear_down(c);
    return NULL;
}

/* ---- The loop thread ----*/

/* Hands over the replies that wait, in their order. */
static void deliver(struct hd_crew *c)
{
    pthread_mutex_lock(&c->lock);
    struct hd_reply *list = c->replies;
    bool lost = c->lost_reply;
    c->replies = NULL;
    c->last_reply = &c->replies;
    c->lost_reply = false;
    pthread_mutex_unlock(&c->lock);
    while (list) {
        struct hd_reply *r = list;
        list = r->next;
        if (r->session == atomic_load(&c->session))
            c->o.on_reply(c->o.arg, r);
        hd_reply_free(r);
    }
    if (lost)
        c->o.on_reply(c->o.arg, NULL);
}

static void on_wake(uv_async_t *handle)
{
    deliver(handle->data);
}

static void wait_started(struct hd_crew *c)
{
    pthread_mutex_lock(&c->lock);
    while (!c->started)
        pthread_cond_wait(&c->changed, &c->lock);
    pthread_mutex_unlock(&c->lock);
}

static void free_crew(struct hd_crew *c)
{
    free_jobs(&c->jobs);
    free_jobs(&c->arrived);
    while (c->replies) {
        struct hd_reply *r = c->replies;
        c->replies = r->next;
        hd_reply_free(r);
    }
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->changed);
    free(c);
}

int hd_crew_new(struct hd_crew **out, const struct hd_crew_options *o, struct hd_error *err)
{
    struct hd_crew *c = calloc(1, sizeof *c);
    if (!c)
        return hd_fail(err, HD_E_NOMEM, "out of memory");
    c->o = *o;
    hd_jobs_take_all(&c->jobs);
    hd_jobs_take_all(&c->arrived);
    c->last_reply = &c->replies;
    c->fill_us = UINT64_MAX;
    pthread_mutex_init(&c->lock, NULL);
    init_condition(&c->changed);
    int e = pthread_create(&c->thread, NULL, compute_thread, c);
    if (e != 0) {
        free_crew(c);
        return hd_fail(err, HD_E_IO, "cannot start the compute thread: %s", strerror(e));
    }
    wait_started(c);
    if (c->start_error.code < 0)
        goto err_after_thread;
    e = uv_async_init(o->loop, &c->wake, on_wake);
    if (e < 0) {
        hd_fail(&c->start_error, HD_E_IO, "cannot wake the loop: %s", uv_strerror(e));
        goto err_after_thread;
    }
    c->wake.data = c;
    *out = c;
    return 0;

err_after_thread:
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
    if (err)
        *err = c->start_error;
    int rc = c->start_error.code;
    free_crew(c);
    return rc;
}

static bool is_quick(const struct hd_crew *c, const struct hd_job *job)
{
    if (job->type != HD_JOB_STEP)
        return job->type == HD_JOB_CUT; /* a few counts; a half-step follows at once */
    const Hydac__V1__Step *m = (const Hydac__V1__Step *)job->message;
    unsigned last_us = c->quick_us[m->half];
    return m->n_sequences <= QUICK_ROWS && last_us > 0 && last_us < QUICK_US;
}

/* Computes a quick half-step here and now, when the compute thread has nothing to do: that spares
 * two threads' wakings, which on small models cost more than the arithmetic. False: it is not to be
 * done so. */
static bool run_here(struct hd_crew *c, const struct hd_job *job)
{
    pthread_mutex_lock(&c->lock);
    c->lent = c->idle && !c->jobs.first && !c->stop && is_quick(c, job) && !hd_crew_must_repair(c);
    bool lent = c->lent;
    pthread_mutex_unlock(&c->lock);
    if (!lent)
        return false;
    struct hd_job copy = *job;
    atomic_store(&c->session, job->session);
    hd_crew_run_job(c, &copy);
    hd_crew_wake_background(c);
    hd_crew_run_scrub(c);
    clear_job(&copy);
    pthread_mutex_lock(&c->lock);
    c->lent = false;
    if (c->arrived.first || hd_crew_background_at(c) < c->sleeps_until_us)
        pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
    return true;
}

void hd_crew_note_quick(struct hd_crew *c, const Hydac__V1__Step *m, uint64_t us)
{
    if (m->n_sequences <= QUICK_ROWS)
        c->quick_us[m->half] = us < 1 ? 1 : us < QUICK_US ? (unsigned)us : QUICK_US;
}

int hd_crew_submit(struct hd_crew *c, const struct hd_job *job)
{
    if (run_here(c, job))
        return 0;
    struct hd_job *copy = malloc(sizeof *copy);
    if (copy)
        *copy = *job;
    pthread_mutex_lock(&c->lock);
    bool passes = job->type == HD_JOB_WEIGHTS; /* by the others, no more than were asked for */
    bool full = passes ? c->arrived.n >= HD_WEIGHTS_IN_FLIGHT : c->jobs.n >= MAX_JOBS;
    int rc = !copy ? HD_E_NOMEM : full ? HD_E_LIMIT : 0;
    if (rc == 0) {
        append(passes ? &c->arrived : &c->jobs, copy);
        pthread_cond_signal(&c->changed);
    }
    if (rc == 0 && !passes) {
        atomic_store(&c->session, job->session);
        if (job->type == HD_JOB_JOIN || job->type == HD_JOB_ASSIGN)
            atomic_store(&c->newest_epoch, job->epoch);
    }
    pthread_mutex_unlock(&c->lock);
    if (rc < 0) {
        struct hd_job lost = *job;
        clear_job(&lost);
        free(copy);
    }
    return rc;
}

void hd_crew_totals(const struct hd_crew *c, struct hd_crew_totals *t)
{
    t->steps = atomic_load(&c->steps);
    t->busy_us = atomic_load(&c->busy_us);
    t->kv_bytes = atomic_load(&c->kv_bytes);
    t->log_bytes = atomic_load(&c->log_bytes);
    t->weight_bytes = atomic_load(&c->weight_bytes);
    t->audits = atomic_load(&c->audits);
    t->scrub_rounds = atomic_load(&c->scrub_rounds);
    t->scrub_clean_began_us = atomic_load(&c->scrub_clean_began_us);
    t->integrity_us = atomic_load(&c->integrity_us);
}

static void on_wake_closed(uv_handle_t *handle)
{
    struct hd_crew *c = handle->data;
    void (*closed)(void *arg) = c->closed;
    void *arg = c->closed_arg;
    free_crew(c);
    closed(arg);
}

void hd_crew_close(struct hd_crew *c, void (*closed)(void *arg), void *arg)
{
    c->closed = closed;
    c->closed_arg = arg;
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
    uv_close((uv_handle_t *)&c->wake, on_wake_closed);
}
