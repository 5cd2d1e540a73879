/* core.h - the leader's pure core: membership, failure detection, plan, step and recovery.
 *
 * `hd_core_step(core, event, actions)` and nothing else: no sockets, no clock (events carry the
 * time), no threads. The daemon turns callbacks into events and actions into frames; the simulator
 * in tests/sim does the same with a virtual network.
 *
 * Glossary: see ../shared words in README.md: head group, FFN block, vocab block, unit, plan,
 * epoch, row, step, half-step, input log, rebuild, replay.
 *
 *   cluster state        what it means
 *   WAITING              fewer than min_workers: nothing is served, requests wait
 *   ASSIGNING            an epoch was sent, KvResults are awaited (first plan, recovery, rebalance)
 *   READY                every unit has an owner that confirmed the present epoch
 *
 *   WAITING --enough workers--> ASSIGNING --all confirmed--> READY
 *   READY --a worker lost--> ASSIGNING (survivors) or WAITING (none left)
 *   ASSIGNING --a worker lost--> ASSIGNING with epoch + 1, or WAITING
 *   ASSIGNING --all confirmed, but some log had a gap--> ASSIGNING with epoch + 1, after a replay
 *   READY, between two steps, who gains units is prepared --> ASSIGNING (see move.c)
 *
 *   The rows of a step walk through the layers in one group, or in two, one behind the other: then
 *   each group has a half-step in hand of its own. The second group's rows may see those of the
 *   first (a prompt that is cut), so its attention half of a layer is asked for, and sent, behind
 *   the first group's of that layer. Whoever asks keeps this order (leader/engine/step.c); an epoch
 *   that sends both again sends the first group's first.
 *
 *   A worker that owns nothing (a spare) is never missed: when it dies no new epoch begins.
 *
 *   worker state: EMPTY -> ONLINE <-> SUSPECT -> OFFLINE (slot keeps name and totals; the same name
 *   coming back takes the slot again) -> EMPTY (forgotten, after long or for want of slots; it owns
 *   and holds nothing since it was lost) */
#ifndef HD_CORE_CORE_H
#define HD_CORE_CORE_H

#include "common/net/frame.h" /* names, and the reject codes */
#include "leader/core/detector.h"
#include "leader/core/holds.h"

#define HD_MAX_SEQUENCES   64
#define HD_MAX_GROUPS      2 /* of a step's rows: while workers compute one, the other is on its way */
#define HD_MAX_ROUNDS      4  /* audited half-steps whose audits are not all answered */
#define HD_MAX_DRAIN_AFTER 16 /* found damages that are remembered of a worker */

enum hd_worker_state { HD_WORKER_EMPTY, HD_WORKER_ONLINE, HD_WORKER_SUSPECT, HD_WORKER_OFFLINE };
enum hd_cluster_state { HD_CLUSTER_WAITING, HD_CLUSTER_ASSIGNING, HD_CLUSTER_READY };
enum hd_loss_cause {
    HD_LOSS_CLOSED,
    HD_LOSS_SILENT,
    HD_LOSS_DEADLINE,
    HD_LOSS_PROTOCOL,
    HD_LOSS_WRONG /* it computed wrong bits */
};
#define HD_HALVES (HD_HALF_LOGITS + 1)
/* Slow, and nothing is done about it; slow, and its units are with others, or on their way. */
enum hd_pace { HD_PACE_STEADY, HD_PACE_SLOW, HD_PACE_RELIEVED };
enum hd_recovery { HD_RECOVERY_REUSE, HD_RECOVERY_STANDBY, HD_RECOVERY_FULL };

const char *hd_worker_state_name(enum hd_worker_state s);
const char *hd_cluster_state_name(enum hd_cluster_state s);
/* "closed", "silent", "deadline", "protocol", "wrong" */
const char *hd_loss_cause_name(enum hd_loss_cause c);
const char *hd_pace_name(enum hd_pace p);         /* "steady", "slow", "relieved" */
const char *hd_recovery_name(enum hd_recovery r); /* "reuse", "standby", "full" */

