/* The leader's settings: short flags, words, and what concerns several of them. What holds for
 * every row of the table: test_settings.c. */
#include "leader/daemon/config.h"
#include "common/model/model.h"
#include "common/net/tls.h"
#include "common/util/log.h"
#include "temp_file.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define ARGS_MAX 40

static int run(struct hd_leader_config *c, const char *const *args, struct hd_error *err)
{
    char *argv[ARGS_MAX] = {"hydac-leader"};
    int argc = 1;
    for (; args[argc - 1]; argc++)
        argv[argc] = (char *)args[argc - 1];
    hd_leader_config_defaults(c);
    return hd_leader_config_args(c, argc, argv, err);
}

#define RUN(c, err, ...) run(c, (const char *const[]){__VA_ARGS__, NULL}, err)

static struct hd_leader_config *config(void)
{
    static struct hd_leader_config c;
    return &c;
}

static int run_file(struct hd_leader_config *c, const char *text, struct hd_error *err)
{
    struct temp_file f;
    temp_file_init(&f, text, strlen(text));
    int rc = RUN(c, err, "--model", "m.gguf", "--config", f.path);
    temp_file_deinit(&f);
    return rc;
}

Test(leader_config, every_flag)
{
    struct hd_leader_config *c = config();
    struct hd_error err = {0};
    int rc = RUN(c, &err, "--model", "m", "--listen", "1.2.3.4:5", "--http", "[::]:6", "--state",
                 "/t", "--key", "k", "--api-key-file", "a", "--admin-key-file", "b",
                 "--min-workers", "2", "--recovery", "full", "--log-level", "warn", "--ports-file",
                 "p", "--die-with-parent", "--limits.queue", "9", "--cache.kv_type=f32");
    cr_assert_eq(rc, 0, "%s", err.text);
    cr_assert_str_eq(c->cluster_listen, "1.2.3.4:5");
    cr_assert_str_eq(c->http_listen, "[::]:6");
    cr_assert_str_eq(c->cluster_key, "k");
    cr_assert_str_eq(c->api_key_file, "a");
    cr_assert_str_eq(c->admin_key_file, "b");
    cr_assert_str_eq(c->state_dir, "/t");
    cr_assert_eq(c->min_workers, 2);
    cr_assert_eq(c->recovery, 2);
    cr_assert_eq(c->log_level, HD_LOG_WARN);
    cr_assert_str_eq(c->ports_file, "p");
    cr_assert(c->die_with_parent);
    cr_assert_eq(c->queue, 9);
    cr_assert_eq(c->kv_type, 1);
    cr_assert_eq(RUN(c, &err, "--help"), HD_CONFIG_HELP);
    cr_assert_eq(RUN(c, &err, "--version"), HD_CONFIG_VERSION);
}

/* Words stand for the enumerations that they name. */
Test(leader_config, words)
{
    struct hd_leader_config *c = config();
    struct hd_error err = {0};
    cr_assert_eq(RUN(c, &err, "--model", "m", "--cluster.rebalance", "manual", "--compute.wire",
                     "compact", "--cluster.tls", "on", "--key", "k", "--compute.activations",
                     "f32"),
                 0, "%s", err.text);
    cr_assert_eq(c->rebalance, HD_REBALANCE_MANUAL);
    cr_assert_eq(c->wire, HD_WIRE_COMPACT);
    cr_assert_eq(c->cluster_tls, HD_TLS_ON);
    cr_assert_eq(c->activations, HD_LEADER_ACTIVATIONS_F32);
}

/* With the table that `fixed` asks for. */
static int run_strategy(struct hd_leader_config *c, const char *name, struct hd_error *err)
{
    char text[128];
    snprintf(text, sizeof text, "assignment: {strategy: %s, fixed: {w1: [0]}}\n", name);
    return run_file(c, text, err);
}

static void expect_file_error(const char *text, const char *what)
{
    struct hd_error err = {0};
    cr_expect_eq(run_file(config(), text, &err), HD_E_CONFIG, "accepted: %s", text);
    cr_expect_not_null(strstr(err.text, what), "\"%s\" is not in \"%s\"", what, err.text);
}

Test(leader_config, fixed_table)
{
    struct hd_leader_config *c = config();
    struct hd_error err = {0};
    int rc = run_file(c, "assignment: {strategy: fixed, fixed: {w1: [0, 2], w2: [1]}}\n", &err);
    cr_assert_eq(rc, 0, "%s", err.text);
    cr_assert_eq(c->fixed.n, 2);
    cr_assert_str_eq(c->fixed.entries[0].name, "w1");
    cr_assert_eq(c->fixed.entries[0].n_heads, 2);
    cr_assert_eq(c->fixed.entries[0].heads[1], 2);
    expect_file_error("assignment: {fixed: {w1: [0, 1], w2: [2, 1]}}\n",
                      "config.yaml:1:34: head 1 is given to \"w1\" already; give it once");
    expect_file_error("assignment: {fixed: {w1: [0, 0]}}\n",
                      "config.yaml:1:22: head 0 is given to \"w1\" already; give it once");
    expect_file_error("assignment: {fixed: {w1: [0], w1: [1]}}\n",
                      "config.yaml:1:31: worker \"w1\" is given twice; put its heads together");
    expect_file_error("assignment: {fixed: {'': [0]}}\n", "name has 1 to 63 bytes");
    expect_file_error("assignment: {strategy: fixed}\n", "assignment.fixed: the strategy needs");
    char text[8192] = "assignment: {fixed: {";
    for (int i = 0; i <= HD_MAX_WORKERS; i++)
        sprintf(text + strlen(text), "w%d: [%d], ", i, i);
    strcat(text, "}}\n");
    expect_file_error(text, "more than 64 workers");
}

