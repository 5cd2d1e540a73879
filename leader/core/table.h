/* table.h - states that are checked: which may follow which. Anything else is a bug: it aborts in
 * debug and sanitizer builds; else it is logged (HD_ACT_BUG) and refused. */
#ifndef HD_CORE_TABLE_H
#define HD_CORE_TABLE_H

#include "leader/core/core.h"

struct core_table {
    const char *what; /* "a member" */
    const char *(*name)(unsigned state);
    const uint32_t *next; /* [state]: mask of the states that may follow */
};

bool core_may(struct hd_core *c, const struct core_table *t, unsigned from, unsigned to);

#endif
