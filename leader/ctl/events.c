/* events.c - lines are put together until an empty one ends the event. */
#include "leader/ctl/events.h"

#include "common/util/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One line of the stream (without its newline). */
static void take_line(struct hd_events *e, const char *line, size_t n)
{
    if (n > 7 && n - 7 < sizeof e->name && memcmp(line, "event: ", 7) == 0)
        snprintf(e->name, sizeof e->name, "%.*s", (int)(n - 7), line + 7);
    if (n > 4 && n - 4 < sizeof e->id && memcmp(line, "id: ", 4) == 0)
        snprintf(e->id, sizeof e->id, "%.*s", (int)(n - 4), line + 4);
    if (n < 6 || memcmp(line, "data: ", 6) != 0)
        return;
    json_t *event = json_loadb(line + 6, n - 6, 0, NULL); /* NULL for "[DONE]" */
    if (event)
        e->on_event(e->arg, event);
    json_decref(event);
}

static int append(struct hd_events *e, const char *data, size_t len)
{
    if (len > HD_MAX_EVENT || e->n + len > HD_MAX_EVENT)
        return HD_E_LIMIT;
    if (e->n + len > e->cap) {
        size_t cap = 2 * (e->n + len);
        char *p = realloc(e->buf, cap);
        if (!p)
            return HD_E_NOMEM;
        e->buf = p;
        e->cap = cap;
    }
    memcpy(e->buf + e->n, data, len);
    e->n += len;
    return 0;
}

int hd_events_feed(struct hd_events *e, long status, const char *data, size_t len)
{
    int rc = append(e, data, len);
    if (rc < 0 || status != 200)
        return rc;
    char *at = e->buf, *newline;
    while ((newline = memchr(at, '\n', e->n - (size_t)(at - e->buf)))) {
        take_line(e, at, (size_t)(newline - at));
        at = newline + 1;
    }
    e->n -= (size_t)(at - e->buf);
    memmove(e->buf, at, e->n);
    return 0;
}

void hd_events_deinit(struct hd_events *e)
{
    free(e->buf);
    *e = (struct hd_events){0};
}
