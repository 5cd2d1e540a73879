#include "leader/daemon/config.h"

#include "common/model/model.h"
#include "common/net/address.h"
#include "common/net/busy_poll.h"
#include "common/net/tls.h"
#include "common/util/log.h"
#include "common/util/state_dir.h"
#include "leader/core/core.h"

#include <stdio.h>
#include <string.h>

#define MAX_MS       86400000.0 /* a day: longer than any wait that makes sense */
#define MAX_FORGET_S 31536000.0 /* a year: who wants to keep names for longer writes 0 */
#define MAX_SCRUB_S  86400.0    /* a day: damage that is found later has long done its harm */

/* Words in the order of the enumerations they name. */
static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
static const char *const policies[] = {"reuse", "standby", "full", NULL};
static const char *const strategies[] = {"even", "fixed", "single", "weighted", "bandwidth", NULL};
static const char *const activations[] = {"auto", "f32", NULL};
static const char *const rebalances[] = {"auto", "manual", NULL};
static const char *const kv_types[] = {"f16", "f32", NULL};

#define STRATEGY_FIXED 1

#define AT(field)     offsetof(struct hd_leader_config, field)
#define STRING(field) HD_CONFIG_STRING, AT(field), sizeof((struct hd_leader_config *)0)->field

/* ---- The table of `fixed` ------------------------------------------------------------------ */

/* The worker of the table that owns `head`, or NULL. */
static const char *owner_of(const struct hd_fixed_table *t, uint32_t head)
{
    for (size_t i = 0; i < t->n; i++)
        for (uint32_t h = 0; h < t->entries[i].n_heads; h++)
            if (t->entries[i].heads[h] == head)
                return t->entries[i].name;
    return NULL;
}

_Static_assert(sizeof((struct hd_fixed_entry *)0)->heads >= HD_CONFIG_MAX_VALUES * sizeof(uint32_t),
               "a list that the reader takes fits an entry");

/* The new entry counts from the start, so that a head which it lists twice is found like one that
 * another worker has. */
static int add_fixed(void *config, const char *name, const uint32_t *heads, size_t n,
                     struct hd_error *err)
{
    struct hd_fixed_table *t = &((struct hd_leader_config *)config)->fixed;
    if (t->n == HD_MAX_WORKERS)
        return hd_fail(err, HD_E_CONFIG, "the table has more than %d workers; remove some",
                       HD_MAX_WORKERS);
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->entries[i].name, name) == 0)
            return hd_fail(err, HD_E_CONFIG, "worker \"%s\" is given twice; put its heads together",
                           name);
    struct hd_fixed_entry *e = &t->entries[t->n];
    if (name[0] == '\0' || strlen(name) >= sizeof e->name)
        return hd_fail(err, HD_E_CONFIG, "a worker's name has 1 to %zu bytes; correct it",
                       sizeof e->name - 1);
    *e = (struct hd_fixed_entry){0};
    strcpy(e->name, name);
    t->n++;
    for (size_t i = 0; i < n; i++) {
        const char *owner = owner_of(t, heads[i]);
        if (owner)
            return hd_fail(err, HD_E_CONFIG, "head %u is given to \"%s\" already; give it once",
                           heads[i], owner);
        e->heads[e->n_heads++] = heads[i];
    }
    return 0;
}

/* ---- Keys and flags ------------------------------------------------------------------------ */

