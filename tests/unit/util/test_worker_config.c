/* The worker's settings: short flags, values that are refused, and what concerns several of them.
 * What holds for every row of the table: test_settings.c. */
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

static const struct {
    const char *flag, *value, *what;
} wrong[] = {
    {"--name", "", "is not a name"},
    {"--name", "a b", "worker.name: \"a b\" is not a name"},
    {"--name", "a/b", "is not a name"},
    {"--leader", "kitchen", "leader.address: \"kitchen\" has no port"},
    {"--leader", ":7400", "has no host"},
    {"--leader", "kitchen:0", "has no host or no port"},
    {"--threads", "1025", "give 0 to 1024"},
    {"--compute.isa", "sse", "write one of auto, portable, avx2, avx512"},
    {"--input_log.limit", "1023K", "give 1M to 16T"},
    {"--input_log.keep", "maybe", "true or false"},
    {"--worker.drain_ms", "3600001", "give 0 to 3600000"},
    {"--retry.min_ms", "5001", "5001 is above max_ms, 5000"},
    {"--state", "", "state.dir: the path is empty"},
    {"--leader", "10.0.0.1:7400", "leader.address: 10.0.0.1:7400 is not on this machine"},
    {"--leader", "[2001:db8::1]:7400", "give it to leader and workers with --key FILE"},
    {"--cluster.tls", "on", "cluster.tls: on needs the cluster's key"},
};

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
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        expect_error(wrong[i].flag, wrong[i].value, wrong[i].what);
    cr_assert_eq(RUN(&c, &err, "--model", "m", "--leader", "10.0.0.1:1", "--key", "k"), 0);
    cr_assert_eq(RUN(&c, &err, "--model", "m", "--leader", "10.0.0.1:1", "--cluster.tls", "off"),
                 0);
    cr_assert_eq(RUN(&c, &err, "--model", "m", "--leader", "kitchen:1"), 0); /* looked up later */
}
