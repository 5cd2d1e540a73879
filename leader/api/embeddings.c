/* embeddings.c - from texts to their vectors: reading, submitting, ending. */
#include "leader/api/embeddings.h"

#include "common/util/clock.h"
#include "leader/api/handlers.h"
#include "leader/api/limits.h"

#include <math.h>
#include <stdlib.h>

#define WINDOW 8 /* texts of one call that are in the engine at once */

static void count(const struct hd_embedded *t, enum hd_outcome how)
{
    struct hd_serving *s = t->all->call->api->o.backend.serving;
    hd_serving_ended(s, how, t->submitted_us, hd_now_us());
}

/* ---- Its life ----*/

static void cancel(struct hd_call *c)
{
    struct hd_embeddings *e = c->own;
    const struct hd_api_backend *b = &c->api->o.backend;
    for (size_t i = 0; !c->working && i < e->n; i++) { /* else they are a thread's, and none runs */
        struct hd_request *r = e->texts[i].request;
        e->texts[i].request = NULL;
        if (!r)
            continue;
        count(&e->texts[i], HD_OUTCOME_ABORT);
        b->cancel(b->arg, r);
    }
}

static void free_all(void *own)
{
    struct hd_embeddings *e = own;
    for (size_t i = 0; i < e->n; i++) {
        free(e->texts[i].text.ids);
        free(e->texts[i].vector);
    }
    free(e->texts);
    free(e);
}

uint64_t hd_embeddings_tokens(const struct hd_embeddings *e)
{
    uint64_t n = 0;
    for (size_t i = 0; i < e->n; i++)
        n += e->texts[i].text.n;
    return n;
}

/* The others are cancelled from the loop. */
static void fail(struct hd_embeddings *e, const struct hd_refusal *r)
{
    e->failed = true;
    hd_call_refuse(e->call, r);
    hd_call_later(e->call);
}

/* ---- Vectors ----*/

/* The first `length` values, of length 1 if that is wanted. */
static float *vector_of(const struct hd_embeddings *e, const double *pooled)
{
    float *v = calloc(e->length, sizeof *v);
    double squares = 0, norm = 1;
    for (uint32_t i = 0; i < e->length; i++)
        squares += pooled[i] * pooled[i];
    if (squares > 0 && (e->form->unit || e->call->api->o.backend.pooled->normalise))
        norm = sqrt(squares);
    for (uint32_t i = 0; v && i < e->length; i++)
        v[i] = (float)(pooled[i] / norm);
    return v;
}

/* On a thread. */
static void write_reply(void *call)
{
    struct hd_call *c = call;
    struct hd_embeddings *e = c->own;
    struct hd_text out = {0};
    if (e->form->write(e, &out) == 0)
        c->text = out.data;
    else
        hd_text_deinit(&out); /* no text: memory is out */
}

static void finish(struct hd_embeddings *e)
{
    bool large = e->n * e->length * sizeof(float) > HD_SMALL_BODY;
    const struct hd_job job = {.run = write_reply,
                               .done = hd_call_reply_worked,
                               .kind = large ? HD_JOBS_LARGE : HD_JOBS_SMALL};
    hd_call_work(e->call, &job);
}

static void on_end(void *text, const struct hd_request_end *end)
{
    struct hd_embedded *t = text;
    struct hd_embeddings *e = t->all;
    const struct hd_api_backend *b = &e->call->api->o.backend;
    struct hd_refusal r;
    t->request = NULL;
    e->running--;
    if (end->pooled && !end->suspect)
        t->vector = vector_of(e, end->pooled);
    count(t, t->vector ? HD_OUTCOME_STOP : HD_OUTCOME_ERROR);
    if (e->call->gone || e->failed)
        return;
    if (!t->vector) {
        unsigned status = b->not_ready(b->arg) ? 503 : 500;
        hd_refuse(&r, status, NULL, status == 503 ? "not_ready" : "generation_failed", "%s",
                  end->error     ? end->error
                  : end->suspect ? "A worker's memory was found damaged meanwhile; ask again."
                                 : "Out of memory.");
        fail(e, &r);
    } else if (++e->ended == e->n) {
        finish(e);
    } else {
        hd_call_later(e->call); /* the next one */
    }
}

