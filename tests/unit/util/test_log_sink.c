/* test_log_sink.c - who writes a log never waits for who reads it. */
#include "common/util/log.h"
#include "common/util/log_sink.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 60000

struct fixture {
    int ends[2];
    struct hd_log_sink *sink;
    struct hd_log log;
    char *text; /* all that was read */
    size_t n;
};

static void open_log(struct fixture *f)
{
    struct hd_error err = {0};
    *f = (struct fixture){.log = {.level = HD_LOG_INFO, .who = "w1"}, .text = calloc(1, 1)};
    cr_assert_eq(pipe(f->ends), 0);
    cr_assert_eq(hd_log_sink_new(&f->sink, f->ends[1], &err), 0, "%s", err.text);
    f->log.sink = f->sink;
}

/* Fills the pipe; the bytes that it takes. */
static size_t fill(struct fixture *f)
{
    char block[4096];
    size_t n = 0;
    memset(block, 'x', sizeof block);
    fcntl(f->ends[1], F_SETFL, O_NONBLOCK);
    for (ssize_t m; (m = write(f->ends[1], block, sizeof block)) > 0; n += (size_t)m)
        ;
    fcntl(f->ends[1], F_SETFL, 0);
    return n;
}

/* Reads on until `needle` is there. */
static void read_until(struct fixture *f, const char *needle)
{
    char block[65536];
    while (!strstr(f->text, needle)) {
        struct pollfd p = {.fd = f->ends[0], .events = POLLIN};
        cr_assert_eq(poll(&p, 1, PATIENCE_MS), 1, "'%s' did not come", needle);
        ssize_t m = read(f->ends[0], block, sizeof block);
        cr_assert_gt(m, 0, "the end before '%s'", needle);
        f->text = realloc(f->text, f->n + (size_t)m + 1);
        memcpy(f->text + f->n, block, (size_t)m);
        f->n += (size_t)m;
        f->text[f->n] = '\0';
    }
}

static void close_log(struct fixture *f)
{
    hd_log_sink_free(f->sink, PATIENCE_MS);
    close(f->ends[0]);
    close(f->ends[1]);
    free(f->text);
}

Test(log_sink, lines_in_order)
{
    struct fixture f;
    open_log(&f);
    for (int i = 0; i < 1000; i++) {
        char needle[32];
        hd_info(&f.log, "count", "i=%d", i);
        snprintf(needle, sizeof needle, " count i=%d\n", i);
        if (i % 100 == 99)
            read_until(&f, needle);
    }
    const char *p = f.text;
    for (int i = 0; i < 1000; i++) {
        char needle[32];
        snprintf(needle, sizeof needle, " count i=%d\n", i);
        p = strstr(p, needle);
        cr_assert_not_null(p, "%d is not behind the one before", i);
    }
    close_log(&f);
}

/* What was logged before the end is written before it. */
Test(log_sink, flushed_at_the_end)
{
    struct fixture f;
    open_log(&f);
    for (int i = 0; i < 200; i++)
        hd_info(&f.log, "count", "i=%d", i);
    hd_log_say(&f.log, "program: that was %s", "all");
    hd_log_sink_free(f.sink, PATIENCE_MS);
    f.sink = NULL;
    read_until(&f, "\nprogram: that was all\n");
    close_log(&f);
}

/* Nobody reads: the writer is never stopped (a hang fails the test), and every line is accounted
 * for when the reader is back. */
Test(log_sink, a_full_pipe)
{
    enum { LINES = 20000 };
    struct fixture f;
    open_log(&f);
    size_t junk = fill(&f);
    for (int i = 0; i < LINES; i++)
        hd_info(&f.log, "count", "i=%d", i);
    read_until(&f, " log_dropped lines=");
    hd_info(&f.log, "after", "that");
    read_until(&f, " after that\n");
    unsigned long kept = 0, dropped = 0;
    for (const char *p = f.text + junk; (p = strstr(p, " count i=")); p++)
        kept++;
    for (const char *p = f.text + junk; (p = strstr(p, "Z warn w1 log_dropped lines=")); p++)
        dropped += strtoul(strchr(p, '=') + 1, NULL, 10);
    cr_assert_gt(dropped, 0);
    cr_assert_eq(kept + dropped, LINES, "%lu + %lu", kept, dropped);
    close_log(&f);
}

/* The end does not wait for a reader that never comes. */
Test(log_sink, the_end_with_a_full_pipe)
{
    struct fixture f;
    open_log(&f);
    fill(&f);
    hd_info(&f.log, "last", "words");
    hd_log_sink_free(f.sink, 10);
    f.sink = NULL; /* its thread has the pipe for ever */
    close(f.ends[0]);
    free(f.text);
}

Test(log_sink, nobody_listens_any_more)
{
    struct fixture f;
    signal(SIGPIPE, SIG_IGN);
    open_log(&f);
    close(f.ends[0]);
    for (int i = 0; i < 100; i++)
        hd_info(&f.log, "count", "i=%d", i);
    hd_log_sink_free(f.sink, PATIENCE_MS);
    close(f.ends[1]);
    free(f.text);
}

/* The thread has the lock for ever, as far as one can see from the crashed one: what waits is
 * written by the handler. */
Test(log_sink, last_words_of_a_crash)
{
    struct fixture f;
    open_log(&f);
    pid_t child = fork();
    if (child == 0) { /* the sink's thread is not in this process */
        signal(SIGABRT, SIG_DFL);
        hd_log_sink_on_crash(f.sink);
        hd_errlog(&f.log, "core_failed", "why=test");
        abort();
    }
    int status;
    waitpid(child, &status, 0);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    read_until(&f, " error w1 core_failed why=test\n");
    close_log(&f);
}
