/* pace.c - a slice is judged when it ends; the state follows from the last few judgements. */
#include "leader/core/core_impl.h"

#define USUAL_SPEED  1e9   /* multiply-adds a second, when no worker's speed is known */
#define LATE_US      20000 /* beyond four round trips: a heartbeat's answer that shows something */
#define LATE_MEMORY  32    /* heartbeats */
#define LINK_MEMORY  8     /* slices that were not bad */
#define DRIFT        1024 /* heartbeats: a way that has become twice as long is known in a minute */
#define USUAL_MEMORY 16   /* slices */
#define MOST_UNUSUAL 2    /* times the others' that a usual pace may be */
#define MOST_ALONE   8    /* times what was expected, when there are no others */

static double at_most(double v, double most)
{
    return v < most ? v : most;
}

static bool is_alive(const struct hd_core *c, unsigned slot)
{
    return core_alive(c) & core_bit(slot);
}

/* ---- Counting time ----*/

/* Ticks come every interval: where nothing happened for longer, it was the leader that was late. */
void core_pace_pass(struct hd_core *c)
{
    struct pacing *p = &c->pace;
    uint64_t passed = c->now_us > p->at_us ? c->now_us - p->at_us : 0;
    uint64_t most = 2 * c->o.detector.interval_us, awaited = core_awaited(c);
    p->at_us = c->now_us;
    if (passed > most)
        passed = most;
    if (!awaited)
        return;
    p->waited_us += passed;
    uint64_t behind = core_behind(c);
    for (; awaited; awaited &= awaited - 1) {
        struct pace *w = &c->pace.of[core_first(awaited)];
        w->waited_us += passed;
        w->behind_us += behind & core_bit(core_first(awaited)) ? passed : 0;
    }
}

static void count_owned(struct hd_core *c)
{
    struct pacing *p = &c->pace;
    if (p->epoch == hd_core_epoch(c))
        return;
    p->epoch = hd_core_epoch(c);
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
            p->owned[k][s] = hd_plan_owned(hd_core_plan(c), k, s, NULL);
}

static double usual_speed(const struct hd_core *c)
{
    double sum = 0, n = 0;
    for (uint64_t left = core_alive(c); left; left &= left - 1) {
        double speed = core_speed(c, core_first(left));
        sum += speed;
        n += speed > 0;
    }
    return n > 0 ? sum / n : USUAL_SPEED;
}

void core_pace_sent(struct hd_core *c, enum hd_unit_kind kind, double rows, uint64_t owners)
{
    const struct hd_unit_cost *cost = &c->o.unit[kind];
    double work = (cost->work > 0 ? cost->work : 1) / (cost->trips > 0 ? cost->trips : 1);
    double usual = usual_speed(c);
    count_owned(c);
    c->pace.halves++;
    for (; owners; owners &= owners - 1) {
        unsigned s = core_first(owners);
        struct pace *p = &c->pace.of[s];
        double speed = core_speed(c, s) > 0 ? core_speed(c, s) : usual;
        p->expected_us += p->rtt_us + p->us_per_byte * cost->trip_bytes * rows +
                          c->pace.owned[kind][s] * work * rows / speed * 1e6;
    }
}

void core_pace_beat(struct hd_core *c, unsigned slot, double rtt_us)
{
    struct pace *p = &c->pace.of[slot];
    if (p->rtt_us <= 0)
        p->rtt_us = rtt_us;
    bool late = rtt_us > 4 * p->rtt_us + LATE_US;
    p->late += ((late ? 1.0 : 0.0) - p->late) / LATE_MEMORY;
    if (rtt_us < p->rtt_us)
        p->rtt_us += (rtt_us - p->rtt_us) / 2;
    else /* a single slow one may have taken any time */
        p->rtt_us += at_most(rtt_us - p->rtt_us, p->rtt_us) / DRIFT;
}

/* ---- A slice ----*/

/* What a slice says of each worker that was awaited in it. */
struct measures {
    uint64_t slots;
    double factor[HD_MAX_WORKERS];  /* waited / expected */
    double unusual[HD_MAX_WORKERS]; /* factor / usual */
    double usual[HD_MAX_WORKERS];
};

/* The lower median of the others' values: with half of them slow it still is that of one who is
 * well. 0 without others. */
