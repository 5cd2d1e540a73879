/* feed.h - GET /hydac/events: what changes in the cluster, as server-sent events, while it happens.
 *
 *   status     the status without the workers' cache counters: first of all, with the latest
 *              failovers and events; then each second, and soon after a change, without these
 *   plan       who owns what: behind the first status, and with each epoch
 *   change     a worker has come, is lost, slow ... (the status' events)
 *   cluster    the cluster serves, or does not
 *   confirmed  a worker has what an epoch has given it
 *   failover   what a loss was
 *
 * Each has "at_ms", of the leader's monotonic clock. While nobody watches nothing is made. */
#ifndef HD_API_FEED_H
#define HD_API_FEED_H

#include <jansson.h>
#include <stdbool.h>

struct hd_api;

/* The API is closing: all streams end. */
void hd_feed_end(struct hd_api *a);

/* ---- For those who know what happens ---- */

/* `a` may be NULL. Who makes an event looks first. */
bool hd_feed_is_watched(const struct hd_api *a);
/* To all who watch; takes the object over, which may be NULL when memory is out. */
void hd_feed_tell(struct hd_api *a, const char *event, json_t *o);

#endif
