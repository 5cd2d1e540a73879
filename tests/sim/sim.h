/* sim.h - a cluster in virtual time: the real core, a model engine, model workers, a network that
 * delays, stops and breaks.
 *
 * The model computes with 64-bit integers that wrap, where the real system computes with vectors:
 * a unit's partial is a hash of its input (a head's also of the K/V rows of all positions so far),
 * partials are summed, a token is a hash of the sum. So a K/V row that is missing, stale or counted
 * twice shows as a wrong token. Everything random comes from the seed. */
#ifndef HD_TESTS_SIM_H
#define HD_TESTS_SIM_H

#include "leader/core/core.h"

#define SIM_WORKERS   6
#define SIM_SEQUENCES 6
#define SIM_RUNNING   4 /* at once; the others are kept */
#define SIM_LAYERS    2
#define SIM_HEADS     5 /* at most */
#define SIM_POSITIONS 24
#define SIM_ROWS      6 /* of a step */
#define SIM_REQUESTS  8
#define SIM_CONNS     4096
#define SIM_LEADERS   3

/* ---- Messages ----*/
enum sim_msg_type {
    MSG_HELLO,
    MSG_WELCOME,
    MSG_REJECT,
    MSG_HEARTBEAT,
    MSG_ACK,
    MSG_ASSIGN,
    MSG_KV,
    MSG_OPEN,
    MSG_CLOSE,
    MSG_CUT,
    MSG_STEP,
    MSG_RESULT,
    MSG_FILL,
    MSG_LOG_STATE,
    MSG_FETCH,
    MSG_ROWS,
    MSG_DRAIN,
    MSG_DRAINED,
    MSG_SELF_TEST,
    MSG_TESTED,
    MSG_AUDIT,
    MSG_AUDITED,
    MSG_DAMAGE,
    MSG_TOKENS, /* of a sequence, either way */
    MSG_KEPT,
    MSG_FIN, /* the connection ends */
};
struct sim_row {
    uint32_t sequence, position;
    uint64_t x; /* input; in a RESULT: the partial sum */
};
struct sim_msg {
    enum sim_msg_type type;
    uint64_t conn;
    uint64_t epoch, seq, sent_us, step;
    enum hd_half half;
    unsigned group;
    uint32_t layer, sequence;
    uint64_t units[HD_UNIT_KINDS]; /* masks: assigned; in a RESULT: summed up */
    uint64_t hold[HD_HOLD_KINDS];  /* ASSIGN: held besides; KV: [HD_UNIT_HEAD] = ready */
    uint64_t round;
    struct hd_fetch fetch; /* FETCH, ROWS; ROWS: the rows are in `rows` */
    bool complete;         /* LOG_STATE; DAMAGE: of memory, else a sequence is to be replayed */
    uint64_t digest;       /* TESTED, AUDITED */
    bool again, cannot;    /* AUDIT; AUDITED */
    bool clear;
    uint32_t positions;  /* CUT: that stay */
    struct hd_fork fork; /* OPEN; shared 0: it begins with nothing */
    struct hd_seq_need needs[SIM_SEQUENCES];
    size_t n_needs;
    uint32_t layers_done[HD_MAX_GROUPS];
    uint64_t gaps, rows_rebuilt, rows_kept;     /* KV; its heads are units[HD_UNIT_HEAD] */
    uint64_t digests[SIM_SEQUENCES][SIM_HEADS]; /* KV: of the rows that are needed; 0: not all */
    struct sim_row rows[SIM_ROWS];
    size_t n_rows;
    uint64_t term;                  /* HELLO, WELCOME */
    bool kept;                      /* HELLO */
    uint64_t tokens[SIM_POSITIONS]; /* TOKENS, with `fork` */
    uint32_t n_tokens, logged;      /* likewise, with `positions` */
};

/* ---- Arithmetic of the model ----*/
uint64_t sim_mix(uint64_t a, uint64_t b, uint64_t c);
uint64_t sim_kv_row(uint32_t layer, uint32_t head, uint64_t x);
/* kv: rows 0 .. position of the head */
uint64_t sim_attention(uint32_t layer, uint32_t head, uint64_t x, const uint64_t *kv,
                       uint32_t position);
uint64_t sim_ffn(uint32_t layer, uint32_t block, uint64_t x);
uint64_t sim_logits(uint32_t block, uint64_t x);
uint32_t sim_token(uint64_t logits);

