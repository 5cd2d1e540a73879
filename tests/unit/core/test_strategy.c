/* test_strategy.c - single, weighted, bandwidth: what they promise. */
#include "tests/unit/core/plans.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* ---- Shares ----*/

static struct hd_plan plan_of(uint32_t heads, uint32_t ffn, uint32_t vocab)
{
    struct hd_plan p;
    cr_assert(hd_plan_init(&p, (const uint32_t[]){heads, ffn, vocab}) == 0);
    return p;
}

Test(core_strategy, weighted_is_proportional)
{
    struct hd_plan p = plan_of(8, 80, 16);
    struct hd_plan_worker w[HD_MAX_WORKERS] = {{.speed = 4e9}, {.speed = 2e9}, {.speed = 2e9}};
    struct hd_plan_input in = {.workers = 7, .measured = w};
    plans_fill_well("weighted", &p, &in);
    for (int k = 0; k < HD_UNIT_KINDS; k++) {
        cr_assert(hd_plan_owned(&p, k, 0, NULL) == p.count[k] / 2);
        cr_assert(hd_plan_owned(&p, k, 1, NULL) == p.count[k] / 4);
    }
    hd_plan_deinit(&p);
}

/* A speed that is not known, or none: equal shares. What is left over of one kind is made good by
 * another. */
Test(core_strategy, unknown_is_equal)
{
    struct hd_plan p = plan_of(6, 12, 3), q = plan_of(3, 13, 2);
    struct hd_plan_worker w[HD_MAX_WORKERS] = {{.speed = 3e9}, {.speed = 0}, {.speed = 3e9}};
    struct hd_plan_input in = {.workers = 7, .measured = w}, blind = {.workers = 3};
    plans_fill_well("weighted", &p, &in);
    plans_fill_well("bandwidth", &q, &blind);
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        for (unsigned s = 0; s < 3; s++)
            cr_assert(hd_plan_owned(&p, k, s, NULL) == p.count[k] / 3);
    cr_assert(hd_plan_owned(&q, HD_UNIT_HEAD, 0, NULL) == 2);
    cr_assert(hd_plan_owned(&q, HD_UNIT_FFN, 0, NULL) == 6);
    hd_plan_deinit(&p);
    hd_plan_deinit(&q);
}

Test(core_strategy, memory_is_a_limit)
{
    struct hd_plan p = plan_of(8, 8, 8);
    struct hd_plan_worker w[HD_MAX_WORKERS] = {{.speed = 9e9, .memory = 299}, {.speed = 1e9}};
    struct hd_plan_input in = {.workers = 3, .measured = w, .unit = {{.bytes = 100}}};
    plans_fill_well("weighted", &p, &in);
    cr_assert(hd_plan_owned(&p, HD_UNIT_HEAD, 0, NULL) == 2);
    hd_plan_clear(&p);
    in.workers = 1;
    struct hd_error err = {0};
    cr_assert(hd_strategy_find("weighted")->fill(&p, &in, &err) == HD_E_LIMIT);
    cr_assert_str_eq(err.text,
                     "the model needs 1 MiB more than the workers' memory holds; add a worker");
    cr_assert(hd_plan_owners(&p, HD_UNIT_HEAD) == 0, "a plan that fails changes nothing");
    hd_plan_deinit(&p);
}

/* Equal shares as far as there is room; whoever has none for more gets it when nobody has. */
Test(core_strategy, even_looks_at_memory)
{
    struct hd_plan p = plan_of(6, 6, 0);
    struct hd_plan_worker w[HD_MAX_WORKERS] = {{.memory = 250}, {.memory = 0}};
    struct hd_plan_input in = {
        .workers = 3, .measured = w, .unit = {{.bytes = 100}, {.bytes = 25}}};
    plans_fill_well("even", &p, &in);
    cr_assert_eq(hd_plan_owned(&p, HD_UNIT_HEAD, 0, NULL), 2);
    cr_assert_eq(hd_plan_owned(&p, HD_UNIT_FFN, 0, NULL), 2);
    hd_plan_clear(&p);
    w[1].memory = 250;
    plans_fill_well("even", &p, &in);
    cr_assert_eq(hd_plan_owned(&p, HD_UNIT_HEAD, 0, NULL), 3);
    cr_assert_eq(hd_plan_owned(&p, HD_UNIT_FFN, 0, NULL), 3);
    hd_plan_deinit(&p);
}

/* Room counts for more than a log that covers everything, and than a suspicion. */
Test(core_strategy, preferred_and_suspects)
{
    struct hd_plan p = plan_of(4, 4, 0);
    struct hd_plan_worker w[HD_MAX_WORKERS] = {{.memory = 50}, {0}, {0}};
    struct hd_plan_input in = {.workers = 7, .preferred = 1, .measured = w};
    plans_fill_well("weighted", &p, &in);
    cr_assert(hd_plan_owned(&p, HD_UNIT_HEAD, 0, NULL) == 4);
    hd_plan_clear(&p);
    in.unit[HD_UNIT_HEAD].bytes = 50;
    plans_fill_well("weighted", &p, &in);
    cr_assert(hd_plan_owned(&p, HD_UNIT_HEAD, 0, NULL) == 1);
    hd_plan_clear(&p);
    in.avoid = 6;
    plans_fill_well("weighted", &p, &in);
    cr_assert(hd_plan_owned(&p, HD_UNIT_HEAD, 0, NULL) == 1);
    hd_plan_deinit(&p);
}

