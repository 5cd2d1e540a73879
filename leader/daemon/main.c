/* main.c - hydac-leader: arguments, signals, the loop. */
#include "common/service/service.h"
#include "common/util/log_sink.h"
#include "common/util/process.h"
#include "leader/daemon/leader.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct program {
    uv_loop_t loop;
    uv_signal_t signals[2];
    struct hd_service service;
    struct hd_leader *leader;
    struct hd_log log;
};

static void on_signal(uv_signal_t *handle, int number)
{
    struct program *p = handle->data;
    hd_service_stopping();
    hd_info(&p->log, "stopping", "signal=%s", number == SIGINT ? "SIGINT" : "SIGTERM");
    for (int i = 0; i < 2; i++)
        if (!uv_is_closing((uv_handle_t *)&p->signals[i]))
            uv_close((uv_handle_t *)&p->signals[i], NULL);
    hd_leader_close(p->leader, NULL, NULL);
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
}

/* The ports in use, for whoever started us with port 0: written whole or not at all. */
static int write_ports(const char *path, const struct hd_leader *l, struct hd_error *err)
{
    char tmp[4200];
    snprintf(tmp, sizeof tmp, "%s.tmp", path);
    FILE *f = fopen(tmp, "w");
    if (!f)
        return hd_fail(err, HD_E_IO, "cannot write %s: %s", tmp, strerror(errno));
    fprintf(f, "{\"cluster\": %u, \"http\": %u}\n", hd_leader_cluster_port(l),
            hd_leader_http_port(l));
    if (fclose(f) != 0 || rename(tmp, path) != 0)
        return hd_fail(err, HD_E_IO, "cannot write %s: %s", path, strerror(errno));
    return 0;
}

static void on_serving(void *arg, const char *why)
{
    hd_service_status("%s", why ? why : "serving requests");
}

static int serve(struct program *p, const struct hd_leader_config *c)
{
    struct hd_error err = {0};
    struct hd_leader_options o = {
        .loop = &p->loop, .config = c, .log = &p->log, .serving = on_serving, .arg = p};
    int rc = hd_leader_new(&p->leader, &o, &err);
    if (rc == 0) {
        watch_signals(p);
        hd_service_ready("waiting for workers on %s, HTTP on %s", c->cluster_listen,
                         c->http_listen);
        hd_info(&p->log, "listening", "cluster=%u http=%u min_workers=%u tls=%s",
                hd_leader_cluster_port(p->leader), hd_leader_http_port(p->leader),
                (unsigned)c->min_workers, c->cluster_key[0] ? "on" : "off");
        if (*c->ports_file && (rc = write_ports(c->ports_file, p->leader, &err)) < 0) {
            for (int i = 0; i < 2; i++)
                uv_close((uv_handle_t *)&p->signals[i], NULL);
            hd_leader_close(p->leader, NULL, NULL);
        }
    }
    uv_run(&p->loop, UV_RUN_DEFAULT);
    if (rc < 0)
        hd_log_say(&p->log, "hydac-leader: %s", err.text);
    return rc < 0 ? 1 : 0;
}

static struct hd_leader_config config; /* large: fixed assignment tables */

#define LAST_WORDS_MS 1000 /* for whoever reads the log, at the end */
#define MORE_FILES    1024 /* besides HTTP's */

int main(int argc, char **argv)
{
    hd_open_stdio();
    pid_t parent = getppid();
    struct hd_error err = {0};
    struct program p = {.log = {.fd = 2, .who = "leader"}};
    hd_leader_config_defaults(&config);
    int rc = hd_leader_config_args(&config, argc, argv, &err);
    if (rc == HD_CONFIG_HELP) {
        hd_leader_config_print_help(stdout);
        return 0;
    }
    if (rc == HD_CONFIG_VERSION) {
        puts("hydac-leader " HYDAC_VERSION);
        return 0;
    }
    if (rc < 0) {
        fprintf(stderr, "hydac-leader: %s\n", err.text);
        return 2;
    }
    if ((config.die_with_parent && hd_die_with_parent(parent, &err) < 0) ||
        hd_log_sink_new(&p.log.sink, 2, &err) < 0) {
        fprintf(stderr, "hydac-leader: %s\n", err.text);
        return 1;
    }
    p.log.level = (enum hd_log_level)config.log_level;
    hd_log_sink_on_crash(p.log.sink);
    hd_raise_file_limit(HD_LEADER_MAX_CONNECTIONS + MORE_FILES);
    uv_loop_init(&p.loop);
    hd_service_start(&p.service, &p.loop);
    rc = serve(&p, &config);
    hd_service_end(&p.service);
    uv_loop_close(&p.loop);
    hd_log_sink_on_crash(NULL);
    hd_log_sink_free(p.log.sink, LAST_WORDS_MS);
    return rc;
}
