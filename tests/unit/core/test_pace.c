/* test_pace.c - a worker becomes slow, is relieved, and gets its share back: minutes of steps and
 * heartbeats in virtual time, through the real core. */
#include "tests/unit/core/trace.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#define USUAL_US 1000

/* Three workers of which w3 is slow now and then; what they are told they do. */
struct cluster {
    struct trace t;
    uint64_t due_us; /* next tick */
    uint64_t step;
    uint64_t answer_us; /* that w3 takes for a half-step */
    uint64_t beat_us;   /* ... and for a heartbeat */
    bool deaf;          /* it confirms nothing */
    unsigned relieved, steady, slow, epochs, prepared;
    char said[128]; /* the latest of its pace */
};

static void play(struct cluster *c, const char *event);

/* Who is told to prepare, or of an epoch, is ready at once. */
static void react(struct cluster *c, const char *did)
{
    static const char *const words[] = {"prepare ", "assign "};
    char text[sizeof c->t.text], event[64], name[8];
    snprintf(text, sizeof text, "%s", did);
    for (int k = 0; k < 2; k++)
        for (const char *at = strstr(text, words[k]); at; at = strstr(at + 1, words[k])) {
            unsigned epoch, round = 0;
            cr_assert(sscanf(at + strlen(words[k]), "%7s e%u r%u", name, &epoch, &round) >= 2);
            snprintf(event, sizeof event, k == 0 ? "kv %s %u round=%u" : "kv %s %u", name, epoch,
                     round);
            c->prepared += k == 0;
            if (!c->deaf || strcmp(name, "w3") != 0)
                play(c, event);
        }
}

static void play(struct cluster *c, const char *event)
{
    const char *did = trace_event(&c->t, event), *at = strstr(did, "w3 relieved");
    c->relieved += at != NULL;
    c->epochs += strstr(did, "not ready") != NULL;
    at = at ? at : strstr(did, "w3 steady");
    c->steady += at && strstr(at, "w3 steady") == at;
    at = at ? at : strstr(did, "w3 slow");
    c->slow += at && strstr(at, "w3 slow") == at;
    if (at)
        snprintf(c->said, sizeof c->said, "%.*s", (int)strcspn(at, ";"), at);
    react(c, did);
}

/* Time passes, with ticks and heartbeats. */
static void pass(struct cluster *c, uint64_t us)
{
    uint64_t end = c->t.now_us + us;
    while (c->due_us <= end) {
        char ack[32];
        c->t.now_us = c->due_us;
        c->due_us += 50000;
        play(c, "tick 0");
        play(c, "ack w1");
        play(c, "ack w2");
        snprintf(ack, sizeof ack, "ack w3 %u", (unsigned)c->beat_us);
        play(c, ack);
    }
    c->t.now_us = end;
}

static uint32_t units_of(const struct cluster *c, unsigned slot)
{
    uint32_t n = 0;
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        n += hd_plan_owned(hd_core_plan(c->t.core), k, slot, NULL);
    return n;
}

static void answer(struct cluster *c, unsigned slot, const char *half)
{
    char event[64];
    snprintf(event, sizeof event, "result w%u %u %u %s", slot + 1,
             (unsigned)hd_core_epoch(c->t.core), (unsigned)c->step, half);
    play(c, event);
}

static void half_step(struct cluster *c, const char *half, enum hd_unit_kind kind)
{
    char event[64];
    snprintf(event, sizeof event, "half %u %s 0:1", (unsigned)c->step, half);
    play(c, event);
    pass(c, USUAL_US);
    for (unsigned s = 0; s < 2; s++)
        if (hd_plan_owned(hd_core_plan(c->t.core), kind, s, NULL))
            answer(c, s, half);
    if (!hd_plan_owned(hd_core_plan(c->t.core), kind, 2, NULL))
        return;
    pass(c, c->answer_us - USUAL_US);
    answer(c, 2, half);
}

/* Steps for so many seconds; how many. */
static unsigned serve(struct cluster *c, double seconds)
{
    uint64_t end = c->t.now_us + (uint64_t)(seconds * 1e6), before = c->step;
    while (c->t.now_us < end) {
        c->step++;
        half_step(c, "A 0", HD_UNIT_HEAD);
        half_step(c, "F 0", HD_UNIT_FFN);
        half_step(c, "L 0", HD_UNIT_VOCAB);
        play(c, "done");
    }
    return (unsigned)(c->step - before);
}

static void idle(struct cluster *c, double seconds)
{
    pass(c, (uint64_t)(seconds * 1e6));
}

static void set_pace(struct cluster *c, uint64_t answer_us, uint64_t beat_us)
{
    c->answer_us = answer_us;
    c->beat_us = beat_us;
}

static const struct hd_fixed_table all_to_w3 = {
    .entries = {{.name = "w3", .heads = {0, 1, 2, 3, 4, 5}, .n_heads = 6}}, .n = 1};

