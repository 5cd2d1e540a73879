/* top.h - what hydac top knows of the cluster, and how it is drawn. */
#ifndef HD_CTL_TOP_H
#define HD_CTL_TOP_H

#include <jansson.h>
#include <stddef.h>

#define HD_TOP_EVENTS 8 /* latest lines that are kept */

struct hd_top {
    json_t *status, *before; /* the last two; NULL: none */
    json_t *losses;          /* objects, the latest last */
    char events[HD_TOP_EVENTS][160];
    size_t n_events; /* ever */
    size_t rows, columns;
};

/* What is shown, malloc'ed: lines with escape sequences, none wider than the screen; NULL when
 * memory is out. */
char *hd_top_draw(const struct hd_top *t);

#endif
