/* answer.c - from the body to the backend, from its events to the client. */
#include "leader/api/answer.h"

#include "common/util/clock.h"
#include "leader/api/again.h"
#include "leader/api/limits.h"
#include "leader/api/resume.h"
#include "leader/api/runs.h"
#include "leader/api/sse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct hd_answer *answer_of(const struct hd_call *c)
{
    return c->own;
}

static bool is_stream(const struct hd_answer *a)
{
    return a->choices[0].gen.p.stream;
}

/* ---- Ends -----------------------------------------------------------------------------------*/

/* Counts how a choice ended, the first time. */
static void count(struct hd_choice *h, enum hd_outcome how)
{
    struct hd_serving *s = h->answer->call->api->o.backend.serving;
    if (!h->counted)
        hd_serving_ended(s, how, h->gen.submitted_us, hd_now_us());
    h->counted = true;
}

static void cancel_choice(struct hd_choice *h)
{
    const struct hd_api_backend *b = &h->answer->call->api->o.backend;
    struct hd_request *r = h->request;
    h->request = NULL;
    h->cancel = false;
    if (!r)
        return;
    count(h, HD_OUTCOME_ABORT); /* unless the answer was whole: a stop string */
    b->cancel(b->arg, r);
}

static void cancel_some(struct hd_call *c, bool all)
{
    struct hd_answer *a = answer_of(c);
    size_t n = c->working ? 0 : a->n; /* else they are a thread's, and no request runs */
    for (size_t i = 0; i < n; i++)
        if (all || a->choices[i].cancel)
            cancel_choice(&a->choices[i]);
}

static void cancel(struct hd_call *c)
{
    cancel_some(c, true);
}

static void cancel_marked(struct hd_call *c)
{
    cancel_some(c, false);
}

/* Cancels from the loop, as events must not. */
static void cancel_later(struct hd_choice *h)
{
    h->cancel = true;
    hd_call_later(h->answer->call);
}

static void cancel_all_later(struct hd_answer *a)
{
    for (size_t i = 0; i < a->n; i++)
        cancel_later(&a->choices[i]);
}

static void free_answer(void *own)
{
    struct hd_answer *a = own;
    hd_answer_recorded(a);
    hd_choices_free(a);
    json_decref(a->kept);
    hd_text_deinit(&a->asked);
    hd_text_deinit(&a->news);
    if (a->form->free)
        a->form->free(a->state);
    free(a);
}

static const struct hd_call_work work = {
    .cancel = cancel, .later = cancel_marked, .free = free_answer};

/* ---- Events of a stream ----*/

/* Those of a->news are the choice's: numbered, and sent or kept for who reads them. */
static int pass_on(struct hd_answer *a, size_t choice, bool numbered)
{
    struct hd_call *c = a->call;
    const char *at = hd_text_str(&a->news);
    bool lines = a->form->type != NULL;
    int rc = 0;
    for (size_t left = a->news.len, n; rc == 0 && left > 0; left -= n, at += n) {
        n = hd_event_len(at, left, lines);
        if (c->run)
            rc = hd_run_add(c->run, (unsigned)choice, numbered && !lines, at, n);
        else if (numbered && !lines)
            rc = hd_number_event(&a->numbers, (unsigned)choice, at, n, &c->out);
        else
            rc = hd_text_add(&c->out, at, n);
    }
    hd_text_clear(&a->news);
    return rc;
}

static int tell_news(struct hd_answer *a, size_t choice)
{
    int rc = a->form->news(a, choice, &a->news);
    return rc == 0 ? pass_on(a, choice, true) : rc;
}

static int tell_begin(struct hd_answer *a)
{
    int rc = a->form->begin ? a->form->begin(a, &a->news) : 0;
    return rc == 0 ? pass_on(a, 0, true) : rc;
}

static int tell_end(struct hd_answer *a)
{
    int rc = a->form->end(a, &a->news);
    return rc == 0 ? pass_on(a, 0, true) : rc;
}

/* It is no event of the answer, which may be gone on with behind the last one. */
static int tell_failure(struct hd_answer *a, const struct hd_refusal *r)
{
    int rc = a->form->fail(a, r, &a->news);
    return rc == 0 ? pass_on(a, 0, false) : rc;
}

