/* api_impl.h - the API's insides, shared by its own files only.
 *
 * Happy path of an exchange: headers -> body collected -> routed -> submitted -> suspended ->
 * tokens collected -> resumed -> sent -> completed (freed).
 *
 * Failure modes: 1. what the client asks is refused: one error object, the connection lives on;
 * 2. the client goes away: noticed by our own watch (libmicrohttpd does not look at suspended
 * connections), the request is cancelled; 3. the client reads too slowly: more than HD_MAX_UNSENT
 * bytes wait for it, cancelled; 4. the request fails midway: an error event ends the stream; 5. the
 * API is closed: replies that are ready are sent within HD_DRAIN_MS, then connections end.
 *
 * Events of the engine may neither submit nor cancel, so that what they decide is done a little
 * later, from the async handle `later`. */
#ifndef HD_API_API_IMPL_H
#define HD_API_API_IMPL_H

#include "common/util/secret.h"
#include "leader/api/generation.h"

#include <microhttpd.h>

#define HD_MAX_UNSENT  (1u << 20)  /* bytes of a stream that may wait for its client */
#define HD_MAX_DRAIN   (16u << 20) /* bytes beyond max_body that are read to answer 413 politely */
#define HD_IDLE_S      60u         /* a connection on which nothing moves is closed */
#define HD_MAX_HEADERS 32768u      /* bytes of a request's line and headers */
#define HD_MAX_PEM     65536u      /* bytes of a certificate chain, or of its key: some twenty */
/* Places that are kept free for who comes next: so many may come between two looks at the list. */
#define HD_SPARE_CONNECTIONS 32u
#define HD_STREAM_BLOCK      4096u /* bytes that libmicrohttpd asks for at a time */
#define HD_DRAIN_MS          1000u /* for replies under way when the API is closed */

enum hd_call_state {
    HD_CALL_READING,   /* the body is coming in */
    HD_CALL_WAITING,   /* suspended until there is a reply */
    HD_CALL_STREAMING, /* the reply is made while it is sent */
    HD_CALL_ANSWERED,  /* a whole reply was handed to libmicrohttpd */
};

/* A request's first line. */
struct hd_head {
    const char *url, *method, *version;
};

/* One HTTP exchange. */
struct hd_call {
    struct hd_api *api;
    struct hd_call *next;
    struct MHD_Connection *conn;
    enum hd_call_state state;
    bool suspended;
    struct hd_refusal refusal; /* status not 0: decided before the body was there */
    size_t dropped;            /* bytes of the body of what is refused */
    bool last;                 /* the connection ends with the reply */
    bool preflight;            /* of a web page that may ask */
    bool completed;            /* libmicrohttpd is through with it */
    bool gone;                 /* the client is; nothing is worth sending */
    bool ended;                /* no more will be added to the stream */
    bool status_pending;       /* the backend will call on_status */
    struct hd_text body, out;  /* out: not sent yet */
    size_t out_sent;
    unsigned status;  /* HTTP status of the reply in `out`; 0: none yet */
    const char *type; /* ... and its Content-Type; NULL: JSON. Static */
    bool generating;  /* gen is in use */
    bool counted;     /* how it ended was */
    struct hd_generation gen;
    struct hd_request *request; /* alive in the backend, else NULL */
    bool cancel;                /* ... and to be cancelled from `later` */
    uv_poll_t watch;            /* on the client's socket, for its end */
    bool watching, watch_closing;
};

struct hd_api_key {
    char text[HD_API_KEY_SIZE + 2]; /* room for the newline that the file may have */
    size_t len;                     /* 0: there is none */
};

struct hd_api_keys {
    struct hd_api_key api;   /* none: whoever asks is answered */
    struct hd_api_key admin; /* none: see hd_api_admit */
    char *cert, *cert_key;   /* PEM, NULL: no HTTPS */
};

struct hd_client; /* clients.c */

struct hd_api {
    struct hd_api_options o;
    struct hd_api_keys keys;
    struct MHD_Daemon *mhd;
    uv_poll_t poll;
    uv_timer_t timer;
    uv_timer_t deadline; /* of closing */
    uv_timer_t sweep;    /* looks for clients that take too long */
    uv_async_t later;
    unsigned handles; /* open libuv handles, those of calls included */
    struct hd_call *calls;
    struct hd_client *clients;
    unsigned port;
    bool draining; /* closing has begun: no new connections */
    bool closing;  /* libmicrohttpd is stopped */
    void (*closed)(void *arg);
    void *closed_arg;
};

