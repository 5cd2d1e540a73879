/* test_holds.c - who holds copies: each unit has as many as asked for, never by its owner, spread
 * evenly, within memory, and without moving what is well where it is. */
#include "leader/core/holds.h"

#include <criterion/criterion.h>

static const uint32_t counts[HD_UNIT_KINDS] = {8, 24, 10};

struct holds_case {
    struct hd_plan plan;
    struct hd_holds have, out;
    struct hd_unit_cost unit[HD_UNIT_KINDS];
    struct hd_plan_worker measured[HD_MAX_WORKERS];
    struct hd_standby_input in;
};

static void setup(struct holds_case *c, unsigned workers, unsigned copies)
{
    *c = (struct holds_case){0};
    cr_assert(hd_plan_init(&c->plan, counts) == 0);
    cr_assert(hd_holds_init(&c->have, counts) == 0);
    cr_assert(hd_holds_init(&c->out, counts) == 0);
    for (int k = 0; k < HD_UNIT_KINDS; k++) {
        c->unit[k].bytes = 10;
        for (uint32_t u = 0; u < counts[k]; u++)
            c->plan.owner[k][u] = (uint8_t)(u * workers / counts[k]);
    }
    c->in = (struct hd_standby_input){.workers = (UINT64_C(1) << workers) - 1,
                                      .copies = copies,
                                      .have = &c->have,
                                      .unit = c->unit,
                                      .measured = c->measured};
}

static void teardown(struct holds_case *c)
{
    hd_plan_deinit(&c->plan);
    hd_holds_deinit(&c->have);
    hd_holds_deinit(&c->out);
}

static uint32_t load(const struct holds_case *c, int kind, unsigned slot)
{
    return hd_plan_owned(&c->plan, kind, slot, NULL) + hd_holds_list(&c->out, kind, slot, NULL);
}

Test(core_holds, copies_are_complete_and_level)
{
    for (unsigned workers = 1; workers <= 6; workers++)
        for (unsigned copies = 0; copies <= 7; copies++) {
            struct holds_case c;
            setup(&c, workers, copies);
            hd_standby_fill(&c.out, &c.plan, &c.in);
            unsigned expected = copies < workers ? copies : workers - 1;
            for (int k = 0; k < HD_UNIT_KINDS; k++) {
                uint32_t least = UINT32_MAX, most = 0;
                for (uint32_t u = 0; u < counts[k]; u++) {
                    uint64_t m = c.out.mask[k][u];
                    cr_assert_eq((unsigned)__builtin_popcountll(m), expected);
                    cr_assert_eq(m & ~c.in.workers, 0);
                    cr_assert_eq(m >> c.plan.owner[k][u] & 1, 0, "an owner holds his own");
                }
                for (unsigned s = 0; s < workers; s++) {
                    least = load(&c, k, s) < least ? load(&c, k, s) : least;
                    most = load(&c, k, s) > most ? load(&c, k, s) : most;
                }
                cr_assert_leq(most - least, 2, "%u workers, %u copies: %u to %u of kind %d",
                              workers, copies, least, most, k);
            }
            teardown(&c);
        }
}

Test(core_holds, what_is_held_stays)
{
    struct holds_case c;
    setup(&c, 4, 2);
    hd_standby_fill(&c.have, &c.plan, &c.in);
    hd_standby_fill(&c.out, &c.plan, &c.in);
    cr_assert_eq(hd_holds_differ(&c.have, &c.out), 0);
    /* A loss: only what the lost one held is given to others. */
    hd_holds_drop(&c.have, 8);
    c.in.workers = 7;
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        for (uint32_t u = 0; u < counts[k]; u++)
            if (c.plan.owner[k][u] == 3)
                c.plan.owner[k][u] = (uint8_t)__builtin_ctzll(c.have.mask[k][u]);
    hd_holds_disown(&c.have, &c.plan);
    hd_standby_fill(&c.out, &c.plan, &c.in);
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        for (uint32_t u = 0; u < counts[k]; u++)
            cr_assert_eq(c.have.mask[k][u] & ~c.out.mask[k][u], 0, "unit %u of kind %d moved", u,
                         k);
    teardown(&c);
}

