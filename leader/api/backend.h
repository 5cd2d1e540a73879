/* backend.h - what the API needs of the cluster: a model, a queue of requests, its status.
 *
 * The API knows no cluster, so that tests run it against a backend that needs no model. */
#ifndef HD_API_BACKEND_H
#define HD_API_BACKEND_H

#include "common/text/bound.h"
#include "common/util/error.h"
#include "leader/engine/request.h"
#include "leader/metrics/serving.h"
#include "leader/records/records.h"

#include <jansson.h>

struct hd_api_backend {
    void *arg;
    const char *model;   /* name in /v1/models; also the default model */
    const char *aliases; /* other names of it, with a blank between them; NULL: none */
    bool any_model;      /* requests may name any model, it is this one that answers */
    int64_t created;     /* seconds since 1970, of /v1/models */
    uint32_t context;    /* positions: prompt + answer must fit */
    uint32_t vocab;
    uint32_t dim;                         /* values of a vector of a text */
    const struct hd_pooled *pooled;       /* how it is made; NULL: it is not */
    const struct hd_tokenizer *tokenizer; /* NULL: only token ids are accepted */
    struct hd_token_bound bound;          /* ... of the tokenizer; zeroes: not known */
    const char *no_tokenizer;             /* why there is none, a sentence; NULL: unknown */
    /* Queue a request. 0 and *out; HD_E_LIMIT: the queue is full; HD_E_STATE: shutting down;
     * HD_E_RANGE: options that cannot be met (err says which). Events never fire from within. */
    int (*submit)(void *arg, const struct hd_request_options *o, const struct hd_request_events *ev,
                  void *ev_arg, struct hd_request **out, struct hd_error *err);
    /* Stop it: no event fires any more. */
    void (*cancel)(void *arg, struct hd_request *r);
    /* Of what an answer is a function of besides the request: the model's bytes, the arithmetic's
     * settings; 16 hexadecimal digits. NULL: not known yet, or the plan goes into it too. From the
     * loop. */
    const char *(*model_digest)(void *arg);
    /* NULL when the cluster serves, else one sentence why not. */
    const char *(*not_ready)(void *arg);
    /* Give a worker's units to others and no new ones to it (on), or let it take part again. 0, or
     * HD_E_NOTFOUND: no such worker is connected. It takes a while: the status shows it. */
    int (*drain)(void *arg, const char *worker, bool on, struct hd_error *err);
    void (*rebalance)(void *arg); /* level the load */
    /* The object of GET /hydac/status; the caller decrefs. The reply may need the workers'
     * counters, so it comes through `done` (exactly once, maybe from within the call). */
    void (*status)(void *arg, void (*done)(void *done_arg, json_t *status), void *done_arg);
    /* The same at once, as far as no worker has to be asked; `whole`: with what has been lately.
     * And who owns what. NULL when memory is out. */
    json_t *(*overview)(void *arg, bool whole);
    json_t *(*plan)(void *arg);
    /* The text of GET /metrics (metrics/exposition.h), malloc'ed; NULL when memory is out. */
    char *(*metrics)(void *arg);
    /* What an answer needs to go on elsewhere is kept by the backend (leader/records/records.h).
     * May be NULL: nobody keeps it. begun: NULL, or a record; *wait: no token may leave before
     * begin's `sure` is called, which it is once, unless ended() comes first; later, not from
     * within. sampled: the index-th token of a choice, also one that is there. ended: r is invalid
     * from then on; whole: its client may not have heard all of it yet. */
    struct hd_record *(*begun)(void *arg, const struct hd_record_begin *b, void (*sure)(void *arg),
                               void *sure_arg, bool *wait);
    void (*sampled)(void *arg, struct hd_record *r, unsigned choice, uint32_t index, int32_t id);
    void (*ended)(void *arg, struct hd_record *r, bool whole);
    /* What this leader is among several, one word; and where clients find the one that serves, if
     * it is another one. Both may be NULL, or say NULL. */
    const char *(*role)(void *arg);
    const char *(*elsewhere)(void *arg);
    struct hd_serving *serving; /* how requests ended is counted here; NULL: nowhere */
};

/* It is the model's name, or an alias. */
bool hd_api_is_model(const struct hd_api_backend *b, const char *name);

#endif
