/* grammar.c - grammars by the library in rust/, with the tokenizer's own ends of an answer. */
#include "common/text/grammar.h"

#include "common/text/encoder.h"

#include <stdlib.h>
#include <string.h>

/* Ids that end an answer, malloc'ed; *n 0: there are none. */
static uint32_t *stops_of(const struct hd_tokenizer *t, size_t *n)
{
    uint32_t *ids = calloc((size_t)t->n + 1, sizeof *ids);

    *n = 0;
    for (uint32_t i = 0; ids && i < t->n; i++)
        if (t->stop[i])
            ids[(*n)++] = i;
    return ids;
}

int hd_grammar_open(struct hd_grammar **out, const struct hd_tokenizer *t,
                    enum hd_grammar_kind kind, const char *text, size_t len, struct hd_error *err)
{
    size_t n;
    uint32_t *stops = stops_of(t, &n);
    struct hdt_grammar *g = NULL;
    int rc;

    if (!stops)
        return hd_fail(err, HD_E_NOMEM, "grammar: out of memory");
    rc = hdt_grammar_new(&g, t->core, (int)kind, (struct hd_str){text, len}, stops, n, err);
    free(stops);
    *out = (struct hd_grammar *)g;
    return rc;
}

void hd_grammar_free(struct hd_grammar *g)
{
    hdt_grammar_free((struct hdt_grammar *)g);
}

int hd_grammar_wait(struct hd_grammar *g, const struct hd_grammar_wait *w, struct hd_error *err)
{
    struct hdt_mark *marks = calloc(w->n + 1, sizeof *marks);
    if (!marks)
        return hd_fail(err, HD_E_NOMEM, "grammar: out of memory");
    for (size_t i = 0; i < w->n; i++)
        marks[i] =
            (struct hdt_mark){{w->marks[i].text, strlen(w->marks[i].text)}, w->marks[i].first};
    int rc = hdt_grammar_wait((struct hdt_grammar *)g, marks, w->n, w->again, w->thoughts,
                              w->inside, err);
    free(marks);
    return rc;
}

bool hd_grammar_holds(const struct hd_grammar *g)
{
    return hdt_grammar_holds((const struct hdt_grammar *)g);
}

int hd_grammar_mask(struct hd_grammar *g, uint32_t *bits, size_t vocab, struct hd_error *err)
{
    return hdt_grammar_mask((struct hdt_grammar *)g, bits, (vocab + 31) / 32, err);
}

int hd_grammar_take(struct hd_grammar *g, int32_t id, struct hd_error *err)
{
    return hdt_grammar_take((struct hdt_grammar *)g, (uint32_t)id, err);
}

int hd_grammar_fork(struct hd_grammar **out, const struct hd_grammar *g, struct hd_error *err)
{
    struct hdt_grammar *copy = NULL;
    int rc = hdt_grammar_fork(&copy, (const struct hdt_grammar *)g, err);
    *out = (struct hd_grammar *)copy;
    return rc;
}

size_t hd_grammar_allows(struct hd_grammar *g, const int32_t *ids, size_t n)
{
    return hdt_grammar_allows((struct hdt_grammar *)g, (const uint32_t *)ids, n);
}

size_t hd_grammar_forced(const struct hd_grammar *g, int32_t *ids, size_t most)
{
    return hdt_grammar_forced((const struct hdt_grammar *)g, (uint32_t *)ids, most);
}