/* Workers' input logs grow by so many positions, which take so many bytes; 0: not known, any number
 * fits. */
struct hd_log_unit {
    uint32_t positions;
    uint64_t bytes;
};

/* What becomes of workers that have become slow (pace.h). */
struct hd_relief_options {
    bool automatic;    /* their units go to others by themselves, and back */
    uint64_t slice_us; /* of measuring; 0: half a second */
    uint64_t hold_us;  /* first time for which they are to be well; 0: 10 s */
};

struct hd_core_options {
    uint32_t units[HD_UNIT_KINDS];
    uint32_t n_layers;
    double cost[HD_UNIT_KINDS]; /* of a unit, relative to the others, for the strategy; 0 = 1 */
    unsigned min_workers;       /* for the first plan; later on one worker is enough */
    enum hd_recovery recovery;
    unsigned standby; /* copies of each unit that others hold; only with HD_RECOVERY_STANDBY */
    const struct hd_strategy *strategy;
    const struct hd_fixed_table *fixed; /* borrowed */
    const char *target; /* of strategy `single`: a worker's name, NULL or "" = any; borrowed */
    struct hd_unit_cost unit[HD_UNIT_KINDS]; /* for the strategies that measure */
    struct hd_detector_options detector;
    struct hd_relief_options relief;
    struct hd_log_unit log;
    uint64_t step_deadline_us; /* a half-step or an assignment that takes longer: worker lost */
    uint64_t assign_deadline_us;
    uint64_t forget_after_us; /* offline for so long: forgotten; 0: never */
    uint64_t model_digest;
    uint64_t max_weights_requests; /* of a worker, for one assignment: what it needs at most */
    bool wait_for_model; /* workers may join, but are given nothing before HD_EV_MODEL_KNOWN */
    struct hd_trust_options {
        uint32_t audit_every;      /* about one half-step in so many; 0 = none, 1 = all */
        uint64_t seed;             /* of what is random: when, which layer, who */
        uint64_t deadline_us;      /* of an audit and of the self test */
        uint64_t quarantine_us;    /* a name that was wrong is refused for so long */
        unsigned drain_after;      /* damages of memory within an hour; 0 = never */
        bool self_test;            /* who joins must first give the right answer: */
        uint64_t self_test_digest; /* common/math/self_test.h, of a seed that the daemon knows */
    } trust;
};

/* ---- Events ---------------------------------------------------------------------------------*/
enum hd_event_type {
    HD_EV_HELLO,       /* a connection introduced itself: conn, hello */
    HD_EV_CLOSED,      /* the connection of `slot` ended */
    HD_EV_ACK,         /* slot, seq, sent_us */
    HD_EV_KV_RESULT,   /* slot, kv */
    HD_EV_RESULT,      /* slot, epoch, step, half, layer, group, bytes, compute_us, digest: a
                        * StepResult came (before it is used) */
    HD_EV_BROKE_RULES, /* slot sent what makes no sense: cut it off */
    HD_EV_TICK,        /* call about every heartbeat interval; late_us = how late the loop was */
    HD_EV_SEQ_OPEN,    /* sequence */
    HD_EV_SEQ_CLOSE,   /* sequence */
    HD_EV_HALF,        /* the engine wants this half-step done: step, half, layer, group, groups,
                        * rows; LOGITS is of all rows, in one group */
    HD_EV_STEP_DONE,   /* the engine ended the step: its rows are now committed */
    HD_EV_REPLAYED,    /* the engine has abandoned the step in hand; `sequences` start again at 0:
                        * those of HD_ACT_REPLAY, or none when it gave up a step by itself */
    HD_EV_LOG_STATE,   /* slot, sequence, complete: its log holds the sequence from the start */
    HD_EV_FETCH,       /* slot lacks rows: fetch (requester is not looked at) */
    HD_EV_ROWS,        /* slot answers a fetch: fetch, with the count that it sends */
    HD_EV_WEIGHTS,     /* slot asks for weights: it gets on with what it is to load */
    HD_EV_DRAIN,       /* slot, on: it is to own nothing; leaving: it asks itself, to stop */
    HD_EV_REBALANCE,   /* level the load, now that nobody fails */
    HD_EV_MODEL_KNOWN, /* what workers load can be checked, and all who have joined know how */
    HD_EV_SELF_TEST,   /* slot, digest: its answer to the self test */
    HD_EV_AUDIT,       /* slot, audit, cannot, digest: its answer to an audit */
    HD_EV_DAMAGE,      /* slot, damage: something of its own was not what it had been */
};

