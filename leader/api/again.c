/* again.c - tokens of a record, through the same code that they passed through the first time. */
#include "leader/api/again.h"

#include "common/text/grammar.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int32_t *copy_ids(const int32_t *ids, size_t n)
{
    int32_t *to = malloc((n + 1) * sizeof *to);
    if (to && n > 0)
        memcpy(to, ids, n * sizeof *ids);
    return to;
}

struct hd_again *hd_again_new(struct hd_record *record)
{
    const struct hd_record_begin *b = &record->b;
    struct hd_again *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->record = record;
    g->born = (struct hd_born){.given = true,
                               .seed = b->seed,
                               .created = b->created,
                               .prompts = g->prompts,
                               .n_prompts = b->n_prompts};
    memcpy(g->born.id, b->id, strlen(b->id) + 1);
    bool good = true;
    for (size_t i = 0; i < b->n_prompts; i++) {
        g->prompts[i] = b->prompts[i];
        g->prompts[i].ids = copy_ids(b->prompts[i].ids, b->prompts[i].n);
        good = good && g->prompts[i].ids;
    }
    for (unsigned i = 0; i < b->choices; i++) {
        g->known[i].n = record->answers[i].n;
        g->known[i].ids = copy_ids(record->answers[i].ids, record->answers[i].n);
        good = good && g->known[i].ids;
    }
    if (good)
        return g;
    hd_again_free(g);
    return NULL;
}

void hd_again_free(struct hd_again *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < HD_MAX_CHOICES; i++) {
        free((void *)g->prompts[i].ids);
        free(g->known[i].ids);
        hd_text_deinit(&g->news[i]);
    }
    hd_text_deinit(&g->begin);
    free(g);
}

/* Scores of tokens are not in the record. */
static bool tokens_suffice(const struct hd_answer *a, const struct hd_generation *g)
{
    return !g->p.logprobs && a->wanted == a->a_prompt;
}

static int flush(struct hd_answer *a, size_t i, struct hd_text *out)
{
    const struct hd_generation *g = &a->choices[i].gen;
    return g->p.stream && hd_generation_has_news(g) ? a->form->news(a, i, out) : 0;
}

/* The engine is told that they are known, behind those that the request brought along. */
static int append(struct hd_generation *g, int32_t id)
{
    struct hd_resume *s = &g->p.resume;
    int32_t *more = realloc(s->tokens, (s->n + 1) * sizeof *more);
    if (!more)
        return HD_E_NOMEM;
    more[s->n++] = id;
    s->tokens = more;
    return 0;
}

/* One token. 1: the answer is whole. */
static int pass(struct hd_answer *a, size_t i, int32_t id)
{
    struct hd_generation *g = &a->choices[i].gen;
    struct hd_error err = {0};
    struct hd_token_event t = {.index = (uint32_t)g->p.resume.n, .id = id, .logprob = NAN};
    if (g->grammar && hd_grammar_take(g->grammar, id, &err) < 0)
        return HD_E_NOMEM; /* it took them once */
    int rc = append(g, id);
    return rc == 0 ? hd_generation_token(g, &t) : rc;
}

static int pass_all(struct hd_again *again, struct hd_answer *a, size_t i)
{
    struct hd_generation *g = &a->choices[i].gen;
    const struct hd_known *k = &again->known[i];
    int rc = flush(a, i, &again->news[i]); /* the role, the echo */
    for (size_t t = 0; rc == 0 && t + 1 < k->n && tokens_suffice(a, g); t++) {
        if (k->ids[t] < 0 || (uint32_t)k->ids[t] >= g->backend->vocab)
            return HD_E_NOMEM;
        rc = pass(a, i, k->ids[t]);
        if (rc == 0)
            rc = flush(a, i, &again->news[i]);
    }
    return rc < 0 ? rc : 0;
}

int hd_again_pass(struct hd_again *again, struct hd_answer *a)
{
    int rc = a->choices[0].gen.p.stream && a->form->begin ? a->form->begin(a, &again->begin) : 0;
    for (size_t i = 0; rc == 0 && i < a->n; i++)
        rc = pass_all(again, a, i);
    return rc;
}
