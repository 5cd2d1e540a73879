/* test_audit.c - golden traces: half-steps that a second worker computes as well. */
#include "tests/unit/core/trace.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* Every half-step is audited: in a window of one there is nothing to choose. */
static struct hd_core_options every(void)
{
    struct hd_core_options o = trace_options();
    o.trust = (struct hd_trust_options){
        .audit_every = 1, .seed = 5, .deadline_us = 1000000, .quarantine_us = 600000000};
    return o;
}

static void play(unsigned workers, const struct trace_line *lines)
{
    struct trace t;
    struct hd_core_options o = every();
    trace_start(&t, workers, &o);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* Who stands alone among three is wrong: here the one that was audited. Its name is refused. */
Test(core_audit, a_liar)
{
    static const struct trace_line lines[] = {
        {"open 0", "open w1 s0; open w2 s0; open w3 s0"},
        {"half 1 F 0 0:5", "send w1 e2; send w2 e2; send w3 e2"},
        {"result w1 2 1 F 0 11", "use"},
        {"result w2 2 1 F 0 22", "use"},
        {"result w3 2 1 F 0 33",
         "use; ask w2#1 of w1 r1; ask w3#2 of w2 r1; ask w1#3 of w3 r1; half done"},
        {"audit w2 1 99", "differ w1 w2; ask w3#4 of w1 r1"},
        {"audit w3 2 22", ""},
        {"audit w1 3 33", ""},
        {"audit w3 4 99",
         "audited r1; wrong w1 since 1000; cut w1 with a word; w1 offline wrong; not ready; "
         "replay 1; assign w2 e3 h0,2 f2,3 v0 s0=replayed; assign w3 e3 h1,3 f0,1 v1 s0=replayed"},
        {"hello w1", "reject wrong"},
        {"kv w2 3 heads=0", ""},
        {"kv w3 3 heads=1", "ready"},
        {NULL, NULL},
    };
    play(3, lines);
}

/* ... or the one that audited. */
Test(core_audit, a_lying_auditor)
{
    static const struct trace_line lines[] = {
        {"half 1 F 0", "send w1 e2; send w2 e2; send w3 e2"},
        {"result w1 2 1 F 0 11", "use"},
        {"result w2 2 1 F 0 22", "use"},
        {"result w3 2 1 F 0 33",
         "use; ask w2#1 of w1 r1; ask w3#2 of w2 r1; ask w1#3 of w3 r1; half done"},
        {"audit w2 1 99", "differ w1 w2; ask w3#4 of w1 r1"},
        {"audit w3 4 11",
         "wrong w2 since 1000; cut w2 with a word; w2 offline wrong; not ready; assign w1 e3 h0,1 "
         "f0,2 v0; assign w3 e3 h2,3 f1,3 v1"},
        {NULL, NULL},
    };
    play(3, lines);
}

/* No two of three agree: all compute afresh, and who then still stands alone is wrong. */
Test(core_audit, all_differ)
{
    static const struct trace_line lines[] = {
        {"half 1 F 0", "send w1 e2; send w2 e2; send w3 e2"},
        {"result w1 2 1 F 0 11", "use"},
        {"result w2 2 1 F 0 22", "use"},
        {"result w3 2 1 F 0 33",
         "use; ask w2#1 of w1 r1; ask w3#2 of w2 r1; ask w1#3 of w3 r1; half done"},
        {"audit w3 2 22", ""},
        {"audit w1 3 33", ""},
        {"audit w2 1 99", "differ w1 w2; ask w3#4 of w1 r1"},
        {"audit w3 4 98",
         "ask w1#5 of w1 r1 again; ask w2#6 of w1 r1 again; ask w3#7 of w1 r1 again"},
        {"audit w1 5 11", ""},
        {"audit w2 6 11", ""},
        {"audit w3 7 98",
         "audited r1; wrong w2 since 1000; cut w2 with a word; w2 offline wrong; wrong w3 since "
         "1000; cut w3 with a word; w3 offline wrong; not ready; assign w1 e3 h0,1,2,3 f0,1,2,3 "
         "v0,1"},
        {NULL, NULL},
    };
    play(3, lines);
}

/* Without a third both compute afresh: who says something else than before was wrong. */
Test(core_audit, a_flaky_pair)
{
    static const struct trace_line lines[] = {
        {"open 0", "open w1 s0; open w2 s0"},
        {"half 1 F 0 0:5", "send w1 e1; send w2 e1"},
        {"result w1 1 1 F 0 11", "use"},
        {"result w2 1 1 F 0 22", "use; ask w2#1 of w1 r1; ask w1#2 of w2 r1; half done"},
        {"audit w1 2 22", ""},
        {"audit w2 1 99", "differ w1 w2; ask w1#3 of w1 r1 again; ask w2#4 of w1 r1 again"},
        {"audit w1 3 99", ""},
        {"audit w2 4 99",
         "audited r1; wrong w1 since 1000; cut w1 with a word; w1 offline wrong; not ready; "
         "replay 1; assign w2 e2 h0,1,2,3 f0,1,2,3 v0,1 s0=replayed"},
        {NULL, NULL},
    };
    play(2, lines);
}

/* When both stay with their words nobody is blamed, and nothing of it is trusted. */
Test(core_audit, a_stubborn_pair)
{
    static const struct trace_line lines[] = {
        {"open 0", "open w1 s0; open w2 s0"},
        {"half 1 F 0 0:5", "send w1 e1; send w2 e1"},
        {"result w1 1 1 F 0 11", "use"},
        {"result w2 1 1 F 0 22", "use; ask w2#1 of w1 r1; ask w1#2 of w2 r1; half done"},
        {"audit w1 2 22", ""},
        {"audit w2 1 99", "differ w1 w2; ask w1#3 of w1 r1 again; ask w2#4 of w1 r1 again"},
        {"audit w1 3 11", ""},
        {"audit w2 4 99",
         "audited r1; doubt w1 w2 since 1000; not ready; replay 1; assign w1 e2 h0,1 f0,1 v0 "
         "s0=replayed; assign w2 e2 h2,3 f2,3 v1 s0=replayed"},
        {NULL, NULL},
    };
    play(2, lines);
}

/* ... nor when one of them cannot say it again. */
Test(core_audit, a_pair_that_cannot)
{
    static const struct trace_line lines[] = {
        {"half 1 F 0", "send w1 e1; send w2 e1"},
        {"result w1 1 1 F 0 11", "use"},
        {"result w2 1 1 F 0 22", "use; ask w2#1 of w1 r1; ask w1#2 of w2 r1; half done"},
        {"audit w1 2 22", ""},
        {"audit w2 1 99", "differ w1 w2; ask w1#3 of w1 r1 again; ask w2#4 of w1 r1 again"},
        {"audit w1 3 cannot", ""},
        {"audit w2 4 99", "audited r1"},
        {NULL, NULL},
    };
    play(2, lines);
}

/* Who is lost while it is asked: another one is. */
Test(core_audit, a_lost_auditor)
{
    static const struct trace_line lines[] = {
        {"half 1 F 0", "send w1 e2; send w2 e2; send w3 e2"},
        {"result w1 2 1 F 0 11", "use"},
        {"result w2 2 1 F 0 22", "use"},
        {"result w3 2 1 F 0 33",
         "use; ask w2#1 of w1 r1; ask w3#2 of w2 r1; ask w1#3 of w3 r1; half done"},
        {"closed w2",
         "w2 offline closed; ask w3#4 of w1 r1; not ready; assign w1 e3 h0,1 f0,2 v0; assign w3 "
         "e3 h2,3 f1,3 v1"},
        {"audit w3 4 11", ""},
        {NULL, NULL},
    };
    play(3, lines);
}

/* A half-step that is sent again: what counts is what was used. A sequence that ends takes the
 * audit of its K/V along. */
Test(core_audit, a_retry)
{
    static const struct trace_line lines[] = {
        {"open 0", "open w1 s0; open w2 s0; open w3 s0"},
        {"half 1 A 0 0:5", "send w1 e2; send w2 e2; send w3 e2"},
        {"result w1 2 1 A 0 11", "use"},
        {"closed w2",
         "w2 offline closed; not ready; reset; assign w1 e3 h0,1 f0,2 v0 s0=0+5@0; assign w3 e3 "
         "h2,3 f1,3 v1 s0=0+5@0"},
        {"kv w1 3", ""},
        {"kv w3 3 heads=2", "ready; send w1 e3; send w3 e3"},
        {"result w1 3 1 A 0 12", "use"},
        {"result w3 3 1 A 0 13",
         "use; ask w3#1 of w1 r1; ask w1#2 of w3 r1; failover w2 closed e3 lost=1 reused=3 "
         "rebuilt=1 positions=5; half done"},
        {"audit w3 1 12", ""},
        {"close 0", "audited r1; close w1 s0; close w3 s0"},
        {"audit w1 2 13", ""},
        {NULL, NULL},
    };
    play(3, lines);
}

/* A step that is given up is not audited. */
Test(core_audit, an_abandoned_step)
{
    static const struct trace_line lines[] = {
        {"open 0", "open w1 s0; open w2 s0; open w3 s0"},
        {"half 1 A 0 0:5", "send w1 e2; send w2 e2; send w3 e2"},
        {"result w1 2 1 A 0 11", "use"},
        {"close 0", "audited r1; close w1 s0; close w2 s0; close w3 s0"},
        {"half 2 F 0", "send w1 e2; send w2 e2; send w3 e2"},
        {NULL, NULL},
    };
    play(3, lines);
}

/* All half-steps are to be audited: the next one waits until an audit is over. */
Test(core_audit, all_are_audited)
{
    static const struct trace_line lines[] = {
        {"half 1 Fa 0", "send w1 e2; send w2 e2; send w3 e2"},
        {"result w1 2 1 Fa 0 11", "use"},
        {"result w2 2 1 Fa 0 22", "use"},
        {"result w3 2 1 Fa 0 33",
         "use; ask w2#1 of w1 r1; ask w3#2 of w2 r1; ask w1#3 of w3 r1; half done"},
        {"half 2 Fa 0", "send w1 e2; send w2 e2; send w3 e2"},
        {"result w1 2 2 Fa 0 11", "use"},
        {"result w2 2 2 Fa 0 22", "use"},
        {"result w3 2 2 Fa 0 33",
         "use; ask w2#4 of w1 r2; ask w3#5 of w2 r2; ask w1#6 of w3 r2; half done"},
        {"half 3 Fa 0", "send w1 e2; send w2 e2; send w3 e2"},
        {"result w1 2 3 Fa 0 11", "use"},
        {"result w2 2 3 Fa 0 22", "use"},
        {"result w3 2 3 Fa 0 33",
         "use; ask w2#7 of w1 r3; ask w3#8 of w2 r3; ask w1#9 of w3 r3; half done"},
        {"half 4 Fa 0", "send w1 e2; send w2 e2; send w3 e2"},
        {"result w1 2 4 Fa 0 11", "use"},
        {"result w2 2 4 Fa 0 22", "use"},
        {"result w3 2 4 Fa 0 33",
         "use; ask w2#10 of w1 r4; ask w3#11 of w2 r4; ask w1#12 of w3 r4; half done"},
        {"half 5 Fa 0", ""},
        {"half 5 Fb 0", ""},
        {"audit w2 1 11", ""},
        {"audit w3 2 22", ""},
        {"audit w1 3 33", "audited r1; send w1 e2; send w2 e2; send w3 e2"},
        {NULL, NULL},
    };
    play(3, lines);
}

/* An answer without a digest, for it cannot be compared. */
Test(core_audit, rows_that_are_not_finite)
{
    static const struct trace_line lines[] = {
        {"half 1 F 0", "send w1 e2; send w2 e2; send w3 e2"},
        {"result w1 2 1 F 0 11", "use"},
        {"result w2 2 1 F 0 22", "use"},
        {"result w3 2 1 F 0", "use; ask w2#1 of w1 r1; ask w3#2 of w2 r1; half done"},
        {NULL, NULL},
    };
    play(3, lines);
}

/* Attention is audited by those whose logs have the rows. */
Test(core_audit, a_log_that_lacks)
{
    static const struct trace_line lines[] = {
        {"open 0", "open w1 s0; open w2 s0; open w3 s0"},
        {"log w2 0 gap", ""},
        {"half 1 A 0 0:5", "send w1 e2; send w2 e2; send w3 e2"},
        {"result w1 2 1 A 0 11", "use"},
        {"result w2 2 1 A 0 22", "use"},
        {"result w3 2 1 A 0 33",
         "use; ask w3#1 of w1 r1; ask w3#2 of w2 r1; ask w1#3 of w3 r1; half done"},
        {NULL, NULL},
    };
    play(3, lines);
}

/* Nobody is left who could: not audited. */
Test(core_audit, nobody_can)
{
    static const struct trace_line lines[] = {
        {"half 1 F 0", "send w1 e1; send w2 e1"},
        {"result w1 1 1 F 0 11", "use"},
        {"result w2 1 1 F 0 22", "use; ask w2#1 of w1 r1; ask w1#2 of w2 r1; half done"},
        {"audit w2 1 cannot", ""},
        {"audit w1 2 cannot", "audited r1"},
        {NULL, NULL},
    };
    play(2, lines);
}

static void pass(struct trace *t, unsigned ms)
{
    for (; ms >= 50; ms -= 50) {
        trace_event(t, "ack w1");
        trace_event(t, "ack w2");
        trace_event(t, "ack w3");
        trace_event(t, "tick 50");
    }
}

/* Who does not answer in time is passed over. Our own lateness is not theirs. */
Test(core_audit, late)
{
    struct trace t;
    struct hd_core_options o = every();
    trace_start(&t, 3, &o);
    trace_event(&t, "half 1 F 0");
    trace_event(&t, "result w1 2 1 F 0 11");
    trace_event(&t, "result w2 2 1 F 0 22");
    trace_event(&t, "result w3 2 1 F 0 33");
    pass(&t, 500);
    trace_event(&t, "tick 1000 late 1000");
    pass(&t, 500);
    cr_assert(hd_core_audit_totals(t.core)->late == 0);
    const char *got = trace_event(&t, "tick 1");
    cr_assert(strcmp(got, "ask w3#4 of w1 r1; ask w1#5 of w2 r1; ask w2#6 of w3 r1; beat w1; "
                          "beat w2; beat w3") == 0,
              "%s", got);
    pass(&t, 1000);
    got = trace_event(&t, "tick 1");
    cr_assert(strcmp(got, "audited r1; beat w1; beat w2; beat w3") == 0, "%s", got);
    const struct hd_audit_totals *n = hd_core_audit_totals(t.core);
    cr_assert(n->late == 6 && n->not_audited == 3 && n->equal == 0 && n->rounds == 1);
    trace_deinit(&t);
}

/* Two differed and then one of them could not be asked: if nothing explains it in time, nothing
 * that is computed is trusted. */
Test(core_audit, differed_and_left_open)
{
    struct trace t;
    struct hd_core_options o = every();
    trace_start(&t, 2, &o);
    trace_event(&t, "open 0");
    trace_event(&t, "half 1 A 0 0:1");
    trace_event(&t, "result w1 1 1 A 0 11");
    trace_event(&t, "result w2 1 1 A 0 22");
    trace_event(&t, "audit w2 1 12");
    const char *got = trace_event(&t, "close 0");
    cr_assert(strcmp(got, "audited r1; close w1 s0; close w2 s0") == 0, "%s", got);
    trace_event(&t, "open 1");
    for (unsigned i = 0; i < 20; i++) {
        trace_event(&t, "ack w1");
        trace_event(&t, "ack w2");
        got = trace_event(&t, "tick 50");
        cr_assert(strcmp(got, "beat w1; beat w2") == 0, "%s", got);
    }
    got = trace_event(&t, "tick 1");
    cr_assert(strcmp(got, "doubt w1 w2 since 1000; beat w1; beat w2; not ready; replay 2; "
                          "assign w1 e2 h0,1 f0,1 v0 s1=replayed; assign w2 e2 h2,3 f2,3 v1 "
                          "s1=replayed") == 0,
              "%s", got);
    trace_deinit(&t);
}

/* What went out before the latest answer that was confirmed is not doubted. */
Test(core_audit, since_the_last_clean_one)
{
    struct trace t;
    struct hd_core_options o = every();
    trace_start(&t, 3, &o);
    static const struct trace_line lines[] = {
        {"half 1 F 0", "send w1 e2; send w2 e2; send w3 e2"},
        {"result w1 2 1 F 0 11", "use"},
        {"result w2 2 1 F 0 22", "use"},
        {"result w3 2 1 F 0 33",
         "use; ask w2#1 of w1 r1; ask w3#2 of w2 r1; ask w1#3 of w3 r1; half done"},
        {"audit w2 1 11", ""},
        {"half 2 F 0", "send w1 e2; send w2 e2; send w3 e2"},
        {"result w1 2 2 F 0 11", "use"},
        {"result w2 2 2 F 0 22", "use"},
        {"result w3 2 2 F 0 33",
         "use; ask w2#4 of w1 r2; ask w3#5 of w2 r2; ask w1#6 of w3 r2; half done"},
        {"audit w2 4 12", "differ w1 w2; ask w3#7 of w1 r2"},
        {"audit w3 7 12", "wrong w1 since 1150; cut w1 with a word; w1 offline wrong; not ready; "
                          "assign w2 e3 h0,2 f2,3 v0; assign w3 e3 h1,3 f0,1 v1"},
        {NULL, NULL},
    };
    pass(&t, 150);
    trace_play(&t, lines);
    trace_deinit(&t);
}

/* One in each window, and those of layers stay with one layer for a while. */
Test(core_audit, windows)
{
    struct trace t;
    struct hd_core_options o = every();
    o.n_layers = 8;
    o.trust.audit_every = 40;
    trace_start(&t, 2, &o);
    unsigned audited = 0, of_layers = 0, at = 0, changes = 0;
    for (unsigned step = 1; step <= 600; step++)
        for (unsigned half = 0; half < 17; half++) {
            char event[64];
            const char *kind = half == 16 ? "L" : half % 2 ? "F" : "A";
            unsigned layer = half == 16 ? 0 : half / 2;
            snprintf(event, sizeof event, "half %u %s %u", step, kind, layer);
            trace_event(&t, event);
            for (unsigned w = 1; w <= 2; w++) {
                snprintf(event, sizeof event, "result w%u 1 %u %s %u 5", w, step, kind, layer);
                trace_event(&t, event);
            }
            if (!t.audit)
                continue;
            if (half < 16 && layer != at && of_layers > 0) {
                cr_assert(of_layers % 16 == 0, "layer %u after %u", layer, of_layers);
                changes++;
            }
            at = half < 16 ? layer : at;
            of_layers += half < 16;
            for (unsigned k = 1; k <= 2; k++) {
                snprintf(event, sizeof event, "audit w%u %u 5", 3 - k, 2 * audited + k);
                trace_event(&t, event);
            }
            audited++;
        }
    const struct hd_audit_totals *n = hd_core_audit_totals(t.core);
    cr_assert(n->rounds == audited && n->equal == 2 * audited && n->skipped == 0);
    cr_assert(audited > 200 && audited <= 255, "%u of 10200", audited);
    cr_assert(changes > 5);
    trace_deinit(&t);
}
