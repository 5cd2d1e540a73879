/* session_impl.h - shared by session.c (the connection) and frames.c (what comes over it). */
#ifndef HD_WORKER_SESSION_IMPL_H
#define HD_WORKER_SESSION_IMPL_H

#include "common/net/busy_poll.h"
#include "common/util/silence.h"
#include "worker/link/check.h"
#include "worker/link/session.h"
#include "worker/link/dial.h"

enum session_state { PAUSED, RESOLVING, CONNECTING, GREETING, JOINED, ENDING };

struct hd_session {
    struct hd_session_options o;
    struct hd_crew *crew; /* borrowed */
    struct hd_units units;
    enum session_state state;
    struct hd_conn *conn; /* CONNECTING to ENDING */
    struct hd_dial dial;
    uv_timer_t timer; /* PAUSED: when to try again; later: when to look how long it is silent */
    uint64_t look_due_us;
    struct hd_silence silence; /* the leader's */
    uint64_t number;           /* which session it is: jobs of an older one are dropped */
    uint64_t epoch;            /* newest announced by the leader */
    uint64_t term;             /* the highest of a leader that has let us in */
    bool worked;               /* the session in hand was JOINED */
    bool forgets;              /* this session ends so that nothing is to be gone on with */
    bool kept;                 /* the crew has something for the next one, until: */
    uv_timer_t grace_timer;
    struct hd_check check;
    bool refused;
    struct hd_busy_poll busy_poll;
    uv_timer_t drain_timer;     /* when to leave though the leader has not said so */
    void (*drained)(void *arg); /* NULL: not draining */
    void *drained_arg;
    bool closing;
    unsigned handles; /* not closed yet */
    void (*closed)(void *arg);
    void *closed_arg;
};

/* session.c */
void hd_session_set(struct hd_session *s, enum session_state to);
/* Tell the leader what is wrong and end the connection. */
void hd_session_break_off(struct hd_session *s, const struct hd_error *err);

/* The end of draining, if there is any; `why` is for the log. */
void hd_session_drained(struct hd_session *s, const char *why);

/* frames.c */
int hd_session_hello(struct hd_session *s);
/* Takes any frame, and frees it. */
void hd_session_frame(struct hd_session *s, struct hd_frame *f);

#endif
