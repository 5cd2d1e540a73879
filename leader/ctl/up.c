/* up.c - hydac up: the options. */
#include "leader/ctl/up.h"

#include "common/util/cpus.h"
#include "leader/core/policy.h"
#include "leader/ctl/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_MODEL ".cache/hydac/SmolLM2-135M-Instruct.Q4_1.gguf" /* deploy/get-model.sh */

static const char usage[] =
    "hydac up [--model PATH] [--workers N] [OPTIONS]\n"
    "\n"
    "Starts a leader and workers w1..wN on this machine and stays in the foreground. Ctrl-C stops\n"
    "all of them. A worker that dies is reported; the others go on.\n"
    "\n"
    "  --model PATH       a GGUF file or a Hugging Face folder; default: $HYDAC_MODEL, else\n"
    "                     ~/" DEFAULT_MODEL "\n"
    "  --workers N        default 3\n"
    "  --port P           HTTP port of the leader, default 8080; 0 picks a free one\n"
    "  --state DIR        keeps state in DIR; default: a temporary folder\n"
    "  --recovery WAY     reuse (default): rebuild lost heads only; standby: others hold copies;\n"
    "                     full: replay everything\n"
    "  --threads N        threads of each worker; default: this machine's cores shared out\n"
    "  --ready-file F     gets leader URL and pids as JSON when the cluster serves\n"
    "  --restart          starts a worker that died again\n"
    "  --log-level LEVEL  debug, info, warn (default), error\n"
    "  --leader-arg X, --worker-arg X\n"
    "                     passes X on (repeatable; options as --leader-arg=--name=value)\n";

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
        .workers = 3, .port = HD_DEFAULT_PORT, .recovery = "reuse", .log_level = "warn"};
    const char *model = NULL;
    struct hd_error err = {0};
    const struct hd_arg args[] = {
        {"--model", HD_ARG_STRING, &model},
        {"--workers", HD_ARG_UINT, &o.workers, 1, HD_MAX_WORKERS},
        {"--port", HD_ARG_UINT, &o.port, 0, 65535},
        {"--state", HD_ARG_STRING, &o.state},
        {"--recovery", HD_ARG_STRING, &o.recovery},
        {"--threads", HD_ARG_UINT, &o.threads, 1, 1024},
        {"--ready-file", HD_ARG_STRING, &o.ready_file},
        {"--restart", HD_ARG_FLAG, &o.restart},
        {"--log-level", HD_ARG_STRING, &o.log_level},
        {"--leader-arg", HD_ARG_LIST, &o.leader_args},
        {"--worker-arg", HD_ARG_LIST, &o.worker_args},
        {NULL},
    };
    int rc = hd_cmd_args(argc, argv, args, NULL, usage);
    if (rc != 0)
        return hd_cmd_args_status(rc);
    if (hd_up_check_recovery("--recovery", o.recovery, &err) < 0)
        return hd_complain(&err) + 1;
    if (hd_up_set_model(&o, model, &err) < 0)
        return hd_complain(&err);
    if (o.threads == 0)
        o.threads = hd_up_share_of_cores(o.workers);
    setvbuf(stdout, NULL, _IOLBF, 0);
    return hd_up(&o);
}
