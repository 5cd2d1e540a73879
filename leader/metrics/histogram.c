/* histogram.c - one counter for each bound, and the sum of all. */
#include "leader/metrics/histogram.h"

#include <assert.h>
#include <math.h>

void hd_histogram_init(struct hd_histogram *h, const double *bounds, size_t n)
{
    assert(n <= HD_HISTOGRAM_MAX_BOUNDS);
    *h = (struct hd_histogram){.bounds = bounds, .n = n};
}

void hd_histogram_observe(struct hd_histogram *h, double value)
{
    size_t i = 0;
    if (!isfinite(value))
        return;
    while (i < h->n && value > h->bounds[i])
        i++;
    h->counts[i]++;
    h->sum += value;
}

uint64_t hd_histogram_count(const struct hd_histogram *h)
{
    uint64_t sum = 0;
    for (size_t i = 0; i <= h->n; i++)
        sum += h->counts[i];
    return sum;
}
