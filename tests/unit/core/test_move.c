/* test_move.c - golden traces: units change hands while sequences are live. */
#include "tests/unit/core/trace.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static void play(const struct trace_line *first, const struct trace_line *then, unsigned workers,
                 const struct hd_core_options *o)
{
    struct trace t;
    trace_start(&t, workers, o);
    trace_play(&t, first);
    if (then)
        trace_play(&t, then);
    trace_deinit(&t);
}

/* ---- A worker comes ----*/

/* Its log lacks what sequence 0 has seen so far: it is completed from a peer's. */
static const struct trace_line until_filled[] = {
    {"open 0", "open w1 s0; open w2 s0"},
    {"half 1 A 0 0:5", "send w1 e1; send w2 e1"},
    {"hello w3", "welcome w3; w3 online"}, /* not within a step */
    {"result w1 1 1 A 0", "use"},
    {"result w2 1 1 A 0", "use; half done"},
    {"done", "fill w3 s0=5"},
    {"fetch w3 7 0 0 0 3", "fetch from w1 for w3#1 s0l0 0+3"},
    {"half 2 A 0 0:1", "send w1 e1; send w2 e1; send w3 e1"},
    {"rows w1 1 3 for w3", "rows to w3 for w3#7 s0l0 0+3"},
    {"result w1 1 2 A 0", "use"},
    {"result w2 1 2 A 0", "use; half done"},
    {"done", ""},
    {"log w3 0 complete", "prepare w3 e1 r1 +h3 +f1 +v1 s0=6"},
    {"half 3 A 0 0:1", "send w1 e1; send w2 e1; send w3 e1"},
    {"result w1 1 3 A 0", "use"},
    {NULL, NULL},
};

/* It owns units from the next step on. */
Test(core_move, a_newcomer_beside_a_running_sequence)
{
    static const struct trace_line lines[] = {
        {"result w2 1 3 A 0", "use; half done"},
        {"kv w3 1 round=1 rows=6", ""}, /* not within a step */
        {"half 3 F 0 0:1", "send w1 e1; send w2 e1"},
        {"result w1 1 3 F 0", "use"},
        {"result w2 1 3 F 0", "use; half done"},
        {"done", "not ready; assign w1 e2 h0,1 f0 v0 s0=7; assign w2 e2 h2 f2,3 s0=7; assign w3 e2 "
                 "h3 f1 v1 s0=7"},
        {"half 4 A 0 0:1", ""},
        {"kv w1 2", ""},
        {"kv w3 2 heads=3 ready=3", ""},
        {"kv w2 2", "ready; send w1 e2; send w2 e2; send w3 e2"},
        {"result w3 2 4 A 0", "use"},
        {NULL, NULL},
    };
    play(until_filled, lines, 2, NULL);
}

/* Any other epoch comes first; it goes on with what it holds, and is used as it is. */
Test(core_move, a_loss_while_a_newcomer_prepares)
{
    static const struct trace_line lines[] = {
        {"closed w2", "w2 offline closed; not ready; reset; assign w1 e2 h0,1 f0,1 v0 s0=6+1@0; "
                      "assign w3 e2 h2,3 f2,3 v1 +f1 s0=6+1@0"},
        {"kv w3 1 round=1", ""}, /* of before */
        {NULL, NULL},
    };
    play(until_filled, lines, 2, NULL);
}

/* Of a sequence that has ended meanwhile it has no rows, and nobody wants any. */
Test(core_move, the_sequence_ends_while_a_newcomer_prepares)
{
    static const struct trace_line lines[] = {
        {"result w2 1 3 A 0", "use; half done"},
        {"done", ""},
        {"close 0", "close w1 s0; close w2 s0; close w3 s0"},
        {"open 0", "open w1 s0; open w2 s0; open w3 s0"},
        {"kv w3 1 round=1 gaps=0", "not ready; assign w1 e2 h0,1 f0 v0 s0=0; assign w2 e2 h2 f2,3 "
                                   "s0=0; assign w3 e2 h3 f1 v1 s0=0"},
        {NULL, NULL},
    };
    play(until_filled, lines, 2, NULL);
}

