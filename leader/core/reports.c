/* reports.c - what recoveries cost. Several losses in one recovery make one report each; they share
 * the times from the last new epoch on. */
#include "leader/core/core_impl.h"

#include <stdlib.h>
#include <string.h>

static double ms(uint64_t from_us, uint64_t to_us)
{
    return to_us > from_us ? (double)(to_us - from_us) / 1e3 : 0;
}

/* Hand out the oldest report; the others move up, its buffer goes to the end. */
static void emit_first(struct hd_core *c)
{
    struct report first = c->reports.list[0];
    if (first.ready_us)
        first.f.retry_ms = ms(first.ready_us, c->now_us);
    first.f.stall_ms = ms(first.sign_us, c->now_us);
    core_push(c, HD_ACT_FAILOVER, 0)->failover = first.f;
    c->reports.n--;
    memmove(&c->reports.list[0], &c->reports.list[1], c->reports.n * sizeof c->reports.list[0]);
    c->reports.list[c->reports.n] = (struct report){.lost = first.lost};
}

/* Of what requests need. */
static uint64_t live_positions(const struct hd_core *c)
{
    uint64_t n = 0;
    for (uint64_t left = core_live(c) & ~core_spare(c); left; left &= left - 1)
        n += core_positions(c, core_first(left));
    return n;
}

int core_reports_init(struct hd_core *c)
{
    for (unsigned i = 0; i < MAX_REPORTS; i++) {
        c->reports.list[i].lost = calloc((size_t)c->o.units[HD_UNIT_HEAD] + 1, 1);
        if (!c->reports.list[i].lost)
            return HD_E_NOMEM;
    }
    return 0;
}

void core_reports_deinit(struct hd_core *c)
{
    for (unsigned i = 0; i < MAX_REPORTS; i++)
        free(c->reports.list[i].lost);
}

void core_report_loss(struct hd_core *c, unsigned slot, enum hd_loss_cause cause)
{
    const struct hd_plan *plan = hd_core_plan(c);
    uint64_t sign_us = core_last_seen(c, slot);
    if (!core_owns_any(c, slot))
        return;
    if (c->reports.n == MAX_REPORTS)
        emit_first(c);
    struct report *r = &c->reports.list[c->reports.n++];
    *r = (struct report){.lost = r->lost, .sign_us = sign_us};
    strcpy(r->f.worker, core_name(c, slot));
    r->f.cause = cause;
    r->f.policy = c->o.policy->name;
    r->f.at_us = c->now_us;
    r->f.positions = live_positions(c);
    r->f.detect_ms = ms(sign_us, c->now_us);
    for (uint32_t h = 0; h < plan->count[HD_UNIT_HEAD]; h++) {
        r->lost[h] = plan->owner[HD_UNIT_HEAD][h] == slot;
        r->f.heads_lost += r->lost[h];
    }
}

void core_report_assigned(struct hd_core *c, uint32_t heads_reused)
{
    for (unsigned i = 0; i < c->reports.n; i++) {
        struct report *r = &c->reports.list[i];
        r->f.rows_kept = 0; /* counted anew by every epoch */
        if (r->assigned_us)
            continue;
        r->assigned_us = c->now_us;
        r->f.epoch = hd_core_epoch(c);
        r->f.heads_reused = heads_reused;
        r->f.plan_ms = ms(r->f.at_us, c->now_us);
    }
}

static void add_kv(struct hd_core *c, struct report *r, const struct hd_kv_info *kv)
{
    r->f.rows_rebuilt += kv->rows_rebuilt;
    r->f.bytes += kv->bytes;
    r->f.flops += kv->flops;
    if (kv->epoch == hd_core_epoch(c))
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
    for (unsigned i = 0; i < c->reports.n; i++)
        if (c->reports.list[i].assigned_us && kv->epoch >= c->reports.list[i].f.epoch)
            add_kv(c, &c->reports.list[i], kv);
}

void core_report_ready(struct hd_core *c)
{
    for (unsigned i = 0; i < c->reports.n; i++)
        c->reports.list[i].ready_us = c->now_us;
    if (!core_any_half(c))
        core_report_done(c);
}

void core_report_work(struct hd_core *c, uint64_t flops)
{
    bool again = c->reports.n > 0 && core_replays_any(c);
    for (unsigned i = 0; i < c->reports.n && again; i++)
        c->reports.list[i].f.flops += flops;
}

void core_report_done(struct hd_core *c)
{
    if (c->reports.n == 0 || core_retrying(c) || core_catching_up(c))
        return;
    while (c->reports.n > 0)
        emit_first(c);
}

bool core_reporting(const struct hd_core *c)
{
    return c->reports.n > 0;
}
