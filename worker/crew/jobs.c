/* jobs.c - what the compute thread does with each job. */
#include "common/model/files.h"
#include "common/net/conn.h"
#include "common/util/clock.h"
#include "worker/crew/crew_impl.h"
#include "worker/crew/lists.h"
#include "worker/crew/whole.h"
#include "worker/share/hold.h"

/* What was read from a device that has failed does not leave. */
void hd_crew_finish(struct hd_crew *c, struct hd_reply *r, int rc)
{
    struct hd_error lost;
    bool is_lost = c->device->ops->lost(c->device, &lost) < 0;
    c->short_of_memory |= rc == HD_E_NOMEM;
    if (rc < 0 || is_lost) {
        hd_reply_free(r);
        r = NULL;
    }
    if (is_lost)
        hd_crew_send_error(c, c->joined, &lost);
    else
        hd_crew_send(c, r);
}

/* Whatever failed because the device has: that is what is said. */
void hd_crew_send_error(struct hd_crew *c, uint64_t session, const struct hd_error *err)
{
    struct hd_reply *r = hd_reply_new(session);
    hd_crew_publish(c, 0); /* what there was when it failed */
    c->short_of_memory |= err->code == HD_E_NOMEM;
    if (r) {
        r->type = HD_FRAME_ERROR;
        r->error = *err;
        c->device->ops->lost(c->device, &r->error);
    }
    hd_crew_send(c, r);
}

/* ---- Who is with whom ----*/

static void do_join(struct hd_crew *c, const struct hd_job *job)
{
    struct hd_error err = {0};
    hd_crew_end_scrub(c);
    c->epoch = job->epoch;
    c->joined = job->session;
    c->pace = (struct hd_pace){0};
    c->asked_us = hd_now_us();
    c->hold_us = c->supply_us = 0; /* a pause was for the sake of another leader's steps */
    hd_crew_forget_supply(c);
    if (!(job->kept && hd_node_go_on(c->node, &job->sizes)) &&
        hd_node_resize(c->node, &job->sizes, &err) < 0)
        hd_crew_send_error(c, job->session, &err);
    else if (job->kept)
        hd_crew_tell_kept(c);
    hd_crew_begin_scrub(c);
}

static void do_leave(struct hd_crew *c, bool kept)
{
    hd_fill_drop(c->fill, UINT64_MAX);
    if (kept)
        hd_node_rest(c->node);
    else
        hd_node_leave(c->node);
    if (c->short_of_memory) /* what is kept is of a plan that does not fit */
        hd_node_unload(c->node);
    c->short_of_memory = false;
    hd_crew_forget_supply(c);
}

static void do_drop(struct hd_crew *c, const struct hd_job *job)
{
    hd_fill_drop(c->fill, UINT64_C(1) << job->sequence);
    hd_node_drop(c->node, job->sequence);
    hd_node_share(c->node, job->sequence, job->share);
    c->node->known[job->sequence].scope = job->scope;
}

static void do_tokens(struct hd_crew *c, const struct hd_job *job)
{
    const Hydac__V1__SequenceTokens *m = (const Hydac__V1__SequenceTokens *)job->message;
    struct hd_known *k = &c->node->known[m->sequence];
    k->scope = m->scope;
    if (m->shared == k->first) /* else it has ended and begun anew: the tokens are of no use */
        hd_known_set(k, (const int32_t *)job->frame.payload, job->frame.payload_len / 4);
}

static void do_cut(struct hd_crew *c, const struct hd_job *job)
{
    struct hd_error err = {0};
    if (hd_node_cut(c->node, job->sequence, job->positions, &err) < 0)
        hd_crew_send_error(c, job->session, &err);
    else
        hd_fill_cut(c->fill, job->sequence, job->positions);
}

/* ---- What is owned, held and logged ----*/

static size_t copy_needs(Hydac__V1__SequenceNeed *const *list, size_t n,
                         struct hd_sequence_need *needs)
{
    for (size_t i = 0; i < n; i++) {
        needs[i] = (struct hd_sequence_need){
            .sequence = list[i]->sequence,
            .base = list[i]->committed,
            .replayed = list[i]->replayed,
            .share = {list[i]->parent, list[i]->shared},
        };
        hd_groups_of(list[i]->inflight, list[i]->n_inflight, needs[i].inflight);
    }
    return n;
}

