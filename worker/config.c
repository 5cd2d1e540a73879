#include "worker/config.h"

#include "common/net/address.h"
#include "common/net/busy_poll.h"
#include "common/net/frame.h"
#include "common/net/tls.h"
#include "common/util/log.h"
#include "common/util/state_dir.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_RETRY_MS 3600000.0        /* an hour: whoever waits longer should restart the worker */
#define MAX_DRAIN_MS 3600000.0        /* an hour: nobody who stops a worker waits longer */
#define MIN_LOG      1048576.0        /* a worker without a log cannot rebuild anything */
#define MAX_LOG      17592186044416.0 /* 16T */

#define MAX_CACHE 17592186044416.0 /* likewise */

/* Words in the order of the enumerations they name. */
static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
static const char *const isas[] = {"auto", "portable", "avx2", "avx512", "amx", "neon", NULL};

#define AT(field)     offsetof(struct hd_worker_config, field)
#define STRING(field) HD_CONFIG_STRING, AT(field), sizeof((struct hd_worker_config *)0)->field

static const struct hd_config_key keys[] = {
    {"model", "path", STRING(model)},
    {"leader", "address", STRING(leader)},
    {"leader", "busy_poll_us", HD_CONFIG_UINT, AT(busy_poll_us), .min = 0,
     .max = HD_MAX_BUSY_POLL_US},
    {"cluster", "key", STRING(key)},
    {"cluster", "tls", HD_CONFIG_ENUM, AT(tls), .words = hd_tls_modes},
    {"worker", "name", STRING(name)},
    {"worker", "drain_ms", HD_CONFIG_UINT, AT(drain_ms), .min = 0, .max = MAX_DRAIN_MS},
    {"compute", "threads", HD_CONFIG_UINT, AT(threads), .min = 0, .max = HD_WORKER_MAX_THREADS},
    {"compute", "isa", HD_CONFIG_ENUM, AT(isa), .words = isas},
    {"state", "dir", STRING(state_dir)},
    {"input_log", "limit", HD_CONFIG_SIZE, AT(log_limit), .min = MIN_LOG, .max = MAX_LOG},
    {"input_log", "keep", HD_CONFIG_BOOL, AT(log_keep)},
    {"memory", "limit", HD_CONFIG_SIZE, AT(memory_limit), .min = 0, .max = MAX_CACHE},
    {"weights", "cache_limit", HD_CONFIG_SIZE, AT(cache_limit), .min = 0, .max = MAX_CACHE},
    {"retry", "min_ms", HD_CONFIG_UINT, AT(retry_min_ms), .min = 1, .max = MAX_RETRY_MS},
    {"retry", "max_ms", HD_CONFIG_UINT, AT(retry_max_ms), .min = 1, .max = MAX_RETRY_MS},
    {"log", "level", HD_CONFIG_ENUM, AT(log_level), .words = levels},
    {0},
};

static const struct hd_config_flag flags[] = {
    {"--model", "model.path"},
    {"--leader", "leader.address"},
    {"--key", "cluster.key"},
    {"--name", "worker.name"},
    {"--threads", "compute.threads"},
    {"--state", "state.dir"},
    {"--log-level", "log.level"},
    {"--die-with-parent", NULL, HD_CONFIG_BOOL, AT(die_with_parent)},
    {0},
};

static const char usage[] =
    "Usage: hydac-worker [--model PATH] [flags]\n"
    "\n"
    "Computes a share of the model for a leader.\n"
    "\n"
    "  --model PATH          a GGUF file or a model folder, the leader's; without it the leader "
    "is\n"
    "                        asked for what is needed, which is kept (model.path)\n"
    "  --config FILE         settings in YAML; flags go over them\n"
    "  --leader ADDRESS      host:port, [::1]:port, or unix:PATH for the leader's\n"
    "                        cluster.socket (leader.address: 127.0.0.1:7400)\n"
    "  --key FILE            the cluster's key, from hydac keygen (cluster.key)\n"
    "  --name NAME           unique in the cluster (worker.name: the host's name)\n"
    "  --threads N           compute threads, 0 = one for each CPU (compute.threads: 0)\n"
    "  --state DIR           where the input log and weights are kept (state.dir)\n"
    "  --log-level LEVEL     debug, info, warn or error (log.level: info)\n"
    "  --die-with-parent     end when the parent process does\n"
    "  --help, --version\n"
    "\n"
    "Without a key only a leader on this machine is spoken to, unless cluster.tls is off. Group "
    "and\n"
    "others may not be able to read the key's file.\n"
    "\n"
    "Every other setting is a flag too, --section.key VALUE, or a line of the file:\n"
    "\n"
    "  cluster.tls auto | on | off\n"
    "  leader.busy_poll_us 200: how long to look for work before the thread sleeps\n"
    "  compute.isa auto | portable | avx2 | avx512 | amx | neon\n"
    "  input_log.limit 4G\n"
    "  input_log.keep true: false = log nothing; a head that moves here costs a replay\n"
    "  memory.limit 0: weights and K/V are to fit 7/8 of it; 0 = the machine's, or the group's\n"
    "  weights.cache_limit 16G: weights from the leader kept on disk; 0 = those in use\n"
    "  retry.min_ms 100\n"
    "  retry.max_ms 5000\n"
    "  worker.drain_ms 10000: how long a worker that is to stop waits until others have its work\n";

