#include "common/util/state_dir.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static const char *state_dir(const char *state, const char *xdg, const char *home)
{
    static char path[64];
    const char *const names[] = {"STATE_DIRECTORY", "XDG_STATE_HOME", "HOME"};
    const char *const values[] = {state, xdg, home};
    for (int i = 0; i < 3; i++)
        if (values[i])
            setenv(names[i], values[i], 1);
        else
            unsetenv(names[i]);
    hd_state_dir_default(path, sizeof path);
    return path;
}

Test(state_dir, first_that_is_given)
{
    cr_assert_str_eq(state_dir("/s", "/x", "/h"), "/s");
    cr_assert_str_eq(state_dir("/s:/t", "/x", "/h"), "/s");
    cr_assert_str_eq(state_dir(NULL, "/x", "/h"), "/x/hydac");
    cr_assert_str_eq(state_dir(NULL, NULL, "/h"), "/h/.local/state/hydac");
    cr_assert_str_eq(state_dir(NULL, NULL, NULL), "/var/lib/hydac");
}

Test(state_dir, what_cannot_be_one_is_passed_over)
{
    const char *too_long =
        "/0123456789012345678901234567890123456789012345678901234567890123456789";
    cr_assert_str_eq(state_dir("", "x", "/h"), "/h/.local/state/hydac");
    cr_assert_str_eq(state_dir(too_long, NULL, ""), "/var/lib/hydac");
}
