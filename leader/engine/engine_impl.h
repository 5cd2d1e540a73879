/* engine_impl.h - the engine's insides, shared by its own files only.
 *
 * A request is waiting (no sequence number yet), running (has one), or ended. It owns its tokens:
 * the prompt, then what was sampled; `done` of them have K/V in the workers. The row at position p
 * is sampled when p is the last known token. */
#ifndef HD_ENGINE_IMPL_H
#define HD_ENGINE_IMPL_H

#include "common/model/arch.h"
#include "leader/engine/adjust.h"
#include "leader/engine/drafts.h"
#include "leader/engine/engine.h"
#include "leader/engine/logits.h"
#include "leader/engine/masks.h"
#include "leader/engine/pace.h"
#include "leader/engine/prefixes.h"
#include "leader/engine/route.h"

#define HD_NOT_FINITE "the model gave a number that is not finite (damaged weights?)"

struct hd_request {
    struct hd_request *next; /* in the waiting or the running list */
    struct hd_request_options o;
    struct hd_request_events ev;
    void *arg;
    uint32_t sequence;          /* HD_NO_SEQUENCE while it waits */
    int32_t *tokens;            /* [capacity] */
    struct hd_token_bias *bias; /* o.sampling's */
    double *pooled;             /* [dim]: the sum of its rows so far; NULL: no vector is wanted */
    uint32_t capacity, n_tokens, n_prompt, n_known;
    uint32_t done; /* positions committed */
    uint32_t sent; /* ... or in a step that was begun */
    struct hd_drafts drafts;
    uint32_t reused;   /* ... of which it found so many when it began */
    uint64_t lineage;  /* sequences whose rows went into its own (a mask), with its own */
    uint32_t prompted; /* tokens of the prompt of which its client heard that they are computed */
    uint32_t scored;   /* prompt positions whose logits were reported */
    bool cancelled;    /* its client is gone; removed when no step holds it */
    bool ended;        /* its last event was sent, likewise */
    bool failed;       /* ... with an error */
    bool bad;          /* a worker saw a number that is not finite */
    bool suspect;      /* hd_engine_suspect */
    uint64_t told_us;  /* when its client heard of a token last, of the prompt's or the answer's */
    double unclear;    /* how often the best few did not do for its grammar, fading */
    struct hd_failover *failovers;
    size_t n_failovers;
    uint64_t submitted_us, started_us, first_us, last_us, max_gap_us;
};

/* One row of the step in hand. */
struct hd_row {
    struct hd_request *r;
    uint32_t position;
    int32_t shift;
    int32_t input; /* the token that it is of */
    bool drafted;  /* which is a guess */
    bool spoiled;  /* ... and it cannot be computed: as if the guess were wrong */
    bool sampled;  /* its logits are wanted */
    bool barred;   /* ... and what a grammar allows could not be made out (masks.h) */
    bool all;      /* ... every one of them: the best few did not do */
    bool decided;  /* ... and this is what they gave: */
    int32_t token;
    size_t mask; /* of masks.h, its number from 1 on; 0: every token may follow */
    bool bad;    /* a worker saw a number that is not finite in the half-step in hand */
};

/* Neighbouring rows of the step in hand that walk through the layers together. What work points at
 * are the group's parts of the engine's arrays.
 *
 *   in hand --half_done--> READY --its turn--> in hand ... --half_done of the last--> THROUGH */
struct hd_group {
    enum hd_group_state { HD_GROUP_READY, HD_GROUP_IN_HAND, HD_GROUP_THROUGH } state;
    size_t first, n_rows;
    bool added;        /* acc has sums of the half-step in hand; else whatever there was before */
    enum hd_half half; /* in hand, or the next */
    uint32_t layer;
    struct hd_half_work work;
};

struct hd_engine {
    struct hd_engine_options o;
    struct hd_request *waiting, *running;
    unsigned n_waiting, n_running;
    uint64_t live_positions;
    struct hd_live_limit limit;
    struct hd_prefixes prefixes; /* all sequences */
    bool ready;

