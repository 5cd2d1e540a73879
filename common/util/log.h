/* log.h - structured logs: one logfmt line an event.
 *
 *   2026-11-23T18:14:01.123Z info leader worker_online worker=w2 address=10.0.0.3:41234
 *
 * A logger is a value its owner passes on (two leaders in one process have two); there is no
 * global one. Without a sink, writing is one write(2) a line, and whoever reads slowly stops who
 * writes; with a sink it never waits (log_sink.h). */
#ifndef HD_UTIL_LOG_H
#define HD_UTIL_LOG_H

enum hd_log_level { HD_LOG_DEBUG, HD_LOG_INFO, HD_LOG_WARN, HD_LOG_ERROR };

struct hd_log_sink;

struct hd_log {
    enum hd_log_level level;  /* events below it are dropped */
    int fd;                   /* where lines go without a sink; 2 = standard error */
    const char *who;          /* component: "leader", "w1"... borrowed, must outlive the logger */
    struct hd_log_sink *sink; /* borrowed; NULL: none */
};

/* `event` is a fixed word; `fmt` makes the rest of the line: "key=value key=value" (or ""). */
void hd_log_write(const struct hd_log *log, enum hd_log_level level, const char *event,
                  const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* A sentence for a person, as it is, with a newline: why a program ends. */
void hd_log_say(const struct hd_log *log, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#define hd_debug(log, event, ...)  hd_log_write(log, HD_LOG_DEBUG, event, __VA_ARGS__)
#define hd_info(log, event, ...)   hd_log_write(log, HD_LOG_INFO, event, __VA_ARGS__)
#define hd_warn(log, event, ...)   hd_log_write(log, HD_LOG_WARN, event, __VA_ARGS__)
#define hd_errlog(log, event, ...) hd_log_write(log, HD_LOG_ERROR, event, __VA_ARGS__)

#endif
