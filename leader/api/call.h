/* call.h - one HTTP exchange: what a handler sees of it.
 *
 * Happy path: headers -> body collected -> routed (receive.c) -> suspended -> body parsed and
 * tokenized by a thread -> submitted -> tokens collected -> resumed -> sent -> completed (freed).
 *
 * Failure modes: 1. what the client asks is refused: one error object, the connection lives on;
 * 2. the client goes away: noticed by our own watch (libmicrohttpd does not look at suspended
 * connections), the request is cancelled; one that only ends its sending side is answered; 3. the
 * client reads too slowly: more than HD_MAX_UNSENT bytes wait for it, cancelled; 4. the request
 * fails midway: an error event ends the stream; 5. the API is closed: replies that are ready are
 * sent within HD_DRAIN_MS, then connections end; 6. a thread has the call in hand while 2, 3 or 5
 * happen: it is freed when the thread is through.
 *
 * Events of the engine may neither submit nor cancel, so that what they decide is done a little
 * later (hd_call_later). */
#ifndef HD_API_CALL_H
#define HD_API_CALL_H

#include "leader/api/server.h"
#include "leader/api/text.h"
#include "leader/api/watch.h"

enum hd_call_state {
    HD_CALL_READING,   /* the body is coming in */
    HD_CALL_WAITING,   /* suspended until there is a reply */
    HD_CALL_STREAMING, /* the reply is made while it is sent */
    HD_CALL_ANSWERED,  /* a whole reply was handed to libmicrohttpd */
};

struct hd_call;
/* What a handler keeps beside a call. */
struct hd_call_work {
    void (*cancel)(struct hd_call *c); /* stop, at once, as nobody waits any more */
    void (*later)(struct hd_call *c);  /* what was for later (hd_call_later); NULL: nothing is */
    void (*free)(void *own);
};

struct hd_call {
    struct hd_api *api;
    struct hd_call *next;
    struct MHD_Connection *conn; /* NULL: it is a run's (runs.h) */
    struct hd_run *run;          /* ... which hears of what it makes */
    struct hd_again *again;      /* of an answer that was begun elsewhere (again.h); else NULL */
    const char *path;            /* of the route. Static */
    unsigned key;                /* that it shows, hd_api_key_shown */
    uint8_t owner[HD_OWNER];     /* a digest of that key */
    bool hold;                   /* nothing leaves yet (hd_call_release) */
    char *location;              /* where else to ask, malloc'ed; NULL: nowhere */
    enum hd_call_state state;
    bool suspended;
    struct hd_refusal refusal; /* status not 0: decided before the body was there, or by a thread */
    size_t dropped;            /* bytes of the body of what is refused */
    size_t max_body;           /* bytes, by what is asked for */
    size_t held;               /* bytes of the body that are counted in the API's `bodies` */
    struct hd_job job;         /* of a thread */
    bool working;              /* ... which has the body and what the handler keeps */
    char *text;                /* what it has made */
    bool last;                 /* the connection ends with the reply */
    bool asks;                 /* interim replies may come first: HTTP/1.1, not through TLS */
    bool queued;               /* libmicrohttpd has the reply, or makes the stream */
    bool preflight;            /* of a web page that may ask */
    bool completed;            /* libmicrohttpd is through with it */
    bool gone;                 /* the client is; nothing is worth sending */
    bool ended;                /* no more will be added to the stream */
    bool pending;              /* the backend will call its handler */
    bool later;                /* something is to be done from the loop */
    struct hd_text body, out;  /* out: not sent yet */
    size_t out_sent;
    unsigned status;   /* HTTP status of the reply in `out`; 0: none yet */
    const char *type;  /* ... and its Content-Type; NULL: JSON. Static */
    const char *allow; /* ... and, with 405, the methods that there are. Static */
    /* ... which are added; NULL: none */
    void (*more_headers)(struct MHD_Response *r, const struct hd_call *c);
    const char *id;    /* what the log calls it; NULL: nothing */
    const char *idle;  /* what a stream says when it has said nothing for long; NULL: nothing */
    uint64_t spoke_us; /* when it has last said something */
    /* How a refusal is written. */
    json_t *(*refused)(const struct hd_refusal *r);
    const struct hd_call_work *work;
    void *own; /* the handler's */
    struct hd_watch watch;
};

/* ---- For handlers ---- */

/* Has a reply or a stream's next piece: wakes the connection. */
void hd_call_wake(struct hd_call *c);
void hd_call_release(struct hd_call *c);
void hd_call_reply(struct hd_call *c, unsigned status, json_t *object);   /* takes it over */
void hd_call_reply_text(struct hd_call *c, const char *type, char *text); /* likewise; 200 */
void hd_call_refuse(struct hd_call *c, const struct hd_refusal *r);
/* Lets a thread do `run`, then the loop `done`, unless the client has gone meanwhile. On a body: it
 * is for the thread of large jobs if the body is. */
void hd_call_work(struct hd_call *c, const struct hd_job *job);
void hd_call_work_on_body(struct hd_call *c, void (*run)(void *call), void (*done)(void *call));
/* First thing in `done`: false when the call is of no use any more, and maybe freed. */
bool hd_call_worked(struct hd_call *c);
/* A `done`: replies with c->text or c->refusal, as `run` has left them. */
void hd_call_reply_worked(void *call);
/* In `run`: the body as JSON, a new reference; the text is freed. NULL with the refusal. */
json_t *hd_call_body(struct hd_call *c);
/* Notices when the client goes while nothing is sent. */
void hd_call_watch(struct hd_call *c);
/* The backend will call; later, when it has: false when the call is gone. */
void hd_call_expect(struct hd_call *c);
bool hd_call_expected(struct hd_call *c);
/* Has the handler's `later` called from the loop, for what events must not do. */
void hd_call_later(struct hd_call *c);

/* ---- For who runs the exchange ---- */

struct hd_call *hd_call_new(struct hd_api *a, struct MHD_Connection *conn);
/* libmicrohttpd is through with it. */
void hd_call_complete(struct hd_call *c);
void hd_call_cancel(struct hd_call *c);                      /* all that runs for it, at once */
void hd_call_do_later(struct hd_call *c);                    /* if something was for later */
void hd_call_keep_alive(struct hd_call *c, uint64_t now_us); /* who was silent for long */
void hd_call_drop_body(struct hd_call *c);                   /* and what it is counted for */
enum MHD_Result hd_call_send(struct hd_call *c); /* the reply, a stream; or waits for them */

#endif