    /* The step in hand; n_rows 0: none. */
    uint64_t step;
    size_t n_rows;
    struct hd_row *rows; /* [max_rows] */
    float *residual;     /* [max_rows][dim] */
    float *before;       /* [max_rows][dim]: the residual before a layer, of models whose parallel
                          * halves have a norm each; else NULL */
    uint8_t *embedding;  /* one row of the file's, to be checked */
    float *scratch;      /* [threads of the team][scratch_floats] */
    size_t scratch_floats;
    uint32_t *row_at; /* [max_rows]: which row has this place in the half-step in hand, counted from
                         the step's first */
    size_t *sums_at;  /* [max_rows]: where the sums of a place are in the answer in hand */
    size_t row_bytes;
    size_t sum_bytes; /* of a row of partial sums that is not wide */
    uint8_t *x;       /* [max_rows][row_bytes]: normalised rows as they travel */
    int64_t *acc;     /* [max_rows][dim] */
    struct hd_group groups[HD_MAX_GROUPS];
    unsigned n_groups, turn;                         /* turn: whose half-step is asked for next */
    uint32_t *sequences, *positions, *want, *tokens; /* [max_rows] */
    float *temperatures;
    int32_t *shifts;
    uint32_t *experts; /* [max_rows][n_used], as far as the model has any */
    float *weights;    /* likewise */
    struct hd_route route;
    struct hd_seq_rows *by_sequence;
    struct hd_logits logits;
    struct hd_adjust adjust;
    struct hd_masks masks;
    struct hd_step_pace pace;
    size_t answering; /* sequences that answer in the step in hand */
    size_t prompts;   /* its rows of prompts */
    struct hd_speculation speculation;

    struct hd_ended_request ended[HD_ENDED_REQUESTS]; /* a ring */
    uint64_t n_ended;

    struct hd_whole_norms *whole; /* NULL: heads are normalised by themselves, if at all */
    float *own[HD_SLOTS]; /* the leader's vectors, [layers of the slot][dim]; NULL: no such slot */
    struct hd_engine_stats stats;
};

/* norms.c */
/* The half's vector of a slot, [dim]; NULL: the model has none. */
const float *hd_own_vector(const struct hd_engine *e, const struct hd_group *p,
                           enum hd_slot_id slot);
/* With parallel halves and one norm the FFN reads what the attention has read, and it is there yet.
 */
bool hd_input_is_there(const struct hd_engine *e, const struct hd_group *p);
/* What the half normalises of row i: the residual, or what it was before the layer. */
const float *hd_read_of(const struct hd_engine *e, const struct hd_group *p, size_t i);
/* A row's normalised residual [dim], and the form in which it travels. */
void hd_put_input(const struct hd_engine *e, const struct hd_group *p, const float *residual,
                  float *normalised, uint8_t *x);
/* What is behind the last layer: a row's residual, normalised, [dim]. */
void hd_final_norm(const struct hd_engine *e, const float *residual, float *normalised);
/* NULL if the model has none such. HD_E_NOMEM, or what packing says. */
int hd_whole_norms_new(struct hd_whole_norms **out, const struct hd_engine *e);
void hd_whole_norms_free(struct hd_whole_norms *n);
/* What travels behind the first `n_rows` of the group's rows, which are there, if the model's do.
 */
void hd_put_tails(const struct hd_engine *e, const struct hd_group *p, size_t n_rows);

/* rows.c: what the leader does to each row of a half-step, in all threads of its team. The rows of
 * the group's half-step are those of row_at. */
/* The row cannot be computed. If it is of a guess, that comes to light when its turn comes. */
void hd_row_spoil(struct hd_row *row);
/* Their inputs, where each half-step begins. */
void hd_rows_put(struct hd_engine *e, struct hd_group *p);
/* An answer's partial sums. 0, or HD_E_PROTO: they do not fit, and nothing was added. */
int hd_rows_add(struct hd_engine *e, const struct hd_half_result *r, struct hd_error *err);
/* The sums are whole: the residuals go on. */
void hd_rows_apply(struct hd_engine *e, const struct hd_group *p);