/* ---- A model worker ----*/
struct sim_fill {
    bool active;
    uint32_t base[SIM_LAYERS]; /* rows below are to be there */
};
/* What one worker does wrong, in silence. */
enum sim_lie {
    LIE_NEVER,
    LIE_ALWAYS,    /* all its sums are wrong */
    LIE_LATER,     /* ... from some time on */
    LIE_HALF,      /* ... of one kind of half-step */
    LIE_SOMETIMES, /* ... now and then */
    LIE_AUDITING,  /* what it says of others' */
    LIE_ROWS,      /* the K/V rows that it computes for itself, and so its sums of ATTENTION */
    LIE_TEST,      /* the known answer */
    LIE_KINDS
};
#define SIM_AUDITS 8 /* that wait at a worker */
struct sim_worker {
    enum sim_lie lie;
    bool stubborn; /* it says the same wrong thing whenever it is asked; else another one, or the
                    * truth where it is not about its own sums */
    struct sim_msg audits[SIM_AUDITS];
    unsigned n_audits;
    bool running;
    bool keeps_log;
    uint32_t log_most; /* positions that its log can hold */
    uint64_t said_gap; /* sequences of which it said that it could not */
    uint64_t conn;     /* 0: none */
    uint64_t epoch;
    uint64_t busy_until, stopped_until, blocked_until;
    uint64_t pulse_at;
    uint64_t slow_until;  /* it stands still for the most of the time ... */
    unsigned slow_times;  /* ... or, when this is not 0, takes so many times as long */
    uint64_t relieved_at; /* last; 0: it has its share */
    unsigned reliefs;
    uint64_t sent_at[2]; /* latest delivery on its connection: to the worker, to the leader */
    uint64_t owned[HD_UNIT_KINDS];
    uint64_t held[HD_UNIT_KINDS], hold[HD_HOLD_KINDS]; /* weights that are there; to be held */
    uint64_t round;                                    /* that is to be answered; 0: none */
    struct sim_msg prepare;                            /* the message that began it */
    struct hd_fork shares[SIM_SEQUENCES]; /* rows that are another one's; shared 0: none */
    uint64_t kv[SIM_SEQUENCES][SIM_LAYERS][SIM_HEADS][SIM_POSITIONS];
    uint32_t valid[SIM_SEQUENCES][SIM_LAYERS][SIM_HEADS];
    uint64_t log[SIM_SEQUENCES][SIM_LAYERS][SIM_POSITIONS];
    uint32_t logged[SIM_SEQUENCES][SIM_LAYERS]; /* rows 0 .. logged - 1 */
    uint32_t tail[SIM_SEQUENCES][SIM_LAYERS];   /* first row behind a gap; SIM_NO_TAIL: none */
    uint32_t tail_end[SIM_SEQUENCES][SIM_LAYERS];
    struct sim_fill fill[SIM_SEQUENCES];
    unsigned leader;         /* the one of its connection, or that it has tried last */
    uint64_t term, heard_at; /* the highest of a leader; when anything came from it */
    bool worked;             /* the connection in hand has got so far */
    bool goes_on;            /* ... and has not assigned anything yet, but owns something */
    bool kept;               /* there is something of a session before this one, until: */
    uint64_t kept_until;
    uint64_t tokens[SIM_SEQUENCES][SIM_POSITIONS]; /* whose rows they are */
    uint32_t n_tokens[SIM_SEQUENCES];
    uint64_t fetch_id; /* of the fetch under way; 0: none */
    uint32_t fetch_sequence;
    uint64_t next_id;
};
#define SIM_NO_TAIL UINT32_MAX

/* ---- A model engine ----*/
struct sim_request {
    uint64_t seed;
    uint32_t n_prompt, n_want;            /* tokens of the prompt, of the answer */
    uint32_t tokens[SIM_POSITIONS + 1];   /* prompt, then the answer so far */
    uint32_t expected[SIM_POSITIONS + 1]; /* what they must be */
    uint32_t n_tokens, done;              /* positions committed */
    uint32_t sent;                        /* positions in a step that was begun */
    uint64_t lineage;                     /* sequences whose rows went into its own (a mask) */
    int sequence;                         /* -1: waits, or has ended */
    bool submitted, cancelled;
    bool guessed;  /* workers may have rows of guesses that were not right */
    unsigned ends; /* must come to 1 */
    bool wrong;    /* a token was not what it must be */
    bool failed;   /* ended with an error */
    bool named;    /* ended, and then found to be doubtful */
    uint64_t told_at, ended_at, ended_halves;
};
struct sim_step_row {
    struct sim_request *r;
    uint32_t position;
    bool sampled;
    uint32_t token; /* it is of; beyond what its request knows a guess */
    uint64_t residual, sum;
};
struct sim_group {
    enum { SIM_READY, SIM_IN_HAND, SIM_THROUGH } state;
    struct sim_step_row *rows;
    size_t n_rows;
    enum hd_half half;
    uint32_t layer;
    uint64_t summed; /* units whose partials are in */
};
/* A sequence of a request that runs, or has run. */
struct sim_branch {
    enum { SIM_FREE, SIM_RUNS, SIM_KEPT } state;
    struct sim_request *of;    /* whose tokens they are, while it RUNS */
    uint64_t x[SIM_POSITIONS]; /* ... and when it is KEPT, from then on */
    uint32_t tail; /* of an earlier leader: so many tokens are known, there may be rows of them */
    uint32_t parent, shared, done;
    uint64_t lineage;
    bool doomed; /* it is about to be closed */
};
struct sim_engine {
    struct sim_branch branches[SIM_SEQUENCES];
    struct sim_request requests[SIM_REQUESTS];
    unsigned n_requests;
    bool ready;
    struct sim_step_row rows[SIM_ROWS];
    size_t n_rows; /* 0: no step in hand */
    uint64_t step;
    struct sim_group groups[HD_MAX_GROUPS];
    unsigned n_groups, turn;
    uint64_t rows_replayed;
};

