/* adjust.c - biases and penalties, on a copy of the row: what is reported are the model's logits.
 */
#include "leader/engine/adjust.h"

#include "common/util/error.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

bool hd_sampling_adjusts(const struct hd_sampling *s)
{
    bool repetition = s->repetition_penalty != 0 && s->repetition_penalty != 1;
    return s->n_bias > 0 || repetition || s->presence_penalty != 0 || s->frequency_penalty != 0;
}

int hd_adjust_reserve(struct hd_adjust *a, size_t vocab)
{
    if (a->vocab == vocab)
        return 0;
    hd_adjust_deinit(a);
    a->c = calloc(vocab, 2 * sizeof *a->c);
    a->count = calloc(vocab, sizeof *a->count);
    if (!a->c || !a->count) {
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

static bool allows(const uint32_t *mask, int32_t id)
{
    return mask[id / 32] >> (id % 32) & 1;
}

void hd_adjust_apply(struct hd_adjust *a, const struct hd_sampling *s, const uint32_t *mask,
                     const int32_t *tokens, size_t n_prompt, size_t n_tokens,
                     struct hd_distribution *d)
{
    memcpy(a->c, d->c, a->vocab * sizeof *a->c);
    d->c = a->c;
    for (size_t i = 0; mask && i < a->vocab; i++)
        if (!allows(mask, (int32_t)i))
            a->c[i].logit = -INFINITY;
    for (size_t i = 0; i < s->n_bias; i++)
        a->c[s->bias[i].id].logit = (float)(a->c[s->bias[i].id].logit + s->bias[i].bias);
    if (s->repetition_penalty != 0 && s->repetition_penalty != 1)
        penalise_repetition(a, s->repetition_penalty, tokens, n_tokens);
    if (s->presence_penalty != 0 || s->frequency_penalty != 0)
        penalise_presence(a, s, tokens + n_prompt, n_tokens - n_prompt);
}

/* ---- Among the allowed ----*/

/* What a sum in f32, whose logarithm is `lse`, may be wrong by, in parts of it; with some room. */
static double slack(double lse)
{
    return 1e-5 + 4 * fabs(lse) * FLT_EPSILON;
}

/* log(sum(exp(logit / temperature))). */
static double lse_of(const struct hd_candidate *c, size_t n, double temperature)
{
    double max = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++)
        max = c[i].logit > max ? c[i].logit : max;
    for (size_t i = 0; i < n; i++)
        sum += exp((c[i].logit - max) / temperature);
    return max / temperature + log(sum);
}

/* With d->c, n of which are allowed, in a->c; all weights may take part. */
static int32_t sample_between(struct hd_adjust *a, const struct hd_sampling *s, size_t n,
                              uint64_t index, const struct hd_distribution *d)
{
    double shown = exp(lse_of(d->c, d->n, s->temperature) - d->lse);
    double hidden = (shown < 1 ? 1 - shown : 0) + slack(d->lse);
    double least = lse_of(a->c, n, s->temperature);
    double most = least + log1p(hidden * exp(d->lse - least));
    struct hd_distribution few = {.c = a->c + n, .n = n, .each = 1, .bound = d->bound};
    int32_t token[2];
    for (int i = 0; i < 2; i++) {
        memcpy(few.c, a->c, n * sizeof *a->c);
        few.lse = i == 0 ? least - 1e-9 : most;
        token[i] = hd_sample(s, index, &few);
    }
    return token[0] == token[1] ? token[0] : HD_SAMPLE_MORE;
}

int32_t hd_sample_allowed(struct hd_adjust *a, const struct hd_sampling *s, const uint32_t *mask,
                          uint64_t index, struct hd_distribution *d)
{
    bool all = isnan(d->bound);
    size_t n = 0, certain = 0; /* allowed, and of these: before all that is not here */
    for (size_t i = 0; i < d->n; i++) {
        if (!allows(mask, d->c[i].id))
            continue;
        certain += all || d->c[i].logit > d->bound;
        a->c[n++] = d->c[i];
    }
    bool greedy = s->temperature <= 0 || s->top_k == 1;
    size_t wanted = greedy || s->top_k == 0 ? 1 : s->top_k;
    if (!all && certain < wanted)
        return HD_SAMPLE_MORE;
    if (!all && !greedy && s->top_k == 0)
        return sample_between(a, s, n, index, d);
    struct hd_distribution these = {.c = a->c, .n = n, .bound = NAN, .lse = NAN};
    return hd_sample(s, index, &these);
}
