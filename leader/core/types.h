/* types.h - the core's words for others: who is in which state, what a half-step is, what a loss
 * cost. Pure, and all that engine, metrics and api need to know of the core. */
#ifndef HD_CORE_TYPES_H
#define HD_CORE_TYPES_H

#include "common/model/unit.h" /* halves, limits */

#include <stdint.h>

#define HD_MAX_WORKERS 64 /* slots: a worker set is one 64-bit mask */

enum hd_worker_state { HD_WORKER_EMPTY, HD_WORKER_ONLINE, HD_WORKER_SUSPECT, HD_WORKER_OFFLINE };
enum hd_cluster_state { HD_CLUSTER_WAITING, HD_CLUSTER_ASSIGNING, HD_CLUSTER_READY };
enum hd_loss_cause {
    HD_LOSS_CLOSED,
    HD_LOSS_SILENT,
    HD_LOSS_DEADLINE,
    HD_LOSS_PROTOCOL,
    HD_LOSS_GAVE_UP,
    HD_LOSS_WRONG /* it computed wrong bits */
};
#define HD_HALVES (HD_HALF_LOGITS + 1)
/* Slow, and nothing is done about it; slow, and its units are with others, or on their way. */
enum hd_pace { HD_PACE_STEADY, HD_PACE_SLOW, HD_PACE_RELIEVED };

const char *hd_worker_state_name(enum hd_worker_state s);
const char *hd_cluster_state_name(enum hd_cluster_state s);
/* "closed", "silent", "deadline", "protocol", "gave_up", "wrong" */
const char *hd_loss_cause_name(enum hd_loss_cause c);
const char *hd_pace_name(enum hd_pace p); /* "steady", "slow", "relieved" */

/* Rows of a half-step that belong to one sequence. */
struct hd_seq_rows {
    uint32_t sequence;
    uint32_t rows;
};

/* What one recovery cost; see README for the meaning of each number. */
struct hd_failover {
    char worker[64];
    enum hd_loss_cause cause;
    const char *policy; /* its name (policy.h) */
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

#endif
