/* core.h - the leader's pure core: membership, failure detection, plan, step and recovery.
 *
 * `hd_core_step(core, event, actions)` and nothing else: no sockets, no clock (events carry the
 * time), no threads. The daemon turns callbacks into events and actions into frames; the simulator
 * in tests/sim does the same with a virtual network.
 *
 * What goes in and comes out is in events.h, what others need to know in types.h.
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
 *   READY, between two steps, who gains units is prepared --> ASSIGNING (see moves.c)
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

#include "leader/core/detector.h"
#include "leader/core/events.h"
#include "leader/core/policy.h"

#define HD_MAX_ROUNDS      4  /* audited half-steps whose audits are not all answered */
#define HD_MAX_DRAIN_AFTER 16 /* found damages that are remembered of a worker */

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
    double cost[HD_UNIT_KINDS];     /* of a unit, relative to the others, for the strategy; 0 = 1 */
    unsigned min_workers;           /* for the first plan; later on one worker is enough */
    const struct hd_policy *policy; /* NULL: reuse */
    unsigned standby; /* copies of each unit that others hold: with a policy that wants some with
                       * K/V, else of the weights alone */
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

/* ---- The core -------------------------------------------------------------------------------*/
struct hd_core;
int hd_core_new(struct hd_core **out, const struct hd_core_options *o, struct hd_error *err);
void hd_core_free(struct hd_core *c);

/* Applies one event and appends what must be done, in order. Returns 0 or HD_E_NOMEM (state is
 * unchanged). The invariants are checked after every event: hd_core_check. */
int hd_core_step(struct hd_core *c, const struct hd_event *ev, struct hd_actions *out);

/* True when HD_EV_ROWS with these values answers a fetch that is awaited from `slot`. */
bool hd_core_expects_rows(const struct hd_core *c, unsigned slot, const struct hd_fetch *rows);

/* ---- Views, for frames and status ----*/
/* Positions of all live sequences. */
uint64_t hd_core_positions(const struct hd_core *c);
const struct hd_plan *hd_core_plan(const struct hd_core *c);
/* What each worker is to hold without owning it (HD_ACT_ASSIGN, HD_ACT_PREPARE), and what of it is
 * known to be ready. */
const struct hd_holds *hd_core_hold(const struct hd_core *c);
const struct hd_holds *hd_core_held(const struct hd_core *c);
struct hd_move_view {
    bool moving;        /* workers prepare for what is to be next */
    unsigned preparing; /* how many are not ready */
    unsigned copies;    /* of each unit there are to be; 0: none are kept */
    bool kv;            /* ... with K/V, else of the weights alone */
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
struct hd_audit_totals {
    uint64_t rounds;      /* half-steps that were audited */
    uint64_t equal;       /* answers that a second worker confirmed */
    uint64_t unequal;     /* ... that it did not, and then somebody was found wrong */
    uint64_t undecided;   /* ... and nobody could be blamed */
    uint64_t not_audited; /* nobody could, or did in time */
    uint64_t late;        /* questions that were not answered in time */
    uint64_t skipped;     /* half-steps that were due while too many were under way */
    uint64_t wrong;       /* workers cut off for wrong bits, wrong self tests included */
    uint64_t rows_equal;  /* K/V of a sequence and a head that two or more had computed (rows.c) */
    uint64_t rows_unequal;
};
const struct hd_audit_totals *hd_core_audit_totals(const struct hd_core *c);
/* An audit waits for a step without rows that may be cut (hd_half_info.drafted). */
bool hd_core_audit_waits(const struct hd_core *c);
/* The i-th name that is refused for a while; NULL when there are no more. */
const char *hd_core_quarantined(const struct hd_core *c, size_t i, uint64_t now_us,
                                uint64_t *left_us);

/* NULL when every invariant holds, else the name of the broken one: each unit owned once by a live
 * worker while READY; no confirmed epoch beyond the present; nobody awaited who is not online... */
const char *hd_core_check(const struct hd_core *c);

#endif
