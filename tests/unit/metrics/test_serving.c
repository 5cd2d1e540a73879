/* What is counted where, in seconds. */
#include "leader/metrics/recoveries.h"
#include "leader/metrics/serving.h"

#include <criterion/criterion.h>
#include <math.h>

Test(serving, an_answer_of_three_tokens)
{
    struct hd_serving s;
    hd_serving_init(&s);
    hd_serving_started(&s, 1000000, 1500000);
    hd_serving_token(&s, 1000000, 0, 2000000);
    hd_serving_token(&s, 1000000, 2000000, 2250000);
    hd_serving_token(&s, 1000000, 2250000, 2500000);
    hd_serving_ended(&s, HD_OUTCOME_STOP, 1000000, 3000000);
    cr_assert_eq(s.queue.sum, 0.5);
    cr_assert_eq(s.first_token.sum, 1);
    cr_assert_eq(hd_histogram_count(&s.first_token), 1);
    cr_assert_eq(s.inter_token.sum, 0.5);
    cr_assert_eq(hd_histogram_count(&s.inter_token), 2);
    cr_assert_eq(s.request.sum, 2);
    cr_assert_eq(s.outcomes[HD_OUTCOME_STOP], 1);
    cr_assert_eq(s.outcomes[HD_OUTCOME_ERROR], 0);
}

Test(serving, nobody_counts)
{
    hd_serving_started(NULL, 1, 2);
    hd_serving_token(NULL, 1, 0, 2);
    hd_serving_ended(NULL, HD_OUTCOME_ABORT, 1, 2);
}

Test(serving, a_clock_that_stands_still_gives_no_huge_time)
{
    struct hd_serving s;
    hd_serving_init(&s);
    hd_serving_token(&s, 5, 5, 4);
    cr_assert_eq(s.inter_token.sum, 0);
    cr_assert_eq(hd_histogram_count(&s.inter_token), 1);
}

Test(recoveries, by_cause)
{
    struct hd_recoveries r;
    const struct hd_failover closed = {.cause = HD_LOSS_CLOSED,
                                       .heads_lost = 2,
                                       .heads_rebuilt = 1,
                                       .heads_reused = 4,
                                       .rows_rebuilt = 10,
                                       .rows_kept = 40,
                                       .detect_ms = 2,
                                       .stall_ms = 50};
    const struct hd_failover silent = {
        .cause = HD_LOSS_SILENT, .rows_replayed = 7, .detect_ms = 250, .stall_ms = NAN};
    hd_recoveries_init(&r);
    hd_recoveries_add(&r, &closed);
    hd_recoveries_add(&r, &closed);
    hd_recoveries_add(&r, &silent);
    cr_assert_eq(hd_histogram_count(&r.detect[HD_LOSS_CLOSED]), 2);
    cr_assert_float_eq(r.stall[HD_LOSS_CLOSED].sum, 0.1, 1e-12);
    cr_assert_eq(r.detect[HD_LOSS_SILENT].sum, 0.25);
    cr_assert_eq(hd_histogram_count(&r.stall[HD_LOSS_SILENT]), 0);
    cr_assert_eq(hd_histogram_count(&r.detect[HD_LOSS_DEADLINE]), 0);
    cr_assert_eq(r.heads_lost, 4);
    cr_assert_eq(r.heads_rebuilt, 2);
    cr_assert_eq(r.heads_reused, 8);
    cr_assert_eq(r.rows_rebuilt, 20);
    cr_assert_eq(r.rows_kept, 80);
    cr_assert_eq(r.rows_replayed, 7);
}
