/* Warnings: kept in order, counted when there is no room, logged one a line. */
#include "common/util/warnings.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

/* What logging them writes. */
static void logged(const struct hd_warnings *w, char *out, size_t size)
{
    int fds[2];
    cr_assert_eq(pipe(fds), 0);
    const struct hd_log log = {.level = HD_LOG_INFO, .fd = fds[1], .who = "test"};
    hd_warnings_log(w, &log, "model_warning");
    close(fds[1]);
    size_t len = 0;
    for (ssize_t n = 1; n > 0 && len + 1 < size; len += (size_t)(n > 0 ? n : 0))
        n = read(fds[0], out + len, size - 1 - len);
    out[len] = '\0';
    close(fds[0]);
}

Test(warnings, one_line_each)
{
    struct hd_warnings w = {0};
    char out[4096];
    logged(&w, out, sizeof out);
    cr_assert_str_empty(out);
    hd_warnings_add(&w, "key %s is %d", "a.b", 3);
    hd_warnings_add(&w, "another");
    logged(&w, out, sizeof out);
    const char *first = strstr(out, " warn test model_warning text=\"key a.b is 3\"\n");
    cr_assert_not_null(first, "%s", out);
    cr_assert_not_null(strstr(first, " warn test model_warning text=\"another\"\n"), "%s", out);
    cr_assert_null(strstr(out, "more"), "%s", out);
    hd_warnings_add(NULL, "nobody asked");
}

Test(warnings, no_more_than_there_is_room_for)
{
    struct hd_warnings w = {0};
    char out[16384], longest[1000];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    for (unsigned i = 0; i < HD_WARNINGS_MAX + 3; i++)
        hd_warnings_add(&w, "%u %s", i, longest);
    cr_assert_eq(w.n, HD_WARNINGS_MAX);
    cr_assert_eq(w.left_out, 3);
    for (unsigned i = 0; i < HD_WARNINGS_MAX; i++)
        cr_assert_eq(strlen(w.text[i]), sizeof w.text[i] - 1);
    logged(&w, out, sizeof out);
    cr_assert_not_null(strstr(out, "text=\"and 3 more\"\n"), "%s", out);
}
