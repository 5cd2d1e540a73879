/* tokens.h - a vocabulary while it is read from a file that is neither tokenizer.json nor GGUF, and
 * the readers of such files. Internal to common/text. */
#ifndef HD_TEXT_TOKENS_H
#define HD_TEXT_TOKENS_H

#include "common/text/vocab.h"

struct hd_tokens {
    struct hdt_entry *entries; /* [n], their texts are owned */
    float *scores;             /* [n] */
    size_t n, room;
    int failed;       /* the first error of a put: HD_E_NOMEM, HD_E_LIMIT, HD_E_FORMAT */
    int32_t bos, eos; /* -1: none */
    bool adds_bos;
};

/* Token `id` with a copy of its text; gaps stay absent. Errors are remembered. */
void hd_tokens_put(struct hd_tokens *t, size_t id, struct hd_str text, int kind, float score);
/* Likewise, its text being bytes, which are written in GPT-2's alphabet. */
void hd_tokens_put_bytes(struct hd_tokens *t, size_t id, struct hd_str bytes, float score);
/* The tokens of tokenizer_config.json's added_tokens_decoder whose ids are free. */
void hd_tokens_put_config(struct hd_tokens *t, const json_t *config);
void hd_tokens_free(struct hd_tokens *t);
/* A sentence for t->failed; 0 when nothing has. */
int hd_tokens_check(const struct hd_tokens *t, const char *file, struct hd_error *err);

/* Standard base64 with its padding; *out: [len / 4 * 3]. False: it is none. */
bool hd_base64_decode(struct hd_str text, char *out, size_t *len);

/* Each makes a tokenizer of a file's bytes, with the tokens of tokenizer_config.json (NULL: none)
 * besides, and says BOS and EOS in `t`, which is zeroed and freed by the caller. HD_E_FORMAT,
 * HD_E_LIMIT, HD_E_UNSUPPORTED, HD_E_NOMEM; `err` without the file's name. */
typedef int hd_tokens_reader(struct hdt **core, struct hd_tokens *t, struct hd_str file,
                             const json_t *config, uint32_t rows, struct hd_error *err);
hd_tokens_reader hd_read_sentencepiece, hd_read_tiktoken, hd_read_tekken;

#endif
