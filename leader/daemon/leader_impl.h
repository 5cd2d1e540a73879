/* leader_impl.h - the daemon's insides, shared by its own files only.
 *
 * Happy path: accept -> Hello -> core -> Welcome, AssignHeads -> KvResult -> ready; a request ->
 * engine -> half-step -> core -> Step to the workers -> StepResult -> core accepts -> engine adds
 * ->
 * ... -> token. Whatever happens becomes an event for the core, whatever the core wants is an
 * action; actions are carried out in order, in one place (actions.c), never from within another.
 *
 * Failure modes: 1. a peer is silent before its Hello, or sends garbage: cut off, nobody notices;
 * 2. a worker dies, falls silent, hangs or breaks the rules: the core recovers; 3. no worker is
 * left: requests wait, then fail; 4. out of memory in the core: the daemon stops with a message. */
#ifndef HD_DAEMON_LEADER_IMPL_H
#define HD_DAEMON_LEADER_IMPL_H

#include "common/model/piece.h"
#include "common/net/address.h"
#include "common/net/bounds.h"
#include "common/net/conn.h"
#include "common/net/busy_poll.h"
#include "common/net/tls.h"
#include "hydac.pb-c.h"
#include "leader/api/api.h"
#include "leader/core/core.h"
#include "leader/daemon/beats.h"
#include "leader/daemon/admission.h"
#include "leader/daemon/leader.h"
#include "leader/daemon/leaders.h"
#include "leader/daemon/traffic.h"
#include "leader/engine/engine.h"
#include "leader/metrics/recoveries.h"

#define HD_STATS_WAIT_MS 500 /* status does not wait longer for a worker's counters */
/* Descriptors that HTTP clients leave: for all workers and as many that are not welcomed yet, a
 * connection for weights besides each, files. */
#define HD_SPARE_FILES    (HD_MAX_WORKERS * 2 + HD_MAX_HALF_OPEN + 16)
#define HD_EVENTS         64 /* latest state changes kept for the status */
#define HD_EVENT_TEXT     256
#define HD_FAILOVERS      32                  /* latest recoveries likewise */
#define HD_EPOCHS         64                  /* latest epochs whose time of assignment is kept */
#define HD_MAX_QUEUED     (UINT64_C(1) << 30) /* bytes that may wait for a worker that reads slowly */
#define HD_MAX_REPLY_BODY (4u << 20)          /* Stats of 512 layers x heads is the largest */

/* One accepted connection. */
struct hd_peer {
    struct hd_leader *leader;
    struct hd_conn *conn;
    struct hd_peer *next;
    uint64_t id;                /* what the core calls it until it has a slot */
    uint64_t since_us;          /* accepted at */
    bool greeted;               /* said Hello */
    char software[48];          /* its name and release, printable; "" before Hello */
    bool asked_model;           /* it has none of its own */
    int slot;                   /* -1 before Welcome */
    bool forgotten;             /* written off: its frames are ignored */
    bool dropped;               /* had to make room for a newer one; gone in a moment */
    bool has_loaded;            /* its first weights */
    unsigned weights_in_flight; /* of its requests for weights, not answered yet */
    uint64_t weights_sent;      /* bytes */
    bool weights_asked;         /* it has no file, or one with other bytes */
    uint64_t wrong_pieces;      /* of its file, that it told of */
    bool kept;                  /* it is about to say what it has kept, and has not yet */
    uint64_t kept_covers;       /* sequences of that which its log has all of */
    struct hd_beat_values seen; /* from the last HeartbeatAck */
};

struct hd_state_change {
    uint64_t at_us;
    char worker[64];
    const char *state, *cause;
    char text[HD_EVENT_TEXT]; /* requests that have ended and may be wrong, "" = none */
};

struct hd_status_query;

struct hd_leader {
    struct hd_leader_options o;
    struct hd_model *model;
    struct hd_units units;
    enum hd_activations activations;
    enum hd_wire wire;
    uint32_t context; /* positions of a sequence: the config's limit, or the model's */
    struct hd_tokenizer *tokenizer; /* NULL: none that can be used */
    char no_tokenizer[512];         /* why */
    struct hd_core *core;
    struct hd_team *team; /* the engine's; NULL: none */
    struct hd_engine *engine;
    struct hd_api *api;
    struct hd_tls_context *tls; /* NULL: workers speak plaintext */

