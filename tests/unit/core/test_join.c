/* test_join.c - golden traces: a worker comes while sequences are live. */
#include "tests/unit/core/trace.h"

#include <criterion/criterion.h>

static const struct trace_line until_prepared[] = {
    {"open 0", "open w1 s0; open w2 s0"},
    {"hello w3", "welcome w3; w3 online"},
    {"half 1 A 0 0:5", "send w1 e1; send w2 e1; send w3 e1"},
    {"result w1 1 1 A 0", "use"},
    {"result w2 1 1 A 0", "use; half done"},
    {"done", ""}, /* the newcomer's log does not hold sequence 0 */
    {"open 1", "open w1 s1; open w2 s1; open w3 s1"},
    {"half 2 A 0 0:1 1:3", "send w1 e1; send w2 e1; send w3 e1"},
    {"result w1 1 2 A 0", "use"},
    {"result w2 1 2 A 0", "use; half done"},
    {"done", ""},
    {"close 0", "close w1 s0; close w2 s0; prepare w3 e1 h3 f1 v1 s1=3"},
    {"half 3 A 0 1:1", "send w1 e1; send w2 e1; send w3 e1"},
    {"result w1 1 3 A 0", "use"},
    {"result w3 1 3 A 0", "drop"}, /* it computes along; nobody waits for it */
    {NULL, NULL},
};

/* It is prepared when its log holds all that is live, and owns units from the next step on. */
Test(core_join, beside_a_running_sequence)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"result w2 1 3 A 0", "use; half done"},
        {"kv w3 1 heads=3 rows=3", ""}, /* not within a step */
        {"half 3 F 0 1:1", "send w1 e1; send w2 e1"},
        {"result w1 1 3 F 0", "use"},
        {"result w2 1 3 F 0", "use; half done"},
        {"done", "not ready; assign w1 e2 h0,1 f0 v0 s1=4; assign w2 e2 h2 f2,3 s1=4; "
                 "assign w3 e2 h3 f1 v1 s1=4"},
        {"half 4 A 0 1:1", ""},
        {"kv w1 2", ""},
        {"kv w3 2", ""},
        {"kv w2 2", "ready; send w1 e2; send w2 e2; send w3 e2"},
        {"result w3 2 4 A 0", "use"},
        {NULL, NULL},
    };
    trace_start(&t, 2, NULL);
    trace_play(&t, until_prepared);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* Any other epoch comes first; what was prepared is simply not new any more. */
Test(core_join, a_loss_while_it_prepares)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"closed w2", "w2 offline closed; not ready; reset; assign w1 e2 h0,1 f0,1 v0 s1=3+1@0; "
                      "assign w3 e2 h2,3 f2,3 v1 s1=3+1@0"},
        {"kv w3 1 heads=3 rows=3", ""},
        {NULL, NULL},
    };
    trace_start(&t, 2, NULL);
    trace_play(&t, until_prepared);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* Its own loss while it prepares concerns nobody. */
Test(core_join, the_newcomer_is_lost)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"closed w3", "w3 offline closed"},
        {"result w2 1 3 A 0", "use; half done"},
        {"done", ""},
        {NULL, NULL},
    };
    trace_start(&t, 2, NULL);
    trace_play(&t, until_prepared);
    trace_play(&t, lines);
    trace_deinit(&t);
}
