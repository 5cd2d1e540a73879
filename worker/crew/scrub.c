/* scrub.c - scrubbing (trust/scrub.h) as the crew does it.
 *
 * A slice that is due is done by whoever has just done a job, when its answer is out: the compute
 * thread between two jobs, or the loop thread behind a half-step that it computed itself. That
 * costs no waking and no handing over, and the leader's turn hides most of it. Only when no job
 * comes the compute thread is woken for it, a moment later. What was found is repaired by the
 * compute thread before it takes the next job, since that may have to wait for the leader. */
#include "common/util/clock.h"
#include "worker/crew/crew_impl.h"
#include "worker/share/hold.h"
#include "worker/trust/scrub.h"

#include <stdlib.h>

#define GRACE_US 20000 /* in which a job is expected while steps come */

#define MOST_UNTOLD 64

/* Answers may be made of what is found damaged after the session has ended: the next leader is
 * told, who is most likely the same. Of a log's rows nothing was made. */
struct hd_untold {
    struct hd_finding f;
    uint64_t found_us;
    struct hd_untold *next;
};

static void keep_untold(struct hd_crew *c, const struct hd_finding *f)
{
    struct hd_untold *u = c->n_untold < MOST_UNTOLD ? malloc(sizeof *u) : NULL;
    if (!u)
        return; /* the log has it */
    *u = (struct hd_untold){.f = *f, .found_us = hd_now_us(), .next = c->untold};
    c->untold = u;
    c->n_untold++;
}

static void tell(struct hd_crew *c, const struct hd_finding *f)
{
    struct hd_reply *r = hd_reply_new(c->joined);
    hd_crew_finish(c, r, r ? hd_reply_damage(r, f) : 0);
}

static struct hd_untold *take_untold(struct hd_crew *c)
{
    struct hd_untold *u = c->untold;
    if (u) {
        c->untold = u->next;
        c->n_untold--;
    }
    return u;
}

void hd_crew_forget_untold(struct hd_crew *c)
{
    for (struct hd_untold *u; (u = take_untold(c));)
        free(u);
}

static void tell_untold(struct hd_crew *c)
{
    for (struct hd_untold *u; (u = take_untold(c)); free(u)) {
        u->f.since_us += hd_now_us() - u->found_us;
        tell(c, &u->f);
    }
}

static void on_found(void *arg, const struct hd_finding *f)
{
    struct hd_crew *c = arg;
    if (atomic_load(&c->session) != c->joined) {
        if (f->kind == HD_DAMAGE_WEIGHTS || f->kind == HD_DAMAGE_KV)
            keep_untold(c, f);
        return;
    }
    tell(c, f);
    if (f->kind != HD_DAMAGE_LOG)
        return;
    struct hd_reply *r;
    hd_fill_drop(c->fill, UINT64_C(1) << f->sequence);
    r = hd_reply_new(c->joined);
    int rc = r ? hd_reply_log_state(r, f->sequence, false) : 0;
    if (r && rc == 0)
        ((Hydac__V1__LogState *)r->message)->again = true;
    hd_crew_finish(c, r, rc);
}

void hd_crew_watch_findings(struct hd_crew *c, struct hd_node_options *o)
{
    o->found = on_found;
    o->found_arg = c;
}

void hd_crew_end_scrub(struct hd_crew *c)
{
    hd_scrub_dropped(c->node, hd_now_us());
}

void hd_crew_begin_scrub(struct hd_crew *c)
{
    tell_untold(c);
    hd_scrub_begin(c->node, hd_now_us());
}

bool hd_crew_must_repair(const struct hd_crew *c)
{
    return hd_scrub_broken(c->node);
}

uint64_t hd_crew_scrub_at(const struct hd_crew *c)
{
    uint64_t at = hd_scrub_at(c->node);
    bool steps_come = at != UINT64_MAX && hd_pace_busy(&c->pace, hd_now_us());
    return steps_come ? at + GRACE_US : at;
}

static void spent(struct hd_crew *c, uint64_t since_us)
{
    struct hd_scrub_totals t;
    uint64_t us = hd_now_us() - since_us;
    hd_scrub_totals(c->node, &t);
    atomic_store(&c->scrub_rounds, t.rounds);
    atomic_store(&c->scrub_clean_began_us, t.clean_began_us);
    atomic_fetch_add(&c->integrity_us, us);
    hd_crew_publish(c, us);
}

void hd_crew_run_scrub(struct hd_crew *c)
{
    struct hd_error err = {0};
    uint64_t now = hd_now_us();
    if (now < hd_scrub_at(c->node) || hd_scrub_broken(c->node))
        return;
    int rc = hd_scrub_slice(c->node, now, &err);
    if (rc < 0 || c->device->ops->lost(c->device, &err) < 0) /* nobody else has looked */
        hd_crew_send_error(c, c->joined, &err);
    spent(c, now);
}

void hd_crew_run_repair(struct hd_crew *c)
{
    struct hd_error err = {0};
    uint64_t now = hd_now_us();
    if (c->supply) /* the cluster waits for it, as for an assignment */
        hd_supply_set_window(c->supply, HD_WEIGHTS_IN_FLIGHT);
    if (hd_scrub_repair(c->node, &err) < 0)
        hd_crew_send_error(c, c->joined, &err);
    c->hold_pending = hd_hold_pending(c->node);
    spent(c, now);
}
