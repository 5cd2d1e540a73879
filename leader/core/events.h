/* events.h - what goes into the core and what comes out of it. Both carry their data: which member
 * of the union is set stands beside each type, and nobody has to look it up in the core's state.
 * Pure. */
#ifndef HD_CORE_EVENTS_H
#define HD_CORE_EVENTS_H

#include "common/net/frame.h" /* names, and the reject codes */
#include "leader/core/holds.h"

/* ---- Events ---------------------------------------------------------------------------------*/
enum hd_event_type {
    HD_EV_HELLO,       /* hello: a connection introduced itself */
    HD_EV_CLOSED,      /* the connection of `slot` ended */
    HD_EV_ACK,         /* ack: slot answers a heartbeat */
    HD_EV_KV_RESULT,   /* kv: slot has taken over, or is ready to */
    HD_EV_RESULT,      /* result: a StepResult of slot came */
    HD_EV_BROKE_RULES, /* slot sent what makes no sense: cut it off */
    HD_EV_GAVE_UP,     /* slot said that it cannot go on: likewise */
    HD_EV_TICK,        /* late_us; about every heartbeat interval */
    HD_EV_SEQ_OPEN,    /* sequence */
    HD_EV_SEQ_FORK,    /* fork: opened with the first rows of another one */
    HD_EV_SEQ_KEPT,    /* sequence: no request needs it any more, its rows stay for others */
    HD_EV_SEQ_TAKEN,   /* sequence: that was kept; a request goes on with it */
    HD_EV_SEQ_CUT,     /* cut: its rows behind are not what follows; none of it is in hand */
    HD_EV_SEQ_CLOSE,   /* sequence; those that have begun with its rows are closed already */
    HD_EV_HALF,        /* half: the engine wants it done */
    HD_EV_STEP_DONE,   /* the engine ended the step: its rows are now committed */
    HD_EV_REPLAYED,    /* sequences: the engine has abandoned the step in hand, these start again at
                        * 0: those of HD_ACT_REPLAY, or none when it gave up a step by itself */
    HD_EV_LOG_STATE,   /* log: of slot */
    HD_EV_FETCH,       /* fetch: slot lacks rows (requester is not looked at) */
    HD_EV_ROWS,        /* fetch: slot answers one, with the count that it sends */
    HD_EV_WEIGHTS,     /* slot asks for weights: it gets on with what it is to load */
    HD_EV_DRAIN,       /* drain: slot is to own nothing, or may again */
    HD_EV_REBALANCE,   /* level the load, now that nobody fails */
    HD_EV_MODEL_KNOWN, /* what workers load can be checked, and all who have joined know how */
    HD_EV_SELF_TEST,   /* digest: slot's answer to the self test */
    HD_EV_AUDIT,       /* audit: slot's answer to one */
    HD_EV_DAMAGE,      /* damage: something of slot's own was not what it had been */
    HD_EV_SEQ_ADOPT, /* adopt: workers that have lost their leader have these rows; as SEQ_OPEN and
                      * SEQ_KEPT; or again, with fewer; of one that a request runs on: they have
                      * what it is to have, as far as is known. Only while the cluster waits */
    HD_EV_KEPT,      /* kept: of slot, that is all */
};

/* Rows of positions below `shared` of a sequence are those of its parent, which is live as long as
 * it is. A whole number of blocks, more than the parent itself shares. */
struct hd_fork {
    uint32_t sequence, parent, shared;
};

/* Rows of positions from `positions` on are given up. Not fewer than it shares, or share it. */
struct hd_seq_cut {
    uint32_t sequence, positions;
};

