/* The worker's settings: every key, every flag, and what concerns several of them. */
#include "worker/config.h"

#include "common/math/kernels.h"
#include "common/net/tls.h"
#include "common/util/log.h"
#include "temp_file.h"

#include <criterion/criterion.h>
#include <string.h>

#define ARGS_MAX 40

static int run(struct hd_worker_config *c, const char *const *args, struct hd_error *err)
{
    char *argv[ARGS_MAX] = {"hydac-worker"};
    int argc = 1;
    for (; args[argc - 1]; argc++)
        argv[argc] = (char *)args[argc - 1];
    hd_worker_config_defaults(c);
    return hd_worker_config_args(c, argc, argv, err);
}

#define RUN(c, err, ...) run(c, (const char *const[]){__VA_ARGS__, NULL}, err)

Test(worker_config, defaults)
{
    struct hd_worker_config c;
    struct hd_error err = {0};
    cr_assert_eq(RUN(&c, &err, "--model", "m.gguf"), 0, "%s", err.text);
    cr_assert_str_eq(c.model, "m.gguf");
    cr_assert_str_eq(c.leader, "127.0.0.1:7400");
    cr_assert_str_eq(c.key, "");
    cr_assert_eq(c.tls, HD_TLS_AUTO);
    cr_assert_gt(strlen(c.name), 0); /* the host's name, or what is left of it */
    cr_assert_eq(c.threads, 0);
    cr_assert_eq(c.isa, HD_WORKER_ISA_AUTO);
    cr_assert_eq(c.state_dir[0], '/');
    cr_assert_eq(c.log_limit, UINT64_C(4) << 30);
    cr_assert(c.log_keep);
    cr_assert_eq(c.drain_ms, 10000);
    cr_assert_eq(c.retry_min_ms, 100);
    cr_assert_eq(c.retry_max_ms, 5000);
    cr_assert_eq(c.log_level, HD_LOG_INFO);
    cr_assert_not(c.die_with_parent);
}

Test(worker_config, every_key)
{
    static const char text[] = "model: {path: m}\n"
                               "leader: {address: kitchen.example:7401}\n"
                               "cluster: {key: /k, tls: on}\n"
                               "worker: {name: a.b_c-9, drain_ms: 0}\n"
                               "compute: {threads: 3, isa: avx2}\n"
                               "state: {dir: /s}\n"
                               "input_log: {limit: 512M, keep: false}\n"
                               "retry: {min_ms: 5, max_ms: 6}\n"
                               "log: {level: error}\n";
    struct hd_worker_config c;
    struct hd_error err = {0};
    struct temp_file f;
    temp_file_init(&f, text, strlen(text));
    cr_assert_eq(RUN(&c, &err, "--config", f.path), 0, "%s", err.text);
    temp_file_deinit(&f);
    cr_assert_str_eq(c.model, "m");
    cr_assert_str_eq(c.leader, "kitchen.example:7401");
    cr_assert_str_eq(c.key, "/k");
    cr_assert_eq(c.tls, HD_TLS_ON);
    cr_assert_str_eq(c.name, "a.b_c-9");
    cr_assert_eq(c.threads, 3);
    cr_assert_eq(c.isa, HD_ISA_AVX2 + 1);
    cr_assert_str_eq(c.state_dir, "/s");
    cr_assert_eq(c.log_limit, 512u << 20);
    cr_assert_not(c.log_keep);
    cr_assert_eq(c.drain_ms, 0);
    cr_assert_eq(c.retry_min_ms, 5);
    cr_assert_eq(c.retry_max_ms, 6);
    cr_assert_eq(c.log_level, HD_LOG_ERROR);
}

