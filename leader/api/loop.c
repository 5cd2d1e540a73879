/* loop.c - libmicrohttpd on the libuv loop.
 *
 * libmicrohttpd has no thread: its epoll descriptor is polled by the loop, its timeouts are one of
 * the loop's timers, and a resumed connection is run from `later`. */
#include "leader/api/api.h"

#include "common/util/clock.h"
#include "leader/api/call.h"
#include "leader/api/feed.h"
#include "leader/api/limits.h"
#include "leader/api/receive.h"
#include "leader/api/runs.h"

#include <stdlib.h>
#include <stdio.h>

#define DEFAULT_CONNECTIONS 1024u
#define DEFAULT_BODY        ((size_t)4 << 20)
#define DEFAULT_BODIES      ((size_t)64 << 20)
#define DEFAULT_REQUEST_MS  30000u /* a prompt of megabytes over a slow line */
/* Proxies give up on a silent stream after a minute (nginx), or half of one. */
#define DEFAULT_KEEP_ALIVE_MS 10000u
#define DEFAULT_KEEP_S        60u
#define SWEEP_MS              250u /* between looks for those who take longer */

static void stop(struct hd_api *a);
static void on_timer(uv_timer_t *t);

static void run(struct hd_api *a)
{
    MHD_UNSIGNED_LONG_LONG ms;
    if (a->closing)
        return;
    MHD_run(a->mhd);
    if (a->draining && !a->calls) {
        stop(a);
        return;
    }
    if (MHD_get_timeout(a->mhd, &ms) == MHD_YES)
        uv_timer_start(&a->timer, on_timer, ms, 0);
    else
        uv_timer_stop(&a->timer);
}

static void on_timer(uv_timer_t *t)
{
    run(t->data);
}

static void on_poll(uv_poll_t *p, int status, int events)
{
    run(p->data);
}

static void on_later(uv_async_t *h)
{
    struct hd_api *a = h->data;
    for (struct hd_call *c = a->calls; c; c = c->next)
        hd_call_do_later(c);
    run(a);
}

static void on_log(void *api, const char *fmt, va_list ap)
{
    struct hd_api *a = api;
    char text[256];
    vsnprintf(text, sizeof text, fmt, ap);
    for (char *p = text; *p; p++)
        if (*p == '\n' || *p == '"')
            *p = ' ';
    hd_debug(a->o.log, "http", "message=\"%s\"", text);
}

static struct MHD_Daemon *make_mhd(struct hd_api *a)
{
    unsigned flags =
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG | MHD_USE_NO_LISTEN_SOCKET;
    struct MHD_OptionItem https[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, a->keys.cert},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, a->keys.cert_key},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)"NORMAL:-VERS-TLS1.0:-VERS-TLS1.1"},
        {MHD_OPTION_END, 0, NULL},
    };
    if (a->keys.cert)
        flags |= MHD_USE_TLS;
    return MHD_start_daemon(flags, 0, NULL, NULL, hd_receive, a, MHD_OPTION_EXTERNAL_LOGGER, on_log,
                            a, MHD_OPTION_CONNECTION_LIMIT, a->listener.places + a->listener.extra,
                            MHD_OPTION_CONNECTION_TIMEOUT, HD_IDLE_S,
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HD_CONNECTION_MEMORY,
                            MHD_OPTION_NOTIFY_CONNECTION, hd_client_changed, &a->clients,
                            MHD_OPTION_NOTIFY_COMPLETED, hd_receive_completed, a, MHD_OPTION_ARRAY,
                            a->keys.cert ? https : &https[3], MHD_OPTION_END);
}

static bool make_room(void *api)
{
    struct hd_api *a = api;
    return hd_clients_make_room(&a->clients);
}

static void take(void *api, int fd, const struct sockaddr *addr, socklen_t len)
{
    struct hd_api *a = api;
    hd_clients_meet(&a->clients, a->o.loop, fd, addr, len);
}

static void on_turn(void *api)
{
    run(api);
}

static void on_listener_closed(void *api)
{
    struct hd_api *a = api;
    a->handles--;
    hd_api_maybe_closed(a);
}

static void on_client_opened(void *api)
{
    struct hd_api *a = api;
    a->handles++;
}

static const struct hd_listener_events newcomers = {.make_room = make_room,
                                                    .take = take,
                                                    .turn = on_turn,
                                                    .closed = on_listener_closed,
                                                    .opened = on_client_opened};

static int start_mhd(struct hd_api *a, struct hd_error *err)
{
    const struct hd_listener_options o = {.addr = a->o.listen,
                                          .log = a->o.log,
                                          .events = &newcomers,
                                          .arg = a,
                                          .max_connections = a->o.max_connections,
                                          .spare_files = a->o.spare_files};
    int rc = hd_listener_open(&a->listener, &o, err);
    if (rc < 0)
        return rc;
    a->mhd = a->clients.mhd = make_mhd(a);
    a->clients.greets = !a->keys.cert;
    if (a->mhd)
        return 0;
    hd_listener_end(&a->listener);
    return a->keys.cert ? hd_fail(err, HD_E_CONFIG,
                                  "HTTPS does not start; check that http.cert and http.cert_key "
                                  "are a certificate and its key, in PEM")
                        : hd_fail(err, HD_E_IO, "HTTP: libmicrohttpd does not start");
}

