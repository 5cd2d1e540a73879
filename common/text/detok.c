/* Tokens to text that is whole UTF-8 at every step. */
#include "common/text/tokenizer.h"

#include "common/text/utf8.h"
#include "common/util/size.h"

#include <stdlib.h>
#include <string.h>

static const char replacement[] = "\xEF\xBF\xBD"; /* U+FFFD */

void hd_detok_init(struct hd_detok *d, const struct hd_tokenizer *t)
{
    memset(d, 0, sizeof *d);
    d->t = t;
}

/* One character of `in` (len >= 1) to `out`; returns how many bytes it took, 0 when the character
 * is not complete yet. NUL would end the caller's string: it is replaced like a damaged byte. */
static size_t copy_char(const char *in, size_t len, char *out, size_t *n_out)
{
    int step = hd_utf8_next(in, len);
    bool good = step > 0 && in[0] != '\0';

    if (step == 0)
        return 0;
    if (good)
        memcpy(out + *n_out, in, (size_t)step);
    else
        memcpy(out + *n_out, replacement, 3);
    *n_out += good ? (size_t)step : 3;
    return (size_t)(step > 0 ? step : -step);
}

int hd_detok_push(struct hd_detok *d, int32_t id, char **text)
{
    struct hd_str piece = hd_tokenizer_piece(d->t, id, false);
    size_t total = d->n_pending + piece.len, need, at = 0, n = 0, step;
    char *out, *bytes;

    *text = NULL;
    /* In front the text (a byte becomes 3 at most), behind it the bytes it is made from. */
    if (!hd_mul_size(total, 4, &need) || !(out = malloc(need + 1)))
        return HD_E_NOMEM;
    bytes = out + need + 1 - total;
    memcpy(bytes, d->pending, d->n_pending);
    if (piece.len)
        memcpy(bytes + d->n_pending, piece.data, piece.len);
    while (at < total && (step = copy_char(bytes + at, total - at, out, &n)) > 0)
        at += step;
    d->n_pending = total - at; /* the beginning of one character: at most 3 bytes */
    memcpy(d->pending, bytes + at, d->n_pending);
    out[n] = '\0';
    *text = out;
    return 0;
}

int hd_detok_finish(struct hd_detok *d, char **text)
{
    *text = strdup(d->n_pending ? replacement : "");
    if (!*text)
        return HD_E_NOMEM;
    d->n_pending = 0;
    return 0;
}
