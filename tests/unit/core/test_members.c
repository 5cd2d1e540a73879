/* test_members.c - golden traces: who joins, who owns what, one step. */
#include "tests/unit/core/trace.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* Workers join until there are enough; the plan covers all of them. */
Test(core_members, first_plan)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"hello w1", "welcome w1; w1 online"},
        {"hello other 1", "reject model"},
        {"hello w1", "reject name"},
        {"hello w\n1", "reject name"},
        {"hello k\xc3\xbc"
         "che",
         "reject name"},
        {"hello w2", "welcome w2; w2 online; assign w1 e1 h0,1 f0,1 v0; assign w2 e1 h2,3 f2,3 v1"},
        {"kv w1 1 heads=0,1", ""},
        {"kv w2 1 heads=2,3", "ready"},
        {NULL, NULL},
    };
    trace_start(&t, 0, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* While the leader does not know yet what its model's bytes are workers join and are given nothing,
 * and those who go are not missed. */
Test(core_members, nothing_is_given_before_the_model_is_known)
{
    struct trace t;
    struct hd_core_options o = trace_options();
    static const struct trace_line lines[] = {
        {"hello w1", "welcome w1; w1 online"},
        {"hello w2", "welcome w2; w2 online"},
        {"tick 50", "beat w1; beat w2"},
        {"closed w2", "w2 offline closed"},
        {"hello w3", "welcome w3; w3 online"},
        {"known", "assign w1 e1 h0,1 f0,1 v0; assign w3 e1 h2,3 f2,3 v1"},
        {"kv w1 1 heads=0,1", ""},
        {"kv w3 1 heads=2,3", "ready"},
        {NULL, NULL},
    };
    o.wait_for_model = true;
    trace_start(&t, 0, &o);
    cr_assert_not_null(strstr(hd_core_reason(t.core), "reads its model's file"));
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* A step, half by half; attention goes to all, the rest to owners. */
Test(core_members, step)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"open 0", "open w1 s0; open w2 s0"},
        {"half 1 A 0 0:3", "send w1 e1; send w2 e1"},
        {"result w2 1 1 A 0", "use"},
        {"result w2 1 1 A 0", "drop"},
        {"result w1 1 1 A 0", "use; half done"},
        {"half 1 F 0 0:3", "send w1 e1; send w2 e1"},
        {"result w1 1 1 F 0", "use"},
        {"result w2 1 1 F 0", "use; half done"},
        {"half 1 A 1 0:3", "send w1 e1; send w2 e1"},
        {"result w1 1 1 A 1", "use"},
        {"result w2 1 1 A 1", "use; half done"},
        {"half 1 F 1 0:3", "send w1 e1; send w2 e1"},
        {"result w1 1 1 F 1", "use"},
        {"result w2 1 1 F 1", "use; half done"},
        {"half 1 L 2 0:3", "send w1 e1; send w2 e1"},
        {"result w1 1 1 L 0", "use"},
        {"result w2 1 1 L 0", "use; half done"},
        {"done", ""},
        {"close 0", "close w1 s0; close w2 s0"},
        {NULL, NULL},
    };
    trace_start(&t, 2, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* Late answers make a suspect, an answer clears it. */
Test(core_members, suspect_and_back)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"tick 50", "beat w1; beat w2"},
        {"ack w1", ""},
        {"ack w2", ""},
        {"tick 50", "beat w1; beat w2"},
        {"ack w1", ""},
        {"tick 50", "beat w1; beat w2"},
        {"ack w1", ""},
        {"tick 50", "w2 suspect; beat w1; beat w2"},
        {"ack w1", ""},
        {"ack w2", "w2 online"},
        {"tick 50", "beat w1; beat w2"},
        {NULL, NULL},
    };
    trace_start(&t, 2, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* Silence that is our own doing is excused. */
Test(core_members, own_lateness)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"tick 50", "beat w1; beat w2"},
        {"ack w1", ""},
        {"ack w2", ""},
        {"tick 1000 late 950", "beat w1; beat w2"},
        {"ack w1", ""},
        {"ack w2", ""},
        {NULL, NULL},
    };
    trace_start(&t, 2, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* Orphaned heads go to the worker whose log has everything. */
Test(core_members, preferred)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"open 0", "open w1 s0; open w2 s0; open w3 s0"},
        {"hello w4", "welcome w4; w4 online; fill w4 s0=0"},
        {"closed w3", "w3 offline closed; not ready; assign w1 e3 h0,1 f0 v0 s0=0; assign w2 e3 "
                      "h2,3 f2,3 s0=0; assign w4 e3 f1 v1 s0=0"},
        {NULL, NULL},
    };
    trace_start(&t, 3, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* Who joins while sequences live waits; the next ones are logged by it too. */
Test(core_members, spare)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"open 0", "open w1 s0; open w2 s0"},
        {"hello w3", "welcome w3; w3 online; fill w3 s0=0"},
        {"open 1", "open w1 s1; open w2 s1; open w3 s1"},
        {"half 1 A 0 0:1 1:1", "send w1 e1; send w2 e1; send w3 e1"},
        {"close 1", "close w1 s1; close w2 s1; close w3 s1"},
        {"closed w3", "w3 offline closed"},
        {"hello w3", "welcome w3; w3 online; fill w3 s0=0"},
        {NULL, NULL},
    };
    trace_start(&t, 2, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* Answers of an old epoch and of a worker that was cut off change nothing. */
Test(core_members, old_epoch)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"open 0", "open w1 s0; open w2 s0; open w3 s0"},
        {"half 1 A 0 0:1", "send w1 e2; send w2 e2; send w3 e2"},
        {"broke w2", "cut w2; w2 offline protocol; not ready; reset; assign w1 e3 h0,1 f0,2 v0 "
                     "s0=0+1@0; assign w3 e3 h2,3 f1,3 v1 s0=0+1@0"},
        {"result w1 2 1 A 0", "drop"},
        {"kv w1 2", ""},
        {"kv w3 3 heads=2", ""},
        {"kv w1 3", "ready; send w1 e3; send w3 e3"},
        {"result w1 2 1 A 0", "drop"},
        {"result w2 2 1 A 0", "drop"},
        {"ack w2", ""},
        {"kv w2 3", ""},
        {NULL, NULL},
    };
    trace_start(&t, 3, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* Who says that it cannot go on is lost at once, and comes back like any other. */
Test(core_members, gives_up)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"gave_up w2", "cut w2; w2 offline gave_up; not ready; assign w1 e3 h0,1 f0,2 v0; "
                       "assign w3 e3 h2,3 f1,3 v1"},
        {"kv w1 3", ""},
        {"kv w3 3", "ready; failover w2 gave_up e3 lost=1 reused=3 rebuilt=0 positions=0"},
        {"hello w2", "welcome w2; w2 online; prepare w2 e3 r2 +h3 +f2,3"},
        {NULL, NULL},
    };
    trace_start(&t, 3, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* A confirmation of what does not exist ends the connection. */
Test(core_members, nonsense)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"kv w1 7", "cut w1; w1 offline protocol; not ready; assign w2 e2 h0,1,2,3 f0,1,2,3 v0,1"},
        {"kv w2 2 heads=0,4", "cut w2; w2 offline protocol"},
        {NULL, NULL},
    };
    trace_start(&t, 2, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* The engine gives up: the step in hand goes with its sequences. */
Test(core_members, abandoned)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"open 0", "open w1 s0; open w2 s0"},         {"half 1 A 0 0:1", "send w1 e1; send w2 e1"},
        {"close 0", "close w1 s0; close w2 s0"},      {"open 1", "open w1 s1; open w2 s1"},
        {"half 2 A 0 1:1", "send w1 e1; send w2 e1"}, {NULL, NULL},
    };
    trace_start(&t, 2, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* Slots run out only when all of them are alive; a worker that is gone gives up its slot. */
Test(core_members, slots)
{
    struct trace t;
    char event[64];
    trace_start(&t, 0, NULL);
    for (unsigned i = 0; i < HD_MAX_WORKERS; i++) {
        snprintf(event, sizeof event, "hello n%u", i);
        trace_event(&t, event);
    }
    cr_assert_str_eq(trace_event(&t, "hello more"), "reject full");
    trace_event(&t, "closed n63");
    const char *welcome = "welcome more; more online";
    cr_assert(strncmp(trace_event(&t, "hello more"), welcome, strlen(welcome)) == 0);
    cr_assert_str_eq(trace_event(&t, "hello n63"), "reject full");
    trace_deinit(&t);
}

/* Who is gone keeps its name and totals for a while; then nothing is left but the log's line. */
Test(core_members, forgotten)
{
    static const struct trace_line back_in_time[] = {
        {"closed w3",
         "w3 offline closed; not ready; assign w1 e3 h0,1 f0,1 v0; assign w2 e3 h2,3 f2,3 v1"},
        {"tick 9000 late 8950", "beat w1; beat w2"},
        {"ack w1", ""},
        {"ack w2", ""},
        {"hello w3", "welcome w3; w3 online"},
        {0},
    };
    static const struct trace_line too_late[] = {
        {"closed w3", "w3 offline closed"},
        {"tick 9000 late 8950", "beat w1; beat w2"},
        {"ack w1", ""},
        {"ack w2", ""},
        {"tick 1000 late 950", "w3 forgotten; beat w1; beat w2"},
        {0},
    };
    static const struct trace_line everybody[] = {
        {"closed w1", "w1 offline closed; assign w2 e4 h0,1,2,3 f0,1,2,3 v0,1"},
        {"closed w2", "w2 offline closed"},
        {"tick 8999", ""},
        {"tick 1", "w1 forgotten; w2 forgotten"},
        {"hello w3", "welcome w3; w3 online; assign w3 e5 h0,1,2,3 f0,1,2,3 v0,1"},
        {0},
    };
    struct hd_core_options o = trace_options();
    struct hd_worker_view v;
    struct trace t;
    o.forget_after_us = 10000000;
    trace_start(&t, 3, &o);
    trace_play(&t, back_in_time);
    cr_assert(hd_core_worker(t.core, 2, t.now_us, &v) && v.joins == 2 && v.failures == 1);
    trace_play(&t, too_late);
    cr_assert_not(hd_core_worker(t.core, 2, t.now_us, &v));
    trace_play(&t, everybody);
    cr_assert(hd_core_worker(t.core, 0, t.now_us, &v) && v.joins == 1 && v.failures == 0);
    trace_deinit(&t);
}

Test(core_members, shares_follow_the_speeds_of_hello)
{
    static const struct trace_line lines[] = {
        {"hello w1 speed=3000000000", "welcome w1; w1 online"},
        {"hello w2 speed=1000000000", "welcome w2; w2 online; assign w1 e1 h0,1,2 f0,1,2 v0,1; "
                                      "assign w2 e1 h3 f3"},
        {0},
    };
    struct hd_core_options o = trace_options();
    struct hd_worker_view v;
    struct trace t;
    o.strategy = hd_strategy_find("weighted");
    trace_init(&t, &o);
    trace_play(&t, lines);
    cr_assert(hd_core_worker(t.core, 0, t.now_us, &v) && v.multiply_adds_per_s == 3000000000);
    trace_deinit(&t);
}

/* Links are measured before a plan is made that goes by them. */
Test(core_members, bandwidth_waits_for_a_round_trip)
{
    static const struct trace_line before[] = {
        {"hello w1", "welcome w1; w1 online"},
        {"hello w2", "welcome w2; w2 online"},
        {"tick 50", "beat w1; beat w2"},
        {"ack w2", ""},
        {0},
    };
    static const struct trace_line after[] = {
        {"ack w1", "assign w1 e1 h0,1 f0,1 v0; assign w2 e1 h2,3 f2,3 v1"},
        {0},
    };
    struct hd_core_options o = trace_options();
    struct trace t;
    o.strategy = hd_strategy_find("bandwidth");
    trace_init(&t, &o);
    trace_play(&t, before);
    cr_assert_str_eq(hd_core_reason(t.core), "waiting for the first heartbeat of w1");
    trace_play(&t, after);
    trace_deinit(&t);
}

/* The way of a large half-step's bytes is what neither computing nor the round trip explains. */
Test(core_members, rate_of_a_link)
{
    struct hd_worker_view v;
    struct trace t;
    struct hd_event ev = {.type = HD_EV_RESULT,
                          .result = {.epoch = 1, .bytes = 1000000, .compute_us = 700}};
    trace_start(&t, 2, NULL);
    trace_event(&t, "ack w1"); /* 300 us */
    trace_event(&t, "open 0");
    trace_event(&t, "half 1 A 0 0:1");
    t.now_us += 2000;
    ev.now_us = t.now_us;
    ev.result.step = 1;
    cr_assert(hd_core_step(t.core, &ev, &t.actions) == 0);
    cr_assert(hd_core_worker(t.core, 0, t.now_us, &v));
    cr_assert_float_eq(v.rate, 1e9, 1); /* 1 MB in 1 ms */
    trace_deinit(&t);
}

/* Both owners answer the half-step in hand; the second after a millisecond in all. */
static void answer_half(struct trace *t, enum hd_half half)
{
    struct hd_event ev = {.type = HD_EV_RESULT,
                          .result = {.epoch = 1, .step = 1, .half = half, .flops = 5}};
    static const uint64_t compute_us[2] = {700, 300};
    for (unsigned slot = 0; slot < 2; slot++) {
        t->now_us += 500;
        ev.now_us = t->now_us;
        ev.slot = slot;
        ev.result.compute_us = compute_us[slot];
        cr_assert(hd_core_step(t->core, &ev, &t->actions) == 0);
    }
    hd_actions_clear(&t->actions); /* nobody is there to perform them */
}

Test(core_members, half_steps_are_counted_by_what_their_steps_are)
{
    const struct hd_half_totals *single, *many;
    struct trace t;
    trace_start(&t, 2, NULL);
    single = hd_core_half_totals(t.core, true);
    many = hd_core_half_totals(t.core, false);
    trace_event(&t, "open 0");
    trace_event(&t, "half 1 A 0 0:1");
    answer_half(&t, HD_HALF_ATTENTION);
    cr_assert_eq(single->done, 1);
    cr_assert_eq(single->waited_us, 1000);
    cr_assert_eq(single->compute_us, 700, "of the slowest");
    cr_assert_eq(single->flops, 10, "of both");
    cr_assert_eq(many->done, 0);
    trace_event(&t, "half 1 F 0 0:3");
    answer_half(&t, HD_HALF_FFN);
    cr_assert_eq(single->done, 1);
    cr_assert_eq(many->done, 1);
    trace_deinit(&t);
}
