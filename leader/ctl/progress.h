/* progress.h - a bar on the terminal's last line while hydac up gets ready, and a line for what is
 * lost and rebuilt later. Nothing of it where standard output is no terminal. */
#ifndef HD_CTL_PROGRESS_H
#define HD_CTL_PROGRESS_H

#include <jansson.h>
#include <stdbool.h>

struct hd_progress {
    bool on;       /* there is somebody to see it */
    bool shown;    /* the line is there */
    size_t losses; /* that were told */
};
void hd_progress_begin(struct hd_progress *p);
/* What the cluster waits for, and how far its workers have loaded what they are to own; from a
 * status, NULL: the leader does not answer yet. */
void hd_progress_show(struct hd_progress *p, const json_t *status);
void hd_progress_end(struct hd_progress *p); /* the line goes */
/* Losses that were not told yet. */
void hd_progress_tell_losses(struct hd_progress *p, const json_t *status);

#endif
