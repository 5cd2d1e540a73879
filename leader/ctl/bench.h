/* bench.h - hydac bench failover: what a lost worker costs, measured on clusters of this machine.
 *
 * A measurement is one cluster: an undisturbed answer, then the same request again, in the middle
 * of whose answer workers are killed. Every number is the leader's own report of the recovery, a
 * counter of its status, or a time stamp of ours; means and medians are all that is made of them.
 */
#ifndef HD_CTL_BENCH_H
#define HD_CTL_BENCH_H

#include "leader/ctl/bench_client.h"

#include <stdio.h>

#define HD_BENCH_MAX_LIST 16 /* items of --workers, --contexts, --policies */

#define HD_BENCH_TIME 32 /* bytes of a time in words */

/* What is measured is a step of one row: no tokens are guessed, unless --leader-arg asks for it. */
#define HD_BENCH_LEADER_ARGS                                                                       \
    {                                                                                              \
        .items = {"--speculation.mode=off"}, .n = 1                                                \
    }

/* ---- What options have in common ------------------------------------------------------------*/
/* Calls take for each item of a list with commas between; HD_E_CONFIG for an empty or long one. */
int hd_bench_each_item(const char *option, const char *list,
                       int (*take)(void *arg, size_t i, const char *item, struct hd_error *err),
                       void *arg, size_t *n, struct hd_error *err);
struct hd_bench_numbers {
    const char *option;
    uint64_t *to, min, max; /* to: [HD_BENCH_MAX_LIST] */
};
int hd_bench_take_numbers(const struct hd_bench_numbers *l, const char *list, size_t *n,
                          struct hd_error *err);
void hd_bench_now(char text[HD_BENCH_TIME]); /* 2026-11-24T12:00:00Z */

/* ---- Failover -------------------------------------------------------------------------------*/
/* What a stall is made of; the parts add up to it. */
enum hd_bench_part {
    HD_BENCH_DETECT,
    HD_BENCH_PLAN,
    HD_BENCH_WEIGHTS,
    HD_BENCH_REBUILD,
    HD_BENCH_RETRY,
    HD_BENCH_OTHER, /* what the leader's report does not name: waiting for answers on the wire */
    HD_BENCH_PARTS,
};
extern const char *const hd_bench_part_names[HD_BENCH_PARTS];

struct hd_bench_options {
    struct hd_up_options up; /* model, threads (0: shared out), arguments passed on */
    uint64_t workers[HD_BENCH_MAX_LIST], contexts[HD_BENCH_MAX_LIST];
    size_t n_workers, n_contexts, n_policies;
    char policies[HD_BENCH_MAX_LIST][16];
    uint64_t lost, repeat, tokens; /* tokens: of an answer */
    const char *out;
    bool png;
};

/* Milliseconds between a token's arrival and the one before, by the client's clock. */
struct hd_bench_gaps {
    double *ms; /* [n]; ms[i]: before token i + 1 */
    size_t n;
};

struct hd_bench_run {
    uint64_t workers, context, repeat, threads;
    const char *policy;
    json_t *lost; /* names */
    bool identical;
    size_t kill_after; /* tokens of the answer */
    size_t n_tokens;
    struct hd_bench_gaps quiet, loss;             /* undisturbed answer; the one with the loss */
    double before_ms, gap_ms, after_ms, quiet_ms; /* medians, but gap_ms: the longest after the
                                                   * kill */
    double stall_ms, parts_ms[HD_BENCH_PARTS];
    uint64_t heads_lost, heads_rebuilt, heads_reused, positions;
    uint64_t rows_rebuilt, rows_kept, rows_replayed, bytes, flops;
    json_t *failovers;                    /* as the leader reported them */
    json_t *memory_before, *memory_after; /* by worker: name, kv_bytes, log_bytes, log_rows, ... */
};

struct hd_bench {
    const struct hd_bench_options *o;
    struct hd_bench_run *runs; /* [n], in the order of time */
    size_t n;
    json_t *model; /* of the leader's status */
    char started[HD_BENCH_TIME];
    unsigned cores;
};

/* The runs of one combination. */
struct hd_bench_group {
    uint64_t workers, context;
    const char *policy;
    size_t n;
    bool identical;                    /* all of them */
    double min_ms, max_ms;             /* stalls */
    const struct hd_bench_run *median; /* the run with the median stall (the lower of two) */
    double speedup; /* median stall of `full` / median stall of this; 0 when there is no `full` */
};

/* One measurement with its own cluster. `model` gets the status' description. 0,
 * HD_BENCH_INTERRUPTED or an error. */
struct hd_bench_job {
    const struct hd_bench_options *o;
    uint64_t workers, context, repeat;
    const char *policy;
};
int hd_bench_measure(const struct hd_bench_job *job, struct hd_bench_run *run, json_t **model,
                     struct hd_error *err);

/* ---- Numbers of a run; pure -----------------------------------------------------------------*/
void hd_bench_run_deinit(struct hd_bench_run *run);
/* Counters, stall and parts from the leader's reports. With several losses the longest stall counts
 * (they share the recovery); heads lost and rebuilt are those of all. HD_E_FORMAT without a report.
 */
int hd_bench_account(struct hd_bench_run *run);
/* The medians and the longest gap. */
void hd_bench_account_gaps(struct hd_bench_run *run);
double hd_bench_median(const double *list, size_t n); /* of a copy; 0 for n = 0 */
/* [*n] groups in the order of workers, context, policy; NULL when out of memory. */
struct hd_bench_group *hd_bench_groups(const struct hd_bench *b, size_t *n);

/* ---- Results --------------------------------------------------------------------------------*/
int hd_bench_write_json(const struct hd_bench *b, const char *path, struct hd_error *err);
int hd_bench_write_csv(const struct hd_bench *b, const char *path, struct hd_error *err);
int hd_bench_write_html(const struct hd_bench *b, const char *path, struct hd_error *err);
/* Through gnuplot. The check is for the beginning: measuring takes long. */
int hd_bench_check_plot(struct hd_error *err);
int hd_bench_plot(const struct hd_bench *b, const char *path, struct hd_error *err);

#endif
