/* api_impl.h - the API's insides, shared by its own files only.
 *
 * Happy path of an exchange: headers -> body collected -> routed -> suspended -> body parsed and
 * tokenized by a thread -> submitted -> tokens collected -> resumed -> sent -> completed (freed).
 *
 * Failure modes: 1. what the client asks is refused: one error object, the connection lives on;
 * 2. the client goes away: noticed by our own watch (libmicrohttpd does not look at suspended
 * connections), the request is cancelled; 3. the client reads too slowly: more than HD_MAX_UNSENT
 * bytes wait for it, cancelled; 4. the request fails midway: an error event ends the stream; 5. the
 * API is closed: replies that are ready are sent within HD_DRAIN_MS, then connections end; 6. a
 * thread has the call in hand while 2, 3 or 5 happen: it is freed when the thread is through.
 *
 * Events of the engine may neither submit nor cancel, so that what they decide is done a little
 * later, from the async handle `later`. */
#ifndef HD_API_API_IMPL_H
#define HD_API_API_IMPL_H

#include "common/util/secret.h"
#include "leader/api/jobs.h"
#include "leader/api/generation.h"

#include <microhttpd.h>

#define HD_MAX_UNSENT  (1u << 20)  /* bytes of a stream that may wait for its client */
#define HD_MAX_DRAIN   (16u << 20) /* bytes beyond max_body that are read to answer 413 politely */
#define HD_IDLE_S      60u         /* a connection on which nothing moves is closed */
#define HD_MAX_HEADERS 32768u      /* bytes of a request's line and headers */
#define HD_MAX_PEM     65536u      /* bytes of a certificate chain, or of its key: some twenty */
#define HD_SMALL_BODY  65536u      /* bytes: larger ones are for the lane of large jobs */
/* Places besides max_connections, for telling those who find all of these taken. */
#define HD_TURNED_AWAY  64u
#define HD_GRACE_MS     1000u /* a connection has so long to send a request before it makes room */
#define HD_STREAM_BLOCK 4096u /* bytes that libmicrohttpd asks for at a time */
#define HD_DRAIN_MS     1000u /* for replies under way when the API is closed */

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
    size_t max_body;           /* bytes, by what is asked for */
    size_t held;               /* bytes of the body that are counted in the API's `bodies` */
    struct hd_job job;         /* of a thread */
    bool working;              /* ... which has the body and gen */
    char *text;                /* what it has made */
    bool last;                 /* the connection ends with the reply */
    bool preflight;            /* of a web page that may ask */
    bool completed;            /* libmicrohttpd is through with it */
    bool gone;                 /* the client is; nothing is worth sending */
    bool ended;                /* no more will be added to the stream */
    bool status_pending;       /* the backend will call on_status */
    struct hd_text body, out;  /* out: not sent yet */
    size_t out_sent;
    unsigned status;   /* HTTP status of the reply in `out`; 0: none yet */
    const char *type;  /* ... and its Content-Type; NULL: JSON. Static */
    const char *allow; /* ... and, with 405, the methods that there are. Static */
    bool chat;         /* what is generated is a turn of a conversation */
    bool counted;      /* how it ended was */
    struct hd_generation gen;
    struct hd_request *request; /* alive in the backend, else NULL */
    bool cancel;                /* ... and to be cancelled from `later` */
    uv_poll_t watch;            /* on the client's socket, for its end */
    bool watching, watch_closing;
};

struct hd_api_key {
    char text[HD_API_KEY_SIZE + 8]; /* room for what editors add: see hd_api_key_check */
    size_t len;                     /* 0: there is none */
};

struct hd_api_keys {
    struct hd_api_key api;   /* none: whoever asks is answered */
    struct hd_api_key admin; /* none: see hd_api_admit */
    char *cert, *cert_key;   /* PEM, NULL: no HTTPS */
};

struct hd_client; /* clients.c */

#define HD_MAX_TOLD 64 /* names; more are left out without a word */
/* Members of requests that the log has spoken of. */
struct hd_ignored {
    char told[HD_MAX_TOLD][HD_IGNORED_NAME];
    size_t n;
};

/* The listening socket, and how many have come in. */
struct hd_door_http {
    int fd;
    uv_poll_t poll;
    bool listening;   /* polled; else there is no room, or no descriptor */
    bool shut;        /* for good */
    unsigned places;  /* for clients */
    unsigned extra;   /* ... besides, for those who are turned away */
    unsigned clients; /* connections, those turned away included */
    uint64_t told_us; /* when the log last said that it is full */
};

struct hd_api {
    struct hd_api_options o;
    struct hd_api_keys keys;
    struct MHD_Daemon *mhd;
    struct hd_jobs *jobs;
    struct hd_door_http door;
    size_t bodies; /* bytes, of all calls */
    struct hd_ignored ignored;
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
void hd_api_run(struct hd_api *a); /* libmicrohttpd, for a turn */
/* door.c: listens, and takes clients in as long as there is room */
int hd_door_open(struct hd_api *a, struct hd_error *err);
int hd_door_start(struct hd_api *a); /* takes clients in; its handle is one of the API's */
void hd_door_look(struct hd_api *a); /* there may be room again */
void hd_door_shut(struct hd_api *a); /* no new clients */
void hd_door_end(struct hd_api *a);  /* ... and the handle goes */

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
enum hd_client_state {
    HD_CLIENT_IDLE,    /* has not sent a request, at least not all its headers */
    HD_CLIENT_SENDING, /* the body of one that was not refused; it never makes room */
    HD_CLIENT_BUSY,    /* its request was taken: nor has it a deadline */
};
void hd_client_now(struct MHD_Connection *conn, enum hd_client_state state);
/* It came when all places were taken by requests: it is told so. */
bool hd_client_is_turned_away(struct MHD_Connection *conn);
/* Looks for who takes too long. */
void hd_clients_sweep(struct hd_api *a);
/* All places are taken: true when somebody goes, now or soon, to make room; false: all of them are
 * taken by requests. */
bool hd_clients_make_room(struct hd_api *a);

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
/* Lets a thread do `run`, then the loop `done`, unless the client has gone meanwhile. */
void hd_call_work(struct hd_call *c, const struct hd_job *job);
/* First thing in `done`: false when the call is of no use any more, and maybe freed. */
bool hd_call_worked(struct hd_call *c);
/* Counts how a generation ended, the first time. */
void hd_call_count(struct hd_call *c, enum hd_outcome how);
void hd_call_cancel(struct hd_call *c); /* the backend's request, at once */
void hd_call_free_if_done(struct hd_call *c);

/* watch.c: tells when the client has gone */
void hd_call_watch(struct hd_call *c);
void hd_call_unwatch(struct hd_call *c);

/* routes.c: the body is there; sets a reply, or leaves the call waiting or streaming */
/* Whether asking there changes the cluster, and whether bodies are prompts, which may be large. */
bool hd_route_is_admin(const char *url);
bool hd_route_takes_prompts(const char *url);
void hd_call_route(struct hd_call *c, const char *url, const char *method);

/* models.c, tokens.c */
void hd_get_models(struct hd_call *c, const char *rest);
void hd_get_model(struct hd_call *c, const char *name);
void hd_post_tokenize(struct hd_call *c, const char *rest);
void hd_post_detokenize(struct hd_call *c, const char *rest);

/* ignored.c */
/* Warns of members of the request that were left out: of each name once. */
void hd_ignored_tell(struct hd_api *a, const struct hd_params *p);

/* generate.c */
void hd_call_generate(struct hd_call *c, bool chat);

#endif
