/* compute.h - the half-steps: what some units give for a batch of rows.
 *
 * Each unit's partial is computed whole, in the kernels' fixed order, and added to the row's sum as
 * integers, so that the sum over units is the same whoever owns them. The work of a half-step is
 * cut by unit and by range of outputs; each element of a sum is written by one thread, which walks
 * the units. A row's bits depend neither on the other rows nor on how the work was cut.
 *
 * Called by one thread, the one that leads the team. Scratch is sized once for the largest step. */
#ifndef HD_WORKER_COMPUTE_H
#define HD_WORKER_COMPUTE_H

#include "common/net/conn.h"
#include "worker/cpu/kv.h"
#include "worker/cpu/rope.h"
#include "worker/share/shard.h"

struct hd_compute;

struct hd_compute_options {
    const struct hd_model *model;
    const struct hd_kernels *kernels;
    struct hd_team *team;
    enum hd_activations activations;
    enum hd_wire wire; /* of what goes back */
    uint32_t max_rows; /* of a step */
};

/* The rows of a half-step. Rows of one sequence come in ascending positions. */
struct hd_rows {
    const void *x; /* [n] of the model's row bytes, normalised; f32 rows are aligned */
    size_t n;      /* 1 .. max_rows */
    const uint32_t *sequences;
    const uint32_t *positions;
    const int32_t *shifts;     /* partial sums are round(x * 2^shift); not for logits */
    const uint32_t *want;      /* logits only: 0 = all of a block, k = the best k of it */
    const float *temperatures; /* logits only: 0, or at which a second sum is wanted */
};

/* Where weights and K/V rows are: a worker's own, or others (audit.h). */
struct hd_stores {
    const struct hd_shard *shard;
    struct hd_kv *kv;
};

/* What is to be computed. */
struct hd_half_task {
    struct hd_stores from;
    enum hd_unit_kind kind;    /* of the units: which half it is */
    uint32_t layer;            /* not for logits */
    struct hd_unit_list units; /* that are summed up; loaded in this layer */
    const struct hd_rows *rows;
    bool uncounted; /* it answers no step: hits and misses of K/V are not counted */
};

/* What goes back to the leader; payload layouts in proto/README.md. */
struct hd_half_output {
    struct hd_shared *payload; /* the caller's */
    const uint32_t *wide; /* rows that are sent in 64 bits, ascending; valid till the next call */
    size_t n_wide;
    const uint32_t *bad; /* rows with a number that is not finite, ascending; likewise */
    size_t n_bad;
    uint64_t flops; /* multiply-adds x 2 that it took */
};

/* 0 or HD_E_NOMEM. Everything in the options is borrowed. */
int hd_compute_new(struct hd_compute **out, const struct hd_compute_options *o);
void hd_compute_free(struct hd_compute *c);

/* 0; HD_E_NOMEM; attention: HD_E_PROTO when a row's position does not continue its sequence's K/V;
 * logits: HD_E_LIMIT when the answer would not fit a frame. */
int hd_compute_half(struct hd_compute *c, const struct hd_half_task *work,
                    struct hd_half_output *out, struct hd_error *err);

/* Computes and stores the K/V rows of `n` <= HD_LOG_CHUNK positions from `position` of one lane,
 * from their attention inputs, the rows of their steps, and their head's weights, in the same
 * stores: bit for bit what the attention half stores. May run on every thread of the team at once,
 * for different rows; the lane is reserved, and committed by the caller afterwards.
 * hd_compute_positions(c, end) comes before. */
struct hd_kv_work {
    struct hd_kv_at at;
    uint32_t position;
    size_t n;
    const uint8_t *x; /* [n] of the model's row bytes */
    bool logged;      /* x lies in the input log (kv_work.h) */
    uint32_t bad;     /* the first position whose row there is damaged; UINT32_MAX: none */
};
void hd_compute_kv(struct hd_compute *c, const struct hd_stores *to, unsigned thread,
                   const struct hd_kv_work *work);
/* Prepares positions 0 .. positions-1 for hd_compute_kv. 0 or HD_E_NOMEM. */
int hd_compute_positions(struct hd_compute *c, uint32_t positions);

/* The angles of the positions so far. */
struct hd_rope_table *hd_compute_angles(struct hd_compute *c);

#endif
