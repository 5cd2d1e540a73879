/* engine.h - the leader's half of the forward pass.
 *
 * The engine holds the residual stream of the rows in the step, normalises, hands out half-steps,
 * adds up what comes back, samples, and schedules sequences (continuous batching: every step takes
 * one row of each answering sequence, guesses of what follows (drafts.h) and a chunk of a prompt).
 * It knows no sockets and no workers:
 * the daemon gives half-steps to the core and results to the engine.
 *
 *   next step -> [ATTENTION l, FFN l] for each layer -> LOGITS (only if a row is sampled) -> sample
 *
 * A step of many rows goes in two groups, the first half of the rows and the second, which take
 * turns: while the workers compute a half-step of one, the other's results are on the wire and in
 * the sums. Half-steps are asked for strictly in turn (first, second, first, ...), so the second
 * group's rows find the K/V of the first's in every layer, and neither gets further ahead than one
 * half-step. LOGITS is of both at once. A step of few rows, or of one row a sequence, is one group.
 *
 * Any half-step can be asked for again (hd_engine_reset_half) until it is done; a step can be
 * abandoned (hd_engine_replay). Neither changes a token: a row's result is a function of the row.
 */
#ifndef HD_ENGINE_ENGINE_H
#define HD_ENGINE_ENGINE_H

#include "common/math/kernels.h"
#include "common/model/model.h"
#include "common/text/tokenizer.h"
#include "leader/engine/request.h"
#include "leader/metrics/serving.h"

/* Rows of prompts whose every logit crosses the wire, in one step, and of guesses likewise: bounds
 * a step's largest answer. */
#define HD_MAX_FULL_ROWS 16

struct hd_digests;
struct hd_engine;
struct hd_team;

/* The half-step in hand of a group. Valid until it is done, reset or replayed. */
struct hd_half_work {
    uint64_t step;
    enum hd_half half;
    uint32_t layer;
    unsigned group, groups; /* of so many */
    bool drafted;           /* rows of guesses are among them: op sequence_cut may follow */
    size_t rows;
    const uint8_t *x;          /* [rows][row_bytes], normalised, as they travel */
    size_t row_bytes;          /* hd_model_row_bytes */
    const uint32_t *sequences; /* [rows] */
    const uint32_t *positions; /* [rows] */
    const uint32_t *tokens;    /* [rows]; ATTENTION of layer 0, else NULL */
    const int32_t *shifts;     /* [rows]; ATTENTION and FFN */
    const uint32_t *want;      /* [rows]; LOGITS: 0 = all, k = best k of each vocab block */
    const float *temperatures; /* [rows]; LOGITS: 0, or at which a second sum is wanted */
    const uint32_t *experts; /* [rows][n_used], ascending; FFN of a model with experts, else NULL */
    const float *weights;    /* of these, likewise */
    const struct hd_seq_rows *by_sequence;
    size_t n_sequences;
};

/* Rows of a sequence that a worker has kept. */
struct hd_kept_rows {
    uint32_t sequence;
    uint32_t parent, shared; /* as in hd_branch */
    uint32_t positions;      /* with rows of all heads that it owns, shared ones among them */
    uint64_t scope;
    const int32_t *tokens; /* of positions `shared` and on */
    uint32_t n_tokens;
};

struct hd_engine_ops {
    void *arg;
    void (*sequence_open)(void *arg, uint32_t sequence, uint32_t max_positions);
    void (*sequence_close)(void *arg, uint32_t sequence);
    void (*half)(void *arg, const struct hd_half_work *work); /* do this half-step */
    void (*step_done)(void *arg, uint64_t step);              /* its rows are committed */
    void (*step_abandoned)(void *arg);                        /* forget the half-steps in hand */
    /* The file's bytes of this token's embedding are not what they were. Returns the reason that
     * requests which need them end with; must not call the engine. Only with `digests`. */
    const char *(*wrong_row)(void *arg, int32_t token);
    /* Opened with the first `shared` rows of another one. */
    void (*sequence_fork)(void *arg, uint32_t sequence, uint32_t parent, uint32_t shared);
    /* No request runs on it any more, its rows stay; or one does again. */
    void (*sequence_kept)(void *arg, uint32_t sequence, bool kept);
    /* Between two steps of it: rows from `positions` on are given up. */
    void (*sequence_cut)(void *arg, uint32_t sequence, uint32_t positions);
    /* May the next step have rows of guesses? NULL: always. */
    bool (*may_draft)(void *arg);
    /* Workers have rows of it (hd_engine_adopt): sequence, parent, shared, positions. */
    void (*sequence_adopt)(void *arg, const struct hd_kept_rows *k);
};

