/* crew.h - the compute thread: jobs in from the loop thread, replies back to it, both in order.
 *
 * Happy path: hd_crew_new -> hd_crew_submit ... -> on_reply on the loop thread ... -> hd_crew_close
 * -> closed. The thread leads the compute team and owns the node; the loop thread never waits for
 * it, except in hd_crew_close for the job in hand.
 *
 * One exception: a half-step of a few rows that took less than five milliseconds the last time is
 * computed by the loop thread, within hd_crew_submit, if the compute thread has nothing to do then
 * (on_reply comes from there). That spares a decode step two wakings a half-step, and delays a
 * heartbeat (50 ms apart) by no more than a busy machine's scheduler does.
 *
 * Jobs belong to a session (one connection, from Welcome to its end). Jobs and replies of an
 * earlier one are dropped unseen. A step of an epoch before the newest assignment that the loop
 * thread has submitted is not computed any more; its inputs are logged all the same, since the
 * assignment behind it in the queue may count on them.
 *
 * Between the jobs the thread does what nobody waits for: slices of what is to be held
 * (share/hold.h), audits of what others have answered (trust/audit.h), and completing the input log
 * (share/fill.h); paced (share/pace.h), so that a job waits for one slice at most.
 *
 * Between two jobs, too, comes a slice of looking whether memory is what it was (trust/scrub.h,
 * scrub.c); what is found is repaired before the next job.
 *
 * An assignment may have to wait for weights that come from the leader (arrivals.c): they pass by
 * the queue; the wait ends with the session, or when the crew is closed.
 *
 * Failure modes: 1. a job or a slice fails: a reply of type HD_FRAME_ERROR, after which the
 * session is to be ended; 2. out of memory for a reply: on_reply with NULL, likewise. */
#ifndef HD_WORKER_CREW_H
#define HD_WORKER_CREW_H

#include "common/net/frame.h"
#include "worker/crew/reply.h"

#include <uv.h>

struct hd_crew;

struct hd_crew_options {
    uv_loop_t *loop;
    const struct hd_model *model;
    const struct hd_log *log;
    const char *state_dir;
    uint64_t log_limit;
    bool keep_log;
    const struct hd_device_kind *device;
    const char *where; /* of its kind */
    unsigned threads;
    enum hd_isa isa;
    struct hd_weights_cache *cache; /* what comes from the leader is kept there; or NULL */
    void (*on_reply)(void *arg, struct hd_reply *r); /* r is freed afterwards; NULL: see above */
    void *arg;
};

enum hd_job_type {
    HD_JOB_JOIN,      /* sizes, epoch, kept: a session begins; kept: what there is of another one is
                       * told, and gone on with if the sizes are the same */
    HD_JOB_LEAVE,     /* it has ended; kept: the next one may go on with what there is */
    HD_JOB_DROP,      /* sequence, share, scope: opened anew, or closed */
    HD_JOB_CUT,       /* sequence, positions: of these rows it keeps */
    HD_JOB_TOKENS,    /* message, frame's payload: SequenceTokens */
    HD_JOB_ASSIGN,    /* message */
    HD_JOB_HOLD,      /* message: an AssignHeads with a round */
    HD_JOB_STEP,      /* message, frame's payload */
    HD_JOB_FILL,      /* message: FillLog */
    HD_JOB_FETCH,     /* message: the leader asks for rows of the log */
    HD_JOB_ROWS,      /* message, frame's payload */
    HD_JOB_STATS,     /* id */
    HD_JOB_AUDIT,     /* message, frame's payload */
    HD_JOB_SELF_TEST, /* id: the seed */
    HD_JOB_WEIGHTS,   /* message, frame's payload: passes by the others */
    HD_JOB_DIGESTS,   /* message, frame's payload */
};

struct hd_job {
    enum hd_job_type type;
    uint64_t session;
    uint64_t epoch; /* JOIN, ASSIGN, STEP */
    struct hd_node_sizes sizes;
    uint32_t sequence, positions;
    struct hd_kv_share share;
    uint64_t scope;
    bool kept; /* JOIN, LEAVE */
    uint64_t id;
    ProtobufCMessage *message; /* owned by the job, checked */
    struct hd_frame frame;     /* likewise */
    struct hd_job *next;
};

/* Since the start; for HeartbeatAck. */
struct hd_crew_totals {
    uint64_t steps, busy_us, kv_bytes, log_bytes, weight_bytes;
    uint64_t audits, scrub_rounds, integrity_us;
    uint64_t scrub_clean_began_us; /* the last round that found nothing; 0: there was none */
};

int hd_crew_new(struct hd_crew **out, const struct hd_crew_options *o, struct hd_error *err);
/* The job passes to the crew. 0, or HD_E_NOMEM, HD_E_LIMIT (too many wait: the leader does not
 * follow the protocol); then the job's message and frame are freed too. */
int hd_crew_submit(struct hd_crew *c, const struct hd_job *job);
void hd_crew_totals(const struct hd_crew *c, struct hd_crew_totals *t);
/* Ends the thread after the job in hand; `closed` fires once, from the loop, and the crew is gone
 * after it. */
void hd_crew_close(struct hd_crew *c, void (*closed)(void *arg), void *arg);

#endif
