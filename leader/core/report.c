/* report.c - what recoveries cost. Several losses in one recovery make one report each; they share
 * the times from the last new epoch on. */
#include "leader/core/core_impl.h"

#include <string.h>

static double ms(uint64_t from_us, uint64_t to_us)
{
    return to_us > from_us ? (double)(to_us - from_us) / 1e3 : 0;
}

/* Hand out the oldest report; the others move up, its buffer goes to the end. */
static void emit_first(struct hd_core *c)
{
    struct report first = c->reports[0];
    if (first.ready_us)
        first.f.retry_ms = ms(first.ready_us, c->now_us);
    first.f.stall_ms = ms(first.sign_us, c->now_us);
    core_push(c, HD_ACT_FAILOVER, 0)->failover = first.f;
    c->n_reports--;
    memmove(&c->reports[0], &c->reports[1], c->n_reports * sizeof c->reports[0]);
    c->reports[c->n_reports] = (struct report){.lost = first.lost};
}

static uint64_t live_positions(const struct hd_core *c)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < HD_MAX_SEQUENCES; i++)
        n += c->sequences[i].base + core_inflight(&c->sequences[i]);
    return n;
}

bool core_owns_any(const struct hd_core *c, unsigned slot)
{
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        if (hd_plan_owned(&c->plan, k, slot, NULL) > 0)
            return true;
    return false;
}

void core_report_loss(struct hd_core *c, unsigned slot, enum hd_loss_cause cause)
{
    const struct worker *w = &c->workers[slot];
    if (!core_owns_any(c, slot))
        return;
    if (c->n_reports == MAX_REPORTS)
        emit_first(c);
    struct report *r = &c->reports[c->n_reports++];
    *r = (struct report){.lost = r->lost, .sign_us = w->last_seen_us};
    memcpy(r->f.worker, w->name, sizeof r->f.worker);
    r->f.cause = cause;
    r->f.policy = c->o.recovery;
    r->f.at_us = c->now_us;
    r->f.positions = live_positions(c);
    r->f.detect_ms = ms(w->last_seen_us, c->now_us);
    for (uint32_t h = 0; h < c->plan.count[HD_UNIT_HEAD]; h++) {
        r->lost[h] = c->plan.owner[HD_UNIT_HEAD][h] == slot;
        r->f.heads_lost += r->lost[h];
    }
}

void core_report_assigned(struct hd_core *c, uint32_t heads_reused)
{
    for (unsigned i = 0; i < c->n_reports; i++) {
        struct report *r = &c->reports[i];
        r->f.rows_kept = 0; /* counted anew by every epoch */
        if (r->assigned_us)
            continue;
        r->assigned_us = c->now_us;
        r->f.epoch = c->epoch;
        r->f.heads_reused = heads_reused;
        r->f.plan_ms = ms(r->f.at_us, c->now_us);
    }
}

static void add_kv(struct hd_core *c, struct report *r, const struct hd_kv_info *kv)
{
    r->f.rows_rebuilt += kv->rows_rebuilt;
    r->f.bytes += kv->bytes;
    r->f.flops += kv->flops;
    if (kv->epoch == c->epoch)
        r->f.rows_kept += kv->rows_kept;
    if ((double)kv->weights_us / 1e3 > r->f.weights_ms)
        r->f.weights_ms = (double)kv->weights_us / 1e3;
    if ((double)kv->rebuild_us / 1e3 > r->f.rebuild_ms)
        r->f.rebuild_ms = (double)kv->rebuild_us / 1e3;
    for (size_t i = 0; i < kv->n_ready; i++) {
        r->f.heads_ready += r->lost[kv->ready[i]];
        r->lost[kv->ready[i]] = 0;
    }
    for (size_t i = 0; i < kv->n_heads; i++) {
        r->f.heads_rebuilt += r->lost[kv->heads[i]];
        r->lost[kv->heads[i]] = 0;
    }
}

/* Also of an epoch that another loss has overtaken: the work was done and is not done again. */
void core_report_kv(struct hd_core *c, const struct hd_kv_info *kv)
{
    for (unsigned i = 0; i < c->n_reports; i++)
        if (c->reports[i].assigned_us && kv->epoch >= c->reports[i].f.epoch)
            add_kv(c, &c->reports[i], kv);
}

void core_report_ready(struct hd_core *c)
{
    for (unsigned i = 0; i < c->n_reports; i++)
        c->reports[i].ready_us = c->now_us;
    if (!core_any_half(c))
        core_report_done(c);
}

/* A half-step that the loss interrupted is not done again yet. */
static bool retrying(const struct hd_core *c)
{
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        if (c->half[g].again)
            return true;
    return false;
}

/* A replay has come back to where it was when the step in hand is done, which is as good as done
 * when its logits are. */
static bool catching_up(const struct hd_core *c)
{
    bool logits = c->half[0].half == HD_HALF_LOGITS;
    for (unsigned i = 0; i < HD_MAX_SEQUENCES; i++) {
        const struct sequence *q = &c->sequences[i];
        if (q->base + (logits ? core_inflight(q) : 0) < q->target)
            return true;
    }
    return false;
}

void core_report_work(struct hd_core *c, uint64_t flops)
{
    bool again = false;
    for (unsigned i = 0; i < HD_MAX_SEQUENCES && c->n_reports > 0; i++)
        again |= c->sequences[i].base < c->sequences[i].target;
    for (unsigned i = 0; i < c->n_reports && again; i++)
        c->reports[i].f.flops += flops;
}

void core_report_done(struct hd_core *c)
{
    if (retrying(c) || catching_up(c))
        return;
    while (c->n_reports > 0)
        emit_first(c);
}