/* What can be done no more for this client: cut it off. */
static void give_up(struct hd_answer *a, int rc)
{
    hd_warn(a->call->api->o.log, "http_cut_off", "id=%s why=%s", a->choices[0].gen.id,
            rc == HD_E_LIMIT ? "slow_client" : "out_of_memory");
    a->call->gone = true;
}

/* 0, or why the client cannot be served any more. */
static int check_unsent(const struct hd_call *c, int rc)
{
    return rc == 0 && c->out.len - c->out_sent > HD_MAX_UNSENT ? HD_E_LIMIT : rc;
}

/* On a thread, or on the loop if it is short. */
static void write_whole(void *call)
{
    struct hd_call *c = call;
    c->text = hd_json_text(answer_of(c)->form->whole(answer_of(c)));
}

static void reply_whole(struct hd_call *c)
{
    hd_call_reply_text(c, NULL, c->text);
    c->text = NULL;
}

static void finish_whole(struct hd_answer *a)
{
    static const struct hd_job job = {
        .run = write_whole, .done = hd_call_reply_worked, .kind = HD_JOBS_LARGE};
    bool is_long = false;
    for (size_t i = 0; i < a->n; i++)
        is_long |= hd_generation_is_long(&a->choices[i].gen);
    if (is_long) {
        hd_call_work(a->call, &job);
        return;
    }
    write_whole(a->call);
    reply_whole(a->call);
}

/* A choice is whole; with the last of them the answer is. */
static void finish(struct hd_choice *h)
{
    struct hd_answer *a = h->answer;
    struct hd_call *c = a->call;
    bool full = strcmp(h->gen.finish, "length") == 0;
    count(h, full ? HD_OUTCOME_LENGTH : HD_OUTCOME_STOP);
    h->ended = true;
    a->running--;
    c->ended = a->running == 0;
    if (c->ended && !c->hold)
        hd_answer_recorded(a);
    if (!is_stream(a)) {
        if (c->ended)
            finish_whole(a);
        return;
    }
    int rc = tell_news(a, (size_t)(h - a->choices));
    if (rc == 0 && c->ended)
        rc = tell_end(a);
    if (rc < 0) {
        give_up(a, rc);
        cancel_all_later(a);
    }
    hd_call_wake(c);
}

static void fail(struct hd_choice *h, const char *error)
{
    struct hd_answer *a = h->answer;
    struct hd_call *c = a->call;
    struct hd_refusal r;
    const struct hd_api_backend *b = &c->api->o.backend;
    unsigned status = b->not_ready(b->arg) ? 503 : 500;
    hd_refuse(&r, status, NULL, status == 503 ? "not_ready" : "generation_failed", "%s",
              error ? error : "The request failed.");
    count(h, HD_OUTCOME_ERROR);
    cancel_all_later(a);
    h->ended = c->ended = true;
    c->hold = false;
    a->failed = true;
    if (c->run)
        c->run->failed = true;
    hd_answer_recorded(a);
    if (!is_stream(a)) {
        hd_call_refuse(c, &r);
        return;
    }
    int rc = tell_failure(a, &r); /* and no end: the answer is not whole */
    if (rc < 0)
        give_up(a, rc);
    hd_call_wake(c);
}

/* ---- Events ---------------------------------------------------------------------------------*/

static int flush(struct hd_choice *h)
{
    struct hd_answer *a = h->answer;
    if (!is_stream(a) || !hd_generation_has_news(&h->gen))
        return 0;
    return check_unsent(a->call, tell_news(a, (size_t)(h - a->choices)));
}

static void on_token(void *choice, const struct hd_token_event *t)
{
    struct hd_choice *h = choice;
    struct hd_answer *a = h->answer;
    if (h->cancel || h->ended || a->call->gone || a->call->ended)
        return;
    hd_answer_sampled(a, (size_t)(h - a->choices), t);
    int rc = hd_generation_token(&h->gen, t);
    if (rc == 1) {
        finish(h);
        cancel_later(h);
        return;
    }
    if (rc == 0)
        rc = flush(h);
    if (rc < 0) {
        give_up(a, rc);
        cancel_all_later(a);
    }
    if (is_stream(a) || a->call->gone)
        hd_call_wake(a->call);
}

