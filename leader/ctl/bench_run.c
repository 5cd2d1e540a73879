/* bench_run.c - one measurement.
 *
 * Happy path: the cluster serves (and, with standby copies, every unit has one) -> its status
 * (model, who owns heads) -> the undisturbed answer, during which the status tells the memory ->
 * the same request; after a third of the answer the workers are killed; near the end the status
 * tells the memory again -> the counters from the answer's last event.
 *
 * Failure modes: 1. the cluster cannot start or ends: its requests fail, the job does; 2. a signal:
 * likewise, HD_BENCH_INTERRUPTED; 3. the answer ended before the loss was noticed: an error, as
 * there is nothing to report. */
#include "leader/ctl/bench.h"

#include "common/util/clock.h"
#include "leader/ctl/events.h"
#include "leader/ctl/http.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COPIES_WAIT_MS 600000 /* for standby copies of all units */
#define COPIES_POLL_MS 50

struct measurement {
    const struct hd_bench_job *job;
    struct hd_bench_run *run;
    json_t **model;
    struct hd_up *up;
    uint64_t victims; /* bit i: worker i + 1 */
};

/* One streamed answer. */
struct stream {
    struct measurement *m;
    struct hd_events events;
    int64_t *tokens; /* [o.tokens] */
    uint64_t *at_us; /* [o.tokens] when it came */
    size_t n, max;
    uint64_t kill; /* who dies after run.kill_after tokens */
    size_t probe_at;
    uv_thread_t probe; /* asks for the status without holding up the stream */
    bool probing;
    json_t *status;
    json_t *failovers;
    char error[400];
};

/* ---- Memory ---------------------------------------------------------------------------------*/
/* Counted by the worker when asked; a heartbeat's number would be older. */
static json_int_t kv_bytes_of(const json_t *cache)
{
    const json_t *layers = json_object_get(cache, "layers");
    json_int_t sum = 0;
    for (size_t i = 0; i < json_array_size(layers); i++) {
        const json_t *heads = json_array_get(layers, i);
        for (size_t k = 0; k < json_array_size(heads); k++)
            sum += hd_bench_integer(json_array_get(heads, k), "bytes");
    }
    return sum;
}

static json_t *memory_of(const json_t *status)
{
    const json_t *workers = json_object_get(status, "workers");
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(workers); i++) {
        const json_t *w = json_array_get(workers, i), *cache = json_object_get(w, "cache");
        if (!cache) /* gone */
            continue;
        json_array_append_new(
            list, json_pack("{s:O, s:O, s:I, s:I, s:I, s:I}", "name", json_object_get(w, "name"),
                            "heads", json_object_get(w, "heads"), "kv_bytes", kv_bytes_of(cache),
                            "log_bytes", hd_bench_integer(w, "log_bytes"), "log_rows",
                            hd_bench_integer(cache, "log_rows"), "rss_bytes",
                            hd_bench_integer(w, "rss_bytes")));
    }
    return list;
}

static void probe(void *arg)
{
    struct stream *s = arg;
    struct hd_error err; /* memory stays unknown */
    hd_bench_get_status(hd_up_url(s->m->up), &s->status, &err);
}

static void end_probe(struct stream *s)
{
    if (s->probing)
        uv_thread_join(&s->probe);
    s->probing = false;
}

/* ---- A streamed answer ----------------------------------------------------------------------*/
static void take_tokens(struct stream *s, const json_t *list)
{
    uint64_t now = hd_now_us();
    for (size_t i = 0; i < json_array_size(list) && s->n < s->max; i++) {
        s->tokens[s->n] = json_integer_value(json_array_get(list, i));
        s->at_us[s->n++] = now;
    }
    if (s->kill && s->n >= s->m->run->kill_after) {
        hd_up_kill(s->m->up, s->kill);
        s->kill = 0;
    }
    if (s->probe_at && s->n >= s->probe_at) {
        s->probing = uv_thread_create(&s->probe, probe, s) == 0;
        s->probe_at = 0;
    }
}