/* ---- The world ----*/
enum sim_class {
    SIM_CALM,
    SIM_ONE_DEATH,
    SIM_JITTER,
    SIM_LIAR, /* all is calm, but one computes wrong bits */
    SIM_MIXED,
    SIM_STORM,
    SIM_LIAR_STORM,
    SIM_CLASSES
};

/* What the leader keeps of an audited half-step. */
struct sim_audit {
    uint64_t round; /* 0: not in use */
    struct sim_msg step;
    uint64_t units[HD_MAX_WORKERS];
};

/* ---- Several leaders (leaders.c) ----*/

/* What a leader has that is not in hand just now, and what befalls it. */
struct sim_place {
    struct hd_core *core;
    struct hd_actions actions;
    size_t next_action;
    bool draining;
    struct sim_engine engine;
    const struct sim_msg *rows_in_hand;
    uint64_t slots[HD_MAX_WORKERS];
    uint64_t tick_due, waiting_since;
    struct sim_audit audits[HD_MAX_ROUNDS];
    bool running, standby;
    uint64_t term;
    unsigned lives;
    uint64_t stalled_until, isolated_until;
    uint64_t cut_until[SIM_WORKERS]; /* from this worker alone */
    uint64_t wanted_at;              /* a worker was refused, and nobody serves; 0: none */
};
struct sim_client {
    struct sim_request r; /* with the tokens that it has heard */
    unsigned leader;      /* that answers it; n_leaders: none */
    unsigned life;        /* ... of its */
    unsigned next;
    uint64_t heard_at;
};

struct sim_event;
struct sim {
    uint64_t seed, random;
    bool trace;
    enum sim_class kind;
    uint64_t now, order;
    struct sim_event **heap;
    size_t n_heap, cap_heap;
    struct hd_core_options options;
    struct hd_fixed_table fixed;
    unsigned n_workers; /* that there can be */
    struct hd_core *core;
    struct hd_actions actions;
    size_t next_action;
    bool draining;
    struct sim_engine engine;
    const struct sim_msg *rows_in_hand; /* of the ROWS that is being received */
    struct sim_worker workers[SIM_WORKERS];
    uint64_t slots[HD_MAX_WORKERS]; /* connection of a slot, 0: none */
    int conn_slot[SIM_CONNS];       /* -1: no Hello yet, -2: written off */
    unsigned conn_worker[SIM_CONNS];
    uint64_t n_conns;
    uint64_t leader_stalled_until, tick_due, waiting_since;
    struct sim_audit audits[HD_MAX_ROUNDS];
    unsigned liar, lie_half; /* n_workers: none */
    uint64_t lies_from;      /* LIE_LATER */
    bool lying;              /* wrong sums may be in what is computed now */
    uint64_t halves, lie_halves,
        differed_halves; /* half-steps asked for; ... when the first lie was told */
    struct sim_place places[SIM_LEADERS];
    unsigned leader, n_leaders; /* in hand; 0 of them: there is one, which does not die */
    struct sim_client clients[SIM_REQUESTS];
    unsigned n_clients;
    unsigned conn_leader[SIM_CONNS];
    uint64_t kept_covers[SIM_CONNS];
    uint64_t grace_us;
    unsigned leader_deaths, adopted, taken_up;
    /* what happened */
    bool joined_late, all_lost, prepared, gave_up_log;
    unsigned asked, equal, blamed, doubts, ended_wrong, failing, rows_equal, rows_unequal;
    unsigned losses, forgotten, recoveries, replays, moves, fills, drained, standby_used;
    unsigned packed, loaded; /* units whose weights were not there when they were given, and were */
    unsigned drafted, accepted, cuts; /* rows; sequences that lost some */
    unsigned forks, resumed;  /* requests that began with rows of another one, went on with one's */
    unsigned evicted, forgot; /* sequences of ended ones, for a number, and otherwise */
    unsigned relieved, returned; /* for being slow; got their share back */
    unsigned pairs,
        pairs_lost; /* steps in two groups; of the second's half-steps, those asked for again */
};

