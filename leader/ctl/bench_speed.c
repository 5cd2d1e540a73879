/* bench_speed.c - hydac bench decode, prefill, net: the options, the order of the runs. */
#include "leader/ctl/bench_speed.h"

#include "common/util/cpus.h"
#include "leader/ctl/ctl.h"
#include "leader/ctl/files.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    uint64_t prompt, tokens; /* defaults */
    const char *about;
} kinds[HD_SPEED_KINDS] = {
    [HD_SPEED_DECODE] = {"decode", 16, 64,
                         "hydac bench decode [OPTIONS]\n"
                         "\n"
                         "decode: tokens a second, beside what the memory's bandwidth would allow, "
                         "and where the\n"
                         "time of a token goes, as a table of medians (least - most).\n"},
    [HD_SPEED_PREFILL] = {"prefill", 512, 1,
                          "hydac bench prefill [OPTIONS]\n"
                          "\n"
                          "prefill: the same for a prompt, with operations a second.\n"},
    [HD_SPEED_NET] = {"net", 16, 64,
                      "hydac bench net [OPTIONS]\n"
                      "\n"
                      "net: what a half-step's way to the workers and back takes, and bytes for a "
                      "token.\n"},
};

int hd_speed_kind(const char *name)
{
    for (int i = 0; i < HD_SPEED_KINDS; i++)
        if (strcmp(kinds[i].name, name) == 0)
            return i;
    return -1;
}

const char *hd_speed_kind_name(enum hd_speed_kind kind)
{
    return kinds[kind].name;
}

uint64_t hd_speed_threads(const struct hd_speed_options *o, size_t variant)
{
    uint64_t all = o->workers[variant] * o->threads[variant];
    unsigned cores = hd_cpus();
    return all > cores ? cores : all;
}

static int take_wire(void *arg, size_t i, const char *item, struct hd_error *err)
{
    const char **wires = arg;
    int which = strcmp(item, hd_wires[HD_WIRE_EXACT]) == 0 ? HD_WIRE_EXACT : HD_WIRE_COMPACT;
    if (strcmp(item, hd_wires[which]) != 0)
        return hd_fail(err, HD_E_CONFIG, "--wire is exact, compact or both, not '%s'", item);
    if (i >= HD_SPEED_MAX_WIRES || (i > 0 && wires[0] == hd_wires[which]))
        return hd_fail(err, HD_E_CONFIG, "--wire names %s twice", item);
    wires[i] = hd_wires[which];
    return 0;
}

/* The variants: each size, with each wire mode in turn. */
static int take_variants(struct hd_speed_options *o, const char *workers, const char *wires,
                         struct hd_error *err)
{
    uint64_t sizes[HD_BENCH_MAX_LIST];
    const char *names[HD_SPEED_MAX_WIRES];
    size_t n_sizes, n_wires;
    struct hd_bench_numbers list = {"--workers", sizes, 1, HD_MAX_WORKERS};
    int rc = hd_bench_take_numbers(&list, workers, &n_sizes, err);
    if (rc == 0)
        rc = hd_bench_each_item("--wire", wires, take_wire, names, &n_wires, err);
    if (rc < 0)
        return rc;
    o->n_variants = n_sizes * n_wires;
    for (size_t i = 0; i < o->n_variants; i++) {
        uint64_t n = o->workers[i] = sizes[i / n_wires];
        o->threads[i] = o->up.threads ? o->up.threads : hd_up_share_of_cores(n);
        o->wires[i] = names[i % n_wires];
    }
    return 0;
}

static int check(struct hd_speed_options *o, const char *workers, const char *wires,
                 struct hd_error *err)
{
    int rc = take_variants(o, workers, wires, err);
    if (rc == 0 && o->kind == HD_SPEED_PREFILL && o->tokens != 0)
        rc = hd_fail(err, HD_E_CONFIG, "bench prefill takes no --tokens: it is about the prompt");
    o->prompt = o->prompt ? o->prompt : kinds[o->kind].prompt;
    o->tokens = o->tokens ? o->tokens : kinds[o->kind].tokens;
    return rc;
}

