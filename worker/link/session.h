/* session.h - the worker's side of the session with its leader; for ever trying again.
 *
 *   PAUSED --timer--> RESOLVING --address--> CONNECTING --open, Hello--> GREETING --Welcome-->
 * JOINED ^                   |                      |                           | |
 *     +--name unknown-----+<--- on_close --------+------- ENDING <-----------+-------------------+
 *
 * Happy path: hd_session_new -> hd_session_start -> (by itself) JOINED: heartbeats are answered
 * here and at once, what needs computing goes to the crew, its replies come through
 * hd_session_reply. Failure modes, each ends in PAUSED with a growing pause: 1. the leader cannot
 * be reached; 2. the connection ends, or nothing comes over it for HD_SILENCE_MS; 3. the leader
 * sends what makes no sense, or a job fails: an Error frame says so, then the connection is
 * closed; 4. the leader refuses us: for good (another model, an unknown wire mode) -> `refused`,
 * otherwise we ask again, slowly; 5. a job failed because the device has: as 3, then `refused`;
 * 6. for want of memory: as 3, and the next Hello says how much there was.
 *
 * What the worker has outlives a session that neither it nor a wrong bit or message has ended, for
 * leader.grace_ms: the next Hello says so, and a leader that knows what to do with it goes on. One
 * of a lower term than the worker has seen is left again: it has not heard of a later one yet. */
#ifndef HD_WORKER_SESSION_H
#define HD_WORKER_SESSION_H

#include "worker/config.h"
#include "worker/crew/crew.h"

struct hd_session;

struct hd_session_options {
    uv_loop_t *loop;
    const struct hd_worker_config *config;
    const struct hd_log *log;
    const struct hd_model *model;
    struct hd_tls_context *tls; /* NULL: plaintext; borrowed until closed */
    unsigned threads;
    uint64_t speed;  /* multiply-adds a second, 0 = unknown */
    uint64_t memory; /* bytes for units */
    /* The leader will never take us, or the device has failed: nothing is tried any more. */
    void (*refused)(void *arg, const char *why);
    void (*joined)(void *arg, bool joined); /* on reaching JOINED and on leaving it; may be NULL */
    void *arg;                              /* of both */
};

/* 0 or HD_E_NOMEM. */
int hd_session_new(struct hd_session **out, const struct hd_session_options *o);
/* Only of a session that was not started. */
void hd_session_free(struct hd_session *s);
/* The first attempt begins at once. Afterwards there is only hd_session_close. */
void hd_session_start(struct hd_session *s, struct hd_crew *crew);
/* A reply of the crew (on_reply of hd_crew_options, same rules). */
void hd_session_reply(struct hd_session *s, struct hd_reply *r);
/* Asks the leader to give this worker's units to others, and goes on serving. `drained` fires once:
 * when the leader says that it is done, or the connection ends, or worker.drain_ms have passed; at
 * once when no leader is joined or there is nothing to wait for; never after hd_session_close. */
void hd_session_drain(struct hd_session *s, void (*drained)(void *arg), void *arg);
/* `closed` fires once, from the loop; the session is gone after it. */
void hd_session_close(struct hd_session *s, void (*closed)(void *arg), void *arg);

#endif
