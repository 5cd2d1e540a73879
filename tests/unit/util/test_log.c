/* test_log.c - an event is one line, whatever a peer has sent. */
#include "common/util/log.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What a log writes of one event. */
static void logged(char *line, size_t size, const char *text)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    struct hd_log log = {.fd = ends[1], .level = HD_LOG_INFO, .who = "w1"};
    hd_info(&log, "hello", "software=\"%s\"", text);
    close(ends[1]);
    ssize_t n = read(ends[0], line, size - 1);
    cr_assert_gt(n, 0);
    line[n] = '\0';
    close(ends[0]);
}

Test(log, control_characters_of_a_peer)
{
    char line[4096];
    logged(line, sizeof line,
           "a\nb\x1b"
           "[31m\tc\x7f");
    const char *end = strstr(line, "Z info w1 hello software=\"a?b?[31m?c?\"\n");
    cr_assert_not_null(end, "%s", line);
    cr_assert_str_eq(strchr(line, '\n'), "\n");
}

Test(log, other_bytes_pass)
{
    char line[4096];
    logged(line, sizeof line,
           "k\xc3\xbc"
           "che 1");
    cr_assert_not_null(strstr(line, "software=\"k\xc3\xbc"
                                    "che 1\""));
}

Test(log, a_long_event_is_cut)
{
    char text[5000] = "", line[4096];
    memset(text, 'x', sizeof text - 1);
    logged(line, sizeof line, text);
    cr_assert_lt(strlen(line), 2049);
    cr_assert_str_eq(strchr(line, '\n'), "\n");
}