/* What a worker found (proto's Damage), as far as the core has to know. */
struct hd_damage_info {
    bool memory;       /* weights, K/V or log in its memory: such a machine may be failing */
    bool replay;       /* the sequence cannot be mended there: it is to start again */
    uint32_t sequence; /* with replay */
};

struct hd_hello_info {
    const char *name;
    uint64_t model_digest;
    uint64_t log_limit_bytes;
    uint32_t threads;
    uint64_t memory_bytes;        /* of the machine; 0 = unknown */
    uint64_t multiply_adds_per_s; /* measured by the worker; 0 = unknown */
};
struct hd_kv_info {
    uint64_t epoch, round; /* round: of the HD_ACT_PREPARE that it answers; 0: of HD_ACT_ASSIGN */
    uint64_t rows_rebuilt, rows_kept, positions, bytes, weights_us, rebuild_us, flops, digest;
    const uint32_t *heads; /* newly owned */
    size_t n_heads;
    const uint32_t *ready; /* those of them that had all their rows */
    size_t n_ready;
    const uint32_t *gaps; /* sequences */
    size_t n_gaps;
};
/* Rows of an input log that one worker lacks and another has. */
struct hd_fetch {
    uint64_t
        id; /* towards the requester its own; towards the source, the core's: a worker that
             * comes back may count from 1 again while a slow source still answers the old one */
    unsigned requester; /* slot */
    uint32_t sequence, layer, position, count;
};
struct hd_seq_rows {
    uint32_t sequence;
    uint32_t rows; /* rows of this step that belong to it */
};
struct hd_event {
    enum hd_event_type type;
    uint64_t now_us;
    unsigned slot;
    uint64_t conn; /* HELLO: the daemon's name for the connection */
    struct hd_hello_info hello;
    uint64_t seq, sent_us;
    struct hd_kv_info kv;
    uint64_t epoch, step;
    enum hd_half half;
    uint32_t layer;
    unsigned group, groups; /* HALF: of so many, 0 = 1 */
    uint32_t sequence;
    uint64_t sequences;             /* REPLAYED: mask of sequence numbers, as in HD_ACT_REPLAY */
    const struct hd_seq_rows *rows; /* HALF: the group's rows by sequence */
    size_t n_rows;
    uint64_t late_us;
    uint64_t bytes, compute_us; /* RESULT: payload there and back; time the worker computed */
    uint64_t flops;             /* RESULT: multiply-adds x 2 it took */
    struct hd_fetch fetch;      /* FETCH, ROWS */
    bool complete;              /* LOG_STATE */
    bool again;                 /* LOG_STATE: not complete, but it can be completed */
    bool on, leaving;           /* DRAIN */
    uint64_t digest;            /* RESULT that is audited (hd_core_audit_of; 0: cannot be compared),
                                 * SELF_TEST, AUDIT */
    uint64_t audit;             /* AUDIT: the number of HD_ACT_AUDIT */
    bool cannot;                /* AUDIT: it has not what it takes */
    struct hd_damage_info damage;
};

