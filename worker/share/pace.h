/* pace.h - how fast work that nobody waits for may go: beside steps a quarter of the time,
 * otherwise without a pause. Pure; times are microseconds of one clock. */
#ifndef HD_WORKER_PACE_H
#define HD_WORKER_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define HD_PACE_BUSY_US 100000 /* steps are coming when one was done within this */
#define HD_PACE_REST    3      /* pause after a piece of work, in its own length */

struct hd_pace {
    bool any;         /* a step was done */
    uint64_t step_us; /* when the last one was */
};

static inline void hd_pace_step(struct hd_pace *p, uint64_t now_us)
{
    *p = (struct hd_pace){.any = true, .step_us = now_us};
}

static inline bool hd_pace_busy(const struct hd_pace *p, uint64_t now_us)
{
    return p->any && now_us - p->step_us < HD_PACE_BUSY_US;
}

/* When the next piece may begin, after one that took `took_us` and has just ended. */
static inline uint64_t hd_pace_next(const struct hd_pace *p, uint64_t now_us, uint64_t took_us)
{
    return hd_pace_busy(p, now_us) ? now_us + HD_PACE_REST * took_us : now_us;
}

#endif