/* trust.c */
/* Ends those requests for which `which` is true; the step in hand is given up if there are any. */
typedef bool hd_which_requests(const struct hd_request *r, uint64_t us);
void hd_requests_fail(struct hd_engine *e, hd_which_requests *which, uint64_t us, const char *why);
/* The request is about to be freed: later findings may concern it yet. */
void hd_request_note_end(struct hd_engine *e, const struct hd_request *r);

/* cache.c */
enum hd_cache_begins {
    HD_CACHE_BEGUN,  /* it has a sequence, and what rows there were for it */
    HD_CACHE_COMING, /* a running one computes what it could begin with */
    HD_CACHE_FULL,   /* no room */
};
/* Tokens of its prompt whose rows were there. */
static inline uint32_t hd_request_cached(const struct hd_request *r)
{
    return r->reused < r->n_prompt ? r->reused : r->n_prompt;
}
enum hd_cache_begins hd_cache_begin(struct hd_engine *e, struct hd_request *r);
bool hd_cache_is_on(const struct hd_engine *e);
/* Its sequence is kept or closed. */
void hd_cache_end(struct hd_engine *e, struct hd_request *r);
void hd_cache_committed(struct hd_engine *e, const struct hd_request *r);
void hd_cache_restart(struct hd_engine *e, struct hd_request *r); /* it is replayed */
void hd_cache_trim(struct hd_engine *e);
/* Nobody begins any more with rows that those of these sequences (a mask) went into. */
void hd_cache_doom(struct hd_engine *e, uint64_t sequences);
uint64_t hd_cache_doomed(const struct hd_engine *e);
void hd_cache_free(struct hd_engine *e);

/* schedule.c */
/* All but the last of its tokens have K/V. */
static inline bool hd_request_answers(const struct hd_request *r)
{
    return !r->cancelled && r->n_tokens - r->done == 1;
}
void hd_schedule_admit(struct hd_engine *e);
void hd_schedule_rows(struct hd_engine *e);
/* Workers' rows of it from `positions` on, if there are any, are given up. No step holds it. */
void hd_request_cut(struct hd_engine *e, struct hd_request *r, uint32_t positions);
void hd_request_again(struct hd_engine *e, struct hd_request *r);
void hd_request_release(struct hd_engine *e, struct hd_request *r);
void hd_request_free(struct hd_request *r); /* one that has no sequence */
void hd_requests_sweep(struct hd_engine *e);

/* groups.c */
/* Two groups if there are rows enough and not all of them decode: then there is little on the wire,
 * and two half-steps would wait for two round trips. */
void hd_groups_form(struct hd_engine *e);
/* For the LOGITS half all rows are one group again. */
void hd_groups_join(struct hd_engine *e);

/* step.c */
/* False: what a row begins with is not to be had; its request has ended, there is no step. */
bool hd_step_begin(struct hd_engine *e);
void hd_step_abandon(struct hd_engine *e);

/* pool.c */
/* The step is done: its rows go into the vectors of their requests, which end with them. */
void hd_pool_rows(struct hd_engine *e);

/* finish.c: what a finished step means to its requests */
/* All logits asked for are in. False: some row needs every one of its own (it is marked); they were
 * forgotten, and the half-step is to be asked for again. */
bool hd_step_decide(struct hd_engine *e);
void hd_step_finish(struct hd_engine *e);
/* The token ends an answer with these options. */
bool hd_request_stops(const struct hd_engine *e, const struct hd_request_options *o, int32_t id);
/* It asks for more positions than there is memory for: says whose, and is true. */
bool hd_request_too_large(const struct hd_engine *e, const struct hd_request *r,
                          struct hd_error *err);
void hd_request_end(struct hd_engine *e, struct hd_request *r, enum hd_finish how,
                    const char *error);

#endif
