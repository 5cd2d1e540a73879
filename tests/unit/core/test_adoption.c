/* test_adoption.c - golden traces: workers come with what they have kept of an earlier leader. */
#include "tests/unit/core/trace.h"

#include <criterion/criterion.h>
#include <string.h>

/* The plan of then, whatever this leader would have made; epochs go on; rows of a sequence are
 * there for a request that goes on with it. */
Test(core_adoption, the_old_plan_goes_on)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"hello w1 kept=7", "welcome w1; w1 online"},
        {"adopt 3 100", ""},
        {"kept w1 h3 f0,3 covers=8", ""},
        {"hello w2 kept=6", "welcome w2; w2 online"},
        {"adopt 3 90", ""},
        {"kept w2 h0,1,2 f1,2 v0,1",
         "assign w1 e8 h3 f0,3 s3=90; assign w2 e8 h0,1,2 f1,2 v0,1 s3=90"},
        {"kv w1 8", ""},
        {"kv w2 8", "ready; fill w2 s3=90"},
        {"take 3", ""},
        {"half 1 A 0 3:1", "send w1 e8; send w2 e8"},
        {NULL, NULL},
    };
    trace_start(&t, 0, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* Copies are there as well: who has them goes on holding them, and owns what nobody comes for. */
Test(core_adoption, copies_go_on)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"hello w1 kept=7", "welcome w1; w1 online"},
        {"kept w1 h0 f0 v0 +h2,3 +f2,3", ""},
        {"hello w2 kept=7", "welcome w2; w2 online"},
        {"kept w2 h1 f1 v1 +h0,3 +f0 +v0", ""},
        {"tick 100", "beat w1; beat w2"},
        {"ack w1", ""},
        {"ack w2", ""},
        {"tick 100", "beat w1; beat w2"},
        {"ack w1", ""},
        {"ack w2", ""},
        {"tick 100", "beat w1; beat w2"},
        {"ack w1", ""},
        {"ack w2", ""},
        {"tick 100", "beat w1; beat w2"},
        {"ack w1", ""},
        {"ack w2", ""},
        {"tick 100", "beat w1; beat w2; assign w1 e8 h0,2 f0,2,3 v0 +h3; assign w2 e8 h1,3 f1 v1 "
                     "+h0 +f0 +v0"},
        {"kv w1 8 heads=0,2", ""},
        {"kv w2 8 heads=1,3",
         "ready; prepare w1 e8 r1; prepare w2 e8 r1"}, /* let go: none is wanted */
        {NULL, NULL},
    };
    trace_start(&t, 0, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* Whose K/V was not kept is not ready, though its weights are: a sequence that is adopted is there
 * of it when it was computed, and it is the holder that owns it. */
Test(core_adoption, weights_go_on)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"hello w1 kept=7", "welcome w1; w1 online"},
        {"kept w1 h0,1 f0,1 v0,1 +h3 +f3 bare3", ""},
        {"hello w2 kept=7", "welcome w2; w2 online"},
        {"kept w2 h2 f2 +h0,1 bare0", ""},
        {"tick 100", "beat w1; beat w2"},
        {"ack w1", ""},
        {"ack w2", ""},
        {"tick 100", "beat w1; beat w2"},
        {"ack w1", ""},
        {"ack w2", ""},
        {"tick 100", "beat w1; beat w2"},
        {"ack w1", ""},
        {"ack w2", ""},
        {"tick 100", "beat w1; beat w2"},
        {"ack w1", ""},
        {"ack w2", ""},
        {"tick 100", "beat w1; beat w2; assign w1 e8 h0,1,3 f0,1,3 v0,1; "
                     "assign w2 e8 h2 f2 +h0,1 bare0"},
        {NULL, NULL},
    };
    trace_start(&t, 0, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* What nobody claims is given out when it has been waited for; what two claim the first has. One is
 * enough, although a fresh plan would want two. */
Test(core_adoption, one_does_not_come)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"hello w1 kept=7", "welcome w1; w1 online"},
        {"kept w1 h2,3 f0 v1", ""},
        {"tick 100", "beat w1"},
        {"ack w1", ""},
        {"tick 100", "beat w1"},
        {"ack w1", ""},
        {"tick 100", "beat w1"},
        {"ack w1", ""},
        {"tick 100", "beat w1"},
        {"ack w1", ""},
        {"tick 100", "beat w1; assign w1 e8 h0,1,2,3 f0,1,2,3 v0,1"},
        {"kv w1 8 heads=0,1", "ready"},
        {"hello w2 kept=7", "welcome w2; w2 online"},
        {"kept w2 h0,1 f1,2,3 v0", "assign w2 e8 clear; prepare w2 e8 r1 +h2,3 +f2,3 +v1"},
        {NULL, NULL},
    };
    trace_start(&t, 0, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* A worker that does not say what it has announced, or what is not, or unasked. */
Test(core_adoption, nonsense)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"hello w1 kept=18446744073709551615", "welcome w1; w1 online"},
        {"kept w1 h4", "cut w1; w1 offline protocol"},
        {"hello w2", "welcome w2; w2 online"},
        {"kept w2 h0", "cut w2; w2 offline protocol"},
        {"hello w3 kept=0", "welcome w3; w3 online"},
        {"kept w3 h0 +v2", "cut w3; w3 offline protocol"},
        {"hello w1", "welcome w1; w1 online"},
        {"hello w2", "welcome w2; w2 online; assign w1 e1 h0,1 f0,1 v0; assign w2 e1 h2,3 f2,3 v1"},
        {NULL, NULL},
    };
    trace_start(&t, 0, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* All connections end and come again: what requests run on is not replayed. */
Test(core_adoption, the_same_leader_goes_on)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"open 0", "open w1 s0; open w2 s0"},
        {"half 1 A 0 0:3", "send w1 e1; send w2 e1"},
        {"result w1 1 1 A 0", "use"},
        {"closed w1", NULL},
        {"closed w2", NULL},
        {"hello w1 kept=2", "welcome w1; w1 online"},
        {"adopt 0 0", ""},
        {"kept w1 h0,1 f0,1 v0 covers=1", ""},
        {"hello w2 kept=1", "welcome w2; w2 online"},
        {"adopt 0 0", ""},
        {"kept w2 h2,3 f2,3 v1 covers=1", NULL},
        {"kv w1 3", NULL},
        {"kv w2 3", NULL},
        {NULL, NULL},
    };
    trace_start(&t, 2, NULL);
    for (size_t i = 0; lines[i].event; i++) {
        const char *did = trace_event(&t, lines[i].event);
        cr_assert(!lines[i].actions || strcmp(did, lines[i].actions) == 0, "%s: %s", lines[i].event,
                  did);
        cr_assert_null(strstr(did, "replay"), "%s: %s", lines[i].event, did);
    }
    cr_assert_not_null(strstr(t.text, "ready"), "%s", t.text);
    cr_assert_not_null(strstr(t.text, "send w1 e3"), "%s", t.text);
    trace_deinit(&t);
}