Test(worker_config, every_flag)
{
    struct hd_worker_config c;
    struct hd_error err = {0};
    int rc = RUN(&c, &err, "--model", "m", "--leader", "[::1]:9", "--name", "w2", "--threads", "4",
                 "--state", "/t", "--log-level", "debug", "--die-with-parent", "--compute.isa",
                 "portable", "--input_log.limit=1M", "--input_log.keep", "false",
                 "--worker.drain_ms", "7", "--key", "k");
    cr_assert_str_eq(c.key, "k");
    cr_assert_eq(rc, 0, "%s", err.text);
    cr_assert_str_eq(c.leader, "[::1]:9");
    cr_assert_str_eq(c.name, "w2");
    cr_assert_eq(c.threads, 4);
    cr_assert_str_eq(c.state_dir, "/t");
    cr_assert_eq(c.log_level, HD_LOG_DEBUG);
    cr_assert(c.die_with_parent);
    cr_assert_eq(c.isa, HD_ISA_PORTABLE + 1);
    cr_assert_eq(c.log_limit, 1u << 20);
    cr_assert_not(c.log_keep);
    cr_assert_eq(c.drain_ms, 7);
    cr_assert_eq(RUN(&c, &err, "--help"), HD_CONFIG_HELP);
    cr_assert_eq(RUN(&c, &err, "--version"), HD_CONFIG_VERSION);
}

Test(worker_config, isas_by_the_names_of_the_kernels)
{
    for (int isa = HD_ISA_PORTABLE; isa <= HD_ISA_NEON; isa++) {
        struct hd_worker_config c;
        struct hd_error err = {0};
        const char *name = hd_isa_name((enum hd_isa)isa);
        cr_assert_eq(RUN(&c, &err, "--model", "m", "--compute.isa", name), 0, "%s", err.text);
        cr_assert_eq(c.isa, isa + 1);
    }
}

static void expect_error(const char *flag, const char *value, const char *what)
{
    struct hd_worker_config c;
    struct hd_error err = {0};
    cr_expect_eq(RUN(&c, &err, "--model", "m", flag, value), HD_E_CONFIG, "%s %s", flag, value);
    cr_expect_not_null(strstr(err.text, what), "\"%s\" is not in \"%s\"", what, err.text);
}

Test(worker_config, wrong_values)
{
    char name[66];
    memset(name, 'n', sizeof name);
    name[64] = '\0';
    expect_error("--name", name, "the value has 64 bytes; give at most 63");
    name[63] = '\0';
    struct hd_worker_config c;
    struct hd_error err = {0};
    cr_assert_eq(RUN(&c, &err, "--model", "m", "--name", name), 0, "%s", err.text);
    expect_error("--name", "", "is not a name");
    expect_error("--name", "a b", "worker.name: \"a b\" is not a name");
    expect_error("--name", "a/b", "is not a name");
    expect_error("--leader", "kitchen", "leader.address: \"kitchen\" has no port");
    expect_error("--leader", ":7400", "has no host");
    expect_error("--leader", "kitchen:0", "has no host or no port");
    expect_error("--threads", "1025", "give 0 to 1024");
    expect_error("--compute.isa", "sse", "write one of auto, portable, avx2, avx512");
    expect_error("--input_log.limit", "1023K", "give 1M to 16T");
    expect_error("--input_log.keep", "maybe", "true or false");
    expect_error("--worker.drain_ms", "3600001", "give 0 to 3600000");
    expect_error("--retry.min_ms", "5001", "5001 is above max_ms, 5000");
    expect_error("--state", "", "state.dir: the path is empty");
    expect_error("--leader", "10.0.0.1:7400",
                 "leader.address: 10.0.0.1:7400 is not on this machine");
    expect_error("--leader", "[2001:db8::1]:7400", "give it to leader and workers with --key FILE");
    expect_error("--cluster.tls", "on", "cluster.tls: on needs the cluster's key");
    cr_assert_eq(RUN(&c, &err, "--model", "m", "--leader", "10.0.0.1:1", "--key", "k"), 0);
    cr_assert_eq(RUN(&c, &err, "--model", "m", "--leader", "10.0.0.1:1", "--cluster.tls", "off"),
                 0);
    cr_assert_eq(RUN(&c, &err, "--model", "m", "--leader", "kitchen:1"), 0); /* looked up later */
}

Test(worker_config, usage_names_everything)
{
    static const char *const words[] = {"--model",      "--config",          "--key",
                                        "cluster.key",  "cluster.tls",       "--leader",
                                        "--name",       "--threads",         "--state",
                                        "--log-level",  "--die-with-parent", "--help",
                                        "--version",    "model.path",        "leader.address",
                                        "worker.name",  "compute.threads",   "compute.isa",
                                        "state.dir",    "input_log.limit",   "retry.min_ms",
                                        "retry.max_ms", "log.level",         "leader.busy_poll_us"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        cr_expect_not_null(strstr(hd_worker_config_usage(), words[i]), "%s", words[i]);
}
