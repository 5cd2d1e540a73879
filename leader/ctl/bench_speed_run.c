/* bench_speed_run.c - one run: a cluster, three answers, the counters between them.
 *
 * Happy path: the cluster serves -> an answer of one token, to warm up -> the bandwidth -> status
 * -> one token -> status -> the whole answer -> status -> the bandwidth again.
 *
 * Failure modes: 1. the cluster cannot start or ends: its requests fail, the run does; 2. a signal:
 * likewise, HD_BENCH_INTERRUPTED; 3. a worker is lost: an error, as its answer is of two clusters.
 */
#include "leader/ctl/bench_speed.h"

#include "common/math/kernels.h"
#include "common/math/read_probe.h"
#include "common/model/arch.h"
#include "common/util/clock.h"
#include "leader/ctl/http.h"

#include <stdlib.h>

#define PASSES 7 /* of the bandwidth's probe, before and after the answer */

struct measurement {
    struct hd_speed *s;
    struct hd_speed_run *run;
    const char *url;
    json_int_t vocab;
    struct hd_speed_raw raw;
    struct hd_read_probe probe;
    struct hd_team *team;      /* NULL: the bandwidth is not asked for */
    double speeds[2 * PASSES]; /* bytes a second */
};

/* ---- The machine ----------------------------------------------------------------------------*/
static uint64_t packed_bytes(const struct hd_tensor *t)
{
    return hd_weights_bytes(t, &(struct hd_slice){.n_rows = t->rows, .n_cols = t->cols});
}

int hd_speed_weight_bytes(const char *path, uint64_t *bytes, struct hd_error *err)
{
    struct hd_model *m;
    int rc = hd_model_open(&m, path, err);
    if (rc < 0)
        return rc;
    *bytes = 0;
    for (enum hd_slot_id s = 0; s < HD_SLOTS; s++)
        for (uint32_t l = 0; l < hd_slot_layers(m, s) && hd_slot_is_units(s); l++)
            *bytes += packed_bytes(hd_slot_of(m, s, l));
    hd_model_close(m);
    return 0;
}

static int open_probe(struct measurement *m, struct hd_error *err)
{
    struct hd_team_options o = {.threads = (unsigned)hd_speed_threads(m->s->o, m->run->variant),
                                .name = "probe"};
    if (m->s->o->kind != HD_SPEED_DECODE)
        return 0;
    int rc = hd_read_probe_init(&m->probe);
    if (rc == 0)
        rc = hd_team_new(&m->team, &o);
    return rc < 0 ? hd_fail(err, rc, "no memory or threads to measure the bandwidth") : 0;
}

static void close_probe(struct measurement *m)
{
    hd_team_free(m->team);
    hd_read_probe_deinit(&m->probe);
}

static void measure_bandwidth(struct measurement *m, double *speeds)
{
    if (!m->team)
        return;
    hd_read_probe_pass(&m->probe, m->team); /* wakes the threads */
    for (int i = 0; i < PASSES; i++) {
        uint64_t start = hd_now_us();
        hd_read_probe_pass(&m->probe, m->team);
        speeds[i] = (double)HD_READ_PROBE_BYTES * 1e6 / (double)(hd_now_us() - start);
    }
}

/* ---- Answers --------------------------------------------------------------------------------*/
static int on_data(void *arg, long status, const char *data, size_t len)
{
    return fwrite(data, 1, len, arg) == len ? 0 : HD_E_NOMEM;
}

/* The answer's object. */
static int post(const struct measurement *m, const char *body, json_t **answer,
                struct hd_error *err)
{
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    struct hd_http_post p = {
        .base = m->url, .path = "/v1/completions", .body = body, .on_data = on_data, .arg = f};
    if (!f)
        return hd_fail(err, HD_E_NOMEM, "out of memory");
    int rc = hd_http_post(&p, err);
    if (fclose(f) != 0 && rc == 0)
        rc = hd_fail(err, HD_E_NOMEM, "out of memory");
    *answer = rc == 0 ? json_loadb(text, len, 0, NULL) : NULL;
    free(text);
    return rc;
}

/* Times of the answer, if it is what was asked for. */
static int take_answer(struct measurement *m, const json_t *answer, uint64_t tokens,
                       struct hd_error *err)
{
    const json_t *extra = json_object_get(answer, "hydac");
    const json_t *timings = json_object_get(extra, "timings");
    const char *error =
        json_string_value(json_object_get(json_object_get(answer, "error"), "message"));
    size_t n = json_array_size(json_object_get(extra, "tokens"));
    if (error)
        return hd_fail(err, HD_E_IO, "%s", error);
    if (n < tokens)
        return hd_fail(err, HD_E_IO, "the answer ended after %zu of %llu tokens", n,
                       (unsigned long long)tokens);
    if (json_array_size(json_object_get(extra, "failovers")) > 0)
        return hd_fail(err, HD_E_STATE, "a worker was lost during the measurement");
    m->raw.prefill_ms = json_number_value(json_object_get(timings, "prefill_ms"));
    m->raw.decode_ms = json_number_value(json_object_get(timings, "decode_ms"));
    bool timed = m->raw.prefill_ms > 0 && (tokens == 1 || m->raw.decode_ms > 0);
    return timed ? 0 : hd_fail(err, HD_E_IO, "the leader did not tell the times of its answer");
}

