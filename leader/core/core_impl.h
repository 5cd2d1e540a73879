/* core_impl.h - the core's insides, shared by its own files only.
 *
 * An event's handler changes the state it is about and pushes what follows from it at once;
 * core_settle then looks at the whole (who is alive, is the plan complete, has everybody confirmed)
 * and begins the epoch that this calls for. So several losses in one event make one epoch. */
#ifndef HD_CORE_CORE_IMPL_H
#define HD_CORE_CORE_IMPL_H

#include "leader/core/core.h"
#include "leader/core/pace.h"

#define MAX_REPORTS 16 /* recoveries that wait for their end; the oldest is reported early */
/* The most actions of one event: each worker lost (close, state), assigned, sent a half-step of
 * each group, told to fill its log, sent on a fetch, slow or well, with room to spare; reserved
 * before the event is applied. */
#define MAX_ACTIONS (11 * HD_MAX_WORKERS + 4 * MAX_REPORTS + MAX_AUDIT_ACTIONS)
/* An event may end every audit under way, by asking others for each of them, or those who spoke. */
#define MAX_OPINIONS      4
#define MAX_AUDIT_ACTIONS (HD_MAX_ROUNDS * HD_MAX_WORKERS * (MAX_OPINIONS + 1))

struct worker {
    enum hd_worker_state state;
    char name[HD_NAME_MAX + 1];
    struct hd_detector detector;
    uint64_t last_seen_us;
    double rtt_us;      /* smoothed; 0 until the first answer */
    bool answered_beat; /* rtt_us is measured */
    double us_per_byte; /* of its link, smoothed; 0 until a large half-step was answered */
    uint64_t memory_bytes, multiply_adds_per_s; /* 0 = unknown */
    uint64_t confirmed;                         /* latest epoch it confirmed */
    uint64_t knows;                             /* sequences it was told of */
    uint64_t covers;                            /* ... and whose log it has from position 0 on */
    uint64_t filling;                           /* ... and whose log it completes just now */
    uint64_t cannot;                            /* ... and whose log it could not complete */
    uint64_t no_room;                           /* ... and that its log's limit keeps out */
    uint64_t log_limit;                         /* bytes; 0: it keeps none */
    bool planned;                               /* was there when a plan was made */
    bool draining, leaving, dismissed;          /* to own nothing; to stop; was told that it may */
    uint64_t weights_us;                        /* when it asked for weights last */
    uint64_t weights_asked; /* requests since it was last told what to own or to hold */
    unsigned late_moves;    /* moves in a row that it was not ready for in time */
    uint64_t steps, answered, failures, joins;
    struct pace pace;
    uint64_t
        clean_us[HD_HALVES]; /* when the latest of its answers that was confirmed was asked for,
                              * or it joined; apart, because it may fail in one kind only */
    bool contributed;        /* others have used what it said: sums, rows of its log */
    uint64_t welcomed;       /* the epoch when it joined */
    uint64_t tested_us;      /* the self test was sent at, moved on by our own lateness */
    bool failing;            /* drained because of its memory */
    unsigned n_damages;      /* of its memory, while it was here */
    uint64_t damaged_us[HD_MAX_DRAIN_AFTER]; /* the latest of them, a ring */
};

struct sequence {
    uint32_t base;                    /* positions committed */
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
    uint64_t asked;      /* slots that are to answer it */
    uint64_t awaited;    /* ... and have not yet */
    uint64_t order;      /* of what was sent: who is awaited answers in this order */
    uint64_t alone;      /* slots that had nothing else to answer when it was sent */
    uint64_t since_us;   /* sent at, moved on by our own lateness */
    uint64_t slowest_us; /* the longest computing among the answers so far */
    struct round *audit; /* it is audited; NULL: no */
    bool held;           /* not sent although it could be: too many audits are under way */
};

/* ---- Audits. What follows is of audit.c and verdict.c ----*/
struct opinion {
    unsigned slot;
    uint64_t digest;   /* what it says the answer is */
    uint64_t again;    /* ... when it was asked to compute afresh; 0: it did not say */
    uint64_t asked;    /* the question that it has not answered; 0: none */
    uint64_t asked_us; /* moved on by our own lateness */
};
/* Whether one worker's answer to an audited half-step was right.
 *
 *   IDLE --half-step done--> ASKED
 *   ASKED --two say the same--> IDLE: who says something else was wrong
 *   ASKED --they differ, or it cannot, is late, is lost--> ASKED: another one
 *   ASKED --they differ and nobody is left to ask--> AGAIN: all who spoke compute afresh
 *   AGAIN --all have spoken--> IDLE: who says something else than before was wrong; or nobody knows
 *   ASKED, AGAIN --the inputs are no more what they were--> IDLE: not audited */
