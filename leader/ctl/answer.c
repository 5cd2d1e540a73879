/* answer.c - a stream of a leader's events, and the next leader when it ends too early. */
#include "leader/ctl/answer.h"

#include "common/util/clock.h"
#include "leader/ctl/http.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAUSE_MS   100     /* when every leader has just failed */
#define SHUNNED_US 2000000 /* one that said nothing, where there are others */

/* ---- The list ----*/

int hd_leaders_parse(struct hd_leaders *l, const char *list, struct hd_error *err)
{
    *l = (struct hd_leaders){.text = strdup(list)};
    if (!l->text)
        return hd_fail(err, HD_E_NOMEM, "out of memory");
    char *rest = NULL;
    for (char *p = strtok_r(l->text, ",", &rest); p; p = strtok_r(NULL, ",", &rest)) {
        if (l->n == HD_MAX_LEADERS)
            return hd_fail(err, HD_E_CONFIG, "--leader takes at most %d addresses", HD_MAX_LEADERS);
        l->url[l->n++] = p;
    }
    return l->n > 0 ? 0 : hd_fail(err, HD_E_CONFIG, "--leader names no address");
}

void hd_leaders_deinit(struct hd_leaders *l)
{
    free(l->text);
    *l = (struct hd_leaders){0};
}

/* ---- One leader's events ----*/

struct stream {
    const struct hd_ask *q;
    struct hd_answer *a;
    FILE *text;
    json_t *model_digest, *prompt_digest; /* NULL: not told, nobody else can go on */
    char id[64];                          /* the leader's of the answer; "" = not told */
    char last[64];                        /* ... and of the last event */
    bool by_id;                           /* whoever knows the answer is to go on with it */
    struct hd_events events;
    long status;
    uint64_t heard_us;            /* of the answer, or the beginning */
    char error[512];              /* the leader's, "" = none */
    bool silent;                  /* it stands still */
    bool refused[HD_MAX_LEADERS]; /* not to be asked again */
    uint64_t shunned_until_us[HD_MAX_LEADERS];
};

static void take_text(struct stream *s, const json_t *choice)
{
    const json_t *v = json_object_get(choice, "text");
    if (!v)
        v = json_object_get(json_object_get(choice, "delta"), "content");
    size_t n = json_string_length(v);
    if (n == 0)
        return;
    fwrite(json_string_value(v), 1, n, s->text);
    if (s->q->on_text)
        s->q->on_text(s->q->arg, json_string_value(v), n);
}

static void keep(json_t **to, json_t *v)
{
    if (!v || json_is_null(v))
        return;
    json_decref(*to);
    *to = json_incref(v);
}

static void take_error(struct stream *s, const json_t *event)
{
    const char *text =
        json_string_value(json_object_get(json_object_get(event, "error"), "message"));
    if (text)
        snprintf(s->error, sizeof s->error, "%s", text);
}

static void take_event(void *arg, const json_t *event)
{
    struct stream *s = arg;
    struct hd_answer *a = s->a;
    const json_t *choice = json_array_get(json_object_get(event, "choices"), 0);
    const json_t *extra = json_object_get(event, "hydac");
    const char *finish = json_string_value(json_object_get(choice, "finish_reason"));
    const char *id = json_string_value(json_object_get(event, "id"));
    s->heard_us = hd_now_us();
    if (id && s->events.id[0] && strlen(id) < sizeof s->id) {
        snprintf(s->id, sizeof s->id, "%s", id);
        snprintf(s->last, sizeof s->last, "%s", s->events.id);
        s->by_id = true;
    }
    take_error(s, event);
    take_text(s, choice);
    json_array_extend(a->tokens, json_object_get(extra, "tokens"));
    json_array_extend(a->logprobs, json_object_get(extra, "logprobs"));
    keep(&s->model_digest, json_object_get(extra, "model_digest"));
    keep(&s->prompt_digest, json_object_get(extra, "prompt_digest"));
    keep(&a->timings, json_object_get(extra, "timings"));
    keep(&a->failovers, json_object_get(extra, "failovers"));
    keep(&a->seed, json_object_get(extra, "seed"));
    keep(&a->usage, json_object_get(event, "usage"));
    if (finish)
        snprintf(a->finish, sizeof a->finish, "%s", finish);
}

static int on_data(void *arg, long status, const char *data, size_t len)
{
    struct stream *s = arg;
    s->status = status;
    return hd_events_feed(&s->events, status, data, len);
}

static bool on_stop(void *arg)
{
    struct stream *s = arg;
    if (!s->q->stop(s->q->arg))
        return false;
    snprintf(s->a->finish, sizeof s->a->finish, "stopped");
    return true;
}

/* ---- From leader to leader ----*/

/* The request, and where it goes on; malloc'ed, NULL when memory is out. */
static char *body_text(const struct stream *s)
{
    json_t *body = json_copy((json_t *)s->q->body);
    if (body && s->model_digest && s->a->seed) {
        json_t *from =
            json_pack("{s:O, s:O, s:O?, s:O}", "seed", s->a->seed, "model_digest", s->model_digest,
                      "prompt_digest", s->prompt_digest, "tokens", s->a->tokens);
        json_object_del(body, "seed");
        if (json_object_set_new(body, "hydac", from) < 0) {
            json_decref(body);
            return NULL;
        }
    }
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    return text;
}