static void on_prompt(void *choice, uint32_t computed, uint32_t cached, uint32_t total)
{
    struct hd_choice *h = choice;
    struct hd_answer *a = h->answer;
    struct hd_call *c = a->call;
    struct hd_prompt_progress p = {computed, cached, total};
    if (!h->gen.p.progress || !is_stream(a) || !a->form->prompt || h->cancel || h->ended ||
        c->gone || c->ended)
        return;
    int rc = check_unsent(c, a->form->prompt(a, (size_t)(h - a->choices), &p, &c->out));
    if (rc < 0) {
        give_up(a, rc);
        cancel_all_later(a);
    }
    hd_call_wake(c);
}

static void on_end(void *choice, const struct hd_request_end *end)
{
    struct hd_choice *h = choice;
    struct hd_call *c = h->answer->call;
    h->request = NULL;
    h->cancel = false;
    if (c->gone)
        count(h, HD_OUTCOME_ABORT);
    if (c->gone || c->ended || h->ended)
        return;
    if (end->finish == HD_FINISH_ERROR) {
        fail(h, end->error);
        return;
    }
    int rc = hd_generation_end(&h->gen, end);
    if (rc < 0)
        fail(h, "Out of memory.");
    else
        finish(h);
}

static const struct hd_request_events events = {
    .on_token = on_token, .on_prompt = on_prompt, .on_end = on_end};

/* ---- Requests -------------------------------------------------------------------------------*/

/* All of them, or none. */
static int submit_all(struct hd_answer *a, struct hd_error *err)
{
    const struct hd_api_backend *b = &a->call->api->o.backend;
    for (size_t i = 0; i < a->n; i++) {
        struct hd_choice *h = &a->choices[i];
        struct hd_request_options o;
        if (h->gen.finish)
            continue; /* begun elsewhere, and whole */
        hd_generation_options(&h->gen, &o);
        o.cache_scope += a->call->key;
        o.logprobs |= a->wanted < a->a_prompt; /* the best are looked for */
        int rc = b->submit(b->arg, &o, &events, h, &h->request, err);
        if (rc == 0)
            continue;
        h->request = NULL;
        while (i-- > 0) {
            a->choices[i].counted = true; /* it was not served */
            cancel_choice(&a->choices[i]);
        }
        return rc;
    }
    return 0;
}

/* The beginning of a stream, up to where it was if it was begun elsewhere. */
static int begin_stream(struct hd_answer *a)
{
    struct hd_call *c = a->call;
    struct hd_again *again = c->again;
    int rc = 0;
    c->state = HD_CALL_STREAMING;
    c->type = a->form->type;
    c->idle = a->form->idle;
    if (!again)
        rc = tell_begin(a);
    else if ((rc = hd_text_add(&a->news, hd_text_str(&again->begin), again->begin.len)) == 0)
        rc = pass_on(a, 0, true);
    for (size_t i = 0; rc == 0 && i < a->n; i++) {
        if (!again)
            rc = flush(&a->choices[i]); /* the role, the echo */
        else if ((rc = hd_text_add(&a->news, hd_text_str(&again->news[i]), again->news[i].len)) ==
                 0)
            rc = pass_on(a, i, true);
    }
    return rc;
}

/* Choices that are whole by the tokens that were known. */
static void finish_known(struct hd_answer *a)
{
    for (size_t i = 0; i < a->n; i++)
        if (a->choices[i].gen.finish && !a->choices[i].ended)
            finish(&a->choices[i]);
}

static void submit(struct hd_answer *a)
{
    struct hd_call *c = a->call;
    struct hd_error err = {0};
    struct hd_refusal r = {0};
    a->numbers.n = (unsigned)a->n;
    if (hd_resume_check(&a->choices[0].gen, &r) < 0) {
        hd_call_refuse(c, &r);
        return;
    }
    int rc = submit_all(a, &err);
    if (rc < 0) {
        hd_refuse_submit(&r, rc, &err);
        hd_call_refuse(c, &r);
        return;
    }
    a->running = a->n;
    c->id = a->choices[0].gen.id;
    hd_answer_record(a);
    rc = is_stream(a) ? begin_stream(a) : 0;
    if (rc < 0) {
        give_up(a, rc);
        hd_call_cancel(c);
    } else {
        finish_known(a);
    }
}

