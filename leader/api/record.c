/* record.c - an answer's record: that it has begun, its tokens, its end (leader/records/records.h).
 */
#include "leader/api/answer.h"
#include "leader/api/runs.h"

#include <string.h>

static const struct hd_api_backend *backend_of(const struct hd_answer *a)
{
    return &a->call->api->o.backend;
}

/* Others know of it: what there is may leave. */
static void on_sure(void *answer)
{
    struct hd_answer *a = answer;
    hd_call_release(a->call);
    if (a->call->ended)
        hd_answer_recorded(a);
}

void hd_answer_record(struct hd_answer *a)
{
    const struct hd_api_backend *b = backend_of(a);
    struct hd_call *c = a->call;
    struct hd_record_prompt prompts[HD_MAX_CHOICES];
    if (a->record || !b->begun)
        return;
    const char *digest = b->model_digest(b->arg);
    struct hd_record_begin begin = {.id = a->choices[0].gen.id,
                                    .client_id = c->run ? c->run->client_id : "",
                                    .path = c->path,
                                    .model_digest = digest ? digest : "",
                                    .key = c->key,
                                    .body = hd_text_str(&a->asked),
                                    .body_len = a->asked.len,
                                    .seed = a->born.seed,
                                    .created = a->born.created,
                                    .prompts = prompts,
                                    .choices = (unsigned)a->n};
    memcpy(begin.owner, c->owner, sizeof begin.owner);
    for (size_t i = 0; i < a->n; i += a->a_prompt) {
        const struct hd_generation *g = &a->choices[i].gen;
        prompts[begin.n_prompts++] =
            (struct hd_record_prompt){g->prompt.ids, g->prompt.n, g->p.cache_scope + c->key};
    }
    a->record = b->begun(b->arg, &begin, on_sure, a, &c->hold);
    hd_text_deinit(&a->asked);
}

/* Tokens that the request brought along are in its body. */
void hd_answer_sampled(struct hd_answer *a, size_t choice, const struct hd_token_event *t)
{
    const struct hd_resume *s = &a->choices[choice].gen.p.resume;
    uint32_t before = s->given ? a->brought : 0;
    if (a->record && !t->prompt && t->index >= before)
        backend_of(a)->sampled(backend_of(a)->arg, a->record, (unsigned)choice, t->index - before,
                               t->id);
}

void hd_answer_recorded(struct hd_answer *a)
{
    struct hd_record *r = a->record;
    a->record = NULL;
    if (r)
        backend_of(a)->ended(backend_of(a)->arg, r, a->call->ended && !a->failed);
}
