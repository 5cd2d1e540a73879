/* pace.c - one slow step (a loss, a page fault) does not move far what is known. */
#include "leader/engine/pace.h"

#include <stdbool.h>

/* Times a step without prompts: of 100 such steps 95 are within 3 then, as no two of them take the
 * same time. */
#define GAP 1.8
/* By which one without prompts changes what is known of them, up or down: so it stays near their
 * median, however slow the slow ones are. */
#define NUDGE    1.1
#define STEER    0.5 /* of the way to as many rows as would have been right */
#define PATIENCE 48  /* steps until what one takes without prompts is looked at again */
#define MOST     1e6 /* rows: any number beyond what a step may have */
#define OTHER    1.5 /* times as many that answer, or as few: what a step takes is another time */

/* Without others: what a step may take, rows before that is known, and those taken in any case. */
#define FULL_US    5e5
#define FULL_FIRST 256
#define FULL_LEAST 128

/* So many answer that what is known of steps without prompts says little. */
static bool is_other(const struct hd_step_pace *p, size_t answering)
{
    double n = (double)answering, was = (double)p->alone_of;
    return n > OTHER * was || n * OTHER < was;
}

/* Rows of prompts without others. */
static double full_of(const struct hd_step_pace *p)
{
    return p->full == 0 ? FULL_FIRST : p->full > FULL_LEAST ? p->full : FULL_LEAST;
}

size_t hd_pace_room(const struct hd_step_pace *p, size_t answering, size_t most)
{
    double rows = p->rows > 1 ? p->rows : 1;
    if (answering == 0)
        rows = full_of(p);
    else if (p->alone_us == 0 || p->since >= PATIENCE || is_other(p, answering))
        return 0;
    size_t room = (size_t)(rows + 0.5);
    return room < most ? room : most;
}

void hd_pace_begin(struct hd_step_pace *p, uint64_t now_us)
{
    p->begun_us = now_us;
}

static void note_alone(struct hd_step_pace *p, size_t answering, double us)
{
    double times = p->alone_of > 0 ? (double)answering / (double)p->alone_of : 1;
    double least = p->alone_us * (times < 1 ? times : 1) / NUDGE;
    double most = p->alone_us * (times > 1 ? times : 1) * NUDGE;
    if (p->alone_us > 0)
        us = us < least ? least : us < most ? us : most;
    p->alone_us = us;
    p->alone_of = answering;
}

/* A step with so many rows of prompts took `us` for them, and was allowed to take `most_us`. Fewer
 * than it had time for, as there were no more, say little about as many. */
static void steer(double *rows, double prompts, double us, double most_us)
{
    double right = 2 * prompts;
    if (prompts < *rows / 2)
        return;
    if (us * 2 > most_us)
        right = prompts * most_us / us;
    if (right < prompts / 2)
        right = prompts / 2;
    *rows += STEER * (right - *rows);
    *rows = *rows < MOST ? *rows : MOST;
}

void hd_pace_end(struct hd_step_pace *p, size_t answering, size_t prompts, uint64_t now_us)
{
    double took = (double)(now_us - p->begun_us);
    took = took > 1 ? took : 1;
    if (answering == 0) {
        p->full = full_of(p);
        steer(&p->full, (double)prompts, took, FULL_US);
        return;
    }
    if (prompts == 0) {
        note_alone(p, answering, took);
        p->since = 0;
        return;
    }
    p->since++;
    if (p->alone_us == 0)
        return;
    if (took < p->alone_us) /* one without them would not have taken longer */
        note_alone(p, p->alone_of, took);
    p->rows = p->rows > 1 ? p->rows : 1;
    steer(&p->rows, (double)prompts, took - p->alone_us, (GAP - 1) * p->alone_us);
}
