/* adoption.h - what workers have kept of a cluster whose leader is gone, or whose leader they had
 * lost: units that they own or hold, rows of sequences. As long as nobody is served it is taken
 * over. */
#ifndef HD_CORE_ADOPTION_H
#define HD_CORE_ADOPTION_H

#include "leader/core/core.h"

struct adoption {
    uint64_t brought;      /* slots that have come with something */
    uint64_t telling;      /* slots that have yet to say what they have: they are not alive yet */
    uint64_t sequences;    /* some worker has rows of: the first epoch does not replay them */
    uint64_t since_us;     /* the first of them joined, moved on by our own lateness; 0: nobody is
                            * waited for */
    struct hd_plan claims; /* who owned what; whoever said so first */
    struct hd_holds held;  /* ... and who held what besides */
    uint64_t covers[HD_MAX_WORKERS]; /* sequences that the log has all of, by what was said */
};

int core_adoption_init(struct hd_core *c);
void core_adoption_deinit(struct hd_core *c);
void core_adoption_joined(struct hd_core *c, unsigned slot, bool kept);
void core_adoption_lost(struct hd_core *c, unsigned slot);
void core_adoption_tick(struct hd_core *c, uint64_t late_us);
void core_kept(struct hd_core *c, unsigned slot, const struct hd_kept_info *kept);
/* These are not to be replayed by the first epoch. */
void core_adopted(struct hd_core *c, uint64_t sequences);

uint64_t core_telling(const struct hd_core *c);
/* It has come with something, and the cluster serves: it may have missed what became of that. */
bool core_is_stale(const struct hd_core *c, unsigned slot);
uint64_t core_adopted_sequences(const struct hd_core *c);
/* Sequences that its log has all of, when it is let in. */
uint64_t core_adopted_covers(const struct hd_core *c, unsigned slot);
/* Others of the same cluster are probably on their way. */
bool core_adoption_waits(const struct hd_core *c);
bool core_adopts(const struct hd_core *c); /* somebody who is alive owned something */
/* Puts the owners that are alive into a plan, and for units of others who holds them. */
void core_adopt_plan(const struct hd_core *c, struct hd_plan *out);
/* What those who are alive have held under an earlier leader. */
const struct hd_holds *core_adopted_holds(const struct hd_core *c);
/* An epoch has begun: what was said is used, or of no use any more. */
void core_adoption_over(struct hd_core *c);

#endif
