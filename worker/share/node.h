/* node.h - what a worker has of a model: weights, K/V, input log, and half-steps of them.
 *
 * No sockets, no messages, no epochs: the crew (crew.h) feeds it. What is done beside the steps
 * (share/hold.h, trust/) leans on this, and nothing here on that: a node only has a place for each.
 * One thread only. */
#ifndef HD_WORKER_NODE_H
#define HD_WORKER_NODE_H

#include "common/model/unit.h" /* limits */
#include "common/util/log.h"
#include "worker/share/input_log.h"
#include "worker/share/known.h"
#include "worker/share/kv.h"
#include "worker/share/shard.h"

struct hd_finding;

struct hd_node_options {
    struct hd_device *device; /* borrowed */
    const struct hd_log *log;
    const char *state_dir;
    uint64_t log_limit;       /* bytes of input log */
    bool keep_log;            /* false: no input is logged */
    struct hd_supply *supply; /* where weights come from; NULL: the model has its data, and there is
                               * nobody to compare them with */
    _Atomic uint64_t *loading; /* NULL, or how far loading is (hd_shard_tell_loading) */
    /* Something was found damaged (damage.h); NULL: nobody wants to know. */
    void (*found)(void *arg, const struct hd_finding *f);
    void *found_arg;
};

/* What the leader's Welcome fixes. */
struct hd_node_sizes {
    enum hd_kv_type kv_type;
    enum hd_activations activations;
    enum hd_wire wire;
    uint32_t max_rows;      /* of a step */
    uint32_t max_positions; /* of a sequence */
    uint32_t max_sequences; /* at most HD_MAX_SEQUENCES */
    uint32_t audit_every;   /* a half-step in so many is audited; 0: none */
    uint32_t scrub_s;       /* seconds until memory is looked at again; 0: never (scrub.h) */
};

struct hd_hold;
struct hd_audit;
struct hd_scrub;

struct hd_node {
    struct hd_node_options o;
    struct hd_node_sizes sizes;
    struct hd_device *device;
    const struct hd_model *model; /* the device's, as is the next */
    struct hd_team *team;
    struct hd_shard *shard;
    struct hd_kv *kv; /* NULL before the first resize, as is the next */
    struct hd_input_log *input_log;
    struct hd_known *known; /* [max_sequences]; NULL before the first resize */
    uint8_t *fresh;         /* [heads][max_rows]: scratch of hd_half */
    uint64_t holes;         /* mask of sequences whose log is known to have one */
    struct hd_hold *hold;   /* what is held beside what is owned, see hold.h */
    struct hd_audit *audit; /* what others have answered, see trust/audit.h */
    struct hd_scrub *scrub; /* looks whether memory is what it was, see trust/scrub.h */
    uint64_t whole_us;      /* when all memory was last known to be whole (damage.h) */
    bool damaged;           /* something was found since the scrub has last asked */
    uint64_t lost; /* mask of sequences of which K/V was damaged that no log gives again: no step of
                      theirs is computed until they are dropped and replayed */
    /* An assignment of the present session is in force.
     * Weights outlive a session (a quick return need not load them again), ownership and holding do
     * not. */
    bool assigned;
    bool goes_on; /* ... none is yet, but what one before had is there, and owned */
};

/* Each half-step needs the units of one kind: heads, FFN blocks, vocab blocks. */
struct hd_half_step {
    enum hd_unit_kind units;
    uint32_t layer;
    struct hd_rows rows;
};

/* These are for crew/whole.c, which ties a node together with what it does beside the steps. */
/* Nothing but weights, none of them loaded. 0 or HD_E_NOMEM. */
int hd_node_open(struct hd_node **out, const struct hd_node_options *o);
void hd_node_close(struct hd_node *n);
/* Of a node that has left: weights that it keeps go, and the memory that was made for them. */
void hd_node_unload(struct hd_node *n);
/* Stores of these sizes in place of those there are. 0 or HD_E_NOMEM (then there are none). */
int hd_node_make_stores(struct hd_node *n, const struct hd_node_sizes *sizes);
/* Drop the K/V and the log of every sequence, or of one. */
void hd_node_clear(struct hd_node *n);
/* ... and, before it, all that shares rows with it. */
void hd_node_clear_sequence(struct hd_node *n, uint32_t sequence);
/* These rows were sent, of these tokens ([rows->n]). */
void hd_node_know(struct hd_node *n, const struct hd_rows *rows, const uint32_t *tokens);
/* What an empty sequence shares. Nothing is dropped if that is known already. */
void hd_node_share(struct hd_node *n, uint32_t sequence, struct hd_kv_share with);

/* Empty stores like its own. 0 or HD_E_NOMEM. */
int hd_node_new_shard(const struct hd_node *n, struct hd_shard **out);
int hd_node_new_kv(const struct hd_node *n, struct hd_kv **out);

/* Where weights and K/V rows are: a worker's own, or others (trust/audit.h). */
struct hd_stores {
    struct hd_shard *shard;
    struct hd_kv *kv;
};
/* Its own. */
static inline struct hd_stores hd_node_stores(const struct hd_node *n)
{
    return (struct hd_stores){n->shard, n->kv};
}

/* Bytes of a row of a step's input, and of the log. */
/* Experts that a row of the FFN half takes; 0: the model has none. */
static inline size_t hd_node_used(const struct hd_node *n)
{
    return n->device->o.model->shape.n_used;
}
static inline size_t hd_node_row_bytes(const struct hd_node *n)
{
    return hd_model_row_bytes(n->model, n->sizes.activations);
}

/* Keeps the inputs of an attention half. What cannot be kept is said once in the worker's log:
 * serving does not depend on it. Returns the sequences (a mask) whose log has got its first hole by
 * that; never any when nothing is to be logged. */
uint64_t hd_node_log_inputs(struct hd_node *n, uint32_t layer, const struct hd_rows *rows);
/* Keeps one row: HD_LOG_KEPT or HD_LOG_GAP. */
int hd_node_log_row(struct hd_node *n, struct hd_log_at at, const void *row);
/* The sequence's log has a hole, which is known: what there is of it is given up. */
void hd_node_log_hole(struct hd_node *n, uint32_t sequence);
/* A sequence's log is to be completed: it may grow again, and its next hole is a first one. */
void hd_node_log_again(struct hd_node *n, uint32_t sequence);

/* A half-step of any stores. */
struct hd_half_order {
    struct hd_stores from;
    struct hd_unit_list units; /* that are summed up; loaded in this layer */
    bool uncounted;            /* it answers no step: hits and misses of K/V are not counted */
};
/* 0; HD_E_NOMEM; attention: HD_E_PROTO when a row's position does not continue its sequence's K/V;
 * logits: HD_E_LIMIT when the answer would not fit a frame. */
int hd_half(struct hd_node *n, const struct hd_half_step *step, const struct hd_half_order *order,
            struct hd_half_output *out, struct hd_error *err);

enum { HD_STEP_DONE = 0, HD_STEP_NOT_OURS = 1 };
/* HD_STEP_DONE: *out is filled. HD_STEP_NOT_OURS: no unit of this kind is owned, or a row's
 * sequence is lost: nothing is to be sent. Or an error of hd_half. */
int hd_node_step(struct hd_node *n, const struct hd_half_step *step, struct hd_half_output *out,
                 struct hd_error *err);

#endif
