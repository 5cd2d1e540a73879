/* api.h - the leader's HTTP: OpenAI's completions and chat, models, health, status,
 * metrics.
 *
 * libmicrohttpd driven from the libuv loop through its epoll descriptor; bodies are read, and long
 * answers written, by threads (jobs.h). The API knows no cluster: what it needs comes through
 * `struct hd_api_backend`, so that tests run it against a backend that needs no model. */
#ifndef HD_API_API_H
#define HD_API_API_H

#include "common/text/bound.h"
#include "common/util/log.h"
#include "leader/engine/request.h"
#include "leader/metrics/serving.h"

#include <jansson.h>
#include <sys/socket.h>
#include <uv.h>

struct hd_api_backend {
    void *arg;
    const char *model;   /* name in /v1/models; also the default model */
    const char *aliases; /* other names of it, with a blank between them; NULL: none */
    bool any_model;      /* requests may name any model, it is this one that answers */
    int64_t created;     /* seconds since 1970, of /v1/models */
    uint32_t context;    /* positions: prompt + answer must fit */
    uint32_t vocab;
    const struct hd_tokenizer *tokenizer; /* NULL: only token ids are accepted */
    struct hd_token_bound bound;          /* ... of the tokenizer; zeroes: not known */
    const char *no_tokenizer;             /* why there is none, a sentence; NULL: unknown */
    /* Queue a request. 0 and *out; HD_E_LIMIT: the queue is full; HD_E_STATE: shutting down;
     * HD_E_RANGE: options that cannot be met (err says which). Events never fire from within. */
    int (*submit)(void *arg, const struct hd_request_options *o, const struct hd_request_events *ev,
                  void *ev_arg, struct hd_request **out, struct hd_error *err);
    /* Stop it: no event fires any more. */
    void (*cancel)(void *arg, struct hd_request *r);
    /* NULL when the cluster serves, else one sentence why not. */
    const char *(*not_ready)(void *arg);
    /* Give a worker's units to others and no new ones to it (on), or let it take part again. 0, or
     * HD_E_NOTFOUND: no such worker is connected. It takes a while: the status shows it. */
    int (*drain)(void *arg, const char *worker, bool on, struct hd_error *err);
    void (*rebalance)(void *arg); /* level the load */
    /* The object of GET /hydac/status; the caller decrefs. The reply may need the workers'
     * counters, so it comes through `done` (exactly once, maybe from within the call). */
    void (*status)(void *arg, void (*done)(void *done_arg, json_t *status), void *done_arg);
    /* The text of GET /metrics (metrics/exposition.h), malloc'ed; NULL when memory is out. */
    char *(*metrics)(void *arg);
    struct hd_serving *serving; /* how requests ended is counted here; NULL: nowhere */
};

/* It is the model's name, or an alias. */
bool hd_api_is_model(const struct hd_api_backend *b, const char *name);

struct hd_api;
struct hd_api_options {
    uv_loop_t *loop;
    const struct hd_log *log;
    struct hd_api_backend backend;
    const struct sockaddr *listen;
    /* Files, NULL or "" = none: what a client must know (/v1 and /hydac), what who changes the
     * cluster must, and HTTPS's certificate chain with its private key, PEM; read by hd_api_new. */
    const char *api_key_file, *admin_key_file, *cert_file, *cert_key_file;
    /* Words with a blank between them, NULL or "" = none, "*" = all; must outlive the API: names of
     * this leader besides loopback ones, and origins of web pages that may ask. */
    const char *allowed_hosts, *allowed_origins;
    unsigned max_connections; /* at once; 0 = 1024; descriptors may allow fewer */
    unsigned spare_files;     /* descriptors that are left to others */
    size_t max_body;          /* bytes of a request's body; 0 = 4 MiB */
    size_t max_bodies;        /* ... and of all that are being read; 0 = 64 MiB */
    unsigned request_ms; /* from a connection, or its last reply, to a whole request; 0 = 30 s */
};
int hd_api_new(struct hd_api **out, const struct hd_api_options *o, struct hd_error *err);
unsigned hd_api_port(const struct hd_api *a); /* the port in use (listen port 0) */
/* Takes no new connections, sends the replies that are ready within a second, cancels the requests
 * of those that remain, and frees; `closed` is called once from the loop when nothing is left. */
void hd_api_close(struct hd_api *a, void (*closed)(void *arg), void *arg);

#endif
