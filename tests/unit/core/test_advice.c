/* test_advice.c - the way of recovery that a cluster is told to use. */
#include "leader/core/advice.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define MIB 1048576.0

/* 8 heads, 32 FFN and 32 vocab blocks, evenly on 4 workers; a unit of each kind is 10 MiB. */
struct advice_case {
    struct hd_plan plan;
    struct hd_plan_worker measured[HD_MAX_WORKERS];
    struct hd_unit_cost unit[HD_UNIT_KINDS];
    struct hd_advice_input in;
    struct hd_advice out;
};

static void setup(struct advice_case *c)
{
    static const uint32_t counts[HD_UNIT_KINDS] = {8, 32, 32};
    *c = (struct advice_case){0};
    cr_assert(hd_plan_init(&c->plan, counts) == 0);
    for (int k = 0; k < HD_UNIT_KINDS; k++) {
        c->unit[k] = (struct hd_unit_cost){.work = 1e6, .bytes = 10 * MIB};
        for (uint32_t u = 0; u < counts[k]; u++)
            c->plan.owner[k][u] = (uint8_t)(u * 4 / counts[k]);
    }
    for (unsigned s = 0; s < 4; s++)
        c->measured[s] = (struct hd_plan_worker){.speed = 1e9, .memory = 4096 * MIB};
    c->in = (struct hd_advice_input){.plan = &c->plan,
                                     .workers = 15,
                                     .measured = c->measured,
                                     .unit = c->unit,
                                     .kv_work = 1e4,
                                     .load_rate = 1000 * MIB,
                                     .positions = 1000,
                                     .copies = 1};
}

static void advise(struct advice_case *c)
{
    cr_assert(hd_advise(&c->in, &c->out) == 0);
    cr_assert(c->out.why[0]);
}

/* 18 units of 10 MiB at 3 x 1000 MiB/s; 1000 positions x 2 heads x 1e4, or x 72e6, at 3e9/s. */
Test(core_advice, estimates)
{
    struct advice_case c;
    setup(&c);
    advise(&c);
    double load = 180.0 / 3000;
    cr_assert_float_eq(c.out.stall_s[HD_POLICY_REUSE], load + 2e7 / 3e9, 1e-9);
    cr_assert_float_eq(c.out.stall_s[HD_POLICY_FULL], load + 72e9 / 3e9, 1e-9);
    cr_assert_eq(c.out.stall_s[HD_POLICY_STANDBY], 0);
    cr_assert_eq(c.out.best, HD_POLICY_REUSE, "67 ms are not worth a copy: %s", c.out.why);
    hd_plan_deinit(&c.plan);
}

Test(core_advice, slow_loading_is_worth_copies)
{
    struct advice_case c;
    setup(&c);
    c.in.load_rate = 100 * MIB;
    advise(&c);
    cr_assert_eq(c.out.best, HD_POLICY_STANDBY);
    cr_assert_float_eq(c.out.copy_bytes, 180 * MIB, 20 * MIB);
    cr_assert(strstr(c.out.why, "standby"));
    /* ... if there is room for them */
    for (unsigned s = 0; s < 4; s++)
        c.measured[s].memory = 200 * MIB;
    advise(&c);
    cr_assert_eq(c.out.best, HD_POLICY_REUSE);
    cr_assert(isinf(c.out.stall_s[HD_POLICY_STANDBY]));
    cr_assert(strstr(c.out.why, "no memory"));
    hd_plan_deinit(&c.plan);
}

/* Weights that are held are not loaded: what is left is not worth copies with K/V. */
Test(core_advice, weights_are_held)
{
    struct advice_case c;
    setup(&c);
    c.in.load_rate = 100 * MIB;
    c.in.loaded = true;
    advise(&c);
    cr_assert_float_eq(c.out.stall_s[HD_POLICY_REUSE], 2e7 / 3e9, 1e-9);
    cr_assert_float_eq(c.out.stall_s[HD_POLICY_FULL], 72e9 / 3e9, 1e-9);
    cr_assert_eq(c.out.best, HD_POLICY_REUSE);
    hd_plan_deinit(&c.plan);
}

/* The worst loss counts: that of the worker with the most. */
Test(core_advice, the_worst_loss)
{
    struct advice_case c;
    setup(&c);
    memset(c.plan.owner[HD_UNIT_HEAD], 2, 8);
    advise(&c);
    cr_assert_float_eq(c.out.stall_s[HD_POLICY_REUSE], 240.0 / 3000 + 8e7 / 3e9, 1e-9);
    hd_plan_deinit(&c.plan);
}

Test(core_advice, nobody_to_take_over)
{
    struct advice_case c;
    setup(&c);
    c.in.workers = 4;
    advise(&c);
    cr_assert(strstr(c.out.why, "add a second one"));
    c.in.workers = c.in.without_log = 15;
    advise(&c);
    cr_assert_eq(c.out.best, HD_POLICY_FULL);
    hd_plan_deinit(&c.plan);
}
