/* runs.h - answers that outlive their client's connection.
 *
 * A run is a call without a client, which makes an answer as every call does; what it makes is kept
 * here, event by event, and clients read it: from the beginning, or behind the last event that they
 * have. There is a run where a client has given its request an id (X-Request-Id or
 * Idempotency-Key), and for each answer that goes on after another leader's death (an orphan).
 *
 * Happy path: POST with an id -> a run, and its first reader -> the connection breaks -> the same
 * POST with Last-Event-ID, or GET /v1/hydac/requests/ID/events -> the next reader -> the end ->
 * kept for http.answer_keep_s.
 * Failure modes: 1. nobody reads it: it is cancelled after a while; 2. it is larger than
 * HD_RUN_BYTES, or all are: it ends; 3. the request fails: its readers get the error, and no
 * end; 4. another key asks: there is no such run; 5. the id came with another body: 409. */
#ifndef HD_API_RUNS_H
#define HD_API_RUNS_H

#include "leader/api/answer.h"
#include "leader/records/records.h"

#define HD_RUN_BYTES   ((size_t)16 << 20)  /* of one answer's events */
#define HD_RUNS_BYTES  ((size_t)128 << 20) /* of all */
#define HD_RUN_ALONE_S 10u /* a running one that nobody reads, whose client may come again */

struct hd_reader; /* runs.c */
struct hd_run_event {
    size_t at, len; /* in the text */
    uint16_t choice;
    bool numbered; /* it is of the answer; else the error that ends it */
};

struct hd_run {
    struct hd_run *next;
    struct hd_call *call;                                  /* without a client */
    char id[HD_RECORD_ID], client_id[HD_RECORD_CLIENT_ID]; /* "" = not known yet; none */
    uint8_t body[16];                                      /* digest of path and body */
    bool orphan;                                           /* begun elsewhere */
    bool claimed;                                          /* ... and its client has come */
    bool failed; /* who asks again is not told of it, but may begin anew */
    struct hd_text text;
    struct hd_run_event *events; /* malloc'ed */
    size_t n_events, cap;
    struct hd_reader *readers;
    uint64_t alone_us; /* since nobody reads it; 0: somebody does */
};

/* A client asks for an answer: true when it is a run's that there is, or that begins now, or was
 * refused; false: it is to be answered as ever. */
bool hd_run_start(struct hd_call *c, const struct hd_form *form);
/* An event of its answer. 0, HD_E_LIMIT, HD_E_NOMEM. */
int hd_run_add(struct hd_run *r, unsigned choice, bool numbered, const char *event, size_t len);
/* Its call has something to say. */
void hd_run_news(struct hd_run *r);
/* Those that nobody will read any more go. */
void hd_runs_sweep(struct hd_api *a, uint64_t now_us);
/* The API is closing: all of them go. */
void hd_runs_end(struct hd_api *a);

#endif
