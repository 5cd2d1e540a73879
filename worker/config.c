/* config.c - the worker's settings: each key with its range, its default and its sentence, once
 * (--help and hydac.yaml(5) come from this table), and what concerns several of them. */
#include "worker/config.h"

#include "common/net/address.h"
#include "common/net/busy_poll.h"
#include "common/net/frame.h"
#include "common/net/tls.h"
#include "common/util/shared_settings.h"
#include "common/util/state_dir.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_RETRY_MS 3600000.0        /* an hour: whoever waits longer should restart the worker */
#define MAX_DRAIN_MS 3600000.0        /* an hour: nobody who stops a worker waits longer */
#define MIN_LOG      1048576.0        /* a worker without a log cannot rebuild anything */
#define MAX_LOG      17592186044416.0 /* 16T */
#define MAX_CACHE    17592186044416.0 /* likewise */

/* Words in the order of the enumerations they name. */
static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
static const char *const isas[] = {"auto", "portable", "avx2", "avx512", "amx", "neon", NULL};

#define AT(field)     offsetof(struct hd_worker_config, field)
#define SIZE(field)   sizeof((struct hd_worker_config *)0)->field
#define STRING(field) HD_CONFIG_STRING, AT(field), SIZE(field)

const struct hd_config_key hd_worker_settings[] = {
    {"model", "path", STRING(model), .flag = "--model", .arg = "PATH", .preset = "",
     .unset = "none, the leader is asked for what is needed, which is kept",
     .help = "a GGUF file or a model folder, which must be the leader's"},
    {"leader", "address", STRING(leader), .flag = "--leader", .arg = "ADDRESS",
     .preset = "127.0.0.1:7400",
     .help = "host:port or [::1]:port of the leader's cluster.listen, or unix:PATH for its "
             "cluster.socket; of several leaders a list with commas, in the order of "
             "cluster.leaders: who loses one goes to the next"},
    {"leader", "silence_ms", HD_CONFIG_UINT, AT(silence_ms), .min = 100, .max = MAX_RETRY_MS,
     .preset = "500", /* the next one has missed it by then: cluster.silence_ms */
     .help = "of several leaders: one that says nothing for so long is left for the next; more "
             "than the leaders' cluster.silence_ms"},
    {"leader", "grace_ms", HD_CONFIG_UINT, AT(grace_ms), .min = 0, .max = MAX_RETRY_MS,
     .preset = "10000",
     .help =
         "how long K/V, input logs and units stay when the leader is lost: who leads next within "
         "this time, the same one or another, goes on with them; 0: they are forgotten at once"},
    {"leader", "busy_poll_us", HD_CONFIG_UINT, AT(busy_poll_us), .min = 0,
     .max = HD_MAX_BUSY_POLL_US,
     .preset = "200", /* what the leader and another worker take between two half-steps */
     .help = "likewise (cluster.busy_poll_us), after an answer"},
    HD_SETTING_CLUSTER_KEY(AT(key), SIZE(key)),
    HD_SETTING_CLUSTER_TLS(AT(tls), hd_tls_modes),
    {"worker", "name", STRING(name), .flag = "--name", .arg = "NAME", .unset = "the host's name",
     .help = "unique in the cluster: 1 to 63 of A-Z a-z 0-9 . _ -"},
    {"worker", "drain_ms", HD_CONFIG_UINT, AT(drain_ms), .min = 0, .max = MAX_DRAIN_MS,
     .preset = "10000",
     .help = "how long a worker that is to stop waits until others have its work"},
    {"compute", "threads", HD_CONFIG_UINT, AT(threads), .min = 0, .max = HD_WORKER_MAX_THREADS,
     .flag = "--threads", .preset = "0",
     .help = "compute threads; 0: one for each CPU that the process may use: its affinity, or "
             "fewer where its control group limits its time (CPUQuota=, docker run --cpus)"},
    {"compute", "device", STRING(device), .arg = "NAME", .preset = "auto",
     .help = "what computes: cpu, or opencl (a GPU through its OpenCL driver; "
             "opencl:PLATFORM/DEVICE, each a number or a part of its name, for a certain one: "
             "hydac-worker --list-devices); auto: cpu"},
    {"compute", "isa", HD_CONFIG_ENUM, AT(isa), .words = isas, .preset = "auto",
     .help = "which kernels compute; auto: the best that this CPU has (amx, where it is there, "
             "before avx512)"},
    HD_SETTING_STATE_DIR(AT(state_dir), SIZE(state_dir)),
    {"input_log", "limit", HD_CONFIG_SIZE, AT(log_limit), .min = MIN_LOG, .max = MAX_LOG,
     .preset = "4G", .help = "bytes of input log"},
    {"input_log", "keep", HD_CONFIG_BOOL, AT(log_keep), .preset = "true",
     .help = "false: log nothing; a head that moves here costs running its sequences again"},
    {"memory", "limit", HD_CONFIG_SIZE, AT(memory_limit), .min = 0, .max = MAX_CACHE, .preset = "0",
     .help = "bytes that a worker may use for weights and K/V, of which it is given 7/8; 0: the "
             "machine's memory, or what its control group allows. It bounds how many units it gets "
             "with the strategies weighted and bandwidth, and with all of them how many positions "
             "can be alive: requests that do not fit are refused with this worker's name"},
    {"weights", "cache_limit", HD_CONFIG_SIZE, AT(cache_limit), .min = 0, .max = MAX_CACHE,
     .preset = "16G",
     .help = "of a worker without a model: bytes of weights from the leader, of all models "
             "together, that are kept in state.dir; what is neither owned nor held goes first; 0: "
             "only what is owned or held is kept, however much it is"},
    {"retry", "min_ms", HD_CONFIG_UINT, AT(retry_min_ms), .min = 1, .max = MAX_RETRY_MS,
     .preset = "100", .help = "the first pause before connecting again, in milliseconds"},
    {"retry", "max_ms", HD_CONFIG_UINT, AT(retry_max_ms), .min = 1, .max = MAX_RETRY_MS,
     .preset = "5000", .help = "the longest"},
    HD_SETTING_LOG_LEVEL(AT(log_level), levels),
    {0},
};

