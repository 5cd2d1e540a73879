/* core_impl.h - the core's insides, shared by its own files only.
 *
 * An event's handler changes the state it is about and pushes what follows from it at once;
 * core_settle then looks at the whole (who is alive, is the plan complete, has everybody confirmed)
 * and begins the epoch that this calls for. So several losses in one event make one epoch. */
#ifndef HD_CORE_CORE_IMPL_H
#define HD_CORE_CORE_IMPL_H

#include "leader/core/core.h"

#define MAX_REPORTS 16 /* recoveries that wait for their end; the oldest is reported early */
/* The most actions of one event: each worker lost (close, state), assigned, sent a half-step, with
 * room to spare; reserved before the event is applied. */
#define MAX_ACTIONS (8 * HD_MAX_WORKERS + 4 * MAX_REPORTS)

struct worker {
    enum hd_worker_state state;
    char name[64];
    struct hd_detector detector;
    uint64_t last_seen_us;
    double rtt_us;      /* smoothed; 0 until the first answer */
    bool answered_beat; /* rtt_us is measured */
    double us_per_byte; /* of its link, smoothed; 0 until a large half-step was answered */
    uint64_t memory_bytes, multiply_adds_per_s; /* 0 = unknown */
    uint64_t confirmed;                         /* latest epoch it confirmed */
    uint64_t knows;                             /* sequences it was told of */
    uint64_t covers;                            /* ... and whose log it has from position 0 on */
    bool planned;                               /* was there when a fresh plan was made */
    uint64_t steps, answered, failures, joins;
};

struct sequence {
    uint32_t base, inflight; /* positions committed; rows in the step in hand */
    uint32_t target;         /* positions it had before its replay */
};

/* The half-step in hand. */
struct half {
    bool active; /* the engine wants it */
    bool sent;   /* to the workers, under the present epoch */
    uint64_t step;
    enum hd_half half;
    uint32_t layer;
    uint64_t awaited;  /* slots */
    uint64_t since_us; /* sent at, moved on by our own lateness */
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
    struct hd_plan next; /* what the workers in `joining` are to get work by (join.c) */
    uint64_t joining;    /* newcomers that prepare for it; 0: nothing is under way */
    uint64_t preparing;  /* those of them that have not confirmed */
    uint64_t prepare_since_us;
    char plan_error[256]; /* why there is no plan, "" otherwise */
    uint64_t assigning;   /* slots that have not confirmed the present epoch */
    uint64_t assign_since_us;
    uint64_t gaps; /* sequences that some log could not give, in the present epoch */

    uint64_t live;      /* open sequences */
    uint64_t replaying; /* HD_ACT_REPLAY is on its way for these */
    uint64_t replayed;  /* to be dropped by every worker: said until all have confirmed it */
    struct sequence sequences[HD_MAX_SEQUENCES];
    uint32_t layers_done;
    struct half half;

    struct report reports[MAX_REPORTS];
    unsigned n_reports;
    char reason[256];
    struct hd_actions *out; /* of the event in hand */
};

static inline uint64_t core_bit(unsigned i)
{
    return UINT64_C(1) << i;
}

/* core.c */
struct hd_action *core_push(struct hd_core *c, enum hd_action_type type, unsigned slot);
void core_push_state(struct hd_core *c, unsigned slot);

/* membership.c */
uint64_t core_alive(const struct hd_core *c); /* slots ONLINE or SUSPECT */
uint64_t core_suspects(const struct hd_core *c);
void core_hello(struct hd_core *c, const struct hd_event *ev);
void core_ack(struct hd_core *c, const struct hd_event *ev);
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
void core_send_half(struct hd_core *c);
/* The half-step is no longer with the workers; it may be sent again. */
void core_recall_half(struct hd_core *c);
/* The engine gives up the step in hand: none of its rows count. */
void core_abandon_step(struct hd_core *c);

/* recovery.c */
void core_kv_result(struct hd_core *c, const struct hd_event *ev);
void core_settle(struct hd_core *c);
/* Workers whose round trip the strategy wants to know before it makes a fresh plan. */
uint64_t core_unmeasured(const struct hd_core *c);
/* The strategy's plan for all workers that are alive, from nothing. False: c->plan_error says why.
 */
bool core_ideal_plan(struct hd_core *c, struct hd_plan *out);

/* join.c */
/* Between two steps: begins to prepare newcomers; true when they are ready and c->plan is theirs.
 */
bool core_join(struct hd_core *c);
void core_join_confirmed(struct hd_core *c, const struct hd_event *ev);
void core_join_forget(struct hd_core *c);

/* report.c */
void core_report_loss(struct hd_core *c, unsigned slot, enum hd_loss_cause cause);
void core_report_assigned(struct hd_core *c, uint32_t heads_reused);
void core_report_kv(struct hd_core *c, const struct hd_kv_info *kv);
void core_report_ready(struct hd_core *c);
/* Hand out all reports, unless a replay has yet to come back to where it was. */
void core_report_done(struct hd_core *c);

#endif
