/* events.h - the leader's server-sent events, put together from the pieces that arrive. */
#ifndef HD_CTL_EVENTS_H
#define HD_CTL_EVENTS_H

#include <jansson.h>
#include <stddef.h>

#define HD_MAX_EVENT (16u << 20) /* bytes of one event; a leader sends far less */

struct hd_events {
    void (*on_event)(void *arg, const json_t *event); /* not for "[DONE]" */
    void *arg;
    char name[32]; /* of the event in hand, or the latest that had one */
    char id[64];   /* the latest that was said, "" = none */
    char *buf;     /* what has come and is not used yet: part of a line, or an error's object */
    size_t n, cap;
};

/* Takes the next piece of an answer with this HTTP status; of one other than 200 everything is kept
 * in buf. HD_E_LIMIT, HD_E_NOMEM. */
int hd_events_feed(struct hd_events *e, long status, const char *data, size_t len);
void hd_events_deinit(struct hd_events *e);

#endif