static const struct hd_config_flag flags[] = {
    {"--die-with-parent", HD_CONFIG_BOOL, AT(die_with_parent),
     .help = "end when the parent process does"},
    {"--list-devices", HD_CONFIG_BOOL, AT(list_devices),
     .help = "say which devices there are, and end"},
    {0},
};

static const char about[] =
    "Usage: hydac-worker [--model PATH] [flags]\n"
    "\n"
    "Computes a share of the model for a leader.\n"
    "\n"
    "Without a key only a leader on this machine is spoken to, unless cluster.tls is off.\n";

static const struct hd_config_line line = {
    .keys = hd_worker_settings, .flags = flags, .about = about};

void hd_worker_config_print_help(FILE *to)
{
    hd_config_print_help(to, &line);
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
    *c = (struct hd_worker_config){0};
    hd_config_presets(hd_worker_settings, c);
    default_name(c->name);
    hd_state_dir_default(c->state_dir, sizeof c->state_dir);
}

static int check_one_leader(const char *address, struct hd_error *err)
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
static int check_plaintext(const struct hd_worker_config *c, const char *address,
                           struct hd_error *err)
{
    struct sockaddr_storage addr;
    char what[HD_ADDRESS_MAX + 20];
    if (c->key[0] || hd_address_parse(address, &addr, NULL) < 0)
        return 0;
    snprintf(what, sizeof what, "leader.address: %s", address);
    return hd_tls_check_plaintext(c->tls, (const struct sockaddr *)&addr, what, err);
}

static int check_leaders(const struct hd_worker_config *c, struct hd_error *err)
{
    char address[HD_ADDRESS_MAX];
    int rc = hd_tls_check_mode(c->tls, c->key, err);
    for (unsigned i = 0; rc == 0 && i < hd_address_count(c->leader); i++) {
        rc = check_one_leader(hd_address_nth(c->leader, i, address), err);
        if (rc == 0)
            rc = check_plaintext(c, address, err);
    }
    return rc;
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
    return check_leaders(c, err);
}

int hd_worker_config_args(struct hd_worker_config *c, int argc, char **argv, struct hd_error *err)
{
    struct hd_error own;
    struct hd_config_line given = line;
    given.argc = argc;
    given.argv = argv;
    err = err ? err : &own;
    int rc = hd_config_args(&given, c, err);
    return rc != 0 ? rc : check(c, err);
}