/* ---- Reading, on a thread -------------------------------------------------------------------*/

static void read_body(void *call)
{
    struct hd_call *c = call;
    struct hd_answer *a = answer_of(c);
    json_t *body = hd_call_body(c);
    int rc = body ? 0 : HD_E_RANGE;
    if (rc == 0 && a->form->read)
        rc = a->form->read(a, &body, &c->refusal);
    if (rc == 0 && !c->text) /* else the form has answered */
        rc = hd_choices_read(a, body, &c->refusal);
    a->brought = rc == 0 && a->n > 0 ? (uint32_t)a->choices[0].gen.p.resume.n : 0;
    if (rc == 0 && !c->text && c->again && (rc = hd_again_pass(c->again, a)) < 0)
        hd_refuse_memory(&c->refusal);
    json_decref(body); /* it may be large, and the answer take long */
    if (a->n > 0) {
        a->unknown = a->choices[0].gen.p.unknown;
        a->loose = a->choices[0].gen.loose;
    }
    if (rc != 0)
        hd_choices_free(a);
    c->job.wasted = rc != 0;
}

static void on_read(void *call)
{
    struct hd_call *c = call;
    struct hd_answer *a = answer_of(c);
    if (!hd_call_worked(c))
        return;
    if (c->refusal.status != 0)
        hd_call_refuse(c, &c->refusal);
    else if (c->text)
        reply_whole(c);
    else
        submit(a);
    hd_ignored_tell(&c->api->ignored, c->api->o.log, &a->unknown);
    hd_ignored_tell_tools(&c->api->loose, c->api->o.log, &a->loose);
    if (c->refusal.status != 0)
        hd_answer_recorded(a);
    if (c->state == HD_CALL_STREAMING || c->run)
        hd_call_wake(c);
}

void hd_answer_id(const struct hd_call *c, char id[HD_RECORD_ID])
{
    const struct hd_answer *a = c->work == &work && !c->working ? answer_of(c) : NULL;
    snprintf(id, HD_RECORD_ID, "%s", a && a->n > 0 ? a->choices[0].gen.id : "");
}

size_t hd_answer_choices(const struct hd_call *c)
{
    return c->work == &work ? answer_of(c)->n : 0;
}

void hd_api_forget_records(struct hd_api *api)
{
    for (struct hd_call *c = api->calls; c; c = c->next) {
        if (c->work == &work)
            answer_of(c)->record = NULL;
        if (c->hold)
            hd_call_release(c);
    }
}

/* The body is kept for the record. */
static bool keep_body(struct hd_answer *a)
{
    struct hd_call *c = a->call;
    return !c->api->o.backend.begun || c->again ||
           hd_text_add(&a->asked, hd_text_str(&c->body), c->body.len) == 0;
}

void hd_answer_start(struct hd_call *c, const struct hd_form *form)
{
    const struct hd_pooled *pooled = c->api->o.backend.pooled;
    struct hd_refusal r;
    if (pooled && pooled->only) {
        hd_refuse(&r, 400, "model", "unsupported_value",
                  "The model makes embeddings only: its file has no output matrix.");
        hd_call_refuse(c, &r);
        return;
    }
    if (hd_run_start(c, form))
        return;
    struct hd_answer *a = calloc(1, sizeof *a);
    if (!a) {
        hd_refuse_memory(&r);
        hd_call_refuse(c, &r);
        return;
    }
    a->call = c;
    a->form = form;
    a->chat = form->chat;
    c->own = a;
    c->work = &work;
    if (c->again) {
        a->born = c->again->born;
        a->record = c->again->record;
    }
    if (!keep_body(a)) {
        hd_refuse_memory(&r);
        hd_call_refuse(c, &r);
        return;
    }
    hd_call_work_on_body(c, read_body, on_read);
}
