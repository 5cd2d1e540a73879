/* runs.c - runs, their readers, and who may read. */
#include "leader/api/runs.h"

#include "common/util/clock.h"
#include "leader/api/again.h"
#include "leader/api/handlers.h"
#include "leader/api/limits.h"
#include "leader/api/numbers.h"
#include "leader/api/routes.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A client that reads a run: its call's. */
struct hd_reader {
    struct hd_run *run; /* NULL: it is gone */
    struct hd_call *call;
    struct hd_reader *next;
    size_t at;              /* the next of the run's events */
    struct hd_numbers seen; /* what the client has of each choice */
    struct hd_numbers past; /* ... before it came, which is not sent again */
};

/* ---- Reading ----*/

static void copy_reply(struct hd_reader *reader, const struct hd_call *from)
{
    struct hd_call *c = reader->call;
    if (c->status)
        return;
    c->type = from->type;
    c->out.len = 0;
    c->status = from->status;
    if (hd_text_add(&c->out, hd_text_str(&from->out), from->out.len) < 0)
        c->gone = true;
    hd_call_wake(c);
}

static int send_event(struct hd_reader *reader, const struct hd_run_event *e)
{
    const struct hd_run *run = reader->run;
    struct hd_call *c = reader->call;
    const char *text = run->text.data + e->at;
    if (!e->numbered || run->call->type)
        return hd_text_add(&c->out, text, e->len);
    if (reader->past.of[e->choice] > 0) {
        reader->past.of[e->choice]--;
        return 0;
    }
    return hd_number_event(&reader->seen, e->choice, text, e->len, &c->out);
}

/* A stream: what is new of it. A client that reads too slowly is cut off, and may come again. */
static void copy_events(struct hd_reader *reader, const struct hd_call *from)
{
    struct hd_call *c = reader->call;
    struct hd_run *run = reader->run;
    bool first = c->state != HD_CALL_STREAMING;
    int rc = c->out.len - c->out_sent > HD_MAX_UNSENT ? HD_E_LIMIT : 0;
    if (first) {
        c->state = HD_CALL_STREAMING;
        c->type = from->type;
        c->idle = from->idle;
        reader->seen.n = (unsigned)hd_answer_choices(from);
    }
    while (rc == 0 && reader->at < run->n_events)
        rc = send_event(reader, &run->events[reader->at++]);
    c->ended = from->ended;
    if (rc < 0 || from->gone)
        c->gone = true;
    hd_call_wake(c);
}

static void feed(struct hd_reader *reader)
{
    const struct hd_call *from = reader->run->call;
    if (reader->call->gone || reader->call->ended || from->hold)
        return;
    if (from->status && from->state != HD_CALL_STREAMING)
        copy_reply(reader, from);
    else if (from->state == HD_CALL_STREAMING)
        copy_events(reader, from);
}

void hd_run_news(struct hd_run *r)
{
    r->failed |= r->call->gone || r->call->status >= 400;
    if (!r->id[0])
        hd_answer_id(r->call, r->id);
    for (struct hd_reader *reader = r->readers; reader; reader = reader->next)
        feed(reader);
}

static size_t all_bytes(const struct hd_api *a)
{
    size_t n = 0;
    for (const struct hd_run *r = a->runs; r; r = r->next)
        n += r->text.len;
    return n;
}

int hd_run_add(struct hd_run *r, unsigned choice, bool numbered, const char *event, size_t len)
{
    if (r->text.len + len > HD_RUN_BYTES)
        return HD_E_LIMIT;
    if (r->n_events == r->cap) {
        size_t cap = r->cap ? 2 * r->cap : 64;
        struct hd_run_event *more = realloc(r->events, cap * sizeof *more);
        if (!more)
            return HD_E_NOMEM;
        r->events = more;
        r->cap = cap;
    }
    struct hd_run_event e = {r->text.len, len, (uint16_t)choice, numbered};
    if (hd_text_add(&r->text, event, len) < 0)
        return HD_E_NOMEM;
    r->events[r->n_events++] = e;
    return 0;
}

/* ---- Coming and going ----*/

static void leave(struct hd_reader *reader)
{
    struct hd_run *run = reader->run;
    reader->run = NULL;
    if (!run)
        return;
    struct hd_reader **at = &run->readers;
    while (*at != reader)
        at = &(*at)->next;
    *at = reader->next;
    if (!run->readers)
        run->alone_us = hd_now_us();
}

static void on_cancel(struct hd_call *c)
{
    leave(c->own);
}

static void free_reader(void *own)
{
    leave(own);
    free(own);
}

static const struct hd_call_work reading = {.cancel = on_cancel, .free = free_reader};

static void refuse(struct hd_call *c, unsigned status, const char *code, const char *text)
{
    struct hd_refusal r;
    hd_refuse(&r, status, NULL, code, "%s", text);
    hd_call_refuse(c, &r);
}

