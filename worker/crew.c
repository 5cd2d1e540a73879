/* crew.c - see crew.h. */
#include "worker/crew.h"

#include "common/util/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define MAX_JOBS 4096 /* a leader waits for answers: far fewer than this are ever under way */
#define SPIN_US  50   /* a half-step's parallel loops follow one another within this */

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

static void clear_job(struct hd_job *job)
{
    if (job->message)
        protobuf_c_message_free_unpacked(job->message, NULL);
    hd_frame_clear(&job->frame);
}

static void free_job(struct hd_job *job)
{
    clear_job(job);
    free(job);
}

/* ---- Replies ----*/

/* r == NULL: there was no memory for it. */
static void send_reply(struct hd_crew *c, struct hd_reply *r)
{
    pthread_mutex_lock(&c->lock);
    if (r) {
        *c->last_reply = r;
        c->last_reply = &r->next;
    } else {
        c->lost_reply = true;
    }
    pthread_mutex_unlock(&c->lock);
    uv_async_send(&c->wake);
}

/* Sends what was made, or gives it up when making it failed. */
static void finish_reply(struct hd_crew *c, struct hd_reply *r, int rc)
{
    if (rc < 0) {
        hd_reply_free(r);
        r = NULL;
    }
    send_reply(c, r);
}

static void send_error(struct hd_crew *c, const struct hd_job *job, const struct hd_error *err)
{
    struct hd_reply *r = hd_reply_new(job->conversation);
    if (r) {
        r->type = HD_FRAME_ERROR;
        r->error = *err;
    }
    send_reply(c, r);
}

/* ---- Jobs, on the compute thread ----*/

static void do_join(struct hd_crew *c, const struct hd_job *job)
{
    struct hd_error err = {0};
    c->epoch = job->epoch;
    if (hd_node_resize(c->node, &job->sizes, &err) < 0)
        send_error(c, job, &err);
}

static size_t copy_needs(const Hydac__V1__AssignHeads *m, struct hd_sequence_need *needs)
{
    for (size_t i = 0; i < m->n_sequences; i++)
        needs[i] = (struct hd_sequence_need){
            .sequence = m->sequences[i]->sequence,
            .base = m->sequences[i]->committed,
            .inflight = m->sequences[i]->inflight,
            .replayed = m->sequences[i]->replayed,
        };
    return m->n_sequences;
}

static void do_assign(struct hd_crew *c, const struct hd_job *job)
{
    const Hydac__V1__AssignHeads *m = (const Hydac__V1__AssignHeads *)job->message;
    struct hd_sequence_need needs[HD_NODE_SEQUENCES];
    struct hd_assignment a = {
        .want = {{m->heads, m->n_heads},
                 {m->ffn_blocks, m->n_ffn_blocks},
                 {m->vocab_blocks, m->n_vocab_blocks}},
        .clear = m->clear,
        .needs = needs,
        .n_needs = copy_needs(m, needs),
        .layers_done = m->layers_done,
    };
    struct hd_kv_report report;
    struct hd_error err = {0};
    int rc = hd_rebuild(c->node, &a, &report, &err);
    c->epoch = job->epoch;
    if (rc < 0) {
        send_error(c, job, &err);
    } else {
        struct hd_reply *r = hd_reply_new(job->conversation);
        finish_reply(c, r, r ? hd_reply_kv_result(r, job->epoch, &report) : 0);
    }
    hd_kv_report_deinit(&report);
}

static void answer_step(struct hd_crew *c, const struct hd_job *job,
                        const struct hd_half_step *step)
{
    struct hd_half_output out;
    struct hd_error err = {0};
    uint64_t t0 = hd_now_us();
    int rc = hd_node_step(c->node, step, &out, &err);
    if (rc == HD_STEP_NOT_OURS)
        return;
    if (rc < 0) {
        send_error(c, job, &err);
        return;
    }
    atomic_fetch_add(&c->steps, 1);
    struct hd_reply *r = hd_reply_new(job->conversation);
    if (!r)
        hd_shared_unref(out.payload);
    const Hydac__V1__Step *m = (const Hydac__V1__Step *)job->message;
    finish_reply(c, r, r ? hd_reply_step_result(r, m, &out, hd_now_us() - t0) : 0);
}

static void do_step(struct hd_crew *c, const struct hd_job *job)
{
    const Hydac__V1__Step *m = (const Hydac__V1__Step *)job->message;
    struct hd_half_step step = {
        .units = (enum hd_shard_kind)m->half,
        .layer = m->layer,
        .rows = {.x = (const float *)(const void *)job->frame.payload,
                 .n = m->n_sequences,
                 .sequences = m->sequences,
                 .positions = m->positions,
                 .shifts = m->shifts,
                 .want = m->want},
    };
    if (job->epoch < c->epoch)
        return;
    if (m->half == HYDAC__V1__HALF__ATTENTION)
        hd_node_log_inputs(c->node, m->layer, &step.rows);
    if (job->epoch == atomic_load(&c->newest_epoch))
        answer_step(c, job, &step);
}

