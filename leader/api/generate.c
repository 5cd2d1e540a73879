/* generate.c - completions: from the body to the backend, from its events to the client. */
#include "leader/api/call.h"
#include "leader/api/handlers.h"
#include "leader/api/limits.h"
#include "leader/api/objects.h"
#include "leader/api/resume.h"

#include "common/util/clock.h"

#include <stdlib.h>
#include <string.h>

/* What is kept beside a call. */
struct answer {
    struct hd_generation gen;
    struct hd_request *request; /* alive in the backend, else NULL */
    bool chat;                  /* it is a turn of a conversation */
    bool counted;               /* how it ended was */
};

static struct answer *answer_of(const struct hd_call *c)
{
    return c->own;
}

static struct hd_generation *gen_of(const struct hd_call *c)
{
    return &answer_of(c)->gen;
}

/* Counts how a generation ended, the first time. */
static void count(struct hd_call *c, enum hd_outcome how)
{
    struct answer *a = answer_of(c);
    if (!a->counted)
        hd_serving_ended(c->api->o.backend.serving, how, a->gen.submitted_us, hd_now_us());
    a->counted = true;
}

static void cancel(struct hd_call *c)
{
    struct answer *a = answer_of(c);
    struct hd_request *r = a->request;
    a->request = NULL;
    if (!r)
        return;
    count(c, HD_OUTCOME_ABORT); /* unless the answer was whole: a stop string */
    c->api->o.backend.cancel(c->api->o.backend.arg, r);
}

static void free_answer(void *own)
{
    struct answer *a = own;
    hd_generation_deinit(&a->gen);
    free(a);
}

static const struct hd_call_work work = {.cancel = cancel, .free = free_answer};

/* One SSE event. HD_E_NOMEM, or HD_E_LIMIT when the client is too slow. */
static int add_event(struct hd_call *c, json_t *object)
{
    char *text = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(object);
    if (!text)
        return HD_E_NOMEM;
    int rc = hd_text_add(&c->out, "data: ", 6);
    if (rc == 0)
        rc = hd_text_add(&c->out, text, strlen(text));
    if (rc == 0)
        rc = hd_text_add(&c->out, "\n\n", 2);
    free(text);
    if (rc == 0 && c->out.len - c->out_sent > HD_MAX_UNSENT)
        return HD_E_LIMIT;
    return rc;
}

/* What can be done no more for this client: cut it off. */
static void give_up(struct hd_call *c, int rc)
{
    hd_warn(c->api->o.log, "http_cut_off", "id=%s why=%s", gen_of(c)->id,
            rc == HD_E_LIMIT ? "slow_client" : "out_of_memory");
    c->gone = true;
}

/* On a thread, or on the loop if it is short. */
static void write_whole(void *call)
{
    struct hd_call *c = call;
    json_t *o = hd_generation_whole(gen_of(c));
    c->text = o ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(o);
}

static void reply_whole(struct hd_call *c)
{
    hd_call_reply_text(c, NULL, c->text);
    c->text = NULL;
}

static void on_written(void *call)
{
    struct hd_call *c = call;
    if (hd_call_worked(c))
        reply_whole(c);
}

/* The answer is whole: the stream's end, or the one object. */
static void finish(struct hd_call *c)
{
    static const struct hd_job job = {
        .run = write_whole, .done = on_written, .kind = HD_JOBS_LARGE};
    bool full = strcmp(gen_of(c)->finish, "length") == 0;
    count(c, full ? HD_OUTCOME_LENGTH : HD_OUTCOME_STOP);
    c->ended = true;
    if (!gen_of(c)->p.stream && hd_generation_is_long(gen_of(c))) {
        hd_call_work(c, &job);
        return;
    }
    if (!gen_of(c)->p.stream) {
        write_whole(c);
        reply_whole(c);
        return;
    }
    int rc = add_event(c, hd_generation_chunk(gen_of(c)));
    if (rc == 0 && gen_of(c)->p.include_usage)
        rc = add_event(c, hd_generation_usage_chunk(gen_of(c)));
    if (rc == 0)
        rc = hd_text_add(&c->out, "data: [DONE]\n\n", 14);
    if (rc < 0)
        give_up(c, rc);
    hd_call_wake(c);
}

static void fail(struct hd_call *c, const char *error)
{
    struct hd_refusal r;
    const struct hd_api_backend *b = &c->api->o.backend;
    unsigned status = b->not_ready(b->arg) ? 503 : 500;
    hd_refuse(&r, status, NULL, status == 503 ? "not_ready" : "generation_failed", "%s",
              error ? error : "The request failed.");
    count(c, HD_OUTCOME_ERROR);
    c->ended = true;
    if (!gen_of(c)->p.stream) {
        hd_call_refuse(c, &r);
        return;
    }
    int rc = add_event(c, hd_refusal_json(&r)); /* and no [DONE]: the answer is not whole */
    if (rc < 0)
        give_up(c, rc);
    hd_call_wake(c);
}

