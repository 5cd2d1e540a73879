/* numbers.h - the ids of a stream's events, by which a client says how far it has read.
 *
 * Of one answer the id counts the events: "17". Of several it counts them for each, "17.4.9": which
 * choice is ahead when an event leaves depends on what else the cluster computes, so another leader
 * mixes them otherwise; each choice's own events are the same and in the same order. */
#ifndef HD_API_NUMBERS_H
#define HD_API_NUMBERS_H

#include "leader/api/text.h"

#include <stdint.h>

#define HD_MAX_NUMBERS   64  /* HD_MAX_CHOICES */
#define HD_EVENT_ID_TEXT 705 /* 64 numbers of 10 digits, what is between them, the end */

/* How many events of each choice there were. */
struct hd_numbers {
    uint32_t of[HD_MAX_NUMBERS];
    unsigned n; /* choices */
};

/* The bytes of the first event, or line, of `text`; all of it if it does not end. */
size_t hd_event_len(const char *text, size_t len, bool lines);
/* Counts one more event of the choice, and puts its id in front of it. 0 or HD_E_NOMEM. */
int hd_number_event(struct hd_numbers *n, unsigned choice, const char *event, size_t len,
                    struct hd_text *out);
/* What hd_number_event has written; false: it is no such id. `out->n` is what the id has. */
bool hd_numbers_read(struct hd_numbers *out, const char *id);

#endif
