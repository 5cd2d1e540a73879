/* encoder.h - the tokenizer as its parts see it. Internal to common/text and its tests. */
#ifndef HD_TEXT_ENCODER_H
#define HD_TEXT_ENCODER_H

#include "common/text/rust/hydac_text.h"
#include "common/text/tokenizer.h"
#include "common/text/vocab.h"

struct hd_tokenizer {
    struct hdt *core;
    uint32_t n;    /* ids: the largest + 1 */
    uint8_t *stop; /* [n] 1: ends a turn */
    int32_t bos, eos, suffix;
    bool adds_bos;
    char *chat_template; /* malloc'ed; NULL: none */
    char *no_chat;       /* why there is no chat, malloc'ed; NULL: there is one */
};

/* A tokenizer around `core`, which it owns from here on, also after an error. HD_E_FORMAT (an id
 * out of range), HD_E_NOMEM. `ends` may be freed after the call. */
struct hd_text_ends {
    int32_t bos, eos; /* -1: none */
    bool adds_bos;
    int32_t suffix;       /* behind a prompt of text; -1: nothing */
    const int32_t *stops; /* [n_stops] ids that end a turn, besides eos and the known names */
    size_t n_stops;
};
int hd_tokenizer_wrap(struct hd_tokenizer **out, struct hdt *core, const struct hd_text_ends *ends,
                      struct hd_error *err);

/* What the file was served in spite of. */
void hd_tokenizer_notes(const struct hd_tokenizer *t, struct hd_warnings *w);

/* Gives the tokenizer its chat template. One that is not understood is no error: a warning, and the
 * reason at each chat. `vars`: {"bos_token": "<s>", ...}; NULL: none. HD_E_NOMEM. */
int hd_chat_init(struct hd_tokenizer *t, struct hd_str source, const json_t *vars,
                 struct hd_warnings *w, struct hd_error *err);
/* No chat, and why. HD_E_NOMEM. */
int hd_chat_none(struct hd_tokenizer *t, const char *why, struct hd_error *err);

#endif