struct question {
    enum { AUDIT_IDLE, AUDIT_ASKED, AUDIT_AGAIN } state;
    unsigned n;                            /* opinions; in ASKED the last has yet to be given */
    struct opinion opinions[MAX_OPINIONS]; /* the first is the worker's own, its answer */
    uint64_t tried;                        /* slots */
};
/* One audited half-step. */
struct round {
    uint64_t id; /* 0: not in use */
    bool open;   /* the half-step is in hand */
    enum hd_half half;
    uint32_t layer;
    uint64_t sequences; /* of its rows */
    uint64_t at_us;     /* sent */
    uint64_t subjects;  /* slots that have answered it */
    uint64_t digests[HD_MAX_WORKERS];
    struct question of[HD_MAX_WORKERS]; /* by subject */
};
struct audits {
    uint64_t random;
    uint32_t at, target; /* half-steps since the window began; the one to audit */
    bool due;            /* the next of this kind, in the layer, is audited */
    enum hd_half kind;
    uint32_t layer;   /* stays for a while: loading weights is what an audit costs */
    unsigned left;    /* audits for which it stays */
    uint64_t partner; /* likewise: which of the others audits a worker */
    uint64_t unsure;  /* sequences whose logs may have other rows than were computed with */
    uint64_t rounds_begun, questions;
    struct round rounds[HD_MAX_ROUNDS];
    struct {
        bool open; /* two differed, and then one of them could not be asked any more */
        unsigned slots[2];
        uint64_t since_us, at_us; /* confirmed up to; noticed at, moved on by our own lateness */
    } differed;
    struct hd_audit_totals totals;
};
struct quarantine {
    char name[HD_NAME_MAX + 1];
    uint64_t until_us;
};

/* What workers say of the K/V rows of one sequence and head, in the present epoch. */
struct same_rows {
    unsigned n;
    struct {
        unsigned slot;
        uint64_t digest;
    } said[MAX_OPINIONS]; /* the first ones */
};

/* The time in which something is with the workers. */
struct waiting {
    uint64_t since_us; /* not counted yet; moved on by our own lateness */
    uint64_t spare_us; /* counted since nothing was, and not as computing */
};

/* Rows that a worker waits for. */
struct fetch {
    bool active;
    unsigned source; /* slot that was asked */
    uint64_t asked;  /* the question's number: rows that answer another one are not for it */
    struct hd_fetch rows;
};

/* A recovery that has not ended. */
struct report {
    struct hd_failover f;
    uint64_t sign_us, assigned_us, ready_us; /* last sign of life, new epoch, all confirmed */
    uint8_t *lost;                           /* [heads]: 1 = lost and not yet rebuilt */
};

struct hd_core {
    struct hd_core_options o;
    enum hd_cluster_state state;
    uint64_t now_us; /* of the event in hand */
    uint64_t epoch;
    bool served; /* was READY once */
    uint64_t heartbeat;
    struct worker workers[HD_MAX_WORKERS];
    const char *names[HD_MAX_WORKERS]; /* for strategies */

    struct hd_plan plan;
    struct hd_plan scratch;

    /* move.c */
    struct hd_holds hold;   /* what each worker is to hold now beside what it owns */
    struct hd_holds held;   /* what of it is ready */
    struct hd_holds wanted; /* what there is to be held when `next` is in force */
    struct hd_holds scratch_holds;
    struct hd_plan next; /* who is to own what when all are ready */
    bool moving;         /* a move is under way */
    bool moves;          /* ... and changes owners */
    bool restless;       /* something has happened since it was last looked for one */
    bool rebalance;      /* asked for */
    uint64_t round;      /* of the latest move */
    uint64_t preparing;  /* slots that are not ready for it */
    uint64_t prepare_since_us;

    struct fetch fetches[HD_MAX_WORKERS]; /* by requester (fill.c) */
    uint64_t questions;                   /* asked of sources so far */
    char plan_error[256];                 /* why there is no plan, "" otherwise */
    uint64_t assigning;                   /* slots that have not confirmed the present epoch */
    uint64_t assign_since_us;
    uint64_t gaps; /* sequences that some log could not give, in the present epoch */
    uint64_t told; /* sequences that the latest orders spoke of and that have not ended since */

    uint64_t online, suspects; /* slots in these states; set_state keeps them */
    struct {
        uint64_t epoch, alive;
    } complete; /* the plan of this epoch has only owners among these; epoch 0: not looked yet */

    uint64_t live;      /* open sequences */
    uint64_t replaying; /* HD_ACT_REPLAY is on its way for these */
    uint64_t replayed;  /* to be dropped by every worker: said until all have confirmed it */
    struct sequence sequences[HD_MAX_SEQUENCES];
    uint32_t layers_done[HD_MAX_GROUPS];
    struct half half[HD_MAX_GROUPS];
    uint64_t halves_sent;
    struct waiting waiting;
    struct hd_half_totals totals[2]; /* [half.single] */
    struct pace_slice pace;