    uv_tcp_t listener;
    uv_pipe_t local_listener; /* of cluster.socket */
    uv_timer_t tick;
    struct hd_busy_poll busy_poll;
    uint64_t tick_due_us;
    unsigned handles; /* open libuv handles of our own */
    struct hd_admission admission;
    struct hd_strangers {
        uint64_t turned_away; /* connections refused since the last line about it */
        uint64_t told_us;     /* when that was */
        char last[HD_ADDRESS_TEXT];
    } strangers;
    struct hd_peer *peers; /* the latest first */
    uint64_t next_peer;
    struct hd_peer *slots[HD_MAX_WORKERS];

    struct hd_actions actions; /* pending, carried out by hd_leader_drain */
    size_t next_action;
    bool draining;
    struct hd_payload {
        struct hd_shared *bytes;
        uint64_t step;
        enum hd_half half;
        uint32_t layer;
    } payloads[HD_MAX_GROUPS];  /* of the half-steps in hand, shared by all workers */
    struct hd_shared *rows;     /* that a worker has just sent for another; during the event only */
    struct hd_digests *digests; /* of the model; filled once digests_known */
    bool digests_known;
    char
        model_digest[17]; /* of all that an answer is a function of; "" = not known, or the plan too
                           */
    _Atomic bool stop_reading; /* for the thread that makes them */
    bool has_state;            /* what they make can be kept */
    bool reading_again;        /* a file was written to: they are made once more, to compare */
    uint64_t files_checked_us;
    char changed[640];        /* the model is not what it was: why nothing is served; "" = it is */
    char doubted[640];        /* likewise, while it is read once more: it may be what it was */
    unsigned weights_jobs;    /* on the thread pool */
    double load_rate;         /* bytes of weights a second that workers load; 0 = unknown */
    uint64_t rows_replayed;   /* since the last failover report */
    uint64_t results_dropped; /* nobody waited for them: of an old epoch, or sent twice */
    uint64_t told_epoch;      /* whose plan those who watch have heard of */
    uint64_t assigned_us[HD_EPOCHS]; /* when an epoch's last assignment went to the network */
    uint64_t not_ready_since_us;     /* 0 while ready */

    struct hd_audit_record {
        uint64_t round; /* 0: not in use */
        enum hd_half half;
        uint32_t layer;
        size_t rows;
        struct hd_shared *payload;
        uint32_t *sequences, *positions, *want; /* [rows], one block with the next two */
        float *temperatures;
        uint32_t *experts; /* [rows][n_used], or NULL */
        float *weights;    /* likewise */
        int32_t *shifts;
        struct hd_audited_units {
            uint32_t *list; /* that the worker had when it answered; of LOGITS one */
            size_t n;
        } of[HD_MAX_WORKERS];
    } audits[HD_MAX_ROUNDS]; /* audited half-steps, until their audits are over */
    struct hd_leader_role role;
    struct hd_follow follow;
    struct hd_self_test_key {
        uint64_t seed, digest;
    } self_test; /* the known answer that every worker must give */
    uint64_t damages[HD_MAX_WORKERS][HD_DAMAGE_KINDS]; /* by slot, since the name in it joined */

    struct hd_state_change events[HD_EVENTS];
    uint64_t n_events;
    struct hd_failover failovers[HD_FAILOVERS];
    uint64_t n_failovers;
    struct hd_status_query *queries;
    uint64_t next_query;
    struct hd_serving serving; /* counted for GET /metrics, as are recoveries */
    struct hd_recoveries recoveries;
    struct hd_traffic traffic; /* likewise, and for the status */

