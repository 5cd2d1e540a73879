/* adjust.c - biases and penalties, on a copy of the row: what is reported are the model's logits.
 */
#include "leader/engine/adjust.h"

#include "common/text/grammar.h"
#include "common/util/error.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool hd_sampling_adjusts(const struct hd_sampling *s)
{
    bool repetition = s->repetition_penalty != 0 && s->repetition_penalty != 1;
    return (s->grammar && hd_grammar_holds(s->grammar)) || s->n_bias > 0 || repetition ||
           s->presence_penalty != 0 || s->frequency_penalty != 0;
}

int hd_adjust_reserve(struct hd_adjust *a, size_t vocab)
{
    if (a->vocab == vocab)
        return 0;
    hd_adjust_deinit(a);
    a->c = calloc(vocab, sizeof *a->c);
    a->count = calloc(vocab, sizeof *a->count);
    a->mask = calloc((vocab + 31) / 32, sizeof *a->mask);
    if (!a->c || !a->count || !a->mask) {
        hd_adjust_deinit(a);
        return HD_E_NOMEM;
    }
    a->vocab = vocab;
    return 0;
}

void hd_adjust_deinit(struct hd_adjust *a)
{
    free(a->c);
    free(a->count);
    free(a->mask);
    *a = (struct hd_adjust){0};
}

static float repeated(float logit, double penalty)
{
    return (float)(logit > 0 ? logit / penalty : logit * penalty);
}

/* Each token once, however often it is there. */
static void penalise_repetition(struct hd_adjust *a, double penalty, const int32_t *tokens,
                                size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (a->count[tokens[i]]++ == 0)
            a->c[tokens[i]].logit = repeated(a->c[tokens[i]].logit, penalty);
    for (size_t i = 0; i < n; i++)
        a->count[tokens[i]] = 0;
}

static void penalise_presence(struct hd_adjust *a, const struct hd_sampling *s,
                              const int32_t *answer, size_t n)
{
    for (size_t i = 0; i < n; i++)
        a->count[answer[i]]++;
    for (size_t i = 0; i < n; i++) {
        uint32_t *times = &a->count[answer[i]];
        float *logit = &a->c[answer[i]].logit;
        if (*times > 0)
            *logit = (float)(*logit - s->presence_penalty - s->frequency_penalty * *times);
        *times = 0;
    }
}

static int forbid(struct hd_adjust *a, struct hd_grammar *g, struct hd_error *err)
{
    bool any = false;
    int rc = hd_grammar_mask(g, a->mask, a->vocab, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < a->vocab; i++) {
        bool allowed = a->mask[i / 32] >> (i % 32) & 1;
        any |= allowed;
        if (!allowed)
            a->c[i].logit = -INFINITY;
    }
    return any ? 0 : hd_fail(err, HD_E_STATE, "no token goes on what the answer must match");
}

int hd_adjust_apply(struct hd_adjust *a, const struct hd_sampling *s, const int32_t *tokens,
                    size_t n_prompt, size_t n_tokens, struct hd_distribution *d,
                    struct hd_error *err)
{
    memcpy(a->c, d->c, a->vocab * sizeof *a->c);
    d->c = a->c;
    if (s->grammar && hd_grammar_holds(s->grammar) && forbid(a, s->grammar, err) < 0)
        return err->code;
    for (size_t i = 0; i < s->n_bias; i++)
        a->c[s->bias[i].id].logit = (float)(a->c[s->bias[i].id].logit + s->bias[i].bias);
    if (s->repetition_penalty != 0 && s->repetition_penalty != 1)
        penalise_repetition(a, s->repetition_penalty, tokens, n_tokens);
    if (s->presence_penalty != 0 || s->frequency_penalty != 0)
        penalise_presence(a, s, tokens + n_prompt, n_tokens - n_prompt);
    return 0;
}
