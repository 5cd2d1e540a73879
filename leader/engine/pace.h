/* pace.h - how many rows of prompts a step may take while other sequences answer, so that these do
 * not wait for long: at most three times as long as without. Pure.
 *
 * Rows do not see one another, so it changes when tokens come and not which. Measured are steps in
 * which all rows answer, and what a row of a prompt adds to one. */
#ifndef HD_ENGINE_PACE_H
#define HD_ENGINE_PACE_H

#include <stddef.h>
#include <stdint.h>

struct hd_step_pace {
    double alone_us; /* of a step without prompts; 0: none was seen yet */
    double row_us;   /* what a row of a prompt adds; 0: likewise */
    uint64_t begun_us;
};
/* Rows of prompts beside `answering` others, `most` at most and always a few. */
size_t hd_pace_room(const struct hd_step_pace *p, size_t answering, size_t most);
void hd_pace_begin(struct hd_step_pace *p, uint64_t now_us);
/* A step of so many rows is done. */
void hd_pace_end(struct hd_step_pace *p, size_t answering, size_t prompts, uint64_t now_us);

#endif
