/* Where files are kept, by what the environment says. */
#include "common/util/state_dir.h"
#include "temp_file.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

Test(state_dir, is_made_with_what_is_above_it)
{
    struct temp_file f;
    struct hd_error err = {0};
    char path[160];
    temp_file_init(&f, "x", 1);
    snprintf(path, sizeof path, "%s/a/b", f.dir);
    cr_assert_eq(hd_state_dir_make(path, &err), 0, "%s", err.text);
    cr_assert_eq(hd_state_dir_make(path, &err), 0, "it is there: %s", err.text);
    cr_assert_eq(rmdir(path), 0);
    snprintf(path, sizeof path, "%s/a", f.dir);
    cr_assert_eq(rmdir(path), 0);
    snprintf(path, sizeof path, "%s/b", f.path); /* below a file */
    cr_assert_eq(hd_state_dir_make(path, &err), HD_E_IO);
    cr_assert_not_null(strstr(err.text, path), "%s", err.text);
    temp_file_deinit(&f);
}
