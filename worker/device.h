/* device.h - the seam between what a worker has to do and what computes it.
 *
 * A device has memory for weights and for K/V rows and computes half-steps from them. worker/cpu is
 * one; whoever is above (share, trust, crew) knows this header alone. A device decides nothing: who
 * owns what, which rows are valid, what is logged and what is sent is not its business.
 *
 *     piece      one unit in one layer (common/model/piece.h); its bytes are the file's
 *     lane       K/V rows of one (sequence, layer, head)
 *     half-step  the attention half or the FFN half of one layer, or logits, for a batch of rows
 *
 * Bits. Two devices give the same bytes for the same task, whatever they are made of and whatever
 * else they have to do: the accumulation orders of common/math/kernels.h and q8.h (integers inside
 * a block of 32, one chain of fused multiply-adds from block to block; own exp; round to nearest
 * even), partial sums in fixed point, answers laid out as proto/README.md says (answer.h). A row's
 * bits depend neither on the other rows nor on how the work was cut. K/V rows are f16 or f32 as
 * `read` gives them; a row computed by `rows` has the bits that the attention half stores.
 *
 * Threads. One thread calls, the one that leads the team, except where "any thread" is said. A
 * device may use the team during a call; it keeps no thread busy between two.
 *
 * Ownership. What is passed in is borrowed for the call, what the options hold for the device's
 * life. Stores go before their device.
 *
 * Errors. 0 or a negative code of common/util/error.h, with the reason in *err where there is one.
 * A failed call leaves what was there.
 *
 * Memory that is damaged. A device makes a digest of each piece and K/V row while it writes them,
 * in whatever way suits it, and says when asked whether they are still what they were; nobody else
 * can look into its memory. */
#ifndef HD_WORKER_DEVICE_H
#define HD_WORKER_DEVICE_H

#include "common/math/kernels.h"
#include "common/math/self_test.h"
#include "common/math/team.h"
#include "common/model/piece.h"

struct hd_device;
struct hd_device_lane;
struct hd_shared;

/* ---- What it is made of and for ----*/

struct hd_device_options {
    const struct hd_model *model;
    unsigned threads;
    enum hd_isa isa;       /* of this machine's CPU */
    const char *where;     /* which of the kind: what follows "KIND:" in compute.device; "" or NULL:
                            * the first */
    const char *state_dir; /* what is made once may be kept there; "" or NULL: nowhere */
    struct hd_team *team;  /* of so many threads; not for `speed` and `memory` */
};

/* What a session with a leader fixes. */
struct hd_device_sizes {
    enum hd_kv_type kv_type;
    enum hd_activations activations;
    enum hd_wire wire;      /* of what goes back */
    uint32_t max_rows;      /* of a step */
    uint32_t max_positions; /* of a sequence */
    uint32_t max_sequences; /* sequence numbers are below this */
};

/* A device's stores begin with these. */
struct hd_device_weights {
    struct hd_device *device;
};
struct hd_device_kv {
    struct hd_device *device;
};
/* Where a task's weights and rows are. */
struct hd_device_stores {
    struct hd_device_weights *weights;
    struct hd_device_kv *kv;
};

/* ---- Weights ----*/

/* The digest of a piece as it lies in the device's memory. A walk goes from run to run, begins
 * empty and may rest between two. */
#define HD_PIECE_RUN (64u << 10) /* bytes of a run at most; 4 to 10 us on a CPU */
struct hd_piece_walk {
    size_t part, offset; /* the device's own */
    uint64_t digest;
};

/* ---- K/V rows ----*/

/* Names one lane. */
struct hd_kv_at {
    uint32_t sequence, layer, head;
};

/* Positions position .. position + n - 1 of a lane that is reserved, from their attention inputs,
 * the rows of their steps. n <= HD_LOG_CHUNK. */
struct hd_kv_work {
    struct hd_kv_at at;
    uint32_t position;
    size_t n;
    const uint8_t *x; /* [n] of the model's row bytes */
};

/* ---- A half-step ----*/

