/* pace.c - moving averages, which one slow step (a loss, a page fault) does not move far. */
#include "leader/engine/pace.h"

#define GAP    2.5 /* times a step without prompts: below 3, as no two steps take the same time */
#define FEW    8   /* rows: a prompt comes in however slow the machine is */
#define UNSEEN 32  /* rows, until it is known what they cost */
#define SHARE  0.2 /* of the newest in an average */
#define JUMP   4   /* times an average: more of one step is not believed */

static void average(double *of, double us)
{
    if (us <= 0)
        return;
    if (*of == 0)
        *of = us;
    us = us < JUMP * *of ? us : JUMP * *of;
    *of += SHARE * (us - *of);
}

size_t hd_pace_room(const struct hd_step_pace *p, size_t answering, size_t most)
{
    size_t room = UNSEEN;
    if (answering == 0)
        return most;
    if (p->alone_us > 0 && p->row_us > 0) {
        double rows = (GAP - 1) * p->alone_us / p->row_us;
        room = rows < FEW ? FEW : rows < (double)most ? (size_t)rows : most;
    }
    return room < most ? room : most;
}

void hd_pace_begin(struct hd_step_pace *p, uint64_t now_us)
{
    p->begun_us = now_us;
}

void hd_pace_end(struct hd_step_pace *p, size_t answering, size_t prompts, uint64_t now_us)
{
    double took = (double)(now_us - p->begun_us);
    if (answering > 0 && prompts == 0)
        average(&p->alone_us, took);
    else if (answering > 0 && p->alone_us > 0)
        average(&p->row_us, (took - p->alone_us) / (double)prompts);
}
