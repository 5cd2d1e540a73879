/* test_speed_sum.c - what decode, prefill and net make of the counters. */
#include "leader/ctl/bench_speed.h"

#include <criterion/criterion.h>

static struct hd_speed_raw raw(void)
{
    return (struct hd_speed_raw){
        .prompt = 100,
        .tokens = 10,
        .prefill_ms = 50,
        .decode_ms = 40,
        .first = {[HD_COUNT_SINGLE_FLOPS] = 1000000,
                  [HD_COUNT_MANY_FLOPS] = 99000000,
                  [HD_COUNT_SINGLE_COMPUTE_US] = 1000,
                  [HD_COUNT_MANY_COMPUTE_US] = 39000},
        .rest = {[HD_COUNT_SINGLE_DONE] = 90,
                 [HD_COUNT_SINGLE_WAITED_US] = 36000,
                 [HD_COUNT_SINGLE_COMPUTE_US] = 27000,
                 [HD_COUNT_LEADER_US] = 3000,
                 [HD_COUNT_BYTES_DOWN] = 5000,
                 [HD_COUNT_BYTES_UP] = 20000},
        .heartbeat_ms = 0.25,
        .weight_bytes = 20000000,
        .bandwidth = 10e9,
    };
}

/* What each measurement makes of the counters above. */
static const struct {
    enum hd_speed_kind kind;
    int value;
    double wanted;
} accounts[] = {
    {HD_SPEED_DECODE, HD_SPEED_TOKEN_MS, 4},
    {HD_SPEED_DECODE, HD_SPEED_TOKENS_PER_SECOND, 250},
    {HD_SPEED_DECODE, HD_SPEED_COMPUTE_MS, 2.7},
    {HD_SPEED_DECODE, HD_SPEED_LEADER_MS, 0.3},
    {HD_SPEED_DECODE, HD_SPEED_WIRE_MS, 1},
    {HD_SPEED_DECODE, HD_SPEED_LEADER_WIRE_PERCENT, 32.5},
    {HD_SPEED_DECODE, HD_SPEED_BANDWIDTH_PERCENT, 50}, /* 5 of 10 GB/s */
    {HD_SPEED_PREFILL, HD_SPEED_TOKENS_PER_SECOND, 2000},
    {HD_SPEED_PREFILL, HD_SPEED_GFLOP_S, 2},
    {HD_SPEED_PREFILL, HD_SPEED_COMPUTE_PERCENT, 80},
    {HD_SPEED_NET, HD_SPEED_HALF_STEPS, 9},
    {HD_SPEED_NET, HD_SPEED_HALF_STEP_US, 400},
    {HD_SPEED_NET, HD_SPEED_HALF_WIRE_US, 100},
    {HD_SPEED_NET, HD_SPEED_HEARTBEAT_US, 250},
    {HD_SPEED_NET, HD_SPEED_BYTES_DOWN, 500},
    {HD_SPEED_NET, HD_SPEED_BYTES_UP, 2000},
};

Test(speed_sum, accounts)
{
    for (size_t i = 0; i < sizeof accounts / sizeof *accounts; i++) {
        struct hd_speed_raw r = raw();
        double v[HD_SPEED_VALUES] = {0};
        hd_speed_account(accounts[i].kind, &r, v);
        cr_expect_float_eq(v[accounts[i].value], accounts[i].wanted, 1e-9, "row %zu", i);
    }
}

/* The third answer's prompt may have cost the leader less than the second's. */
Test(speed_sum, nothing_is_below_zero)
{
    struct hd_speed_raw r = raw();
    double v[HD_SPEED_VALUES] = {0};
    r.rest[HD_COUNT_LEADER_US] = -200;
    r.rest[HD_COUNT_SINGLE_COMPUTE_US] = 50000;
    r.bandwidth = 0;
    hd_speed_account(HD_SPEED_DECODE, &r, v);
    cr_assert_eq(v[HD_SPEED_LEADER_MS], 0);
    cr_assert_eq(v[HD_SPEED_WIRE_MS], 0);
    cr_assert_eq(v[HD_SPEED_LEADER_WIRE_PERCENT], 0);
    cr_assert_eq(v[HD_SPEED_BANDWIDTH_PERCENT], 0);
}

Test(speed_sum, the_range_is_of_one_variant)
{
    struct hd_speed_run runs[6];
    struct hd_speed s = {.runs = runs, .n = 6};
    struct hd_speed_range r;
    static const double ms[] = {3, 30, 1, 10, 2, 20}; /* variants take turns */
    for (size_t i = 0; i < 6; i++)
        runs[i] = (struct hd_speed_run){.variant = i % 2, .values = {[HD_SPEED_TOKEN_MS] = ms[i]}};
    cr_assert_eq(hd_speed_range(&s, 1, HD_SPEED_TOKEN_MS, &r), 0);
    cr_assert_eq(r.min, 10);
    cr_assert_eq(r.median, 20);
    cr_assert_eq(r.max, 30);
}
