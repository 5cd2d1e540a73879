/* check.c - what must be true after every event, and which states may follow which. */
#include "leader/core/core_impl.h"
#include "leader/core/table.h"

#include <stdio.h>
#include <stdlib.h>

const char *hd_core_check(const struct hd_core *c)
{
    static const char *(*const parts[])(const struct hd_core *) = {
        core_check_members, core_check_logs, core_check_moves, core_check_epochs, core_check_steps,
    };
    const char *broken = NULL;
    for (size_t i = 0; i < sizeof parts / sizeof *parts && !broken; i++)
        broken = parts[i](c);
    return broken;
}

/* In debug and sanitizer builds a bug ends the process where it happens. */
static void stop(const char *what)
{
#ifdef HD_CHECKED
    fprintf(stderr, "hydac: core: %s\n", what);
    abort();
#else
    (void)what;
#endif
}

void core_checked(const struct hd_core *c)
{
#ifdef HD_CHECKED
    const char *broken = hd_core_check(c);
    if (broken)
        stop(broken);
#else
    (void)c;
#endif
}

bool core_may(struct hd_core *c, const struct core_table *t, unsigned from, unsigned to)
{
    if (t->next[from] >> to & 1)
        return true;
    struct hd_action *a = core_push(c, HD_ACT_BUG, 0);
    snprintf(a->bug, sizeof a->bug, "%s goes from %s to %s", t->what, t->name(from), t->name(to));
    stop(a->bug);
    return false;
}
