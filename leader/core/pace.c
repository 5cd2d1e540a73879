/* pace.c - a slice is judged when it ends; the state follows from the last few judgements. */
#include "leader/core/core_impl.h"

#include <string.h>

#define USUAL_SPEED  1e9   /* multiply-adds a second, when no worker's speed is known */
#define LATE_US      20000 /* beyond four round trips: a heartbeat's answer that shows something */
#define LATE_SHARE   0.1   /* of heartbeats, with which a worker is not well */
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

/* From whom an answer is awaited that somebody else has given. */
static uint64_t behind_others(const struct hd_core *c)
{
    uint64_t set = 0;
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        if (c->half[g].awaited != c->half[g].asked)
            set |= c->half[g].awaited;
    return set;
}

/* Ticks come every interval: where nothing happened for longer, it was the leader that was late. */
void core_pace_pass(struct hd_core *c)
{
    struct pace_slice *p = &c->pace;
    uint64_t passed = c->now_us > p->at_us ? c->now_us - p->at_us : 0;
    uint64_t most = 2 * c->o.detector.interval_us, awaited = core_awaited(c);
    p->at_us = c->now_us;
    if (passed > most)
        passed = most;
    if (!awaited)
        return;
    p->waited_us += passed;
    uint64_t behind = behind_others(c);
    for (; awaited; awaited &= awaited - 1) {
        struct pace *w = &c->workers[core_first(awaited)].pace;
        w->waited_us += passed;
        w->behind_us += behind & core_bit(core_first(awaited)) ? passed : 0;
    }
}

static void count_owned(struct hd_core *c)
{
    struct pace_slice *p = &c->pace;
    if (p->epoch == c->epoch)
        return;
    p->epoch = c->epoch;
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
            p->owned[k][s] = hd_plan_owned(&c->plan, k, s, NULL);
}

static double usual_speed(const struct hd_core *c)
{
    double sum = 0, n = 0;
    for (uint64_t left = core_alive(c); left; left &= left - 1) {
        const struct worker *w = &c->workers[core_first(left)];
        sum += (double)w->multiply_adds_per_s;
        n += w->multiply_adds_per_s > 0;
    }
    return n > 0 ? sum / n : USUAL_SPEED;
}

void core_pace_sent(struct hd_core *c, unsigned group, uint64_t owners)
{
    enum hd_unit_kind kind = hd_half_units(c->half[group].half);
    const struct hd_unit_cost *cost = &c->o.unit[kind];
    double work = (cost->work > 0 ? cost->work : 1) / (cost->trips > 0 ? cost->trips : 1);
    double rows = 0, usual = usual_speed(c);
    for (unsigned i = 0; i < HD_MAX_SEQUENCES; i++)
        rows += c->sequences[i].inflight[group];
    count_owned(c);
    c->pace.halves++;
    for (; owners; owners &= owners - 1) {
        unsigned s = core_first(owners);
        struct worker *w = &c->workers[s];
        double speed = w->multiply_adds_per_s > 0 ? (double)w->multiply_adds_per_s : usual;
        w->pace.expected_us += w->pace.rtt_us + w->pace.us_per_byte * cost->trip_bytes * rows +
                               c->pace.owned[kind][s] * work * rows / speed * 1e6;
    }
}

void core_pace_beat(struct hd_core *c, unsigned slot, double rtt_us)
{
    struct pace *p = &c->workers[slot].pace;
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
        const struct pace *p = &c->workers[s].pace;
        if (!is_alive(c, s) || p->waited_us == 0)
            continue;
        m->slots |= core_bit(s);
        m->factor[s] = (double)p->waited_us / (p->expected_us > 1 ? p->expected_us : 1);
        m->usual[s] = p->usual > 0 ? p->usual : m->factor[s];
    }
    for (uint64_t left = m->slots; left; left &= left - 1) {
        unsigned s = core_first(left);
        struct pace *p = &c->workers[s].pace;
        if (p->usual <= 0) /* as long as it is not known, as the others now */
            p->usual = bounded(m, m->factor[s], others(m, m->factor, s));
        m->unusual[s] = m->factor[s] / p->usual;
    }
}

