/* known.c - a list of tokens for each sequence, which grows as rows come. */
#include "worker/share/known.h"

#include "common/util/error.h"

#include <stdlib.h>
#include <string.h>

#define LEAST 64

static int grow(struct hd_known *k, size_t n)
{
    if (n <= k->cap)
        return 0;
    size_t cap = k->cap ? 2 * (size_t)k->cap : LEAST;
    cap = cap < n ? n : cap;
    int32_t *more = cap <= UINT32_MAX ? realloc(k->tokens, cap * sizeof *more) : NULL;
    if (!more)
        return HD_E_NOMEM;
    k->tokens = more;
    k->cap = (uint32_t)cap;
    return 0;
}

void hd_known_add(struct hd_known *k, uint32_t position, int32_t token)
{
    if (position < k->first || position > k->n || grow(k, position - k->first + 1) < 0)
        return;
    int32_t *at = &k->tokens[position - k->first];
    if (position == k->n || *at != token)
        k->n = position + 1;
    *at = token;
}

int hd_known_set(struct hd_known *k, const int32_t *tokens, size_t n)
{
    k->n = k->first;
    if (grow(k, n) < 0)
        return HD_E_NOMEM;
    if (n > 0)
        memcpy(k->tokens, tokens, n * sizeof *tokens);
    k->n += (uint32_t)n;
    return 0;
}

void hd_known_cut(struct hd_known *k, uint32_t position)
{
    if (position < k->n)
        k->n = position > k->first ? position : k->first;
}

void hd_known_clear(struct hd_known *k, uint32_t first)
{
    free(k->tokens);
    *k = (struct hd_known){.first = first, .n = first, .scope = k->scope};
}

void hd_known_free(struct hd_known *k)
{
    free(k->tokens);
    *k = (struct hd_known){0};
}