/* ---- Measuring ------------------------------------------------------------------------------*/
static int measure_all(struct hd_speed *s, size_t total, struct hd_error *err)
{
    size_t n = s->o->n_variants;
    for (size_t i = 0; i < total; i++) {
        struct hd_speed_run *run = &s->runs[s->n];
        *run = (struct hd_speed_run){.variant = i % n, .repeat = i / n};
        int rc = hd_speed_measure(s, run, err);
        if (rc < 0)
            hd_fail_in(err, "%llu workers", (unsigned long long)s->o->workers[run->variant]);
        if (rc != 0)
            return rc;
        s->n++;
        hd_speed_print_progress(s, total);
    }
    return 0;
}

static int write_all(const struct hd_speed *s, struct hd_error *err)
{
    char path[PATH_MAX + 16];
    const char *name = hd_speed_kind_name(s->o->kind);
    snprintf(path, sizeof path, "%s/%s.json", s->o->out, name);
    int rc = hd_speed_write_json(s, path, err);
    if (rc < 0)
        return rc;
    puts(path);
    snprintf(path, sizeof path, "%s/%s.csv", s->o->out, name);
    rc = hd_speed_write_csv(s, path, err);
    if (rc == 0)
        puts(path);
    return rc;
}

static int bench(const struct hd_speed_options *o, struct hd_error *err)
{
    size_t total = o->n_variants * o->repeat;
    struct hd_speed s = {.o = o, .runs = calloc(total, sizeof *s.runs)};
    int rc = s.runs ? 0 : hd_fail(err, HD_E_NOMEM, "out of memory");
    hd_bench_now(s.started);
    if (rc == 0)
        rc = hd_speed_weight_bytes(o->up.model, &s.weight_bytes, err);
    if (rc == 0)
        rc = measure_all(&s, total, err);
    if (rc == 0)
        hd_speed_print(&s);
    if (rc == 0 && o->out)
        rc = write_all(&s, err);
    free(s.runs);
    json_decref(s.model);
    return rc;
}

static int run(struct hd_speed_options *o, const char *model, struct hd_error *err)
{
    int rc = hd_up_set_model(&o->up, model, err);
    if (rc == 0 && o->out)
        rc = hd_make_folders(o->out, err);
    return rc == 0 ? bench(o, err) : rc;
}

int hd_speed_cmd(enum hd_speed_kind kind, int argc, char **argv)
{
    struct hd_speed_options o = {
        .kind = kind,
        .up = {.log_level = "error", .recovery = "reuse", .leader_args = HD_BENCH_LEADER_ARGS},
        .repeat = 3};
    const char *model = NULL, *workers = "1,2", *wires = hd_wires[HD_WIRE_EXACT];
    struct hd_error err = {0};
    const struct hd_arg args[] = {
        HD_ARG_MODEL(&model),
        {"--out", HD_ARG_STRING, &o.out, "DIR", "also writes the results there, as JSON and CSV"},
        {"--workers", HD_ARG_STRING, &workers, "LIST",
         "sizes of the cluster, default 1,2; they take turns"},
        {"--threads", HD_ARG_UINT, &o.up.threads, "N",
         "threads of each worker; default: this machine's cores shared out", 1, 1024},
        {"--wire", HD_ARG_STRING, &wires, "LIST",
         "exact (default), compact (compute.wire of the leader), or both in turn"},
        {"--prompt", HD_ARG_UINT, &o.prompt, "N", "tokens of the prompt, default 16; prefill: 512",
         1, INT32_MAX},
        {"--tokens", HD_ARG_UINT, &o.tokens, "N", "of an answer, default 64; not for prefill", 2,
         INT32_MAX},
        {"--repeat", HD_ARG_UINT, &o.repeat, "N", "default 3", 1, 1000},
        HD_ARG_LEADER_ARG(&o.up.leader_args),
        HD_ARG_WORKER_ARG(&o.up.worker_args),
        {NULL},
    };
    int rc = hd_cmd_args(argc, argv, args, NULL, kinds[kind].about);
    if (rc != 0)
        return hd_cmd_args_status(rc);
    if (check(&o, workers, wires, &err) < 0)
        return hd_complain(&err) + 1;
    rc = run(&o, model, &err);
    if (rc == HD_BENCH_INTERRUPTED) {
        fputs("hydac: interrupted; nothing was written\n", stderr);
        return HD_UP_INTERRUPTED;
    }
    return rc < 0 ? hd_complain(&err) : 0;
}
