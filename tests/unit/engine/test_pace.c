/* How many rows of prompts a step takes: sequences that answer wait at most three times as long. */
#include "leader/engine/pace.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define MOST 512

static uint64_t now = 1000;

/* A machine that needs `alone` for those that answer and `row` for each row of a prompt. */
static uint64_t step(struct hd_step_pace *p, size_t answering, size_t prompts, uint64_t alone,
                     uint64_t row)
{
    uint64_t took = (answering ? alone : 0) + prompts * row;
    hd_pace_begin(p, now);
    hd_pace_end(p, answering, prompts, now += took);
    return took;
}

/* What a row costs: `row`, and ten times that beyond `cheap` of them. */
static uint64_t beside(struct hd_step_pace *p, uint64_t alone, uint64_t row, size_t cheap)
{
    size_t room = hd_pace_room(p, 2, MOST), dear = room > cheap ? room - cheap : 0;
    hd_pace_begin(p, now);
    uint64_t took = alone + (room - dear) * row + 10 * dear * row;
    hd_pace_end(p, 2, room, now += took);
    return took;
}

Test(pace, nobody_who_answers_waits_for_long)
{
    static const struct {
        uint64_t alone, row;
        size_t cheap;
    } machines[] = {{10000, 100, MOST}, {10000, 1000, MOST}, {2000, 3, MOST}, {150000, 700, MOST},
                    {4000, 4500, MOST}, {1000, 9000, MOST},  {5000, 10, 16},  {5000, 0, 8}};
    for (size_t m = 0; m < sizeof machines / sizeof machines[0]; m++) {
        struct hd_step_pace p = {0};
        uint64_t alone = machines[m].alone, row = machines[m].row, all = 0;
        for (int i = 0; i < 20; i++)
            step(&p, 2, 0, alone, row);
        for (int i = 0; i < 200; i++) {
            uint64_t took = beside(&p, alone, row, machines[m].cheap);
            cr_expect(took <= 3 * alone || took == alone + row, "%zu, step %d: %lu us", m, i, took);
            all += i >= 100 ? took : 0;
        }
        cr_expect(all >= 150 * alone || hd_pace_room(&p, 2, MOST) == MOST, "%zu: %zu rows, %lu us",
                  m, hd_pace_room(&p, 2, MOST), all / 100);
    }
}

Test(pace, a_prompt_comes_in_however_slow_the_machine_is)
{
    struct hd_step_pace p = {0};
    size_t rows = 0;
    for (int i = 0; i < 400; i++) {
        size_t room = hd_pace_room(&p, 1, MOST);
        rows += room;
        step(&p, 1, room, 100, 90000);
    }
    cr_expect_geq(rows, 380);
}

/* With more who answer a step takes longer, and has room for more. */
Test(pace, what_a_step_takes_without_prompts_is_looked_at_again)
{
    struct hd_step_pace p = {0};
    cr_assert_eq(hd_pace_room(&p, 1, MOST), 0, "nothing is known");
    step(&p, 1, 0, 1000, 100);
    for (int i = 0; i < 100; i++)
        step(&p, 1, hd_pace_room(&p, 1, MOST), 1000, 100);
    size_t before = hd_pace_room(&p, 1, MOST);
    for (int i = 0; i < 2000; i++)
        step(&p, 40, hd_pace_room(&p, 40, MOST), 20000, 100);
    cr_expect_geq(hd_pace_room(&p, 40, MOST), 10 * before);
}

/* Steps of prompts alone end in time for who comes meanwhile, on a machine that needs `row`. */
static size_t settled(uint64_t row)
{
    struct hd_step_pace p = {0};
    for (int i = 0; i < 30; i++)
        step(&p, 0, hd_pace_room(&p, 0, MOST), 0, row);
    return hd_pace_room(&p, 0, MOST);
}

Test(pace, without_company_a_prompt_has_half_a_second)
{
    struct hd_step_pace p = {0};
    cr_expect_eq(hd_pace_room(&p, 0, 100), 100);
    cr_expect_eq(settled(100), MOST);
    cr_expect(abs((int)settled(2500) - 200) < 4, "%zu", settled(2500));
    cr_expect_eq(settled(50000), 128, "weights are to be worth reading");
    p = (struct hd_step_pace){.alone_us = 1000, .alone_of = 1, .rows = 100};
    cr_assert_eq(hd_pace_room(&p, 1, 3), 3);
    cr_assert_eq(hd_pace_room(&p, 1, 0), 0);
    size_t before = hd_pace_room(&p, 0, MOST);
    step(&p, 0, 3, 0, 100000); /* a short prompt says nothing of many rows */
    cr_assert_eq(hd_pace_room(&p, 0, MOST), before);
}

/* Prompts that come together: the more answer, the longer a step may take. */
Test(pace, many_that_come_together_do_not_keep_the_last_waiting)
{
    struct hd_step_pace p = {0};
    size_t steps = 0;
    for (size_t answering = 1; answering < 16; answering++)
        for (size_t left = 128; left > 0; steps++) {
            size_t room = hd_pace_room(&p, answering, left);
            step(&p, answering, room, 5000 + 2000 * answering, 200);
            left -= room;
        }
    cr_expect_leq(steps, 60, "%zu", steps);
}

/* A failover in the middle of a step is not what rows cost. */
Test(pace, one_slow_step_changes_little)
{
    struct hd_step_pace p = {0};
    step(&p, 1, 0, 10000, 500);
    for (int i = 0; i < 40; i++)
        step(&p, 1, hd_pace_room(&p, 1, MOST), 10000, 500);
    size_t before = hd_pace_room(&p, 1, MOST);
    step(&p, 1, before, 10000000, 500);
    cr_expect_geq(hd_pace_room(&p, 1, MOST) * 2, before);
    for (int i = 0; i < 50; i++)
        step(&p, 1, hd_pace_room(&p, 1, MOST), 10000, 500);
    cr_expect_geq(hd_pace_room(&p, 1, MOST) + 3, before);
}

/* Of steps without prompts one in three is slow, as on a machine that others use: it is the median
 * that counts. */
Test(pace, slow_steps_are_not_the_measure)
{
    struct hd_step_pace p = {0};
    for (int i = 0; i < 90; i++)
        step(&p, 1, 0, i % 3 == 0 ? 60000 : 10000, 0);
    uint64_t all = 0;
    for (int i = 0; i < 2000; i++) {
        size_t room = hd_pace_room(&p, 1, MOST);
        bool slow = room == 0 && i % 3 == 0;
        uint64_t took = step(&p, 1, room, slow ? 60000 : 10000, 500);
        cr_expect(i < 100 || slow || took <= 25000, "step %d: %lu us", i, took);
        all += took;
    }
    cr_expect_geq(all, 2000 * UINT64_C(14000));
}
