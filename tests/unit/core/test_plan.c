/* test_plan.c - what every strategy promises, over many numbers of units and workers. */
#include "leader/core/plan.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const char *names[HD_MAX_WORKERS];
static char name_text[HD_MAX_WORKERS][8];

static void setup(void)
{
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        snprintf(name_text[s], sizeof name_text[s], "w%u", s);
        names[s] = name_text[s];
    }
}

static uint64_t first(unsigned n)
{
    return n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;
}

static void fill(const char *strategy, struct hd_plan *p, struct hd_plan_input in)
{
    struct hd_error err;
    static struct hd_plan_worker measured[HD_MAX_WORKERS];
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        measured[s] = (struct hd_plan_worker){.speed = 1e9 * (1 + s % 5), .rtt_s = 1e-4 * (s % 3)};
    in.names = names;
    in.measured = measured;
    cr_assert(hd_strategy_find(strategy)->fill(p, &in, &err) == 0, "%s", err.text);
    cr_assert(hd_plan_complete(p, in.workers));
}

static void spread_of(const struct hd_plan *p, enum hd_unit_kind kind, uint64_t workers,
                      uint32_t *least, uint32_t *most)
{
    *least = UINT32_MAX;
    *most = 0;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        uint32_t n = hd_plan_owned(p, kind, s, NULL);
        if (!(workers >> s & 1))
            continue;
        *least = n < *least ? n : *least;
        *most = n > *most ? n : *most;
    }
}

static bool contiguous(const struct hd_plan *p, enum hd_unit_kind kind)
{
    uint64_t closed = 0;
    for (uint32_t i = 1; i < p->count[kind]; i++) {
        if (p->owner[kind][i] == p->owner[kind][i - 1])
            continue;
        closed |= UINT64_C(1) << p->owner[kind][i - 1];
        if (closed >> p->owner[kind][i] & 1)
            return false;
    }
    return true;
}

Test(core_plan, even_fresh, .init = setup)
{
    for (uint32_t heads = 1; heads <= 40; heads++)
        for (unsigned n = 1; n <= 64; n += n < 12 ? 1 : 13) {
            struct hd_plan p;
            uint32_t least, most, count[HD_UNIT_KINDS] = {heads, heads * 4, 7};
            cr_assert(hd_plan_init(&p, count) == 0);
            fill("even", &p, (struct hd_plan_input){.workers = first(n)});
            spread_of(&p, HD_UNIT_HEAD, first(n), &least, &most);
            cr_assert(most - least <= 1, "%u heads on %u workers", heads, n);
            for (int k = 0; k < HD_UNIT_KINDS; k++)
                cr_assert(contiguous(&p, k));
            hd_plan_deinit(&p);
        }
}

/* 3 heads on 2 workers: who has fewer heads gets more blocks, in the measure of their costs. */
Test(core_plan, even_total_cost, .init = setup)
{
    struct hd_plan p;
    uint32_t count[HD_UNIT_KINDS] = {3, 12, 6};
    cr_assert(hd_plan_init(&p, count) == 0);
    fill("even", &p, (struct hd_plan_input){.workers = 3, .cost = {4, 1, 1}});
    cr_assert(hd_plan_owned(&p, HD_UNIT_HEAD, 0, NULL) == 2);
    cr_assert(hd_plan_owned(&p, HD_UNIT_FFN, 0, NULL) == 4);
    cr_assert(hd_plan_owned(&p, HD_UNIT_FFN, 1, NULL) == 8);
    cr_assert(hd_plan_owned(&p, HD_UNIT_VOCAB, 0, NULL) == 3);
    hd_plan_deinit(&p);
}