/* One try: the answer by its id, or else the request. 0: the answer is whole. */
static int ask_one(struct stream *s, const char *leader, struct hd_error *err)
{
    bool by_id = s->by_id;
    char path[128], *body = by_id ? NULL : body_text(s);
    if (!body && !by_id)
        return hd_fail(err, HD_E_NOMEM, "out of memory");
    snprintf(path, sizeof path, "/v1/hydac/requests/%s/events", s->id);
    struct hd_http_post p = {.base = leader,
                             .path = by_id ? path : s->q->path,
                             .body = body,
                             .last_event = by_id ? s->last : NULL,
                             .key = s->q->key,
                             .watch = s->q->leaders->n > 1,
                             .stop = s->q->stop ? on_stop : NULL,
                             .on_data = on_data,
                             .arg = s};
    s->status = 0;
    s->error[0] = '\0';
    s->events = (struct hd_events){.on_event = take_event, .arg = s};
    int rc = hd_http_post(&p, err);
    s->silent = p.silent;
    if (rc == HD_E_LIMIT || rc == HD_E_NOMEM)
        hd_fail(err, rc, "the leader's answer is too large");
    if (rc == 0 && s->status != 200 && s->events.n > 0) { /* not a stream: an error object */
        json_t *v = json_loadb(s->events.buf, s->events.n, 0, NULL);
        take_error(s, v);
        json_decref(v);
    }
    if (rc == 0 && s->error[0])
        rc = hd_fail(err, HD_E_IO, "%s", s->error);
    else if (rc == 0 && !s->a->finish[0])
        rc = hd_fail(err, HD_E_IO, "the leader at %s ended the answer too early", leader);
    hd_events_deinit(&s->events);
    free(body);
    /* It is not known there, or came to nothing: the request itself is next. */
    if (by_id && rc < 0 && s->status != 0 && s->status != 503 && s->status != 307)
        s->by_id = s->status == 200 && !s->error[0];
    return by_id && s->status == 404 ? ask_one(s, leader, err) : rc;
}

/* Another leader, or this one a little later, may do better. */
static bool may_go_on(const struct stream *s, int rc)
{
    bool begun = s->text && (ftell(s->text) > 0 || json_array_size(s->a->tokens) > 0);
    bool asked_wrongly =
        s->status >= 400 && s->status < 500 && s->status != 409 && s->status != 429;
    uint64_t silent_ms = (hd_now_us() - s->heard_us) / 1000;
    return rc == HD_E_IO && !asked_wrongly && (!begun || (s->model_digest && s->a->seed)) &&
           silent_ms < s->q->patience_ms;
}

/* The next that has not refused, and was not silent just now if another one is there; n: there is
 * none. */
static size_t next_leader(const struct stream *s, size_t i)
{
    size_t n = s->q->leaders->n, silent = n;
    for (size_t k = n; k >= 1; k--)
        if (!s->refused[(i + k) % n] && s->shunned_until_us[(i + k) % n] > hd_now_us())
            silent = (i + k) % n;
    for (size_t k = 1; k <= n; k++)
        if (!s->refused[(i + k) % n] && s->shunned_until_us[(i + k) % n] <= hd_now_us())
            return (i + k) % n;
    return silent;
}

static int ask_all(struct stream *s, struct hd_error *err)
{
    const struct hd_leaders *l = s->q->leaders;
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    size_t i = 0;
    for (unsigned tries = 1;; tries++) {
        size_t had = json_array_size(s->a->tokens);
        s->a->leader = l->url[i];
        int rc = ask_one(s, l->url[i], err);
        if (rc == 0 || !may_go_on(s, rc))
            return rc;
        s->refused[i] = s->status == 409;
        s->shunned_until_us[i] = s->silent ? hd_now_us() + SHUNNED_US : 0;
        size_t next = next_leader(s, i);
        if (next == l->n)
            return rc;
        if (tries % l->n == 0)
            nanosleep(&pause, NULL);
        bool more = json_array_size(s->a->tokens) > had;
        s->a->resumed += more;
        if (more && s->q->on_resume)
            s->q->on_resume(s->q->arg, l->url[next], json_array_size(s->a->tokens), err->text);
        i = next;
    }
}

int hd_ask(const struct hd_ask *q, struct hd_answer *a, struct hd_error *err)
{
    struct stream s = {.q = q, .a = a, .heard_us = hd_now_us()};
    *a = (struct hd_answer){.tokens = json_array(), .logprobs = json_array()};
    s.text = open_memstream(&a->text, &a->text_len);
    int rc = s.text && a->tokens && a->logprobs ? ask_all(&s, err)
                                                : hd_fail(err, HD_E_NOMEM, "out of memory");
    if (s.text)
        fclose(s.text);
    json_decref(s.model_digest);
    json_decref(s.prompt_digest);
    return rc;
}

void hd_answer_deinit(struct hd_answer *a)
{
    free(a->text);
    json_decref(a->tokens);
    json_decref(a->logprobs);
    json_decref(a->usage);
    json_decref(a->timings);
    json_decref(a->failovers);
    json_decref(a->seed);
    *a = (struct hd_answer){0};
}
