/* log.c - makes a whole line on the stack and gives it away in one piece. */
#include "common/util/log.h"

#include "common/util/error.h"
#include "common/util/log_sink.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"debug", "info", "warn", "error"};

/* Ends the line and hands it on. `n` bytes are there, those from `text` on by somebody else. */
static void finish(const struct hd_log *log, char line[HD_LOG_LINE], size_t n, size_t text)
{
    if (n > HD_LOG_LINE - 2)
        n = HD_LOG_LINE - 2; /* a longer line is cut, never split */
    /* Some of it is a peer's: it may neither begin a line of its own nor command a terminal. */
    for (; text < n; text++)
        if ((unsigned char)line[text] < ' ' || line[text] == 0x7f)
            line[text] = '?';
    line[n++] = '\n';
    if (log->sink) {
        hd_log_sink_add(log->sink, log, line, n);
        return;
    }
    /* A log line that cannot be written has nobody to be reported to. */
    ssize_t written = write(log->fd, line, n);
    (void)written;
}

void hd_log_write(const struct hd_log *log, enum hd_log_level level, const char *event,
                  const char *fmt, ...)
{
    if (!log || level < log->level)
        return;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct tm tm;
    gmtime_r(&now.tv_sec, &tm);
    char line[HD_LOG_LINE];
    size_t n = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(line + n, sizeof line - n, ".%03ldZ %s %s %s ", now.tv_nsec / 1000000,
                          level_names[level], log->who, event);
    va_list ap;
    va_start(ap, fmt);
    int m = vsnprintf(line + n, sizeof line - n, fmt, ap);
    va_end(ap);
    finish(log, line, n + (m > 0 ? (size_t)m : 0), n);
}

void hd_log_say(const struct hd_log *log, const char *fmt, ...)
{
    char line[HD_LOG_LINE];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    finish(log, line, n > 0 ? (size_t)n : 0, 0);
}