/* api.c */
void hd_api_later(struct hd_api *a);
void hd_api_maybe_closed(struct hd_api *a);
/* listen.c: a listening socket, or a negative error */
int hd_api_listen(const struct sockaddr *addr, int *fd, struct hd_error *err);

/* keys.c */
int hd_api_keys_load(struct hd_api_keys *k, const struct hd_api_options *o, struct hd_error *err);
void hd_api_keys_wipe(struct hd_api_keys *k);
/* What an asker is to be known for: everything but health and metrics. */
bool hd_api_is_guarded(const char *url);
/* May it be asked, by whom it is asked, the way it is asked? 0, or HD_E_RANGE with *r. */
int hd_api_admit(const struct hd_api *a, const struct hd_call *c, const char *url,
                 const char *method, struct hd_refusal *r);

/* framing.c: of a request whose headers have come */
struct hd_header {
    const char *name;
    size_t name_len;
    const char *value; /* NUL-terminated */
    size_t len;
};
/* Why it is doubtful where the request ends, the rest of a sentence; NULL: it is not. */
const char *hd_framing_fault(struct MHD_Connection *conn, const struct hd_head *head);
bool hd_framing_is_chunked(struct MHD_Connection *conn);
bool hd_framing_has_body(struct MHD_Connection *conn);

/* origin.c */
/* Host and Origin are this machine's, or listed. 0, or HD_E_RANGE with *r. */
int hd_origin_check(const struct hd_api *a, struct MHD_Connection *conn, struct hd_refusal *r);
/* A program on this machine asks, no web page and nobody through a proxy that says so. */
bool hd_origin_is_local(struct MHD_Connection *conn);
/* What lets web pages of http.allowed_origins read the answer, and what tells their browser before
 * they ask (to hd_cors_check's 0, else HD_E_RANGE with *r). */
void hd_cors_add(const struct hd_api *a, struct MHD_Connection *conn, struct MHD_Response *r);
bool hd_cors_is_preflight(struct MHD_Connection *conn, const char *method);
int hd_cors_check(const struct hd_api *a, struct MHD_Connection *conn, struct hd_refusal *r);
void hd_cors_add_preflight(struct MHD_Connection *conn, struct MHD_Response *r);

/* clients.c */
void hd_client_changed(void *api, struct MHD_Connection *conn, void **client,
                       enum MHD_ConnectionNotificationCode what);
/* A request of this connection was taken (true), or is through. */
void hd_client_busy(struct MHD_Connection *conn, bool busy);
void hd_clients_sweep(uv_timer_t *timer);

/* call.c */
enum MHD_Result hd_call_access(void *api, struct MHD_Connection *conn, const char *url,
                               const char *method, const char *version, const char *data,
                               size_t *len, void **call);
void hd_call_completed(void *api, struct MHD_Connection *conn, void **call,
                       enum MHD_RequestTerminationCode why);
/* Has a reply or a stream's next piece: wakes the connection. */
void hd_call_wake(struct hd_call *c);
void hd_call_reply(struct hd_call *c, unsigned status, json_t *object);   /* takes it over */
void hd_call_reply_text(struct hd_call *c, const char *type, char *text); /* likewise; 200 */
void hd_call_refuse(struct hd_call *c, const struct hd_refusal *r);
/* Counts how a generation ended, the first time. */
void hd_call_count(struct hd_call *c, enum hd_outcome how);
void hd_call_cancel(struct hd_call *c); /* the backend's request, at once */
void hd_call_free_if_done(struct hd_call *c);

/* watch.c: tells when the client has gone */
void hd_call_watch(struct hd_call *c);
void hd_call_unwatch(struct hd_call *c);

/* routes.c: the body is there; sets a reply, or leaves the call waiting or streaming */
/* Whether asking there changes the cluster. */
bool hd_route_is_admin(const char *url);
void hd_call_route(struct hd_call *c, const char *url, const char *method);

/* generate.c */
void hd_call_generate(struct hd_call *c, bool chat);

#endif