struct hd_engine_options {
    const struct hd_model *model;
    const struct hd_units *units;
    const struct hd_digests *digests; /* rows of the embedding must have these; NULL: whatever they
                                       * are. May be filled later, before the engine is ready */
    const struct hd_kernels *kernels;
    struct hd_team *team; /* for what is done to each of many rows; NULL: the caller does it */
    enum hd_activations activations;
    enum hd_wire wire;                    /* as every worker answers; it fits the model */
    unsigned overlap_rows;                /* a step of so many rows goes in two groups; 0: never */
    const struct hd_tokenizer *tokenizer; /* for stop tokens; NULL: the model's eos */
    struct hd_engine_ops ops;
    unsigned max_sequences;     /* that run at once, at most HD_MAX_SEQUENCES */
    unsigned sequences;         /* numbers for them and for those that are kept; 0: as many */
    unsigned max_rows;          /* of a step */
    unsigned max_queue;         /* waiting requests */
    unsigned max_drafts;        /* rows of guesses in a step; 0: none (drafts.h) */
    bool draft_always;          /* ... as many as are likely, whatever their rows cost */
    uint32_t context;           /* positions of a sequence */
    struct hd_serving *serving; /* counts queue and token times there; NULL: nowhere */
};

int hd_engine_new(struct hd_engine **out, const struct hd_engine_options *o, struct hd_error *err);
void hd_engine_free(struct hd_engine *e);

int hd_engine_submit(struct hd_engine *e, const struct hd_request_options *o,
                     const struct hd_request_events *ev, void *arg, struct hd_request **out,
                     struct hd_error *err);
/* The id of one whose client has heard tokens that may be wrong, and not yet that they may; else
 * NULL. */
const char *hd_engine_untold(const struct hd_request *r);
void hd_engine_cancel(struct hd_engine *e, struct hd_request *r);
/* End every request that was submitted before `before_us` with this error; the step in hand is
 * given up (op step_abandoned) and made again for those that stay. */
void hd_engine_fail(struct hd_engine *e, uint64_t before_us, const char *why);

/* Starts a step if none is under way and there is work. Call after submit, and when ready again. */
void hd_engine_kick(struct hd_engine *e);
void hd_engine_set_ready(struct hd_engine *e, bool ready); /* no new step starts while not ready */
/* Positions of all live sequences together. None at first. */
struct hd_live_limit {
    uint64_t logged; /* that the best input log has room for: a request beyond waits until it is
                      * alone, then it is served all the same */
    uint64_t held;   /* that every worker has memory for: a request beyond is refused */
    uint64_t cached; /* of ended requests, which are kept for others (cache.c); 0: none are, and
                      * the ops of forks and of what is kept are not called */
    char by[64];     /* whose memory `held` is */
};
void hd_engine_set_live_limit(struct hd_engine *e, const struct hd_live_limit *limit);
const struct hd_live_limit *hd_engine_live_limit(const struct hd_engine *e);

/* A worker's answer to the half-step in hand of a group (the core has accepted it). */
struct hd_half_result {
    unsigned group;
    const uint8_t *payload; /* layout: proto/README.md */
    size_t payload_len;
    const uint32_t *wide; /* rows sent in 64 bits */
    size_t n_wide;
    const uint32_t *bad; /* rows that were not finite */
    size_t n_bad;
    const uint32_t *vocab_blocks; /* LOGITS: blocks of the sender, ascending */
    size_t n_vocab_blocks;
};
/* 0, or HD_E_PROTO when the payload does not fit the half-step (nothing was added). */
int hd_engine_use_result(struct hd_engine *e, const struct hd_half_result *r, struct hd_error *err);
/* Forget the sums of the group's half-step in hand. */
void hd_engine_reset_half(struct hd_engine *e, unsigned group);
/* All answers to it are in: go on. */
void hd_engine_half_done(struct hd_engine *e, unsigned group);
const struct hd_half_work *hd_engine_work(const struct hd_engine *e, unsigned group); /* or NULL */
/* Abandon the step in hand; the sequences in `mask` start again from position 0 (their tokens stay:
 * they are run again, not sampled again). Returns the number of positions to be run again. */
