/* recoveries.h - what losses of workers cost, summed up over the leader's life. */
#ifndef HD_METRICS_RECOVERIES_H
#define HD_METRICS_RECOVERIES_H

#include "leader/core/types.h"
#include "leader/metrics/histogram.h"

#define HD_LOSS_CAUSES (HD_LOSS_WRONG + 1)

struct hd_recoveries {
    /* By cause; the policy is one for all of a leader's life. Seconds. */
    struct hd_histogram detect[HD_LOSS_CAUSES]; /* last sign of life -> declared lost */
    struct hd_histogram stall[HD_LOSS_CAUSES];  /* last sign of life -> interrupted work done */
    uint64_t heads_lost, heads_rebuilt, heads_ready, heads_reused;
    uint64_t rows_rebuilt, rows_kept, rows_replayed;
};

void hd_recoveries_init(struct hd_recoveries *r);
void hd_recoveries_add(struct hd_recoveries *r, const struct hd_failover *f);

#endif
