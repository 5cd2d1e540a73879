/* jobs.c - what the compute thread does with each job. */
#include "common/util/clock.h"
#include "worker/crew_impl.h"

/* Sends what was made, or gives it up when making it failed. */
static void finish_reply(struct hd_crew *c, struct hd_reply *r, int rc)
{
    if (rc < 0) {
        hd_reply_free(r);
        r = NULL;
    }
    hd_crew_send(c, r);
}

static void send_error(struct hd_crew *c, const struct hd_job *job, const struct hd_error *err)
{
    struct hd_reply *r = hd_reply_new(job->conversation);
    if (r) {
        r->type = HD_FRAME_ERROR;
        r->error = *err;
    }
    hd_crew_send(c, r);
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

void hd_crew_run_job(struct hd_crew *c, const struct hd_job *job)
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