static const struct hd_config_key keys[] = {
    {"model", "path", STRING(model)},
    {"cluster", "listen", STRING(cluster_listen)},
    {"cluster", "socket", STRING(cluster_socket)},
    {"cluster", "key", STRING(cluster_key)},
    {"cluster", "tls", HD_CONFIG_ENUM, AT(cluster_tls), .words = hd_tls_modes},
    {"cluster", "busy_poll_us", HD_CONFIG_UINT, AT(busy_poll_us), .min = 0,
     .max = HD_MAX_BUSY_POLL_US},
    {"cluster", "min_workers", HD_CONFIG_UINT, AT(min_workers), .min = 1, .max = HD_MAX_WORKERS},
    {"cluster", "rebalance", HD_CONFIG_ENUM, AT(rebalance), .words = rebalances},
    {"cluster", "forget_after_s", HD_CONFIG_UINT, AT(forget_after_s), .min = 0,
     .max = MAX_FORGET_S},
    {"http", "listen", STRING(http_listen)},
    {"http", "api_key_file", STRING(api_key_file)},
    {"http", "admin_key_file", STRING(admin_key_file)},
    {"http", "allowed_hosts", HD_CONFIG_WORDS, AT(allowed_hosts),
     .size = sizeof((struct hd_leader_config *)0)->allowed_hosts},
    {"http", "allowed_origins", HD_CONFIG_WORDS, AT(allowed_origins),
     .size = sizeof((struct hd_leader_config *)0)->allowed_origins},
    {"http", "max_connections", HD_CONFIG_UINT, AT(max_connections), .min = 1,
     .max = HD_LEADER_MAX_CONNECTIONS},
    {"http", "open", HD_CONFIG_BOOL, AT(http_open)},
    {"http", "cert", STRING(http_cert)},
    {"http", "cert_key", STRING(http_cert_key)},
    {"state", "dir", STRING(state_dir)},
    {"log", "level", HD_CONFIG_ENUM, AT(log_level), .words = levels},
    {"heartbeat", "interval_ms", HD_CONFIG_UINT, AT(heartbeat_interval_ms), .min = 1, .max = 10000},
    {"heartbeat", "phi_suspect", HD_CONFIG_REAL, AT(phi_suspect), .min = 0.1, .max = 100},
    {"heartbeat", "phi_offline", HD_CONFIG_REAL, AT(phi_offline), .min = 0.1, .max = 100},
    {"recovery", "policy", HD_CONFIG_ENUM, AT(recovery), .words = policies},
    {"recovery", "standby", HD_CONFIG_UINT, AT(standby), .min = 1, .max = HD_MAX_WORKERS - 1},
    {"recovery", "step_deadline_ms", HD_CONFIG_UINT, AT(step_deadline_ms), .min = 1, .max = MAX_MS},
    {"recovery", "assign_deadline_ms", HD_CONFIG_UINT, AT(assign_deadline_ms), .min = 1,
     .max = MAX_MS},
    {"recovery", "wait_for_worker_ms", HD_CONFIG_UINT, AT(wait_for_worker_ms), .min = 0,
     .max = MAX_MS},
    {"assignment", "strategy", HD_CONFIG_ENUM, AT(strategy), .words = strategies},
    {"assignment", "fixed", HD_CONFIG_TABLE, .add = add_fixed},
    {"assignment", "single", STRING(single)},
    {"compute", "activations", HD_CONFIG_ENUM, AT(activations), .words = activations},
    {"compute", "wire", HD_CONFIG_ENUM, AT(wire), .words = hd_wires},
    {"compute", "overlap_rows", HD_CONFIG_UINT, AT(overlap_rows), .min = 0,
     .max = HD_LEADER_MAX_ROWS},
    {"cache", "kv_type", HD_CONFIG_ENUM, AT(kv_type), .words = kv_types},
    {"integrity", "scrub_s", HD_CONFIG_UINT, AT(scrub_s), .min = 0, .max = MAX_SCRUB_S},
    {"integrity", "audit", HD_CONFIG_UINT, AT(audit_every), .min = 0, .max = HD_LEADER_MAX_AUDIT},
    {"integrity", "drain_after", HD_CONFIG_UINT, AT(drain_after), .min = 0,
     .max = HD_MAX_DRAIN_AFTER},
    {"integrity", "quarantine_s", HD_CONFIG_UINT, AT(quarantine_s), .min = 0, .max = MAX_FORGET_S},
    {"limits", "max_sequences", HD_CONFIG_UINT, AT(max_sequences), .min = 1,
     .max = HD_LEADER_MAX_SEQUENCES},
    {"limits", "max_rows", HD_CONFIG_UINT, AT(max_rows), .min = 1, .max = HD_LEADER_MAX_ROWS},
    {"limits", "context", HD_CONFIG_UINT, AT(context), .min = 0, .max = HD_LEADER_MAX_CONTEXT},
    {"limits", "queue", HD_CONFIG_UINT, AT(queue), .min = 1, .max = HD_LEADER_MAX_QUEUE},
    {0},
};

static const struct hd_config_flag flags[] = {
    {"--model", "model.path"},
    {"--listen", "cluster.listen"},
    {"--http", "http.listen"},
    {"--key", "cluster.key"},
    {"--api-key-file", "http.api_key_file"},
    {"--admin-key-file", "http.admin_key_file"},
    {"--state", "state.dir"},
    {"--min-workers", "cluster.min_workers"},
    {"--recovery", "recovery.policy"},
    {"--log-level", "log.level"},
    {"--ports-file", NULL, STRING(ports_file)},
    {"--die-with-parent", NULL, HD_CONFIG_BOOL, AT(die_with_parent)},
    {0},
};

