/* fake_leader.h - a leader that does what a test says, and one real worker, on one loop. */
#ifndef HD_TESTS_WORKER_FAKE_LEADER_H
#define HD_TESTS_WORKER_FAKE_LEADER_H

#include "common/net/conn.h"
#include "hydac.pb-c.h"
#include "rig.h"
#include "worker/worker.h"

#define FAKE_FRAMES 64

struct fake_leader {
    uv_loop_t loop;
    uv_tcp_t listener;
    struct hd_conn *conn;                /* the worker's, NULL when there is none */
    unsigned joins;                      /* connections so far */
    const char *garbage;                 /* sent instead of accepting the next connection */
    struct hd_frame frames[FAKE_FRAMES]; /* received, not yet taken */
    size_t n_frames;
    char refused[256]; /* what the worker was told when refused for good */
    bool worker_closed;

    char dir[64];
    struct hd_worker_config config;
    struct hd_log log;
    struct hd_worker *worker;
    struct rig *rig;
    uint32_t group; /* of the Steps that fake_step sends, as is the next */
    uint32_t layer;
    const uint32_t *tokens; /* of rows of layer 0; NULL: not said */
    uint64_t term;          /* of the Welcome; the Hello's is put there */
    bool old_term;          /* of the next Welcome: one less than the worker's */
    bool kept;              /* what the latest Hello said */
    uint32_t audit_every;   /* of the Welcome */
};

/* Starts both; the model and the activations are those of `r`, which must outlive it. */
void fake_start(struct fake_leader *f, struct rig *r);
struct fake_options {
    uint64_t log_limit; /* 0: the default */
    uint64_t drain_ms;
    bool no_log;
};
void fake_start_with(struct fake_leader *f, struct rig *r, const struct fake_options *o);
void fake_stop(struct fake_leader *f);

/* Runs the loop until a frame is there, and takes it: it must be of this type. The caller unpacks
 * it and clears it. */
struct hd_frame fake_take(struct fake_leader *f, int type);
/* Runs the loop until the worker's connection has ended. */
void fake_wait_gone(struct fake_leader *f);
void fake_send(struct fake_leader *f, int type, const ProtobufCMessage *m, const void *payload,
               size_t len);

/* Hello -> Welcome with the rig's sizes and this epoch, and the digests of its model. */
void fake_welcome(struct fake_leader *f, uint64_t epoch);
void fake_welcome_only(struct fake_leader *f, uint64_t epoch);
/* The digests; so many of them are not those of the rig's model. */
void fake_digests(struct fake_leader *f, size_t others);
/* AssignHeads of every unit; `need` may be NULL. Does not wait for the answer. */
void fake_assign_all(struct fake_leader *f, const struct rig *r, uint64_t epoch,
                     Hydac__V1__SequenceNeed *need);
/* Audit of such a half-step, of all units; `fresh` or not. */
void fake_audit(struct fake_leader *f, const struct rig_rows *rows, Hydac__V1__Half half,
                bool fresh);
void fake_step(struct fake_leader *f, const struct rig_rows *rows, uint64_t epoch,
               Hydac__V1__Half half);

#endif