uint64_t hd_engine_replay(struct hd_engine *e, uint64_t mask);
/* Close these of the sequences that are kept and that no request needs, with what has begun with
 * their rows; and before that, let nobody begin with them. */
void hd_engine_forget(struct hd_engine *e, uint64_t sequences);
/* NULL, or what cannot be of what a worker says that it has. */
const char *hd_engine_kept_wrong(const struct hd_engine *e, const struct hd_kept_rows *k);
/* A worker has these rows, with which nothing is wrong. Only while nobody is
 * served: they become a kept sequence, or are known to be what this leader has sent. False: they
 * are of no use, the worker is to drop them. */
bool hd_engine_adopt(struct hd_engine *e, const struct hd_kept_rows *k);
/* Of a sequence: the tokens of its *n committed positions, borrowed; NULL: there is none. */
const int32_t *hd_engine_tokens(const struct hd_engine *e, uint32_t sequence, uint32_t *n);
uint64_t hd_engine_scope(const struct hd_engine *e, uint32_t sequence);
void hd_engine_will_forget(struct hd_engine *e, uint64_t sequences);
/* Note a finished recovery in every request that is alive. */
void hd_engine_failover(struct hd_engine *e, const struct hd_failover *f);

/* ---- What was found to be wrong afterwards (trust.c). Times are of hd_now_us. ----*/
/* The latest requests of which is known when they ran: 17 a second for a minute, which is how far
 * back damage may go (integrity.scrub_s), and a line of the log for each fits the log's buffer. */
#define HD_ENDED_REQUESTS 1024
#define HD_ALL_SEQUENCES  UINT32_MAX /* every request */

struct hd_ended_request {
    char id[HD_REQUEST_ID];
    uint64_t sequences; /* whose rows went into its own (a mask) */
    uint64_t started_us, ended_us;
};
/* End with this error every request whose client has heard of a token since `since_us`; the step in
 * hand is given up, as by hd_engine_fail. */
void hd_engine_fail_told(struct hd_engine *e, uint64_t since_us, const char *why);
/* ... every request that has begun to be computed. */
void hd_engine_fail_running(struct hd_engine *e, const char *why);
/* Their answers say that they are suspect: those that rows of the sequence went into, or all that
 * have begun. Returns how many were not marked yet. Nobody begins with such rows any more. */
unsigned hd_engine_suspect(struct hd_engine *e, uint32_t sequence);
/* Calls `take` for each that has ended at or after `since_us` and used that sequence, the latest
 * first, as far as they are remembered; false: more may have ended since then. */
bool hd_engine_ended(const struct hd_engine *e, uint64_t since_us, uint32_t sequence,
                     void (*take)(void *arg, const struct hd_ended_request *r), void *arg);

struct hd_engine_stats {
    unsigned waiting, running;
    uint64_t requests, tokens, prompt_tokens, steps, rows, wide_rows;
    uint64_t logits_again;       /* LOGITS half-steps asked for again, for every logit of a row */
    uint64_t leader_us;          /* time spent in the engine's own arithmetic */
    const uint64_t *expert_rows; /* [n_experts]: rows that took each, in all layers; the engine's */
    /* Of prompts: tokens that were looked for, and that were there. */
    uint64_t asked_tokens, reused_tokens;
    /* Rows of guesses, those that were right, and steps that these made unnecessary. */
    uint64_t drafted, accepted, steps_saved;
    unsigned kept;           /* sequences of ended requests */
    uint64_t kept_positions; /* of their own */
    uint64_t evictions;
};
void hd_engine_get_stats(const struct hd_engine *e, struct hd_engine_stats *s);

#endif