static const char usage[] =
    "Usage: hydac-leader --model PATH [flags]\n"
    "\n"
    "Drives one model over the workers that connect, and answers HTTP requests.\n"
    "\n"
    "  --model PATH          a GGUF file or a model folder (model.path)\n"
    "  --config FILE         settings in YAML; flags go over them\n"
    "  --listen ADDRESS      where workers connect (cluster.listen: 127.0.0.1:7400)\n"
    "  --http ADDRESS        where HTTP is served (http.listen: 127.0.0.1:8080)\n"
    "  --key FILE            the cluster's key, from hydac keygen (cluster.key)\n"
    "  --api-key-file FILE   clients must know what is in it (http.api_key_file)\n"
    "  --admin-key-file FILE  drain and the like need what is in it (http.admin_key_file)\n"
    "  --state DIR           where files are kept (state.dir)\n"
    "  --min-workers N       wait for so many workers (cluster.min_workers: 1)\n"
    "  --recovery POLICY     reuse, standby or full (recovery.policy: reuse)\n"
    "  --log-level LEVEL     debug, info, warn or error (log.level: info)\n"
    "  --ports-file FILE     write the ports in use to FILE\n"
    "  --die-with-parent     end when the parent process does\n"
    "  --help, --version\n"
    "\n"
    "Without a key workers are heard on 127.0.0.1 and ::1 only, and so are HTTP clients without "
    "an\n"
    "API key, unless cluster.tls is off, or http.open is true. Neither file may be readable by "
    "group\n"
    "or others.\n"
    "\n"
    "An address is host:port, [::1]:port or :port; port 0 takes a free one. Every other setting is "
    "a\n"
    "flag too, --section.key VALUE, or a line of the file:\n"
    "\n"
    "  cluster.socket PATH (a Unix socket besides, for workers on this machine)\n"
    "  cluster.busy_poll_us 2000 (how long to look for an answer before the thread sleeps)\n"
    "  cluster.forget_after_s 3600 (who has been offline for so long is not listed any more)\n"
    "  cluster.rebalance auto | manual (units of a worker that has become slow go to others, and\n"
    "                                  back, by themselves; or the status only says so)\n"
    "  cluster.tls auto | on | off       http.open false | true\n"
    "  http.allowed_hosts NAME,NAME (what this leader is called, besides names of its machine)\n"
    "  http.allowed_origins URL,URL (the web pages that may ask)\n"
    "  http.max_connections 1024\n"
    "  http.cert FILE, http.cert_key FILE (HTTPS: certificate chain and private key, PEM)\n"
    "  heartbeat.interval_ms 50          heartbeat.phi_suspect 3\n"
    "  heartbeat.phi_offline 8           recovery.step_deadline_ms 30000\n"
    "  recovery.assign_deadline_ms 120000\n"
    "  recovery.wait_for_worker_ms 30000 recovery.standby 1\n"
    "  assignment.strategy even | fixed | single | weighted | bandwidth\n"
    "  assignment.single WORKER (any)    cache.kv_type f16 | f32\n"
    "  compute.activations auto | f32 (auto: 8 bits for quantized weights)\n"
    "  compute.wire exact | compact (a quarter of the bytes up; the text depends on the plan)\n"
    "  compute.overlap_rows 64 (steps of so many rows go in two groups; 0: never)\n"
    "  integrity.scrub_s 60 (workers look over their memory so often; 0: never)\n"
    "  integrity.audit 256 (one half-step in so many is computed twice; 0: none, 1: all)\n"
    "  integrity.drain_after 3 (damages of its memory within an hour; 0: never)\n"
    "  integrity.quarantine_s 600 (who computed wrong bits is refused for so long)\n"
    "  limits.max_sequences 8            limits.max_rows 128\n"
    "  limits.context 0 (the model's)    limits.queue 256\n"
    "\n"
    "Only in the file: assignment.fixed, lines of the form WORKER: [0, 1].\n";

const char *hd_leader_config_usage(void)
{
    return usage;
}

