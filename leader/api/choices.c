/* choices.c - the answers that a body asks for: `n` or `best_of` of each prompt. */
#include "leader/api/answer.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The prompts of a completion may be several. */
static const json_t *prompts_of(const struct hd_answer *a, const json_t *body)
{
    const json_t *v = json_object_get(body, "prompt"), *first = json_array_get(v, 0);
    bool several = !a->chat && (json_is_string(first) || json_is_array(first));
    return several && json_array_size(v) > 1 ? v : NULL;
}

/* How many choices, by the first of them. */
static int make_room(struct hd_answer *a, const struct hd_params *p, size_t prompts,
                     struct hd_refusal *r)
{
    bool one = a->form->read != NULL; /* other forms know no more */
    a->wanted = one ? 1 : p->n;
    a->a_prompt = one ? 1 : p->best_of > p->n ? p->best_of : p->n;
    if (p->resume.given && a->a_prompt * prompts > 1)
        return hd_refuse(
            r, 400, "hydac", "invalid_value",
            "An answer can only go on alone: without 'n', 'best_of' and other prompts.");
    if (a->a_prompt * prompts > HD_MAX_CHOICES)
        return hd_refuse(r, 400, prompts > 1 ? "prompt" : "n", "invalid_value",
                         "%zu answers are too many for one request; %d are possible.",
                         a->a_prompt * prompts, HD_MAX_CHOICES);
    struct hd_choice *more = realloc(a->choices, a->a_prompt * prompts * sizeof *more);
    if (!more)
        return hd_refuse_memory(r);
    memset(more + a->n, 0, (a->a_prompt * prompts - a->n) * sizeof *more);
    a->choices = more;
    return 0;
}

/* The choices of prompt p, of which the first may be there. */
static int read_choices(struct hd_answer *a, json_t *body, size_t p, struct hd_refusal *r)
{
    size_t first = p * a->a_prompt;
    struct hd_generation_options o = {.backend = &a->call->api->o.backend,
                                      .body = body,
                                      .chat = a->chat,
                                      .endless = a->form->endless,
                                      .born = &a->born,
                                      .prompt = p};
    while (a->n < first + a->a_prompt) {
        o.index = a->n - first;
        o.like = o.index > 0 ? &a->choices[first].gen : NULL;
        if (hd_generation_init(&a->choices[a->n++].gen, &o, r) < 0)
            return HD_E_RANGE;
    }
    return 0;
}

/* One answer, of several generations. */
static void make_one(struct hd_answer *a)
{
    for (size_t i = 0; i < a->n; i++) {
        struct hd_generation *g = &a->choices[i].gen, *first = &a->choices[0].gen;
        a->choices[i].answer = a;
        memcpy(g->id, first->id, sizeof g->id);
        g->created = first->created;
        g->index = i;
    }
}

int hd_choices_read(struct hd_answer *a, json_t *body, struct hd_refusal *r)
{
    const json_t *prompts = prompts_of(a, body);
    size_t n = prompts ? json_array_size(prompts) : 1;
    int rc = 0;
    if (n > HD_MAX_CHOICES)
        return hd_refuse(r, 400, "prompt", "invalid_value",
                         "%zu prompts are too many; %d are "
                         "possible.",
                         n, HD_MAX_CHOICES);
    a->choices = calloc(1, sizeof *a->choices);
    a->a_prompt = 1;
    if (!a->born.given)
        a->born = (struct hd_born){.seed = hd_random_u64() >> 1, .created = (int64_t)time(NULL)};
    if (!a->choices)
        return hd_refuse_memory(r);
    for (size_t p = 0; rc == 0 && p < n; p++) {
        json_t *one = prompts ? json_copy(body) : json_incref(body);
        if (prompts)
            rc = json_object_set(one, "prompt", json_array_get(prompts, p)) == 0
                     ? 0
                     : hd_refuse_memory(r);
        if (rc == 0)
            rc = read_choices(a, one, p, r);
        if (rc == 0 && p == 0) {
            rc = make_room(a, &a->choices[0].gen.p, n, r);
            if (rc == 0)
                rc = read_choices(a, one, 0, r);
        }
        json_decref(one);
    }
    if (rc == 0)
        make_one(a);
    return rc;
}

void hd_choices_free(struct hd_answer *a)
{
    for (size_t i = 0; i < a->n; i++)
        hd_generation_deinit(&a->choices[i].gen);
    free(a->choices);
    a->choices = NULL;
    a->n = 0;
}

struct hd_usage hd_answer_usage(const struct hd_answer *a)
{
    struct hd_usage u = {0};
    for (size_t i = 0; i < a->n; i++) {
        const struct hd_generation *g = &a->choices[i].gen;
        u.prompt += i % a->a_prompt == 0 ? g->prompt.n : 0;
        u.cached += i % a->a_prompt == 0 ? g->cached_tokens : 0;
        u.completion += g->completion_tokens;
        u.reasoning += g->reasoning_tokens;
        u.thoughts |= g->think.on;
    }
    return u;
}