/* Its own loss while it prepares concerns nobody. */
Test(core_move, a_newcomer_is_lost)
{
    static const struct trace_line lines[] = {
        {"closed w3", "w3 offline closed"},
        {"result w2 1 3 A 0", "use; half done"},
        {"done", ""},
        {NULL, NULL},
    };
    play(until_filled, lines, 2, NULL);
}

/* When the log turns out to have a gap after all it is filled once more. */
Test(core_move, a_gap_while_a_newcomer_prepares)
{
    static const struct trace_line lines[] = {
        {"result w2 1 3 A 0", "use; half done"},
        {"done", ""},
        {"kv w3 1 round=1 gaps=0", "fill w3 s0=7"},
        {"half 4 A 0 0:1", "send w1 e1; send w2 e1; send w3 e1"},
        {"result w1 1 4 A 0", "use"},
        {"result w2 1 4 A 0", "use; half done"},
        {"done", ""},
        {"log w3 0 complete", "prepare w3 e1 r2 +h3 +f1 +v1 s0=8"},
        {NULL, NULL},
    };
    play(until_filled, lines, 2, NULL);
}

/* Plays 40 ms, in which all three answer their heartbeats. Returns what the core did at the tick.
 */
static const char *pass_40_ms(struct trace *t)
{
    static char did[sizeof t->text];
    strcpy(did, trace_event(t, "tick 40"));
    trace_event(t, "ack w1");
    trace_event(t, "ack w2");
    trace_event(t, "ack w3");
    return did;
}

/* It answers heartbeats, and never says that it is ready: after four deadlines of 2 s it is lost,
 * and the others have served all the while. */
Test(core_move, a_newcomer_that_is_never_ready)
{
    struct trace t;
    unsigned prepared = 0, ms = 0;
    trace_start(&t, 2, NULL);
    const char *did = trace_event(&t, "hello w3");
    for (; !strstr(did, "w3 offline") && ms < 20000; ms += 40) {
        prepared += strstr(did, "prepare w3") != NULL;
        cr_assert_eq(hd_core_state(t.core), HD_CLUSTER_READY);
        did = pass_40_ms(&t);
    }
    cr_assert_not_null(strstr(did, "w3 offline deadline"), "%s", did);
    cr_assert_eq(prepared, 4);
    cr_assert(ms > 4 * 2000 && ms < 5 * 2000, "lost after %u ms", ms);
    cr_assert_eq(hd_core_state(t.core), HD_CLUSTER_READY);
    trace_deinit(&t);
}

/* One that is ready in time begins to count anew. */
Test(core_move, late_once_is_no_matter)
{
    struct trace t;
    char ready[64];
    unsigned round = 1;
    trace_start(&t, 2, NULL);
    trace_event(&t, "hello w3");
    for (unsigned ms = 0; ms < 3 * 2000 + 200; ms += 40)
        round += strstr(pass_40_ms(&t), "prepare w3") != NULL;
    cr_assert_eq(round, 4);
    snprintf(ready, sizeof ready, "kv w3 1 round=%u", round);
    const char *did = trace_event(&t, ready);
    cr_assert_not_null(strstr(did, "assign w3 e2"), "%s", did);
    trace_deinit(&t);
}

/* ---- Logs ----*/

static const struct trace_line until_fetching[] = {
    {"open 0", "open w1 s0; open w2 s0; open w3 s0"},
    {"half 1 A 0 0:5", "send w1 e2; send w2 e2; send w3 e2"},
    {"result w1 2 1 A 0", "use"},
    {"result w2 2 1 A 0", "use"},
    {"result w3 2 1 A 0", "use; half done"},
    {"done", ""},
    {"hello w4", "welcome w4; w4 online; fill w4 s0=5"},
    {"fetch w4 1 0 0 0 5", "fetch from w1 for w4#1 s0l0 0+5"},
    {NULL, NULL},
};

