/* settings.c - the leader's settings: each key with its range, its default and its sentence, once.
 * --help, hydac.yaml(5) and the struct's first values all come from this table. */
#include "leader/daemon/config.h"

#include "common/model/model.h"
#include "common/net/busy_poll.h"
#include "common/net/frame.h"
#include "common/net/tls.h"
#include "common/util/shared_settings.h"
#include "leader/core/core.h"

#include <string.h>

#define MAX_MS       86400000.0 /* a day: longer than any wait that makes sense */
#define MAX_FORGET_S 31536000.0 /* a year: who wants to keep names for longer writes 0 */
#define MAX_SCRUB_S  86400.0    /* a day: damage that is found later has long done its harm */

/* Words in the order of the enumerations they name. */
static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
static const char *const strategies[] = {"even", "fixed", "single", "weighted", "bandwidth", NULL};
static const char *const activations[] = {"auto", "f32", NULL};
static const char *const rebalances[] = {"auto", "manual", NULL};
static const char *const speculations[] = {"auto", "ngram", "off", NULL};
static const char *const kv_types[] = {"f16", "f32", NULL};

#define AT(field)        offsetof(struct hd_leader_config, field)
#define SIZE(field)      sizeof((struct hd_leader_config *)0)->field
#define MAX_CACHE_MEMORY 17592186044416.0 /* 16T */
#define STRING(field)    HD_CONFIG_STRING, AT(field), SIZE(field)

/* ---- The table of `fixed` ------------------------------------------------------------------ */

/* The worker of the table that owns `head`, or NULL. */
static const char *owner_of(const struct hd_fixed_table *t, uint32_t head)
{
    for (size_t i = 0; i < t->n; i++)
        for (uint32_t h = 0; h < t->entries[i].n_heads; h++)
            if (t->entries[i].heads[h] == head)
                return t->entries[i].name;
    return NULL;
}

_Static_assert(sizeof((struct hd_fixed_entry *)0)->heads >= HD_CONFIG_MAX_VALUES * sizeof(uint32_t),
               "a list that the reader takes fits an entry");

/* The new entry counts from the start, so that a head which it lists twice is found like one that
 * another worker has. */
static int add_fixed(void *config, const char *name, const uint32_t *heads, size_t n,
                     struct hd_error *err)
{
    struct hd_fixed_table *t = &((struct hd_leader_config *)config)->fixed;
    if (t->n == HD_MAX_WORKERS)
        return hd_fail(err, HD_E_CONFIG, "the table has more than %d workers; remove some",
                       HD_MAX_WORKERS);
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->entries[i].name, name) == 0)
            return hd_fail(err, HD_E_CONFIG, "worker \"%s\" is given twice; put its heads together",
                           name);
    struct hd_fixed_entry *e = &t->entries[t->n];
    if (name[0] == '\0' || strlen(name) >= sizeof e->name)
        return hd_fail(err, HD_E_CONFIG, "a worker's name has 1 to %zu bytes; correct it",
                       sizeof e->name - 1);
    *e = (struct hd_fixed_entry){0};
    strcpy(e->name, name);
    t->n++;
    for (size_t i = 0; i < n; i++) {
        const char *owner = owner_of(t, heads[i]);
        if (owner)
            return hd_fail(err, HD_E_CONFIG, "head %u is given to \"%s\" already; give it once",
                           heads[i], owner);
        e->heads[e->n_heads++] = heads[i];
    }
    return 0;
}

/* ---- The table --------------------------------------------------------------------------- */

