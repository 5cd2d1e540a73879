/* clock.h - monotonic time in microseconds. Pure code takes `now_us` as an argument instead. */
#ifndef HD_UTIL_CLOCK_H
#define HD_UTIL_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t hd_now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

#endif
