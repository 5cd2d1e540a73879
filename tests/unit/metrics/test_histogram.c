/* Histograms: values at the bounds, below the first, above the last. */
#include "leader/metrics/histogram.h"

#include <criterion/criterion.h>
#include <math.h>

static const double bounds[] = {0.5, 1, 2};

Test(histogram, a_bound_belongs_to_its_own_bucket)
{
    struct hd_histogram h;
    hd_histogram_init(&h, bounds, 3);
    hd_histogram_observe(&h, 0.5);
    hd_histogram_observe(&h, nextafter(0.5, 1));
    hd_histogram_observe(&h, 2);
    hd_histogram_observe(&h, nextafter(2, 3));
    cr_assert_eq(h.counts[0], 1);
    cr_assert_eq(h.counts[1], 1);
    cr_assert_eq(h.counts[2], 1);
    cr_assert_eq(h.counts[3], 1);
    cr_assert_eq(hd_histogram_count(&h), 4);
}

Test(histogram, sums_what_it_counted)
{
    struct hd_histogram h;
    hd_histogram_init(&h, bounds, 3);
    cr_assert_eq(hd_histogram_count(&h), 0);
    hd_histogram_observe(&h, 0);
    hd_histogram_observe(&h, 0.25);
    hd_histogram_observe(&h, 100);
    cr_assert_eq(h.sum, 100.25);
    cr_assert_eq(hd_histogram_count(&h), 3);
}

Test(histogram, leaves_out_what_is_not_finite)
{
    struct hd_histogram h;
    hd_histogram_init(&h, bounds, 3);
    hd_histogram_observe(&h, NAN);
    hd_histogram_observe(&h, INFINITY);
    hd_histogram_observe(&h, -INFINITY);
    cr_assert_eq(hd_histogram_count(&h), 0);
    cr_assert_eq(h.sum, 0);
}

Test(histogram, as_many_bounds_as_there_may_be)
{
    double many[HD_HISTOGRAM_MAX_BOUNDS];
    struct hd_histogram h;
    for (size_t i = 0; i < HD_HISTOGRAM_MAX_BOUNDS; i++)
        many[i] = (double)i;
    hd_histogram_init(&h, many, HD_HISTOGRAM_MAX_BOUNDS);
    hd_histogram_observe(&h, 1e9);
    cr_assert_eq(h.counts[HD_HISTOGRAM_MAX_BOUNDS], 1);
}
