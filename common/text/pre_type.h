/* pre_type.h - what a GGUF's tokenizer.ggml.pre stands for. Internal to common/text. */
#ifndef HD_TEXT_PRE_TYPE_H
#define HD_TEXT_PRE_TYPE_H

#include "common/model/gguf.h"

#include <stdbool.h>

struct hd_pre_type {
    const char *name;
    /* Stages of "Split, behavior Isolated" of tokenizer.json; NULL-terminated. */
    const char *const *patterns;
    bool ignore_merges; /* a word that is a token as a whole is not merged */
    bool adds_bos;      /* where tokenizer.ggml.add_bos_token does not say */
    bool nfc;           /* the models' tokenizer.json has the normalizer NFC */
};
/* NULL for a name that is not known. */
const struct hd_pre_type *hd_pre_type_find(struct hd_str name);

#endif