    struct audits audits;
    struct same_rows *same_rows; /* [heads][HD_MAX_SEQUENCES] (rows.c) */
    struct quarantine quarantine[HD_MAX_WORKERS];
    uint64_t untested; /* slots that have not given the known answer: they are not alive yet */
    uint64_t spoiled;  /* sequences that an epoch has to begin anew, now */

    struct report reports[MAX_REPORTS];
    unsigned n_reports;
    char reason[256];
    struct hd_actions *out; /* of the event in hand */
};

static inline uint64_t core_bit(unsigned i)
{
    return UINT64_C(1) << i;
}
/* The lowest slot of a set that is not empty. */
static inline unsigned core_first(uint64_t set)
{
    return (unsigned)__builtin_ctzll(set);
}

/* actions.c */
int core_reserve(const struct hd_core *c, struct hd_actions *a); /* room for one event's */
struct hd_action *core_push(struct hd_core *c, enum hd_action_type type, unsigned slot);
void core_push_state(struct hd_core *c, unsigned slot);
/* As things are now, for ASSIGN, PREPARE and FILL; at most a few for one event. */
const struct hd_orders *core_orders(struct hd_core *c);

/* membership.c */
uint64_t core_alive(const struct hd_core *c); /* slots ONLINE or SUSPECT, and tested */
uint64_t core_suspects(const struct hd_core *c);
/* Who may own units: who is alive, not being drained, and not relieved of all for being slow; the
 * slow, when there is nobody else; all, when all are drained. */
uint64_t core_usable(const struct hd_core *c);
/* Who is alive and has a log that holds every live sequence from its start. */
uint64_t core_covering(const struct hd_core *c);
void core_hello(struct hd_core *c, const struct hd_event *ev);
void core_ack(struct hd_core *c, const struct hd_event *ev);
void core_weights(struct hd_core *c, const struct hd_event *ev);
void core_tick(struct hd_core *c, const struct hd_event *ev);
void core_heard(struct hd_core *c, unsigned slot);
/* Write the worker off; core_settle begins the recovery. */
void core_lose(struct hd_core *c, unsigned slot, enum hd_loss_cause cause);

/* step.c */
void core_seq_open(struct hd_core *c, const struct hd_event *ev);
void core_seq_close(struct hd_core *c, const struct hd_event *ev);
void core_half(struct hd_core *c, const struct hd_event *ev);
void core_result(struct hd_core *c, const struct hd_event *ev);
void core_step_done(struct hd_core *c);
void core_replayed(struct hd_core *c, const struct hd_event *ev);
bool core_any_half(const struct hd_core *c);    /* the engine wants one */
uint64_t core_awaited(const struct hd_core *c); /* slots from which anything is awaited */
/* Fills in what is needed of the live sequences. */
void core_needs(const struct hd_core *c, struct hd_orders *out);
/* What was in hand when an epoch began goes to the workers again, the first group's first. */
void core_send_halves(struct hd_core *c);
/* No half-step is with the workers any more; they may be sent again. */
void core_recall_halves(struct hd_core *c);
/* Rows of the sequence in the step in hand. */
uint32_t core_inflight(const struct sequence *q);
/* The engine gives up the step in hand: none of its rows count. */
void core_abandon_step(struct hd_core *c);

/* Held back for an audit, and can be sent now. */
void core_send_held(struct hd_core *c);

/* audit.c: which half-steps are audited, and by whom */
void core_audit_init(struct hd_core *c);
/* The half-step is audited: its round. NULL: it is not. */
struct round *core_audit_begin(struct hd_core *c, const struct half *half);
/* It would be, but too many audits are under way, and all are to be audited. */
bool core_audit_full(const struct hd_core *c);
void core_audit_sent(struct hd_core *c, struct half *h); /* (again): nobody has answered */
/* digest 0: it cannot be compared. */
void core_audit_answer(struct hd_core *c, struct half *h, unsigned slot, uint64_t digest);
void core_audit_done(struct hd_core *c, struct half *h); /* all have: ask others */
void core_audit_drop(struct hd_core *c, struct half *h); /* it is given up */
/* Somebody who can be asked for an opinion, beside those of `tried`; -1: nobody. */
int core_audit_partner(const struct hd_core *c, const struct round *r, unsigned subject,
                       uint64_t tried);
void core_audit_ask(struct hd_core *c, struct round *r, unsigned subject, struct opinion *o);
/* No question of the round is open: it ends. */
void core_audit_settle(struct hd_core *c, struct round *r);

