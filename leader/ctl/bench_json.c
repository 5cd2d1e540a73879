/* bench_json.c - results.json: every run with all that was measured, then a summary. */
#include "leader/ctl/bench.h"

#include "leader/ctl/files.h"

#include <stdlib.h>

static json_t *gaps_json(const struct hd_bench_gaps *g)
{
    json_t *list = json_array();
    for (size_t i = 0; i < g->n; i++)
        json_array_append_new(list, json_real(g->ms[i]));
    return list;
}

static json_t *parts_json(const struct hd_bench_run *r)
{
    json_t *o = json_object();
    char key[24];
    for (int i = 0; i < HD_BENCH_PARTS; i++) {
        snprintf(key, sizeof key, "%s_ms", hd_bench_part_names[i]);
        json_object_set_new(o, key, json_real(r->parts_ms[i]));
    }
    return o;
}

/* A counter. */
static void set(json_t *o, const char *key, uint64_t v)
{
    json_object_set_new(o, key, json_integer((json_int_t)v));
}

static void set_counters(json_t *o, const struct hd_bench_run *r)
{
    set(o, "workers", r->workers);
    set(o, "context", r->context);
    set(o, "repeat", r->repeat);
    set(o, "threads", r->threads);
    set(o, "tokens", r->n_tokens);
    set(o, "kill_after", r->kill_after);
    set(o, "positions", r->positions);
    set(o, "heads_lost", r->heads_lost);
    set(o, "heads_rebuilt", r->heads_rebuilt);
    set(o, "heads_reused", r->heads_reused);
    set(o, "rows_rebuilt", r->rows_rebuilt);
    set(o, "rows_kept", r->rows_kept);
    set(o, "rows_replayed", r->rows_replayed);
    set(o, "bytes", r->bytes);
    set(o, "flops", r->flops);
}

static json_t *run_json(const struct hd_bench_run *r)
{
    json_t *o =
        json_pack("{s:s, s:O, s:b, s:f, s:o, s:f, s:f, s:f, s:f}", "policy", r->policy, "lost",
                  r->lost, "identical", r->identical, "stall_ms", r->stall_ms, "parts",
                  parts_json(r), "token_ms_undisturbed", r->quiet_ms, "token_ms_before",
                  r->before_ms, "token_ms_loss", r->gap_ms, "token_ms_after", r->after_ms);
    set_counters(o, r);
    json_object_set_new(o, "gaps_ms", gaps_json(&r->loss));
    json_object_set_new(o, "gaps_undisturbed_ms", gaps_json(&r->quiet));
    json_object_set(o, "failovers", r->failovers);
    json_object_set(o, "memory_before", r->memory_before);
    json_object_set(o, "memory_after", r->memory_after);
    return o;
}

static json_t *group_json(const struct hd_bench *b, const struct hd_bench_group *g)
{
    json_t *o = json_pack("{s:I, s:I, s:s, s:I, s:b, s:I, s:{s:f, s:f, s:f}}", "workers",
                          (json_int_t)g->workers, "context", (json_int_t)g->context, "policy",
                          g->policy, "runs", (json_int_t)g->n, "identical", g->identical,
                          "median_run", (json_int_t)(g->median - b->runs), "stall_ms", "min",
                          g->min_ms, "median", g->median->stall_ms, "max", g->max_ms);
    if (g->speedup > 0)
        json_object_set_new(o, "speedup_over_full", json_real(g->speedup));
    return o;
}

static json_t *summary_json(const struct hd_bench *b)
{
    size_t n;
    struct hd_bench_group *groups = hd_bench_groups(b, &n);
    json_t *list = groups ? json_array() : NULL;
    for (size_t i = 0; groups && i < n; i++)
        json_array_append_new(list, group_json(b, &groups[i]));
    free(groups);
    return list;
}

int hd_bench_write_json(const struct hd_bench *b, const char *path, struct hd_error *err)
{
    json_t *runs = json_array(), *summary = summary_json(b);
    for (size_t i = 0; i < b->n; i++)
        json_array_append_new(runs, run_json(&b->runs[i]));
    json_t *v =
        json_pack("{s:s, s:s, s:{s:I}, s:O, s:I, s:o, s:o}", "measures", "failover", "started",
                  b->started, "machine", "cores", (json_int_t)b->cores, "model", b->model, "lost",
                  (json_int_t)b->o->lost, "summary", summary, "runs", runs);
    int rc = hd_write_json(path, v, err);
    json_decref(v);
    return rc;
}
