/* config.h - the worker's settings: built-in defaults < --config FILE < flags.
 *
 * What each key means, its range and its default: config.c, or hydac-worker --help. */
#ifndef HD_WORKER_CONFIG_H
#define HD_WORKER_CONFIG_H

#include "common/util/config.h"

#define HD_WORKER_MAX_THREADS 1024

#define HD_WORKER_ISA_AUTO 0 /* the best of this CPU; all other values are enum hd_isa + 1 */

struct hd_worker_config {
    char model[4096];                    /* model.path: a GGUF file or a folder; "" = the leader
                                          * is asked for the model */
    char leader[1024];                   /* leader.address: host:port, the host may be a name; with
                                          * commas between several */
    uint64_t silence_ms;                 /* leader.silence_ms: of several leaders */
    uint64_t grace_ms;                   /* leader.grace_ms: what there is outlives its leader */
    uint64_t busy_poll_us;               /* leader.busy_poll_us: after an answer, 0 = not at all */
    char key[4096];                      /* cluster.key: file of the cluster's key, "" = none */
    int tls;                             /* cluster.tls: enum hd_tls_mode */
    char name[64];                       /* worker.name */
    uint64_t threads;                    /* compute.threads, 0 = one for each CPU */
    char device[256];                    /* compute.device: auto, or a kind of device.h */
    bool list_devices;                   /* --list-devices: say what there is, and end */
    int isa;                             /* compute.isa: HD_WORKER_ISA_AUTO, or enum hd_isa + 1 */
    char state_dir[4096];                /* state.dir */
    uint64_t log_limit;                  /* input_log.limit: bytes */
    uint64_t memory_limit;               /* memory.limit: bytes for units; 0 = all there is */
    uint64_t cache_limit;                /* weights.cache_limit: bytes; 0 = what it works with */
    bool log_keep;                       /* input_log.keep: false = log nothing */
    uint64_t drain_ms;                   /* worker.drain_ms: wait before leaving, 0 = do not */
    uint64_t retry_min_ms, retry_max_ms; /* retry.*: pause before the leader is tried again */
    int log_level;                       /* log.level: enum hd_log_level */
    bool die_with_parent;                /* --die-with-parent: end when the parent process does */
};

extern const struct hd_config_key hd_worker_settings[]; /* ends with a NULL section */

void hd_worker_config_defaults(struct hd_worker_config *c);
/* Over the defaults that `c` holds: the file of --config, then the flags, whatever their order on
 * the line; then what concerns several values is checked. 0, HD_CONFIG_HELP, HD_CONFIG_VERSION (the
 * caller prints and exits with 0), HD_E_CONFIG or HD_E_IO (print the error, exit with 2). */
int hd_worker_config_args(struct hd_worker_config *c, int argc, char **argv, struct hd_error *err);
void hd_worker_config_print_help(FILE *to);

#endif
