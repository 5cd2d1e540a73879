/* trace.c - what happened, when in virtual time, and why: --trace, and the golden traces. */
#include "tests/sim/sim.h"

#include <inttypes.h>
#include <stdio.h>

void sim_note_why(const struct sim *s, const char *what, unsigned slot, uint64_t n, const char *why)
{
    if (s->trace && s->n_leaders > 1)
        printf("L%u ", s->leader);
    if (s->trace)
        printf("%10.3f  e%-3" PRIu64 " %s %u %" PRIu64 "%s%s\n", (double)s->now / 1e3,
               (s->core ? hd_core_epoch(s->core) : 0), what, slot, n, why[0] ? "  # " : "", why);
}

void sim_note(const struct sim *s, const char *what, unsigned slot, uint64_t n)
{
    sim_note_why(s, what, slot, n, "");
}
