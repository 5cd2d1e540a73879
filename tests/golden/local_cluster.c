/* local_cluster.c - the objects of the daemons, on a loop of the test's. */
#include "tests/golden/local_cluster.h"

#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int start_leader(struct local_cluster *c, const char *model, enum local_way way,
                        struct hd_error *err)
{
    bool exact = way == LOCAL_EXACT;
    struct hd_leader_config *config = &c->leader_config;
    hd_leader_config_defaults(config);
    snprintf(config->model, sizeof config->model, "%s", model);
    snprintf(config->cluster_listen, sizeof config->cluster_listen, "127.0.0.1:0");
    snprintf(config->http_listen, sizeof config->http_listen, "127.0.0.1:0");
    snprintf(config->state_dir, sizeof config->state_dir, "%s", c->dir);
    config->min_workers = c->n_workers;
    config->kv_type = exact ? HD_KV_F32 : HD_KV_F16;
    config->activations = exact ? HD_LEADER_ACTIVATIONS_F32 : HD_LEADER_ACTIVATIONS_AUTO;
    config->wire = way == LOCAL_COMPACT ? HD_WIRE_COMPACT : HD_WIRE_EXACT;
    struct hd_leader_options o = {.loop = c->loop, .config = config, .log = &c->log};
    return hd_leader_new(&c->leader, &o, err);
}

static int start_worker(struct local_cluster *c, unsigned i, const char *model,
                        struct hd_error *err)
{
    struct hd_worker_config *config = &c->worker_config[i];
    hd_worker_config_defaults(config);
    snprintf(config->model, sizeof config->model, "%s", model);
    snprintf(config->leader, sizeof config->leader, "127.0.0.1:%u",
             hd_leader_cluster_port(c->leader));
    snprintf(config->name, sizeof config->name, "w%u", i + 1);
    snprintf(config->state_dir, sizeof config->state_dir, "%s", c->dir);
    config->threads = 1;
    struct hd_worker_options o = {.loop = c->loop, .config = config, .log = &c->log};
    return hd_worker_new(&c->workers[i], &o, err);
}

int local_cluster_start(struct local_cluster *c, uv_loop_t *loop, const char *model,
                        unsigned workers, enum local_way way, struct hd_error *err)
{
    signal(SIGPIPE, SIG_IGN); /* as conn.h asks for */
    *c = (struct local_cluster){.loop = loop, .n_workers = workers};
    c->log = (struct hd_log){.level = HD_LOG_ERROR, .fd = 2, .who = "local"};
    if (workers < 1 || workers > MAX_LOCAL_WORKERS)
        return hd_fail(err, HD_E_RANGE, "1 to %d workers, not %u", MAX_LOCAL_WORKERS, workers);
    const char *tmp = getenv("TMPDIR");
    snprintf(c->dir, sizeof c->dir, "%.40s/hydac-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(c->dir))
        return hd_fail(err, HD_E_IO, "cannot make a folder %s", c->dir);
    int rc = start_leader(c, model, way, err);
    c->open += rc == 0;
    for (unsigned i = 0; rc == 0 && i < workers; i++) {
        rc = start_worker(c, i, model, err);
        c->open += rc == 0;
    }
    if (rc < 0)
        local_cluster_stop(c);
    return rc;
}

static void closed(void *arg)
{
    struct local_cluster *c = arg;
    c->open--;
}

void local_cluster_lose(struct local_cluster *c, unsigned worker)
{
    if (c->workers[worker])
        hd_worker_close(c->workers[worker], closed, c);
    c->workers[worker] = NULL;
}

void local_cluster_stop(struct local_cluster *c)
{
    for (unsigned i = 0; i < c->n_workers; i++)
        local_cluster_lose(c, i);
    if (c->leader)
        hd_leader_close(c->leader, closed, c);
    c->leader = NULL;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    return remove(path);
}

void local_cluster_clean(struct local_cluster *c)
{
    if (*c->dir)
        nftw(c->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}
