/* pace.h - how many rows of prompts a step may take, so that nobody waits for long: sequences that
 * answer at most three times as long as without, who comes in the middle of it half a second. Pure.
 *
 * Rows do not see one another, so it changes when tokens come and not which. What a row costs
 * depends on the machines, on how many come together and on where in its prompt it stands, so it is
 * a loop: as many rows are taken as would just have filled what the last such step was allowed to
 * take, at most twice as many as it had. Beside others one row is always taken: where it alone is
 * longer than what is allowed, those that answer wait for it, as a prompt that never came in would
 * be worse; without others so many that weights are worth reading. */
#ifndef HD_ENGINE_PACE_H
#define HD_ENGINE_PACE_H

#include <stddef.h>
#include <stdint.h>

/* Zeroes: nothing was measured yet. */
struct hd_step_pace {
    double alone_us; /* of a step without prompts; 0: none was seen yet */
    size_t alone_of; /* ... and how many answered in it */
    double rows;     /* of prompts, that a step has time for beside others; 0: not known */
    double full;     /* ... without others; likewise */
    unsigned since;  /* steps since one without prompts was seen */
    uint64_t begun_us;
};
/* Rows of prompts beside `answering` sequences, `most` at most. 0 now and then, and when far more
 * or fewer answer than did: such a step shows what it takes without them. */
size_t hd_pace_room(const struct hd_step_pace *p, size_t answering, size_t most);
void hd_pace_begin(struct hd_step_pace *p, uint64_t now_us);
/* A step of so many rows is done. */
void hd_pace_end(struct hd_step_pace *p, size_t answering, size_t prompts, uint64_t now_us);

#endif