struct hd_hello_info {
    uint64_t conn; /* the daemon's name for the connection */
    const char *name;
    uint64_t model_digest;
    uint64_t log_limit_bytes;
    uint32_t threads;
    uint64_t memory_bytes;        /* of the machine; 0 = unknown */
    uint64_t multiply_adds_per_s; /* measured by the worker; 0 = unknown */
    uint64_t epoch;               /* the newest that it was told, by whatever leader */
    bool kept; /* it has kept something of an earlier connection: HD_EV_KEPT follows */
};
/* Rows that workers have kept. */
struct hd_adopt_info {
    uint32_t sequence, base;
    uint32_t parent, shared; /* as in hd_fork; shared 0: nothing */
};
struct hd_kept_info {
    const uint32_t *units[HD_UNIT_KINDS]; /* that it owned */
    size_t n[HD_UNIT_KINDS];
    const uint32_t *held[HD_UNIT_KINDS]; /* that it held besides */
    size_t n_held[HD_UNIT_KINDS];
    const uint32_t *bare; /* those of the held heads whose K/V it did not keep */
    size_t n_bare;
    uint64_t covers; /* sequences that its log has all of */
};
struct hd_ack_info {
    uint64_t seq, sent_us;
};
/* Of all rows that the assignment needs of this sequence and head. */
struct hd_kv_digest {
    uint32_t sequence, head;
    uint64_t digest;
};
struct hd_kv_info {
    uint64_t epoch, round; /* round: of the HD_ACT_PREPARE that it answers; 0: of HD_ACT_ASSIGN */
    uint64_t rows_rebuilt, rows_kept, positions, bytes, weights_us, rebuild_us, flops;
    const uint32_t *heads; /* newly owned */
    size_t n_heads;
    const uint32_t *ready; /* those of them that had all their rows */
    size_t n_ready;
    const uint32_t *gaps; /* sequences */
    size_t n_gaps;
    const struct hd_kv_digest *digests;
    size_t n_digests;
};
struct hd_result_info {
    uint64_t epoch, step;
    enum hd_half half;
    uint32_t layer;
    unsigned group;
    uint64_t bytes, compute_us; /* payload there and back; time the worker computed */
    uint64_t flops;             /* multiply-adds x 2 it took */
    /* Called, if the result is awaited, before anything changes in the core: adds it up. `audit` is
     * the round that the half-step is audited in, 0: none; then *digest, which is 0, may be set to
     * what others' answers are compared with. < 0: the result makes no sense, its sender is cut
     * off. It gives the core no events. NULL: there is nothing to add. */
    int (*use)(void *arg, uint64_t audit, uint64_t *digest);
    void *arg;
};
struct hd_half_info {
    uint64_t step;
    enum hd_half half;
    uint32_t layer;
    unsigned group, groups;         /* of so many, 0 = 1; LOGITS is of all rows, in one group */
    const struct hd_seq_rows *rows; /* the group's by sequence */
    size_t n_rows;
    bool drafted; /* some of them may be cut when the step is done */
};
struct hd_log_info {
    uint32_t sequence;
    bool complete; /* the log holds the sequence from the start */
    bool again;    /* it does not, but it can be completed */
};
/* Rows of an input log that one worker lacks and another has. */
struct hd_fetch {
    uint64_t
        id; /* towards the requester its own; towards the source, the core's: a worker that
             * comes back may count from 1 again while a slow source still answers the old one */
    unsigned requester; /* slot */
    uint32_t sequence, layer, position, count;
};
struct hd_drain_info {
    bool on;
    bool leaving; /* it asks itself, to stop */
};
struct hd_audit_info {
    uint64_t number; /* of HD_ACT_AUDIT */
    bool cannot;     /* it has not what it takes */
    uint64_t digest;
};
/* What a worker found (proto's Damage), as far as the core has to know. */
struct hd_damage_info {
    bool memory;       /* weights, K/V or log in its memory: such a machine may be failing */
    bool replay;       /* the sequence cannot be mended there: it is to start again */
    uint32_t sequence; /* with replay */
};

struct hd_event {
    enum hd_event_type type;
    uint64_t now_us;
    unsigned slot; /* whose it is: of all that workers send, but for HELLO */
    union {
        struct hd_hello_info hello;
        struct hd_ack_info ack;
        struct hd_kv_info kv;
        struct hd_result_info result;
        uint64_t late_us; /* TICK: how late the loop was */
        uint32_t sequence;
        struct hd_fork fork;
        struct hd_seq_cut cut;
        struct hd_half_info half;
        uint64_t sequences; /* mask of sequence numbers */
        struct hd_log_info log;
        struct hd_fetch fetch;
        struct hd_drain_info drain;
        uint64_t digest;
        struct hd_audit_info audit;
        struct hd_damage_info damage;
        struct hd_adopt_info adopt;
        struct hd_kept_info kept;
    };
};

