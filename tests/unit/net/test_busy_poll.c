/* test_busy_poll.c - a loop that does not sleep while something is expected, and sleeps afterwards.
 */
#include "common/net/busy_poll.h"

#include <criterion/criterion.h>
#include <stdbool.h>

struct rig {
    uv_loop_t loop;
    struct hd_busy_poll poll;
    uv_check_t check; /* once for each turn of the loop */
    uint64_t turns;
    bool closed;
};

static void on_turn(uv_check_t *check)
{
    struct rig *r = check->data;
    r->turns++;
}

static void on_closed(uv_handle_t *handle)
{
    struct rig *r = handle->data;
    r->closed = true;
}

static void set_up(struct rig *r, uint64_t us)
{
    *r = (struct rig){0};
    uv_loop_init(&r->loop);
    uv_check_init(&r->loop, &r->check);
    r->check.data = r;
    uv_check_start(&r->check, on_turn);
    uv_unref((uv_handle_t *)&r->check);
    hd_busy_poll_init(&r->poll, &r->loop, us);
}

static void tear_down(struct rig *r)
{
    if (!r->closed)
        hd_busy_poll_close(&r->poll, on_closed, r);
    uv_close((uv_handle_t *)&r->check, NULL);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    cr_assert(r->closed);
    cr_assert_eq(uv_loop_close(&r->loop), 0);
}

Test(busy_poll, turns_until_its_time_is_over)
{
    struct rig r;
    set_up(&r, 20000);
    uint64_t before = uv_hrtime();
    hd_busy_poll_expect(&r.poll);
    uv_run(&r.loop, UV_RUN_DEFAULT); /* returns when nothing is active: it has stopped by itself */
    cr_assert_geq(uv_hrtime() - before, 19000000u);
    cr_assert_gt(r.turns, 10);
    tear_down(&r);
}

Test(busy_poll, expected_again_lasts_longer)
{
    struct rig r;
    set_up(&r, 10000);
    uint64_t before = uv_hrtime();
    hd_busy_poll_expect(&r.poll);
    while (uv_hrtime() - before < 8000000u)
        uv_run(&r.loop, UV_RUN_NOWAIT);
    hd_busy_poll_expect(&r.poll);
    uv_run(&r.loop, UV_RUN_DEFAULT);
    cr_assert_geq(uv_hrtime() - before, 17000000u);
    tear_down(&r);
}

Test(busy_poll, never_when_it_is_0)
{
    struct rig r;
    set_up(&r, 0);
    hd_busy_poll_expect(&r.poll);
    cr_assert_not(uv_loop_alive(&r.loop));
    tear_down(&r);
}

static bool turns_for(struct rig *r)
{
    hd_busy_poll_expect(&r->poll);
    return uv_loop_alive(&r->loop);
}

Test(busy_poll, sleeps_at_once_while_things_come_late)
{
    struct rig r;
    set_up(&r, 2000);
    hd_busy_poll_came(&r.poll); /* nothing was expected: says nothing */
    cr_assert(turns_for(&r));
    uv_run(&r.loop, UV_RUN_DEFAULT);
    hd_busy_poll_came(&r.poll);
    cr_assert_not(turns_for(&r));
    cr_assert_not(turns_for(&r));
    r.poll.until_us = UINT64_MAX; /* however long this thread has to wait for its turn */
    hd_busy_poll_came(&r.poll);
    cr_assert(turns_for(&r));
    uv_run(&r.loop, UV_RUN_DEFAULT);
    tear_down(&r);
}

Test(busy_poll, nothing_is_expected_of_a_closed_one)
{
    struct rig r;
    set_up(&r, 1000000);
    hd_busy_poll_close(&r.poll, on_closed, &r);
    hd_busy_poll_expect(&r.poll);
    uv_run(&r.loop, UV_RUN_DEFAULT);
    cr_assert(r.closed);
    tear_down(&r);
}
