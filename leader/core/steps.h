/* steps.h - sequences, and the half-steps in hand, one of each group of rows. */
#ifndef HD_CORE_STEPS_H
#define HD_CORE_STEPS_H

#include "leader/core/core.h"

struct sequence {
    uint32_t base;                    /* positions committed, with those that are shared */
    uint32_t parent, shared;          /* as in hd_fork; shared 0: nothing */
    uint32_t inflight[HD_MAX_GROUPS]; /* rows in the step in hand */
    uint32_t target;                  /* positions it had before its replay */
};

/* The half-step in hand of one group. */
struct half {
    bool active; /* the engine wants it */
    bool sent;   /* to the workers, under the present epoch */
    bool again;  /* sent anew after a loss: a recovery ends with its answers */
    uint64_t step;
    enum hd_half half;
    uint32_t layer;
    uint64_t sequences;  /* of its rows */
    bool single;         /* one row of each sequence: all of them decode */
    bool drafted;        /* rows may be cut: whose K/V they are an audit could not tell */
    uint64_t asked;      /* slots that are to answer it */
    uint64_t awaited;    /* ... and have not yet */
    uint64_t order;      /* of what was sent: who is awaited answers in this order */
    uint64_t alone;      /* slots that had nothing else to answer when it was sent */
    uint64_t since_us;   /* sent at, moved on by our own lateness */
    uint64_t slowest_us; /* the longest computing among the answers so far */
    struct round *audit; /* it is audited; NULL: no */
    bool held;           /* not sent although it could be: too many audits are under way */
};

/* The time in which something is with the workers. */
struct waiting {
    uint64_t since_us; /* not counted yet; moved on by our own lateness */
    uint64_t spare_us; /* counted since nothing was, and not as computing */
};

struct steps {
    uint64_t live;      /* open sequences */
    uint64_t kept;      /* ... that no request runs on */
    uint64_t forgotten; /* ... and that HD_ACT_FORGET is on its way for */
    uint64_t replaying; /* HD_ACT_REPLAY is on its way for these */
    uint64_t replayed;  /* to be dropped by every worker: said until all have confirmed it */
    struct sequence sequences[HD_MAX_SEQUENCES];
    uint32_t layers_done[HD_MAX_GROUPS];
    struct half half[HD_MAX_GROUPS];
    uint64_t halves_sent;
    struct waiting waiting;
    struct hd_half_totals totals[2]; /* [half.single] */
    struct {
        uint64_t asked, answered; /* half-steps */
        double us_per_byte;       /* of its link, smoothed; 0 until a large one was answered */
    } of[HD_MAX_WORKERS];
};

void core_seq_open(struct hd_core *c, uint32_t sequence);
void core_seq_fork(struct hd_core *c, const struct hd_fork *fork);
void core_seq_kept(struct hd_core *c, uint32_t sequence, bool kept);
/* Half-steps of it that are audited have no rows behind. */
void core_seq_cut(struct hd_core *c, const struct hd_seq_cut *cut);
void core_seq_close(struct hd_core *c, uint32_t sequence);
void core_seq_adopt(struct hd_core *c, const struct hd_adopt_info *a);
void core_half(struct hd_core *c, const struct hd_half_info *ask);
void core_result(struct hd_core *c, unsigned slot, const struct hd_result_info *r);
void core_step_done(struct hd_core *c);
void core_replayed(struct hd_core *c, uint64_t sequences);
/* The engine gives up the step in hand: none of its rows count. */
void core_abandon_step(struct hd_core *c);
void core_steps_joined(struct hd_core *c, unsigned slot, bool back);
void core_steps_tick(struct hd_core *c, uint64_t late_us);
/* These may go: of spare ones. HD_ACT_FORGET is pushed. */
void core_forget(struct hd_core *c, uint64_t sequences);
/* Replays begin, also of all that has begun with rows of these: HD_ACT_REPLAY is pushed. */
void core_replay(struct hd_core *c, uint64_t sequences);
void core_commit_rows(struct hd_core *c); /* of the step in hand */
void core_all_dropped(struct hd_core *c); /* every worker has dropped what is replayed */
/* What was in hand when an epoch began goes to the workers again, the first group's first. */
void core_send_halves(struct hd_core *c);
/* No half-step is with the workers any more; they may be sent again. The engine forgets the sums.
 */
void core_reset_halves(struct hd_core *c);
/* Held back for an audit, and can be sent now. */
void core_send_held(struct hd_core *c);

uint64_t core_live(const struct hd_core *c);     /* sequences, as a mask */
uint64_t core_needed(const struct hd_core *c);   /* ... that are not being forgotten */
uint64_t core_dropping(const struct hd_core *c); /* those that start again, until all know it */
/* Its own, in-flight rows as well. */
uint32_t core_positions(const struct hd_core *c, unsigned sequence);
/* The set with all whose rows theirs begin with. */
uint64_t core_with_parents(const struct hd_core *c, uint64_t sequences);
/* Sequences that no request needs: kept, and nothing that runs has begun with their rows. They hold
 * up nothing: whoever lacks rows of theirs goes on without them, and they are forgotten. */
uint64_t core_spare(const struct hd_core *c);
uint64_t core_in_hand(const struct hd_core *c); /* sequences with rows in the step in hand */
uint64_t core_awaited(const struct hd_core *c); /* slots from which anything is awaited */
uint64_t core_behind(const struct hd_core *c);  /* ... that somebody else has given */
uint64_t core_halves_late(const struct hd_core *c);
bool core_any_half(const struct hd_core *c); /* the engine wants one */
bool core_in_step(const struct hd_core *c);  /* ... or waits for the other group's */
/* A half-step that a loss interrupted is not done again yet; a replay has not come back to where it
 * was, which it has when the step in hand is done, or as good as done: its logits are. */
bool core_retrying(const struct hd_core *c);
bool core_catching_up(const struct hd_core *c);
bool core_replays_any(const struct hd_core *c); /* as far as steps are committed */
double core_us_per_byte(const struct hd_core *c, unsigned slot);
/* Fills in what is needed of the live sequences. */
void core_needs(const struct hd_core *c, struct hd_orders *out);
const char *core_check_steps(const struct hd_core *c);
void core_view_steps(const struct hd_core *c, unsigned slot, struct hd_worker_view *out);

#endif
