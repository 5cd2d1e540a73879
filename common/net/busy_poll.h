/* busy_poll.h - a loop that asks for events again and again instead of sleeping, for some time
 * after it was said that something is expected. What comes then need not wake a thread, nor a core
 * that idles (5 to 100 us), twice for each half-step; the price is a core while work is under way.
 *
 * Between two looks whoever else wants the core gets it (sched_yield). And it pays only where what
 * is expected comes in time: when the last thing came later than it would have looked for it, the
 * loop sleeps at once, until something comes in time again. So a slow network, or a model whose
 * half-steps take longer, costs nothing. */
#ifndef HD_NET_BUSY_POLL_H
#define HD_NET_BUSY_POLL_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define HD_MAX_BUSY_POLL_US 1000000 /* of a setting: a second */

struct hd_busy_poll {
    uv_idle_t idle;    /* an active one keeps the loop from sleeping */
    uint64_t us;       /* for so long; 0 = never */
    uint64_t until_us; /* 0: nothing was ever expected */
    bool pays;         /* the last thing came in time */
};

void hd_busy_poll_init(struct hd_busy_poll *b, uv_loop_t *loop, uint64_t us);
/* Something is expected within `us` from now. */
void hd_busy_poll_expect(struct hd_busy_poll *b);
/* What was expected has come. */
void hd_busy_poll_came(struct hd_busy_poll *b);
/* `closed` fires once, from the loop; until then *b must live. handle->data is `arg`. */
void hd_busy_poll_close(struct hd_busy_poll *b, uv_close_cb closed, void *arg);

#endif
