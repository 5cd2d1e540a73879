/* test_trust.c - golden traces: who is let in, and memory that fails. */
#include "tests/unit/core/trace.h"

#include <criterion/criterion.h>
#include <string.h>

static struct hd_core_options strict(bool self_test)
{
    struct hd_core_options o = trace_options();
    o.trust = (struct hd_trust_options){.deadline_us = 1000000,
                                        .quarantine_us = 600000000,
                                        .drain_after = 3,
                                        .self_test = self_test,
                                        .self_test_digest = 7};
    return o;
}

static void play(unsigned workers, const struct trace_line *lines)
{
    struct trace t;
    struct hd_core_options o = strict(workers == 0);
    trace_start(&t, workers, &o);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* Who joins does not count until it gave the known answer; who gives another is refused. */
Test(core_trust, known_answer)
{
    static const struct trace_line lines[] = {
        {"hello w1", "welcome w1; w1 online; test w1"},
        {"hello w2", "welcome w2; w2 online; test w2"},
        {"hello w1", "reject name"},
        {"tested w1 7", ""},
        {"tested w2 7", "assign w1 e1 h0,1 f0,1 v0; assign w2 e1 h2,3 f2,3 v1"},
        {"kv w1 1 heads=0,1", ""},
        {"kv w2 1 heads=2,3", "ready"},
        {"hello w3", "welcome w3; w3 online; test w3"},
        {"tested w3 8", "wrong w3 since 1000; cut w3 with a word; w3 offline wrong"},
        {"hello w3", "reject wrong"},
        {NULL, NULL},
    };
    play(0, lines);
}

/* Who gives none is lost; who is to stop may go at once. */
Test(core_trust, no_answer)
{
    static const struct trace_line lines[] = {
        {"hello w1", "welcome w1; w1 online; test w1"},
        {"tick 50", "beat w1"},
        {"ack w1", ""},
        {"tick 980 late 0", "cut w1; w1 offline silent"},
        {"hello w2", "welcome w2; w2 online; test w2"},
        {"drain w2 leaving", "drained w2"},
        {NULL, NULL},
    };
    play(0, lines);
}

/* K/V that cannot be mended: the sequence begins anew, the other one does the half-step again. */
Test(core_trust, a_sequence_to_replay)
{
    static const struct trace_line lines[] = {
        {"open 0", "open w1 s0; open w2 s0; open w3 s0"},
        {"open 1", "open w1 s1; open w2 s1; open w3 s1"},
        {"half 1 F 0 0:5 1:1", "send w1 e2; send w2 e2; send w3 e2"},
        {"result w1 2 1 F 0 11", "use"},
        {"damage w1 0",
         "not ready; reset; replay 1; assign w1 e3 h0,1 f0 v0 s0=replayed s1=0; assign w2 e3 h2 "
         "f2,3 s0=replayed s1=0; assign w3 e3 h3 f1 v1 s0=replayed s1=0"},
        {"kv w1 3", ""},
        {"kv w2 3", ""},
        {"kv w3 3", "ready"},
        {NULL, NULL},
    };
    play(3, lines);
}

/* Three damages within an hour: drained. An operator may think otherwise. */
Test(core_trust, failing_memory)
{
    static const struct trace_line lines[] = {
        {"damage w1 memory", ""},
        {"damage w1 memory", ""},
        {"damage w1 memory", "failing w1; prepare w2 e2 r2 +h0 +v0; prepare w3 e2 r2 +h1 +f0"},
        {"kv w2 2 round=2", ""},
        {"kv w3 2 round=2",
         "not ready; assign w1 e3; assign w2 e3 h0,2 f2,3 v0; assign w3 e3 h1,3 f0,1 v1"},
        {"damage w1 memory", ""},
        {"kv w1 3", ""},
        {"kv w2 3 heads=0 ready=0", ""},
        {"kv w3 3 heads=1 ready=1", "ready"},
        {"drain w1 off", "prepare w1 e3 r3 +h2,3 +f1 +v0"},
        {"damage w1 memory", ""},
        {NULL, NULL},
    };
    play(3, lines);
}

/* A name is let in again when its time is over. */
Test(core_trust, quarantine_ends)
{
    struct trace t;
    struct hd_core_options o = strict(true);
    uint64_t left;
    trace_start(&t, 0, &o);
    trace_event(&t, "hello w1");
    trace_event(&t, "tested w1 8");
    cr_assert(strcmp(hd_core_quarantined(t.core, 0, t.now_us, &left), "w1") == 0);
    cr_assert(left == 600000000 && !hd_core_quarantined(t.core, 1, t.now_us, &left));
    trace_event(&t, "tick 599999");
    cr_assert(strcmp(trace_event(&t, "hello w1"), "reject wrong") == 0);
    trace_event(&t, "tick 1");
    cr_assert(strcmp(trace_event(&t, "hello w1"), "welcome w1; w1 online; test w1") == 0);
    cr_assert(!hd_core_quarantined(t.core, 0, t.now_us, &left));
    trace_deinit(&t);
}

/* Damages that are further apart than an hour are no pattern. */
Test(core_trust, old_damages)
{
    struct trace t;
    struct hd_core_options o = strict(false);
    o.detector.phi_offline = 1e9;
    o.detector.phi_suspect = 1e9;
    trace_start(&t, 3, &o);
    for (int i = 0; i < 6; i++) {
        cr_assert(strcmp(trace_event(&t, "damage w1 memory"), "") == 0);
        trace_event(&t, "tick 1800001");
    }
    trace_deinit(&t);
}
