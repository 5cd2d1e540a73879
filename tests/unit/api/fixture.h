/* fixture.h - the API over real sockets, against a backend that the test plays.
 *
 * Everything is in one thread: whatever waits runs the loop until its condition holds. */
#ifndef HD_TESTS_API_FIXTURE_H
#define HD_TESTS_API_FIXTURE_H

#include "leader/api/api.h"

#define MAX_FAKE 16
#define FAKE_DIM 4 /* of vectors */

struct hd_request { /* as the fake backend keeps it */
    struct hd_request_options o;
    int32_t *tokens;
    struct hd_request_events ev;
    void *arg;
    bool cancelled, ended;
    uint32_t answered;
};

struct fixture {
    uv_loop_t loop;
    struct hd_log log;
    struct hd_api *api;
    bool closed;
    /* the fake backend */
    const char *not_ready;
    const char *digest; /* of the model; NULL: not known */
    int submit_rc;
    unsigned room; /* requests that fit the queue; 0: any number */
    struct hd_request requests[MAX_FAKE];
    unsigned n_requests;
    bool hold_status;
    int drained;         /* w1 was drained, minus let back */
    unsigned rebalanced; /* times */
    void (*status_done)(void *arg, json_t *status);
    void *status_arg;
    bool no_metrics;
    unsigned overviews;  /* that were made */
    const char *padding; /* ... with this in them; NULL: nothing */
    struct hd_serving serving;
    /* records */
    struct hd_book book;
    unsigned begun, ended; /* times */
    bool hold;             /* the next one is to wait */
    void (*sure)(void *arg);
    void *sure_arg;
    const char *role, *elsewhere;
};

struct fixture_options {
    bool no_tokenizer;
    size_t max_body, max_bodies, bytes_a_token;
    unsigned max_connections, request_ms, keep_alive_ms;
    const char *api_key_file, *admin_key_file, *allowed_hosts, *allowed_origins, *leaders;
    const char *aliases;
    bool any_model, records;
    unsigned keep_s;
    const struct hd_pooled *pooled;
};
void fixture_open(struct fixture *f, const struct fixture_options *o);
void fixture_close(struct fixture *f); /* also checks that every request was ended or cancelled */
void fixture_turn(struct fixture *f);  /* runs the loop for a moment */

/* The backend speaks. */
struct hd_request *fake_request(struct fixture *f, unsigned i); /* waits until it was submitted */
void fake_token(struct hd_request *r, int32_t id);
void fake_text(struct hd_request *r, const char *text); /* a token for each byte */
void fake_end(struct hd_request *r, enum hd_finish how);
void fake_pooled(struct hd_request *r, const double v[FAKE_DIM]); /* its end */
void fake_until_cancelled(struct fixture *f, struct hd_request *r);

/* A client on a socket. */
struct client {
    int fd;
    char *in; /* all that came, NUL-terminated */
    size_t n;
    bool eof;
};
void client_open(struct fixture *f, struct client *c);
void client_close(struct client *c);
void client_send(struct client *c, const char *text);
/* More than the socket's buffers hold: the loop runs meanwhile. */
void client_send_large(struct fixture *f, struct client *c, const char *text);
/* POST with the body, HTTP/1.0: the answer ends with the connection, streams are not chunked. */
void client_post(struct client *c, const char *path, const char *body);
void client_get(struct client *c, const char *path);
void client_until(struct fixture *f, struct client *c, const char *needle);
void client_until_eof(struct fixture *f, struct client *c);
int client_status(const struct client *c);
json_t *client_json(const struct client *c);            /* the body as JSON; the caller decrefs */
json_t *client_event(const struct client *c, size_t i); /* the i-th "data: {...}", NULL if none */

/* One exchange from its beginning to its end. */
void exchange(struct fixture *f, struct client *c, const char *path, const char *body);
/* A value by path: "choices.0.text". Borrowed; NULL if there is none. */
json_t *at(json_t *v, const char *path);

#endif