static void begin(struct cluster *c, const char *strategy, bool automatic)
{
    struct hd_core_options o = trace_options();
    memset(c, 0, sizeof *c);
    o.units[HD_UNIT_HEAD] = o.units[HD_UNIT_VOCAB] = 6;
    o.units[HD_UNIT_FFN] = 24;
    o.min_workers = 3;
    o.strategy = hd_strategy_find(strategy);
    o.relief.automatic = automatic;
    o.fixed = &all_to_w3;
    trace_init(&c->t, &o);
    c->due_us = c->t.now_us + 50000;
    set_pace(c, USUAL_US, 300);
    play(c, "hello w1 speed=1000000");
    play(c, "hello w2 speed=1000000");
    play(c, "hello w3 speed=1000000");
    idle(c, 0.1);
    play(c, "open 0");
}

static void start(struct cluster *c, const char *strategy, bool automatic)
{
    begin(c, strategy, automatic);
    serve(c, 3);
    cr_assert_eq(hd_core_state(c->t.core), HD_CLUSTER_READY);
    cr_assert(units_of(c, 2) > 0);
    cr_assert_eq(c->relieved + c->slow + c->steady, 0);
}

static void end(struct cluster *c)
{
    trace_deinit(&c->t);
}

static const char *const strategies[] = {"even", "weighted", "bandwidth", "single"};

/* Stopped for nine tenths of the time: relieved of everything within 5 s, and back 10 s after it is
 * well, with no more moves than these two. */
Test(core_pace, relieved_and_back)
{
    for (size_t i = 0; i < sizeof strategies / sizeof *strategies; i++) {
        struct cluster c;
        start(&c, strategies[i], true);
        unsigned before = serve(&c, 5);
        uint32_t share = units_of(&c, 2);
        set_pace(&c, 45000, 45000);
        serve(&c, 5);
        cr_assert_str_eq(c.said, "w3 relieved share=0.00", "%s", strategies[i]);
        cr_assert_eq(units_of(&c, 2), 0);
        cr_assert_geq(serve(&c, 5), before * 9 / 10, "the others are not held up");
        serve(&c, 60);
        cr_assert_eq(c.relieved, 1);
        cr_assert_eq(c.steady, 0);
        set_pace(&c, USUAL_US, 300);
        serve(&c, 8);
        cr_assert_eq(units_of(&c, 2), 0, "not yet");
        serve(&c, 8);
        cr_assert_eq(c.steady, 1);
        cr_assert_eq(units_of(&c, 2), share);
        unsigned epochs = c.epochs;
        serve(&c, 60);
        cr_assert_eq(c.epochs, epochs);
        end(&c);
    }
}

/* One worker owns all: its own past and its heartbeats are what it is compared with. */
Test(core_pace, who_owns_everything)
{
    struct cluster c;
    start(&c, "fixed", true);
    cr_assert_eq(units_of(&c, 2), 36);
    set_pace(&c, 10 * USUAL_US, 300); /* may be what is asked */
    serve(&c, 20);
    cr_assert_eq(c.relieved + c.slow, 0);
    set_pace(&c, 45000 * 10, 45000);
    serve(&c, 10);
    cr_assert_eq(units_of(&c, 2), 0);
    set_pace(&c, USUAL_US, 300);
    serve(&c, 14);
    cr_assert_eq(units_of(&c, 2), 36);
    end(&c);
}

/* It stands still from its first half-step on, so what is usual nobody knows. */
Test(core_pace, slow_from_the_start)
{
    static const char *const of[] = {"even", "fixed"};
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        struct cluster c;
        begin(&c, of[i], true);
        cr_assert(units_of(&c, 2) > 0);
        set_pace(&c, 45000, 45000);
        serve(&c, 6);
        cr_assert_eq(units_of(&c, 2), 0, "%s", of[i]);
        end(&c);
    }
}

/* The same while nothing is asked: it shows by its heartbeats that it is well. */
Test(core_pace, back_without_requests)
{
    struct cluster c;
    start(&c, "even", true);
    set_pace(&c, 45000, 45000);
    serve(&c, 5);
    play(&c, "close 0");
    idle(&c, 30);
    cr_assert_eq(units_of(&c, 2), 0);
    set_pace(&c, USUAL_US, 300);
    idle(&c, 15);
    cr_assert(units_of(&c, 2) > 0);
    end(&c);
}

/* A pause of a second is no slowness, nor is what all do together. */
Test(core_pace, once_is_no_matter)
{
    struct cluster c;
    start(&c, "even", true);
    for (int i = 0; i < 20; i++) {
        set_pace(&c, 200000, 300);
        serve(&c, 1);
        set_pace(&c, USUAL_US, 300);
        serve(&c, 4);
    }
    cr_assert_eq(c.relieved + c.slow, 0);
    end(&c);
}

