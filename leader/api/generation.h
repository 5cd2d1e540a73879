/* generation.h - one answer in the making: tokens come in, OpenAI's objects go out.
 *
 * What has come in since the last object is collected here (text, ids, scores) and goes out with
 * the next one: after every token when streaming, else once at the end. */
#ifndef HD_API_GENERATION_H
#define HD_API_GENERATION_H

#include "leader/api/channels.h"
#include "leader/api/params.h"
#include "leader/api/prompt.h"
#include "leader/api/think.h"
#include "leader/records/records.h"

struct hd_generation {
    const struct hd_api_backend *backend; /* borrowed */
    struct hd_params p;
    json_t *stop;               /* owns the strings that p.stops point to; NULL: none */
    struct hd_grammar *grammar; /* what the answer must match; NULL: anything */
    struct hd_unknown loose;    /* tools whose schema it does not hold to */
    struct hd_prompt prompt;
    char id[48];
    size_t index;    /* of the answers to one request */
    int64_t created; /* seconds since 1970 */

    struct hd_detok detok;
    struct hd_stops stops;
    struct hd_text text; /* not sent yet */
    struct hd_think think;
    struct hd_text reasoning; /* not sent yet */
    uint32_t reasoning_tokens;
    double logprobs_sum; /* where they were asked for */
    struct hd_call_marks marks;
    struct hd_calls calls; /* of tools, in the text */
    struct hd_channels
        channels;          /* of a model that speaks in such; thoughts and calls are in them */
    struct hd_text raw;    /* text in which thoughts are looked for */
    struct hd_text rest;   /* ... and calls */
    json_t *tool_calls;    /* found and not sent yet; NULL: no tools were offered */
    json_t *logprobs;      /* in OpenAI's shape, not sent yet; NULL when not asked for */
    json_t *tokens;        /* ids, not sent yet; this and the next two: NULL without "hydac" */
    json_t *scores;        /* of the answer's tokens, with ids; NULL without logprobs */
    json_t *prompt_scores; /* likewise of the prompt's */
    json_t *prompt_said;   /* the prompt's as vLLM has them; NULL: not asked for */
    size_t characters;     /* of all tokens scored so far (text_offset) */
    bool begun;            /* a chunk was made */
    bool named;            /* what another leader needs to go on was told (resume.h) */
    bool suspect;          /* something that may have gone into it was found damaged */

    uint32_t completion_tokens, cached_tokens;
    uint64_t submitted_us, first_us, last_us, max_gap_us;
    const char *finish; /* "stop", "length", "tool_calls"; NULL while it goes on */
    json_t *timings;    /* known from the end on */
    json_t *failovers;
};

/* What is drawn for an answer, and what it is a function of besides its body. */
struct hd_born {
    bool given; /* it was begun elsewhere: what follows is that answer's */
    char id[HD_RECORD_ID];
    uint64_t seed; /* for who gives none; of the first of several prompts */
    int64_t created;
    /* Ids that a template made then, whatever it makes of the body now. */
    const struct hd_record_prompt *prompts;
    size_t n_prompts;
};

struct hd_generation_options {
    const struct hd_api_backend *backend;
    const json_t *body;
    bool chat;    /* a turn of a conversation */
    bool endless; /* without max_tokens the context is the limit, as in a chat */
    /* One of the same body, which knows the prompt already, and whose seed makes that of the
     * index-th answer; NULL: none. */
    const struct hd_generation *like;
    size_t index;
    const struct hd_born *born;
    size_t prompt; /* which of the body's */
};
uint64_t hd_random_u64(void);
/* From any thread. 0, or HD_E_RANGE with *r; hd_generation_deinit is right in both cases. */
int hd_generation_init(struct hd_generation *g, const struct hd_generation_options *o,
                       struct hd_refusal *r);
void hd_generation_deinit(struct hd_generation *g);
/* What was collected of text, thoughts and calls has been made into something. */
void hd_generation_taken(struct hd_generation *g);
/* What the backend is asked; tokens are borrowed. */
void hd_generation_options(const struct hd_generation *g, struct hd_request_options *o);

/* A token came. 0; 1: it completed a stop string, the answer has ended (g->finish is set);
 * HD_E_NOMEM. */
int hd_generation_token(struct hd_generation *g, const struct hd_token_event *t);
/* The backend ended the answer (not for HD_FINISH_ERROR). 0 or HD_E_NOMEM. */
int hd_generation_end(struct hd_generation *g, const struct hd_request_end *end);

#endif
