/* histogram.h - how often values fell between fixed bounds. Pure, allocates nothing. */
#ifndef HD_METRICS_HISTOGRAM_H
#define HD_METRICS_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HD_HISTOGRAM_MAX_BOUNDS 24 /* series of one histogram: bounded, whoever adds bounds */

struct hd_histogram {
    const double *bounds;                         /* [n], ascending, inclusive; borrowed */
    size_t n;                                     /* at most HD_HISTOGRAM_MAX_BOUNDS */
    uint64_t counts[HD_HISTOGRAM_MAX_BOUNDS + 1]; /* not cumulative; [n]: above every bound */
    double sum;                                   /* of all values */
};

void hd_histogram_init(struct hd_histogram *h, const double *bounds, size_t n);
/* A value that is not finite is left out: it would make the sum useless for ever. */
void hd_histogram_observe(struct hd_histogram *h, double value);
/* Values so far. */
uint64_t hd_histogram_count(const struct hd_histogram *h);

#endif
