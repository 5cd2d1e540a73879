/* main.c - hydac-worker: arguments, signals, the loop. */
#include "common/service/service.h"
#include "common/util/cpus.h"
#include "common/util/log_sink.h"
#include "common/util/process.h"
#include "worker/keeper.h"
#include "worker/opencl/opencl.h"
#include "worker/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct program {
    uv_loop_t loop;
    uv_signal_t signals[2];
    struct hd_service service;
    struct hd_worker *worker;
    const struct hd_worker_config *config;
    struct hd_log log;
    bool draining; /* a signal has come */
    bool closing;
    int status; /* to exit with */
};

static void stop(struct program *p, int status)
{
    if (p->closing)
        return;
    p->closing = true;
    p->status = status;
    hd_service_stopping();
    for (int i = 0; i < 2; i++)
        uv_close((uv_handle_t *)&p->signals[i], NULL);
    hd_worker_close(p->worker, NULL, NULL);
}

static void on_drained(void *arg)
{
    stop(arg, 0);
}

/* The first one lets the worker finish its part, the second does not wait for that. */
static void on_signal(uv_signal_t *handle, int number)
{
    struct program *p = handle->data;
    hd_info(&p->log, "stopping", "signal=%s again=%s", number == SIGINT ? "SIGINT" : "SIGTERM",
            p->draining ? "true" : "false");
    if (p->draining) {
        stop(p, 0);
        return;
    }
    p->draining = true;
    hd_worker_drain(p->worker, on_drained, p);
}

static void on_refused(void *arg, const char *why)
{
    struct program *p = arg;
    hd_log_say(&p->log, "hydac-worker: cannot work for the leader: %s", why);
    stop(p, 1);
}

static void on_joined(void *arg, bool joined)
{
    struct program *p = arg;
    if (!p->closing)
        hd_service_status("%s %s as %s", joined ? "works for" : "has lost its leader at",
                          p->config->leader, p->config->name);
}

static void watch_signals(struct program *p)
{
    static const int numbers[2] = {SIGTERM, SIGINT};
    for (int i = 0; i < 2; i++) {
        uv_signal_init(&p->loop, &p->signals[i]);
        p->signals[i].data = p;
        uv_signal_start(&p->signals[i], on_signal, numbers[i]);
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* an input log that may not grow is a gap, not the end */
}

static int serve(struct program *p, const struct hd_worker_config *c)
{
    struct hd_error err = {0};
    struct hd_worker_options o = {.loop = &p->loop,
                                  .config = c,
                                  .log = &p->log,
                                  .refused = on_refused,
                                  .joined = on_joined,
                                  .arg = p};
    p->config = c;
    if (hd_worker_new(&p->worker, &o, &err) < 0) {
        hd_log_say(&p->log, "hydac-worker: %s", err.text);
        return 1;
    }
    watch_signals(p);
    hd_service_ready(c->model[0] ? "the model is open; looking for the leader at %s"
                                 : "waits for the leader at %s to say which model",
                     c->leader);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    return p->status;
}

static struct hd_worker_config config; /* large: paths */

#define LAST_WORDS_MS 1000 /* for whoever reads the log, at the end */

int main(int argc, char **argv)
{
    hd_open_stdio();
    pid_t parent = getppid();
    struct hd_error err = {0};
    struct program p = {.log = {.fd = 2}};
    hd_worker_config_defaults(&config);
    int rc = hd_worker_config_args(&config, argc, argv, &err);
    if (rc == HD_CONFIG_HELP) {
        hd_worker_config_print_help(stdout);
        return 0;
    }
    if (rc == HD_CONFIG_VERSION) {
        puts("hydac-worker " HYDAC_VERSION);
        return 0;
    }
    if (rc < 0) {
        fprintf(stderr, "hydac-worker: %s\n", err.text);
        return 2;
    }
    if (config.list_devices) {
        printf("cpu         %s, %u CPUs\n", hd_isa_name(hd_isa_best()), hd_cpus());
        hd_opencl_list(stdout);
        return 0;
    }
    if (config.die_with_parent && hd_die_with_parent(parent, &err) < 0) {
        fprintf(stderr, "hydac-worker: %s\n", err.text);
        return 1;
    }
    p.log.level = (enum hd_log_level)config.log_level;
    p.log.who = config.name;
    int keeper = hd_keeper_start() < 0 ? errno : 0;
    if (hd_log_sink_new(&p.log.sink, 2, &err) < 0) {
        fprintf(stderr, "hydac-worker: %s\n", err.text);
        return 1;
    }
    hd_log_sink_on_crash(p.log.sink);
    if (keeper != 0)
        hd_warn(&p.log, "no_keeper", "reason=\"%s\" effect=\"a kill is noticed later\"",
                strerror(keeper));
    uv_loop_init(&p.loop);
    hd_service_start(&p.service, &p.loop);
    rc = serve(&p, &config);
    hd_service_end(&p.service);
    uv_loop_close(&p.loop);
    hd_log_sink_on_crash(NULL);
    hd_log_sink_free(p.log.sink, LAST_WORDS_MS);
    return rc;
}
