/* pace.c - one slow step (a loss, a page fault) does not move far what is known. */
#include "leader/engine/pace.h"

/* Times a step without prompts: of 100 such steps 95 are within 3 then, as no two of them take the
 * same time. */
#define GAP 2.0
/* By which one without prompts changes what is known of them, up or down: so it stays near their
 * median, however slow the slow ones are. */
#define NUDGE    1.1
#define STEER    0.5 /* of the way to as many rows as would have been right */
#define PATIENCE 48  /* steps until what one takes without prompts is looked at again */
#define MOST     1e6 /* rows: any number beyond what a step may have */

size_t hd_pace_room(const struct hd_step_pace *p, size_t answering, size_t most)
{
    if (answering == 0)
        return most;
    if (p->alone_us == 0 || p->since >= PATIENCE)
        return 0;
    size_t room = p->rows > 1 ? (size_t)(p->rows + 0.5) : 1;
    return room < most ? room : most;
}

void hd_pace_begin(struct hd_step_pace *p, uint64_t now_us)
{
    p->begun_us = now_us;
}

static void note_alone(struct hd_step_pace *p, double us)
{
    if (p->alone_us == 0)
        p->alone_us = us;
    us = us < NUDGE * p->alone_us ? us : NUDGE * p->alone_us;
    p->alone_us = us > p->alone_us / NUDGE ? us : p->alone_us / NUDGE;
}

/* A step with so many rows of prompts took `us`. Fewer than it had time for, as there were no more,
 * say little about as many. */
static void steer(struct hd_step_pace *p, double prompts, double us)
{
    double extra = us - p->alone_us, right = 2 * prompts;
    p->rows = p->rows > 1 ? p->rows : 1;
    if (prompts < p->rows / 2)
        return;
    if (extra * 2 > (GAP - 1) * p->alone_us)
        right = prompts * (GAP - 1) * p->alone_us / extra;
    if (right < prompts / 2)
        right = prompts / 2;
    p->rows += STEER * (right - p->rows);
    p->rows = p->rows < MOST ? p->rows : MOST;
}

void hd_pace_end(struct hd_step_pace *p, size_t answering, size_t prompts, uint64_t now_us)
{
    double took = (double)(now_us - p->begun_us);
    took = took > 1 ? took : 1;
    if (answering == 0)
        return;
    if (prompts == 0) {
        note_alone(p, took);
        p->since = 0;
        return;
    }
    p->since++;
    if (p->alone_us == 0)
        return;
    if (took < p->alone_us) /* one without them would not have taken longer */
        note_alone(p, took);
    steer(p, (double)prompts, took);
}