static void do_stats(struct hd_crew *c, const struct hd_job *job)
{
    struct hd_reply *r = hd_reply_new(job->conversation);
    finish_reply(c, r, r ? hd_reply_stats(r, job->id, c->node) : 0);
}

static void publish(struct hd_crew *c, uint64_t busy_us)
{
    const struct hd_node *n = c->node;
    atomic_fetch_add(&c->busy_us, busy_us);
    atomic_store(&c->kv_bytes, n->kv ? hd_kv_bytes(n->kv) : 0);
    atomic_store(&c->log_bytes, n->input_log ? hd_input_log_bytes(n->input_log) : 0);
}

static void run_job(struct hd_crew *c, const struct hd_job *job)
{
    uint64_t t0 = hd_now_us();
    if (job->type == HD_JOB_LEAVE) {
        hd_node_leave(c->node);
    } else if (job->conversation == atomic_load(&c->conversation)) {
        if (job->type == HD_JOB_JOIN)
            do_join(c, job);
        else if (!c->node->kv) /* joining failed, and the loop thread is being told */
            return;
        else if (job->type == HD_JOB_DROP)
            hd_node_drop(c->node, job->sequence);
        else if (job->type == HD_JOB_ASSIGN)
            do_assign(c, job);
        else if (job->type == HD_JOB_STEP)
            do_step(c, job);
        else
            do_stats(c, job);
    }
    if (job->type == HD_JOB_ASSIGN)
        atomic_store(&c->weight_bytes, hd_shard_bytes(c->node->shard));
    publish(c, hd_now_us() - t0);
}

/* ---- The thread ----*/

static int set_up(struct hd_crew *c, struct hd_error *err)
{
    int rc = hd_team_new(&c->team, &(struct hd_team_options){.threads = c->o.threads,
                                                             .spin_us = SPIN_US,
                                                             .name = "hydac-compute"});
    if (rc < 0)
        return hd_fail(err, rc, "cannot start %u compute threads (%s)", c->o.threads,
                       hd_error_name(rc));
    rc = hd_node_new(&c->node, &(struct hd_node_options){.model = c->o.model,
                                                         .kernels = hd_kernels_get(c->o.isa),
                                                         .team = c->team,
                                                         .log = c->o.log,
                                                         .state_dir = c->o.state_dir,
                                                         .log_limit = c->o.log_limit});
    if (rc < 0) {
        hd_team_free(c->team);
        return hd_fail(err, rc, "out of memory for the list of units");
    }
    return 0;
}

/* The next job, or NULL when it is time to stop. */
static struct hd_job *take_job(struct hd_crew *c)
{
    pthread_mutex_lock(&c->lock);
    while (!c->first && !c->stop)
        pthread_cond_wait(&c->changed, &c->lock);
    struct hd_job *job = c->stop ? NULL : c->first;
    if (job) {
        c->first = job->next;
        c->n_jobs--;
        if (!c->first)
            c->last = &c->first;
    }
    pthread_mutex_unlock(&c->lock);
    return job;
}

static void *compute_thread(void *arg)
{
    struct hd_crew *c = arg;
    struct hd_error err = {0};
    pthread_setname_np(pthread_self(), "hydac-compute");
    int rc = set_up(c, &err);
    pthread_mutex_lock(&c->lock);
    c->started = true;
    c->start_error = err;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    if (rc < 0)
        return NULL;
    for (struct hd_job *job; (job = take_job(c));) {
        run_job(c, job);
        free_job(job);
    }
    hd_node_free(c->node);
    hd_team_free(c->team);
    return NULL;
}

/* ---- The loop thread ----*/

static void on_wake(uv_async_t *handle)
{
    struct hd_crew *c = handle->data;
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
        if (r->conversation == atomic_load(&c->conversation))
            c->o.on_reply(c->o.arg, r);
        hd_reply_free(r);
    }
    if (lost)
        c->o.on_reply(c->o.arg, NULL);
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
    while (c->first) {
        struct hd_job *job = c->first;
        c->first = job->next;
        free_job(job);
    }
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
    c->last = &c->first;
    c->last_reply = &c->replies;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
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

int hd_crew_submit(struct hd_crew *c, const struct hd_job *job)
{
    struct hd_job *copy = malloc(sizeof *copy);
    if (copy)
        *copy = *job;
    pthread_mutex_lock(&c->lock);
    int rc = !copy ? HD_E_NOMEM : c->n_jobs >= MAX_JOBS ? HD_E_LIMIT : 0;
    if (rc == 0) {
        copy->next = NULL;
        *c->last = copy;
        c->last = &copy->next;
        c->n_jobs++;
        atomic_store(&c->conversation, job->conversation);
        if (job->type == HD_JOB_JOIN || job->type == HD_JOB_ASSIGN)
            atomic_store(&c->newest_epoch, job->epoch);
        pthread_cond_signal(&c->changed);
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
