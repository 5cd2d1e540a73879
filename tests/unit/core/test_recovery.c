/* test_recovery.c - golden traces: losses at every moment, and what follows. */
#include "tests/unit/core/trace.h"

#include <criterion/criterion.h>

/* The survivors get the lost heads and the half-step is asked for again. */
Test(core_recovery, loss_in_attention)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"open 0", "open w1 s0; open w2 s0; open w3 s0"},
        {"half 1 A 0 0:5", "send w1 e2; send w2 e2; send w3 e2"},
        {"result w1 2 1 A 0", "use"},
        {"closed w2", "w2 offline closed; not ready; reset; assign w1 e3 h0,1 f0,2 v0 s0=0+5@0; "
                      "assign w3 e3 h2,3 f1,3 v1 s0=0+5@0"},
        {"kv w3 3 heads=2 rows=10 kept=7", ""},
        {"result w1 2 1 A 0", "drop"},
        {"kv w1 3", "ready; send w1 e3; send w3 e3"},
        {"result w3 3 1 A 0", "use"},
        {"result w1 3 1 A 0",
         "use; failover w2 closed e3 lost=1 reused=3 rebuilt=1 positions=5; half done"},
        {NULL, NULL},
    };
    trace_start(&t, 3, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* Who claims to have rebuilt a head that is another's is not believed anything. */
Test(core_recovery, heads_of_another)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"closed w2", "w2 offline closed; not ready; assign w1 e3 h0,1 f0,2 v0; "
                      "assign w3 e3 h2,3 f1,3 v1"},
        {"kv w1 3 heads=2", "cut w1; w1 offline protocol; assign w3 e4 h0,1,2,3 f0,1,2,3 v0,1"},
        {NULL, NULL},
    };
    trace_start(&t, 3, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* Layers that are done need the rows of the step in hand. */
Test(core_recovery, loss_in_ffn)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"open 0", "open w1 s0; open w2 s0; open w3 s0"},
        {"half 1 A 0 0:5", "send w1 e2; send w2 e2; send w3 e2"},
        {"result w1 2 1 A 0", "use"},
        {"result w2 2 1 A 0", "use"},
        {"result w3 2 1 A 0", "use; half done"},
        {"half 1 F 0 0:5", "send w1 e2; send w2 e2; send w3 e2"},
        {"result w3 2 1 F 0", "use"},
        {"closed w3", "w3 offline closed; not ready; reset; assign w1 e3 h0,1 f0,1 v0 s0=0+5@1; "
                      "assign w2 e3 h2,3 f2,3 v1 s0=0+5@1"},
        {"kv w1 3", ""},
        {"kv w2 3 heads=3 rows=5", "ready; send w1 e3; send w2 e3"},
        {"result w1 3 1 F 0", "use"},
        {"result w2 3 1 F 0",
         "use; failover w3 closed e3 lost=1 reused=3 rebuilt=1 positions=5; half done"},
        {NULL, NULL},
    };
    trace_start(&t, 3, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* After the last layer all of them hold the rows. */
Test(core_recovery, loss_in_logits)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"open 0", "open w1 s0; open w2 s0"},
        {"half 1 A 0 0:2", "send w1 e1; send w2 e1"},
        {"result w1 1 1 A 0", "use"},
        {"result w2 1 1 A 0", "use; half done"},
        {"half 1 L 0 0:2", "send w1 e1; send w2 e1"},
        {"closed w1",
         "w1 offline closed; not ready; reset; assign w2 e2 h0,1,2,3 f0,1,2,3 v0,1 s0=0+2@2"},
        {"kv w2 2 heads=0,1", "ready; send w2 e2"},
        {"result w2 2 1 L 0",
         "use; failover w1 closed e2 lost=2 reused=2 rebuilt=2 positions=2; half done"},
        {"done", ""},
        {"half 2 A 0 0:1", "send w2 e2"},
        {NULL, NULL},
    };
    trace_start(&t, 2, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* Without a half-step in hand the report ends when all have confirmed. */
Test(core_recovery, loss_between_steps)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"open 0", "open w1 s0; open w2 s0"},
        {"half 1 A 0 0:2", "send w1 e1; send w2 e1"},
        {"result w1 1 1 A 0", "use"},
        {"result w2 1 1 A 0", "use; half done"},
        {"done", ""},
        {"closed w2", "w2 offline closed; not ready; assign w1 e2 h0,1,2,3 f0,1,2,3 v0,1 s0=2"},
        {"kv w1 2 heads=2,3", "ready; failover w2 closed e2 lost=2 reused=2 rebuilt=2 positions=2"},
        {NULL, NULL},
    };
    trace_start(&t, 2, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* Another epoch; what was confirmed for the old one is not enough. */
Test(core_recovery, loss_while_assigning)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"open 0", "open w1 s0; open w2 s0; open w3 s0"},
        {"closed w2", "w2 offline closed; not ready; assign w1 e3 h0,1 f0,2 v0 s0=0; assign w3 e3 "
                      "h2,3 f1,3 v1 s0=0"},
        {"kv w3 3", ""},
        {"closed w3", "w3 offline closed; assign w1 e4 h0,1,2,3 f0,1,2,3 v0,1 s0=0"},
        {"kv w1 3 heads=2", ""},
        {"kv w1 4 heads=3", "ready; failover w2 closed e3 lost=1 reused=3 rebuilt=1 positions=0; "
                            "failover w3 closed e4 lost=2 reused=2 rebuilt=1 positions=0"},
        {NULL, NULL},
    };
    trace_start(&t, 3, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* One epoch for losses seen by one tick, one report each. */
Test(core_recovery, two_lost_at_once)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"open 0", "open w1 s0; open w2 s0; open w3 s0"},
        {"half 1 A 0 0:2", "send w1 e2; send w2 e2; send w3 e2"},
        {"tick 50", "beat w1; beat w2; beat w3"},
        {"ack w1", ""},
        {"tick 50", "beat w1; beat w2; beat w3"},
        {"ack w1", ""},
        {"tick 50", "w2 suspect; w3 suspect; beat w1; beat w2; beat w3"},
        {"ack w1", ""},
        {"tick 50", "beat w1; beat w2; beat w3"},
        {"ack w1", ""},
        {"tick 50",
         "cut w2; w2 offline silent; cut w3; w3 offline silent; beat w1; not ready; reset; "
         "assign w1 e3 h0,1,2,3 f0,1,2,3 v0,1 s0=0+2@0"},
        {"kv w1 3 heads=2,3", "ready; send w1 e3"},
        {"result w1 3 1 A 0",
         "use; failover w2 silent e3 lost=1 reused=2 rebuilt=1 positions=2; "
         "failover w3 silent e3 lost=1 reused=2 rebuilt=1 positions=2; half done"},
        {NULL, NULL},
    };
    trace_start(&t, 3, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* Nobody is left: wait, then start the sequences again. */
Test(core_recovery, all_lost)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"open 3", "open w1 s3; open w2 s3"},
        {"half 1 A 0 3:2", "send w1 e1; send w2 e1"},
        {"closed w1",
         "w1 offline closed; not ready; reset; assign w2 e2 h0,1,2,3 f0,1,2,3 v0,1 s3=0+2@0"},
        {"closed w2", "w2 offline closed"},
        {"half 1 A 0 3:2", ""},
        {"hello w2",
         "welcome w2; w2 online; replay 8; assign w2 e3 h0,1,2,3 f0,1,2,3 v0,1 s3=replayed"},
        {"kv w2 3 heads=0,1,2,3", "ready"},
        {"half 2 A 0 3:2", "send w2 e3"},
        {"result w2 3 2 A 0", "use; half done"},
        {"done", "failover w1 closed e2 lost=2 reused=2 rebuilt=2 positions=2; "
                 "failover w2 closed e3 lost=4 reused=0 rebuilt=4 positions=2"},
        {NULL, NULL},
    };
    trace_start(&t, 2, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* A log with a gap means a replay of that sequence and of no other. */
Test(core_recovery, gap)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"open 0", "open w1 s0; open w2 s0"},
        {"half 1 A 0 0:9", "send w1 e1; send w2 e1"},
        {"result w1 1 1 A 0", "use"},
        {"result w2 1 1 A 0", "use; half done"},
        {"done", ""},
        {"hello w3", "welcome w3; w3 online; fill w3 s0=9"},
        {"open 1", "open w1 s1; open w2 s1; open w3 s1"},
        {"half 2 A 0 0:1 1:4", "send w1 e1; send w2 e1; send w3 e1"},
        {"closed w2", "w2 offline closed; not ready; reset; "
                      "assign w1 e2 h0,1,2,3 f0,1 v0 s0=9+1@0 s1=0+4@0; "
                      "assign w3 e2 f2,3 v1 s0=9+1@0 s1=0+4@0"},
        {"kv w3 2", ""},
        {"kv w1 2 heads=2,3", "ready; send w1 e2; send w3 e2"},
        {"closed w1", "w1 offline closed; not ready; reset; "
                      "assign w3 e3 h0,1,2,3 f0,1,2,3 v0,1 s0=9+1@0 s1=0+4@0"},
        {"kv w3 3 heads=0,1,2,3 gaps=0",
         "replay 1; assign w3 e4 h0,1,2,3 f0,1,2,3 v0,1 s0=replayed s1=0"},
        {"half 3 A 0 0:10 1:4", ""},
        {"kv w3 4", "ready; send w3 e4"},
        {"result w3 4 3 A 0", "use; half done"},
        {"done", "failover w2 closed e2 lost=2 reused=2 rebuilt=2 positions=14; "
                 "failover w1 closed e3 lost=4 reused=0 rebuilt=4 positions=14"},
        {NULL, NULL},
    };
    trace_start(&t, 2, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* The traditional way: all of them forget, all sequences start again. */
Test(core_recovery, full)
{
    struct hd_core_options o = trace_options();
    struct trace t;
    static const struct trace_line lines[] = {
        {"open 0", "open w1 s0; open w2 s0"},
        {"half 1 A 0 0:9", "send w1 e1; send w2 e1"},
        {"result w1 1 1 A 0", "use"},
        {"result w2 1 1 A 0", "use; half done"},
        {"done", ""},
        {"half 2 A 0 0:1", "send w1 e1; send w2 e1"},
        {"closed w1", "w1 offline closed; not ready; reset; replay 1; "
                      "assign w2 e2 h0,1,2,3 f0,1,2,3 v0,1 clear s0=replayed"},
        {"kv w2 2 heads=0,1", "ready"},
        {"half 3 A 0 0:9", "send w2 e2"},
        {"result w2 2 3 A 0", "use; half done"},
        {"done", ""},
        {"half 4 L 0 0:1", "send w2 e2"},
        {"result w2 2 4 L 0",
         "use; failover w1 closed e2 lost=2 reused=0 rebuilt=2 positions=10; half done"},
        {NULL, NULL},
    };
    o.policy = &hd_policies[HD_POLICY_FULL];
    trace_start(&t, 2, &o);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* Who answers heartbeats and nothing else is lost as well. */
Test(core_recovery, deadlines)
{
    struct hd_core_options o = trace_options();
    struct trace t;
    static const struct trace_line lines[] = {
        {"hello w1", "welcome w1; w1 online"},
        {"hello w2", "welcome w2; w2 online; assign w1 e1 h0,1 f0,1 v0; assign w2 e1 h2,3 f2,3 v1"},
        {"kv w1 1 heads=0,1", ""},
        {"tick 100", "beat w1; beat w2"},
        {"ack w1", ""},
        {"ack w2", ""},
        {"tick 30", "cut w2; w2 offline deadline; beat w1; assign w1 e2 h0,1,2,3 f0,1,2,3 v0,1"},
        {"kv w1 2 heads=2,3",
         "ready; failover w2 deadline e2 lost=2 reused=2 rebuilt=2 positions=0"},
        {"open 0", "open w1 s0"},
        {"half 1 A 0 0:1", "send w1 e2"},
        {"tick 100", "beat w1"},
        {"ack w1", ""},
        {"tick 30 late 25", "beat w1"},
        {"ack w1", ""},
        {"tick 50", "cut w1; w1 offline deadline; not ready; reset"},
        {NULL, NULL},
    };
    o.step_deadline_us = o.assign_deadline_us = 120000;
    trace_start(&t, 0, &o);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* Who fetches weights gets on and is not lost, but not with more requests than it can need; who
 * waits beside it is not excused by it. */
Test(core_recovery, fetching_weights)
{
    struct hd_core_options o = trace_options();
    struct trace t;
    static const struct trace_line lines[] = {
        {"hello w1", "welcome w1; w1 online"},
        {"hello w2", "welcome w2; w2 online; assign w1 e1 h0,1 f0,1 v0; assign w2 e1 h2,3 f2,3 v1"},
        {"weights w1", ""},
        {"tick 100", "beat w1; beat w2"},
        {"weights w1", ""},
        {"ack w2", ""},
        {"tick 30", "cut w2; w2 offline deadline; beat w1; assign w1 e2 h0,1,2,3 f0,1,2,3 v0,1"},
        {"weights w1", ""},
        {"tick 100", "beat w1"},
        {"weights w1", ""},
        {"tick 100", "beat w1"},
        {"weights w1", ""},
        {"tick 100", "cut w1; w1 offline deadline"},
        {NULL, NULL},
    };
    o.step_deadline_us = o.assign_deadline_us = 120000;
    o.max_weights_requests = 2;
    trace_start(&t, 0, &o);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* The numbers of a report: whose last sign of life, how long, how much. */
Test(core_recovery, numbers)
{
    struct trace t;
    trace_start(&t, 3, NULL);
    trace_event(&t, "open 0");
    trace_event(&t, "half 1 A 0 0:5");
    t.now_us += 40000;
    trace_event(&t, "closed w2");
    t.now_us += 7000;
    trace_event(&t, "kv w3 3 heads=2 rows=10 kept=20");
    trace_event(&t, "kv w1 3 rows=3 kept=5");
    trace_event(&t, "result w1 3 1 A 0");
    t.now_us += 2000;
    trace_event(&t, "result w3 3 1 A 0");
    cr_assert(t.failover.rows_rebuilt == 13 && t.failover.rows_kept == 25);
    cr_assert(t.failover.detect_ms == 40 && t.failover.plan_ms == 0);
    cr_assert(t.failover.retry_ms == 2 && t.failover.stall_ms == 49);
    struct hd_worker_view v;
    cr_assert(hd_core_worker(t.core, 1, t.now_us, &v));
    cr_assert(v.state == HD_WORKER_OFFLINE && v.failures == 1 && v.success_rate == 0);
    cr_assert(hd_core_worker(t.core, 0, t.now_us, &v));
    cr_assert(v.state == HD_WORKER_ONLINE && v.steps == 1 && v.success_rate == 1);
    trace_deinit(&t);
}

/* The reason is a sentence for a person; READY has none. */
Test(core_recovery, reasons)
{
    struct trace t;
    trace_start(&t, 0, NULL);
    cr_assert_str_eq(hd_core_reason(t.core), "waiting for workers: 0 of 2");
    trace_event(&t, "hello w1");
    cr_assert_str_eq(hd_core_reason(t.core), "waiting for workers: 1 of 2");
    trace_event(&t, "hello w2");
    cr_assert_str_eq(hd_core_reason(t.core), "epoch 1 is not confirmed yet by w1, w2");
    trace_event(&t, "kv w1 1");
    trace_event(&t, "kv w2 1");
    cr_assert_str_eq(hd_core_reason(t.core), "");
    trace_event(&t, "closed w1");
    trace_event(&t, "closed w2");
    cr_assert_str_eq(hd_core_reason(t.core), "waiting for workers: 0 of 1");
    trace_deinit(&t);
}