static double others(const struct measures *m, const double *value, unsigned slot)
{
    double list[HD_MAX_WORKERS];
    unsigned n = 0;
    for (uint64_t left = m->slots & ~core_bit(slot); left; left &= left - 1) {
        double v = value[core_first(left)];
        unsigned at = n++;
        for (; at > 0 && list[at - 1] > v; at--)
            list[at] = list[at - 1];
        list[at] = v;
    }
    return n > 0 ? list[(n - 1) / 2] : 0;
}

/* A usual pace, no more than a small multiple of the others', or of what was expected. */
static double bounded(const struct measures *m, double usual, double theirs)
{
    bool alone = !(m->slots & (m->slots - 1));
    return at_most(usual, alone ? MOST_ALONE : MOST_UNUSUAL * theirs);
}

static void measure(struct hd_core *c, struct measures *m)
{
    *m = (struct measures){0};
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        const struct pace *p = &c->pace.of[s];
        if (!is_alive(c, s) || p->waited_us == 0)
            continue;
        m->slots |= core_bit(s);
        m->factor[s] = (double)p->waited_us / (p->expected_us > 1 ? p->expected_us : 1);
        m->usual[s] = p->usual > 0 ? p->usual : m->factor[s];
    }
    for (uint64_t left = m->slots; left; left &= left - 1) {
        unsigned s = core_first(left);
        struct pace *p = &c->pace.of[s];
        if (p->usual <= 0) /* as long as it is not known, as the others now */
            p->usual = bounded(m, m->factor[s], others(m, m->factor, s));
        m->unusual[s] = m->factor[s] / p->usual;
    }
}

/* It was not bad: what it showed is usual. */
static void learn(struct hd_core *c, const struct measures *m, unsigned slot)
{
    struct pace *p = &c->pace.of[slot];
    p->known += p->known < USUAL_MEMORY;
    p->usual += (m->factor[slot] - p->usual) / p->known;
    p->usual = bounded(m, p->usual, others(m, m->usual, slot));
    p->us_per_byte += (core_us_per_byte(c, slot) - p->us_per_byte) / LINK_MEMORY;
}

/* ---- Who is slow ----*/

/* Who owns all has nobody to be compared with but itself: what is asked may have changed, so its
 * heartbeats have to be late as well. */
static void judge(struct hd_core *c, const struct measures *m, unsigned slot)
{
    struct pace *p = &c->pace.of[slot];
    bool alone = m->slots == core_bit(slot);
    double usual = alone ? 1 : others(m, m->unusual, slot);
    double slowness = usual > 0 ? m->unusual[slot] / usual : 1;
    bool late = p->late >= PACE_LATE;
    bool harm = alone ? late : (double)p->behind_us >= PACE_HARM * (double)c->pace.waited_us;
    bool judged = late || p->known >= PACE_KNOWN;
    bool bad = slowness >= PACE_SLOW && harm && judged;
    p->bad = (p->bad << 1 | bad) & ((1u << PACE_SLICES) - 1);
    p->well = slowness < PACE_WELL ? p->well + 1 : 0;
    p->slowness = p->slowness > 0 ? (p->slowness + slowness) / 2 : slowness;
    if (!bad && !p->slow && !late)
        learn(c, m, slot);
    if (p->well == 0)
        p->well_since_us = c->now_us;
    if (__builtin_popcount(p->bad) >= PACE_BAD)
        core_pace_bad(c, slot);
    else if (p->slow && !p->relieved && p->well >= PACE_SLICES)
        core_pace_well(c, slot);
}

static void end_slice(struct hd_core *c)
{
    struct measures m;
    measure(c, &m);
    for (uint64_t left = m.slots; left; left &= left - 1)
        judge(c, &m, core_first(left));
    c->pace.waited_us = c->pace.halves = 0;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        struct pace *p = &c->pace.of[s];
        p->waited_us = p->behind_us = 0;
        p->expected_us = 0;
    }
}

void core_pace_tick(struct hd_core *c)
{
    uint64_t slice = c->o.relief.slice_us ? c->o.relief.slice_us : PACE_SLICE_US;
    if (c->pace.waited_us >= slice && c->pace.halves >= PACE_SLICE_HALVES)
        end_slice(c);
    core_pace_look_after(c);
}