/* A distant worker gets a unit only when that saves more than a round trip. */
Test(core_strategy, bandwidth_weighs_the_way)
{
    struct hd_plan p = plan_of(8, 0, 0);
    struct hd_plan_worker w[HD_MAX_WORKERS] = {{.speed = 1e9, .rtt_s = 1e-3},
                                               {.speed = 1e9, .rtt_s = 3e-3}};
    struct hd_plan_input in = {.workers = 3, .measured = w};
    in.unit[HD_UNIT_HEAD] = (struct hd_unit_cost){.work = 1e6, .trips = 1};
    plans_fill_well("bandwidth", &p, &in);
    cr_assert(hd_plan_owned(&p, HD_UNIT_HEAD, 0, NULL) == 5);
    hd_plan_clear(&p);
    w[1].rtt_s = 1;
    plans_fill_well("bandwidth", &p, &in);
    cr_assert(hd_plan_owned(&p, HD_UNIT_HEAD, 1, NULL) == 0);
    hd_plan_clear(&p);
    w[1] = (struct hd_plan_worker){.speed = 1e9, .rtt_s = 1e-3, .rate = 1e6};
    w[0].rate = 1e9;
    in.unit[HD_UNIT_HEAD].trip_bytes = 4000; /* 4 ms over the slow link */
    plans_fill_well("bandwidth", &p, &in);
    cr_assert(hd_plan_owned(&p, HD_UNIT_HEAD, 1, NULL) == 2);
    hd_plan_deinit(&p);
}

/* Many workers, many units, hardly any memory to spare: it still ends, and fits. */
Test(core_strategy, large_and_tight)
{
    static struct hd_plan_worker w[HD_MAX_WORKERS];
    struct hd_plan p = plan_of(64, 512, 128);
    struct hd_plan_input in = {.workers = UINT64_MAX, .measured = w};
    double bytes[HD_UNIT_KINDS] = {40, 6, 5}, need = 64 * 40 + 512 * 6 + 128 * 5;
    uint64_t seed = 5;
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        in.unit[k] = (struct hd_unit_cost){.work = 1e6, .bytes = bytes[k], .trips = 16};
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        w[s] = (struct hd_plan_worker){.speed = 1e9 * (1 + plans_random(&seed, 9)),
                                       .memory = need / 64 * 1.2,
                                       .rtt_s = 1e-4 * (1 + plans_random(&seed, 9))};
    plans_fill_well("bandwidth", &p, &in);
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        double now = 0;
        for (int k = 0; k < HD_UNIT_KINDS; k++)
            now += hd_plan_owned(&p, k, s, NULL) * bytes[k];
        cr_assert(now <= w[s].memory);
    }
    hd_plan_deinit(&p);
}

/* ---- single ----*/

static uint64_t new_owners(const struct hd_plan *now, const struct hd_plan *before, uint64_t alive)
{
    uint64_t set = 0;
    for (uint32_t h = 0; h < now->count[HD_UNIT_HEAD]; h++)
        if (!(alive >> before->owner[HD_UNIT_HEAD][h] & 1))
            set |= UINT64_C(1) << now->owner[HD_UNIT_HEAD][h];
    return set;
}

Test(core_strategy, single_gives_all_heads_to_one)
{
    uint64_t picked = 0;
    for (uint64_t epoch = 1; epoch < 64; epoch++) {
        struct hd_plan p = plan_of(12, 24, 8), before = plan_of(12, 24, 8);
        struct hd_plan_input in = {.workers = 0xf, .epoch = 1};
        plans_fill_well("single", &p, &in);
        for (unsigned s = 0; s < 4; s++)
            cr_assert(hd_plan_owned(&p, HD_UNIT_HEAD, s, NULL) == 3, "a fresh plan is even");
        hd_plan_copy(&before, &p);
        in = (struct hd_plan_input){.workers = 0xd, .epoch = epoch};
        plans_fill_well("single", &p, &in);
        plans_assert_kept(&p, &before, 0xd);
        uint64_t owner = new_owners(&p, &before, 0xd);
        cr_assert(__builtin_popcountll(owner) == 1);
        picked |= owner;
        hd_plan_copy(&p, &before);
        in.target = "w3";
        plans_fill_well("single", &p, &in);
        cr_assert(new_owners(&p, &before, 0xd) == 0x8);
        hd_plan_copy(&p, &before);
        in.target = "w1"; /* is gone itself: the epoch picks, as without a name */
        plans_fill_well("single", &p, &in);
        cr_assert(new_owners(&p, &before, 0xd) == owner);
        hd_plan_copy(&p, &before);
        in.target = "w3";
        in.avoid = 0x8;
        plans_fill_well("single", &p, &in);
        cr_assert(__builtin_popcountll(new_owners(&p, &before, 0xd) & 0x5) == 1);
        hd_plan_deinit(&p);
        hd_plan_deinit(&before);
    }
    cr_assert(picked == 0xd, "every survivor is picked by some epoch");
}
