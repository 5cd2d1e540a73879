/* warnings.h - sentences for the person about something that works, but maybe not as meant: a file
 * that says one thing twice, a default where the file says nothing.
 *
 * Whoever reads a file collects them, whoever asked for it logs them: libraries write no logs. */
#ifndef HD_UTIL_WARNINGS_H
#define HD_UTIL_WARNINGS_H

#include "common/util/log.h"

#define HD_WARNINGS_MAX 16 /* more about one file help nobody: the rest is counted */

struct hd_warnings {
    unsigned n;        /* sentences in `text` */
    unsigned left_out; /* that found no room */
    char text[HD_WARNINGS_MAX][256];
};

/* One sentence: what, where, what it means; a longer one is cut. `w` may be NULL: nobody asked. */
void hd_warnings_add(struct hd_warnings *w, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* One line each, of level warn: "EVENT text=...". */
void hd_warnings_log(const struct hd_warnings *w, const struct hd_log *log, const char *event);

#endif
