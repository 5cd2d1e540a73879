/* server.c - the end of the API, when its last call, its threads and its handles are gone. */
#include "leader/api/server.h"

#include <stdlib.h>

void hd_api_later(struct hd_api *a)
{
    if (!a->closing)
        uv_async_send(&a->later);
}

static void on_jobs_closed(void *api)
{
    struct hd_api *a = api;
    a->handles--;
    hd_api_maybe_closed(a);
}

void hd_api_maybe_closed(struct hd_api *a)
{
    if (!a->closing || a->calls)
        return;
    if (a->jobs) { /* a thread is free: no call has work for it */
        struct hd_jobs *jobs = a->jobs;
        a->jobs = NULL;
        a->handles++;
        hd_jobs_close(jobs, on_jobs_closed, a);
    }
    if (a->handles > 0)
        return;
    void (*closed)(void *arg) = a->closed;
    void *arg = a->closed_arg;
    hd_api_keys_wipe(&a->keys);
    free(a);
    if (closed)
        closed(arg);
}