/* verdict.c: what the answers mean */
/* The worker was found wrong: that explains whatever differed. */
void core_audit_explained(struct hd_core *c, unsigned slot);
void core_audit_result(struct hd_core *c, const struct hd_event *ev);
void core_audit_lost(struct hd_core *c, unsigned slot, enum hd_loss_cause cause);
void core_audit_taken(struct hd_core *c, unsigned slot); /* by another than before */
/* The step in hand is given up: its rows come again, and if somebody is wrong now and then they are
 * others than those that were logged. */
void core_audit_abandoned(struct hd_core *c);
/* What these sequences' logs and K/V held is gone, or another one's. */
void core_audit_spoiled(struct hd_core *c, uint64_t sequences);
void core_audit_tick(struct hd_core *c, uint64_t late_us);

/* trust.c: who is let in, and what becomes of who was wrong */
/* `half`: in what it was wrong. */
void core_wrong(struct hd_core *c, unsigned slot, enum hd_half half);

/* rows.c */
/* False when a digest is of what does not exist. */
bool core_rows_make_sense(const struct hd_core *c, const struct hd_kv_info *kv);
/* A confirmation of the present epoch. */
void core_rows_said(struct hd_core *c, const struct hd_event *ev);
/* All have confirmed: compares. Somebody may be lost by it, sequences spoiled. */
void core_rows_compare(struct hd_core *c);
void core_rows_forget(struct hd_core *c);
bool core_is_quarantined(const struct hd_core *c, const char *name);
void core_test(struct hd_core *c, unsigned slot); /* it has just joined */
void core_tested(struct hd_core *c, const struct hd_event *ev);
uint64_t core_untested_late(const struct hd_core *c);
void core_damage(struct hd_core *c, const struct hd_event *ev);

/* recovery.c */
void core_kv_result(struct hd_core *c, const struct hd_event *ev);
void core_settle(struct hd_core *c);
/* Sequences that its log could not give, of those that are still alive. */
uint64_t core_gaps(const struct hd_core *c, const struct hd_kv_info *kv);
/* Workers whose round trip the strategy wants to know before it makes a fresh plan. */
uint64_t core_unmeasured(const struct hd_core *c);
/* The strategy's plan for all workers that may own units, from nothing. False: c->plan_error says
 * why. */
bool core_ideal_plan(struct hd_core *c, struct hd_plan *out);
/* Gives what of `p` is not owned by `workers` to them, by the strategy; heads to `preferred`, if
 * that is not empty. False likewise. */
bool core_fill_plan(struct hd_core *c, struct hd_plan *p, uint64_t workers, uint64_t preferred);

/* move.c */
bool core_between_steps(const struct hd_core *c);
/* Between two steps: begins to prepare what has to move; true when all are ready and c->plan is the
 * new one: an epoch is to begin. */
bool core_move(struct hd_core *c);
void core_move_confirmed(struct hd_core *c, const struct hd_event *ev);
void core_move_forget(struct hd_core *c);
/* The preparations of these slots have taken too long. Those of them to be lost for it. */
uint64_t core_move_late(struct hd_core *c, uint64_t late);
void core_drain(struct hd_core *c, const struct hd_event *ev);
void core_rebalance(struct hd_core *c);
void core_dismiss(struct hd_core *c);

/* fill.c */
void core_fill_logs(struct hd_core *c); /* between two steps */
void core_log_state(struct hd_core *c, const struct hd_event *ev);
void core_fetch(struct hd_core *c, const struct hd_event *ev);
void core_rows(struct hd_core *c, const struct hd_event *ev);
void core_fetches_lost(struct hd_core *c, unsigned slot);
void core_fetches_end(struct hd_core *c, uint64_t sequences);

/* room.c */
/* It has a log, and that can hold anything at all. */
bool core_keeps_log(const struct hd_core *c, const struct worker *w);
/* Its log's limit has room for the sequence and some growth, beside what it covers and completes.
 */
bool core_log_fits(const struct hd_core *c, unsigned slot, unsigned sequence);
/* Who is alive and covers the most positions of live sequences; nobody, when nobody covers any. */
uint64_t core_best_covering(const struct hd_core *c);

/* report.c */
bool core_owns_any(const struct hd_core *c, unsigned slot);
void core_report_loss(struct hd_core *c, unsigned slot, enum hd_loss_cause cause);
void core_report_assigned(struct hd_core *c, uint32_t heads_reused);
void core_report_kv(struct hd_core *c, const struct hd_kv_info *kv);
void core_report_ready(struct hd_core *c);
/* An answer took so many operations: part of a recovery while sequences are replayed. */
void core_report_work(struct hd_core *c, uint64_t flops);
/* Hand out all reports, unless a replay has yet to come back to where it was. */
void core_report_done(struct hd_core *c);

#endif