/* The message's lists are borrowed, its needs copied to `needs` [HD_MAX_SEQUENCES]. */
static struct hd_assignment assignment_of(const struct hd_job *job, struct hd_sequence_need *needs)
{
    const Hydac__V1__AssignHeads *m = (const Hydac__V1__AssignHeads *)job->message;
    struct hd_assignment a = {
        .epoch = m->epoch,
        .round = m->round,
        .clear = m->clear,
        .needs = needs,
        .n_needs = copy_needs(m->sequences, m->n_sequences, needs),
    };
    hd_units_of(m->own, a.want);
    hd_units_of(m->hold, a.hold);
    if (m->hold)
        a.bare = (struct hd_unit_list){m->hold->bare_heads, m->hold->n_bare_heads};
    hd_groups_of(m->layers_done, m->n_layers_done, a.layers_done);
    return a;
}

static void do_assign(struct hd_crew *c, const struct hd_job *job)
{
    struct hd_sequence_need needs[HD_MAX_SEQUENCES];
    struct hd_assignment a = assignment_of(job, needs);
    struct hd_kv_report report;
    struct hd_error err = {0};
    struct hd_supply_totals before = {0};
    hd_fill_drop(c->fill, hd_node_forgotten(&a));
    hd_crew_want(c, &a);
    hd_supply_totals(c->supply, &before);
    int rc = hd_node_assign(c->node, &a, &report, &err);
    hd_crew_log_weights(c, &before);
    c->epoch = job->epoch;
    if (rc < 0) {
        hd_crew_send_error(c, job->session, &err);
    } else {
        struct hd_reply *r = hd_reply_new(job->session);
        hd_crew_finish(c, r, r ? hd_reply_kv_result(r, &report) : 0);
    }
    if (report.weights_us > 0)
        hd_model_let_go(c->o.model);
    hd_kv_report_deinit(&report);
}

static void do_hold(struct hd_crew *c, const struct hd_job *job)
{
    struct hd_sequence_need needs[HD_MAX_SEQUENCES];
    struct hd_assignment a = assignment_of(job, needs);
    hd_node_hold(c->node, &a);
    hd_crew_want(c, &a);
}

static void do_fill(struct hd_crew *c, const struct hd_job *job)
{
    const Hydac__V1__FillLog *m = (const Hydac__V1__FillLog *)job->message;
    struct hd_sequence_need needs[HD_MAX_SEQUENCES];
    struct hd_assignment a = {
        .needs = needs,
        .n_needs = copy_needs(m->sequences, m->n_sequences, needs),
        .layers_done = {m->layers_done},
    };
    hd_note_shares(c->node, &a);
    hd_fill_begin(c->fill, &a);
}

static void do_fetch(struct hd_crew *c, const struct hd_job *job)
{
    struct hd_reply *r = hd_reply_new(job->session);
    const Hydac__V1__Fetch *m = (const Hydac__V1__Fetch *)job->message;
    hd_crew_finish(c, r, r ? hd_reply_rows(r, m, c->node) : 0);
}

static void do_rows(struct hd_crew *c, const struct hd_job *job)
{
    const Hydac__V1__Rows *m = (const Hydac__V1__Rows *)job->message;
    struct hd_log_answer answer = {
        .piece = {m->id, m->sequence, m->layer, m->position, m->count},
        .rows = job->frame.payload,
        .now_us = hd_now_us(),
    };
    struct hd_error err = {0};
    if (hd_fill_rows(c->fill, &answer, &err) < 0)
        hd_crew_send_error(c, job->session, &err);
}

/* ---- Steps ----*/

/* False: it failed. */
static bool answer_step(struct hd_crew *c, const struct hd_job *job,
                        const struct hd_half_step *step)
{
    struct hd_half_output out;
    struct hd_error err = {0};
    uint64_t t0 = hd_now_us();
    int rc = hd_node_step(c->node, step, &out, &err);
    if (rc == HD_STEP_NOT_OURS)
        return true;
    if (rc < 0) {
        hd_crew_send_error(c, job->session, &err);
        return false;
    }
    atomic_fetch_add(&c->steps, 1);
    struct hd_reply *r = hd_reply_new(job->session);
    if (!r)
        hd_shared_unref(out.payload);
    const Hydac__V1__Step *m = (const Hydac__V1__Step *)job->message;
    uint64_t us = hd_now_us() - t0;
    hd_crew_note_quick(c, m, us);
    hd_crew_finish(c, r, r ? hd_reply_step_result(r, m, &out, us) : 0);
    return true;
}

