/* integrity.c - whether others, and this machine, compute what they should: the leader's known
 * answer tests and audits, as jobs and as slices between the jobs. */
#include "common/model/files.h"
#include "common/util/clock.h"
#include "worker/crew/crew_impl.h"
#include "worker/crew/lists.h"
#include "worker/trust/audit.h"

#include <inttypes.h>

void hd_crew_do_self_test(struct hd_crew *c, const struct hd_job *job)
{
    struct hd_self_test t;
    int rc = c->device->ops->self_test(c->device, job->id, &t);
    struct hd_reply *r = hd_reply_new(job->session);
    if (rc == 0 && t.differs)
        hd_errlog(c->o.log, "self_test_differs",
                  "thread=%u cpu=%d reason=\"the compute threads do not come to the same result: a "
                  "CPU of this machine is broken\"",
                  t.thread, t.cpu);
    if (r && rc == 0)
        rc = hd_reply_self_test(r, job->id, t.digest);
    hd_crew_finish(c, r, rc);
}

static void send_answer(struct hd_crew *c, const struct hd_audit_answer *a)
{
    struct hd_reply *r = hd_reply_new(c->joined);
    if (a->cannot)
        hd_info(c->o.log, "audit_not_possible", "id=%" PRIu64 " reason=\"%s\"", a->id, a->why.text);
    else
        atomic_fetch_add(&c->audits, 1);
    hd_crew_finish(c, r, r ? hd_reply_audit_result(r, a) : 0);
}

/* The message's lists are borrowed. */
static struct hd_audit_order order_of(const struct hd_job *job)
{
    const Hydac__V1__Audit *m = (const Hydac__V1__Audit *)job->message;
    return (struct hd_audit_order){
        .id = m->id,
        .fresh = m->fresh,
        .units = {m->units, m->n_units},
        .step =
            {
                .units = hd_half_units(m->half),
                .layer = m->layer,
                .rows = HD_ROWS_OF(m, job->frame.payload),
            },
    };
}

void hd_crew_do_audit(struct hd_crew *c, const struct hd_job *job)
{
    struct hd_audit_order o = order_of(job);
    struct hd_audit_answer answer = {.id = o.id, .cannot = true};
    int rc = hd_audit_add(c->node, &o);
    if (rc == HD_E_LIMIT)
        hd_fail(&answer.why, rc, "%d audits are waiting", HD_AUDITS_MAX);
    else if (rc < 0)
        hd_fail(&answer.why, rc, "out of memory for an audit");
    if (rc < 0)
        send_answer(c, &answer);
}

void hd_crew_run_audit(struct hd_crew *c)
{
    struct hd_audit_answer answer;
    uint64_t t0 = hd_now_us();
    hd_supply_set_window(c->supply, 1); /* what nobody waits for holds up nobody */
    int rc = hd_audit_slice(c->node, &answer);
    uint64_t now = hd_now_us();
    c->audit_pending = rc != HD_AUDIT_IDLE && hd_audit_pending(c->node);
    if (rc == HD_AUDIT_DONE) {
        send_answer(c, &answer);
        hd_model_let_go(c->o.model); /* it may have loaded another's units */
    }
    if (rc == HD_AUDIT_IDLE)
        return;
    /* When everything is audited the answers are as much work as the steps: no rest between them.
     */
    bool all = c->node->sizes.audit_every == 1;
    c->hold_us = all ? now : hd_pace_next(&c->pace, now, now - t0);
    atomic_fetch_add(&c->integrity_us, now - t0);
    hd_crew_publish(c, now - t0);
}