/* ---- Actions --------------------------------------------------------------------------------*/
enum hd_action_type {
    HD_ACT_WELCOME,      /* conn got slot */
    HD_ACT_REJECT,       /* conn: reason code, text */
    HD_ACT_CLOSE,        /* cut off the connection of slot; with a text: say it in a Reject first */
    HD_ACT_HEARTBEAT,    /* to slot: seq, now */
    HD_ACT_PREPARE,      /* to slot: as ASSIGN, under the present epoch and with a round: what it
                          * owns stays, what it is to hold (hd_core_hold) it makes ready beside the
                          * running steps; the answer is a KvResult with the round */
    HD_ACT_ASSIGN,       /* to slot: epoch, lists from core's plan and hd_core_hold, needs
                          * (hd_core_needs) */
    HD_ACT_SEQ_OPEN,     /* to slot: sequence (a worker that joined later hears of live ones only
                          * when they are opened after it joined) */
    HD_ACT_SEQ_CLOSE,    /* to slot: sequence */
    HD_ACT_SEND_HALF,    /* to slot: the half-step in hand of group, under action.epoch */
    HD_ACT_RESET_HALF,   /* engine: forget what was summed up of the half-step in hand of group */
    HD_ACT_USE_RESULT,   /* engine: the result in hand is valid, add it */
    HD_ACT_DROP_RESULT,  /* the result in hand is of an old epoch or a duplicate */
    HD_ACT_HALF_DONE,    /* engine: all partials of group's half-step are in */
    HD_ACT_READY,        /* cluster serves (again) */
    HD_ACT_NOT_READY,    /* cluster cannot serve now */
    HD_ACT_REPLAY,       /* engine: run these sequences again from position 0 (sequences mask);
                          * answer HD_EV_REPLAYED before the next action is carried out, because
                          * the assignments behind it speak of the sequences as they are then */
    HD_ACT_WORKER_STATE, /* for the log: slot changed to state (cause) */
    HD_ACT_FORGOTTEN,    /* for the log: slot is empty again, it was `name`'s */
    HD_ACT_FAILOVER,     /* a recovery ended: report */
    HD_ACT_FILL,         /* to slot: complete the logs of `sequences`; needs as in ASSIGN */
    HD_ACT_FETCH,        /* to slot: send these rows of your log (fetch) */
    HD_ACT_ROWS,         /* to slot: the rows in hand (HD_EV_ROWS) are for it (fetch) */
    HD_ACT_NO_ROWS,      /* to slot: nobody has the rows it asked for (fetch) */
    HD_ACT_DRAINED,      /* to slot: nothing more is wanted of it, it may go */
    HD_ACT_PACE,         /* for the log: slot has become slow, or is well again (pace, slowness,
                          * share) */
    HD_ACT_SELF_TEST,    /* to slot: the known answer test */
    HD_ACT_AUDIT,        /* to slot: what `subject` has answered to the audited half-step `round`,
                          * as audit number `audit`; again: use nothing that was kept */
    HD_ACT_AUDITED,      /* `round` is over: what was kept of it can go */
    HD_ACT_DIFFER,       /* for the log: slot and subject have other bits, of `round` */
    HD_ACT_WRONG,        /* slot's worker, `name`, computed wrong bits: end requests that have heard
                          * anything since since_us; those that stay are replayed next */
    HD_ACT_DOUBT,        /* slot and subject contradict each other and nobody can say who is right:
                          * end all requests that are being computed */
    HD_ACT_FAILING,      /* for the log: slot is drained, for its memory was damaged again and
                          * again */
};

/* What one recovery cost; see README for the meaning of each number. */
struct hd_failover {
    char worker[64];
    enum hd_loss_cause cause;
    enum hd_recovery policy;
    uint64_t epoch;
    uint64_t at_us;
    uint32_t heads_lost, heads_reused, heads_rebuilt,
        heads_ready;       /* KV heads (groups), not times layers; lost = rebuilt + ready: the
                            * latter were held ready by who took them over */
    uint64_t positions;    /* positions of live sequences at the loss */
    uint64_t rows_rebuilt; /* (layer, head, position) rows computed from logs */
    uint64_t rows_kept;
    uint64_t rows_replayed; /* tokens run again from the start; filled by the daemon */
    uint64_t bytes;
    uint64_t flops;    /* multiply-adds x 2 spent on the rebuild, or on running rows again */
    double detect_ms;  /* last sign of life -> declared lost */
    double plan_ms;    /* declared lost -> assignments given to the network */
    double weights_ms; /* the slowest survivor's loading of new units */
    double rebuild_ms; /* the slowest survivor's K/V computing */
    double retry_ms;   /* all confirmed -> the interrupted half-steps done; after a replay: until
                        * the sequences are where they were */
    double stall_ms;   /* last sign of life -> likewise */
};

