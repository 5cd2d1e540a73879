/* drafts.h - speculation: which rows of guessed tokens a step takes besides the known ones.
 *
 * A row has the same bits alone and in a batch, so guesses can be checked in the step that computes
 * the token before them: each row is sampled as ever, by (seed, index) and all that the request
 * asks for, and what follows a guess counts as long as the guess was what was sampled. The first
 * that was not is cut out of K/V and logs again. So tokens are the same with and without.
 *
 * Guesses come from what the text repeats (ngrams.h), as far as a grammar allows it, or are what
 * the grammar forces. How many are worth their rows is measured: how long a step of so many rows
 * takes, and how often guesses behind so long a match were right, of this request and of all. Of
 * all streams' next guesses the likeliest come first, as long as the expected tokens for the time
 * of the step grow; what does not pay is tried again now and then.
 *
 * Measured times decide how many rows there are, never which token comes. */
#ifndef HD_ENGINE_DRAFTS_H
#define HD_ENGINE_DRAFTS_H

#include "leader/engine/ngrams.h"

#define HD_DRAFTS_MOST   16  /* of one request in one step */
#define HD_DRAFT_ROWS    128 /* rows of a step whose times are told apart */
#define HD_DRAFT_CLASSES 7   /* of matches, by their length, and of what is forced */
#define HD_DRAFT_PATIENCE                                                                          \
    64 /* steps until what does not pay, or is not known any more, is tried                        \
        */

struct hd_engine;
struct hd_request;

/* How often guesses were right, fading. */
struct hd_draft_odds {
    double right, all;
};

/* Of a request. Zeroes: none yet. */
struct hd_drafts {
    struct hd_ngrams ngrams;
    struct hd_draft_odds odds[HD_DRAFT_CLASSES];
    unsigned kind;   /* of the guesses in hand, a class */
    uint32_t n;      /* of them, behind the tokens that are known */
    bool sent;       /* workers may have rows of some that were not right */
    unsigned spared; /* times since there were guesses, none of which was worth it */
};

/* Of an engine. */
struct hd_speculation {
    unsigned max_rows; /* of guesses, in a step; 0: none */
    struct hd_draft_odds odds[HD_DRAFT_CLASSES];
    double us[HD_DRAFT_ROWS + 1];   /* a step of so many rows; 0: not known */
    uint64_t at[HD_DRAFT_ROWS + 1]; /* the step that was measured last */
    uint64_t begun_us;
    double saved; /* steps */
    bool timed;   /* the step in hand has rows of answers only, and nothing has interrupted it */
};

/* Puts guesses behind the tokens of those that answer (n_tokens on) and says in drafts.n how many
 * the next step is to take. */
void hd_drafts_plan(struct hd_engine *e);
void hd_drafts_deinit(struct hd_drafts *d);
/* The step has begun, is interrupted, has ended. */
void hd_drafts_begun(struct hd_engine *e);
void hd_drafts_interrupted(struct hd_engine *e);
void hd_drafts_ended(struct hd_engine *e);
/* So many of the request's guesses were right; `ended`: nothing is known of the others. */
void hd_drafts_judge(struct hd_engine *e, struct hd_request *r, uint32_t right, bool ended);

#endif
