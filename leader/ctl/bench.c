/* bench.c - hydac bench: which one; failover's options, the order of its measurements. */
#include "leader/ctl/bench.h"

#include "common/util/cpus.h"
#include "leader/ctl/bench_speed.h"
#include "leader/ctl/ctl.h"
#include "leader/ctl/files.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char about_failover[] =
    "hydac bench failover --out DIR [OPTIONS]\n"
    "\n"
    "failover: what a lost worker costs. For each combination starts a leader and workers, lets\n"
    "them answer, kills workers (SIGKILL) in the middle of the same answer and compares the\n"
    "tokens. Writes results.json, results.csv and report.html (self-contained).\n";

static const char about_all[] =
    "hydac bench failover|decode|prefill|net [OPTIONS]\n"
    "\n"
    "Measures on clusters of this machine. All numbers are the leader's reports and counters and\n"
    "this client's clock.\n\n";

static int take_policy(void *arg, size_t i, const char *item, struct hd_error *err)
{
    struct hd_bench_options *o = arg;
    int rc = hd_up_check_recovery("a policy", item, err);
    for (size_t k = 0; rc == 0 && k < i; k++)
        if (strcmp(o->policies[k], item) == 0)
            rc = hd_fail(err, HD_E_CONFIG, "--policies names %s twice", item);
    if (rc == 0)
        snprintf(o->policies[i], sizeof o->policies[i], "%.15s", item);
    return rc;
}

struct lists {
    const char *workers, *contexts, *policies, *plot, *model;
};

static int check(struct hd_bench_options *o, const struct lists *l, struct hd_error *err)
{
    struct hd_bench_numbers workers = {"--workers", o->workers, 2, HD_MAX_WORKERS};
    struct hd_bench_numbers contexts = {"--contexts", o->contexts, 1, INT32_MAX};
    int rc = hd_bench_take_numbers(&workers, l->workers, &o->n_workers, err);
    if (rc == 0)
        rc = hd_bench_take_numbers(&contexts, l->contexts, &o->n_contexts, err);
    if (rc == 0)
        rc = hd_bench_each_item("--policies", l->policies, take_policy, o, &o->n_policies, err);
    for (size_t i = 0; rc == 0 && i < o->n_workers; i++)
        if (o->workers[i] <= o->lost)
            rc = hd_fail(err, HD_E_CONFIG,
                         "--lost %llu leaves nobody of %llu workers; take more workers",
                         (unsigned long long)o->lost, (unsigned long long)o->workers[i]);
    if (rc == 0 && !o->out)
        rc = hd_fail(err, HD_E_CONFIG, "bench failover needs --out DIR");
    if (rc == 0 && l->plot && strcmp(l->plot, "png") != 0)
        rc = hd_fail(err, HD_E_CONFIG, "--plot is png, not '%s'", l->plot);
    return rc;
}

/* ---- Measuring ------------------------------------------------------------------------------*/
static void print_progress(const struct hd_bench_run *r, const struct hd_bench *b, size_t total)
{
    printf("%zu/%zu  %llu workers, context %llu, %s: stall %.1f ms, tokens %s\n", b->n, total,
           (unsigned long long)r->workers, (unsigned long long)r->context, r->policy, r->stall_ms,
           r->identical ? "identical" : "DIFFER");
    fflush(stdout);
}

static int measure_one(struct hd_bench *b, const struct hd_bench_job *job, size_t total,
                       struct hd_error *err)
{
    struct hd_bench_run *r = &b->runs[b->n];
    int rc = hd_bench_measure(job, r, &b->model, err);
    if (rc != 0) {
        hd_bench_run_deinit(r);
        if (rc < 0)
            hd_fail_in(err, "%llu workers, context %llu, %s", (unsigned long long)job->workers,
                       (unsigned long long)job->context, job->policy);
        return rc;
    }
    b->n++;
    print_progress(r, b, total);
    return 0;
}