/* More workers than heads: the rest get blocks, until there are none left. */
Test(core_plan, even_surplus_workers, .init = setup)
{
    struct hd_plan p;
    uint32_t count[HD_UNIT_KINDS] = {2, 3, 0};
    cr_assert(hd_plan_init(&p, count) == 0);
    fill("even", &p, (struct hd_plan_input){.workers = first(7)});
    for (unsigned s = 0; s < 7; s++) {
        cr_assert(hd_plan_owned(&p, HD_UNIT_HEAD, s, NULL) == (s < 2));
        cr_assert(hd_plan_owned(&p, HD_UNIT_FFN, s, NULL) == (s >= 2 && s < 5));
    }
    hd_plan_deinit(&p);
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

/* Kill workers one after the other: what has a live owner never moves, the heads stay balanced. */
static void kill_down_to_one(const char *strategy, const struct hd_fixed_table *table,
                             uint64_t seed)
{
    struct hd_plan p, before;
    unsigned n = 2 + (unsigned)(next_random(&seed) % 14);
    uint64_t alive = first(n);
    uint32_t heads = 1 + (uint32_t)(next_random(&seed) % 32);
    uint32_t count[HD_UNIT_KINDS] = {heads, heads * 4, 1 + (uint32_t)(next_random(&seed) % 20)};
    cr_assert(hd_plan_init(&p, count) == 0 && hd_plan_init(&before, count) == 0);
    fill(strategy, &p, (struct hd_plan_input){.workers = alive, .fixed = table});
    while (alive & (alive - 1)) {
        unsigned dead = (unsigned)(next_random(&seed) % n);
        if (!(alive >> dead & 1))
            continue;
        alive &= ~(UINT64_C(1) << dead);
        hd_plan_copy(&before, &p);
        fill(strategy, &p, (struct hd_plan_input){.workers = alive, .fixed = table});
        for (int k = 0; k < HD_UNIT_KINDS; k++)
            for (uint32_t i = 0; i < count[k]; i++)
                if (alive >> before.owner[k][i] & 1)
                    cr_assert(p.owner[k][i] == before.owner[k][i]);
        uint32_t least, most;
        spread_of(&p, HD_UNIT_HEAD, alive, &least, &most);
        cr_assert(strcmp(strategy, "even") != 0 || most - least <= 1);
    }
    hd_plan_deinit(&p);
    hd_plan_deinit(&before);
}

Test(core_plan, survivors_keep_their_units, .init = setup)
{
    static const struct hd_fixed_table table = {
        .n = 2,
        .entries = {{"w0", {0, 1, 2}, 3}, {"w9", {3}, 1}},
    };
    for (uint64_t seed = 0; seed < 300; seed++) {
        kill_down_to_one("even", NULL, seed);
        kill_down_to_one("fixed", &table, seed);
        kill_down_to_one("single", NULL, seed);
        kill_down_to_one("weighted", NULL, seed);
        kill_down_to_one("bandwidth", NULL, seed);
    }
}

Test(core_plan, preferred_get_the_heads, .init = setup)
{
    struct hd_plan p;
    uint32_t count[HD_UNIT_KINDS] = {8, 8, 2};
    cr_assert(hd_plan_init(&p, count) == 0);
    fill("even", &p, (struct hd_plan_input){.workers = 0x3});
    fill("even", &p, (struct hd_plan_input){.workers = 0xd, .preferred = 0x4});
    cr_assert(hd_plan_owned(&p, HD_UNIT_HEAD, 2, NULL) == 4);
    cr_assert(hd_plan_owned(&p, HD_UNIT_HEAD, 3, NULL) == 0);
    cr_assert(hd_plan_owned(&p, HD_UNIT_FFN, 3, NULL) > 0);
    hd_plan_deinit(&p);
}

Test(core_plan, suspects_get_nothing_more, .init = setup)
{
    struct hd_plan p;
    uint32_t count[HD_UNIT_KINDS] = {6, 9, 3};
    cr_assert(hd_plan_init(&p, count) == 0);
    fill("even", &p, (struct hd_plan_input){.workers = 0x7});
    fill("even", &p, (struct hd_plan_input){.workers = 0x6, .avoid = 0x4, .preferred = 0x6});
    cr_assert(hd_plan_owned(&p, HD_UNIT_HEAD, 1, NULL) == 4);
    cr_assert(hd_plan_owned(&p, HD_UNIT_HEAD, 2, NULL) == 2);
    cr_assert(hd_plan_owned(&p, HD_UNIT_FFN, 2, NULL) == 3);
    fill("even", &p, (struct hd_plan_input){.workers = 0x4, .avoid = 0x4});
    cr_assert(hd_plan_owned(&p, HD_UNIT_HEAD, 2, NULL) == 6); /* nobody else is there */
    hd_plan_deinit(&p);
}

Test(core_plan, fixed_follows_the_table, .init = setup)
{
    static const struct hd_fixed_table table = {
        .n = 2,
        .entries = {{"w1", {0, 2, 3}, 3}, {"w0", {1}, 1}},
    };
    struct hd_plan p;
    uint32_t count[HD_UNIT_KINDS] = {4, 16, 8};
    cr_assert(hd_plan_init(&p, count) == 0);
    fill("fixed", &p, (struct hd_plan_input){.workers = 0x3, .fixed = &table});
    cr_assert(memcmp(p.owner[HD_UNIT_HEAD], (uint8_t[]){1, 0, 1, 1}, 4) == 0);
    cr_assert(hd_plan_owned(&p, HD_UNIT_FFN, 1, NULL) == 12);
    cr_assert(hd_plan_owned(&p, HD_UNIT_VOCAB, 0, NULL) == 2);
    hd_plan_deinit(&p);
}

Test(core_plan, fixed_table_is_checked)
{
    static const struct {
        struct hd_fixed_table table;
        const char *error;
    } cases[] = {
        {{{{"a", {0, 1}, 2}, {"b", {2}, 1}}, 2}, NULL},
        {{{{"a", {0, 1}, 2}}, 1}, "head 2 is given to no worker; add it to one"},
        {{{{"a", {0, 1, 2, 1}, 4}}, 1}, "worker a: head 1 is given twice; give it once"},
        {{{{"a", {0, 1, 3}, 3}}, 1}, "worker a: head 3 does not exist (0 to 2 do)"},
        {{{{"a", {0, 1}, 2}, {"a", {2}, 1}}, 2}, "worker a stands twice in the table of heads"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct hd_error err;
        int rc = hd_fixed_validate(&cases[i].table, 3, &err);
        cr_assert(rc == (cases[i].error ? HD_E_CONFIG : 0), "case %zu", i);
        if (cases[i].error)
            cr_assert_str_eq(err.text, cases[i].error);
    }
}

Test(core_plan, strategies_are_found_by_name)
{
    for (size_t i = 0; hd_strategies[i]; i++)
        cr_assert(hd_strategy_find(hd_strategies[i]->name) == hd_strategies[i]);
    cr_assert(hd_strategy_find("odd") == NULL);
}
