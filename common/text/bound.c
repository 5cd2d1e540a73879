/* bound.c - the longest token bounds what one may stand for; tried on rare text before it is
 * believed. */
#include "common/text/bound.h"

#include <stdlib.h>
#include <string.h>

#define SHRINKS                                                                                    \
    4          /* U+1D7CE, four bytes, is "0" in NFKC; three jamo, nine bytes, are three in NFC */
#define RUN 64 /* of one thing */

/* False when memory is out. */
static bool count(const struct hd_tokenizer *t, const char *text, size_t len, size_t *n)
{
    int32_t *ids = NULL;
    int rc = hd_tokenizer_encode(t, text, len, false, &ids, n);
    free(ids);
    return rc == 0;
}

static size_t longest(const struct hd_tokenizer *t)
{
    size_t most = 0;
    for (uint32_t id = 0; id < hd_tokenizer_vocab(t); id++) {
        size_t len = hd_tokenizer_piece(t, (int32_t)id, true).len;
        most = len > most ? len : most;
    }
    return most;
}

/* Many of these one behind the other are as many tokens as the bound says. */
static bool holds(const struct hd_token_bound *b, const struct hd_tokenizer *t, const char *unit,
                  size_t len)
{
    size_t n, times = RUN * b->most;
    char *text = malloc(times * len);
    if (!text)
        return false;
    for (size_t i = 0; i < times; i++)
        memcpy(text + i * len, unit, len);
    bool ok = count(t, text, times * len, &n) && n >= hd_token_bound_fewest(b, text, times * len);
    free(text);
    return ok;
}

void hd_token_bound_init(struct hd_token_bound *b, const struct hd_tokenizer *t)
{
    static const char rare[] = "\xF4\x8F\xBF\xBD"; /* U+10FFFD: no vocabulary has it */
    *b = (struct hd_token_bound){.most = longest(t) * SHRINKS};
    bool ok = b->most > 0;
    for (int i = 0; ok && i < 256; i++) {
        char c = (char)i;
        size_t n = 0;
        ok = count(t, &c, 1, &n);
        b->kept[i] = n > 0;
    }
    ok = ok && holds(b, t, rare, sizeof rare - 1);
    for (int i = 0; ok && i < 128; i++) {
        char c = (char)i;
        ok = !b->kept[i] || holds(b, t, &c, 1);
    }
    if (!ok)
        *b = (struct hd_token_bound){0};
}
