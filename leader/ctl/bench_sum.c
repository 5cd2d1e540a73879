/* bench_sum.c - the numbers of a run and of the runs of a combination. Pure. */
#include "leader/ctl/bench.h"

#include <stdlib.h>
#include <string.h>

const char *const hd_bench_part_names[HD_BENCH_PARTS] = {"detect",  "plan",  "weights",
                                                         "rebuild", "retry", "other"};

void hd_bench_run_deinit(struct hd_bench_run *r)
{
    json_decref(r->lost);
    json_decref(r->failovers);
    json_decref(r->memory_before);
    json_decref(r->memory_after);
    free(r->quiet.ms);
    free(r->loss.ms);
    *r = (struct hd_bench_run){0};
}

static double real_of(const json_t *v, const char *key)
{
    return json_number_value(json_object_get(v, key));
}

static uint64_t count_of(const json_t *v, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(v, key));
}

static const json_t *longest(const json_t *failovers)
{
    const json_t *best = NULL;
    for (size_t i = 0; i < json_array_size(failovers); i++) {
        const json_t *f = json_array_get(failovers, i);
        if (!best || real_of(f, "stall_ms") > real_of(best, "stall_ms"))
            best = f;
    }
    return best;
}

/* The leader reports the slowest loading and the slowest rebuild; they may be of two survivors, so
 * together longer than the wait for either. No part gets more than is left of the stall. */
static void split(struct hd_bench_run *r, const json_t *f)
{
    static const struct {
        enum hd_bench_part part;
        const char *key;
    } order[] = {
        {HD_BENCH_DETECT, "detect_ms"},   {HD_BENCH_PLAN, "plan_ms"},
        {HD_BENCH_RETRY, "retry_ms"},     {HD_BENCH_REBUILD, "rebuild_ms"},
        {HD_BENCH_WEIGHTS, "weights_ms"},
    };
    double left = r->stall_ms;
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        double ms = real_of(f, order[i].key);
        ms = ms < left ? ms : left;
        r->parts_ms[order[i].part] = ms;
        left -= ms;
    }
    r->parts_ms[HD_BENCH_OTHER] = left;
}

int hd_bench_account(struct hd_bench_run *r)
{
    const json_t *f = longest(r->failovers);
    if (!f || !json_is_number(json_object_get(f, "stall_ms")))
        return HD_E_FORMAT;
    r->stall_ms = real_of(f, "stall_ms");
    split(r, f);
    r->positions = count_of(f, "positions");
    r->heads_reused = count_of(f, "heads_reused");
    r->rows_kept = count_of(f, "rows_kept");
    r->rows_replayed = count_of(f, "rows_replayed");
    r->rows_rebuilt = count_of(f, "rows_rebuilt");
    r->bytes = count_of(f, "bytes");
    r->flops = count_of(f, "flops");
    r->heads_lost = r->heads_rebuilt = 0;
    for (size_t i = 0; i < json_array_size(r->failovers); i++) {
        r->heads_lost += count_of(json_array_get(r->failovers, i), "heads_lost");
        r->heads_rebuilt += count_of(json_array_get(r->failovers, i), "heads_rebuilt");
    }
    return 0;
}

/* ---- Medians --------------------------------------------------------------------------------*/
static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double hd_bench_median(const double *list, size_t n)
{
    double *copy = n > 0 ? malloc(n * sizeof *copy) : NULL;
    if (!copy)
        return 0;
    memcpy(copy, list, n * sizeof *copy);
    qsort(copy, n, sizeof *copy, by_value);
    double v = n % 2 ? copy[n / 2] : (copy[n / 2 - 1] + copy[n / 2]) / 2;
    free(copy);
    return v;
}

void hd_bench_account_gaps(struct hd_bench_run *r)
{
    const struct hd_bench_gaps *g = &r->loss;
    size_t first = r->kill_after > 0 ? r->kill_after - 1 : 0; /* the gap after the kill */
    size_t spike = first;
    for (size_t i = first; i < g->n; i++)
        if (g->ms[i] > g->ms[spike])
            spike = i;
    r->quiet_ms = hd_bench_median(r->quiet.ms, r->quiet.n);
    r->before_ms = hd_bench_median(g->ms, first < g->n ? first : g->n);
    r->gap_ms = spike < g->n ? g->ms[spike] : 0;
    r->after_ms = spike + 1 < g->n ? hd_bench_median(g->ms + spike + 1, g->n - spike - 1) : 0;
}

/* ---- Groups ---------------------------------------------------------------------------------*/
static bool belongs(const struct hd_bench_group *g, const struct hd_bench_run *r)
{
    return r->workers == g->workers && r->context == g->context && r->policy == g->policy;
}

/* How many runs of the group stalled less; equal ones count by their order. */
static size_t rank(const struct hd_bench *b, const struct hd_bench_group *g, size_t i)
{
    size_t n = 0;
    for (size_t k = 0; k < b->n; k++)
        if (belongs(g, &b->runs[k]) && (b->runs[k].stall_ms < b->runs[i].stall_ms ||
                                        (b->runs[k].stall_ms == b->runs[i].stall_ms && k < i)))
            n++;
    return n;
}

static void fill(const struct hd_bench *b, struct hd_bench_group *g)
{
    g->identical = true;
    for (size_t i = 0; i < b->n; i++) {
        const struct hd_bench_run *r = &b->runs[i];
        if (!belongs(g, r))
            continue;
        g->min_ms = g->n == 0 || r->stall_ms < g->min_ms ? r->stall_ms : g->min_ms;
        g->max_ms = r->stall_ms > g->max_ms ? r->stall_ms : g->max_ms;
        g->identical = g->identical && r->identical;
        g->n++;
    }
    for (size_t i = 0; i < b->n; i++)
        if (belongs(g, &b->runs[i]) && rank(b, g, i) == (g->n - 1) / 2)
            g->median = &b->runs[i];
}

/* groups: of one combination of workers and context. */
static void compare(struct hd_bench_group *groups, size_t n)
{
    const struct hd_bench_group *full = NULL;
    for (size_t i = 0; i < n; i++)
        if (strcmp(groups[i].policy, "full") == 0)
            full = &groups[i];
    for (size_t i = 0; full && i < n; i++)
        if (groups[i].median->stall_ms > 0)
            groups[i].speedup = full->median->stall_ms / groups[i].median->stall_ms;
}

struct hd_bench_group *hd_bench_groups(const struct hd_bench *b, size_t *n)
{
    const struct hd_bench_options *o = b->o;
    *n = o->n_workers * o->n_contexts * o->n_policies;
    struct hd_bench_group *list = calloc(*n, sizeof *list);
    if (!list)
        return NULL;
    for (size_t i = 0; i < *n; i++) {
        size_t combination = i / o->n_policies;
        list[i].workers = o->workers[combination / o->n_contexts];
        list[i].context = o->contexts[combination % o->n_contexts];
        list[i].policy = o->policies[i % o->n_policies];
        fill(b, &list[i]);
        if ((i + 1) % o->n_policies == 0)
            compare(&list[i + 1 - o->n_policies], o->n_policies);
    }
    return list;
}
