/* test_bench_sum.c - what a measurement makes of the leader's reports. */
#include "leader/ctl/bench.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static json_t *report(double stall, double weights, double rebuild)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:i, s:i, s:i, s:i}", "detect_ms", 2.0,
                     "plan_ms", 1.0, "weights_ms", weights, "rebuild_ms", rebuild, "retry_ms", 3.0,
                     "stall_ms", stall, "heads_lost", 2, "heads_rebuilt", 2, "heads_reused", 4,
                     "rows_rebuilt", 100);
}

static double sum_of_parts(const struct hd_bench_run *r)
{
    double sum = 0;
    for (int i = 0; i < HD_BENCH_PARTS; i++) {
        cr_assert_geq(r->parts_ms[i], 0);
        sum += r->parts_ms[i];
    }
    return sum;
}

Test(bench_sum, what_no_part_names_is_other)
{
    struct hd_bench_run r = {.failovers = json_pack("[o]", report(20, 4, 5))};
    cr_assert_eq(hd_bench_account(&r), 0);
    cr_assert_eq(r.stall_ms, 20);
    cr_assert_eq(r.parts_ms[HD_BENCH_WEIGHTS], 4);
    cr_assert_eq(r.parts_ms[HD_BENCH_REBUILD], 5);
    cr_assert_eq(r.parts_ms[HD_BENCH_OTHER], 5);
    cr_assert_eq(sum_of_parts(&r), 20);
    hd_bench_run_deinit(&r);
}

Test(bench_sum, parts_of_two_survivors_never_pass_the_stall)
{
    struct hd_bench_run r = {.failovers = json_pack("[o]", report(12, 4, 5))};
    cr_assert_eq(hd_bench_account(&r), 0);
    cr_assert_eq(r.parts_ms[HD_BENCH_REBUILD], 5);
    cr_assert_eq(r.parts_ms[HD_BENCH_WEIGHTS], 1);
    cr_assert_eq(r.parts_ms[HD_BENCH_OTHER], 0);
    cr_assert_eq(sum_of_parts(&r), 12);
    hd_bench_run_deinit(&r);
}

Test(bench_sum, of_several_losses_the_longest_stall_counts)
{
    struct hd_bench_run r = {.failovers = json_pack("[o, o]", report(20, 4, 5), report(30, 4, 5))};
    cr_assert_eq(hd_bench_account(&r), 0);
    cr_assert_eq(r.stall_ms, 30);
    cr_assert_eq(r.heads_lost, 4);
    cr_assert_eq(r.heads_rebuilt, 4);
    cr_assert_eq(r.heads_reused, 4);
    cr_assert_eq(r.rows_rebuilt, 100, "they share the recovery");
    hd_bench_run_deinit(&r);
}

Test(bench_sum, no_report_is_an_error)
{
    struct hd_bench_run r = {.failovers = json_array()};
    cr_assert_eq(hd_bench_account(&r), HD_E_FORMAT);
    json_array_append_new(r.failovers, json_pack("{s:n}", "stall_ms"));
    cr_assert_eq(hd_bench_account(&r), HD_E_FORMAT);
    hd_bench_run_deinit(&r);
}

Test(bench_sum, median)
{
    const double list[] = {5, 1, 9, 3};
    cr_assert_eq(hd_bench_median(list, 0), 0);
    cr_assert_eq(hd_bench_median(list, 1), 5);
    cr_assert_eq(hd_bench_median(list, 3), 5);
    cr_assert_eq(hd_bench_median(list, 4), 4);
    cr_assert_eq(list[0], 5, "the list keeps its order");
}

Test(bench_sum, the_spike_is_looked_for_after_the_kill)
{
    double ms[] = {50, 2, 2, 8, 3, 3, 3};
    double quiet[] = {2, 2, 1};
    struct hd_bench_run r = {
        .kill_after = 3, .quiet = {.ms = quiet, .n = 3}, .loss = {.ms = ms, .n = 7}};
    hd_bench_account_gaps(&r);
    cr_assert_eq(r.quiet_ms, 2);
    cr_assert_eq(r.before_ms, 26, "tokens 2 and 3");
    cr_assert_eq(r.gap_ms, 8);
    cr_assert_eq(r.after_ms, 3);
    r.kill_after = 9; /* a stream that ended before */
    hd_bench_account_gaps(&r);
    cr_assert_eq(r.gap_ms, 0);
    cr_assert_eq(r.after_ms, 0);
}

Test(bench_sum, a_group_shows_a_run_of_its_own)
{
    struct hd_bench_options o = {.workers = {2, 3},
                                 .contexts = {64},
                                 .policies = {"reuse", "full"},
                                 .n_workers = 2,
                                 .n_contexts = 1,
                                 .n_policies = 2};
    static const double stalls[] = {4, 40, 2, 50, 3, 30, 1, 60}; /* policies in turns */
    struct hd_bench_run runs[8];
    struct hd_bench b = {.o = &o, .runs = runs, .n = 8};
    for (size_t i = 0; i < 8; i++)
        runs[i] = (struct hd_bench_run){.workers = i < 6 ? 2 : 3,
                                        .context = 64,
                                        .policy = o.policies[i % 2],
                                        .identical = i != 7,
                                        .stall_ms = stalls[i]};
    size_t n;
    struct hd_bench_group *g = hd_bench_groups(&b, &n);
    cr_assert_eq(n, 4);
    cr_assert_eq(g[0].n, 3);
    cr_assert_eq(g[0].median, &runs[4]);
    cr_assert_eq(g[0].min_ms, 2);
    cr_assert_eq(g[0].max_ms, 4);
    cr_assert_eq(g[1].median, &runs[1]);
    cr_assert_float_eq(g[0].speedup, 40.0 / 3, 1e-12);
    cr_assert_eq(g[1].speedup, 1);
    cr_assert_eq(g[2].median, &runs[6]);
    cr_assert_eq(g[2].speedup, 60);
    cr_assert(g[2].identical && !g[3].identical);
    free(g);
}
