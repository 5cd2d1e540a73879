/* How many rows of prompts a step takes: sequences that answer wait at most three times as long. */
#include "leader/engine/pace.h"

#include <criterion/criterion.h>

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

Test(pace, nobody_who_answers_waits_for_long)
{
    static const struct {
        uint64_t alone, row;
    } machines[] = {{10000, 100}, {10000, 1000}, {2000, 3}, {150000, 700}};
    for (size_t m = 0; m < sizeof machines / sizeof machines[0]; m++) {
        struct hd_step_pace p = {0};
        uint64_t alone = machines[m].alone, row = machines[m].row, longest = 0;
        for (int i = 0; i < 20; i++)
            step(&p, 2, 0, alone, row);
        for (int i = 0; i < 200; i++) {
            uint64_t took = step(&p, 2, hd_pace_room(&p, 2, MOST), alone, row);
            if (i > 0) /* the first one measures */
                longest = took > longest ? took : longest;
        }
        size_t room = hd_pace_room(&p, 2, MOST);
        cr_expect(longest <= 3 * alone || room == 8, "%zu: %zu rows, %lu us", m, room, longest);
        cr_expect(room == 8 || room == MOST || 2 * row * room >= alone, "%zu: %zu rows", m, room);
    }
}

Test(pace, without_company_a_prompt_has_the_whole_step)
{
    struct hd_step_pace p = {0};
    cr_assert_eq(hd_pace_room(&p, 0, MOST), MOST);
    cr_assert_eq(hd_pace_room(&p, 1, 3), 3);
    cr_assert_eq(hd_pace_room(&p, 1, 0), 0);
    step(&p, 0, MOST, 0, 50);
    cr_assert_eq(hd_pace_room(&p, 0, MOST), MOST);
}

/* A failover in the middle of a step is not what rows cost. */
Test(pace, one_slow_step_changes_little)
{
    struct hd_step_pace p = {0};
    for (int i = 0; i < 50; i++)
        step(&p, 1, i % 2 ? 10 : 0, 10000, 500);
    size_t before = hd_pace_room(&p, 1, MOST);
    step(&p, 1, 10, 10000000, 500);
    cr_expect_geq(hd_pace_room(&p, 1, MOST) * 2, before);
    for (int i = 0; i < 50; i++)
        step(&p, 1, i % 2 ? 10 : 0, 10000, 500);
    cr_expect_geq(hd_pace_room(&p, 1, MOST) + 3, before);
}
