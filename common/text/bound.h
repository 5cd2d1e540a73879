/* bound.h - how few tokens a text can be, told from its bytes without encoding it.
 *
 * A token stands for so many bytes at most as the longest one has; bytes for which there is no
 * token are left out by the tokenizer and do not count. What a tokenizer does to a text before it
 * looks for tokens can make it shorter: composed characters (NFC, NFKC) have a quarter of the bytes
 * at least, which is allowed for; runs of one thing that become one token are looked for once, and
 * nothing is told then. */
#ifndef HD_TEXT_BOUND_H
#define HD_TEXT_BOUND_H

#include "common/text/tokenizer.h"

struct hd_token_bound {
    size_t most;    /* bytes of text for one token; 0: nothing can be told */
    bool kept[256]; /* bytes for which there is a token */
};
/* Encodes some texts. Zeroes, where memory is out: nothing can be told. */
void hd_token_bound_init(struct hd_token_bound *b, const struct hd_tokenizer *t);
/* The text is at least so many tokens. */
static inline size_t hd_token_bound_fewest(const struct hd_token_bound *b, const char *text,
                                           size_t len)
{
    size_t n = 0;
    if (b->most == 0)
        return 0;
    for (size_t i = 0; i < len; i++)
        n += b->kept[(unsigned char)text[i]];
    return n / b->most;
}

#endif
