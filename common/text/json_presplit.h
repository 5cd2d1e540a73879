/* json_presplit.h - tokenizer.json's pre_tokenizer as pre-split patterns. Internal to
 * common/text. */
#ifndef HD_TEXT_JSON_PRESPLIT_H
#define HD_TEXT_JSON_PRESPLIT_H

#include "common/text/pretokenize.h"

#include <jansson.h>

struct hd_json_presplit {
    char *patterns[HD_PRESPLIT_MAX]; /* malloc'ed */
    size_t n;
};
/* Understands Sequence, Split (Isolated), Digits and, as the last of all, ByteLevel. Anything else
 * is HD_E_UNSUPPORTED; HD_E_FORMAT, HD_E_LIMIT, HD_E_NOMEM. Deinit is due also after an error. */
int hd_json_presplit_read(struct hd_json_presplit *p, const json_t *pre_tokenizer,
                          struct hd_error *err);
void hd_json_presplit_deinit(struct hd_json_presplit *p);

#endif
