/* test_forks.c - golden traces: sequences that begin with rows of others, and those that no request
 * needs any more. */
#include "tests/unit/core/trace.h"

#include <criterion/criterion.h>

/* s0 has 70 positions; s1 begins with 64 of them and has 3 more. */
static const struct trace_line two[] = {
    {"open 0", "open w1 s0; open w2 s0; open w3 s0"},
    {"half 1 A 0 0:70", "send w1 e2; send w2 e2; send w3 e2"},
    {"done", ""},
    {"fork 1 0 64", "fork w1 s1<s0:64; fork w2 s1<s0:64; fork w3 s1<s0:64"},
    {"half 2 A 0 1:3", "send w1 e2; send w2 e2; send w3 e2"},
    {"done", ""},
    {NULL, NULL},
};

static void play(struct trace *t, const struct trace_line *lines)
{
    trace_start(t, 3, NULL);
    trace_play(t, two);
    trace_play(t, lines);
    trace_deinit(t);
}

/* Each one's rows are its own need; the parent's stay as long as somebody begins with them. */
Test(core_forks, a_loss_rebuilds_what_is_shared_once)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"keep 0", ""},
        {"closed w3", "w3 offline closed; not ready; assign w1 e3 h0,1 f0,1 v0 s0=70 s1=67<s0:64; "
                      "assign w2 e3 h2,3 f2,3 v1 s0=70 s1=67<s0:64"},
        {"kv w1 3", ""},
        {"kv w2 3 heads=3", "ready; failover w3 closed e3 lost=1 reused=3 rebuilt=1 positions=73"},
        {NULL, NULL},
    };
    trace_start(&t, 3, NULL);
    trace_play(&t, two);
    cr_assert_eq(hd_core_positions(t.core), 73);
    trace_deinit(&t);
    play(&t, lines);
}

/* Nothing is rebuilt for nobody while others wait; orders do not speak of it. */
Test(core_forks, what_no_request_needs_is_forgotten_at_a_loss)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"keep 0", ""},
        {"keep 1", ""},
        {"open 2", "open w1 s2; open w2 s2; open w3 s2"},
        {"closed w3", "w3 offline closed; forget 3; not ready; assign w1 e3 h0,1 f0,1 v0 s2=0; "
                      "assign w2 e3 h2,3 f2,3 v1 s2=0"},
        {"close 1", "close w1 s1; close w2 s1"},
        {"close 0", "close w1 s0; close w2 s0"},
        {NULL, NULL},
    };
    play(&t, lines);
}

/* Rows that were given up nobody needs; whoever has logged some is told, also who came late. */
Test(core_forks, what_is_cut_is_not_needed)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"trim 1 66", "trim w1 s1:66; trim w2 s1:66; trim w3 s1:66"},
        {"trim 9 1", ""},
        {"closed w3", "w3 offline closed; not ready; assign w1 e3 h0,1 f0,1 v0 s0=70 s1=66<s0:64; "
                      "assign w2 e3 h2,3 f2,3 v1 s0=70 s1=66<s0:64"},
        {"trim 1 65", "trim w1 s1:65; trim w2 s1:65"},
        {"kv w1 3", ""},
        {"kv w2 3 heads=3", "ready; failover w3 closed e3 lost=1 reused=3 rebuilt=1 positions=72"},
        {"half 3 A 0 1:2", "send w1 e3; send w2 e3"},
        {"closed w2", "w2 offline closed; not ready; reset; assign w1 e4 h0,1,2,3 f0,1,2,3 v0,1 "
                      "s0=70 s1=65<s0:64+2@0"},
        {NULL, NULL},
    };
    play(&t, lines);
}

/* Its child runs alone, from its first token; the parent's end is the engine's to say. */
Test(core_forks, a_replay_is_of_all_that_was_made_of_it)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"keep 0", ""},
        {"damage w1 0", "not ready; replay 3; assign w1 e3 h0,1 f0 v0 s0=replayed s1=replayed; "
                        "assign w2 e3 h2 f2,3 s0=replayed s1=replayed; "
                        "assign w3 e3 h3 f1 v1 s0=replayed s1=replayed"},
        {"close 0", "close w1 s0; close w2 s0; close w3 s0"},
        {NULL, NULL},
    };
    play(&t, lines);
}

/* Nor does it hold up who comes: what its log cannot have it goes without. */
Test(core_forks, damage_in_what_no_request_needs_stops_nothing)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"keep 1", ""},
        {"damage w1 1", "forget 2"},
        {"close 1", "close w1 s1; close w2 s1; close w3 s1"},
        {"take 0", ""},
        {NULL, NULL},
    };
    play(&t, lines);
}