    bool closing, api_closed;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* digests.c */
/* Reads them, or begins to make them; HD_EV_MODEL_KNOWN follows. */
int hd_digests_start(struct hd_leader *l, struct hd_error *err);
void hd_digests_tick(struct hd_leader *l, uint64_t now_us);
/* Why no request is taken because of the model's files; NULL: they are what they were. */
const char *hd_digests_not_ready(const struct hd_leader *l);
/* Behind its Welcome. As hd_peer_send. */
int hd_send_digests(struct hd_leader *l, struct hd_peer *p);
/* The leader's own file is not what it was: no request is taken any more. */
void hd_leader_changed(struct hd_leader *l, const char *what);
const char *hd_digests_wrong_row(void *leader, int32_t token); /* hd_engine_ops.wrong_row */
void hd_digests_wrong_piece(struct hd_leader *l, struct hd_piece_at at);

/* weights.c: for workers that have no model, or one with other bytes; the frames are the caller's
 */
/* More than these nobody needs to get all there is, twice. */
uint64_t hd_weights_max_requests(const struct hd_leader *l);
void hd_peer_model_request(struct hd_peer *p);
void hd_peer_weights_request(struct hd_peer *p, const struct hd_frame *f);

/* leader.c */
/* Frees the leader when it is closing and nothing is open any more. */
void hd_leader_maybe_closed(struct hd_leader *l);

/* costs.c: what a unit of each kind costs, by the model's matrices */
void hd_leader_unit_costs(const struct hd_leader *l, struct hd_unit_cost cost[HD_UNIT_KINDS]);
/* ... and what of a head's bytes are K/V, in all layers. */
double hd_leader_kv_bytes(const struct hd_leader *l);
/* ... and of one position. */
double hd_leader_kv_position_bytes(const struct hd_leader *l);

/* shares.c: what the workers' logs and memory have room for, and who is slow */
/* Somebody came or went, or the owners changed. */
void hd_leader_update_limits(struct hd_leader *l);
unsigned hd_leader_sequences(const struct hd_leader *l); /* that there can be, kept ones too */
/* {"positions_logged", "positions", "by"}: what bounds the live sequences; null: nothing does. */
json_t *hd_limits_json(const struct hd_leader *l);
/* Sentences about workers that limit something: for a person. */
json_t *hd_notes_json(const struct hd_leader *l);
/* What concerns one worker is added to its object. */
void hd_share_json(const struct hd_leader *l, unsigned slot, json_t *worker);

/* advice.c */
/* Of what a worker owns: bytes of weights. */
double hd_leader_owned_weights(const struct hd_leader *l, unsigned slot);
json_t *hd_advice_json(const struct hd_leader *l);
/* A worker has confirmed its assignment; the first time shows how fast it loads weights. */
void hd_advice_loaded(struct hd_leader *l, struct hd_peer *p, uint64_t weights_us);

/* frames.c */
/* A frame of a peer that is neither forgotten nor closing; the caller's. */
void hd_peer_frame(struct hd_peer *p, const struct hd_frame *f);
/* What it sent makes no sense: it is cut off, at once or by the core. */
void hd_peer_broke_rules(struct hd_peer *p, const char *why);

/* cluster.c: connections */
int hd_cluster_listen(struct hd_leader *l, const struct sockaddr *addr, struct hd_error *err);
/* On cluster.socket, if there is one. */
int hd_cluster_listen_local(struct hd_leader *l, struct hd_error *err);
void hd_cluster_check_greetings(struct hd_leader *l, uint64_t now_us);
void hd_cluster_close(struct hd_leader *l);

/* actions.c */
/* Before it has a slot: told why, and cut off. */
void hd_peer_refuse(struct hd_peer *p, unsigned code, const char *why);
/* NULL: it is gone. */
struct hd_peer *hd_peer_by_id(struct hd_leader *l, uint64_t id);
/* Give the event to the core and carry out what it wants, unless that is under way already (then
 * the actions queue up behind). */
void hd_leader_event(struct hd_leader *l, struct hd_event *ev);

/* audit.c: what is kept of audited half-steps */
/* The digest of an answer that the engine has taken, 0 if it is not audited (or cannot be). */
uint64_t hd_audit_answer(struct hd_peer *p, const struct hd_frame *f,
                         const Hydac__V1__StepResult *m, uint64_t round);
int hd_send_audit(struct hd_leader *l, struct hd_peer *p, const struct hd_action *a);
void hd_audit_forget(struct hd_leader *l, uint64_t round); /* 0: all */
void hd_peer_audit_result(struct hd_peer *p, const struct hd_frame *f);

/* kept.c: of what a worker has kept */
void hd_peer_seq_tokens(struct hd_peer *p, const struct hd_frame *f);
void hd_peer_kept(struct hd_peer *p, const struct hd_frame *f);

/* trust.c: the known answer, and what follows when somebody was wrong */
int hd_trust_init(struct hd_leader *l, struct hd_error *err);
/* Fills model_digest, once the digests are known. */
void hd_trust_name_model(struct hd_leader *l);
void hd_trust_options(const struct hd_leader *l, struct hd_trust_options *o);
/* Somebody else has taken the slot, or the same worker anew. */
void hd_trust_welcome(struct hd_leader *l, unsigned slot);
int hd_send_self_test(struct hd_leader *l, struct hd_peer *p);
void hd_peer_self_test_result(struct hd_peer *p, const struct hd_frame *f);
/* HD_ACT_ROWS_DIFFER, HD_ACT_DIFFER, HD_ACT_WRONG, HD_ACT_DOUBT, HD_ACT_FAILING */
void hd_trust_act(struct hd_leader *l, const struct hd_action *a);
/* Names in the log, and in *text ("a, b"), those requests that have ended and may be wrong. */
void hd_trust_name_ended(struct hd_leader *l, uint64_t since_us, uint32_t sequence,
                         char text[HD_EVENT_TEXT]);
json_t *hd_trust_json(const struct hd_leader *l);
json_t *hd_trust_worker_json(const struct hd_leader *l, unsigned slot,
                             const struct hd_worker_view *v);
/* An event for the status. */
struct hd_state_change *hd_leader_note(struct hd_leader *l, const char *worker, const char *state,
                                       const char *cause);

/* damage.c: a Damage frame */
void hd_peer_damage(struct hd_peer *p, const struct hd_frame *f);
const char *hd_damage_name(enum hd_damage kind);

/* messages.c: frames out; all return what hd_conn_send returns */
/* As hd_conn_send; counted once the peer has a slot. */
int hd_peer_send(struct hd_peer *p, int type, const ProtobufCMessage *m, struct hd_shared *payload);
int hd_send_welcome(struct hd_leader *l, struct hd_peer *p);
int hd_send_reject(struct hd_peer *p, unsigned code, const char *text);
int hd_send_heartbeat(struct hd_peer *p, uint64_t seq);
int hd_send_assign(struct hd_peer *p, const struct hd_action *a);
int hd_send_fill(struct hd_peer *p, const struct hd_action *a);
int hd_send_fetch(struct hd_peer *p, const struct hd_fetch *f);
int hd_send_rows(struct hd_peer *p, const struct hd_fetch *f, struct hd_shared *rows);
int hd_send_drained(struct hd_peer *p);
int hd_send_sequence(struct hd_leader *l, struct hd_peer *p, uint32_t sequence, bool open);
int hd_send_fork(struct hd_leader *l, struct hd_peer *p, const struct hd_fork *fork);
int hd_send_cut(struct hd_peer *p, const struct hd_seq_cut *cut);
/* HD_ACT_SEND_HALF */
int hd_send_half(struct hd_leader *l, struct hd_peer *p, const struct hd_action *a);
/* The units of one kind that the peer owns; *list is malloc'ed, the caller's. */
int hd_owned_units(const struct hd_plan *plan, const struct hd_peer *p, enum hd_unit_kind kind,
                   uint32_t **list, size_t *n);
/* The largest frames a worker may send, from the model. */
struct hd_frame_limits hd_worker_frame_limits(const struct hd_leader *l);

/* backend.c */
/* Listens for HTTP; what is asked there is asked of the leader. */
int hd_backend_open(struct hd_leader *l, const struct sockaddr *addr, struct hd_error *err);

/* status.c */
void hd_status_get(void *leader, void (*done)(void *arg, json_t *status), void *arg);
json_t *hd_status_overview(void *leader, bool whole); /* hd_api_backend.overview */
void hd_status_stats(struct hd_leader *l, struct hd_peer *p, const Hydac__V1__Stats *s);
void hd_status_peer_gone(struct hd_leader *l, struct hd_peer *p);
void hd_status_tick(struct hd_leader *l, uint64_t now_us);
void hd_status_close(struct hd_leader *l);

/* watch.c: what those who watch the cluster (api/feed.h) are told; cheap while there are none */
json_t *hd_watch_plan(void *leader); /* hd_api_backend.plan */
/* An assignment of this epoch goes out: the first of each is told. */
void hd_watch_epoch(struct hd_leader *l, uint64_t epoch);
void hd_watch_change(struct hd_leader *l, const char *worker, const char *state, const char *cause);
void hd_watch_ready(struct hd_leader *l);
void hd_watch_confirmed(struct hd_peer *p, const Hydac__V1__KvResult *m);
void hd_watch_failover(struct hd_leader *l, const struct hd_failover *f);

/* metrics.c */
/* The text of GET /metrics, malloc'ed; NULL when memory is out. */
char *hd_metrics_text(void *leader);

#endif
