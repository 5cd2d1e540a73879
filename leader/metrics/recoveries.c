/* recoveries.c - adds one report to the totals, and its times to histograms by cause. */
#include "leader/metrics/recoveries.h"

/* From a closed connection on loopback (below a millisecond) to a replay of a long context. */
static const double bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,  0.2,  0.25, 0.3,
                                0.5,   0.75,   1.0,   2.5,  5.0,   10.0, 25.0, 60.0, 120.0};
#define N_BOUNDS (sizeof bounds / sizeof bounds[0])
_Static_assert(N_BOUNDS <= HD_HISTOGRAM_MAX_BOUNDS, "fits a histogram");

void hd_recoveries_init(struct hd_recoveries *r)
{
    *r = (struct hd_recoveries){0};
    for (unsigned cause = 0; cause < HD_LOSS_CAUSES; cause++) {
        hd_histogram_init(&r->detect[cause], bounds, N_BOUNDS);
        hd_histogram_init(&r->stall[cause], bounds, N_BOUNDS);
    }
}

void hd_recoveries_add(struct hd_recoveries *r, const struct hd_failover *f)
{
    hd_histogram_observe(&r->detect[f->cause], f->detect_ms / 1e3);
    hd_histogram_observe(&r->stall[f->cause], f->stall_ms / 1e3);
    r->heads_lost += f->heads_lost;
    r->heads_rebuilt += f->heads_rebuilt;
    r->heads_ready += f->heads_ready;
    r->heads_reused += f->heads_reused;
    r->rows_rebuilt += f->rows_rebuilt;
    r->rows_kept += f->rows_kept;
    r->rows_replayed += f->rows_replayed;
}
