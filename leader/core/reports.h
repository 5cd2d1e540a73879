/* reports.h - what recoveries cost. */
#ifndef HD_CORE_REPORTS_H
#define HD_CORE_REPORTS_H

#include "leader/core/core.h"

#define MAX_REPORTS 16 /* recoveries that wait for their end; the oldest is reported early */

/* A recovery that has not ended. */
struct report {
    struct hd_failover f;
    uint64_t sign_us, assigned_us, ready_us; /* last sign of life, new epoch, all confirmed */
    uint8_t *lost;                           /* [heads]: 1 = lost and not yet rebuilt */
};

struct reports {
    struct report list[MAX_REPORTS];
    unsigned n;
};

int core_reports_init(struct hd_core *c);
void core_reports_deinit(struct hd_core *c);
void core_report_loss(struct hd_core *c, unsigned slot, enum hd_loss_cause cause);
void core_report_assigned(struct hd_core *c, uint32_t heads_reused);
void core_report_kv(struct hd_core *c, const struct hd_kv_info *kv);
void core_report_ready(struct hd_core *c);
/* An answer took so many operations: part of a recovery while sequences are replayed. */
void core_report_work(struct hd_core *c, uint64_t flops);
/* Hand out all reports, unless a replay has yet to come back to where it was. */
void core_report_done(struct hd_core *c);
bool core_reporting(const struct hd_core *c); /* a recovery has not ended */

#endif