void sim_fail(const struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)))
__attribute__((noreturn));
uint64_t sim_below(struct sim *s, uint64_t n);
bool sim_chance(struct sim *s, unsigned percent);

/* trace.c: `why` may be "" */
void sim_note(const struct sim *s, const char *what, unsigned slot, uint64_t n);
void sim_note_why(const struct sim *s, const char *what, unsigned slot, uint64_t n,
                  const char *why);

/* net.c */
enum sim_event_type {
    AT_LEADER, /* msg arrives at the leader */
    AT_WORKER, /* msg arrives at worker */
    EMIT,      /* worker has computed msg */
    TICK,
    SUBMIT, /* request `worker` */
    CANCEL, /* likewise */
    CONNECT,
    FAULT,
    PULSE,        /* worker, which is slow, stands still for a moment */
    BACKGROUND,   /* worker has a moment for what it prepares */
    AUDITING,     /* worker has a moment for an audit */
    OPERATOR,     /* somebody drains worker, or asks for levelling */
    HEAL,         /* the end of all faults */
    LEADER_FAULT, /* leader `worker`, as is the next */
    LEADER_STARTS,
    CLIENT,   /* request `worker`'s looks after it */
    HANGS_UP, /* ... has left leader msg.group, in its life msg.seq */
    WATCH,    /* worker looks whether its leader is there */
};
struct sim_event {
    uint64_t at, order;
    enum sim_event_type type;
    unsigned worker;
    struct sim_msg msg;
};
void sim_at(struct sim *s, uint64_t at, enum sim_event_type type, unsigned worker,
            const struct sim_msg *msg);
struct sim_event *sim_next(struct sim *s); /* NULL: nothing is left; freed by the caller */
void sim_again(struct sim *s, struct sim_event *e, uint64_t at); /* put off, order kept */
void sim_send_to_worker(struct sim *s, uint64_t conn, struct sim_msg *msg);
void sim_send_to_leader(struct sim *s, unsigned worker, struct sim_msg *msg);

/* worker.c */
void sim_worker_reset(struct sim_worker *w);
void sim_worker_connect(struct sim *s, unsigned worker);
void sim_worker_kill(struct sim *s, unsigned worker);
void sim_worker_receive(struct sim *s, unsigned worker, const struct sim_msg *msg);
void sim_worker_background(struct sim *s, unsigned worker);
void sim_worker_leave(struct sim *s, unsigned worker);           /* SIGTERM */
void sim_worker_lost(struct sim *s, unsigned worker, bool keep); /* its connection */
void sim_worker_drop(struct sim_worker *w, uint32_t sequence);
/* The compute thread takes one job after the other; the answer leaves when it is done. */
void sim_worker_emit(struct sim *s, unsigned worker, uint64_t cost, struct sim_msg *msg);
void sim_worker_wake(struct sim *s, unsigned worker); /* there is something for a quiet moment */
/* What these needs say that sequences share. */
void sim_worker_note_shares(struct sim_worker *w, const struct sim_msg *m);
/* Whose row of a position it is: the sequence's, or that of one which it shares with. */
uint32_t sim_row_owner(const struct sim_worker *w, uint32_t sequence, uint32_t position);
uint32_t sim_needed(const struct sim_msg *m, const struct hd_seq_need *need, uint32_t layer);

/* What the row gives with these units; FFN, LOGITS. */
uint64_t sim_other_half(const struct sim_msg *m, const struct sim_row *r, uint64_t units);

/* trust.c: liars, audits and damage, on both sides */
void sim_trust_options(struct sim *s);
void sim_trust_lie(struct sim *s, unsigned worker, struct sim_msg *result); /* a RESULT, told */
void sim_trust_test(struct sim *s, unsigned worker, const struct sim_msg *m);
void sim_trust_take(struct sim *s, unsigned worker, const struct sim_msg *m); /* an AUDIT */
void sim_trust_work(struct sim *s, unsigned worker);
void sim_trust_damage(struct sim *s, unsigned worker);
uint64_t sim_trust_answer(struct sim *s, unsigned slot, const struct sim_msg *result,
                          uint64_t round);