/* Who does not serve yet may know of it in a moment. */
static void refuse_unknown(struct hd_call *c)
{
    const char *why = c->api->o.backend.not_ready(c->api->o.backend.arg);
    if (why)
        refuse(c, 503, "not_ready", why);
    else
        refuse(c, 404, "unknown_request", "Nothing is known of such a request.");
}

static void read_run(struct hd_call *c, struct hd_run *run)
{
    const char *last = MHD_lookup_connection_value(c->conn, MHD_HEADER_KIND, "Last-Event-ID");
    struct hd_reader *reader = calloc(1, sizeof *reader);
    struct hd_refusal r;
    if (reader && last && last[0] && !hd_numbers_read(&reader->past, last)) {
        free(reader);
        refuse(c, 400, "invalid_value",
               "Last-Event-ID is not the id of an event of such a stream.");
        return;
    }
    if (!reader) {
        hd_refuse_memory(&r);
        hd_call_refuse(c, &r);
        return;
    }
    *reader = (struct hd_reader){
        .run = run, .call = c, .next = run->readers, .past = reader->past, .seen = reader->past};
    run->readers = reader;
    run->alone_us = 0;
    c->own = reader;
    c->work = &reading;
    hd_call_watch(c);
    feed(reader);
}

/* ---- Runs ----*/

static bool is_owner(const struct hd_run *r, const struct hd_call *c)
{
    return memcmp(r->call->owner, c->owner, sizeof c->owner) == 0;
}

static struct hd_run *find(struct hd_call *c, const char *id, size_t len)
{
    for (struct hd_run *r = c->api->runs; r; r = r->next)
        if (!r->failed && is_owner(r, c) &&
            ((strlen(r->client_id) == len && !memcmp(r->client_id, id, len)) ||
             (strlen(r->id) == len && !memcmp(r->id, id, len))))
            return len > 0 ? r : NULL;
    return NULL;
}

