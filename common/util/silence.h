/* silence.h - how long somebody else has said nothing, as far as we can know: time in which our own
 * loop was late does not count, for what has come meanwhile waits to be read. Pure. */
#ifndef HD_UTIL_SILENCE_H
#define HD_UTIL_SILENCE_H

#include <stdint.h>

struct hd_silence {
    uint64_t heard_us;   /* the last sign of life, or when waiting for one began */
    uint64_t excused_us; /* our own lateness since */
};

static inline void hd_silence_heard(struct hd_silence *s, uint64_t now_us)
{
    if (now_us > s->heard_us)
        s->heard_us = now_us;
    s->excused_us = 0;
}

/* The loop that listens woke `late_us` after it wanted to. */
static inline void hd_silence_excuse(struct hd_silence *s, uint64_t late_us)
{
    s->excused_us += late_us;
}

/* In us. */
static inline uint64_t hd_silence_of(const struct hd_silence *s, uint64_t now_us)
{
    uint64_t since = now_us > s->heard_us ? now_us - s->heard_us : 0;
    return since > s->excused_us ? since - s->excused_us : 0;
}

#endif
