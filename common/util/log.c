#include "common/util/log.h"

#include "common/util/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void hd_log_write(const struct hd_log *log, enum hd_log_level level, const char *event,
                  const char *fmt, ...)
{
    if (!log || level < log->level)
        return;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct tm tm;
    gmtime_r(&now.tv_sec, &tm);
    char line[2048];
    size_t n = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(line + n, sizeof line - n, ".%03ldZ %s %s %s ", now.tv_nsec / 1000000,
                          level_names[level], log->who, event);
    va_list ap;
    va_start(ap, fmt);
    int m = vsnprintf(line + n, sizeof line - n, fmt, ap);
    va_end(ap);
    size_t text = n;
    n += m > 0 ? (size_t)m : 0;
    if (n > sizeof line - 2)
        n = sizeof line - 2; /* a longer line is cut, never split */
    /* Some of it is a peer's: it may neither begin a line of its own nor command a terminal. */
    for (; text < n; text++)
        if ((unsigned char)line[text] < ' ' || line[text] == 0x7f)
            line[text] = '?';
    line[n++] = '\n';
    /* A log line that cannot be written has nobody to be reported to. */
    ssize_t written = write(log->fd, line, n);
    (void)written;
}
