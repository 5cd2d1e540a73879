/* grammar.h - what an answer must match: a JSON schema, a regular expression or a grammar, and how
 * far the answer has come in it.
 *
 * The work is done by the crate `llguidance` (rust/), the field's reference. Which tokens may come
 * next is a function of the grammar, the vocabulary and the tokens so far. What a grammar may cost
 * is bounded in steps, when it is read and for each token; one that would cost more is an error. */
#ifndef HD_TEXT_GRAMMAR_H
#define HD_TEXT_GRAMMAR_H

#include "common/text/tokenizer.h"

enum hd_grammar_kind {
    HD_GRAMMAR_JSON_SCHEMA, /* text: the schema as JSON */
    HD_GRAMMAR_REGEX,       /* ... a regular expression that the whole answer matches */
    HD_GRAMMAR_LARK,        /* ... a grammar as llguidance writes Lark's, or llama.cpp's GBNF */
};

struct hd_grammar; /* of one answer; not for two threads at once */

/* HD_E_FORMAT: it is no grammar, or too large, or nothing matches it, HD_E_STATE: the tokenizer
 * has no use for grammars; both with a sentence. From any thread, also several at once; may take a
 * moment. The tokenizer must outlive it. */
int hd_grammar_open(struct hd_grammar **out, const struct hd_tokenizer *t,
                    enum hd_grammar_kind kind, const char *text, size_t len, struct hd_error *err);
void hd_grammar_free(struct hd_grammar *g);

#define HD_GRAMMAR_CONTROL "\xff" /* in marks: the text of a control token is behind it */
struct hd_grammar_mark {
    const char *text;
    bool first; /* only where nothing but blanks was said before; the grammar begins with it */
};
struct hd_grammar_wait {
    struct hd_grammar_mark *marks; /* [n], copied */
    size_t n;
    bool again; /* what it matches may come several times, anything between; else it is the end */
    bool thoughts; /* <think> ... </think> may come first, and marks inside are none */
    bool inside;   /* ... and was begun in the prompt */
};
/* Let `g`, which has taken nothing, hold only behind one of the marks; until then anything may be
 * said, but no token in which a mark ends and something else begins. A token that has a whole mark
 * and more is text like another. HD_E_RANGE, HD_E_NOMEM. */
int hd_grammar_wait(struct hd_grammar *g, const struct hd_grammar_wait *w, struct hd_error *err);
/* False: every token may come next. It changes with what is taken. */
bool hd_grammar_holds(const struct hd_grammar *g);

/* A bit for each token that may come next, [vocab / 32, rounded up], token 0 the lowest of the
 * first word; of those that end an answer either all or none. HD_E_LIMIT: it would take too long.
 */
int hd_grammar_mask(struct hd_grammar *g, uint32_t *bits, size_t vocab, struct hd_error *err);
/* A copy that goes on by itself, and whose errors are its own. HD_E_STATE. */
int hd_grammar_fork(struct hd_grammar **out, const struct hd_grammar *g, struct hd_error *err);
/* Of these tokens, one behind the other, how many may come next; where it does not hold, all.
 * Changes nothing. */
size_t hd_grammar_allows(struct hd_grammar *g, const int32_t *ids, size_t n);
/* If the bytes that come next are certain: tokens that make them up, at most `most`, to `ids`.
 * Other tokens may make them up as well. Returns how many. */
size_t hd_grammar_forced(const struct hd_grammar *g, int32_t *ids, size_t most);
/* The token came; it must be one of the mask's. HD_E_LIMIT. */
int hd_grammar_take(struct hd_grammar *g, int32_t id, struct hd_error *err);

#endif
