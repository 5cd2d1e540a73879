/* bench_speed_sum.c - what is made of a run's counters, and of the runs of a variant. Pure. */
#include "leader/ctl/bench_speed.h"

#include <stdlib.h>

/* Counters that two answers differ by may come out a little below nothing. */
static double per(int64_t count, double n)
{
    return count > 0 && n > 0 ? (double)count / n : 0;
}

static double positive(double v)
{
    return v > 0 ? v : 0;
}

static void account_decode(const struct hd_speed_raw *raw, double *v)
{
    double tokens = (double)raw->tokens, ms = raw->decode_ms / tokens;
    double compute = per(raw->rest[HD_COUNT_SINGLE_COMPUTE_US], tokens) / 1e3;
    double leader = per(raw->rest[HD_COUNT_LEADER_US], tokens) / 1e3;
    v[HD_SPEED_TOKENS_PER_SECOND] = 1e3 / ms;
    v[HD_SPEED_TOKEN_MS] = ms;
    v[HD_SPEED_COMPUTE_MS] = compute;
    v[HD_SPEED_LEADER_MS] = leader;
    v[HD_SPEED_WIRE_MS] = positive(ms - compute - leader);
    v[HD_SPEED_LEADER_WIRE_PERCENT] = positive(100 * (1 - compute / ms));
    v[HD_SPEED_BANDWIDTH_GB_S] = raw->bandwidth / 1e9;
    v[HD_SPEED_WEIGHT_BYTES] = (double)raw->weight_bytes;
    v[HD_SPEED_BANDWIDTH_PERCENT] =
        raw->bandwidth > 0 ? 100 * (double)raw->weight_bytes * (1e3 / ms) / raw->bandwidth : 0;
}

static void account_prefill(const struct hd_speed_raw *raw, double *v)
{
    const int64_t *c = raw->first;
    double flops = (double)(c[HD_COUNT_SINGLE_FLOPS] + c[HD_COUNT_MANY_FLOPS]);
    int64_t compute = c[HD_COUNT_SINGLE_COMPUTE_US] + c[HD_COUNT_MANY_COMPUTE_US];
    v[HD_SPEED_TOKENS_PER_SECOND] = 1e3 * (double)raw->prompt / raw->prefill_ms;
    v[HD_SPEED_PREFILL_MS] = raw->prefill_ms;
    v[HD_SPEED_FLOPS] = flops;
    v[HD_SPEED_GFLOP_S] = flops / raw->prefill_ms / 1e6;
    v[HD_SPEED_COMPUTE_PERCENT] = 100 * per(compute, 1e3 * raw->prefill_ms);
}

static void account_net(const struct hd_speed_raw *raw, double *v)
{
    double tokens = (double)raw->tokens, done = (double)raw->rest[HD_COUNT_SINGLE_DONE];
    v[HD_SPEED_HALF_STEPS] = per(raw->rest[HD_COUNT_SINGLE_DONE], tokens);
    v[HD_SPEED_HALF_STEP_US] = per(raw->rest[HD_COUNT_SINGLE_WAITED_US], done);
    v[HD_SPEED_HALF_COMPUTE_US] = per(raw->rest[HD_COUNT_SINGLE_COMPUTE_US], done);
    v[HD_SPEED_HALF_WIRE_US] = positive(v[HD_SPEED_HALF_STEP_US] - v[HD_SPEED_HALF_COMPUTE_US]);
    v[HD_SPEED_HEARTBEAT_US] = raw->heartbeat_ms * 1e3;
    v[HD_SPEED_BYTES_DOWN] = per(raw->rest[HD_COUNT_BYTES_DOWN], tokens);
    v[HD_SPEED_BYTES_UP] = per(raw->rest[HD_COUNT_BYTES_UP], tokens);
    v[HD_SPEED_TOKEN_MS] = raw->decode_ms / tokens;
}

void hd_speed_account(enum hd_speed_kind kind, const struct hd_speed_raw *raw,
                      double values[HD_SPEED_VALUES])
{
    static void (*const account[HD_SPEED_KINDS])(const struct hd_speed_raw *, double *) = {
        [HD_SPEED_DECODE] = account_decode,
        [HD_SPEED_PREFILL] = account_prefill,
        [HD_SPEED_NET] = account_net,
    };
    account[kind](raw, values);
}

int hd_speed_range(const struct hd_speed *s, size_t variant, enum hd_speed_value value,
                   struct hd_speed_range *out)
{
    double *list = calloc(s->n, sizeof *list);
    size_t n = 0;
    if (!list)
        return HD_E_NOMEM;
    for (size_t i = 0; i < s->n; i++) {
        double v = s->runs[i].values[value];
        if (s->runs[i].variant != variant)
            continue;
        out->min = n == 0 || v < out->min ? v : out->min;
        out->max = n == 0 || v > out->max ? v : out->max;
        list[n++] = v;
    }
    out->median = hd_bench_median(list, n);
    free(list);
    return 0;
}