struct hd_action {
    enum hd_action_type type;
    unsigned slot;
    uint64_t conn;
    uint64_t seq;
    uint64_t epoch;
    unsigned group; /* SEND_HALF, RESET_HALF, HALF_DONE */
    uint32_t sequence;
    uint64_t sequences;         /* REPLAY, FILL: mask of sequence numbers */
    uint64_t round;             /* PREPARE: of the move; AUDIT, AUDITED, DIFFER: of the audit */
    bool clear;                 /* ASSIGN */
    unsigned code;              /* REJECT, CLOSE with a text: enum hd_reject */
    const char *text;           /* REJECT, CLOSE: static; NULL: nothing is said */
    char name[HD_NAME_MAX + 1]; /* FORGOTTEN, WRONG */
    unsigned subject;           /* AUDIT, DIFFER, DOUBT: a slot */
    uint64_t audit;             /* AUDIT: the question's number */
    bool again;                 /* AUDIT */
    uint64_t since_us;          /* WRONG, DOUBT: what was computed before then was confirmed */
    enum hd_worker_state state;
    enum hd_loss_cause cause;
    struct hd_failover failover;
    enum hd_pace pace;
    double slowness, share;
    struct hd_fetch fetch; /* FETCH, ROWS, NO_ROWS */
};
struct hd_actions {
    struct hd_action *list; /* grows; owned by the caller: hd_actions_deinit */
    size_t n, cap;
};
void hd_actions_deinit(struct hd_actions *a);

/* ---- The core -------------------------------------------------------------------------------*/
struct hd_core;
int hd_core_new(struct hd_core **out, const struct hd_core_options *o, struct hd_error *err);
void hd_core_free(struct hd_core *c);

/* Applies one event and appends what must be done, in order. Returns 0 or HD_E_NOMEM (state is
 * unchanged). The invariants are checked after every event: hd_core_check. */
int hd_core_step(struct hd_core *c, const struct hd_event *ev, struct hd_actions *out);

/* True when this HD_EV_RESULT would give HD_ACT_USE_RESULT; changes nothing. */
bool hd_core_expects(const struct hd_core *c, const struct hd_event *result);
/* True when HD_EV_ROWS with these values answers a fetch that is awaited from `slot`. */
bool hd_core_expects_rows(const struct hd_core *c, unsigned slot, const struct hd_fetch *rows);

/* ---- Views, for frames and status ----*/
struct hd_seq_need {
    uint32_t sequence, base;
    uint32_t inflight[HD_MAX_GROUPS]; /* rows of each group in the step in hand */
    bool replayed; /* drop what there is of it, need nothing: it starts again from position 0. Said
                    * until every worker has confirmed it */
};
/* What HD_ACT_ASSIGN for a slot must say of the live sequences; returns how many (list has room for
 * HD_MAX_SEQUENCES) and sets layers_done: the first so many layers need a group's rows as well. */
size_t hd_core_needs(const struct hd_core *c, struct hd_seq_need *list,
                     uint32_t layers_done[HD_MAX_GROUPS]);
const struct hd_plan *hd_core_plan(const struct hd_core *c);
/* What each worker is to hold without owning it (HD_ACT_ASSIGN, HD_ACT_PREPARE), and what of it is
 * known to be ready. */
const struct hd_holds *hd_core_hold(const struct hd_core *c);
const struct hd_holds *hd_core_held(const struct hd_core *c);
struct hd_move_view {
    bool moving;        /* workers prepare for what is to be next */
    unsigned preparing; /* how many are not ready */
    unsigned copies;    /* of each unit there are to be; 0: none are kept */
    uint32_t missing;   /* units that have fewer */
};
void hd_core_move_view(const struct hd_core *c, struct hd_move_view *out);
/* Half-steps that came to their end, since the start. */
struct hd_half_totals {
    uint64_t done;       /* with two groups: of each */
    uint64_t waited_us;  /* in which one at least was with the workers, sent and not yet answered */
    uint64_t compute_us; /* of it: computing, by what the slowest worker of each says */
    uint64_t flops;      /* of all workers: multiply-adds x 2 */
};
/* single: those of steps with one row of each sequence (decoding), else those of all others. */
const struct hd_half_totals *hd_core_half_totals(const struct hd_core *c, bool single);
uint64_t hd_core_epoch(const struct hd_core *c);
enum hd_cluster_state hd_core_state(const struct hd_core *c);

