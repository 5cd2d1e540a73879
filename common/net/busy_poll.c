/* busy_poll.c - an idle handle keeps the loop from sleeping until the time is over. */
#include "common/net/busy_poll.h"

#include "common/util/clock.h"

#include <sched.h>

static void on_idle(uv_idle_t *idle)
{
    struct hd_busy_poll *b = idle->data;
    sched_yield();
    if (hd_now_us() >= b->until_us)
        uv_idle_stop(idle);
}

void hd_busy_poll_init(struct hd_busy_poll *b, uv_loop_t *loop, uint64_t us)
{
    uv_idle_init(loop, &b->idle);
    b->idle.data = b;
    b->us = us;
    b->until_us = 0;
    b->pays = us > 0;
}

void hd_busy_poll_expect(struct hd_busy_poll *b)
{
    if (b->us == 0 || uv_is_closing((uv_handle_t *)&b->idle))
        return;
    b->until_us = hd_now_us() + b->us;
    if (b->pays)
        uv_idle_start(&b->idle, on_idle); /* does nothing to one that is active */
}

void hd_busy_poll_came(struct hd_busy_poll *b)
{
    if (b->until_us > 0)
        b->pays = hd_now_us() < b->until_us; /* as on_idle: over at that microsecond */
}

void hd_busy_poll_close(struct hd_busy_poll *b, uv_close_cb closed, void *arg)
{
    uv_idle_stop(&b->idle);
    b->idle.data = arg;
    uv_close((uv_handle_t *)&b->idle, closed);
}
