/* solo.h - the engine against a backend without workers: partial sums are zero, so that a row's
 * logits depend on its token alone, and they are made here. */
#ifndef HD_TESTS_SOLO_H
#define HD_TESTS_SOLO_H

#include "leader/engine/engine.h"
#include "tests/unit/engine/tiny_model.h"

enum { SOLO_TOKENS = 200, SOLO_CONTEXT = 400 };

struct solo {
    struct tiny_model tiny;
    struct hd_digests *digests; /* of the tiny model */
    struct hd_engine *engine;
    unsigned wrong_rows;    /* of the embedding, told by the engine */
    uint64_t open, kept;    /* sequences */
    uint32_t positions[64]; /* committed by sequence */
    uint32_t parent[64], shared[64];
    unsigned drafts; /* rows of guesses in a step, at most */
    unsigned abandoned, largest, halves, cuts;
    bool wanted;                /* a half-step waits to be answered */
    uint32_t rows[64];          /* of it, by sequence */
    const uint32_t *bad_logits; /* the LOGITS row that is called bad; NULL: none */
    struct hd_serving serving;
};

/* What one client saw. */
struct solo_client {
    int32_t tokens[SOLO_TOKENS];
    unsigned n;
    int32_t scored[SOLO_TOKENS];
    unsigned n_scored, n_logits;
    float logprob;
    bool ended, suspect;
    uint32_t cached;
    enum hd_finish finish;
    char error[200];
};

/* Of the tiny model, ready. blocks: of the vocabulary, 0 = as many as the model's */
void solo_open_with(struct solo *f, unsigned max_rows, enum hd_activations activations,
                    uint32_t blocks);
void solo_open(struct solo *f, unsigned max_rows);
/* ... with five numbers, a longer context, and so many positions of ended requests that are kept.
 */
void solo_open_cached(struct solo *f, unsigned max_rows, uint64_t cached);
/* ... with so many rows of guesses in a step, taken whatever they cost. */
void solo_open_drafting(struct solo *f, unsigned max_rows, unsigned drafts);
void solo_close(struct solo *f);

/* Submit a request of `prompt` tokens for an answer of `answer`; `first` decides which, and in
 * solo_ask the seed too. Its id is "r" and that number. What comes goes to `c`, which is cleared.
 */
struct hd_request *solo_ask_so(struct solo *f, struct solo_client *c, int32_t first,
                               unsigned prompt, unsigned answer, struct hd_sampling sampling);
struct hd_request *solo_ask(struct solo *f, struct solo_client *c, int32_t first, unsigned prompt,
                            unsigned answer);
extern const struct hd_request_events solo_events; /* into a struct solo_client */

/* Answer the half-step in hand as one worker that owns everything. */
void solo_answer_half(struct solo *f);
/* Answer all there is. */
void solo_run(struct solo *f);
uint32_t solo_hash_row(const uint8_t *x, size_t bytes);

#endif
