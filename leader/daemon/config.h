/* config.h - the leader's settings: built-in defaults < --config FILE < flags.
 *
 * What each key means, its range and its default: settings.c, or hydac-leader --help. */
#ifndef HD_DAEMON_CONFIG_H
#define HD_DAEMON_CONFIG_H

#include "common/util/config.h"
#include "leader/core/plan.h"

#define HD_LEADER_MAX_ROWS        1024       /* rows of the largest step */
#define HD_LEADER_MAX_QUEUE       65536      /* requests that may wait */
#define HD_LEADER_MAX_CONNECTIONS 65536      /* of HTTP; descriptors allow fewer */
#define HD_LEADER_MAX_CONTEXT     (1u << 24) /* positions; frames count them in 32 bits */
#define HD_LEADER_MAX_THREADS     64
#define HD_LEADER_MAX_DRAFTS      128     /* rows of guesses; the engine's HD_DRAFT_ROWS */
#define HD_LEADER_MAX_AUDIT       1000000 /* half-steps between two audits: hours of decoding */

enum {
    HD_LEADER_ACTIVATIONS_AUTO, /* 8 bits for quantized weights */
    HD_LEADER_ACTIVATIONS_F32,
};

/* What becomes of a worker that has become slow. */
enum hd_rebalance {
    HD_REBALANCE_AUTO,   /* its units go to others, and back when it is well */
    HD_REBALANCE_MANUAL, /* the status says so */
};

enum hd_speculation_mode { HD_SPECULATION_AUTO, HD_SPECULATION_NGRAM, HD_SPECULATION_OFF };

struct hd_leader_config {
    char model[4096];         /* model.path: a GGUF file or a model folder */
    char cluster_listen[256]; /* cluster.listen: where workers connect, numeric address */
    char leaders[1024];  /* cluster.leaders: all of them, with commas between; "" = just this */
    uint64_t silence_ms; /* cluster.silence_ms: of another leader */
    char cluster_socket[108]; /* cluster.socket: path of a Unix socket for those on this machine */
    char cluster_key[4096];   /* cluster.key: file of the cluster's key, "" = none */
    int cluster_tls;          /* cluster.tls: enum hd_tls_mode */
    uint64_t busy_poll_us;    /* cluster.busy_poll_us: after a half-step's inputs, 0 = not at all */
    uint64_t min_workers;     /* cluster.min_workers: nothing is served with fewer at the start */
    int rebalance;            /* cluster.rebalance: enum hd_rebalance */
    uint64_t forget_after_s;  /* cluster.forget_after_s: offline for so long; 0 = never */
    char http_listen[256];    /* http.listen, numeric address */
    char api_key_file[4096];  /* http.api_key_file: what a client must know, "" = nothing */
    char admin_key_file[4096];  /* http.admin_key_file: what admin calls need, "" = see README */
    char allowed_hosts[4096];   /* http.allowed_hosts: words, besides loopback */
    bool any_model;             /* http.any_model */
    char model_alias[1024];     /* http.model_alias: words */
    char allowed_origins[4096]; /* http.allowed_origins: words: web pages that may ask */
    uint64_t max_connections;   /* http.max_connections */
    bool http_open;             /* http.open: reachable from elsewhere without a key */
    char http_cert[4096];       /* http.cert: PEM file of the certificate chain, "" = no HTTPS */
    char http_cert_key[4096];   /* http.cert_key: PEM file of its private key */
    char public_url[256];       /* http.public_url: of this leader, "" = not said */
    uint64_t answer_keep_s;     /* http.answer_keep_s */
    bool journal;               /* state.journal */
    char state_dir[4096];       /* state.dir */
    int log_level;              /* log.level: enum hd_log_level */

    uint64_t heartbeat_interval_ms;  /* heartbeat.interval_ms */
    double phi_suspect, phi_offline; /* heartbeat.phi_*: -log10 of the chance that it still lives */

    int recovery;     /* recovery.policy: index into hd_policies */
    uint64_t standby; /* recovery.standby: copies of each unit, with the policy of that name */
    uint64_t standby_weights; /* recovery.standby_weights: of its weights, with any other */
    uint64_t step_deadline_ms, assign_deadline_ms, wait_for_worker_ms; /* recovery.* */

    int strategy;                /* assignment.strategy: index of hd_strategies */
    struct hd_fixed_table fixed; /* assignment.fixed */
    char single[64];             /* assignment.single: who gets lost heads, "" = any */

    int activations;                  /* compute.activations: how rows travel and are multiplied */
    int wire;                         /* compute.wire: enum hd_wire */
    uint64_t leader_threads;          /* compute.leader_threads; 0: by the cores */
    uint64_t overlap_rows;            /* compute.overlap_rows: two groups of so many; 0: never */
    int speculation;                  /* speculation.mode: enum hd_speculation_mode */
    uint64_t draft_rows;              /* speculation.max_rows */
    int kv_type;                      /* cache.kv_type: enum hd_kv_type */
    uint64_t cache_memory;            /* cache.memory: bytes of K/V of ended requests; 0: none */
    uint64_t max_sequences, max_rows; /* limits.* */
    uint64_t context;                 /* limits.context: positions, 0 = the model's */
    uint64_t queue;                   /* limits.queue: waiting requests */

    uint64_t scrub_s;     /* integrity.scrub_s: workers look over their memory so often; 0: never */
    uint64_t audit_every; /* integrity.audit: one half-step in so many; 0: none, 1: all */
    uint64_t drain_after; /* integrity.drain_after: damages of memory within an hour; 0: never */
    uint64_t quarantine_s; /* integrity.quarantine_s: who computed wrong bits is refused; 0: not */

    char ports_file[4096]; /* --ports-file: where to write the ports, "" = nowhere */
    bool die_with_parent;  /* --die-with-parent: end when the parent process does */
};

extern const struct hd_config_key hd_leader_settings[]; /* ends with a NULL section */

void hd_leader_config_defaults(struct hd_leader_config *c);
/* Over the defaults that `c` holds: the file of --config, then the flags, whatever their order on
 * the line; then what concerns several values is checked. 0, HD_CONFIG_HELP, HD_CONFIG_VERSION (the
 * caller prints and exits with 0), HD_E_CONFIG or HD_E_IO (print the error, exit with 2). */
int hd_leader_config_args(struct hd_leader_config *c, int argc, char **argv, struct hd_error *err);
/* Copies of each unit that others are to hold: with K/V, or of the weights alone, by the policy. */
unsigned hd_config_copies(const struct hd_leader_config *c);
void hd_leader_config_print_help(FILE *to);

#endif
