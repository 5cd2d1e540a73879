/* pace.h - which worker has become slow, how far it is relieved, when it gets its share back.
 *
 * Measured: the time in which a worker is awaited, summed over slices of half a second in which
 * anybody is, against what its speed and its link say that the half-steps take. What it usually is
 * of that is learnt of each worker; the rest is compared with the others', so that what makes all
 * slow (long prompts, a busy leader) makes nobody slow. A slice is bad for a worker when it took
 * PACE_SLOW times as much as usual and others had to wait for it: sums, not medians, because
 * one that stands still for 90 ms of each 100 answers most half-steps at once. Who owns all is
 * compared with what itself has shown: if that was slow from the first slice on, nobody knows.
 *
 *   STEADY --4 of 5 slices were bad--> SLOW      nothing is done about it: cluster.rebalance is
 *                                                manual, or nobody else could take over
 *                                  --> RELIEVED  it keeps what fits its speed, or nothing
 *   SLOW --5 slices were well--> STEADY
 *   RELIEVED --bad again with what it has kept--> RELIEVED, of everything
 *   RELIEVED --well for `hold`--> STEADY: it gets its share back
 *   STEADY --lost for silence, not for the first time of late--> RELIEVED, when it is back
 *
 * Who owns nothing answers heartbeats only; those show what stops it or its link now and then. What
 * slows its arithmetic alone shows when it has its share again: therefore `hold` is doubled with
 * each relapse (10 s, 20 s, ... 21 min), which also bounds the moves: of a worker that is well and
 * slow by turns, 6 to and 6 back in 10 minutes. */
#ifndef HD_CORE_PACE_H
#define HD_CORE_PACE_H

#include "leader/core/core.h"

#define PACE_SLICE_US     500000
#define PACE_SLICE_HALVES 4 /* half-steps that a slice has at least */
#define PACE_SLICES       5 /* that are remembered ... */
#define PACE_KNOWN        4 /* slices to learn from first: a start has its own slowness */
#define PACE_BAD          4 /* ... and of these bad: slow for two seconds at least */
#define PACE_SLOW         2.5
#define PACE_WELL         1.5
#define PACE_HARM         0.3 /* of a slice's time others were done, and it was not */
#define PACE_NO_SHARE     4.0 /* slower than that it keeps nothing: a share would be in the way */
#define PACE_HOLD_US      10000000
#define PACE_LATE         0.1 /* of heartbeats, with which a worker is not well */
#define PACE_LEVELS       7   /* times that the hold is doubled */
#define PACE_FORGIVEN     8   /* holds without a relapse, and the next one is the first again */
#define PACE_SLIP         6   /* holds within which a second silence counts */

/* Of one worker. */
struct pace {
    /* the slice in hand */
    uint64_t waited_us; /* it was awaited */
    uint64_t behind_us; /* ... while another one was done with the same half-step */
    double expected_us; /* ... and by its speed and link should have been */
    /* learnt */
    double usual;       /* waited / expected while all is well; 0: unknown */
    unsigned known;     /* slices that it was learnt from, up to 16 */
    double us_per_byte; /* its link, likewise */
    double rtt_us;      /* of the quickest heartbeats of late; 0: none yet */
    double late;        /* share of late heartbeats, of the last 32 or so */
    double slowness;    /* times as slow as usual, of the latest slices */
    unsigned bad;       /* one bit for each of the latest slices */
    unsigned well;      /* slices in a row that were well */
    /* what is done about it; survives a loss */
    bool slow, relieved;
    double share;                 /* of its units that it keeps: 1 unless relieved */
    uint32_t keep[HD_UNIT_KINDS]; /* ... in units */
    uint64_t since_us;            /* slow since */
    uint64_t well_since_us, hold_us;
    uint64_t returned_us; /* got its share back last; 0: never */
    uint64_t slipped_us;  /* was lost for silence last, with units; 0: never */
    unsigned level;       /* relapses */
};

struct pacing {
    struct pace of[HD_MAX_WORKERS];
    /* of the cluster */
    uint64_t at_us;     /* counted up to here */
    uint64_t waited_us; /* in which anybody was awaited */
    unsigned halves;
    uint64_t epoch; /* of which `owned` speaks */
    uint32_t owned[HD_UNIT_KINDS][HD_MAX_WORKERS];
    uint64_t reliefs; /* since the start */
};

/* First of all at each event: what time has passed until now. */
void core_pace_pass(struct hd_core *c);
/* A half-step of so many rows goes to `owners`. */
void core_pace_sent(struct hd_core *c, enum hd_unit_kind kind, double rows, uint64_t owners);
void core_pace_beat(struct hd_core *c, unsigned slot, double rtt_us);
void core_pace_tick(struct hd_core *c);

/* relief.c */
/* A slice was bad for it, for most of the latest; or it was well for as long as it has to be. */
void core_pace_bad(struct hd_core *c, unsigned slot);
void core_pace_well(struct hd_core *c, unsigned slot);
void core_pace_look_after(struct hd_core *c); /* who is relieved */
/* It was lost for silence. */
void core_pace_slipped(struct hd_core *c, unsigned slot);
/* `back`: of the same name; what was decided about it stays. */
void core_pace_joined(struct hd_core *c, unsigned slot, bool back);
bool core_is_slow(const struct hd_core *c, unsigned slot);
/* Slots that are relieved of everything; of a part. */
uint64_t core_pace_resting(const struct hd_core *c);
uint64_t core_pace_partial(const struct hd_core *c);
/* Makes orphans of what the partly relieved own in `p` beyond what they keep; false: nothing. */
bool core_pace_trim(const struct hd_core *c, struct hd_plan *p);
void core_view_pace(const struct hd_core *c, unsigned slot, struct hd_worker_view *out);

#endif
