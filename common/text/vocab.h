/* vocab.h - the neutral form of a tokenizer (what a GGUF, a tokenizer.json or a test says), and the
 * vocabulary that is built from it. Internal to common/text and its tests.
 *
 * Glossary: "alphabet" is GPT-2's way of writing bytes as printable characters (0x20 is U+0120);
 * tokens and merges come written in it and are turned into plain bytes when they are loaded. */
#ifndef HD_TEXT_VOCAB_H
#define HD_TEXT_VOCAB_H

#include "common/model/gguf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hd_tokenizer;
struct hd_model;

/* A text longer than this is refused: it is above any context (2^20 tokens), and positions in it
 * fit 32 bits with room to spare. */
#define HD_TEXT_MAX_BYTES ((size_t)64 << 20)
/* All token texts together; the largest vocabulary known has about 2 MiB. */
#define HD_VOCAB_MAX_BYTES ((size_t)256 << 20)
/* Pre-split stages one after another; known models have 1 to 4. */
#define HD_PRESPLIT_MAX 8

enum hd_token_kind {
    HD_TOKEN_ABSENT,  /* no such id: a gap */
    HD_TOKEN_NORMAL,  /* written in the alphabet, reached by merges */
    HD_TOKEN_CONTROL, /* plain text; matched in a text on request only, hidden in the output */
    HD_TOKEN_USER,    /* plain text; always matched, shown */
    HD_TOKEN_UNUSED,  /* never matched, hidden */
    HD_TOKEN_BYTE,    /* "<0xHH>": stands for a byte that has no normal token */
};

struct hd_vocab_entry {
    struct hd_str text;
    enum hd_token_kind kind;
};

struct hd_merge {
    struct hd_str left, right; /* in the alphabet */
};

/* Everything a tokenizer is built from. All views; borrowed for the call to hd_tokenizer_build. */
struct hd_vocab_source {
    const struct hd_vocab_entry *entries; /* [n_entries], by id */
    uint32_t n_entries;
    const struct hd_merge *merges; /* [n_merges], best first */
    size_t n_merges;
    const char *const *patterns; /* [n_patterns] pre-split stages; 0: none */
    size_t n_patterns;
    bool ignore_merges; /* a word that is a token as a whole is not merged */
    bool adds_bos;
    int32_t bos, eos;     /* -1: none */
    int32_t unk;          /* for bytes that have no token; -1: such bytes are dropped */
    const int32_t *stops; /* [n_stops] ids that end a turn, besides eos and the known names */
    size_t n_stops;
    struct hd_str chat_template; /* len 0: none */
};

/* Checks and indexes. HD_E_FORMAT (two tokens of one text, a merge of unknown tokens, an id out of
 * range, a pattern that does not compile), HD_E_LIMIT, HD_E_NOMEM. */
int hd_tokenizer_build(struct hd_tokenizer **out, const struct hd_vocab_source *s,
                       struct hd_error *err);

/* The loaders: read, interpret, build. `vocab` is the number of rows of the model's embedding;
 * a token id beyond it is HD_E_FORMAT. */
int hd_vocab_from_gguf(struct hd_tokenizer **out, const struct hd_model *m, struct hd_error *err);
int hd_vocab_from_folder(struct hd_tokenizer **out, const struct hd_model *m, struct hd_error *err);

/* ---- The built vocabulary -------------------------------------------------------------------*/
struct hd_token {
    uint32_t off, len; /* bytes in `arena` */
    uint8_t kind;      /* enum hd_token_kind */
    bool stop;
};

struct hd_vocab {
    struct hd_token *tokens; /* [n] */
    uint32_t n;
    char *arena;
    size_t arena_len;
    int32_t byte_id[256]; /* -1: the byte has no token */
    uint32_t *slots;      /* open addressing over normal tokens: id + 1, 0 = free */
    size_t n_slots;       /* a power of two, at most half full */
    int32_t *specials;    /* [n_specials] ids matched in texts, in byte order of their texts */
    size_t n_specials;
    bool starts[256]; /* whether a special begins with the byte */
};

int hd_vocab_init(struct hd_vocab *v, const struct hd_vocab_source *s, struct hd_error *err);
void hd_vocab_deinit(struct hd_vocab *v);

static inline struct hd_str hd_vocab_text(const struct hd_vocab *v, int32_t id)
{
    return (struct hd_str){v->arena + v->tokens[id].off, v->tokens[id].len};
}

/* The normal token of these bytes, or -1. */
int32_t hd_vocab_find(const struct hd_vocab *v, const char *bytes, size_t len);
/* The control or user token of this text, or -1. */
int32_t hd_vocab_find_special(const struct hd_vocab *v, const char *text, size_t len);
/* The longest special that `text` begins with, or -1; control tokens only when `control`. */
int32_t hd_vocab_match(const struct hd_vocab *v, const char *text, size_t len, bool control);

/* Alphabet to bytes: `out` has room for s.len. Returns the length, or -1 when a character is not
 * of the alphabet. */
ptrdiff_t hd_alphabet_decode(struct hd_str s, char *out);
/* "left right" to its parts (the alphabet has no blank). HD_E_FORMAT. */
int hd_merge_parse(struct hd_str text, struct hd_merge *out);

#endif