static uint64_t sequences_of(const struct hd_rows *rows)
{
    uint64_t mask = 0;
    for (size_t i = 0; i < rows->n; i++)
        mask |= UINT64_C(1) << rows->sequences[i];
    return mask;
}

static void log_inputs(struct hd_crew *c, const struct hd_half_step *step)
{
    uint64_t lost = hd_node_log_inputs(c->node, step->layer, &step->rows);
    hd_fill_drop(c->fill, lost);
    hd_crew_send_log_state(c, lost, false);
}

static void do_step(struct hd_crew *c, const struct hd_job *job)
{
    const Hydac__V1__Step *m = (const Hydac__V1__Step *)job->message;
    struct hd_half_step step = {
        .units = hd_half_units(m->half),
        .layer = m->layer,
        .rows = HD_ROWS_OF(m, job->frame.payload),
    };
    if (job->epoch < c->epoch)
        return;
    bool present = job->epoch == atomic_load(&c->newest_epoch);
    if (present && !answer_step(c, job, &step))
        return;
    /* Behind the answer nobody waits for it, and whatever reads the log is a later job. */
    if (step.units == HD_UNIT_HEAD)
        log_inputs(c, &step);
    if (m->n_tokens > 0)
        hd_node_know(c->node, &step.rows, m->tokens);
    if (present && step.units == HD_UNIT_HEAD)
        hd_hold_follow(c->node, step.layer, &step.rows);
    else if (step.units == HD_UNIT_HEAD)
        hd_hold_behind(c->node, sequences_of(&step.rows));
    hd_pace_step(&c->pace, hd_now_us());
}

static void do_stats(struct hd_crew *c, const struct hd_job *job)
{
    struct hd_reply *r = hd_reply_new(job->session);
    hd_crew_finish(c, r, r ? hd_reply_stats(r, job->id, c->node) : 0);
}

/* ---- All jobs ----*/

void hd_crew_publish(struct hd_crew *c, uint64_t busy_us)
{
    const struct hd_node *n = c->node;
    atomic_fetch_add(&c->busy_us, busy_us);
    atomic_store(&c->kv_bytes, hd_node_kv_bytes(n));
    atomic_store(&c->log_bytes, n->input_log ? hd_input_log_bytes(n->input_log) : 0);
    atomic_store(&c->weight_bytes, hd_node_weight_bytes(n));
}

static void (*const jobs[])(struct hd_crew *c, const struct hd_job *job) = {
    [HD_JOB_JOIN] = do_join,
    [HD_JOB_DROP] = do_drop,
    [HD_JOB_CUT] = do_cut,
    [HD_JOB_TOKENS] = do_tokens,
    [HD_JOB_ASSIGN] = do_assign,
    [HD_JOB_HOLD] = do_hold,
    [HD_JOB_STEP] = do_step,
    [HD_JOB_FILL] = do_fill,
    [HD_JOB_FETCH] = do_fetch,
    [HD_JOB_ROWS] = do_rows,
    [HD_JOB_STATS] = do_stats,
    [HD_JOB_AUDIT] = hd_crew_do_audit,
    [HD_JOB_SELF_TEST] = hd_crew_do_self_test,
    [HD_JOB_DIGESTS] = hd_crew_learn_digests,
};

void hd_crew_run_job(struct hd_crew *c, const struct hd_job *job)
{
    uint64_t t0 = hd_now_us();
    if (job->type == HD_JOB_LEAVE) {
        do_leave(c, job->kept);
    } else if (job->session == atomic_load(&c->session)) {
        if (job->type != HD_JOB_JOIN && !c->node->kv)
            return; /* joining failed, and the loop thread is being told */
        jobs[job->type](c, job);
    }
    hd_crew_publish(c, hd_now_us() - t0);
}
