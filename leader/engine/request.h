/* request.h - what a client asks of the engine and what it hears back. */
#ifndef HD_ENGINE_REQUEST_H
#define HD_ENGINE_REQUEST_H

#include "common/model/pooled.h"
#include "common/util/error.h"
#include "leader/core/types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HD_MAX_TOP_LOGPROBS 20
#define HD_REQUEST_ID       48 /* with its end */

struct hd_grammar; /* common/text/grammar.h */

struct hd_token_bias {
    int32_t id;
    double bias; /* added to its logit */
};

/* Zeroes change nothing, but for top_p. */
struct hd_sampling {
    double temperature; /* 0 = greedy: the best logit, ties to the lower id */
    uint32_t top_k;     /* 0 = no limit */
    double top_p;       /* 1 = no limit */
    double min_p;       /* 0 = no limit: least probability, in parts of the best token's */
    double typical_p;   /* 0 or 1 = no limit: probability of what is about as likely as expected */
    /* How often the most probable tokens are left out, 0 = never, and of which probability on. */
    double xtc_probability, xtc_threshold;
    double repetition_penalty, presence_penalty, frequency_penalty; /* adjust.h; 0 = none */
    const struct hd_token_bias *bias;                               /* [n_bias]; copied */
    size_t n_bias;
    struct hd_grammar
        *grammar;  /* what the answer must match, until on_end or a cancel; NULL: none */
    uint64_t seed; /* the same (model, prompt, options, seed) gives the same tokens */
};

struct hd_request_options {
    const int32_t *tokens; /* prompt, at least 1; copied */
    size_t n_tokens;
    /* Of the answer, what was sampled elsewhere (the same model, options and seed): it goes on
     * behind these. No event tells them, but they count: in max_tokens, penalties, usage; not with
     * prompt_logprobs, and the grammar has taken them. Copied. */
    const int32_t *known;
    size_t n_known;
    uint32_t max_tokens;     /* 0 is allowed with prompt_logprobs: only the prompt is scored */
    enum hd_pooling pooling; /* not NONE: the prompt's vector is asked for and nothing else,
                              * max_tokens is 0 */
    struct hd_sampling sampling;
    bool ignore_eos;        /* go on after a stop token */
    bool logprobs;          /* fill hd_token_event.logprob */
    uint32_t top_logprobs;  /* 0 .. HD_MAX_TOP_LOGPROBS alternatives for each token */
    uint64_t cache_scope;   /* rows are shared with requests of the same one */
    bool prompt_logprobs;   /* events for the prompt's tokens too, before the answer's */
    char id[HD_REQUEST_ID]; /* by which its client and the log know it; "" = none */
};

struct hd_logprob {
    int32_t id;
    float logprob; /* natural logarithm, of the model's distribution (before temperature) */
};

struct hd_token_event {
    bool prompt;    /* a token of the prompt (prompt_logprobs) */
    uint32_t index; /* in the prompt, or in the answer */
    int32_t id;
    float logprob;                /* NAN when not asked for, and for the prompt's first token */
    const struct hd_logprob *top; /* best first; valid during the call */
    uint32_t n_top;
    bool suspect;    /* something that may have gone into it was found damaged since */
    uint32_t cached; /* tokens of the prompt whose rows were there when it began */
};

enum hd_finish {
    HD_FINISH_STOP,   /* a stop token (it is not reported as a token) */
    HD_FINISH_LENGTH, /* max_tokens, or the context is full */
    HD_FINISH_ERROR,  /* `error` says what happened */
};

struct hd_timings {
    double queue_ms;          /* submit -> first row computed */
    double prefill_ms;        /* first row computed -> first token */
    double decode_ms;         /* first token -> last token */
    double tokens_per_second; /* (tokens - 1) / decode time; 0 for fewer than 2 */
    double max_gap_ms;        /* the longest wait between two tokens */
};

struct hd_request_end {
    enum hd_finish finish;
    const char *error; /* HD_FINISH_ERROR, else NULL */
    uint32_t prompt_tokens, completion_tokens;
    uint32_t cached_tokens; /* of the prompt, whose rows were there */
    struct hd_timings timings;
    const struct hd_failover *failovers; /* that this request lived through, in order */
    size_t n_failovers;
    bool suspect;         /* something that may have gone into it was found damaged */
    const double *pooled; /* [dim]: the prompt's vector, where it was asked for and nothing went
                           * wrong; valid during the call */
};

struct hd_candidate;

/* Called from the leader's loop. on_end comes exactly once unless the request was cancelled; the
 * handle is invalid from then on. Neither may submit or cancel. */
struct hd_request_events {
    void (*on_token)(void *arg, const struct hd_token_event *t);
    void (*on_end)(void *arg, const struct hd_request_end *end);
    /* May be NULL. With prompt_logprobs: the whole row of logits behind the token at `position` +
     * 1, in the order of ids, before anything is made of it. */
    void (*on_logits)(void *arg, uint32_t position, const struct hd_candidate *row, size_t n);
    /* May be NULL. So many of the prompt's `total` tokens have been computed, or were there
     * (`cached`): the first time only these, then with each step, up to all. Tokens come behind. */
    void (*on_prompt)(void *arg, uint32_t computed, uint32_t cached, uint32_t total);
};

struct hd_request; /* a handle */

#endif