const char *hd_worker_config_usage(void)
{
    return usage;
}

/* The host's name, made one that a worker may have. */
static void default_name(char name[HD_NAME_MAX + 1])
{
    char host[256] = "";
    if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0')
        strcpy(host, "worker");
    snprintf(name, HD_NAME_MAX + 1, "%.*s", HD_NAME_MAX, host);
    for (char *p = name; *(p += strspn(p, HD_NAME_BYTES));)
        *p = '-';
}

void hd_worker_config_defaults(struct hd_worker_config *c)
{
    *c = (struct hd_worker_config){
        .leader = "127.0.0.1:7400",
        .busy_poll_us = 200, /* what the leader and another worker take between two half-steps */
        .log_limit = UINT64_C(4) << 30,
        .log_keep = true,
        .cache_limit = UINT64_C(16) << 30,
        .drain_ms = 10000,
        .retry_min_ms = 100,
        .retry_max_ms = 5000,
        .log_level = HD_LOG_INFO,
    };
    default_name(c->name);
    hd_state_dir_default(c->state_dir, sizeof c->state_dir);
}

static int check_leader(const char *address, struct hd_error *err)
{
    struct hd_host_port a;
    struct sockaddr_un local;
    int rc = hd_address_unix(address, &local, err);
    if (rc == 1)
        return 0;
    if (rc < 0 || hd_address_split(address, &a, err) < 0) {
        hd_fail_in(err, "leader.address");
        return err->code = HD_E_CONFIG;
    }
    if (a.host[0] == '\0' || a.port == 0)
        return hd_fail(err, HD_E_CONFIG,
                       "leader.address: \"%s\" has no host or no port; write host:port", address);
    return 0;
}

/* A host's name shows where it leads only when it is looked up (session.c). */
static int check_tls(const struct hd_worker_config *c, struct hd_error *err)
{
    struct sockaddr_storage addr;
    char what[300];
    int rc = hd_tls_check_mode(c->tls, c->key, err);
    if (rc < 0 || c->key[0] || hd_address_parse(c->leader, &addr, NULL) < 0)
        return rc;
    snprintf(what, sizeof what, "leader.address: %s", c->leader);
    return hd_tls_check_plaintext(c->tls, (const struct sockaddr *)&addr, what, err);
}

/* What one value alone does not show. */
static int check(const struct hd_worker_config *c, struct hd_error *err)
{
    if (c->state_dir[0] == '\0')
        return hd_fail(err, HD_E_CONFIG, "state.dir: the path is empty; give a folder");
    if (c->name[0] == '\0' || c->name[strspn(c->name, HD_NAME_BYTES)] != '\0')
        return hd_fail(err, HD_E_CONFIG,
                       "worker.name: \"%s\" is not a name; write 1 to %d of A-Z a-z 0-9 . _ -",
                       c->name, HD_NAME_MAX);
    if (c->retry_min_ms > c->retry_max_ms)
        return hd_fail(err, HD_E_CONFIG,
                       "retry.min_ms: %llu is above max_ms, %llu; give the smaller one first",
                       (unsigned long long)c->retry_min_ms, (unsigned long long)c->retry_max_ms);
    int rc = check_leader(c->leader, err);
    return rc < 0 ? rc : check_tls(c, err);
}

int hd_worker_config_args(struct hd_worker_config *c, int argc, char **argv, struct hd_error *err)
{
    struct hd_error own;
    const struct hd_config_line line = {.keys = keys, .flags = flags, .argc = argc, .argv = argv};
    err = err ? err : &own;
    int rc = hd_config_args(&line, c, err);
    return rc != 0 ? rc : check(c, err);
}