/* ---- Requests ----*/

static int submit(struct hd_embedded *t, struct hd_error *err)
{
    static const struct hd_request_events events = {.on_end = on_end};
    struct hd_call *c = t->all->call;
    const struct hd_api_backend *b = &c->api->o.backend;
    const struct hd_request_options o = {.tokens = t->text.ids,
                                         .n_tokens = t->text.n,
                                         .pooling = b->pooled->pooling,
                                         .sampling = {.top_p = 1},
                                         .cache_scope = c->key};
    t->submitted_us = hd_now_us();
    int rc = b->submit(b->arg, &o, &events, t, &t->request, err);
    if (rc < 0)
        t->request = NULL;
    return rc;
}

/* As many as may be in the engine. A full queue is waited for if one of them is about to end. */
static void submit_some(struct hd_embeddings *e)
{
    struct hd_error err = {0};
    struct hd_refusal r;
    int rc = 0;
    while (rc == 0 && e->next < e->n && e->running < WINDOW) {
        rc = submit(&e->texts[e->next], &err);
        e->next += rc == 0;
        e->running += rc == 0;
    }
    if (rc == 0 || (rc == HD_E_LIMIT && e->running > 0))
        return;
    hd_refuse_submit(&r, rc, &err);
    fail(e, &r);
}

static void later(struct hd_call *c)
{
    struct hd_embeddings *e = c->own;
    if (e->failed)
        cancel(c);
    else if (!c->gone)
        submit_some(e);
}

static const struct hd_call_work work = {.cancel = cancel, .later = later, .free = free_all};

static void read_body(void *call)
{
    struct hd_call *c = call;
    struct hd_embeddings *e = c->own;
    json_t *body = hd_call_body(c);
    c->job.wasted = !body || e->form->read(e, body, &c->refusal) < 0;
    json_decref(body);
}

static void on_read(void *call)
{
    struct hd_call *c = call;
    struct hd_embeddings *e = c->own;
    if (!hd_call_worked(c))
        return;
    if (c->refusal.status != 0)
        hd_call_refuse(c, &c->refusal);
    else
        submit_some(e);
    hd_ignored_tell(&c->api->ignored, c->api->o.log, &e->unknown);
}

/* What is pooled from hidden states is no model's that does not say how. */
static int check_model(const struct hd_api_backend *b, struct hd_refusal *r)
{
    const struct hd_pooled *p = b->pooled;
    if (p && p->pooling != HD_POOLING_NONE)
        return 0;
    if (p && p->why_not[0])
        return hd_refuse(r, 400, "model", "unsupported_value",
                         "'%.100s' makes no embeddings here: %s.", b->model, p->why_not);
    return hd_refuse(r, 400, "model", "unsupported_value",
                     "'%.100s' writes text; it says nothing of how its hidden states are pooled, "
                     "so it makes no embeddings.",
                     b->model);
}

void hd_embeddings_start(struct hd_call *c, const struct hd_vector_form *form)
{
    struct hd_embeddings *e = NULL;
    struct hd_refusal r = {0};
    if (check_model(&c->api->o.backend, &r) == 0 && !(e = calloc(1, sizeof *e)))
        hd_refuse_memory(&r);
    if (!e) {
        hd_call_refuse(c, &r);
        return;
    }
    *e = (struct hd_embeddings){
        .call = c, .form = form, .length = c->api->o.backend.dim, .begun_us = hd_now_us()};
    c->own = e;
    c->work = &work;
    hd_call_work_on_body(c, read_body, on_read);
}

void hd_post_embeddings(struct hd_call *c, const char *rest)
{
    hd_embeddings_start(c, &hd_openai_vectors);
}

void hd_post_api_embed(struct hd_call *c, const char *rest)
{
    hd_embeddings_start(c, &hd_ollama_vectors);
}

void hd_post_api_embeddings(struct hd_call *c, const char *rest)
{
    hd_embeddings_start(c, &hd_ollama_vector);
}