/* Who has no room holds nothing; who has some holds as much as fits. */
Test(core_holds, within_memory)
{
    struct holds_case c;
    setup(&c, 3, 1);
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        c.measured[0].memory += 10.0 * hd_plan_owned(&c.plan, k, 0, NULL);
    c.measured[1].memory = c.measured[0].memory + 35;
    hd_standby_fill(&c.out, &c.plan, &c.in);
    uint32_t held[3] = {0};
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        for (unsigned s = 0; s < 3; s++)
            held[s] += hd_holds_list(&c.out, k, s, NULL);
    cr_assert_eq(held[0], 0);
    cr_assert_leq(held[1], 3 + 1); /* its own share may be a unit smaller than the first one's */
    cr_assert_gt(held[2], 10);
    teardown(&c);
}

/* Orphans go to who is ready for them, the rest is left for a strategy; nobody else's units move.
 */
Test(core_holds, claim)
{
    struct holds_case c;
    setup(&c, 3, 1);
    hd_standby_fill(&c.have, &c.plan, &c.in);
    c.have.mask[HD_UNIT_HEAD][0] = 0; /* the copy of this one is not ready */
    struct hd_plan before;
    cr_assert(hd_plan_init(&before, counts) == 0);
    hd_plan_copy(&before, &c.plan);
    hd_standby_claim(&c.plan, &c.have, &(struct hd_standby_takers){6, 6, 6});
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        for (uint32_t u = 0; u < counts[k]; u++) {
            uint8_t was = before.owner[k][u], is = c.plan.owner[k][u];
            if (was != 0 || (k == HD_UNIT_HEAD && u == 0))
                cr_assert_eq(is, was);
            else
                cr_assert(c.have.mask[k][u] >> is & 1);
        }
    hd_plan_deinit(&before);
    teardown(&c);
}

/* K/V is kept of all heads that are held, or of none. */
Test(core_holds, weights_alone)
{
    struct holds_case c;
    uint32_t list[16];
    setup(&c, 3, 1);
    hd_standby_fill(&c.out, &c.plan, &c.in);
    for (uint32_t h = 0; h < counts[HD_UNIT_HEAD]; h++)
        cr_assert(c.out.mask[HD_UNIT_HEAD][h] != 0 && c.out.mask[HD_HOLD_KV][h] == 0);
    uint32_t n = hd_holds_list(&c.out, HD_UNIT_HEAD, 1, NULL);
    cr_assert_gt(n, 0);
    cr_assert_eq(hd_holds_bare(&c.out, 1, list), n);
    for (uint32_t i = 0; i < n; i++)
        cr_assert(c.out.mask[HD_UNIT_HEAD][list[i]] & 2);
    hd_holds_copy(&c.have, &c.out);
    c.in.kv = true;
    hd_standby_fill(&c.out, &c.plan, &c.in);
    for (uint32_t h = 0; h < counts[HD_UNIT_HEAD]; h++)
        cr_assert_eq(c.out.mask[HD_UNIT_HEAD][h], c.out.mask[HD_HOLD_KV][h]);
    cr_assert_eq(hd_holds_bare(&c.out, 1, NULL), 0);
    cr_assert_eq(hd_holds_differ(&c.have, &c.out), 7, "all have K/V to make");
    teardown(&c);
}

/* A head goes to who has its K/V; else to who has its weights and a log; a block to any holder. */
Test(core_holds, claim_of_weights)
{
    struct holds_case c;
    setup(&c, 4, 0);
    for (uint32_t h = 0; h < 2; h++)
        c.have.mask[HD_UNIT_HEAD][h] = 6; /* w1 and w2 */
    c.have.mask[HD_HOLD_KV][1] = 4;
    c.have.mask[HD_UNIT_FFN][0] = 2;
    hd_standby_claim(&c.plan, &c.have, &(struct hd_standby_takers){14, 14, .logged = 12});
    cr_assert_eq(c.plan.owner[HD_UNIT_HEAD][0], 2, "w1 could not compute it");
    cr_assert_eq(c.plan.owner[HD_UNIT_HEAD][1], 2);
    cr_assert_eq(c.plan.owner[HD_UNIT_FFN][0], 1, "there is nothing to be computed of a block");
    c.plan.owner[HD_UNIT_HEAD][0] = 0;
    hd_standby_claim(&c.plan, &c.have, &(struct hd_standby_takers){14, 14, .logged = 8});
    cr_assert_eq(c.plan.owner[HD_UNIT_HEAD][0], 0, "left to the strategy");
    teardown(&c);
}