/* It was not bad: what it showed is usual. */
static void learn(struct hd_core *c, const struct measures *m, unsigned slot)
{
    struct worker *w = &c->workers[slot];
    struct pace *p = &w->pace;
    p->known += p->known < USUAL_MEMORY;
    p->usual += (m->factor[slot] - p->usual) / p->known;
    p->usual = bounded(m, p->usual, others(m, m->usual, slot));
    p->us_per_byte += (w->us_per_byte - p->us_per_byte) / LINK_MEMORY;
}

/* ---- What follows ----*/

const char *hd_pace_name(enum hd_pace p)
{
    static const char *const names[] = {"steady", "slow", "relieved"};
    return names[p];
}

enum hd_pace core_pace_of(const struct worker *w)
{
    return w->pace.relieved ? HD_PACE_RELIEVED : w->pace.slow ? HD_PACE_SLOW : HD_PACE_STEADY;
}

static void say(struct hd_core *c, unsigned slot)
{
    struct hd_action *a = core_push(c, HD_ACT_PACE, slot);
    const struct pace *p = &c->workers[slot].pace;
    a->pace.pace = core_pace_of(&c->workers[slot]);
    a->pace.share = p->share;
    a->pace.slowness = p->slowness;
}

/* Somebody else could do its work. */
static bool can_be_relieved(const struct hd_core *c, unsigned slot)
{
    uint64_t set = core_usable(c) & ~core_suspects(c) & ~core_bit(slot);
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (c->workers[s].pace.slow || c->workers[s].pace.late >= LATE_SHARE)
            set &= ~core_bit(s);
    return c->o.relief.automatic && set;
}

static uint64_t first_hold(const struct hd_core *c)
{
    return c->o.relief.hold_us ? c->o.relief.hold_us : PACE_HOLD_US;
}

static void relieve(struct hd_core *c, unsigned slot, double share)
{
    struct pace *p = &c->workers[slot].pace;
    if (!p->relieved) {
        if (p->returned_us && c->now_us > p->returned_us + PACE_FORGIVEN * p->hold_us)
            p->level = 0;
        p->hold_us = first_hold(c) << p->level;
        p->level += p->level < PACE_LEVELS;
        c->pace.reliefs++;
    }
    p->slow = p->relieved = true;
    p->share = share;
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        p->keep[k] = (uint32_t)(hd_plan_owned(&c->plan, k, slot, NULL) * share);
    p->well_since_us = c->now_us;
    p->well = 0;
}

/* It still has what it is to be relieved of: others prepare for it, or nobody can. */
static bool is_on_its_way(const struct hd_core *c, unsigned slot)
{
    const struct pace *p = &c->workers[slot].pace;
    bool more = p->share <= 0;
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        more |= hd_plan_owned(&c->plan, k, slot, NULL) > p->keep[k];
    return p->relieved && more;
}

static void become_slow(struct hd_core *c, unsigned slot)
{
    struct pace *p = &c->workers[slot].pace;
    p->bad = 0;
    if (is_on_its_way(c, slot))
        return;
    if (!p->slow)
        p->since_us = c->now_us;
    if (can_be_relieved(c, slot)) {
        bool of_all = p->relieved || p->slowness > PACE_NO_SHARE || p->late >= LATE_SHARE;
        relieve(c, slot, of_all ? 0 : 1 / p->slowness);
        core_move_forget(c);
    } else if (p->slow) {
        return; /* it was said before */
    }
    p->slow = true;
    say(c, slot);
}

static void become_steady(struct hd_core *c, unsigned slot)
{
    struct worker *w = &c->workers[slot];
    struct pace *p = &w->pace;
    bool partly = p->relieved && p->share > 0;
    if (p->relieved)
        p->returned_us = c->now_us;
    p->slow = p->relieved = false;
    p->share = 1;
    p->bad = p->well = 0;
    p->usual = p->known = 0; /* it has to show anew what is usual */
    w->planned = false;
    c->rebalance |= partly;
    core_move_forget(c);
    say(c, slot);
}

/* Who owns all has nobody to be compared with but itself: what is asked may have changed, so its
 * heartbeats have to be late as well. */
