/* beats.h - what workers count and say with each heartbeat, as a table: status and metrics show all
 * of its rows. One more is a field in proto/hydac.proto, its value in worker/link/frames.c, a row
 * in beats.c, and a word in leader/README.md; nothing counts them. */
#ifndef HD_DAEMON_BEATS_H
#define HD_DAEMON_BEATS_H

#include "hydac.pb-c.h"
#include "leader/metrics/exposition.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HD_MAX_BEATS 16 /* room for rows */

struct hd_beat {
    size_t offset;   /* of a uint64 in Hydac__V1__HeartbeatAck */
    const char *key; /* in the status: of the worker ... */
    bool integrity;  /* ... or of its "integrity" */
    struct hd_family metric;
    double unit; /* of the metric, in those of the field: 1e6 makes seconds of us */
};
extern const struct hd_beat hd_beats[];
extern const size_t hd_n_beats;

/* Values by row of the table. */
struct hd_beat_values {
    uint64_t v[HD_MAX_BEATS];
    uint64_t scrub_clean_us; /* how long ago; in the status as ms, or null */
};
void hd_beats_read(struct hd_beat_values *out, const Hydac__V1__HeartbeatAck *m);
/* Adds those that belong to it, or to its "integrity". */
void hd_beats_json(const struct hd_beat_values *b, bool integrity, json_t *worker);

#endif