static bool digest(uint8_t out[16], const char *path, const struct hd_text *body)
{
    uint8_t all[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *m = EVP_MD_CTX_new();
    bool good = m && EVP_DigestInit_ex(m, EVP_sha256(), NULL) &&
                EVP_DigestUpdate(m, path, strlen(path) + 1) &&
                EVP_DigestUpdate(m, hd_text_str(body), body->len) &&
                EVP_DigestFinal_ex(m, all, NULL);
    EVP_MD_CTX_free(m);
    if (good)
        memcpy(out, all, 16);
    return good;
}

static void free_run(struct hd_run *r)
{
    struct hd_call *c = r->call;
    struct hd_run **at = &c->api->runs;
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    while (r->readers) {
        struct hd_call *reader = r->readers->call;
        if (!reader->ended && !reader->status)
            reader->gone = true;
        leave(r->readers);
        hd_call_wake(reader);
    }
    c->run = NULL;
    hd_call_complete(c);
    hd_text_deinit(&r->text);
    free(r->events);
    free(r);
}

static struct hd_run *new_run(struct hd_api *a)
{
    struct hd_run *r = calloc(1, sizeof *r);
    struct hd_call *c = r ? hd_call_new(a, NULL) : NULL;
    if (!c) {
        free(r);
        return NULL;
    }
    c->run = r;
    c->state = HD_CALL_WAITING;
    r->call = c;
    r->alone_us = hd_now_us();
    r->next = a->runs;
    a->runs = r;
    return r;
}

/* What the client calls its request; NULL: nothing. */
static const char *client_id(struct hd_call *c)
{
    const char *id = MHD_lookup_connection_value(c->conn, MHD_HEADER_KIND, "Idempotency-Key");
    if (!id || !id[0])
        id = MHD_lookup_connection_value(c->conn, MHD_HEADER_KIND, "X-Request-Id");
    return id && id[0] ? id : NULL;
}

static bool is_id(const char *id)
{
    size_t n = strlen(id);
    for (size_t i = 0; i < n; i++)
        if (id[i] <= ' ' || id[i] > '~' || id[i] == '/')
            return false;
    return n < HD_RECORD_CLIENT_ID;
}

/* Begun elsewhere by this request, as far as anybody can see, and nobody has asked for it yet. */
static struct hd_run *find_orphan(struct hd_call *c, const uint8_t body[16])
{
    struct hd_run *first = NULL; /* the oldest is the last of the list */
    for (struct hd_run *r = c->api->runs; r; r = r->next)
        if (r->orphan && !r->claimed && !r->failed && is_owner(r, c) &&
            memcmp(r->body, body, 16) == 0)
            first = r;
    return first;
}

static void begin(struct hd_call *c, const struct hd_form *form, const char *id,
                  const uint8_t body[16])
{
    struct hd_run *run = new_run(c->api);
    struct hd_refusal r;
    if (!run) {
        hd_refuse_memory(&r);
        hd_call_refuse(c, &r);
        return;
    }
    struct hd_call *own = run->call;
    own->refused = c->refused;
    own->path = c->path;
    own->key = c->key;
    memcpy(own->owner, c->owner, sizeof own->owner);
    own->body = c->body;
    own->held = c->held;
    c->body = (struct hd_text){0};
    c->held = 0;
    snprintf(run->client_id, sizeof run->client_id, "%s", id);
    memcpy(run->body, body, sizeof run->body);
    hd_answer_start(own, form);
    read_run(c, run);
}

bool hd_run_start(struct hd_call *c, const struct hd_form *form)
{
    uint8_t body[16];
    if (!c->conn)
        return false;
    const char *id = client_id(c);
    const char *last = MHD_lookup_connection_value(c->conn, MHD_HEADER_KIND, "Last-Event-ID");
    if (!id && !last && !c->api->runs)
        return false;
    if (id && !is_id(id))
        refuse(c, 400, "invalid_value",
               "An id of a request has 1 to 128 printable characters without blanks or '/'.");
    else if (!digest(body, c->path, &c->body))
        refuse(c, 500, NULL, "Out of memory.");
    else {
        struct hd_run *run = id ? find(c, id, strlen(id)) : NULL;
        if (run && memcmp(run->body, body, sizeof body) != 0)
            refuse(c, 409, "id_in_use", "This id belongs to a request with another body.");
        else if (run || (run = find_orphan(c, body))) {
            run->claimed = true;
            if (id && !run->client_id[0])
                snprintf(run->client_id, sizeof run->client_id, "%s", id);
            read_run(c, run);
        } else if (last && last[0])
            refuse_unknown(c);
        else if (id)
            begin(c, form, id, body);
        else
            return false;
    }
    return true;
}

void hd_get_request_events(struct hd_call *c, const char *rest)
{
    const char *end = strchr(rest, '/');
    struct hd_run *run =
        end && strcmp(end, "/events") == 0 ? find(c, rest, (size_t)(end - rest)) : NULL;
    if (!run) {
        refuse_unknown(c);
        return;
    }
    run->claimed = true;
    read_run(c, run);
}

/* ---- Orphans ----*/

/* 0, or why it cannot be gone on with. */
static int adopt(struct hd_api *a, struct hd_record *record)
{
    struct hd_run *run = new_run(a);
    struct hd_call *c = run ? run->call : NULL;
    if (!c)
        return HD_E_NOMEM;
    run->orphan = true;
    snprintf(run->id, sizeof run->id, "%s", record->b.id);
    snprintf(run->client_id, sizeof run->client_id, "%s", record->b.client_id);
    c->key = record->b.key;
    memcpy(c->owner, record->b.owner, sizeof c->owner);
    c->refused = hd_route_refusal(record->b.path);
    c->again = hd_again_new(record);
    if (!c->again || hd_text_add(&c->body, record->b.body, record->b.body_len) < 0 ||
        !digest(run->body, record->b.path, &c->body)) {
        free_run(run);
        return HD_E_NOMEM;
    }
    record->ours = true;
    hd_call_route(c, record->b.path, "POST");
    return 0;
}

int hd_api_adopt(struct hd_api *a, struct hd_record *record)
{
    if (!hd_route_takes_prompts(record->b.path))
        return HD_E_UNSUPPORTED;
    return adopt(a, record);
}

/* ---- Ends ----*/

static bool is_over(const struct hd_run *r)
{
    return r->call->ended || r->call->gone || (r->call->status && !r->call->working);
}

static bool may_go(const struct hd_run *r, uint64_t now_us)
{
    unsigned wait = r->failed                 ? 0
                    : is_over(r) || r->orphan ? r->call->api->o.keep_s
                                              : HD_RUN_ALONE_S;
    return r->alone_us > 0 && now_us - r->alone_us >= wait * UINT64_C(1000000);
}

/* The oldest of those that are over and alone. */
static struct hd_run *oldest_over(struct hd_api *a)
{
    struct hd_run *found = NULL;
    for (struct hd_run *r = a->runs; r; r = r->next)
        if (r->alone_us > 0 && is_over(r) && (!found || r->alone_us < found->alone_us))
            found = r;
    return found;
}

void hd_runs_sweep(struct hd_api *a, uint64_t now_us)
{
    for (struct hd_run *r = a->runs, *next; r; r = next) {
        next = r->next;
        if (may_go(r, now_us))
            free_run(r);
    }
    for (struct hd_run *r; all_bytes(a) > HD_RUNS_BYTES && (r = oldest_over(a));)
        free_run(r);
}

void hd_runs_end(struct hd_api *a)
{
    while (a->runs)
        free_run(a->runs);
}