void sim_trust_act(struct sim *s, const struct hd_action *a);
bool sim_trust_event(struct sim *s, const struct sim_msg *m, struct hd_event *ev);
void sim_trust_check(struct sim *s);

/* log.c */
void sim_log_fill(struct sim *s, unsigned worker, const struct sim_msg *m);
void sim_log_take_rows(struct sim *s, unsigned worker, const struct sim_msg *m);
void sim_log_serve(struct sim *s, unsigned worker, const struct sim_msg *m);
void sim_log_say(struct sim *s, unsigned worker, uint32_t sequence, bool complete);
void sim_log_go_on(struct sim *s, unsigned worker); /* with completing it */
bool sim_log_keep(struct sim_worker *w, uint32_t layer, const struct sim_row *r);

/* branches.c: requests begin with rows that are there, and leave theirs behind */
bool sim_branch_begin(struct sim *s, struct sim_request *r); /* false: there is no number */
void sim_branch_end(struct sim *s, uint32_t sequence, bool keep);
void sim_branch_restart(struct sim *s, uint64_t sequences); /* kept ones are closed */
void sim_branch_forget(struct sim *s, uint64_t sequences);
void sim_branch_doom(struct sim *s, uint64_t sequences); /* ... soon */

bool sim_branch_has_children(const struct sim *s, uint32_t sequence);
uint64_t sim_branch_token(const struct sim_branch *b, uint32_t position);

/* adopt.c: what workers keep of a leader that is gone */
void sim_adopt_note(struct sim_worker *w, const struct sim_msg *step);
void sim_adopt_take_tokens(struct sim_worker *w, const struct sim_msg *m);
void sim_adopt_tell(struct sim *s, unsigned worker);
void sim_adopt_take(struct sim *s, unsigned slot, const struct sim_msg *m);
void sim_adopt_send_tokens(struct sim *s, uint64_t conn, uint32_t sequence);

/* leaders.c; with one leader these do nothing, and what is asked is true or 0 */
void sim_leaders_start(struct sim *s);
void sim_leaders_finish(struct sim *s);
void sim_leaders_at(struct sim *s, unsigned leader); /* this one is in hand now */
uint64_t sim_leaders_stalled(const struct sim *s, unsigned leader);
uint64_t sim_leaders_cut(const struct sim *s, unsigned leader, unsigned worker);
uint64_t sim_leaders_isolated(const struct sim *s, unsigned leader);
void sim_leaders_tick(struct sim *s);
bool sim_leaders_greet(struct sim *s, const struct sim_msg *hello); /* false: refused */
uint64_t sim_leaders_welcome(struct sim *s);                        /* the term */
void sim_leaders_fault(struct sim *s, unsigned leader);
void sim_leaders_rise(struct sim *s, unsigned leader);
bool sim_leaders_choose(struct sim *s, unsigned worker); /* false: not reached, tried again */
void sim_leaders_watch(struct sim *s, unsigned worker);
void sim_leaders_told(struct sim *s, const struct sim_request *r);
void sim_leaders_client(struct sim *s, unsigned client);
void sim_leaders_hangs_up(struct sim *s, unsigned client, const struct sim_msg *m);
bool sim_leaders_over(struct sim *s);

/* engine.c */
uint64_t sim_embed(const struct sim_request *r, uint32_t position, uint32_t token);
void sim_request_init(struct sim *s, struct sim_request *r);
void sim_engine_kick(struct sim *s);
void sim_engine_use(struct sim *s, const struct sim_msg *msg);
void sim_engine_reset_half(struct sim *s, unsigned group);
void sim_engine_half_done(struct sim *s, unsigned group);
void sim_engine_replay(struct sim *s, uint64_t mask);
void sim_engine_fail_all(struct sim *s);
void sim_engine_fail_told(struct sim *s, uint64_t since); /* 0: all that run */
/* The request's rows from `positions` on, if there are any. */
void sim_engine_cut(struct sim *s, struct sim_request *r, uint32_t sequence, uint32_t positions);
void sim_engine_cancel(struct sim *s, struct sim_request *r);
void sim_engine_fill_step(const struct sim *s, struct sim_msg *msg); /* of msg->group */

/* leader.c: what the daemon does */
void sim_leader_event(struct sim *s, struct hd_event *ev);
void sim_leader_receive(struct sim *s, const struct sim_msg *msg);
void sim_leader_tick(struct sim *s);
void sim_leader_operate(struct sim *s, unsigned worker);

#endif
