/* serving.h - what the clients got: latencies, and how their requests ended.
 *
 * The engine counts what it alone knows exactly (queue, tokens), the API how an answer ended. Both
 * take a pointer that may be NULL: then nobody counts. Seconds throughout, as Prometheus wants. */
#ifndef HD_METRICS_SERVING_H
#define HD_METRICS_SERVING_H

#include "leader/metrics/histogram.h"

#include <stdio.h>

enum hd_outcome {
    HD_OUTCOME_STOP,   /* a stop token or a stop string */
    HD_OUTCOME_LENGTH, /* max_tokens, or the context is full */
    HD_OUTCOME_ABORT,  /* the client went away, or read too slowly */
    HD_OUTCOME_ERROR,  /* it failed; the client was told why */
    HD_OUTCOMES,
};
/* "stop", "length", "abort", "error" */
const char *hd_outcome_name(enum hd_outcome o);

struct hd_serving {
    struct hd_histogram queue;       /* submitted -> its first row computed */
    struct hd_histogram first_token; /* submitted -> first token */
    struct hd_histogram inter_token; /* a token -> the next one of the same answer */
    struct hd_histogram request;     /* submitted -> ended, however it ended */
    uint64_t outcomes[HD_OUTCOMES];
};

void hd_serving_init(struct hd_serving *s);
/* Each does nothing when `s` is NULL. Times are microseconds of one clock. */
void hd_serving_started(struct hd_serving *s, uint64_t submitted_us, uint64_t now_us);
/* last_us: when the answer's token before came, 0 for its first. */
void hd_serving_token(struct hd_serving *s, uint64_t submitted_us, uint64_t last_us,
                      uint64_t now_us);
void hd_serving_ended(struct hd_serving *s, enum hd_outcome how, uint64_t submitted_us,
                      uint64_t now_us);
void hd_serving_expose(FILE *out, const struct hd_serving *s); /* for GET /metrics */

#endif
