/* scrub.h - whether memory is still what it was: packed weights, K/V rows, log rows, angles and the
 * lists of units have digests from the moment they are made, and slices between the jobs look at
 * all of them again and again.
 *
 * Happy path: hd_scrub_begin -> hd_scrub_slice, whenever hd_scrub_at says so -> a round ends, the
 * next begins. A round takes half of sizes.scrub_s, in slices of equal length; those that are late
 * are made up for, so that a round ends in time however busy the worker is. Rounds know numbers,
 * not addresses: what comes while one runs is looked at or left to the next one, what goes is
 * passed over. So an item may be early in one round and late in the next, when others have come
 * before it; within two rounds, which is scrub_s, it is looked at in any case.
 *
 * What goes is looked at once more before it is freed, for answers that have left may be made of
 * it: K/V rows that are dropped (their blocks stay a little longer, for the next slices), and
 * weights that are released (damage.h). Rows of the log are not: whoever uses one looks
 * first.
 *
 * What differs goes at once, so that nothing is computed from it any more, and is made again from
 * its source: weights are packed anew, K/V rows computed from the input log, angles anew. That may
 * take time or wait for the leader, so it is another call: hd_scrub_repair, before the next job. A
 * row of the log has no source here: the leader has it filled from another worker (fill.h). Each
 * finding is told once (damage.h), when what can be done has been done.
 *
 * Failure modes: 1. weights that cannot be loaded again: hd_scrub_repair says so, and the
 * session is over; 2. K/V that the log does not give: the finding says replay, and no step of
 * the sequence is computed until it was dropped; 3. a list of units: HD_E_STATE, likewise over, for
 * nobody here knows any more what is owned.
 *
 * Times are passed in, microseconds of one clock. */
#ifndef HD_WORKER_SCRUB_H
#define HD_WORKER_SCRUB_H

#include "worker/share/damage.h"

/* 0 or HD_E_NOMEM. Nothing is looked at before hd_scrub_begin. */
int hd_scrub_new(struct hd_scrub **out);
void hd_scrub_free(struct hd_scrub *s);

/* sizes.scrub_s holds from now on; 0: nothing is looked at. A round that is under way goes on. */
void hd_scrub_begin(struct hd_node *n, uint64_t now_us);
/* When the next slice is due, at once if rows were dropped; UINT64_MAX: not at all. */
uint64_t hd_scrub_at(const struct hd_node *n);
/* A slice: 256 KiB of rows that were dropped, or a 64th of them all; and if one of the round is due
 * 64 KiB to 1 MiB of that, up to 8 MiB when late. HD_SCRUB_BROKEN: hd_scrub_repair comes next. Or
 * HD_E_STATE. */
enum { HD_SCRUB_WHOLE = 0, HD_SCRUB_BROKEN = 1 };
int hd_scrub_slice(struct hd_node *n, uint64_t now_us, struct hd_error *err);
/* Looks at all rows that were dropped, at once. */
void hd_scrub_dropped(struct hd_node *n, uint64_t now_us);
/* Something that a slice has found is not repaired yet. */
bool hd_scrub_broken(const struct hd_node *n);
/* Makes it again. Waits for a supply. 0, or what loading weights said. */
int hd_scrub_repair(struct hd_node *n, struct hd_error *err);

struct hd_scrub_totals {
    uint64_t rounds;         /* whole ones, since the start */
    uint64_t clean_began_us; /* when the last one that found nothing began; 0: there was none */
};
void hd_scrub_totals(const struct hd_node *n, struct hd_scrub_totals *t);

#endif
