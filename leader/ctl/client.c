/* client.c - the thread for which a cluster was started. It reaches the loop through one async
 * handle only: whom to kill, and that it is done. */
#include "leader/ctl/up_impl.h"

#include <signal.h>

static void run_client(void *arg)
{
    struct hd_up *u = arg;
    u->o->client(u->o->client_arg, u);
    atomic_store(&u->client_done, true);
    uv_async_send(&u->wake);
}

int hd_up_start_client(struct hd_up *u, struct hd_error *err)
{
    int rc = uv_thread_create(&u->client, run_client, u);
    if (rc < 0)
        return hd_fail(err, HD_E_IO, "cannot start a thread: %s", uv_strerror(rc));
    u->client_running = true;
    return 0;
}

void hd_up_wake(uv_async_t *a)
{
    struct hd_up *u = a->data;
    uint64_t workers = atomic_exchange(&u->to_kill, 0);
    u->killed |= workers;
    for (uint64_t i = 0; i < u->o->workers; i++)
        if (workers >> i & 1)
            hd_child_kill(&u->workers[i], SIGKILL);
    if (u->client_running && atomic_load(&u->client_done)) {
        uv_thread_join(&u->client);
        u->client_running = false;
        hd_up_stop(u, 0);
    }
}

void hd_up_kill(struct hd_up *u, uint64_t workers)
{
    atomic_fetch_or(&u->to_kill, workers);
    uv_async_send(&u->wake);
}