/* A source that has nothing after all is not asked again, and the next one is. */
Test(core_move, a_source_without_the_rows)
{
    static const struct trace_line lines[] = {
        {"rows w2 1 5 for w4", ""}, /* was not asked */
        {"rows w1 1 0 for w4", "fetch from w2 for w4#2 s0l0 0+5; fill w1 s0=5"},
        {"rows w2 2 0 for w4", "fetch from w3 for w4#3 s0l0 0+5; fill w2 s0=5"},
        {"rows w3 3 0 for w4", "no rows to w4 for w4#1 s0l0 0+0"},
        {"log w4 0 gap", ""}, /* it waits until the sequence ends */
        {"close 0", "close w1 s0; close w2 s0; close w3 s0; close w4 s0; prepare w4 e2 r2 +h1 +f3"},
        {NULL, NULL},
    };
    play(until_fetching, lines, 3, NULL);
}

/* Rows of a log are not what they were: it is completed again, whether it was whole, or is not yet.
 */
Test(core_move, a_log_that_was_damaged_is_filled_again)
{
    static const struct trace_line lines[] = {
        {"log w4 0 damaged", "fill w4 s0=5"},
        {"log w1 0 damaged", "fill w1 s0=5"},
        {"fetch w1 1 0 0 2 1", "fetch from w2 for w1#2 s0l0 2+1"},
        {"rows w2 2 1 for w1", "rows to w1 for w1#1 s0l0 2+1"},
        {"log w1 0 complete", ""},
        {"log w1 0 gap", ""}, /* that one cannot */
        {NULL, NULL},
    };
    play(until_fetching, lines, 3, NULL);
}

Test(core_move, a_source_is_lost)
{
    static const struct trace_line lines[] = {
        {"closed w1", "w1 offline closed; fetch from w2 for w4#2 s0l0 0+5; not ready; assign w2 e3 "
                      "h0,2 f2,3 s0=5; assign w3 e3 h1,3 f1 v1 s0=5; assign w4 e3 f0 v0 s0=5"},
        {"rows w1 1 5 for w4", ""}, /* it is gone */
        {"rows w2 2 5 for w4", "rows to w4 for w4#1 s0l0 0+5"},
        {NULL, NULL},
    };
    play(until_fetching, lines, 3, NULL);
}

/* A worker that comes back counts its fetches from 1 again. What a slow source still answers to the
 * one that died is not for it: it may have asked for other rows. */
Test(core_move, rows_for_the_dead)
{
    static const struct trace_line lines[] = {
        {"closed w4", "w4 offline closed"},
        {"hello w4", "welcome w4; w4 online; fill w4 s0=5"},
        {"fetch w4 1 0 1 0 5", "fetch from w1 for w4#2 s0l1 0+5"},
        {"rows w1 1 5 for w4", ""},
        {"rows w1 2 5 for w4", "rows to w4 for w4#1 s0l1 0+5"},
        {NULL, NULL},
    };
    play(until_fetching, lines, 3, NULL);
}

/* More rows than were asked for, or rows that do not exist. */
Test(core_move, a_source_breaks_the_rules)
{
    static const struct trace_line lines[] = {
        {"rows w1 1 6 for w4", "cut w1; w1 offline protocol; fetch from w2 for w4#2 s0l0 0+5; not "
                               "ready; assign w2 e3 h0,2 "
                               "f2,3 s0=5; assign w3 e3 h1,3 f1 v1 s0=5; assign w4 e3 f0 v0 s0=5"},
        {"fetch w4 2 0 9 0 5", "cut w4; w4 offline protocol; assign w2 e4 h0,2 f2,3 v0 s0=5; "
                               "assign w3 e4 h1,3 f0,1 v1 s0=5"},
        {NULL, NULL},
    };
    play(until_fetching, lines, 3, NULL);
}

/* Nothing is fetched for a sequence that has ended; the worker is being told. */
Test(core_move, the_sequence_ends_while_a_log_is_filled)
{
    static const struct trace_line lines[] = {
        {"close 0", "close w1 s0; close w2 s0; close w3 s0; close w4 s0; prepare w4 e2 r2 +h1 +f3"},
        {"rows w1 1 5 for w4", ""},
        {"fetch w4 2 0 1 0 5", ""},
        {"log w4 0 complete", ""},
        {NULL, NULL},
    };
    play(until_fetching, lines, 3, NULL);
}

