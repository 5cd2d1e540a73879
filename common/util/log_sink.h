/* log_sink.h - between a daemon and whoever reads its log: a buffer, and a thread that empties it.
 *
 * A terminal on hold, a journal that hangs, a pipe that nobody reads: a write(2) to it waits, and
 * with it everything that the writing thread serves. (O_NONBLOCK would be everybody's who has the
 * same pipe or terminal, the shell's for one.) So lines are copied into a buffer of HD_LOG_BUFFER
 * bytes; a thread of its own writes them. When the buffer is full a line is dropped and counted,
 * and said in its place when there is room again:
 *
 *   2026-11-23T18:14:01.123Z warn leader log_dropped lines=57 */
#ifndef HD_UTIL_LOG_SINK_H
#define HD_UTIL_LOG_SINK_H

#include "common/util/error.h"

#include <stddef.h>

#define HD_LOG_LINE   2048         /* bytes of the longest line, its newline included */
#define HD_LOG_BUFFER (256u << 10) /* a few seconds of a daemon at its most talkative */

struct hd_log;
struct hd_log_sink;

/* Lines go to `fd`, borrowed. HD_E_NOMEM, HD_E_IO. */
int hd_log_sink_new(struct hd_log_sink **out, int fd, struct hd_error *err);
/* One whole line of `log`, at most HD_LOG_LINE bytes. Never waits for a reader; from any thread. */
void hd_log_sink_add(struct hd_log_sink *s, const struct hd_log *log, const char *line, size_t len);
/* Writes what is there, for so long at most, and frees. If the reader still does not read, what is
 * left is lost, and thread and buffer stay until the process ends. NULL is fine. */
void hd_log_sink_free(struct hd_log_sink *s, unsigned wait_ms);
/* From now on a signal that kills this process (abort, a fault) first writes what is there, as far
 * as the reader takes it. One sink of a process; NULL: none any more. */
void hd_log_sink_on_crash(struct hd_log_sink *s);

#endif
