/* cluster.c - hydac up: leader and workers as child processes.
 *
 * Happy path: the leader starts -> its ports file appears -> the workers start -> /health is good
 * -> the ready file is written -> a signal -> SIGTERM to all -> all have ended -> cleaned up.
 *
 * Failure modes: 1. a process ends before the cluster serves: all end, status 1; 2. a worker dies
 * later: reported, the others go on (--restart: started again); 3. the last leader dies: all end,
 * status 1; 4. a child ignores SIGTERM: SIGKILL after STOP_MS; 5. we are killed: the children were
 * started with --die-with-parent. */
#include "leader/ctl/ctl.h"
#include "leader/ctl/files.h"
#include "leader/ctl/http.h"
#include "leader/ctl/up_impl.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define POLL_MS    20   /* between looks at the ports file and /health */
#define HEALTH_MS  1000 /* for one answer */
#define STOP_MS    5000 /* from SIGTERM to SIGKILL */
#define LOOK_EVERY 5    /* polls: what is shown of the start */
#define LOOK_MS    200  /* between looks for what a loss has cost, so often at most: */
#define MAX_LOOKS  50

/* ---- Stopping ----*/
static unsigned count_running(const struct hd_up *u)
{
    unsigned n = hd_up_leaders_running(u);
    for (uint64_t i = 0; i < u->o->workers; i++)
        n += u->workers[i].running;
    return n;
}

static void kill_all(struct hd_up *u, int number)
{
    for (uint64_t i = 0; i < u->o->workers; i++)
        hd_child_kill(&u->workers[i], number);
    hd_up_kill_leaders(u, number);
}

