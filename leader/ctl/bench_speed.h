/* bench_speed.h - hydac bench decode, prefill, net: how fast clusters of this machine answer.
 *
 * A run is one cluster of its own. The same prompt is sent three times: for one token, so that all
 * is warm; for one token again; for the whole answer. The leader's counters are read before and
 * after the last two: what the second added is the prompt's, what the third added beyond that are
 * the steps of the other tokens, each of one row. Times of a prompt and of an answer are those that
 * the leader reports with the answer. Sizes of the cluster take turns, so that a change of the
 * machine's speed meets all of them; the machine's bandwidth is measured before and after each
 * answer, while the cluster has nothing to do. */
#ifndef HD_CTL_BENCH_SPEED_H
#define HD_CTL_BENCH_SPEED_H

#include "common/model/model.h"
#include "leader/ctl/bench.h"

#define HD_SPEED_MAX_WIRES    2
#define HD_SPEED_MAX_VARIANTS (HD_SPEED_MAX_WIRES * HD_BENCH_MAX_LIST)

enum hd_speed_kind { HD_SPEED_DECODE, HD_SPEED_PREFILL, HD_SPEED_NET, HD_SPEED_KINDS };

/* What a status counts up. Half-steps are told apart by what their step is: one row of each
 * sequence (single), or more (a prompt). */
enum hd_speed_counter {
    HD_COUNT_SINGLE_DONE, /* half-steps */
    HD_COUNT_SINGLE_WAITED_US,
    HD_COUNT_SINGLE_COMPUTE_US, /* of the slowest worker of each */
    HD_COUNT_SINGLE_FLOPS,      /* of all workers */
    HD_COUNT_MANY_DONE,
    HD_COUNT_MANY_WAITED_US,
    HD_COUNT_MANY_COMPUTE_US,
    HD_COUNT_MANY_FLOPS,
    HD_COUNT_LEADER_US,  /* its own arithmetic */
    HD_COUNT_BYTES_DOWN, /* to all workers, frames and all */
    HD_COUNT_BYTES_UP,
    HD_SPEED_COUNTERS,
};

/* As measured. */
struct hd_speed_raw {
    uint64_t prompt; /* tokens */
    uint64_t tokens; /* of the answer, after the first one */
    double prefill_ms, decode_ms;
    int64_t first[HD_SPEED_COUNTERS]; /* what the prompt and its first token added */
    int64_t rest[HD_SPEED_COUNTERS];  /* what the other tokens added */
    double heartbeat_ms;              /* smoothed round trip, of the worker with the longest */
    uint64_t weight_bytes;            /* that one token reads, of all workers together */
    double bandwidth;                 /* bytes a second; 0: not measured */
};

/* What is shown of it. */
enum hd_speed_value {
    HD_SPEED_TOKENS_PER_SECOND,
    HD_SPEED_TOKEN_MS,
    HD_SPEED_COMPUTE_MS, /* of a token: the slowest worker's computing */
    HD_SPEED_LEADER_MS,  /* the leader's arithmetic */
    HD_SPEED_WIRE_MS,    /* the rest: messages, sockets, waking up, input logs */
    HD_SPEED_LEADER_WIRE_PERCENT,
    HD_SPEED_BANDWIDTH_GB_S,
    HD_SPEED_WEIGHT_BYTES,
    HD_SPEED_BANDWIDTH_PERCENT,
    HD_SPEED_PREFILL_MS,
    HD_SPEED_FLOPS, /* of the prompt */
    HD_SPEED_GFLOP_S,
    HD_SPEED_COMPUTE_PERCENT, /* of the prompt's time */
    HD_SPEED_HALF_STEPS,      /* of a token */
    HD_SPEED_HALF_STEP_US,    /* from sent to the last answer */
    HD_SPEED_HALF_COMPUTE_US, /* of it: the slowest worker's computing */
    HD_SPEED_HALF_WIRE_US,    /* the rest of it */
    HD_SPEED_HEARTBEAT_US,
    HD_SPEED_BYTES_DOWN, /* of a token, to all workers */
    HD_SPEED_BYTES_UP,
    HD_SPEED_VALUES,
};

struct hd_speed_run {
    size_t variant; /* which of the options' sizes and wire modes */
    uint64_t repeat;
    double values[HD_SPEED_VALUES]; /* those of the kind */
};

struct hd_speed_options {
    enum hd_speed_kind kind;
    struct hd_up_options up; /* model, arguments passed on */
    /* Every size with every wire mode: */
    uint64_t workers[HD_SPEED_MAX_VARIANTS], threads[HD_SPEED_MAX_VARIANTS];
    const char *wires[HD_SPEED_MAX_VARIANTS]; /* "exact", "compact" */
    size_t n_variants;
    uint64_t prompt, tokens, repeat;
    const char *out; /* NULL: nothing is written */
};

struct hd_speed {
    const struct hd_speed_options *o;
    struct hd_speed_run *runs; /* [n], in the order of time */
    size_t n;
    uint64_t weight_bytes;
    json_t *model; /* of the leader's status */
    char started[HD_BENCH_TIME];
};

struct hd_speed_range {
    double min, median, max;
};

/* The kind of that name, -1 when there is none. The command: as the others of ctl.h. */
int hd_speed_kind(const char *name);
const char *hd_speed_kind_name(enum hd_speed_kind kind);
int hd_speed_cmd(enum hd_speed_kind kind, int argc, char **argv);

/* Threads that compute in a variant, together, but no more than there are cores. */
uint64_t hd_speed_threads(const struct hd_speed_options *o, size_t variant);

/* One run on its own cluster; run->variant and repeat say which. s->model gets the status'
 * description. 0, HD_BENCH_INTERRUPTED or an error. */
int hd_speed_measure(struct hd_speed *s, struct hd_speed_run *run, struct hd_error *err);
/* Bytes of the matrices that every token is multiplied by, as workers pack them. */
int hd_speed_weight_bytes(const char *model, uint64_t *bytes, struct hd_error *err);

/* ---- Numbers; pure --------------------------------------------------------------------------*/
void hd_speed_account(enum hd_speed_kind kind, const struct hd_speed_raw *raw,
                      double values[HD_SPEED_VALUES]);
/* Of one variant. runs: at least one of it. HD_E_NOMEM. */
int hd_speed_range(const struct hd_speed *s, size_t variant, enum hd_speed_value value,
                   struct hd_speed_range *out);

/* ---- Results --------------------------------------------------------------------------------*/
void hd_speed_print(const struct hd_speed *s);
/* "2 workers x 1 thread: 28.31 tokens a second" */
void hd_speed_print_progress(const struct hd_speed *s, size_t total);
int hd_speed_write_json(const struct hd_speed *s, const char *path, struct hd_error *err);
int hd_speed_write_csv(const struct hd_speed *s, const char *path, struct hd_error *err);

#endif