static void judge(struct hd_core *c, const struct measures *m, unsigned slot)
{
    struct pace *p = &c->workers[slot].pace;
    bool alone = m->slots == core_bit(slot);
    double usual = alone ? 1 : others(m, m->unusual, slot);
    double slowness = usual > 0 ? m->unusual[slot] / usual : 1;
    bool late = p->late >= LATE_SHARE;
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
        become_slow(c, slot);
    else if (p->slow && !p->relieved && p->well >= PACE_SLICES)
        become_steady(c, slot);
}

static void end_slice(struct hd_core *c)
{
    struct measures m;
    measure(c, &m);
    for (uint64_t left = m.slots; left; left &= left - 1)
        judge(c, &m, core_first(left));
    c->pace.waited_us = c->pace.halves = 0;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        struct pace *p = &c->workers[s].pace;
        p->waited_us = p->behind_us = 0;
        p->expected_us = 0;
    }
}

/* ---- Who is relieved ----*/

/* Heartbeats speak for those that own nothing, half-steps for the others (judge). */
static void look_after(struct hd_core *c, unsigned slot)
{
    const struct worker *w = &c->workers[slot];
    struct pace *p = &c->workers[slot].pace;
    bool owns = core_owns_any(c, slot);
    if (w->state != HD_WORKER_ONLINE || p->late >= LATE_SHARE || (owns && p->share <= 0))
        p->well_since_us = c->now_us;
    if (owns && p->well < PACE_SLICES)
        return;
    if (c->now_us >= p->well_since_us + p->hold_us)
        become_steady(c, slot);
}

void core_pace_tick(struct hd_core *c)
{
    uint64_t slice = c->o.relief.slice_us ? c->o.relief.slice_us : PACE_SLICE_US;
    if (c->pace.waited_us >= slice && c->pace.halves >= PACE_SLICE_HALVES)
        end_slice(c);
    for (uint64_t left = core_alive(c); left; left &= left - 1)
        if (c->workers[core_first(left)].pace.relieved)
            look_after(c, core_first(left));
}

void core_pace_slipped(struct hd_core *c, unsigned slot)
{
    struct pace *p = &c->workers[slot].pace;
    bool again = p->slipped_us && c->now_us < p->slipped_us + PACE_SLIP * first_hold(c);
    p->slipped_us = c->now_us;
    if (!again || p->relieved || !c->o.relief.automatic)
        return;
    p->since_us = c->now_us;
    relieve(c, slot, 0);
    say(c, slot);
}

void core_pace_back(const struct hd_core *c, struct worker *fresh, const struct worker *before)
{
    const struct pace *b = &before->pace;
    struct pace *p = &fresh->pace;
    *p = (struct pace){.share = 1};
    if (strcmp(fresh->name, before->name) != 0)
        return;
    p->returned_us = b->returned_us;
    p->slipped_us = b->slipped_us;
    p->hold_us = b->hold_us;
    p->level = b->level;
    if (!b->relieved)
        return;
    p->slow = p->relieved = true;
    p->since_us = b->since_us;
    p->slowness = b->slowness;
    p->share = 0;
    p->well_since_us = c->now_us;
}

static uint64_t relieved(const struct hd_core *c, bool of_all)
{
    uint64_t set = 0;
    for (uint64_t left = core_alive(c); left; left &= left - 1) {
        const struct pace *p = &c->workers[core_first(left)].pace;
        if (p->relieved && (p->share <= 0) == of_all)
            set |= core_bit(core_first(left));
    }
    return set;
}

uint64_t core_pace_resting(const struct hd_core *c)
{
    return relieved(c, true);
}

uint64_t core_pace_partial(const struct hd_core *c)
{
    return relieved(c, false);
}

bool core_pace_trim(const struct hd_core *c, struct hd_plan *p)
{
    bool any = false;
    for (uint64_t left = core_pace_partial(c); left; left &= left - 1) {
        unsigned s = core_first(left);
        for (int k = 0; k < HD_UNIT_KINDS; k++) {
            uint32_t n = 0;
            for (uint32_t u = 0; u < p->count[k]; u++)
                if (p->owner[k][u] == s && ++n > c->workers[s].pace.keep[k]) {
                    p->owner[k][u] = HD_NOBODY;
                    any = true;
                }
        }
    }
    return any;
}