/* Without a log it can take over nothing while a sequence is live. */
Test(core_move, a_newcomer_without_a_log)
{
    static const struct trace_line lines[] = {
        {"open 1", "open w1 s1; open w2 s1"},
        {"hello w3 nolog", "welcome w3; w3 online"},
        {"open 0", "open w1 s0; open w2 s0; open w3 s0"},
        {"half 1 A 0 0:5", "send w1 e1; send w2 e1; send w3 e1"},
        {"result w1 1 1 A 0", "use"},
        {"result w2 1 1 A 0", "use; half done"},
        {"done", ""},
        {NULL, NULL},
    };
    play(lines, NULL, 2, NULL);
}

/* ---- A worker goes ----*/

static const struct trace_line until_drained[] = {
    {"open 0", "open w1 s0; open w2 s0; open w3 s0"},
    {"half 1 A 0 0:5", "send w1 e2; send w2 e2; send w3 e2"},
    {"drain w2 leaving", ""},
    {"result w1 2 1 A 0", "use"},
    {"result w2 2 1 A 0", "use"},
    {"result w3 2 1 A 0", "use; half done"},
    {"done", "prepare w1 e2 r2 +f2 s0=5; prepare w3 e2 r2 +h2 +f3 s0=5"},
    {"half 2 A 0 0:1", "send w1 e2; send w2 e2; send w3 e2"},
    {"result w1 2 2 A 0", "use"},
    {"result w2 2 2 A 0", "use"},
    {"kv w1 2 round=2", ""},
    {NULL, NULL},
};

Test(core_move, a_worker_that_stops_is_emptied_first)
{
    static const struct trace_line lines[] = {
        {"result w3 2 2 A 0", "use; half done"},
        {"done", ""},
        {"kv w3 2 round=2 rows=12", "not ready; assign w1 e3 h0,1 f0,2 v0 s0=6; assign w2 e3 s0=6; "
                                    "assign w3 e3 h2,3 f1,3 v1 s0=6"},
        {"kv w1 3", ""},
        {"kv w3 3 heads=2 ready=2", ""},
        {"kv w2 3", "ready; drained w2"},
        {"closed w2", "w2 offline closed"},
        {NULL, NULL},
    };
    play(until_drained, lines, 3, NULL);
}

/* Who was to take over dies: the one that leaves is asked for longer, or for all again. */
Test(core_move, a_loss_while_a_worker_is_emptied)
{
    static const struct trace_line lines[] = {
        {"closed w3", "w3 offline closed; not ready; reset; assign w1 e3 h0,1,3 f0,1 v0,1 +f2 "
                      "s0=5+1@0; assign w2 e3 h2 f2,3 s0=5+1@0"},
        {"kv w1 3 heads=3", ""},
        {"kv w2 3", "ready; send w1 e3; send w2 e3"},
        {"result w1 3 2 A 0", "use"},
        {"result w2 3 2 A 0",
         "use; failover w3 closed e3 lost=1 reused=3 rebuilt=1 positions=6; half done"},
        {"done", "prepare w1 e3 r3 +h2 +f2,3 s0=6"},
        {"closed w1",
         "w1 offline closed; not ready; assign w2 e4 h0,1,2,3 f0,1,2,3 v0,1 s0=6; drained w2"},
        {NULL, NULL},
    };
    play(until_drained, lines, 3, NULL);
}

/* One that the operator drains stays, without work, until it is to take part again. */
Test(core_move, drained_and_back)
{
    static const struct trace_line lines[] = {
        {"drain w2 on", "prepare w1 e1 r1 +h2,3 +f2,3 +v1"},
        {"kv w1 1 round=1", "not ready; assign w1 e2 h0,1,2,3 f0,1,2,3 v0,1; assign w2 e2"},
        {"kv w1 2 heads=2,3 ready=2,3", ""},
        {"kv w2 2", "ready"},
        {"drain w2 off", "prepare w2 e2 r2 +h2,3 +f2,3 +v1"},
        {"kv w2 2 round=2", "not ready; assign w1 e3 h0,1 f0,1 v0; assign w2 e3 h2,3 f2,3 v1"},
        {NULL, NULL},
    };
    play(lines, NULL, 2, NULL);
}