static void on_event(void *arg, const json_t *event)
{
    struct stream *s = arg;
    const json_t *extra = json_object_get(event, "hydac");
    json_t *failovers = json_object_get(extra, "failovers");
    const char *error =
        json_string_value(json_object_get(json_object_get(event, "error"), "message"));
    take_tokens(s, json_object_get(extra, "tokens"));
    if (json_is_array(failovers)) {
        json_decref(s->failovers);
        s->failovers = json_incref(failovers);
    }
    if (error)
        snprintf(s->error, sizeof s->error, "%s", error);
}

static int on_data(void *arg, long status, const char *data, size_t len)
{
    struct stream *s = arg;
    return hd_events_feed(&s->events, status, data, len);
}

/* A refusal is one object instead of a stream. */
static void take_refusal(struct stream *s)
{
    json_t *v = s->events.n > 0 ? json_loadb(s->events.buf, s->events.n, 0, NULL) : NULL;
    if (v)
        on_event(s, v);
    json_decref(v);
}

static int ask(struct stream *s, const char *body, struct hd_error *err)
{
    struct hd_http_post p = {.base = hd_up_url(s->m->up),
                             .path = "/v1/completions",
                             .body = body,
                             .on_data = on_data,
                             .arg = s};
    s->events = (struct hd_events){.on_event = on_event, .arg = s};
    s->max = s->m->job->o->tokens;
    s->tokens = calloc(s->max, sizeof *s->tokens);
    s->at_us = calloc(s->max, sizeof *s->at_us);
    if (!s->tokens || !s->at_us)
        return hd_fail(err, HD_E_NOMEM, "out of memory");
    int rc = hd_http_post(&p, err);
    end_probe(s);
    if (rc < 0)
        return rc;
    take_refusal(s);
    if (*s->error)
        return hd_fail(err, HD_E_IO, "%s", s->error);
    if (s->n < s->max)
        return hd_fail(err, HD_E_IO, "the answer ended after %zu of %zu tokens", s->n, s->max);
    return 0;
}

static void stream_deinit(struct stream *s)
{
    hd_events_deinit(&s->events);
    json_decref(s->status);
    json_decref(s->failovers);
    free(s->tokens);
    free(s->at_us);
}

static int gaps_of(const struct stream *s, struct hd_bench_gaps *g, struct hd_error *err)
{
    g->ms = calloc(s->n, sizeof *g->ms);
    if (!g->ms)
        return hd_fail(err, HD_E_NOMEM, "out of memory");
    for (g->n = 0; g->n + 1 < s->n; g->n++)
        g->ms[g->n] = (double)(s->at_us[g->n + 1] - s->at_us[g->n]) / 1e3;
    return 0;
}

/* ---- The measurement ------------------------------------------------------------------------*/
/* The worker with most heads that is not chosen yet; by name among equals, so that the same number
 * of heads is lost in every run. */
static const json_t *next_victim(const json_t *workers, uint64_t chosen)
{
    const json_t *best = NULL;
    size_t best_heads = 0;
    for (uint64_t number = 1; number <= json_array_size(workers); number++) {
        char name[16];
        snprintf(name, sizeof name, "w%u", (unsigned)number);
        for (size_t i = 0; i < json_array_size(workers); i++) {
            const json_t *w = json_array_get(workers, i);
            const char *w_name = json_string_value(json_object_get(w, "name"));
            size_t heads = json_array_size(json_object_get(w, "heads"));
            if (!w_name || strcmp(w_name, name) != 0 || chosen >> (number - 1) & 1)
                continue;
            if (!best || heads > best_heads) {
                best = w;
                best_heads = heads;
            }
        }
    }
    return best;
}

static int choose_victims(struct measurement *m, const json_t *status, struct hd_error *err)
{
    const json_t *workers = json_object_get(status, "workers");
    m->run->lost = json_array();
    for (uint64_t i = 0; i < m->job->o->lost; i++) {
        const json_t *w = next_victim(workers, m->victims);
        if (!w)
            return hd_fail(err, HD_E_STATE, "fewer workers than started are in the cluster");
        json_t *name = json_object_get(w, "name");
        m->victims |= UINT64_C(1) << (strtoul(json_string_value(name) + 1, NULL, 10) - 1);
        json_array_append(m->run->lost, name);
    }
    return 0;
}

