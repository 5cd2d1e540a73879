/* hydac_text.h - the C side of the library in this folder: tokenizers and chat templates by the
 * crates `tokenizers` and `minijinja`. Internal to common/text.
 *
 * Nothing here keeps state between calls, and a tokenizer that is built is only read: any number of
 * threads may use one at once (all but hdt_set_template and hdt_free). Every size is in bytes; what
 * comes back by `**` is malloc'ed, the caller's, and NULL where its count is 0. Functions with an
 * `err` return 0 or one of hydac's negative error codes with a sentence, never a signal: a panic
 * inside becomes HD_E_STATE. */
#ifndef HYDAC_TEXT_H
#define HYDAC_TEXT_H

#include "common/model/gguf.h"
#include "common/util/error.h"

#include <stdbool.h>
#include <stdint.h>

struct hdt; /* a tokenizer, maybe with a chat template */

/* From a tokenizer.json. `config`: the tokenizer_config.json beside it, for the tokens that it adds
 * to it; len 0: none. `rows` of the embedding: an added token beyond them is left out with a note.
 * HD_E_FORMAT; HD_E_UNSUPPORTED for what would be done differently. */
int hdt_from_json(struct hdt **out, struct hd_str json, struct hd_str config, uint32_t rows,
                  struct hd_error *err);

struct hdt_entry {
    struct hd_str text;
    int kind; /* enum hd_token_kind (vocab.h) */
};
struct hdt_merge {
    struct hd_str left, right;
};
struct hdt_parts {
    const struct hdt_entry *entries; /* [n_entries], by id */
    size_t n_entries;
    const float *scores;            /* [n_entries]; NULL: none */
    const struct hdt_merge *merges; /* [n_merges], best first */
    size_t n_merges;
    const char *const *patterns; /* [n_patterns] regular expressions: pre-split, each within the
                                  * pieces of the one before */
    size_t n_patterns;
    bool ignore_merges; /* a word that is a token as a whole is not merged */
    bool nfc;           /* texts are brought to NFC first */
    bool ranked;        /* byte-level BPE by scores: the token with the best one is merged first */
    bool spm;           /* SentencePiece's BPE by scores, not byte-level BPE by ranks */
    bool unigram;       /* with spm: the likeliest way to cut a text, not merges */
    bool squeeze;       /* with spm: no blanks at the ends, one instead of several */
    struct hd_str charsmap; /* with spm: its normalizer's map of characters; len 0: none */
    bool add_space;         /* SentencePiece: a blank in front of each stretch of text */
    int32_t unk;            /* -1: what has no token is left out */
    uint32_t rows;          /* of the embedding */
};
/* From a vocabulary. As hdt_from_json. */
int hdt_from_parts(struct hdt **out, const struct hdt_parts *p, struct hd_error *err);
void hdt_free(struct hdt *t);

uint32_t hdt_size(const struct hdt *t);                    /* the largest id + 1 */
int32_t hdt_find(const struct hdt *t, struct hd_str text); /* a token's id; -1: none */
/* A token's bytes, valid as long as the tokenizer; `hidden`: no part of an answer's text. */
struct hd_str hdt_piece(const struct hdt *t, int32_t id, bool *hidden);
/* Sentences about the file, data NULL behind the last. */
struct hd_str hdt_note(const struct hdt *t, size_t i);
/* What the file's post-processor puts in front of a text and behind it. */
void hdt_affixes(const struct hdt *t, const uint32_t **prefix, size_t *n_prefix,
                 const uint32_t **suffix, size_t *n_suffix);

/* A text's ids, without affixes. Bytes that are not UTF-8 become the tokens of single bytes.
 * `special`: whether the text of a control token becomes it. HD_E_RANGE: the text has a token
 * beyond the embedding. */
int hdt_encode(const struct hdt *t, struct hd_str text, bool special, int32_t **ids, size_t *n,
               struct hd_error *err);

/* Compiles a chat template; `vars`: a JSON object of strings that it sees (bos_token...).
 * HD_E_UNSUPPORTED with jinja's sentence. */
int hdt_set_template(struct hdt *t, struct hd_str source, struct hd_str vars, struct hd_error *err);

/* A conversation's ids (guard.rs says how text of messages is kept from becoming control tokens).
 * `json`: as hd_chat_encode has it. `now`: seconds since 1970, what strftime_now shows. HD_E_RANGE:
 * refused by the template's raise_exception (whose text it is) or because of a message;
 * HD_E_UNSUPPORTED: the template does something that cannot be done. */
int hdt_chat(const struct hdt *t, struct hd_str json, int64_t now, int32_t **ids, size_t *n_ids,
             struct hd_error *err);
/* What the template makes of it, as text (not NUL-terminated): for tests. */
int hdt_render(const struct hdt *t, struct hd_str json, int64_t now, char **text, size_t *len,
               struct hd_error *err);

/* What an answer must match, and how far it has come. Not for two threads at once. */
struct hdt_grammar;
/* `kind`: enum hd_grammar_kind. `stops`: ids that end an answer; all grammars of a tokenizer have
 * the first one's. HD_E_FORMAT: it is none, or no text matches it, or it is too large; any thread,
 * also several at once. The tokenizer must outlive it. */
int hdt_grammar_new(struct hdt_grammar **out, const struct hdt *t, int kind, struct hd_str text,
                    const uint32_t *stops, size_t n_stops, struct hd_error *err);
/* It holds only behind one of `marks`, [n], copied: grammar.h has the words. HD_E_RANGE. */
struct hdt_mark {
    struct hd_str text;
    bool first;
};
int hdt_grammar_wait(struct hdt_grammar *g, const struct hdt_mark *marks, size_t n, bool again,
                     bool thoughts, bool inside, struct hd_error *err);
/* False: any token may come next. */
bool hdt_grammar_holds(const struct hdt_grammar *g);
/* A bit for each token that may come next, [words]. HD_E_LIMIT: it would take too long. */
int hdt_grammar_mask(struct hdt_grammar *g, uint32_t *bits, size_t words, struct hd_error *err);
/* The token came. HD_E_LIMIT. */
int hdt_grammar_take(struct hdt_grammar *g, uint32_t id, struct hd_error *err);
/* Another one that goes on by itself from here. */
int hdt_grammar_fork(struct hdt_grammar **out, const struct hdt_grammar *g, struct hd_error *err);
/* Of tokens [n] that follow one another, how many may come next. */
size_t hdt_grammar_allows(struct hdt_grammar *g, const uint32_t *ids, size_t n);
/* Tokens of what must come next, at most so many; returns how many. */
size_t hdt_grammar_forced(const struct hdt_grammar *g, uint32_t *ids, size_t most);
void hdt_grammar_free(struct hdt_grammar *g);

#endif
