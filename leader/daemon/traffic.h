/* traffic.h - bytes of the frames between the leader and workers that have joined, by what they are
 * for: header, body and payload, without what TLS and TCP add. */
#ifndef HD_DAEMON_TRAFFIC_H
#define HD_DAEMON_TRAFFIC_H

#include "leader/engine/engine.h"

#include <jansson.h>
#include <stdio.h>

enum hd_traffic_kind {
    HD_TRAFFIC_ATTENTION = HD_HALF_ATTENTION,
    HD_TRAFFIC_FFN = HD_HALF_FFN,
    HD_TRAFFIC_LOGITS = HD_HALF_LOGITS,
    HD_TRAFFIC_LOGS,    /* rows of input logs, for who lacks them */
    HD_TRAFFIC_WEIGHTS, /* for who has no model */
    HD_TRAFFIC_REST,    /* heartbeats, assignments, sequences, counters */
    HD_TRAFFIC_KINDS,
};
enum hd_traffic_way { HD_TRAFFIC_DOWN, HD_TRAFFIC_UP, HD_TRAFFIC_WAYS }; /* to, from workers */

struct hd_traffic {
    uint64_t bytes[HD_TRAFFIC_KINDS][HD_TRAFFIC_WAYS];
    /* What steps of one row a sequence took ([1]: a row is a token of an answer), and all others.
     */
    struct hd_traffic_steps {
        uint64_t rows; /* of steps that were finished */
        uint64_t bytes[HD_TRAFFIC_WAYS];
    } steps[2];
    bool single;   /* the step in hand has one row a sequence */
    uint64_t rows; /* of it, as far as its groups have begun */
};

/* A half-step begins; the step in hand has ended. */
void hd_traffic_half(struct hd_traffic *t, const struct hd_half_work *w);
void hd_traffic_step_done(struct hd_traffic *t);
/* A frame went out or came in; half: of a Step or a StepResult, any number. */
struct hd_traffic_frame {
    int type; /* enum hd_frame_type */
    int half;
    enum hd_traffic_way way;
    uint64_t bytes;
};
void hd_traffic_count(struct hd_traffic *t, const struct hd_traffic_frame *f);

/* For the status: bytes by kind; rows and bytes a row of both kinds of steps. */
json_t *hd_traffic_json(const struct hd_traffic *t);
/* For GET /metrics: hydac_cluster_bytes_total by kind and direction. */
void hd_traffic_expose(FILE *out, const struct hd_traffic *t);

#endif