/* ---- Actions --------------------------------------------------------------------------------*/
enum hd_action_type {
    HD_ACT_WELCOME,      /* conn got slot */
    HD_ACT_REJECT,       /* reject */
    HD_ACT_CLOSE,        /* close: cut off the connection of slot */
    HD_ACT_HEARTBEAT,    /* to slot: seq, now */
    HD_ACT_PREPARE,      /* assign: to slot, as ASSIGN, under the present epoch and with a round:
                          * what it owns stays, what it is to hold it makes ready beside the
                          * running steps; the answer is a KvResult with the round */
    HD_ACT_ASSIGN,       /* assign: to slot, what it owns and holds from `epoch` on */
    HD_ACT_SEQ_OPEN,     /* to slot: sequence (a worker that joined later hears of live ones only
                          * when they are opened after it joined) */
    HD_ACT_SEQ_FORK,     /* to slot: fork */
    HD_ACT_SEQ_CUT,      /* to slot: cut */
    HD_ACT_SEQ_CLOSE,    /* to slot: sequence */
    HD_ACT_FORGET,       /* engine: close these sequences; they are kept, and none that a request
                          * needs has begun with their rows. No orders speak of them any more */
    HD_ACT_SEND_HALF,    /* to slot: the half-step in hand of group, under `epoch` */
    HD_ACT_RESET_HALF,   /* engine: forget what was summed up of the half-step in hand of group */
    HD_ACT_DROP_RESULT,  /* the result in hand is of an old epoch or a duplicate: it was not used */
    HD_ACT_HALF_DONE,    /* engine: all partials of group's half-step are in */
    HD_ACT_READY,        /* cluster serves (again) */
    HD_ACT_NOT_READY,    /* cluster cannot serve now */
    HD_ACT_REPLAY,       /* engine: run these sequences again from position 0; answer HD_EV_REPLAYED
                          * before the next action is carried out */
    HD_ACT_WORKER_STATE, /* for the log: slot changed to member.state (member.cause) */
    HD_ACT_FORGOTTEN,    /* for the log: slot is empty again, it was `name`'s */
    HD_ACT_FAILOVER,     /* failover: a recovery ended */
    HD_ACT_FILL,         /* fill: to slot, complete the logs of these sequences */
    HD_ACT_FETCH,        /* fetch: to slot, send these rows of your log */
    HD_ACT_ROWS,         /* fetch: to slot, the rows in hand (HD_EV_ROWS) are for it */
    HD_ACT_NO_ROWS,      /* fetch: to slot, nobody has the rows it asked for */
    HD_ACT_DRAINED,      /* to slot: nothing more is wanted of it, it may go */
    HD_ACT_PACE,         /* pace, for the log: slot has become slow, or is well again */
    HD_ACT_SELF_TEST,    /* to slot: the known answer test */
    HD_ACT_AUDIT,        /* audit: to slot */
    HD_ACT_AUDITED,      /* `round` is over: what was kept of it can go */
    HD_ACT_ROWS_DIFFER,  /* rows: slot and another have computed other K/V rows of the same */
    HD_ACT_DIFFER,       /* differ, for the log: slot has other bits than another */
    HD_ACT_WRONG,        /* wrong: slot's worker computed wrong bits: end requests that have heard
                          * anything since since_us; those that stay are replayed next */
    HD_ACT_DOUBT,        /* doubt: slot and another contradict each other and nobody can say who is
                          * right: end all requests that are being computed */
    HD_ACT_FAILING,      /* for the log: slot is drained, for its memory was damaged again and
                          * again */
    HD_ACT_BUG,          /* bug, for the log: what must not happen, and was refused */
};

struct hd_seq_need {
    uint32_t sequence, base;          /* positions committed, with those that are shared */
    uint32_t parent, shared;          /* as in hd_fork; shared 0: nothing */
    uint32_t inflight[HD_MAX_GROUPS]; /* rows of each group in the step in hand */
    bool replayed; /* drop what there is of it, need nothing: it starts again from position 0. Said
                    * until every worker has confirmed it */
};
/* What ASSIGN, PREPARE and FILL say to all whom they are for. A sequence that an HD_ACT_REPLAY
 * before them is for stands there as it is when that was carried out. */
struct hd_orders {
    struct hd_plan plan;                        /* who owns what */
    struct hd_holds hold;                       /* who is to hold what besides */
    struct hd_seq_need needs[HD_MAX_SEQUENCES]; /* of the live sequences */
    size_t n_needs;
    uint32_t layers_done[HD_MAX_GROUPS]; /* the first so many layers need a group's rows as well */
};

struct hd_action {
    enum hd_action_type type;
    unsigned slot;
    uint64_t epoch; /* the present one when it was decided */
    union {
        uint64_t conn;
        struct {
            uint64_t conn;
            unsigned code;    /* enum hd_reject */
            const char *text; /* static */
        } reject;
        struct {
            unsigned code;
            const char *text; /* say it in a Reject first; static; NULL: nothing is said */
        } close;
        uint64_t seq;
        struct {
            const struct hd_orders *all; /* until hd_actions_clear */
            uint64_t round;              /* PREPARE: of the move */
            bool clear;                  /* ASSIGN: drop all K/V first */
        } assign;
        uint32_t sequence;
        struct hd_fork fork;
        struct hd_seq_cut cut;
        unsigned group;
        uint64_t sequences; /* mask of sequence numbers */
        struct {
            enum hd_worker_state state;
            enum hd_loss_cause cause; /* OFFLINE */
        } member;
        char name[HD_NAME_MAX + 1];
        struct hd_failover failover;
        struct {
            const struct hd_orders *all; /* its needs, as far as they are of: */
            uint64_t sequences;
        } fill;
        struct hd_fetch fetch;
        struct {
            enum hd_pace pace;
            double slowness, share;
        } pace;
        struct {
            uint64_t number;  /* the question's */
            uint64_t round;   /* what is audited: this half-step's answer ... */
            unsigned subject; /* ... of this slot */
            bool again;       /* use nothing that was kept */
        } audit;
        uint64_t round;
        struct {
            unsigned subject;   /* a slot */
            uint64_t sequences; /* whose answers may be wrong */
        } rows;
        struct {
            unsigned subject; /* a slot */
            uint64_t round;
        } differ;
        struct {
            char name[HD_NAME_MAX + 1];
            uint64_t since_us; /* what was computed before then was confirmed */
        } wrong;
        struct {
            unsigned subject;
            uint64_t since_us; /* likewise */
        } doubt;
        char bug[64];
    };
};

/* Grows; owned by the caller. */
struct hd_actions {
    struct hd_action *list;
    size_t n, cap;
    struct hd_orders **orders; /* what they refer to; made once, used again and again */
    size_t n_orders, cap_orders;
};
void hd_actions_clear(struct hd_actions *a); /* all are carried out */
void hd_actions_deinit(struct hd_actions *a);

#endif
