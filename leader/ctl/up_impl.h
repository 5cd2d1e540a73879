/* up_impl.h - the running cluster, for cluster.c and client.c. */
#ifndef HD_CTL_UP_IMPL_H
#define HD_CTL_UP_IMPL_H

#include "leader/ctl/progress.h"
#include "leader/ctl/up.h"

#include <stdatomic.h>

enum up_state {
    UP_STARTING, /* waits for the leader's ports */
    UP_JOINING,  /* workers were started, waits for health */
    UP_SERVING,
    UP_STOPPING, /* waits for the children's end */
};

struct hd_up {
    const struct hd_up_options *o;
    uv_loop_t loop;
    uv_timer_t timer; /* polls, then waits for SIGKILL */
    uv_signal_t signals[2];
    uv_timer_t restarts[HD_MAX_WORKERS];
    enum up_state state;
    int status;
    char folder[PATH_MAX];
    char leader_program[PATH_MAX], worker_program[PATH_MAX];
    char socket[108];                 /* the leader's, for its workers; "": they use TCP */
    char cluster[HD_UP_LEADERS * 32]; /* the leaders' addresses for them */
    char urls[HD_UP_LEADERS * 64];
    struct up_leader {
        struct hd_child child;  /* first */
        char address[32];       /* for workers and other leaders; "": it chooses a port itself */
        char http[32], url[64]; /* "" = not known yet */
        char ports_file[PATH_MAX + 24];
        uv_timer_t restart;
    } leaders[HD_UP_LEADERS];
    unsigned n_leaders;
    unsigned serving; /* which of them */
    struct hd_child workers[HD_MAX_WORKERS];
    struct hd_progress progress;
    unsigned looks; /* for losses, since a worker ended; while it gets ready, at its progress */
    uv_thread_t client;
    bool client_running;
    uv_async_t wake;          /* the client wants something: */
    _Atomic uint64_t to_kill; /* bit i: workers[i] */
    _Atomic bool client_done;
    uint64_t killed; /* bit i: by us on purpose */
};

#define HD_UP_RESTART_MS 1000 /* who dies at once must not be started in a tight loop */

/* up_leaders.c */
void hd_up_init_leaders(struct hd_up *u);
int hd_up_start_leaders(struct hd_up *u, struct hd_error *err);
bool hd_up_leaders_listen(struct hd_up *u); /* all have written their ports */
unsigned hd_up_leaders_running(const struct hd_up *u);
void hd_up_kill_leaders(struct hd_up *u, int number);

/* One has another pid: whoever reads the ready file is to know. */
void hd_up_children_changed(struct hd_up *u);
/* Ends the children, then the loop; again: nothing, but looks whether all have ended. */
void hd_up_stop(struct hd_up *u, int status);
int hd_up_start_client(struct hd_up *u, struct hd_error *err);
void hd_up_wake(uv_async_t *a);

#endif
