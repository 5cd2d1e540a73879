/* The team of threads: every item once, whatever the number of threads, and barriers that hold. */
#include "common/math/team.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdlib.h>

#define INDICES_MAX 2000

struct counts {
    atomic_uint of[INDICES_MAX];
    atomic_uint bad_threads;
    unsigned threads;
};

static void count(void *arg, size_t index, unsigned thread)
{
    struct counts *c = arg;
    atomic_fetch_add(&c->of[index], 1);
    if (thread >= c->threads)
        atomic_fetch_add(&c->bad_threads, 1);
}

static void check_once(struct hd_team *team, struct counts *c, size_t n)
{
    hd_team_run(team, n, count, c);
    for (size_t i = 0; i < INDICES_MAX; i++)
        cr_assert_eq(atomic_exchange(&c->of[i], 0), i < n ? 1 : 0);
    cr_assert_eq(atomic_load(&c->bad_threads), 0);
}

static struct hd_team *team_of(unsigned threads, unsigned spin_us)
{
    struct hd_team *team;
    struct hd_team_options o = {
        .threads = threads, .spin_us = spin_us, .longest_us = 10 * spin_us, .name = "test-team"};
    cr_assert_eq(hd_team_new(&team, &o), 0);
    cr_assert_eq(hd_team_threads(team), threads);
    return team;
}

Test(team, runs_each_index_exactly_once)
{
    static const size_t sizes[] = {0, 1, 2, 3, 17, INDICES_MAX};
    static const unsigned spins[] = {0, 5, 200};
    struct counts *c = calloc(1, sizeof *c);
    for (unsigned threads = 1; threads <= 4; threads++) {
        for (size_t s = 0; s < sizeof spins / sizeof spins[0]; s++) {
            struct hd_team *team = team_of(threads, spins[s]);
            c->threads = threads;
            for (int loop = 0; loop < 100; loop++)
                check_once(team, c, sizes[(size_t)loop % (sizeof sizes / sizeof sizes[0])]);
            hd_team_free(team);
        }
    }
    free(c);
}

static void add(void *arg, size_t index, unsigned thread)
{
    (void)thread;
    atomic_fetch_add((atomic_size_t *)arg, index);
}

/* Many short loops: threads come late to some of them and must find the next one whole. */
Test(team, many_short_loops)
{
    for (unsigned spin_us = 0; spin_us <= 20; spin_us += 20) {
        struct hd_team *team = team_of(3, spin_us);
        atomic_size_t sum = 0;
        size_t expected = 0;
        for (size_t loop = 0; loop < 20000; loop++) {
            size_t n = 2 + loop % 7;
            hd_team_run(team, n, add, &sum);
            expected += n * (n - 1) / 2;
            cr_assert_eq(atomic_load(&sum), expected);
        }
        hd_team_free(team);
    }
}

/* Index 0 and 1 wait for one another: two threads must be at work, however deep they slept. */
static void meet(void *arg, size_t index, unsigned thread)
{
    atomic_uint *arrived = arg;
    (void)index;
    (void)thread;
    atomic_fetch_add(arrived, 1);
    while (atomic_load(arrived) < 2)
        ;
}

Test(team, wakes_sleepers, .timeout = 60)
{
    struct hd_team *team = team_of(2, 0);
    for (int loop = 0; loop < 500; loop++) {
        atomic_uint arrived = 0;
        hd_team_run(team, 2, meet, &arrived);
        cr_assert_eq(atomic_load(&arrived), 2);
    }
    hd_team_free(team);
}

Test(team, may_be_freed_unused_or_not_at_all_made)
{
    hd_team_free(NULL);
    hd_team_free(team_of(4, 0));
    hd_team_free(team_of(4, 1000));
    struct hd_team *team;
    struct hd_team_options none = {.threads = 0};
    cr_assert_eq(hd_team_new(&team, &none), 0);
    cr_assert_eq(hd_team_threads(team), 1);
    hd_team_free(team);
}