Test(leader_config, limits_to_the_number)
{
    expect_file_error("limits: {max_sequences: 65}\n", "give 1 to 64");
    expect_file_error("limits: {max_rows: 1025}\n", "give 1 to 1024");
    expect_file_error("limits: {max_rows: 0}\n", "give 1 to 1024");
    expect_file_error("limits: {queue: 0}\n", "give 1 to 65536");
    expect_file_error("cluster: {min_workers: 65}\n", "give 1 to 64");
    expect_file_error("cluster: {forget_after_s: 31536001}\n", "give 0 to 31536000");
    expect_file_error("heartbeat: {interval_ms: 0}\n", "give 1 to 10000");
    expect_file_error("cache: {kv_type: q8}\n", "write one of f16, f32");
    expect_file_error("compute: {wire: thin}\n", "write one of exact, compact");
    expect_file_error("log: {level: loud}\n", "write one of debug, info, warn, error");
}

Test(leader_config, across_values)
{
    struct hd_leader_config *c = config();
    struct hd_error err = {0};
    cr_assert_eq(RUN(c, &err, "--min-workers", "1"), HD_E_CONFIG);
    cr_assert_not_null(strstr(err.text, "no model is given"), "%s", err.text);
    cr_assert_eq(RUN(c, &err, "--model", "m", "--listen", "localhost:1"), HD_E_CONFIG);
    cr_assert_str_eq(err.text, "cluster.listen: \"localhost\" is not a numeric address; write "
                               "127.0.0.1:port or [::1]:port");
    cr_assert_eq(RUN(c, &err, "--model", "m", "--http", "8080"), HD_E_CONFIG);
    cr_assert_str_eq(err.text, "http.listen: \"8080\" has no port; write host:port");
    cr_assert_eq(RUN(c, &err, "--model", "m", "--state", ""), HD_E_CONFIG);
    cr_assert_eq(RUN(c, &err, "--model", "m", "--heartbeat.phi_suspect", "9"), HD_E_CONFIG);
    cr_assert_not_null(strstr(err.text, "9 is above phi_offline, 8"), "%s", err.text);
    cr_assert_eq(RUN(c, &err, "--model", "m", "--leaders", "127.0.0.1:1,127.0.0.1:2",
                     "--heartbeat.interval_ms", "201"),
                 HD_E_CONFIG);
    cr_assert_not_null(strstr(err.text, "201 is more than half of cluster.silence_ms, 400"), "%s",
                       err.text);
}

static void expect_refused(const char *flag, const char *value, const char *more, const char *what)
{
    struct hd_error err = {0};
    int rc = RUN(config(), &err, "--model", "m", flag, value, more);
    cr_expect_eq(rc, HD_E_CONFIG, "%s %s", flag, value);
    cr_expect_not_null(strstr(err.text, what), "\"%s\" is not in \"%s\"", what, err.text);
}

/* Beyond this machine only with a key, or when it is spelled out. */
Test(leader_config, who_may_reach_it)
{
    static const char *const local[] = {"127.0.0.1:1", "127.255.0.9:1", "[::1]:1",
                                        "[::ffff:127.0.0.1]:1"};
    static const char *const open[] = {":1",     "0.0.0.0:1",   "10.0.0.1:1",
                                       "[::]:1", "128.0.0.1:1", "[::ffff:10.0.0.1]:1"};
    struct hd_leader_config *c = config();
    struct hd_error err = {0};
    for (size_t i = 0; i < sizeof local / sizeof *local; i++)
        cr_expect_eq(RUN(c, &err, "--model", "m", "--listen", local[i], "--http", local[i]), 0,
                     "%s", err.text);
    for (size_t i = 0; i < sizeof open / sizeof *open; i++) {
        expect_refused("--listen", open[i], NULL, "hydac keygen > cluster.key");
        expect_refused("--listen", open[i], "--cluster.tls=auto", "write cluster.tls: off");
        expect_refused("--http", open[i], NULL, "write http.open: true");
        expect_refused("--http", open[i], "--http.open=false", "--api-key-file FILE");
        int rc = RUN(c, &err, "--model", "m", "--listen", open[i], "--key", "k", "--http", open[i],
                     "--api-key-file", "a");
        cr_expect_eq(rc, 0, "%s", err.text);
        rc = RUN(c, &err, "--model", "m", "--listen", open[i], "--cluster.tls", "off", "--http",
                 open[i], "--http.open", "true");
        cr_expect_eq(rc, 0, "%s", err.text);
    }
}

Test(leader_config, keys_that_do_not_go_together)
{
    expect_refused("--cluster.tls", "on", NULL, "cluster.tls: on needs the cluster's key");
    expect_refused("--cluster.tls", "off", "--key=k", "cluster.tls: off leaves cluster.key");
    expect_refused("--cluster.tls", "maybe", NULL, "write one of auto, on, off");
    expect_refused("--http.cert", "c", NULL, "http.cert and http.cert_key go together");
    expect_refused("--http.cert_key", "c", NULL, "http.cert and http.cert_key go together");
}

/* The setting is an index of the core's table. */
Test(leader_config, every_strategy)
{
    struct hd_leader_config *c = config();
    struct hd_error err = {0};
    for (int i = 0; hd_strategies[i]; i++) {
        const char *name = hd_strategies[i]->name;
        int rc = run_strategy(c, name, &err);
        cr_assert_eq(rc, 0, "%s", err.text);
        cr_assert_eq(c->strategy, i);
    }
    cr_assert_eq(run_strategy(c, "odd", &err), HD_E_CONFIG);
    cr_assert_not_null(strstr(err.text, "write one of even, fixed, single, weighted, bandwidth"));
}
