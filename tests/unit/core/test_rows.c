/* test_rows.c - golden traces: K/V rows that several workers have computed are compared. */
#include "tests/unit/core/trace.h"

#include <criterion/criterion.h>

#include <string.h>

static struct hd_audit_totals play(unsigned standby, const struct trace_line *lines)
{
    struct trace t;
    struct hd_core_options o = trace_options();
    o.trust = (struct hd_trust_options){.deadline_us = 1000000, .quarantine_us = 600000000};
    o.standby = standby;
    o.policy = &hd_policies[standby ? HD_POLICY_STANDBY : HD_POLICY_REUSE];
    trace_start(&t, 0, &o);
    trace_play(&t, lines);
    struct hd_audit_totals totals = *hd_core_audit_totals(t.core);
    trace_deinit(&t);
    return totals;
}

/* w1 and w2 serve sequence 0 (5 positions) and 1 (1); w2 is drained, and its heads move to w1. */
#define TWO                                                                                        \
    {"hello w1", "welcome w1; w1 online"}, {"hello w2", "welcome w2; w2 online; " FIRST},          \
        {"kv w1 1 heads=0,1", ""}, {"kv w2 1 heads=2,3", "ready"},                                 \
        {"open 0", "open w1 s0; open w2 s0"}, {"open 1", "open w1 s1; open w2 s1"},                \
        {"half 1 A 0 0:5 1:1", "send w1 e1; send w2 e1"}, {"result w1 1 1 A 0", "use"},            \
        {"result w2 1 1 A 0", "use; half done"}, {"done", ""},                                     \
        {"drain w2 on", "prepare w1 e1 r1 +h2,3 +f2,3 +v1 s0=5 s1=1"},                             \
    {                                                                                              \
        "kv w1 1 round=1", "not ready; assign w1 e2 h0,1,2,3 f0,1,2,3 v0,1 s0=5 s1=1; "            \
                           "assign w2 e2 s0=5 s1=1"                                                \
    }
#define FIRST "assign w1 e1 h0,1 f0,1 v0; assign w2 e1 h2,3 f2,3 v1"

/* The old owner has them still. What only one of them has is not compared. */
Test(core_rows, of_a_head_that_moves)
{
    static const struct trace_line lines[] = {
        TWO,
        {"kv w1 2 heads=2,3 ready=2,3 rows:0:0=7 rows:0:2=8 rows:0:3=9 rows:1:2=5", ""},
        {"kv w2 2 rows:0:2=8 rows:0:3=9", "ready"},
        {NULL, NULL},
    };
    struct hd_audit_totals t = play(0, lines);
    cr_assert_eq(t.rows_equal, 2);
    cr_assert_eq(t.rows_unequal, 0);
}

/* Nobody can say who of two is right: the sequence begins anew, and its answer is marked. The other
 * one goes on. */
Test(core_rows, two_that_differ)
{
    static const struct trace_line lines[] = {
        TWO,
        {"kv w1 2 heads=2,3 ready=2,3 rows:0:2=8 rows:1:2=5", ""},
        {"kv w2 2 rows:0:2=6 rows:1:2=5",
         "rows differ w1 w2 s1; replay 1; assign w1 e3 h0,1,2,3 f0,1,2,3 v0,1 s0=replayed s1=1; "
         "assign w2 e3 s0=replayed s1=1"},
        {"kv w1 3 rows:1:2=5", ""},
        {"kv w2 3 rows:1:2=5", "ready"},
        {NULL, NULL},
    };
    struct hd_audit_totals t = play(0, lines);
    cr_assert_eq(t.rows_equal, 2);
    cr_assert_eq(t.rows_unequal, 1);
    cr_assert_eq(t.wrong, 0);
}

/* Before the epoch is confirmed by all, and after it, nothing is compared with anything. */
Test(core_rows, of_another_epoch)
{
    static const struct trace_line lines[] = {
        TWO,
        {"kv w2 1 rows:0:2=6", ""}, /* of the epoch before */
        {"kv w1 2 heads=2,3 ready=2,3 rows:0:2=8", ""},
        {"kv w2 2", "ready"},
        {"kv w2 2 rows:0:2=6", ""}, /* once more */
        {NULL, NULL},
    };
    struct hd_audit_totals t = play(0, lines);
    cr_assert_eq(t.rows_equal + t.rows_unequal, 0);
}

/* Rows of a step that was given up may be of other inputs than the log has. */
Test(core_rows, of_a_sequence_that_is_unsure)
{
    static const struct trace_line lines[] = {
        TWO,
        {"kv w1 2 heads=2,3 ready=2,3", ""},
        {"kv w2 2", "ready"},
        {"half 2 A 0 0:1", "send w1 e2; send w2 e2"},
        {"abandoned", ""},
        {"drain w2 off", "prepare w2 e2 r2 +h2,3 +f2,3 +v1 s0=5 s1=1"},
        {"kv w2 2 round=2", "not ready; assign w1 e3 h0,1 f0,1 v0 s0=5 s1=1; "
                            "assign w2 e3 h2,3 f2,3 v1 s0=5 s1=1"},
        {"kv w1 3 rows:0:2=8 rows:1:2=3", ""},
        {"kv w2 3 heads=2,3 ready=2,3 rows:0:2=6 rows:1:2=3", "ready"},
        {NULL, NULL},
    };
    struct hd_audit_totals t = play(0, lines);
    cr_assert_eq(t.rows_equal, 1);
    cr_assert_eq(t.rows_unequal, 0);
}

Test(core_rows, of_what_does_not_exist)
{
    static const struct trace_line lines[] = {
        TWO,
        {"kv w1 2 heads=2,3 ready=2,3 rows:0:4=8",
         "cut w1; w1 offline protocol; assign w2 e3 h0,1,2,3 f0,1,2,3 v0,1 s0=5 s1=1"},
        {NULL, NULL},
    };
    play(0, lines);
}