static void close_handle(uv_handle_t *h, void *arg)
{
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

/* Once nothing runs the loop may end. Children close their own handles. */
static void finish_if_alone(struct hd_up *u)
{
    if (u->state == UP_STOPPING && count_running(u) == 0 && !u->client_running) {
        close_handle((uv_handle_t *)&u->timer, NULL);
        close_handle((uv_handle_t *)&u->wake, NULL);
        for (int i = 0; i < 2; i++)
            close_handle((uv_handle_t *)&u->signals[i], NULL);
        for (uint64_t i = 0; i < u->o->workers; i++)
            close_handle((uv_handle_t *)&u->restarts[i], NULL);
        for (uint64_t i = 0; i < u->n_leaders; i++)
            close_handle((uv_handle_t *)&u->leaders[i].restart, NULL);
    }
}

static void on_patience_lost(uv_timer_t *t)
{
    kill_all(t->data, SIGKILL);
}

/* A client's leader is told to end when its workers have ended, or it would refuse those that are
 * slower, and they would complain. Without a client everybody is told at once. */
static void terminate(struct hd_up *u, bool workers_too)
{
    for (uint64_t i = 0; workers_too && i < u->o->workers; i++)
        hd_child_kill(&u->workers[i], SIGTERM);
    if (!u->o->client || count_running(u) == hd_up_leaders_running(u))
        hd_up_kill_leaders(u, SIGTERM);
}

void hd_up_stop(struct hd_up *u, int status)
{
    if (u->state != UP_STOPPING) {
        hd_progress_end(&u->progress);
        u->state = UP_STOPPING;
        u->status = status;
        terminate(u, true);
        uv_timer_start(&u->timer, on_patience_lost, STOP_MS, 0);
    }
    finish_if_alone(u);
}

static void fail(struct hd_up *u, const struct hd_error *err)
{
    hd_complain(err);
    hd_up_stop(u, 1);
}

static void on_signal(uv_signal_t *s, int number)
{
    struct hd_up *u = s->data;
    hd_up_stop(u, u->o->client ? HD_UP_INTERRUPTED : 0);
}

/* ---- Children ----*/
static void add_list(struct hd_command_line *l, const struct hd_arg_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        hd_command_add(l, list->items[i]);
}

/* The worker's part of the list, which begins again when it is at its end. */
static void device_of(const struct hd_up *u, const struct hd_child *c, char *device, size_t size)
{
    const char *at = u->o->devices;
    for (ptrdiff_t i = c - u->workers; i > 0; i--) {
        at += strcspn(at, ",");
        at = *at ? at + 1 : u->o->devices;
    }
    snprintf(device, size, "%.*s", (int)strcspn(at, ","), at);
}

static int start_worker(struct hd_up *u, struct hd_child *c, struct hd_error *err)
{
    char state[PATH_MAX + 16], threads[24], device[256];
    struct hd_command_line l = {.n = 0};
    snprintf(threads, sizeof threads, "%u", (unsigned)u->o->threads);
    snprintf(state, sizeof state, "%s/%s", u->folder, c->name);
    int rc = hd_make_folders(state, err);
    if (rc < 0)
        return rc;
    hd_command_add(&l, u->worker_program);
    hd_command_add_option(&l, "--model", u->o->model);
    hd_command_add_option(&l, "--leader", u->cluster);
    hd_command_add_option(&l, "--name", c->name);
    hd_command_add_option(&l, "--threads", threads);
    hd_command_add_option(&l, "--state", state);
    hd_command_add_option(&l, "--log-level", u->o->log_level);
    if (u->o->devices) {
        device_of(u, c, device, sizeof device);
        hd_command_add_option(&l, "--compute.device", device);
    }
    hd_command_add(&l, "--die-with-parent");
    add_list(&l, &u->o->worker_args);
    rc = hd_child_start(c, &u->loop, &l, err);
    if (rc == 0 && !u->o->client)
        printf("%s pid %d\n", c->name, c->pid);
    return rc;
}

static int write_ready_file(struct hd_up *u, struct hd_error *err)
{
    json_t *list = json_array();
    for (uint64_t i = 0; i < u->o->workers; i++)
        json_array_append_new(
            list, json_pack("{s:s, s:i}", "name", u->workers[i].name, "pid", u->workers[i].pid));
    json_t *leaders = json_array();
    for (uint64_t i = 0; i < u->n_leaders; i++)
        json_array_append_new(leaders, json_pack("{s:s, s:i}", "url", u->leaders[i].url, "pid",
                                                 u->leaders[i].child.pid));
    json_t *v = json_pack("{s:s, s:o, s:i, s:o}", "leader", u->leaders[0].url, "workers", list,
                          "leader_pid", u->leaders[0].child.pid, "leaders", leaders);
    int rc = hd_write_json(u->o->ready_file, v, err);
    json_decref(v);
    return rc;
}

void hd_up_children_changed(struct hd_up *u)
{
    struct hd_error err = {0};
    if (u->state == UP_SERVING && u->o->ready_file && write_ready_file(u, &err) < 0)
        hd_complain(&err);
}

static void on_restart(uv_timer_t *t)
{
    struct hd_child *c = t->data;
    struct hd_up *u = c->owner;
    struct hd_error err = {0};
    int rc = u->state == UP_STOPPING ? 0 : start_worker(u, c, &err);
    if (rc < 0)
        hd_complain(&err);
    hd_up_children_changed(u);
}

/* NULL: it does not answer, or wants a key. */
static json_t *get_status(const struct hd_up *u)
{
    struct hd_http_get g = {.base = hd_up_url(u), .path = "/hydac/status", .timeout_ms = HEALTH_MS};
    struct hd_error err;
    if (hd_http_get(&g, &err) < 0)
        return NULL;
    json_t *status = g.status == 200 ? json_loads(g.body, 0, NULL) : NULL;
    free(g.body);
    return status;
}

/* What a loss has cost is known when the recovery is over. */
static void on_loss_look(uv_timer_t *t)
{
    struct hd_up *u = t->data;
    size_t told = u->progress.losses;
    json_t *status = get_status(u);
    hd_progress_tell_losses(&u->progress, status);
    json_decref(status);
    if (u->progress.losses > told || ++u->looks > MAX_LOOKS)
        uv_timer_stop(t);
}

static void on_worker_ended(struct hd_child *c)
{
    struct hd_up *u = c->owner;
    struct hd_error err = {0};
    uint64_t i = (uint64_t)(c - u->workers);
    if (u->state == UP_SERVING) {
        if (!(u->killed >> i & 1))
            fprintf(stderr, "hydac: %s (pid %d) %s; the others go on\n", c->name, c->pid, c->how);
        if (u->progress.on) {
            u->looks = 0;
            uv_timer_start(&u->timer, on_loss_look, LOOK_MS, LOOK_MS);
        }
        if (u->o->restart)
            uv_timer_start(&u->restarts[i], on_restart, HD_UP_RESTART_MS, 0);
    } else if (u->state != UP_STOPPING) {
        hd_fail(&err, HD_E_STATE, "%s (pid %d) %s before the cluster could serve", c->name, c->pid,
                c->how);
        fail(u, &err);
    } else
        terminate(u, false);
    finish_if_alone(u);
}

/* ---- Starting ----*/
static int start_workers(struct hd_up *u, struct hd_error *err)
{
    for (uint64_t i = 0; i < u->o->workers; i++) {
        int rc = start_worker(u, &u->workers[i], err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* One of them serves; u->serving says which. */
static bool is_served(struct hd_up *u)
{
    for (unsigned i = 0; i < u->n_leaders; i++)
        if (hd_http_is_ok(u->leaders[i].url, "/health", HEALTH_MS)) {
            u->serving = i;
            return true;
        }
    return false;
}

static int poll_step(struct hd_up *u, struct hd_error *err)
{
    if (u->state == UP_STARTING && hd_up_leaders_listen(u)) {
        hd_progress_end(&u->progress);
        for (uint64_t i = 0; i < u->n_leaders && !u->o->client; i++)
            printf("%s pid %d %s\n", u->leaders[i].child.name, u->leaders[i].child.pid,
                   u->leaders[i].url);
        u->state = UP_JOINING;
        return start_workers(u, err);
    }
    if (u->state == UP_JOINING && is_served(u)) {
        uv_timer_stop(&u->timer);
        hd_progress_end(&u->progress);
        u->state = UP_SERVING;
        if (u->o->client)
            return hd_up_start_client(u, err);
        printf("ready: hydac chat --leader %s, or open it in a browser\n", u->urls);
        return u->o->ready_file ? write_ready_file(u, err) : 0;
    }
    return 0;
}

static void show_progress(struct hd_up *u)
{
    if (!u->progress.on || u->state > UP_JOINING || u->looks++ % LOOK_EVERY != 0)
        return;
    json_t *status = u->state == UP_JOINING ? get_status(u) : NULL;
    hd_progress_show(&u->progress, status);
    json_decref(status);
}

static void on_poll(uv_timer_t *t)
{
    struct hd_up *u = t->data;
    struct hd_error err = {0};
    if (poll_step(u, &err) < 0)
        fail(u, &err);
    show_progress(u);
}

static int prepare(struct hd_up *u, struct hd_error *err)
{
    int rc = hd_find_program("hydac-leader", "../daemon/hydac-leader", u->leader_program,
                             sizeof u->leader_program, err);
    if (rc == 0)
        rc = hd_find_program("hydac-worker", "../../worker/hydac-worker", u->worker_program,
                             sizeof u->worker_program, err);
    if (rc < 0)
        return rc;
    if (u->o->state) {
        snprintf(u->folder, sizeof u->folder, "%s", u->o->state);
        rc = hd_make_folders(u->folder, err);
    } else
        rc = hd_make_temporary_folder(u->folder, sizeof u->folder, err);
    /* A socket's path has to be short; TCP does as well, it is only slower. */
    int n = snprintf(u->socket, sizeof u->socket, "%s/leader.sock", u->folder);
    if (n < 0 || (size_t)n >= sizeof u->socket || u->n_leaders > 1)
        u->socket[0] = '\0';
    return rc;
}

static void init_children(struct hd_up *u)
{
    hd_up_init_leaders(u);
    for (uint64_t i = 0; i < u->o->workers; i++) {
        struct hd_child *c = &u->workers[i];
        snprintf(c->name, sizeof c->name, "w%u", (unsigned)i + 1);
        c->owner = u;
        c->ended = on_worker_ended;
        uv_timer_init(&u->loop, &u->restarts[i]);
        u->restarts[i].data = c;
    }
}

static void run(struct hd_up *u)
{
    static const int numbers[2] = {SIGINT, SIGTERM};
    struct hd_error err = {0};
    uv_loop_init(&u->loop);
    uv_timer_init(&u->loop, &u->timer);
    u->timer.data = u;
    uv_async_init(&u->loop, &u->wake, hd_up_wake);
    u->wake.data = u;
    for (int i = 0; i < 2; i++) {
        uv_signal_init(&u->loop, &u->signals[i]);
        u->signals[i].data = u;
        uv_signal_start(&u->signals[i], on_signal, numbers[i]);
    }
    init_children(u);
    if (!u->o->client)
        hd_progress_begin(&u->progress);
    uv_timer_start(&u->timer, on_poll, POLL_MS, POLL_MS);
    if (hd_up_start_leaders(u, &err) < 0)
        fail(u, &err);
    uv_run(&u->loop, UV_RUN_DEFAULT);
    uv_loop_close(&u->loop);
}

int hd_up(const struct hd_up_options *o)
{
    struct hd_error err = {0};
    struct hd_up *u = calloc(1, sizeof *u);
    int rc = u ? 0 : hd_fail(&err, HD_E_NOMEM, "out of memory");
    if (rc < 0)
        return hd_complain(&err);
    u->o = o;
    u->n_leaders = o->leaders ? (unsigned)o->leaders : 1;
    if (o->ready_file)
        unlink(o->ready_file); /* of an earlier run */
    rc = prepare(u, &err);
    if (rc == 0)
        run(u);
    else
        u->status = hd_complain(&err);
    if (o->ready_file)
        unlink(o->ready_file);
    if (!o->state && u->folder[0])
        hd_remove_tree(u->folder);
    int status = u->status;
    free(u);
    return status;
}