static int ask(struct measurement *m, uint64_t tokens, struct hd_error *err)
{
    struct hd_bench_request r = {
        .prompt = m->s->o->prompt, .tokens = tokens, .seed = m->run->repeat, .vocab = m->vocab};
    json_t *answer = NULL;
    char *body = hd_bench_request_text(&r);
    int rc = body ? post(m, body, &answer, err) : hd_fail(err, HD_E_NOMEM, "out of memory");
    if (rc == 0)
        rc = take_answer(m, answer, tokens, err);
    json_decref(answer);
    free(body);
    return rc;
}

/* ---- Counters -------------------------------------------------------------------------------*/
static void count_half_steps(const json_t *o, int64_t *done)
{
    static const char *const keys[] = {"done", "waited_us", "compute_us", "flops"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        done[i] = hd_bench_integer(o, keys[i]);
}

static void count_workers(struct measurement *m, const json_t *workers, int64_t *c)
{
    c[HD_COUNT_BYTES_DOWN] = c[HD_COUNT_BYTES_UP] = 0;
    m->raw.heartbeat_ms = 0;
    for (size_t i = 0; i < json_array_size(workers); i++) {
        const json_t *w = json_array_get(workers, i);
        double rtt_ms = json_number_value(json_object_get(w, "rtt_ms"));
        c[HD_COUNT_BYTES_DOWN] += hd_bench_integer(w, "bytes_out");
        c[HD_COUNT_BYTES_UP] += hd_bench_integer(w, "bytes_in");
        m->raw.heartbeat_ms = rtt_ms > m->raw.heartbeat_ms ? rtt_ms : m->raw.heartbeat_ms;
    }
}

static int learn_model(struct measurement *m, struct hd_error *err)
{
    json_t *status = NULL;
    int rc = hd_bench_get_status(m->url, &status, err);
    json_t *model = json_object_get(status, "model");
    m->vocab = hd_bench_integer(model, "vocab");
    if (!m->s->model)
        m->s->model = json_incref(model);
    json_decref(status);
    return rc;
}

static int count(struct measurement *m, int64_t c[HD_SPEED_COUNTERS], struct hd_error *err)
{
    json_t *status = NULL;
    int rc = hd_bench_get_status(m->url, &status, err);
    if (rc < 0)
        return rc;
    const json_t *half_steps = json_object_get(json_object_get(status, "cluster"), "half_steps");
    count_half_steps(json_object_get(half_steps, "decode"), &c[HD_COUNT_SINGLE_DONE]);
    count_half_steps(json_object_get(half_steps, "prefill"), &c[HD_COUNT_MANY_DONE]);
    c[HD_COUNT_LEADER_US] = hd_bench_integer(json_object_get(status, "engine"), "leader_us");
    count_workers(m, json_object_get(status, "workers"), c);
    json_decref(status);
    return 0;
}

/* ---- The run --------------------------------------------------------------------------------*/
/* An answer of so many tokens and what it added. */
static int counted(struct measurement *m, uint64_t tokens, int64_t added[HD_SPEED_COUNTERS],
                   struct hd_error *err)
{
    int64_t before[HD_SPEED_COUNTERS], after[HD_SPEED_COUNTERS];
    int rc = count(m, before, err);
    if (rc == 0)
        rc = ask(m, tokens, err);
    if (rc == 0)
        rc = count(m, after, err);
    for (int i = 0; rc == 0 && i < HD_SPEED_COUNTERS; i++)
        added[i] = after[i] - before[i];
    return rc;
}

static int measure(struct measurement *m, struct hd_error *err)
{
    int64_t *first = m->raw.first, *rest = m->raw.rest;
    uint64_t tokens = m->s->o->tokens;
    int rc = ask(m, 1, err); /* warms up */
    if (rc < 0)
        return rc;
    measure_bandwidth(m, m->speeds);
    rc = counted(m, 1, first, err);
    if (rc == 0 && tokens > 1)
        rc = counted(m, tokens, rest, err);
    if (rc < 0)
        return rc;
    for (int i = 0; tokens > 1 && i < HD_SPEED_COUNTERS; i++)
        rest[i] -= first[i];
    measure_bandwidth(m, m->speeds + PASSES);
    m->raw.bandwidth = m->team ? hd_bench_median(m->speeds, 2 * PASSES) : 0;
    return 0;
}

static int client(void *arg, struct hd_up *u, struct hd_error *err)
{
    struct measurement *m = arg;
    m->url = hd_up_url(u);
    int rc = learn_model(m, err);
    if (rc == 0)
        rc = open_probe(m, err);
    if (rc == 0)
        rc = measure(m, err);
    close_probe(m);
    return rc;
}

int hd_speed_measure(struct hd_speed *s, struct hd_speed_run *run, struct hd_error *err)
{
    const struct hd_speed_options *o = s->o;
    struct measurement m = {.s = s, .run = run};
    struct hd_bench_client c = {.run = client, .arg = &m};
    struct hd_up_options up = o->up;
    up.workers = o->workers[run->variant];
    up.threads = o->threads[run->variant];
    up.wire = o->wires[run->variant];
    m.raw.prompt = o->prompt;
    m.raw.tokens = o->tokens - 1;
    m.raw.weight_bytes = s->weight_bytes;
    int rc = hd_bench_on_cluster(&up, &c, err);
    if (rc == 0)
        hd_speed_account(o->kind, &m.raw, run->values);
    return rc;
}