/* Three times as slow: it keeps what fits its speed. */
Test(core_pace, a_part_of_its_share)
{
    struct cluster c;
    start(&c, "even", true);
    uint32_t share = units_of(&c, 2);
    set_pace(&c, 3 * USUAL_US, 300);
    serve(&c, 3);
    cr_assert_eq(c.relieved, 1);
    cr_assert(strstr(c.said, "share=0.3") != NULL, "%s", c.said);
    cr_assert(units_of(&c, 2) > 0 && units_of(&c, 2) <= share / 3, "%u of %u", units_of(&c, 2),
              share);
    set_pace(&c, USUAL_US, 300); /* what it has kept it does in time */
    serve(&c, 16);
    cr_assert_eq(c.steady, 1);
    cr_assert_eq(units_of(&c, 2), share);
    end(&c);
}

/* What it has kept is still too much. */
Test(core_pace, then_of_everything)
{
    struct cluster c;
    start(&c, "even", true);
    set_pace(&c, 3 * USUAL_US, 300);
    serve(&c, 8);
    cr_assert_eq(c.relieved, 2, "%s %u", c.said, units_of(&c, 2));
    cr_assert_eq(units_of(&c, 2), 0);
    cr_assert_eq(hd_core_reliefs(c.t.core), 1, "it is one relief");
    end(&c);
}

/* Ten minutes of slowness by fits and starts that no heartbeat shows: each time it comes back
 * later. 6 reliefs are 10, 20, 40, 80, 160, 320 s apart. */
Test(core_pace, no_flapping)
{
    struct cluster c;
    uint64_t random = 7;
    start(&c, "even", true);
    uint64_t until = c.t.now_us + 600000000u;
    while (c.t.now_us < until) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        set_pace(&c, random >> 63 ? 20 * USUAL_US : USUAL_US, 300);
        serve(&c, 1 + (double)(random >> 33 & 15));
    }
    cr_assert(c.relieved >= 2 && c.relieved <= 6, "%u times", c.relieved);
    cr_assert_leq(c.epochs, 2 * c.relieved + 1);
    end(&c);
}

/* Nothing waits for it: it does not even confirm that it owns nothing. */
Test(core_pace, it_need_not_agree)
{
    struct cluster c;
    start(&c, "even", true);
    set_pace(&c, 45000, 45000);
    c.deaf = true;
    serve(&c, 6);
    cr_assert_eq(units_of(&c, 2), 0);
    cr_assert_eq(hd_core_state(c.t.core), HD_CLUSTER_READY);
    end(&c);
}

/* cluster.rebalance manual: it is said, and nothing moves. */
Test(core_pace, by_hand_it_is_only_said)
{
    struct cluster c;
    start(&c, "even", false);
    uint32_t share = units_of(&c, 2);
    set_pace(&c, 45000, 45000);
    serve(&c, 20);
    cr_assert_eq(c.relieved, 0);
    cr_assert_eq(c.slow, 1, "once");
    cr_assert_eq(units_of(&c, 2), share);
    struct hd_worker_view v;
    cr_assert(hd_core_worker(c.t.core, 2, c.t.now_us, &v));
    cr_assert_eq(v.pace, HD_PACE_SLOW);
    cr_assert(v.slowness > 10 && v.slow_since_us > 0);
    set_pace(&c, USUAL_US, 300);
    serve(&c, 5);
    cr_assert_eq(c.steady, 1);
    end(&c);
}

/* Lost for silence again and again: the second time it has to show that it is well. */
Test(core_pace, silent_again_and_again)
{
    struct cluster c;
    start(&c, "even", true);
    for (int i = 0; i < 2; i++) {
        const char *did = "";
        for (int n = 0; n < 20 && !strstr(did, "w3 offline silent"); n++) {
            did = trace_event(&c.t, "tick 50");
            c.relieved += strstr(did, "w3 relieved") != NULL;
            char copy[sizeof c.t.text];
            snprintf(copy, sizeof copy, "%s", did);
            trace_event(&c.t, "ack w1");
            trace_event(&c.t, "ack w2");
            react(&c, copy);
            did = strstr(copy, "w3 offline silent") ? "w3 offline silent" : "";
        }
        cr_assert_str_eq(did, "w3 offline silent");
        c.due_us = c.t.now_us + 50000;
        serve(&c, 0.1);
        play(&c, "close 0");
        play(&c, "hello w3 speed=1000000");
        play(&c, "open 0");
        serve(&c, 2);
        cr_assert_eq(units_of(&c, 2) > 0, i == 0);
    }
    cr_assert_eq(c.relieved, 1);
    serve(&c, 12);
    cr_assert(units_of(&c, 2) > 0, "well for 10 s");
    end(&c);
}

/* When the others die the slow one has to do. */
Test(core_pace, slow_is_better_than_none)
{
    struct cluster c;
    start(&c, "even", true);
    set_pace(&c, 45000, 45000);
    serve(&c, 5);
    cr_assert_eq(units_of(&c, 2), 0);
    play(&c, "closed w1");
    play(&c, "closed w2");
    cr_assert_eq(hd_core_state(c.t.core), HD_CLUSTER_READY);
    cr_assert_eq(units_of(&c, 2), 36);
    end(&c);
}