void hd_leader_config_defaults(struct hd_leader_config *c)
{
    *c = (struct hd_leader_config){
        .cluster_listen = "127.0.0.1:7400",
        .busy_poll_us = 2000, /* half-steps of the 1B shape take 300 to 1,200 us */
        .min_workers = 1,
        .forget_after_s = 3600,
        .http_listen = "127.0.0.1:8080",
        .max_connections = HD_LEADER_CONNECTIONS,
        .log_level = HD_LOG_INFO,
        .heartbeat_interval_ms = 50,
        .phi_suspect = 3,
        .phi_offline = 8,
        .standby = 1,
        .step_deadline_ms = 30000,
        .assign_deadline_ms = 120000,
        .wait_for_worker_ms = 30000,
        .max_sequences = 8,
        .max_rows = 128,
        .overlap_rows = HD_LEADER_OVERLAP_ROWS,
        .queue = 256,
        .scrub_s = HD_LEADER_SCRUB_S,
        .audit_every = 256,
        .drain_after = 3,
        .quarantine_s = 600,
    };
    hd_state_dir_default(c->state_dir, sizeof c->state_dir);
}

static int check_listen(const char *name, const char *address, struct sockaddr_storage *addr,
                        struct hd_error *err)
{
    int rc = hd_address_parse(address, addr, err);
    if (rc == 0 && addr->ss_family == AF_UNIX)
        rc = hd_fail(err, HD_E_CONFIG, "%s is no network address; write host:port", address);
    if (rc == 0)
        return 0;
    hd_fail_in(err, "%s", name);
    return err->code = HD_E_CONFIG;
}

static int check_cluster(const struct hd_leader_config *c, struct hd_error *err)
{
    struct sockaddr_storage addr;
    char what[300];
    int rc = check_listen("cluster.listen", c->cluster_listen, &addr, err);
    if (rc == 0)
        rc = hd_tls_check_mode(c->cluster_tls, c->cluster_key, err);
    if (rc < 0 || c->cluster_key[0])
        return rc;
    snprintf(what, sizeof what, "cluster.listen: %s", c->cluster_listen);
    return hd_tls_check_plaintext(c->cluster_tls, (const struct sockaddr *)&addr, what, err);
}

static int check_http(const struct hd_leader_config *c, struct hd_error *err)
{
    struct sockaddr_storage addr;
    int rc = check_listen("http.listen", c->http_listen, &addr, err);
    if (rc < 0)
        return rc;
    if (!c->http_cert[0] != !c->http_cert_key[0])
        return hd_fail(err, HD_E_CONFIG,
                       "http.cert and http.cert_key go together; give both or neither");
    if (c->api_key_file[0] || c->http_open ||
        hd_address_is_loopback((const struct sockaddr *)&addr))
        return 0;
    return hd_fail(err, HD_E_CONFIG,
                   "http.listen: %s is not on this machine alone and there is no API key; give one "
                   "with --api-key-file FILE, listen on 127.0.0.1, or write http.open: true to let "
                   "everybody in",
                   c->http_listen);
}

/* What one value alone does not show. */
static int check(const struct hd_leader_config *c, struct hd_error *err)
{
    if (c->model[0] == '\0')
        return hd_fail(err, HD_E_CONFIG,
                       "model.path: no model is given; use --model PATH or the file");
    if (c->state_dir[0] == '\0')
        return hd_fail(err, HD_E_CONFIG, "state.dir: the path is empty; give a folder");
    int rc = check_cluster(c, err);
    if (rc == 0)
        rc = check_http(c, err);
    if (rc < 0)
        return rc;
    if (c->phi_suspect > c->phi_offline)
        return hd_fail(err, HD_E_CONFIG,
                       "heartbeat.phi_suspect: %g is above phi_offline, %g; suspect comes first",
                       c->phi_suspect, c->phi_offline);
    if (c->strategy == STRATEGY_FIXED && c->fixed.n == 0)
        return hd_fail(err, HD_E_CONFIG,
                       "assignment.fixed: the strategy needs this table; write WORKER: [heads] "
                       "lines in the file");
    return 0;
}

int hd_leader_config_args(struct hd_leader_config *c, int argc, char **argv, struct hd_error *err)
{
    struct hd_error own;
    const struct hd_config_line line = {.keys = keys, .flags = flags, .argc = argc, .argv = argv};
    err = err ? err : &own;
    int rc = hd_config_args(&line, c, err);
    return rc != 0 ? rc : check(c, err);
}
