/* test_groups.c - golden traces: the rows of a step in two groups, each with a half-step in hand.
 */
#include "tests/unit/core/trace.h"

#include <criterion/criterion.h>

/* Each group is answered and goes on by itself; the logits are of both. */
Test(core_groups, a_step)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"open 0", "open w1 s0; open w2 s0"},
        {"half 1 Aa 0 0:5", "send w1 e1; send w2 e1"},
        {"half 1 Ab 0 0:3", "send w1 e1 b; send w2 e1 b"},
        {"result w1 1 1 Aa 0", "use"},
        {"result w1 1 1 Ab 0", "use"},
        {"result w1 1 1 Ab 0", "drop"},
        {"result w2 1 1 Aa 0", "use; half done"},
        {"half 1 Fa 0 0:5", "send w1 e1; send w2 e1"},
        {"result w2 1 1 Ab 0", "use; half done b"},
        {"half 1 Fb 0 0:3", "send w1 e1 b; send w2 e1 b"},
        {"result w1 1 1 Fa 0", "use"},
        {"result w2 1 1 Fa 0", "use; half done"},
        {"result w2 1 1 Fb 0", "use"},
        {"result w1 1 1 Fb 0", "use; half done b"},
        {"half 1 L 0 0:8", "send w1 e1; send w2 e1"},
        {"result w1 1 1 L 0", "use"},
        {"result w2 1 1 L 0", "use; half done"},
        {"done", ""},
        {"closed w2", "w2 offline closed; not ready; assign w1 e2 h0,1,2,3 f0,1,2,3 v0,1 s0=8"},
        {NULL, NULL},
    };
    trace_start(&t, 2, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* The same half-step of both is in hand: both are forgotten, and sent again in order. */
Test(core_groups, loss_with_both_in_attention)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"open 0", "open w1 s0; open w2 s0; open w3 s0"},
        {"open 1", "open w1 s1; open w2 s1; open w3 s1"},
        {"half 1 Aa 0 0:5", "send w1 e2; send w2 e2; send w3 e2"},
        {"half 1 Ab 0 0:2 1:4", "send w1 e2 b; send w2 e2 b; send w3 e2 b"},
        {"result w1 2 1 Aa 0", "use"},
        {"result w1 2 1 Ab 0", "use"},
        {"closed w2", "w2 offline closed; not ready; reset; reset b; "
                      "assign w1 e3 h0,1 f0,2 v0 s0=0+5@0+b2@0 s1=0+b4@0; "
                      "assign w3 e3 h2,3 f1,3 v1 s0=0+5@0+b2@0 s1=0+b4@0"},
        {"result w3 2 1 Aa 0", "drop"},
        {"kv w3 3 heads=2", ""},
        {"kv w1 3", "ready; send w1 e3; send w3 e3; send w1 e3 b; send w3 e3 b"},
        {"result w3 3 1 Aa 0", "use"},
        {"result w1 3 1 Aa 0", "use; half done"},
        {"half 1 Fa 0 0:5", "send w1 e3; send w3 e3"},
        {"result w3 3 1 Ab 0", "use"},
        {"result w1 3 1 Ab 0",
         "use; failover w2 closed e3 lost=1 reused=3 rebuilt=1 positions=11; half done b"},
        {NULL, NULL},
    };
    trace_start(&t, 3, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* The first group has finished a layer's attention that the second has yet to do. */
Test(core_groups, loss_with_the_first_ahead)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"open 0", "open w1 s0; open w2 s0"},
        {"half 1 Aa 0 0:5", "send w1 e1; send w2 e1"},
        {"half 1 Ab 0 0:3", "send w1 e1 b; send w2 e1 b"},
        {"result w1 1 1 Aa 0", "use"},
        {"result w2 1 1 Aa 0", "use; half done"},
        {"half 1 Fa 0 0:5", "send w1 e1; send w2 e1"},
        {"result w2 1 1 Ab 0", "use"},
        {"result w2 1 1 Fa 0", "use"},
        {"closed w1", "w1 offline closed; not ready; reset; reset b; "
                      "assign w2 e2 h0,1,2,3 f0,1,2,3 v0,1 s0=0+5@1+b3@0"},
        {"kv w2 2 heads=0,1", "ready; send w2 e2; send w2 e2 b"},
        {"result w2 2 1 Fa 0", "use; half done"},
        {"result w2 2 1 Ab 0",
         "use; failover w1 closed e2 lost=2 reused=2 rebuilt=2 positions=8; half done b"},
        {NULL, NULL},
    };
    trace_start(&t, 2, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* The first group waits for its turn and has nothing with the workers; then all are lost, and what
 * comes back starts from nothing. */
Test(core_groups, loss_with_one_in_hand)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"open 0", "open w1 s0; open w2 s0"},
        {"half 1 Aa 0 0:5", "send w1 e1; send w2 e1"},
        {"half 1 Ab 0 0:3", "send w1 e1 b; send w2 e1 b"},
        {"result w1 1 1 Aa 0", "use"},
        {"result w2 1 1 Aa 0", "use; half done"},
        {"hello w3", "welcome w3; w3 online"}, /* nothing moves: the step has begun */
        {"closed w1", "w1 offline closed; not ready; reset b; "
                      "assign w2 e2 h0,1,2,3 f2,3 v1 s0=0+5@1+b3@0; "
                      "assign w3 e2 f0,1 v0 s0=0+5@1+b3@0"},
        {"kv w2 2 heads=0,1", ""},
        {"kv w3 2", "ready; send w2 e2 b; send w3 e2 b"},
        {"result w2 2 1 Ab 0",
         "use; failover w1 closed e2 lost=2 reused=2 rebuilt=2 positions=8; half done b"},
        {"closed w2", "w2 offline closed; not ready; "
                      "assign w3 e3 h0,1,2,3 f0,1,2,3 v0,1 s0=0+5@1+b3@1"},
        {"kv w3 3 heads=0,1,2,3 gaps=0",
         "replay 1; assign w3 e4 h0,1,2,3 f0,1,2,3 v0,1 s0=replayed"},
        {"kv w3 4", "ready"},
        {"half 2 Aa 0 0:5", "send w3 e4"},
        {NULL, NULL},
    };
    trace_start(&t, 2, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* Answers come in the order of what they answer: one that does not breaks the rules. */
Test(core_groups, answers_out_of_order)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"open 0", "open w1 s0; open w2 s0"},
        {"half 1 Aa 0 0:5", "send w1 e1; send w2 e1"},
        {"half 1 Ab 0 0:3", "send w1 e1 b; send w2 e1 b"},
        {"result w1 1 1 Ab 0", "cut w1; w1 offline protocol; not ready; reset; reset b; "
                               "assign w2 e2 h0,1,2,3 f0,1,2,3 v0,1 s0=0+5@0+b3@0"},
        {NULL, NULL},
    };
    trace_start(&t, 2, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* A step that is given up takes both groups along. */
Test(core_groups, a_sequence_that_ends_in_the_middle)
{
    struct trace t;
    static const struct trace_line lines[] = {
        {"open 0", "open w1 s0; open w2 s0"},
        {"half 1 Aa 0 0:5", "send w1 e1; send w2 e1"},
        {"half 1 Ab 0 0:3", "send w1 e1 b; send w2 e1 b"},
        {"close 0", "close w1 s0; close w2 s0"},
        {"result w1 1 1 Aa 0", "drop"},
        {"result w1 1 1 Ab 0", "drop"},
        {"open 0", "open w1 s0; open w2 s0"},
        {"half 2 A 0 0:2", "send w1 e1; send w2 e1"},
        {"closed w2",
         "w2 offline closed; not ready; reset; assign w1 e2 h0,1,2,3 f0,1,2,3 v0,1 s0=0+2@0"},
        {NULL, NULL},
    };
    trace_start(&t, 2, NULL);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* Who hangs with either group's half-step is lost. */
Test(core_groups, deadline_of_the_second)
{
    struct hd_core_options o = trace_options();
    struct trace t;
    static const struct trace_line lines[] = {
        {"open 0", "open w1 s0; open w2 s0"},
        {"half 1 Aa 0 0:5", "send w1 e1; send w2 e1"},
        {"half 1 Ab 0 0:3", "send w1 e1 b; send w2 e1 b"},
        {"result w1 1 1 Aa 0", "use"},
        {"result w2 1 1 Aa 0", "use; half done"},
        {"result w2 1 1 Ab 0", "use"},
        {"tick 100", "beat w1; beat w2"},
        {"ack w1", ""},
        {"ack w2", ""},
        {"tick 30", "cut w1; w1 offline deadline; beat w2; not ready; reset b; "
                    "assign w2 e2 h0,1,2,3 f0,1,2,3 v0,1 s0=0+5@1+b3@0"},
        {NULL, NULL},
    };
    o.step_deadline_us = 120000;
    trace_start(&t, 2, &o);
    trace_play(&t, lines);
    trace_deinit(&t);
}

static void answer(struct trace *t, unsigned slot, unsigned group, uint64_t compute_us)
{
    struct hd_event ev = {
        .type = HD_EV_RESULT,
        .now_us = t->now_us,
        .slot = slot,
        .result = {
            .epoch = 1, .step = 1, .group = group, .bytes = 100000, .compute_us = compute_us}};
    cr_assert(hd_core_step(t->core, &ev, &t->actions) == 0);
    hd_actions_clear(&t->actions); /* nobody is there to perform them */
}

/* Times that overlap are counted once; of them no more is computing than there was. What waits
 * behind another half-step shows nothing about a link. */
Test(core_groups, times)
{
    const struct hd_half_totals *many;
    struct hd_worker_view v;
    struct trace t;
    trace_start(&t, 2, NULL);
    many = hd_core_half_totals(t.core, false);
    trace_event(&t, "ack w1");
    trace_event(&t, "open 0");
    trace_event(&t, "half 1 Aa 0 0:1"); /* one row of a sequence, but not a step that decodes */
    trace_event(&t, "half 1 Ab 0 0:3");
    t.now_us += 1000;
    answer(&t, 0, 0, 600);
    cr_assert(hd_core_worker(t.core, 0, t.now_us, &v) && v.rate > 0);
    double rate = v.rate;
    answer(&t, 1, 0, 500);
    cr_assert(many->done == 1 && many->waited_us == 1000 && many->compute_us == 600);
    t.now_us += 100;
    answer(&t, 0, 1, 300);
    answer(&t, 1, 1, 300);
    cr_assert(hd_core_worker(t.core, 0, t.now_us, &v) && v.rate == rate);
    cr_assert(many->done == 2 && many->waited_us == 1100 && many->compute_us == 900);
    cr_assert_eq(hd_core_half_totals(t.core, true)->done, 0);
    trace_deinit(&t);
}
