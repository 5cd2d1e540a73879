/* encoder.h - the tokenizer as its parts see it: vocabulary, merges, pre-splitter, chat family.
 * Internal to common/text and its tests. */
#ifndef HD_TEXT_ENCODER_H
#define HD_TEXT_ENCODER_H

#include "common/text/bpe.h"
#include "common/text/pretokenize.h"
#include "common/text/tokenizer.h"
#include "common/text/vocab.h"

/* A chat family with what the model's own template says about it. */
struct hd_chat {
    enum hd_chat_family family;
    int32_t open;       /* <|im_start|> or <|start_header_id|> */
    int32_t header_end; /* <|end_header_id|>; -1: the family has none */
    int32_t close;      /* <|im_end|> or <|eot_id|> */
    bool bos;           /* the template begins with BOS */
    bool trim;          /* the template strips blanks around a message */
    char *system;       /* system text when the first message is none; NULL: no such message */
    char *preamble;     /* comes before the first system text; NULL: nothing */
};
/* Reads the family out of a template; one that we do not know is HD_CHAT_NONE, not an error.
 * HD_E_NOMEM. */
int hd_chat_init(struct hd_chat *c, const struct hd_vocab *v, struct hd_str chat_template,
                 struct hd_error *err);
void hd_chat_deinit(struct hd_chat *c);

struct hd_tokenizer {
    struct hd_vocab vocab;
    struct hd_bpe bpe;
    struct hd_presplit presplit;
    struct hd_chat chat;
    int32_t bos, eos;
    bool adds_bos;
};

/* What an encoding took: grows with the text's length, n log n at worst. */
struct hd_encode_work {
    uint64_t matches;   /* calls of the regular expression matcher */
    uint64_t fallbacks; /* pieces left whole because of a match error */
    uint64_t pops;      /* candidate merges looked at */
};

/* hd_tokenizer_encode behind the ids that `out` has already. `work` may be NULL. HD_E_NOMEM (`out`
 * may then hold a part), HD_E_LIMIT for a text above HD_TEXT_MAX_BYTES. */
int hd_encode_append(const struct hd_tokenizer *t, struct hd_str text, bool special,
                     struct hd_ids *out, struct hd_encode_work *work);

#endif
