/* vocab.h - the neutral form of a tokenizer that a GGUF or a test says, and the loaders. Internal
 * to common/text and its tests. */
#ifndef HD_TEXT_VOCAB_H
#define HD_TEXT_VOCAB_H

#include "common/model/gguf.h"
#include "common/text/rust/hydac_text.h"
#include "common/util/warnings.h"

#include <jansson.h>

struct hd_tokenizer;
struct hd_model;

/* A text longer than this is refused: it is above any context (2^20 tokens). */
#define HD_TEXT_MAX_BYTES ((size_t)64 << 20)
/* All token texts together; the largest vocabulary known has about 2 MiB. */
#define HD_VOCAB_MAX_BYTES ((size_t)256 << 20)
/* Pre-split stages one after another; known models have 1 to 4. */
#define HD_PRESPLIT_MAX 8

enum hd_token_kind {                   /* the numbers are hydac_text.h's */
                     HD_TOKEN_ABSENT,  /* no such id: a gap */
                     HD_TOKEN_NORMAL,  /* written in GPT-2's alphabet, reached by merges */
                     HD_TOKEN_CONTROL, /* plain text; matched in a text on request only, hidden in
                                          the output */
                     HD_TOKEN_USER,    /* plain text; always matched, shown */
                     HD_TOKEN_UNUSED,  /* never matched, hidden */
                     HD_TOKEN_BYTE,    /* "<0xHH>": stands for a byte that has no normal token */
};

/* Everything a tokenizer is built from. All views; borrowed for the call to hd_tokenizer_build. */
struct hd_vocab_source {
    struct hdt_parts parts; /* rows 0: as many as there are entries */
    int32_t bos, eos;       /* -1: none */
    bool adds_bos, adds_eos;
    const int32_t *stops; /* [n_stops] ids that end a turn, besides eos and the known names */
    size_t n_stops;
};

/* Checks and builds. HD_E_FORMAT (two tokens of one text, a merge of unknown tokens, an id out of
 * range, a pattern that does not compile), HD_E_LIMIT, HD_E_NOMEM. */
int hd_tokenizer_build(struct hd_tokenizer **out, const struct hd_vocab_source *s,
                       struct hd_error *err);

/* The loaders: read, interpret, build. Tokens beyond the model's embedding are left out with a
 * warning. */
int hd_vocab_from_gguf(struct hd_tokenizer **out, const struct hd_model *m, struct hd_warnings *w,
                       struct hd_error *err);
int hd_vocab_from_folder(struct hd_tokenizer **out, const struct hd_model *m, struct hd_warnings *w,
                         struct hd_error *err);

/* Splits "left right" at its blank. HD_E_FORMAT when there is none, or nothing beside it. */
int hd_merge_parse(struct hd_str text, struct hdt_merge *out);

#endif
