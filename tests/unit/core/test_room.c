/* test_room.c - golden traces: logs of different limits. */
#include "tests/unit/core/trace.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

/* A log grows by 4 positions, which take 100 bytes. */
static struct hd_core_options options(void)
{
    struct hd_core_options o = trace_options();
    o.min_workers = 3;
    o.log = (struct hd_log_unit){4, 100};
    return o;
}

static void play(const struct trace_line *lines, struct trace *t)
{
    struct hd_core_options o = options();
    trace_init(t, &o);
    trace_play(t, lines);
}

static struct hd_log_view view(const struct trace *t, unsigned slot)
{
    struct hd_log_view v;
    hd_core_log_view(t->core, slot, &v);
    return v;
}

/* w3 has room for 8 positions, w4 for none. */
static const struct trace_line until_one_gives_up[] = {
    {"hello w1 log=10000", "welcome w1; w1 online"},
    {"hello w2 log=10000", "welcome w2; w2 online"},
    {"hello w3 log=200",
     "welcome w3; w3 online; assign w1 e1 h0,1 f0 v0; assign w2 e1 h2 f1,2; assign w3 e1 h3 f3 v1"},
    {"kv w1 1 heads=0,1", ""},
    {"kv w2 1 heads=2", ""},
    {"kv w3 1 heads=3", "ready"},
    {"open 0", "open w1 s0; open w2 s0; open w3 s0"},
    {"half 1 A 0 0:9", "send w1 e1; send w2 e1; send w3 e1"},
    {"result w1 1 1 A 0", "use"},
    {"result w2 1 1 A 0", "use"},
    {"result w3 1 1 A 0", "use; half done"},
    {"log w3 0 gap", ""},
    {"done", ""}, /* it is not asked to complete what it cannot hold */
    {NULL, NULL},
};

/* The sequence goes on; a loss is made good by who covers it, nothing is replayed. */
Test(core_room, a_small_log_is_not_used_for_what_it_cannot_hold)
{
    static const struct trace_line lines[] = {
        {"closed w1", "w1 offline closed; not ready; assign w2 e2 h0,1,2 f1,2 s0=9; "
                      "assign w3 e2 h3 f0,3 v0,1 s0=9"},
        {NULL, NULL},
    };
    struct trace t;
    play(until_one_gives_up, &t);
    cr_assert_eq(view(&t, 2).covers, 0);
    cr_assert_eq(view(&t, 2).too_large, 1);
    cr_assert_eq(view(&t, 2).positions, 8);
    cr_assert_eq(view(&t, 0).covers, 1);
    cr_assert_eq(hd_core_log_room(t.core), 400, "the best log counts, not the smallest");
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* What its limit kept out it is asked for when others have ended, and there is room. */
Test(core_room, asked_again_when_there_is_room)
{
    static const struct trace_line lines[] = {
        {"close 0", "close w1 s0; close w2 s0; close w3 s0"},
        {"open 1", "open w1 s1; open w2 s1; open w3 s1"},
        {"open 2", "open w1 s2; open w2 s2; open w3 s2"},
        {"half 2 A 0 1:4 2:4", "send w1 e1; send w2 e1; send w3 e1"},
        {"result w1 1 2 A 0", "use"},
        {"result w2 1 2 A 0", "use"},
        {"result w3 1 2 A 0", "use; half done"},
        {"log w3 2 gap", ""},
        {"done", ""},
        {"close 1", "close w1 s1; close w2 s1; close w3 s1; fill w3 s2=4"},
        {"log w3 2 complete", ""},
        {NULL, NULL},
    };
    struct trace t;
    play(until_one_gives_up, &t);
    trace_play(&t, lines);
    cr_assert_eq(view(&t, 2).covers, 1);
    trace_deinit(&t);
}

/* A log that is smaller than what it grows by is none. */
Test(core_room, a_log_without_room_for_anything)
{
    static const struct trace_line lines[] = {
        {"hello w4 log=99", "welcome w4; w4 online"},
        {"close 0", "close w1 s0; close w2 s0; close w3 s0; close w4 s0; prepare w4 e1 r1 +h1 +f2"},
        {"open 1", "open w1 s1; open w2 s1; open w3 s1; open w4 s1"},
        {NULL, NULL},
    };
    struct trace t;
    play(until_one_gives_up, &t);
    trace_play(&t, lines);
    cr_assert_eq(view(&t, 3).covers, 0);
    cr_assert_eq(view(&t, 2).covers, 1);
    trace_deinit(&t);
}

/* No log covers everything: who covers the most gets the heads, so the least is replayed. */
Test(core_room, who_covers_the_most)
{
    static const struct trace_line lines[] = {
        {"hello w1 log=10000", "welcome w1; w1 online"},
        {"hello w2 log=10000", "welcome w2; w2 online"},
        {"hello w3 log=10000", "welcome w3; w3 online; assign w1 e1 h0,1 f0 v0; assign w2 e1 h2 "
                               "f1,2; assign w3 e1 h3 f3 v1"},
        {"kv w1 1", ""},
        {"kv w2 1", ""},
        {"kv w3 1", "ready"},
        {"open 0", "open w1 s0; open w2 s0; open w3 s0"},
        {"open 1", "open w1 s1; open w2 s1; open w3 s1"},
        {"half 1 A 0 0:3 1:5", "send w1 e1; send w2 e1; send w3 e1"},
        {"log w2 1 gap", ""},
        {"log w3 0 gap", ""},
        {"closed w1", "w1 offline closed; not ready; reset; assign w2 e2 h2 f0,1,2 v0 "
                      "s0=0+3@0 s1=0+5@0; assign w3 e2 h0,1,3 f3 v1 s0=0+3@0 s1=0+5@0"},
        {"kv w2 2", ""},
        {"kv w3 2 gaps=0", "replay 1; assign w2 e3 h2 f0,1,2 v0 s0=replayed s1=0; assign w3 e3 "
                           "h0,1,3 f3 v1 s0=replayed s1=0"},
        {NULL, NULL},
    };
    struct trace t;
    play(lines, &t);
    trace_deinit(&t);
}
