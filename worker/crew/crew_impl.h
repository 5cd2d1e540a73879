/* crew_impl.h - shared by crew.c (the threads and what passes between them), jobs.c (the jobs)
 * and background.c (what is done between them).
 */
#ifndef HD_WORKER_CREW_IMPL_H
#define HD_WORKER_CREW_IMPL_H

#include "worker/crew/crew.h"
#include "worker/share/fill.h"
#include "worker/weights/supply.h"

#include <pthread.h>
#include <stdatomic.h>

/* Jobs in the order in which they came. */
struct hd_job_queue {
    struct hd_job *first, **last;
    size_t n;
};
/* Empties it, or makes an empty one; the jobs, linked by `next`, are the caller's. */
static inline struct hd_job *hd_jobs_take_all(struct hd_job_queue *q)
{
    struct hd_job *list = q->first;
    *q = (struct hd_job_queue){.last = &q->first};
    return list;
}

struct hd_crew {
    struct hd_crew_options o;
    struct hd_team *team; /* made and freed by the thread, as its leader, like the device */
    struct hd_device *device;
    struct hd_node *node;
    pthread_t thread;
    uv_async_t wake; /* replies are waiting */

    pthread_mutex_t lock; /* of everything down to `stop` */
    pthread_cond_t changed;
    struct hd_job_queue jobs;
    struct hd_job_queue arrived; /* weights, which pass by the others */
    struct hd_reply *replies, **last_reply;
    bool lost_reply; /* there was no memory for one */
    bool started;
    struct hd_error start_error; /* code < 0: the thread could not start and has ended */
    bool stop;
    bool idle;                /* the compute thread waits in take_job */
    bool lent;                /* the loop thread has what is the compute thread's own */
    uint64_t sleeps_until_us; /* of the compute thread, while idle */

    _Atomic uint64_t session, newest_epoch; /* of the latest job submitted */
    _Atomic uint64_t steps, busy_us, kv_bytes, log_bytes, weight_bytes;
    _Atomic uint64_t audits, scrub_rounds, scrub_clean_began_us, integrity_us;

    /* The compute thread's own, or the loop thread's while `lent`: */
    unsigned quick_us[HD_UNIT_KINDS]; /* what the last half-step of few rows took; 0: none yet */
    uint64_t epoch;                   /* of the assignment in force */
    uint64_t joined;                  /* the session that it has joined */
    struct hd_fill *fill;
    struct hd_pace pace;
    struct hd_untold *untold; /* found while there was no session, the latest first (scrub.c) */
    unsigned n_untold;
    bool short_of_memory;     /* that is how the session ends: nothing is kept */
    bool hold_pending;        /* there may be a slice to do */
    bool hold_worked;         /* some were done: the file's pages may have been read */
    bool audit_pending;       /* ... of an audit */
    uint64_t hold_us;         /* neither before this */
    struct hd_supply *supply; /* where weights come from */
    bool look_ahead;          /* there may be pieces to fetch before they are needed */
    bool told_complete;       /* in the log, with so many pieces fetched */
    uint64_t told_fetched;
    uint64_t asked_us;  /* when weights were asked for last */
    uint64_t supply_us; /* not before this again, unless a job waits */
    uint64_t fill_us;   /* when to ask the fill again; UINT64_MAX: after the next job */

    void (*closed)(void *arg);
    void *closed_arg;
};

/* crew.c: hands a reply to the loop thread, from any thread; r == NULL: there was no memory for it.
 */
void hd_crew_send(struct hd_crew *c, struct hd_reply *r);
/* A half-step was computed in this time. */
void hd_crew_note_quick(struct hd_crew *c, const Hydac__V1__Step *m, uint64_t us);

void hd_crew_free_job(struct hd_job *job);

/* The others run on the compute thread, or on the loop thread while `lent`. */

/* jobs.c */
void hd_crew_run_job(struct hd_crew *c, const struct hd_job *job);
/* Sends what was made, or gives it up when making it failed. */
void hd_crew_finish(struct hd_crew *c, struct hd_reply *r, int rc);
void hd_crew_send_error(struct hd_crew *c, uint64_t session, const struct hd_error *err);
void hd_crew_publish(struct hd_crew *c, uint64_t busy_us);

/* kept.c: says what there is of an earlier session; what cannot be said is dropped. */
void hd_crew_tell_kept(struct hd_crew *c);

/* integrity.c */
void hd_crew_do_self_test(struct hd_crew *c, const struct hd_job *job);
void hd_crew_do_audit(struct hd_crew *c, const struct hd_job *job);
void hd_crew_run_audit(struct hd_crew *c); /* one slice */

/* arrivals.c */
int hd_crew_new_supply(struct hd_crew *c); /* 0 or HD_E_NOMEM */
/* HD_JOB_DIGESTS. Weights that a leader of before had other digests of are dropped. */
void hd_crew_learn_digests(struct hd_crew *c, const struct hd_job *job);
void hd_crew_take_arrived(struct hd_crew *c);
/* Another session: nothing is on the way. */
void hd_crew_forget_supply(struct hd_crew *c);
/* When there are weights to ask for beside the jobs, and asking for them. */
uint64_t hd_crew_supply_at(const struct hd_crew *c);
void hd_crew_run_supply(struct hd_crew *c);
/* These units are what is kept before all others. */
void hd_crew_want(struct hd_crew *c, const struct hd_assignment *a);
void hd_crew_log_weights(const struct hd_crew *c, const struct hd_supply_totals *before);

/* background.c */
/* A job was done: there may be work. */
void hd_crew_wake_background(struct hd_crew *c);
/* When there is work; UINT64_MAX: not before the next job. */
uint64_t hd_crew_background_at(const struct hd_crew *c);
/* One slice. */
void hd_crew_background(struct hd_crew *c);
/* LogState of sequences (a mask). */
void hd_crew_send_log_state(struct hd_crew *c, uint64_t sequences, bool complete);

/* scrub.c */
/* The node is to say what it finds damaged: a Damage, and for a log a LogState. */
void hd_crew_watch_findings(struct hd_crew *c, struct hd_node_options *o);
/* A session begins; before that what the last one has left is looked at. */
void hd_crew_begin_scrub(struct hd_crew *c);
void hd_crew_end_scrub(struct hd_crew *c);
void hd_crew_forget_untold(struct hd_crew *c);
/* When the compute thread is to wake for a slice. */
uint64_t hd_crew_scrub_at(const struct hd_crew *c);
/* A slice, if one is due. */
void hd_crew_run_scrub(struct hd_crew *c);
/* Something is to be repaired before the next job; doing so, on the compute thread. */
bool hd_crew_must_repair(const struct hd_crew *c);
void hd_crew_run_repair(struct hd_crew *c);

#endif