/* Two that stop at once leave everything to the third; the last one is let go at once. */
Test(core_move, all_stop)
{
    static const struct trace_line lines[] = {
        {"drain w1 leaving", "prepare w2 e1 r1 +h0,1 +f0,1 +v0"},
        {"drain w2 leaving", "drained w1; drained w2"},
        {NULL, NULL},
    };
    play(lines, NULL, 2, NULL);
}

/* ---- Levelling ----*/

Test(core_move, rebalance)
{
    static const struct trace_line lines[] = {
        {"closed w3", "w3 offline closed; not ready; assign w1 e3 h0,1 f0,1 v0; "
                      "assign w2 e3 h2,3 f2,3 v1"},
        {"kv w1 3", ""},
        {"kv w2 3 heads=3", "ready; failover w3 closed e3 lost=1 reused=3 rebuilt=1 positions=0"},
        {"rebalance", ""}, /* nothing to level */
        {NULL, NULL},
    };
    play(lines, NULL, 3, NULL);
}

/* ---- Standby ----*/

static struct hd_core_options with_standby(void)
{
    struct hd_core_options o = trace_options();
    o.policy = &hd_policies[HD_POLICY_STANDBY];
    o.standby = 1;
    return o;
}

/* Each unit has a copy; its owner's death costs nothing that would have to be computed. */
Test(core_move, standby)
{
    struct hd_core_options o = with_standby();
    struct trace t;
    static const struct trace_line lines[] = {
        {"hello w1", "welcome w1; w1 online"},
        {"hello w2", "welcome w2; w2 online; assign w1 e1 h0,1 f0,1 v0; assign w2 e1 h2,3 f2,3 v1"},
        {"kv w1 1 heads=0,1", ""},
        {"kv w2 1 heads=2,3",
         "ready; prepare w1 e1 r1 +h2,3 +f2,3 +v1; prepare w2 e1 r1 +h0,1 +f0,1 +v0"},
        {"open 0", "open w1 s0; open w2 s0"},
        {"half 1 A 0 0:5", "send w1 e1; send w2 e1"},
        {"kv w1 1 round=1", ""},
        {"kv w2 1 round=1", ""}, /* no epoch: no owner changes */
        {"result w1 1 1 A 0", "use"},
        {"closed w2", "w2 offline closed; not ready; reset; "
                      "assign w1 e2 h0,1,2,3 f0,1,2,3 v0,1 s0=0+5@0"},
        {"kv w1 2 heads=2,3 ready=2,3", "ready; send w1 e2"},
        {"result w1 2 1 A 0",
         "use; failover w2 closed e2 lost=2 reused=2 rebuilt=0 ready=2 positions=5; half done"},
        {"done", ""},
        /* back again: it takes its share, and both are copied again */
        {"hello w2", "welcome w2; w2 online; fill w2 s0=5"},
        {"log w2 0 complete", "prepare w2 e2 r2 +h0,1,2,3 +f0,1,2,3 +v0,1 s0=5"},
        {"kv w2 2 round=2 rows=40", "not ready; assign w1 e3 h0,1 f0,1 v0 +h2,3 +f2,3 +v1 s0=5; "
                                    "assign w2 e3 h2,3 f2,3 v1 +h0,1 +f0,1 +v0 s0=5"},
        {"kv w1 3", ""},
        {"kv w2 3 heads=2,3 ready=2,3", "ready"},
        {NULL, NULL},
    };
    trace_init(&t, &o);
    trace_play(&t, lines);
    trace_deinit(&t);
}

static struct hd_core_options with_weights(enum hd_policy_index policy)
{
    struct hd_core_options o = trace_options();
    o.policy = &hd_policies[policy];
    o.standby = 1;
    return o;
}

/* The weights of each unit have a copy: who holds a lost one gets it, and only its K/V is computed.
 * Whoever comes gets what moves to it with K/V. */