static int compare(struct measurement *m, const struct stream *quiet, const struct stream *loss,
                   struct hd_error *err)
{
    struct hd_bench_run *r = m->run;
    r->n_tokens = loss->n;
    r->identical = quiet->n == loss->n &&
                   memcmp(quiet->tokens, loss->tokens, loss->n * sizeof *loss->tokens) == 0;
    r->failovers = json_incref(loss->failovers);
    r->memory_before = memory_of(quiet->status);
    r->memory_after = memory_of(loss->status);
    if (json_array_size(r->failovers) < m->job->o->lost)
        return hd_fail(err, HD_E_STATE,
                       "the answer ended before the loss was noticed; ask for a longer one "
                       "(--tokens)");
    int rc = gaps_of(quiet, &r->quiet, err);
    if (rc == 0)
        rc = gaps_of(loss, &r->loss, err);
    if (rc == 0)
        hd_bench_account_gaps(r);
    if (rc == 0 && hd_bench_account(r) < 0)
        rc = hd_fail(err, HD_E_FORMAT, "the leader's report of the recovery is incomplete");
    return rc;
}

static int two_answers(struct measurement *m, const char *body, struct hd_error *err)
{
    struct hd_bench_run *r = m->run;
    size_t tokens = m->job->o->tokens;
    r->kill_after = tokens / 3;
    struct stream quiet = {.m = m, .probe_at = r->kill_after};
    struct stream loss = {.m = m, .kill = m->victims, .probe_at = tokens - tokens / 6};
    int rc = ask(&quiet, body, err);
    if (rc == 0)
        rc = ask(&loss, body, err);
    if (rc == 0)
        rc = compare(m, &quiet, &loss, err);
    stream_deinit(&quiet);
    stream_deinit(&loss);
    return rc;
}

/* With standby copies: until every unit has one. Without: there is nothing to wait for. */
static int wait_for_copies(struct measurement *m, struct hd_error *err)
{
    for (unsigned i = 0; i < COPIES_WAIT_MS / COPIES_POLL_MS; i++) {
        json_t *status = NULL;
        int rc = hd_bench_get_status(hd_up_url(m->up), &status, err);
        if (rc < 0)
            return rc;
        const json_t *moves = json_object_get(json_object_get(status, "cluster"), "moves");
        bool ready = json_is_false(json_object_get(moves, "moving")) &&
                     hd_bench_integer(moves, "units_without_copy") == 0;
        json_decref(status);
        if (ready)
            return 0;
        usleep(COPIES_POLL_MS * 1000);
    }
    return hd_fail(err, HD_E_STATE, "the standby copies were not ready in time");
}

static int client(void *arg, struct hd_up *u, struct hd_error *err)
{
    struct measurement *m = arg;
    json_t *status = NULL;
    m->up = u;
    int rc = wait_for_copies(m, err);
    if (rc == 0)
        rc = hd_bench_get_status(hd_up_url(m->up), &status, err);
    if (rc < 0)
        return rc;
    json_t *model = json_object_get(status, "model");
    /* Repeats differ, policies do not. */
    char *body =
        hd_bench_request_text(&(struct hd_bench_request){.prompt = m->job->context,
                                                         .tokens = m->job->o->tokens,
                                                         .seed = m->job->repeat,
                                                         .vocab = hd_bench_integer(model, "vocab"),
                                                         .stream = true});
    rc = body ? choose_victims(m, status, err) : hd_fail(err, HD_E_NOMEM, "out of memory");
    if (!*m->model)
        *m->model = json_incref(model);
    json_decref(status);
    if (rc == 0)
        rc = two_answers(m, body, err);
    free(body);
    return rc;
}

int hd_bench_measure(const struct hd_bench_job *job, struct hd_bench_run *run, json_t **model,
                     struct hd_error *err)
{
    struct measurement m = {.job = job, .run = run, .model = model};
    struct hd_bench_client c = {.run = client, .arg = &m};
    struct hd_up_options up = job->o->up;
    up.workers = job->workers;
    up.recovery = job->policy;
    if (up.threads == 0)
        up.threads = hd_up_share_of_cores(job->workers);
    *run = (struct hd_bench_run){.workers = job->workers,
                                 .context = job->context,
                                 .repeat = job->repeat,
                                 .threads = up.threads,
                                 .policy = job->policy};
    return hd_bench_on_cluster(&up, &c, err);
}
