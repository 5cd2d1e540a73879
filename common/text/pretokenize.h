/* pretokenize.h - cutting a text into the words that BPE merges within. Internal to common/text.
 *
 * A pre-splitter is a row of regular expressions. Each stage cuts its input into matches and the
 * text between matches; each piece goes to the next stage; the last stage's pieces are the words.
 * (This is "Split, behavior Isolated" of tokenizer.json, and what GGUF's pre names stand for.)
 *
 * Failure modes: bytes that are not UTF-8 cut the text, and each run of them is a word by itself;
 * a match that runs into PCRE2's limits makes the rest of that piece one word. Neither is an error:
 * any text can be encoded, in bounded time. */
#ifndef HD_TEXT_PRETOKENIZE_H
#define HD_TEXT_PRETOKENIZE_H

#include "common/text/vocab.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* GPT-2's pattern; also what tokenizer.json's ByteLevel with use_regex applies. */
extern const char hd_pattern_gpt2[];

/* What a GGUF's tokenizer.ggml.pre stands for. */
struct hd_pre_type {
    const char *name;
    const char *patterns[3]; /* NULL-terminated */
    bool ignore_merges;
    bool adds_bos; /* where tokenizer.ggml.add_bos_token does not say */
};
/* NULL for a name that is not known. */
const struct hd_pre_type *hd_pre_type_find(struct hd_str name);

struct hd_presplit {
    pcre2_code *stages[HD_PRESPLIT_MAX];
    size_t n;
    pcre2_match_context *limits;
};
/* HD_E_LIMIT (more than HD_PRESPLIT_MAX), HD_E_FORMAT (does not compile), HD_E_NOMEM. */
int hd_presplit_init(struct hd_presplit *p, const char *const *patterns, size_t n,
                     struct hd_error *err);
void hd_presplit_deinit(struct hd_presplit *p);

/* Where the words go. `word` returns 0 or a negative error that ends the run. */
struct hd_word_sink {
    int (*word)(void *arg, struct hd_str word);
    void *arg;
    uint64_t matches;   /* calls of the matcher so far: the measure of work */
    uint64_t fallbacks; /* pieces left whole because of a match error */
};
/* HD_E_NOMEM, or what the sink returned. */
int hd_presplit_run(const struct hd_presplit *p, struct hd_str text, struct hd_word_sink *sink);

#endif
