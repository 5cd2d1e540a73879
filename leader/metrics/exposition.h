/* exposition.h - Prometheus's text format, version 0.0.4:
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 *
 * Writes into a stream of the caller's; what goes wrong there is seen with ferror at the end. The
 * format asks for '.' as the decimal point: the daemons never call setlocale. */
#ifndef HD_METRICS_EXPOSITION_H
#define HD_METRICS_EXPOSITION_H

#include "leader/metrics/histogram.h"

#include <stdio.h>

#define HD_EXPOSITION_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Metrics of one name. A family is announced once, its samples follow at once. */
struct hd_family {
    const char *name, *type, *help; /* type: "counter", "gauge" or "histogram" */
};

/* A list of labels ends with a NULL name; NULL is no labels at all. Values may be any bytes. */
struct hd_label {
    const char *name, *value;
};

void hd_exposition_family(FILE *out, const struct hd_family *f);
void hd_exposition_sample(FILE *out, const char *name, const struct hd_label *labels, double value);
/* Buckets (cumulative, as the format has them), sum and count. */
void hd_exposition_histogram(FILE *out, const char *name, const struct hd_label *labels,
                             const struct hd_histogram *h);

#endif
