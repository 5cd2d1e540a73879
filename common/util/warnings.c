/* warnings.c - a list that grows, without what is in it already. */
#include "common/util/warnings.h"

#include <stdarg.h>
#include <stdio.h>

void hd_warnings_add(struct hd_warnings *w, const char *fmt, ...)
{
    va_list args;

    if (!w)
        return;
    if (w->n == HD_WARNINGS_MAX) {
        w->left_out++;
        return;
    }
    va_start(args, fmt);
    vsnprintf(w->text[w->n++], sizeof w->text[0], fmt, args);
    va_end(args);
}

void hd_warnings_log(const struct hd_warnings *w, const struct hd_log *log, const char *event)
{
    for (unsigned i = 0; i < w->n; i++)
        hd_warn(log, event, "text=\"%s\"", w->text[i]);
    if (w->left_out)
        hd_warn(log, event, "text=\"and %u more\"", w->left_out);
}