/* Unit numbers, ascending. */
struct hd_unit_list {
    const uint32_t *list;
    size_t n;
};

/* Its rows. Those of one sequence come in ascending positions. */
struct hd_rows {
    const void *x; /* [n] of the model's row bytes, normalised; f32 rows are aligned */
    size_t n;      /* 1 .. max_rows */
    const uint32_t *sequences;
    const uint32_t *positions;
    const int32_t *shifts;     /* partial sums are round(x * 2^shift); not for logits */
    const uint32_t *want;      /* logits only: 0 = all of a block, k = the best k of it */
    const float *temperatures; /* logits only: 0, or at which a second sum is wanted */
    /* FFN of a model with experts only, [n][n_used]: which experts a row takes, ascending, and what
     * each one's output is multiplied with (one rounding) before it is rounded to fixed point. */
    const uint32_t *experts;
    const float *weights;
};

struct hd_half_task {
    struct hd_device_stores from;
    enum hd_unit_kind kind;    /* of the units: which half it is */
    uint32_t layer;            /* not for logits */
    struct hd_unit_list units; /* that are summed up; loaded in this layer */
    const struct hd_rows *rows;
    /* Heads only, [units.n][rows->n]: 1 = this row's K and V are to be stored, in the lane, which
     * is reserved; 0 = they are there. A row at position p sees rows 0 .. p, those of the task too.
     */
    const uint8_t *fresh;
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

/* ---- The operations ----*/

struct hd_device_ops {
    void (*free)(struct hd_device *d);
    /* A session begins: scratch for steps of this size, inputs and answers in these forms.
     * HD_E_NOMEM: no half-step and no rows before it has succeeded. K/V stores go first. */
    int (*resize)(struct hd_device *d, const struct hd_device_sizes *sizes);

    int (*weights_new)(struct hd_device *d, struct hd_device_weights **out);
    void (*weights_free)(struct hd_device_weights *w);
    /* Takes over a piece that is not there; bytes: [hd_piece_bytes], not kept; NULL: the model has
     * its data. Any thread, for different pieces. HD_E_NOMEM, or what packing says. */
    int (*load)(struct hd_device_weights *w, struct hd_piece_at at, const uint8_t *bytes);
    /* A piece that is there. Its memory is free again. */
    void (*release)(struct hd_device_weights *w, struct hd_piece_at at);
    /* Of its memory that a piece takes; 0: it is not there. Any thread. */
    uint64_t (*piece_bytes)(const struct hd_device_weights *w, struct hd_piece_at at);
    /* Takes a run of the piece into the walk's digest. Returns its bytes, 0: at the end. Any
     * thread. */
    size_t (*walk)(const struct hd_device_weights *w, struct hd_piece_at at,
                   struct hd_piece_walk *walk);

    /* Of the sizes of the session. */
    int (*kv_new)(struct hd_device *d, struct hd_device_kv **out);
    void (*kv_free)(struct hd_device_kv *kv);
    /* Room for positions up to positions-1 of a lane; *bytes grows by what that has taken. Rows
     * that were written stay. 0 or HD_E_NOMEM. */
    int (*reserve)(struct hd_device_kv *kv, struct hd_kv_at at, uint32_t positions,
                   uint64_t *bytes);
    /* Rows of positions below `shared` of a sequence, of which nothing is reserved, are those of
     * `parent`: whole blocks, in the parent's memory (of which some may be its own parent's). They
     * are there whenever a half-step sees them; lanes of the sequence begin behind them: what is
     * reserved, computed, read and proved of it lies at `shared` and on. 0: all are its own, as in
     * the beginning. */
    void (*share)(struct hd_device_kv *kv, uint32_t sequence, uint32_t parent, uint32_t shared);
    /* A lane's memory; NULL: nothing is reserved. */
    struct hd_device_lane *(*lane)(const struct hd_device_kv *kv, struct hd_kv_at at);
    /* The same, taken out of the lane, which has nothing then: only for `bad_row` and, in the end,
     * `discard`. */
    struct hd_device_lane *(*detach)(struct hd_device_kv *kv, struct hd_kv_at at);
    void (*discard)(struct hd_device_kv *kv, struct hd_device_lane *lane);
    /* Bytes of one K row (and of one V row), as `read` gives them. */
    size_t (*row_bytes)(const struct hd_device_kv *kv);
    /* Copies the row of a position that was written. Any thread. */
    void (*read)(const struct hd_device_kv *kv, struct hd_kv_at at, uint32_t position, void *k,
                 void *v);
    /* The first of positions [from, end), which were written and lie in one block of HD_ATTN_BLOCK,
     * whose row is not what was written; UINT32_MAX: all are. */
    uint32_t (*bad_row)(const struct hd_device_kv *kv, const struct hd_device_lane *lane,
                        uint32_t from, uint32_t end);

