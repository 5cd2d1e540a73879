/* server.h - the state that all exchanges share, and its life: freed when nothing is left. */
#ifndef HD_API_SERVER_H
#define HD_API_SERVER_H

#include "leader/api/api.h"
#include "leader/api/clients.h"
#include "leader/api/ignored.h"
#include "leader/api/jobs.h"
#include "leader/api/keys.h"

struct hd_api {
    struct hd_api_options o;
    struct hd_api_keys keys;
    struct hd_origins origins;
    struct MHD_Daemon *mhd;
    struct hd_jobs *jobs;
    struct hd_listener listener;
    struct hd_clients clients;
    size_t bodies;                    /* bytes, of all calls */
    struct hd_ignored ignored, loose; /* members, tools */
    uv_poll_t poll;
    uv_timer_t timer;
    uv_timer_t deadline; /* of closing */
    uv_timer_t sweep;    /* looks for clients that take too long */
    uv_async_t later;    /* libmicrohttpd is run, and what events may not do is done */
    unsigned handles;    /* open libuv handles, those of calls included */
    struct hd_call *calls;
    struct hd_run *runs;    /* runs.h; the latest first */
    unsigned watchers;      /* calls that watch the cluster (feed.c) */
    uv_timer_t *feed_timer; /* ... and what is due for them; NULL: there are none */
    bool draining;          /* closing has begun: no new connections */
    bool closing;           /* libmicrohttpd is stopped */
    void (*closed)(void *arg);
    void *closed_arg;
};

void hd_api_later(struct hd_api *a);
/* A handle or a call is gone: it may have been the last. */
void hd_api_maybe_closed(struct hd_api *a);

#endif