/* The policies take turns, so that a change of the machine's speed meets all of them. */
static int measure_all(struct hd_bench *b, size_t total, struct hd_error *err)
{
    const struct hd_bench_options *o = b->o;
    size_t n = o->n_policies;
    for (size_t i = 0; i < total; i++) {
        size_t combination = i / n / o->repeat;
        struct hd_bench_job job = {
            .o = o,
            .workers = o->workers[combination / o->n_contexts],
            .context = o->contexts[combination % o->n_contexts],
            .repeat = i / n % o->repeat,
            .policy = o->policies[i % n],
        };
        int rc = measure_one(b, &job, total, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int write_all(const struct hd_bench *b, struct hd_error *err)
{
    static const struct {
        const char *name;
        int (*write)(const struct hd_bench *b, const char *path, struct hd_error *err);
        bool png;
    } files[] = {
        {"results.json", hd_bench_write_json, false},
        {"results.csv", hd_bench_write_csv, false},
        {"report.html", hd_bench_write_html, false},
        {"failover.png", hd_bench_plot, true},
    };
    char path[PATH_MAX + 16];
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof files / sizeof files[0]; i++) {
        if (files[i].png && !b->o->png)
            continue;
        snprintf(path, sizeof path, "%s/%s", b->o->out, files[i].name);
        rc = files[i].write(b, path, err);
        if (rc == 0)
            printf("%s\n", path);
    }
    return rc;
}

static bool all_identical(const struct hd_bench *b)
{
    for (size_t i = 0; i < b->n; i++)
        if (!b->runs[i].identical)
            return false;
    return true;
}

static int bench(const struct hd_bench_options *o, struct hd_error *err)
{
    size_t total = o->n_workers * o->n_contexts * o->n_policies * o->repeat;
    struct hd_bench b = {.o = o, .cores = hd_cpus()};
    hd_bench_now(b.started);
    b.runs = calloc(total, sizeof *b.runs);
    int rc = b.runs ? 0 : hd_fail(err, HD_E_NOMEM, "out of memory");
    if (rc == 0)
        rc = measure_all(&b, total, err);
    if (rc == 0)
        rc = write_all(&b, err);
    if (rc == 0 && !all_identical(&b))
        rc = hd_fail(err, HD_E_STATE, "tokens differ from those of the undisturbed run");
    for (size_t i = 0; i < b.n; i++)
        hd_bench_run_deinit(&b.runs[i]);
    free(b.runs);
    json_decref(b.model);
    return rc;
}

static int run(struct hd_bench_options *o, const struct lists *l, struct hd_error *err)
{
    o->png = l->plot;
    int rc = hd_up_set_model(&o->up, l->model, err);
    if (rc == 0)
        rc = hd_make_folders(o->out, err);
    if (rc == 0 && o->png)
        rc = hd_bench_check_plot(err);
    return rc == 0 ? bench(o, err) : rc;
}

static int cmd_failover(int argc, char **argv)
{
    struct hd_bench_options o = {.up = {.log_level = "error", .leader_args = HD_BENCH_LEADER_ARGS},
                                 .lost = 1,
                                 .repeat = 5,
                                 .tokens = 64};
    struct lists l = {
        .workers = "2,3,4,8", .contexts = "128,512,2048", .policies = "reuse,standby,full"};
    struct hd_arg_list rest = {.n = 0};
    struct hd_error err = {0};
    const struct hd_arg args[] = {
        HD_ARG_MODEL(&l.model),
        {"--out", HD_ARG_STRING, &o.out, "DIR", "where the results go"},
        {"--workers", HD_ARG_STRING, &l.workers, "LIST", "sizes of the cluster, default 2,3,4,8"},
        {"--contexts", HD_ARG_STRING, &l.contexts, "LIST",
         "tokens of the prompt, default 128,512,2048"},
        {"--policies", HD_ARG_STRING, &l.policies, "LIST",
         "ways of recovery, default reuse,standby,full (they take turns)"},
        {"--lost", HD_ARG_UINT, &o.lost, "N",
         "workers killed at once, default 1; those with most heads", 1, HD_MAX_WORKERS - 1},
        {"--repeat", HD_ARG_UINT, &o.repeat, "N",
         "default 5; reported is the run with the median stall", 1, 1000},
        {"--tokens", HD_ARG_UINT, &o.tokens, "N",
         "of an answer, default 64; the loss comes after a third of them", 12, 4096},
        {"--threads", HD_ARG_UINT, &o.up.threads, "N",
         "threads of each worker; default: this machine's cores shared out", 1, 1024},
        {"--plot", HD_ARG_STRING, &l.plot, "png", "also writes failover.png (needs gnuplot)"},
        HD_ARG_LEADER_ARG(&o.up.leader_args),
        HD_ARG_WORKER_ARG(&o.up.worker_args),
        {NULL},
    };
    int rc = hd_cmd_args(argc, argv, args, &rest, about_failover);
    if (rc != 0)
        return hd_cmd_args_status(rc);
    if (rest.n != 1 || strcmp(rest.items[0], "failover") != 0) {
        hd_fail(&err, HD_E_CONFIG,
                "bench is followed by failover, decode, prefill or net; see hydac bench --help");
        return hd_complain(&err) + 1;
    }
    if (check(&o, &l, &err) < 0)
        return hd_complain(&err) + 1;
    rc = run(&o, &l, &err);
    if (rc == HD_BENCH_INTERRUPTED) {
        fputs("hydac: interrupted; nothing was written\n", stderr);
        return HD_UP_INTERRUPTED;
    }
    return rc < 0 ? hd_complain(&err) : 0;
}

/* Of all kinds, one after the other. */
static int for_all(char *option)
{
    char *argv[] = {"bench", option, NULL};
    if (strcmp(option, HD_LIST_OPTIONS) != 0)
        fputs(about_all, stdout);
    cmd_failover(2, argv);
    for (int kind = 0; kind < HD_SPEED_KINDS; kind++) {
        if (strcmp(option, HD_LIST_OPTIONS) != 0)
            putchar('\n');
        hd_speed_cmd((enum hd_speed_kind)kind, 2, argv);
    }
    return 0;
}

int hd_cmd_bench(int argc, char **argv)
{
    static const char *const asks[] = {"--help", "-h", HD_LIST_OPTIONS};
    int kind = argc > 1 ? hd_speed_kind(argv[1]) : -1;
    for (size_t i = 0; argc == 2 && i < sizeof asks / sizeof *asks; i++)
        if (strcmp(argv[1], asks[i]) == 0)
            return for_all(argv[1]);
    if (kind < 0)
        return cmd_failover(argc, argv);
    return hd_speed_cmd((enum hd_speed_kind)kind, argc - 1, argv + 1);
}