struct hd_worker_view {
    const char *name;
    enum hd_worker_state state;
    uint64_t last_seen_us;
    double rtt_ms; /* smoothed heartbeat round trip */
    double rate;   /* bytes a second over its link, 0 = not measured yet */
    uint64_t memory_bytes, multiply_adds_per_s; /* as it said when it joined */
    double phi;
    uint64_t steps;      /* half-steps asked of it */
    uint64_t answered;   /* ... and answered in time */
    uint64_t failures;   /* times it was lost */
    double success_rate; /* answered / steps, 1 when steps is 0 */
    uint64_t joins;
    bool draining;        /* it is to own nothing */
    bool failing;         /* ... because of its memory */
    bool testing;         /* it has not given the known answer yet */
    bool covers;          /* its log holds every live sequence from the start */
    unsigned logs_filled; /* sequences whose log it completes just now */
    enum hd_pace pace;
    uint64_t slow_since_us; /* 0: it is not */
    double slowness;        /* times as slow as usual, of late; 0: not measured */
    double share;           /* of its units that it is to keep: 1 unless it is relieved */
};
/* Times that a worker was relieved for being slow. */
uint64_t hd_core_reliefs(const struct hd_core *c);
/* False for an EMPTY slot. */
bool hd_core_worker(const struct hd_core *c, unsigned slot, uint64_t now_us,
                    struct hd_worker_view *out);
/* What a worker's input log has room for. */
struct hd_log_view {
    uint64_t limit_bytes; /* 0: it keeps none */
    uint64_t positions;   /* that it can hold in all; UINT64_MAX: not known */
    unsigned sequences;   /* alive */
    unsigned covers;      /* ... that it holds from their start */
    unsigned too_large;   /* ... that its limit keeps out */
};
void hd_core_log_view(const struct hd_core *c, unsigned slot, struct hd_log_view *out);
/* Positions that the largest log of a connected worker can hold; UINT64_MAX: any number, or nobody
 * keeps a log. */
uint64_t hd_core_log_room(const struct hd_core *c);
/* What strategies are told of the workers: list[HD_MAX_WORKERS]. */
void hd_core_measured(const struct hd_core *c, struct hd_plan_worker *list);
/* A sentence why the cluster is not READY ("waiting for workers: 1 of 2"), "" when it is. */
const char *hd_core_reason(const struct hd_core *c);

/* ---- Trust (audit.c, verdict.c, trust.c) ----*/
/* The audit that the half-step in hand of the group is for; 0: none. */
uint64_t hd_core_audit_of(const struct hd_core *c, unsigned group);
struct hd_audit_totals {
    uint64_t rounds;      /* half-steps that were audited */
    uint64_t equal;       /* answers that a second worker confirmed */
    uint64_t unequal;     /* ... that it did not, and then somebody was found wrong */
    uint64_t undecided;   /* ... and nobody could be blamed */
    uint64_t not_audited; /* nobody could, or did in time */
    uint64_t late;        /* questions that were not answered in time */
    uint64_t skipped;     /* half-steps that were due while too many were under way */
    uint64_t wrong;       /* workers cut off for wrong bits, wrong self tests included */
};
const struct hd_audit_totals *hd_core_audit_totals(const struct hd_core *c);
/* The i-th name that is refused for a while; NULL when there are no more. */
const char *hd_core_quarantined(const struct hd_core *c, size_t i, uint64_t now_us,
                                uint64_t *left_us);

/* NULL when every invariant holds, else the name of the broken one: each unit owned once by a live
 * worker while READY; no confirmed epoch beyond the present; nobody awaited who is not online... */
const char *hd_core_check(const struct hd_core *c);

#endif