static int flush(struct hd_call *c)
{
    if (!gen_of(c)->p.stream || !hd_generation_has_news(gen_of(c)))
        return 0;
    return add_event(c, hd_generation_chunk(gen_of(c)));
}

static void on_token(void *call, const struct hd_token_event *t)
{
    struct hd_call *c = call;
    if (c->cancel || c->gone || c->ended)
        return;
    int rc = hd_generation_token(gen_of(c), t);
    if (rc == 1) {
        finish(c);
        hd_call_cancel_later(c);
        return;
    }
    if (rc == 0)
        rc = flush(c);
    if (rc < 0) {
        give_up(c, rc);
        hd_call_cancel_later(c);
    }
    if (gen_of(c)->p.stream || c->gone)
        hd_call_wake(c);
}

static void on_end(void *call, const struct hd_request_end *end)
{
    struct hd_call *c = call;
    answer_of(c)->request = NULL;
    c->cancel = false;
    if (c->gone)
        count(c, HD_OUTCOME_ABORT);
    if (c->gone || c->ended)
        return;
    if (end->finish == HD_FINISH_ERROR) {
        fail(c, end->error);
        return;
    }
    int rc = hd_generation_end(gen_of(c), end);
    if (rc < 0)
        fail(c, "Out of memory.");
    else
        finish(c);
}

static const struct hd_request_events events = {.on_token = on_token, .on_end = on_end};

static void refuse_submit(struct hd_call *c, int rc, const struct hd_error *err)
{
    struct hd_refusal r;
    const char *text = err->text[0] ? err->text : hd_error_name(rc);
    if (rc == HD_E_LIMIT)
        hd_refuse(&r, 429, NULL, "queue_full", "%s", text);
    else if (rc == HD_E_STATE)
        hd_refuse(&r, 503, NULL, "not_ready", "%s", text);
    else if (rc == HD_E_RANGE)
        hd_refuse(&r, 400, NULL, "invalid_value", "%s", text);
    else
        hd_refuse(&r, 500, NULL, NULL, "%s", text);
    hd_call_refuse(c, &r);
}

static void submit(struct hd_call *c)
{
    const struct hd_api_backend *b = &c->api->o.backend;
    struct hd_request_options o;
    struct hd_error err = {0};
    struct hd_refusal r = {0};
    if (hd_resume_check(gen_of(c), &r) < 0) {
        hd_call_refuse(c, &r);
        return;
    }
    hd_generation_options(gen_of(c), &o);
    c->id = gen_of(c)->id;
    int rc = b->submit(b->arg, &o, &events, c, &answer_of(c)->request, &err);
    if (rc < 0) {
        answer_of(c)->request = NULL;
        refuse_submit(c, rc, &err);
        return;
    }
    if (!gen_of(c)->p.stream)
        return;
    c->state = HD_CALL_STREAMING;
    rc = flush(c); /* the role, the echo */
    if (rc < 0) {
        give_up(c, rc);
        hd_call_cancel(c);
    }
}

/* On a thread: the body, which is freed here too, to what is asked for or to why not. */
static void read_body(void *call)
{
    struct hd_call *c = call;
    const struct hd_api_backend *b = &c->api->o.backend;
    json_t *body = hd_call_body(c);
    if (body && hd_generation_init(gen_of(c), b, body, answer_of(c)->chat, &c->refusal) < 0)
        hd_generation_deinit(gen_of(c));
    c->job.wasted = c->refusal.status != 0;
}

static void on_read(void *call)
{
    struct hd_call *c = call;
    if (!hd_call_worked(c))
        return;
    if (c->refusal.status != 0)
        hd_call_refuse(c, &c->refusal);
    else
        submit(c);
    hd_ignored_tell(&c->api->ignored, c->api->o.log, &gen_of(c)->p.unknown);
    if (c->state == HD_CALL_STREAMING)
        hd_call_wake(c);
}

static void generate(struct hd_call *c, bool chat)
{
    struct answer *a = calloc(1, sizeof *a);
    struct hd_refusal r;
    if (!a) {
        hd_refuse_memory(&r);
        hd_call_refuse(c, &r);
        return;
    }
    a->chat = chat;
    c->own = a;
    c->work = &work;
    hd_call_work_on_body(c, read_body, on_read);
}

void hd_post_completions(struct hd_call *c, const char *rest)
{
    generate(c, false);
}

void hd_post_chat(struct hd_call *c, const char *rest)
{
    generate(c, true);
}
