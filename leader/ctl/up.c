/* up.c - hydac up: the options. */
#include "leader/ctl/up.h"

#include "common/model/model.h"
#include "common/util/cpus.h"
#include "leader/core/policy.h"
#include "leader/ctl/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_WORKERS  3 /* of those that nobody has asked for */
#define DEFAULT_MODEL ".cache/hydac/SmolLM2-135M-Instruct.Q4_1.gguf" /* deploy/get-model.sh */

static const char about[] =
    "hydac up [MODEL] [OPTIONS]\n"
    "\n"
    "Starts a leader and workers w1 to wN on this machine and stays in the foreground. Ctrl-C "
    "stops\n"
    "all of them. A worker that dies is reported; the others go on. So it is with a leader, with\n"
    "--leaders 2.\n";

static int default_model(struct hd_up_options *o, struct hd_error *err)
{
    const char *path = getenv("HYDAC_MODEL"), *home = getenv("HOME");
    if (path && *path)
        snprintf(o->model, sizeof o->model, "%s", path);
    else
        snprintf(o->model, sizeof o->model, "%s/%s", home ? home : "", DEFAULT_MODEL);
    if (access(o->model, R_OK) != 0)
        return hd_fail(err, HD_E_NOTFOUND,
                       "there is no model at %s; give one with --model, or get the default one "
                       "with deploy/get-model.sh",
                       o->model);
    return 0;
}

int hd_up_set_model(struct hd_up_options *o, const char *model, struct hd_error *err)
{
    if (!model)
        return default_model(o, err);
    if (access(model, R_OK) != 0)
        return hd_fail(err, HD_E_NOTFOUND, "there is no model at %s", model);
    snprintf(o->model, sizeof o->model, "%s", model);
    return 0;
}

uint64_t hd_up_share_of_cores(uint64_t workers)
{
    uint64_t share = hd_cpus() / workers;
    return share > 0 ? share : 1;
}

static uint64_t count_devices(const char *list)
{
    uint64_t n = 1;
    for (; *list; list++)
        n += *list == ',';
    return n;
}

/* More workers than cores or heads do not help; with one, none may die. */
static int choose_workers(struct hd_up_options *o, struct hd_error *err)
{
    struct hd_model *m;
    uint64_t cores = hd_cpus();
    int rc = hd_model_open(&m, o->model, err);
    if (rc < 0)
        return rc;
    uint64_t heads = m->shape.n_kv_heads;
    hd_model_close(m);
    if (o->devices) {
        o->workers = count_devices(o->devices);
        return 0;
    }
    o->workers = cores < 2 ? 2 : cores < MOST_WORKERS ? cores : MOST_WORKERS;
    o->workers = heads < o->workers ? heads : o->workers;
    return 0;
}

int hd_up_check_recovery(const char *option, const char *name, struct hd_error *err)
{
    char known[128] = "";
    size_t n = 0;
    for (int i = 0; i < HD_POLICIES; i++) {
        if (strcmp(hd_policy_names[i], name) == 0)
            return 0;
        n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", n ? ", " : "",
                              hd_policy_names[i]);
    }
    return hd_fail(err, HD_E_CONFIG, "%s is one of %s, not '%s'", option, known, name);
}

int hd_cmd_up(int argc, char **argv)
{
    struct hd_up_options o = {
        .port = HD_DEFAULT_PORT, .leaders = 1, .recovery = "reuse", .log_level = "warn"};
    const char *model = NULL;
    struct hd_arg_list rest = {.n = 0};
    struct hd_error err = {0};
    const struct hd_arg args[] = {
        HD_ARG_MODEL(&model),
        {"--leaders", HD_ARG_UINT, &o.leaders, "N",
         "so many leaders, default 1: one serves, and when it dies the next one goes on with all "
         "answers",
         1, HD_UP_LEADERS},
        {"--workers", HD_ARG_UINT, &o.workers, "N",
         "default: one for each core, but not more than 3, nor than the model has KV heads; on a "
         "single core 2; with --devices as many as those are",
         1, HD_MAX_WORKERS},
        {"--devices", HD_ARG_STRING, &o.devices, "LIST",
         "compute.device of w1, w2 and so on, again from the first: cpu,opencl (a GPU, or "
         "opencl:PLATFORM/DEVICE); default: cpu for all"},
        {"--port", HD_ARG_UINT, &o.port, "P",
         "HTTP port of the leader, default 8080; 0 picks a free one; of more leaders the next ones",
         0, 65535},
        {"--state", HD_ARG_STRING, &o.state, "DIR",
         "keeps state in DIR; default: a temporary folder"},
        {"--recovery", HD_ARG_STRING, &o.recovery, "reuse|standby|full",
         "reuse (default): rebuild lost heads only; standby: others hold copies; full: replay "
         "everything"},
        {"--threads", HD_ARG_UINT, &o.threads, "N",
         "threads of each worker; default: this machine's cores shared out", 1, 1024},
        {"--ready-file", HD_ARG_STRING, &o.ready_file, "F",
         "gets leader URL and pids as JSON when the cluster serves"},
        {"--restart", HD_ARG_FLAG, &o.restart, NULL, "starts a worker or a leader that died again"},
        {"--log-level", HD_ARG_STRING, &o.log_level, "debug|info|warn|error",
         "what the daemons log; default warn"},
        HD_ARG_LEADER_ARG(&o.leader_args),
        HD_ARG_WORKER_ARG(&o.worker_args),
        {NULL},
    };
    int rc = hd_cmd_args(argc, argv, args, &rest, about);
    if (rc != 0)
        return hd_cmd_args_status(rc);
    if (rest.n > (model ? 0 : 1)) {
        hd_fail(&err, HD_E_CONFIG, "unexpected argument '%s'; up takes one model",
                rest.items[model ? 0 : 1]);
        return hd_complain(&err) + 1;
    }
    if (rest.n == 1)
        model = rest.items[0];
    if (hd_up_check_recovery("--recovery", o.recovery, &err) < 0)
        return hd_complain(&err) + 1;
    if (hd_up_set_model(&o, model, &err) < 0)
        return hd_complain(&err);
    if (o.workers == 0 && choose_workers(&o, &err) < 0)
        return hd_complain(&err);
    if (o.threads == 0)
        o.threads = hd_up_share_of_cores(o.workers);
    setvbuf(stdout, NULL, _IOLBF, 0);
    return hd_up(&o);
}
