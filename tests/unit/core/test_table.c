/* test_table.c - a state that does not follow: refused and told, or the end of the process. */
#include "leader/core/core_impl.h"
#include "leader/core/table.h"
#include "tests/unit/core/trace.h"

#include <criterion/criterion.h>
#include <signal.h>

static const char *name(unsigned state)
{
    return state ? "shut" : "open";
}

static void go(unsigned from, unsigned to)
{
    static const uint32_t next[] = {1u << 1, 0};
    static const struct core_table door = {"a door", name, next};
    struct trace t;
    struct hd_core_options o = trace_options();
    trace_init(&t, &o);
    cr_assert(core_reserve(t.core, &t.actions) == 0);
    t.core->out = &t.actions;
    bool may = core_may(t.core, &door, from, to);
    cr_assert(may == (from == 0 && to == 1));
    cr_assert(t.actions.n == !may);
    if (!may) {
        cr_assert(t.actions.list[0].type == HD_ACT_BUG);
        cr_assert_str_eq(t.actions.list[0].bug, "a door goes from shut to open");
    }
    trace_deinit(&t);
}

Test(core_table, what_follows)
{
    go(0, 1);
}

#ifdef HD_CHECKED
Test(core_table, what_does_not, .signal = SIGABRT)
#else
Test(core_table, what_does_not)
#endif
{
    go(1, 0);
}
