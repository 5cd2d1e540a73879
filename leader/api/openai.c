/* openai.c - OpenAI's /v1/completions and /v1/chat/completions. */
#include "leader/api/answer.h"
#include "leader/api/handlers.h"
#include "leader/api/sse.h"

static int news(struct hd_answer *a, size_t i, struct hd_text *out)
{
    return hd_sse_add(out, NULL, hd_chunk_json(&a->choices[i].gen));
}

static int end(struct hd_answer *a, struct hd_text *out)
{
    const struct hd_generation *g = &a->choices[0].gen;
    struct hd_usage u = hd_answer_usage(a);
    int rc = g->p.include_usage ? hd_sse_add(out, NULL, hd_usage_chunk_json(g, &u)) : 0;
    return rc == 0 ? hd_text_add(out, "data: [DONE]\n\n", 14) : rc;
}

static int prompt(struct hd_answer *a, size_t i, const struct hd_prompt_progress *p,
                  struct hd_text *out)
{
    return hd_sse_add(out, NULL, hd_progress_chunk_json(&a->choices[i].gen, p));
}

static int fail(struct hd_answer *a, const struct hd_refusal *r, struct hd_text *out)
{
    return hd_sse_add(out, NULL, hd_refusal_json(r));
}

/* What the model itself thinks of it, a token. */
static double score(const struct hd_choice *h)
{
    uint32_t n = h->gen.completion_tokens;
    return n > 0 ? h->gen.logprobs_sum / n : 0;
}

/* The best of a prompt's choices that was not taken yet. */
static struct hd_choice *take_best(struct hd_choice *list, size_t n, bool *taken)
{
    size_t best = n;
    for (size_t i = 0; i < n; i++)
        if (!taken[i] && (best == n || score(&list[i]) > score(&list[best])))
            best = i;
    taken[best] = true;
    return &list[best];
}

/* One answer has what is hydac's beside it, several have it each. */
static json_t *whole(struct hd_answer *a)
{
    json_t *choices = json_array();
    bool many = a->n > 1, some = a->wanted < a->a_prompt;
    size_t n = 0;
    int rc = 0;
    for (size_t p = 0; p < a->n; p += a->a_prompt) {
        bool taken[HD_MAX_CHOICES] = {false};
        for (size_t i = 0; i < a->wanted; i++) {
            struct hd_choice *h =
                some ? take_best(&a->choices[p], a->a_prompt, taken) : &a->choices[p + i];
            h->gen.index = n++;
            json_t *o = hd_choice_json(&h->gen);
            rc |= json_array_append_new(choices, many ? hd_extended_json(&h->gen, o) : o);
        }
    }
    struct hd_usage u = hd_answer_usage(a);
    json_t *o = hd_whole_json(&a->choices[0].gen, choices, &u);
    if (!many)
        o = hd_extended_json(&a->choices[0].gen, o);
    if (rc == 0)
        return o;
    json_decref(o);
    return NULL;
}

static const struct hd_form completions = {.idle = ": keep-alive\n\n",
                                           .news = news,
                                           .prompt = prompt,
                                           .end = end,
                                           .fail = fail,
                                           .whole = whole};
static const struct hd_form chat = {.chat = true,
                                    .idle = ": keep-alive\n\n",
                                    .news = news,
                                    .prompt = prompt,
                                    .end = end,
                                    .fail = fail,
                                    .whole = whole};

void hd_post_completions(struct hd_call *c, const char *rest)
{
    hd_answer_start(c, &completions);
}

void hd_post_chat(struct hd_call *c, const char *rest)
{
    hd_answer_start(c, &chat);
}
