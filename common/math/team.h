/* team.h - a team of threads that runs one parallel loop at a time.
 *
 * The calling thread takes part. Between loops the others spin for a short while (a half-step
 * follows within microseconds while a stream runs), then sleep: an idle team burns nothing.
 * Which thread runs which index is not fixed; results must not depend on it (and do not, see
 * kernels.h). */
#ifndef HD_MATH_TEAM_H
#define HD_MATH_TEAM_H

#include <stddef.h>

struct hd_team;

struct hd_team_options {
    unsigned threads; /* including the caller; 1 = no extra threads */
    unsigned spin_us; /* how long a waiting thread spins before it sleeps; 0 = never spins */
    /* ... at most, where loops have followed one another in half of that, and while nobody else
     * wants its CPU; less than spin_us: only that. */
    unsigned longest_us;
    const char *name; /* thread name (up to 15 characters), for top -H and gdb */
};

/* Returns 0 and *team, or HD_E_NOMEM / HD_E_IO (no thread could be started; nothing is left). */
int hd_team_new(struct hd_team **team, const struct hd_team_options *o);
void hd_team_free(struct hd_team *team);
unsigned hd_team_threads(const struct hd_team *team);

/* Calls fn(arg, index, thread) for each index in [0, n), spread over the team, and returns when
 * all are done. `thread` is in [0, threads): for per-thread scratch. Must not be called from two
 * threads at once or from within fn. */
void hd_team_run(struct hd_team *team, size_t n,
                 void (*fn)(void *arg, size_t index, unsigned thread), void *arg);

#endif