static void on_handle_closed(uv_handle_t *h)
{
    struct hd_api *a = h->data;
    a->handles--;
    hd_api_maybe_closed(a);
}

static void close_handle(struct hd_api *a, uv_handle_t *h)
{
    h->data = a;
    uv_close(h, on_handle_closed);
}

static void on_sweep(uv_timer_t *t)
{
    struct hd_api *a = t->data;
    uint64_t now = hd_now_us();
    hd_clients_sweep(&a->clients);
    for (struct hd_call *c = a->calls; c; c = c->next)
        hd_call_keep_alive(c, now);
    hd_runs_sweep(a, now);
    hd_listener_look(&a->listener);
}

static int start_loop(struct hd_api *a, struct hd_error *err)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(a->mhd, MHD_DAEMON_INFO_EPOLL_FD);
    int rc = info ? uv_poll_init(a->o.loop, &a->poll, info->epoll_fd) : UV_ENOSYS;
    if (rc < 0)
        goto err;
    a->poll.data = a;
    a->handles++;
    rc = hd_listener_start(&a->listener, a->o.loop);
    if (rc < 0)
        goto err_after_poll;
    a->handles++;
    rc = uv_async_init(a->o.loop, &a->later, on_later);
    if (rc < 0)
        goto err_after_poll;
    uv_timer_init(a->o.loop, &a->timer);
    uv_timer_init(a->o.loop, &a->deadline);
    uv_timer_init(a->o.loop, &a->sweep);
    a->timer.data = a->deadline.data = a->sweep.data = a->later.data = a;
    a->handles += 4;
    uint64_t sweep_ms = a->o.request_ms < SWEEP_MS ? a->o.request_ms : SWEEP_MS;
    uv_timer_start(&a->sweep, on_sweep, sweep_ms, sweep_ms);
    uv_poll_start(&a->poll, UV_READABLE, on_poll);
    return 0;

err_after_poll:
    close_handle(a, (uv_handle_t *)&a->poll);
err:
    return hd_fail(err, HD_E_IO, "HTTP: cannot watch libmicrohttpd: %s", uv_strerror(rc));
}

static void set_defaults(struct hd_api_options *o)
{
    if (o->max_connections == 0)
        o->max_connections = DEFAULT_CONNECTIONS;
    if (o->max_body == 0)
        o->max_body = DEFAULT_BODY;
    if (o->max_bodies == 0)
        o->max_bodies = DEFAULT_BODIES;
    if (o->request_ms == 0)
        o->request_ms = DEFAULT_REQUEST_MS;
    if (o->keep_s == 0)
        o->keep_s = DEFAULT_KEEP_S;
    if (o->keep_alive_ms == 0)
        o->keep_alive_ms = DEFAULT_KEEP_ALIVE_MS;
}

int hd_api_new(struct hd_api **out, const struct hd_api_options *o, struct hd_error *err)
{
    struct hd_api *a = calloc(1, sizeof *a);
    if (!a)
        return hd_fail(err, HD_E_NOMEM, "HTTP: out of memory");
    a->o = *o;
    set_defaults(&a->o);
    a->origins = (struct hd_origins){o->allowed_hosts, o->allowed_origins, o->leaders};
    a->clients = (struct hd_clients){.listener = &a->listener, .request_ms = a->o.request_ms};
    const struct hd_api_key_files files = {o->api_key_file, o->admin_key_file, o->cert_file,
                                           o->cert_key_file};
    int rc = hd_api_keys_load(&a->keys, &files, err);
    if (rc == 0)
        rc = start_mhd(a, err);
    if (rc < 0)
        goto err_after_alloc;
    rc = hd_jobs_new(&a->jobs, o->loop, err);
    if (rc == 0)
        rc = start_loop(a, err);
    if (rc < 0)
        goto err_after_mhd;
    *out = a;
    return 0;

err_after_mhd:
    hd_listener_shut(&a->listener);
    hd_listener_end(&a->listener);
    MHD_stop_daemon(a->mhd);
    a->closing = true;
    hd_api_maybe_closed(a); /* freed when handles and threads are */
    return rc;
err_after_alloc:
    hd_api_keys_wipe(&a->keys);
    free(a);
    return rc;
}

unsigned hd_api_port(const struct hd_api *a)
{
    return a->listener.port;
}

/* What is still under way is cut off. */
static void stop(struct hd_api *a)
{
    for (struct hd_call *c = a->calls; c; c = c->next) {
        hd_call_cancel(c);
        c->gone = true;
        hd_call_wake(c);
    }
    a->closing = true;
    close_handle(a, (uv_handle_t *)&a->poll);
    hd_listener_end(&a->listener);
    close_handle(a, (uv_handle_t *)&a->timer);
    close_handle(a, (uv_handle_t *)&a->deadline);
    close_handle(a, (uv_handle_t *)&a->sweep);
    close_handle(a, (uv_handle_t *)&a->later);
    hd_clients_end(&a->clients);
    MHD_stop_daemon(a->mhd);
}

static void on_deadline(uv_timer_t *t)
{
    stop(t->data);
}

void hd_api_close(struct hd_api *a, void (*closed)(void *arg), void *arg)
{
    a->closed = closed;
    a->closed_arg = arg;
    a->draining = true;
    hd_listener_shut(&a->listener);
    hd_feed_end(a);
    hd_runs_end(a);
    uv_timer_start(&a->deadline, on_deadline, HD_DRAIN_MS, 0);
    hd_api_later(a);
}