    /* Digests of the rows of positions [from, end), which were written and lie in one block: of
     * each the lower 32 bits of XXH3-64 of V, seeded with that of K (seal.h), as it was written. */
    void (*digests)(const struct hd_device_kv *kv, struct hd_kv_at at, uint32_t from, uint32_t end,
                    uint32_t *out);

    /* Computes and stores all rows of a list; no two items are of the same position. 0 or
     * HD_E_NOMEM. */
    int (*rows)(struct hd_device *d, const struct hd_device_stores *to,
                const struct hd_kv_work *list, size_t n);
    /* 0; HD_E_NOMEM; logits: HD_E_LIMIT when the answer would not fit a frame. HD_E_DEVICE
     * (of load, rows and resize, too): the device has failed for good, as all that follows will. */
    int (*half)(struct hd_device *d, const struct hd_half_task *task, struct hd_half_output *out,
                struct hd_error *err);
    /* Looks at the tables that the device has made for itself (angles) from *position on, moves it
     * on, and computes anew what is not what it was: *mended is the first such position, or
     * UINT32_MAX. Returns the bytes that it has looked at, 0: at the end. */
    size_t (*look)(struct hd_device *d, uint32_t *position, uint32_t *mended);
    /* The known answer test (common/math/self_test.h). 0 or HD_E_NOMEM. */
    int (*self_test)(struct hd_device *d, uint64_t seed, struct hd_self_test *out);
    /* 0; HD_E_DEVICE, with the reason: it has failed for good, whatever else calls say since then,
     * and what is read from it means nothing. Any thread. */
    int (*lost)(const struct hd_device *d, struct hd_error *err);
};

struct hd_device {
    const struct hd_device_ops *ops;
    struct hd_device_options o;
    struct hd_units units;
    struct hd_device_sizes sizes; /* of the last resize */
};

/* ---- The kinds that there are ----*/

struct hd_device_kind {
    const char *name; /* compute.device */
    /* Whether this machine has one that can work so: 0 or HD_E_CONFIG with the reason. The model is
     * not known yet. */
    int (*check)(const struct hd_device_options *o, struct hd_error *err);
    /* Multiply-adds a second, one row times matrices of the model; some 20 ms. 0: unknown. It only
     * weighs workers against each other: what is computed does not depend on it. */
    uint64_t (*speed)(const struct hd_device_options *o);
    /* Bytes for units and their rows. */
    uint64_t (*memory)(const struct hd_device_options *o);
    /* 0, HD_E_NOMEM, or what the machine says against it. */
    int (*create)(struct hd_device **out, const struct hd_device_options *o, struct hd_error *err);
};

/* NULL-terminated, the one that "auto" takes first. In devices.c, of the program and not of the
 * library: a new device is a folder and a line there. */
extern const struct hd_device_kind *const hd_device_kinds[];
/* The kind of that name (of "KIND:WHERE", KIND), or for "auto" the first whose check passes. 0, or
 * HD_E_CONFIG with what there is, or what its check said. */
int hd_device_choose(const struct hd_device_kind **out, const char *name,
                     const struct hd_device_options *o, struct hd_error *err);

static inline void hd_device_free(struct hd_device *d)
{
    if (d)
        d->ops->free(d);
}

#endif