Test(core_move, standby_weights)
{
    struct hd_core_options o = with_weights(HD_POLICY_REUSE);
    struct hd_move_view v;
    struct trace t;
    static const struct trace_line loss[] = {
        {"hello w1", "welcome w1; w1 online"},
        {"hello w2", "welcome w2; w2 online; assign w1 e1 h0,1 f0,1 v0; assign w2 e1 h2,3 f2,3 v1"},
        {"kv w1 1 heads=0,1", ""},
        {"kv w2 1 heads=2,3", "ready; prepare w1 e1 r1 +h2,3 +f2,3 +v1 bare2,3; "
                              "prepare w2 e1 r1 +h0,1 +f0,1 +v0 bare0,1"},
        {"open 0", "open w1 s0; open w2 s0"},
        {"half 1 A 0 0:5", "send w1 e1; send w2 e1"},
        {"kv w1 1 round=1", ""},
        {"kv w2 1 round=1", ""},
        {NULL, NULL},
    };
    static const struct trace_line back[] = {
        {"result w1 1 1 A 0", "use"},
        {"closed w2", "w2 offline closed; not ready; reset; "
                      "assign w1 e2 h0,1,2,3 f0,1,2,3 v0,1 s0=0+5@0"},
        {"kv w1 2 heads=2,3", "ready; send w1 e2"},
        {"result w1 2 1 A 0",
         "use; failover w2 closed e2 lost=2 reused=2 rebuilt=2 positions=5; half done"},
        {"done", ""},
        {"hello w2", "welcome w2; w2 online; fill w2 s0=5"},
        {"log w2 0 complete", "prepare w2 e2 r2 +h0,1,2,3 +f0,1,2,3 +v0,1 bare0,1 s0=5"},
        {"kv w2 2 round=2 rows=20",
         "not ready; assign w1 e3 h0,1 f0,1 v0 +h2,3 +f2,3 +v1 bare2,3 s0=5; "
         "assign w2 e3 h2,3 f2,3 v1 +h0,1 +f0,1 +v0 bare0,1 s0=5"},
        {"kv w1 3", ""},
        {"kv w2 3 heads=2,3 ready=2,3", "ready"},
        {NULL, NULL},
    };
    trace_init(&t, &o);
    trace_play(&t, loss);
    hd_core_move_view(t.core, &v);
    cr_assert(v.copies == 1 && !v.kv && v.missing == 0);
    trace_play(&t, back);
    hd_core_move_view(t.core, &v);
    cr_assert_eq(v.missing, 0);
    trace_deinit(&t);
}

/* Of three each gets of a lost one's units what it holds: with full as well, where all is replayed.
 */
Test(core_move, weights_of_full)
{
    struct hd_core_options o = with_weights(HD_POLICY_FULL);
    struct trace t;
    o.min_workers = 3;
    static const struct trace_line lines[] = {
        {"hello w1", "welcome w1; w1 online"},
        {"hello w2", "welcome w2; w2 online"},
        {"hello w3", "welcome w3; w3 online; assign w1 e1 h0,1 f0 v0; assign w2 e1 h2 f1,2; "
                     "assign w3 e1 h3 f3 v1"},
        {"kv w1 1 heads=0,1", ""},
        {"kv w2 1 heads=2", ""},
        {"kv w3 1 heads=3",
         "ready; prepare w1 e1 r1 +h3 +f1,3 +v1 bare3; prepare w2 e1 r1 +h0,1 +v0 "
         "bare0,1; prepare w3 e1 r1 +h2 +f0,2 bare2"},
        {"kv w1 1 round=1", ""},
        {"kv w2 1 round=1", ""},
        {"kv w3 1 round=1", ""},
        {"closed w1", "w1 offline closed; not ready; assign w2 e2 h0,1,2 f1,2 v0 clear; "
                      "assign w3 e2 h3 f0,3 v1 +h2 +f2 bare2 clear"},
        {NULL, NULL},
    };
    trace_init(&t, &o);
    trace_play(&t, lines);
    trace_deinit(&t);
}
