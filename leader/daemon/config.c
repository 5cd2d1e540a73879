/* config.c - the leader's command line and file, and what concerns several settings at once. The
 * settings themselves: settings.c. */
#include "leader/daemon/config.h"

#include "common/net/address.h"
#include "common/net/tls.h"
#include "common/util/state_dir.h"
#include "leader/core/plan.h"
#include "leader/core/policy.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define STRATEGY_FIXED 1 /* of hd_strategies */

#define AT(field) offsetof(struct hd_leader_config, field)

static const struct hd_config_flag flags[] = {
    {"--ports-file", HD_CONFIG_STRING, AT(ports_file),
     sizeof((struct hd_leader_config *)0)->ports_file, .arg = "FILE",
     .help = "write the ports in use to FILE, as JSON"},
    {"--die-with-parent", HD_CONFIG_BOOL, AT(die_with_parent),
     .help = "end when the parent process does"},
    {0},
};

static const char about[] =
    "Usage: hydac-leader --model PATH [flags]\n"
    "\n"
    "Drives one model over the workers that connect, and answers HTTP requests.\n"
    "\n"
    "Without a key workers are heard on 127.0.0.1 and ::1 only, and so are HTTP clients without\n"
    "an API key, unless cluster.tls is off, or http.open is true.\n";

static const struct hd_config_line line = {
    .keys = hd_leader_settings, .flags = flags, .about = about};

void hd_leader_config_print_help(FILE *to)
{
    hd_config_print_help(to, &line);
}

void hd_leader_config_defaults(struct hd_leader_config *c)
{
    *c = (struct hd_leader_config){0};
    hd_config_presets(hd_leader_settings, c);
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
    if (c->public_url[0] && hd_address_origin(c->public_url, strlen(c->public_url)) == 0)
        return hd_fail(err, HD_E_CONFIG,
                       "http.public_url: %s is no address of a web page; write http://HOST:PORT or "
                       "https://HOST",
                       c->public_url);
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

/* Leaders speak once a tick. */
static int check_leaders(const struct hd_leader_config *c, struct hd_error *err)
{
    if (c->leaders[0] == '\0' || 2 * c->heartbeat_interval_ms <= c->silence_ms)
        return 0;
    return hd_fail(err, HD_E_CONFIG,
                   "heartbeat.interval_ms: %" PRIu64
                   " is more than half of cluster.silence_ms, %" PRIu64
                   ", so that leaders would miss each other; lower it or raise the other",
                   c->heartbeat_interval_ms, c->silence_ms);
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
    if (rc == 0)
        rc = check_leaders(c, err);
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
    struct hd_config_line given = line;
    given.argc = argc;
    given.argv = argv;
    err = err ? err : &own;
    int rc = hd_config_args(&given, c, err);
    return rc != 0 ? rc : check(c, err);
}

unsigned hd_config_copies(const struct hd_leader_config *c)
{
    return (unsigned)(hd_policies[c->recovery].copies ? c->standby : c->standby_weights);
}