const struct hd_config_key hd_leader_settings[] = {
    {"model", "path", STRING(model), .flag = "--model", .arg = "PATH", .preset = "",
     .unset = "none, it must be given",
     .help = "a GGUF file or a model folder; the leader needs one"},
    {"cluster", "listen", STRING(cluster_listen), .flag = "--listen", .arg = "ADDRESS",
     .preset = "127.0.0.1:7400",
     .help = "where workers connect: host:port, [::1]:port or :port, by number; port 0 takes a "
             "free one"},
    {"cluster", "leaders", STRING(leaders), .flag = "--leaders", .arg = "LIST", .preset = "",
     .unset = "this is the only one",
     .help =
         "addresses of all leaders of this cluster, this one's too, with commas between them; the "
         "same "
         "list, in order of preference, stands in leader.address of every worker. One serves; the "
         "others refuse workers as long as they see it, and requests with 503"},
    {"cluster", "silence_ms", HD_CONFIG_UINT, AT(silence_ms), .min = 100, .max = 3600000,
     .preset = "400", /* eight ticks; a worker that turns here after 500 is let in at once */
     .help = "of several leaders: one that says nothing for so long is not there; less than the "
             "workers' leader.silence_ms"},
    {"cluster", "socket", STRING(cluster_socket), .arg = "PATH", .preset = "",
     .help = "a Unix socket on which the leader listens besides, for workers on its own machine: "
             "quicker than TCP, in plaintext, and guarded by the permissions of the file"},
    HD_SETTING_CLUSTER_KEY(AT(cluster_key), SIZE(cluster_key)),
    HD_SETTING_CLUSTER_TLS(AT(cluster_tls), hd_tls_modes),
    {"cluster", "busy_poll_us", HD_CONFIG_UINT, AT(busy_poll_us), .min = 0,
     .max = HD_MAX_BUSY_POLL_US,
     .preset = "2000", /* half-steps of the 1B shape take 300 to 1,200 us */
     .help =
         "for so many microseconds after a worker was given work the leader looks for its answer "
         "again and again instead of sleeping, leaving the core to whoever wants it: no waking to "
         "wait for. While answers come later than that it sleeps at once; 0: it always does"},
    {"cluster", "min_workers", HD_CONFIG_UINT, AT(min_workers), .min = 1, .max = HD_MAX_WORKERS,
     .flag = "--min-workers", .preset = "1",
     .help = "nothing is served at the start with fewer workers; later one is enough"},
    {"cluster", "rebalance", HD_CONFIG_ENUM, AT(rebalance), .words = rebalances, .preset = "auto",
     .help = "what becomes of a worker that has become slow (for two seconds it took a multiple of "
             "its usual time, beside the others, and they had to wait for it). auto: its units go "
             "to others beside the running answers, a part of them when a part fits its speed; it "
             "keeps its log, and gets its share back when it has been well for 10 seconds, or "
             "twice as long after each relapse. manual: the status says who is slow, and hydac "
             "drain or hydac rebalance is yours to say"},
    {"cluster", "forget_after_s", HD_CONFIG_UINT, AT(forget_after_s), .min = 0, .max = MAX_FORGET_S,
     .preset = "3600",
     .help = "a worker that has been offline for so many seconds is forgotten: its name and its "
             "totals leave the status and the metrics, and if it comes back it is a new one; 0: "
             "never, unless its slot (of 64) is needed for another"},
    {"http", "listen", STRING(http_listen), .flag = "--http", .arg = "ADDRESS",
     .preset = "127.0.0.1:8080",
     .help = "where HTTP is served; on another address than this machine's clients need a key"},
    {"http", "api_key_file", STRING(api_key_file), .flag = "--api-key-file", .arg = "FILE",
     .preset = "", .unset = "none, this machine only",
     .help = "the file with the word that clients must show, 16 to 255 printable characters"},
    {"http", "admin_key_file", STRING(admin_key_file), .flag = "--admin-key-file", .arg = "FILE",
     .preset = "",
     .unset = "none, then they are for programs on the leader's machine, which show the API key if "
              "there is one",
     .help = "the file with the word that hydac drain and rebalance must show; it opens all the "
             "rest as well"},
    {"http", "allowed_hosts", HD_CONFIG_WORDS, AT(allowed_hosts), SIZE(allowed_hosts),
     .arg = "NAME,NAME", .preset = "",
     .help =
         "names under which clients may ask a leader without an API key, besides loopback ones and "
         "the address that they connect to: leader,leader.lan; *: any, which lets web pages in"},
    {"http", "allowed_origins", HD_CONFIG_WORDS, AT(allowed_origins), SIZE(allowed_origins),
     .arg = "URL,URL", .preset = "",
     .help = "web pages that may ask, and read the answer (CORS): https://chat.example; *: any"},
    {"http", "any_model", HD_CONFIG_BOOL, AT(any_model), .preset = "true",
     .help = "true: a request may name any model, as many programs' names are fixed, and the one "
             "that is served answers; false: another name than the model's or an alias is 404"},
    {"http", "model_alias", HD_CONFIG_WORDS, AT(model_alias), SIZE(model_alias), .arg = "NAME,NAME",
     .preset = "", .help = "further names of the model: gpt-4o-mini"},
    {"http", "max_connections", HD_CONFIG_UINT, AT(max_connections), .min = 1,
     .max = HD_LEADER_MAX_CONNECTIONS,
     .preset = "1024", /* more than answer and wait at the defaults: 429 first */
     .help = "HTTP clients at once, fewer where descriptors are few; who comes when all are taken "
             "by requests is told so (503)"},
    {"http", "open", HD_CONFIG_BOOL, AT(http_open), .preset = "false",
     .help = "true: HTTP without an API key also on other addresses than this machine's"},
    {"http", "cert", STRING(http_cert), .arg = "FILE", .preset = "",
     .help = "the certificate chain (PEM) that makes it HTTPS; together with http.cert_key"},
    {"http", "cert_key", STRING(http_cert_key), .arg = "FILE", .preset = "",
     .help = "its private key (PEM), a file that is its owner's alone"},
    {"http", "public_url", STRING(public_url), .arg = "URL", .preset = "",
     .help =
         "where clients reach this leader, of several: http://a.lan:8080. A standby sends them "
         "there (307) while this one serves, and the page of another one goes on there; without "
         "it they get 503"},
    {"http", "answer_keep_s", HD_CONFIG_UINT, AT(answer_keep_s), .min = 1, .max = 3600,
     .preset = "60",
     .help =
         "an answer whose client has given its request an id (X-Request-Id or Idempotency-Key), "
         "or that was begun by another leader, can be asked for so many seconds after its end"},
    HD_SETTING_STATE_DIR(AT(state_dir), SIZE(state_dir)),
    {"state", "journal", HD_CONFIG_BOOL, AT(journal), .preset = "false",
     .help =
         "true: what running answers need to go on is written to a file in state.dir, too, and "
         "a leader that was killed and started again goes on with them. Each entry has a checksum; "
         "the file is synchronized once a second, and written anew when it has grown to 64 MiB, "
         "and "
         "to four times what lives"},
    HD_SETTING_LOG_LEVEL(AT(log_level), levels),
    {"heartbeat", "interval_ms", HD_CONFIG_UINT, AT(heartbeat_interval_ms), .min = 1, .max = 10000,
     .preset = "50", .help = "milliseconds between two heartbeats"},
    {"heartbeat", "phi_suspect", HD_CONFIG_REAL, AT(phi_suspect), .min = 0.1, .max = 100,
     .preset = "3",
     .help = "suspicion, as -log10 of the chance that a silent worker still lives, from which it "
             "gets nothing new"},
    {"heartbeat", "phi_offline", HD_CONFIG_REAL, AT(phi_offline), .min = 0.1, .max = 100,
     .preset = "8", .help = "suspicion from which it is lost"},
    {"recovery", "policy", HD_CONFIG_ENUM, AT(recovery), .words = hd_policy_names,
     .flag = "--recovery", .preset = "reuse",
     .help = "reuse: survivors keep what they hold and compute the lost heads from their input "
             "logs; standby: recovery.standby others hold a copy of each unit ready, and a loss "
             "costs no loading and no computing; full: clear everything and run all tokens again"},
    {"recovery", "standby", HD_CONFIG_UINT, AT(standby), .min = 1, .max = HD_MAX_WORKERS - 1,
     .preset = "1", .help = "copies of each unit for the policy standby"},
    {"recovery", "standby_weights", HD_CONFIG_UINT, AT(standby_weights), .min = 0,
     .max = HD_MAX_WORKERS - 1, .preset = "0",
     .help = "copies of each unit's weights that others hold with the policies reuse and full, as "
             "memory allows: a loss loads nothing and only computes K/V; 0: none"},
    {"recovery", "step_deadline_ms", HD_CONFIG_UINT, AT(step_deadline_ms), .min = 1, .max = MAX_MS,
     .preset = "30000", .help = "a worker that takes longer for half a layer is lost"},
    {"recovery", "assign_deadline_ms", HD_CONFIG_UINT, AT(assign_deadline_ms), .min = 1,
     .max = MAX_MS, .preset = "120000", .help = "likewise for taking over units"},
    {"recovery", "wait_for_worker_ms", HD_CONFIG_UINT, AT(wait_for_worker_ms), .min = 0,
     .max = MAX_MS, .preset = "30000",
     .help = "how long requests wait when no worker is left, before they fail"},
    {"assignment", "strategy", HD_CONFIG_ENUM, AT(strategy), .words = strategies, .preset = "even",
     .help = "who gets which units. even: as many for each, as far as its memory goes; fixed: the "
             "heads of assignment.fixed; single: all that is lost to one; weighted: by measured "
             "speed and memory; bandwidth: by the links too"},
    {"assignment", "fixed", HD_CONFIG_TABLE, .add = add_fixed,
     .help = "only in the file: the KV heads of each worker, lines of the form WORKER: [0, 1]; for "
             "the strategy fixed"},
    {"assignment", "single", STRING(single), .arg = "WORKER", .preset = "", .unset = "any",
     .help = "the worker that gets all lost heads; for the strategy single"},
    {"compute", "activations", HD_CONFIG_ENUM, AT(activations), .words = activations,
     .preset = "auto",
     .help = "auto: quantized weights are multiplied by activations of 8 bits; f32: by floats. "
             "Workers do as the leader says"},
    {"compute", "wire", HD_CONFIG_ENUM, AT(wire), .words = hd_wires, .preset = "exact",
     .help = "exact: partial sums come back as 32-bit integers, and the text does not depend on "
             "the workers; compact: as 8 bits and a scale for 32 values, about a quarter of the "
             "bytes, for slow links: with another number of workers, and from the loss of one on, "
             "the text may be another. Workers do as the leader says; all must know the mode; the "
             "model's rows must be multiples of 32 values"},
    {"compute", "overlap_rows", HD_CONFIG_UINT, AT(overlap_rows), .min = 0,
     .max = HD_LEADER_MAX_ROWS, .preset = "64", /* half of fewer is done as soon as woken for */
     .help = "steps of so many rows, which are those of prompts, go through the layers in two "
             "groups, so that workers compute one while the other is on the wire; 0: never"},
    {"compute", "leader_threads", HD_CONFIG_UINT, AT(leader_threads), .min = 0,
     .max = HD_LEADER_MAX_THREADS, .preset = "0",
     .help = "threads of the leader that share what it does to each of many rows; 0: one for four "
             "CPUs that the process may use, 8 at most"},
    {"speculation", "mode", HD_CONFIG_ENUM, AT(speculation), .words = speculations,
     .preset = "auto",
     .help =
         "rows of guessed tokens are computed with the known ones, and those count that turn out "
         "right: the same text in fewer steps; auto: what the text repeats, when it pays; ngram: "
         "likewise, whatever the rows cost, for slow links; off: never"},
    {"speculation", "max_rows", HD_CONFIG_UINT, AT(draft_rows), .min = 1,
     .max = HD_LEADER_MAX_DRAFTS, .preset = "32",
     .help = "rows of guessed tokens in a step, of all answers together"},
    {"cache", "kv_type", HD_CONFIG_ENUM, AT(kv_type), .words = kv_types, .preset = "f16",
     .help = "the type of K/V rows in the workers' memory"},
    {"cache", "memory", HD_CONFIG_SIZE, AT(cache_memory), .min = 0, .max = MAX_CACHE_MEMORY,
     .preset = "1G",
     .help = "K/V of ended requests that workers keep, in all of them together, for requests that "
             "begin with the same tokens; at most half of what the workers' memory and logs have "
             "room for, and less when running requests need it; 0: none"},
    {"integrity", "scrub_s", HD_CONFIG_UINT, AT(scrub_s), .min = 0, .max = MAX_SCRUB_S,
     .preset = "60", /* a round over a gigabyte: 0.2 % of a core */
     .help = "workers look over their memory (weights, K/V, input logs) once in so many seconds, "
             "beside the steps, and make again what is no longer what it was; 0: never"},
    {"integrity", "audit", HD_CONFIG_UINT, AT(audit_every), .min = 0, .max = HD_LEADER_MAX_AUDIT,
     .preset = "256",
     .help = "one half-step in so many is computed by a second worker as well and the bits "
             "compared; 0: none, 1: all"},
    {"integrity", "drain_after", HD_CONFIG_UINT, AT(drain_after), .min = 0,
     .max = HD_MAX_DRAIN_AFTER, .preset = "3",
     .help =
         "a worker that has found its memory damaged so often within an hour is drained; 0: never"},
    {"integrity", "quarantine_s", HD_CONFIG_UINT, AT(quarantine_s), .min = 0, .max = MAX_FORGET_S,
     .preset = "600",
     .help = "seconds for which the name of a worker that computed wrong bits is refused; 0: not"},
    {"limits", "max_sequences", HD_CONFIG_UINT, AT(max_sequences), .min = 1,
     .max = HD_MAX_SEQUENCES, .preset = "8", .help = "answers at once"},
    {"limits", "max_rows", HD_CONFIG_UINT, AT(max_rows), .min = 1, .max = HD_LEADER_MAX_ROWS,
     .preset = "512",
     .help = "rows of a step, of prompts fewer where so many would take longer than half a second"},
    {"limits", "context", HD_CONFIG_UINT, AT(context), .min = 0, .max = HD_LEADER_MAX_CONTEXT,
     .preset = "0", .help = "positions of a sequence; 0: the model's"},
    {"limits", "queue", HD_CONFIG_UINT, AT(queue), .min = 1, .max = HD_LEADER_MAX_QUEUE,
     .preset = "256", .help = "requests that may wait"},
    {0},
};
