/* call.c - an HTTP exchange from its first header to its end. */
#include "leader/api/api_impl.h"

#include "common/util/clock.h"

#include <stdlib.h>
#include <string.h>

void hd_call_wake(struct hd_call *c)
{
    if (!c->suspended)
        return;
    c->suspended = false;
    MHD_resume_connection(c->conn);
    hd_api_later(c->api);
}

static void suspend(struct hd_call *c)
{
    c->suspended = true;
    MHD_suspend_connection(c->conn);
}

void hd_call_count(struct hd_call *c, enum hd_outcome how)
{
    if (!c->counted)
        hd_serving_ended(c->api->o.backend.serving, how, c->gen.submitted_us, hd_now_us());
    c->counted = true;
}

void hd_call_cancel(struct hd_call *c)
{
    struct hd_request *r = c->request;
    c->request = NULL;
    c->cancel = false;
    if (!r)
        return;
    hd_call_count(c, HD_OUTCOME_ABORT); /* unless the answer was whole: a stop string */
    c->api->o.backend.cancel(c->api->o.backend.arg, r);
}

static void free_body(struct hd_call *c)
{
    c->api->bodies -= c->held;
    c->held = 0;
    hd_text_deinit(&c->body);
}

void hd_call_free_if_done(struct hd_call *c)
{
    if (!c->completed || c->watching || c->status_pending || c->working)
        return;
    struct hd_call **at = &c->api->calls;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    if (c->api->draining)
        hd_api_later(c->api); /* it may have been the last */
    hd_generation_deinit(&c->gen);
    free_body(c);
    hd_text_deinit(&c->out);
    free(c->text);
    free(c);
}

void hd_call_completed(void *api, struct MHD_Connection *conn, void **call,
                       enum MHD_RequestTerminationCode why)
{
    struct hd_call *c = *call;
    *call = NULL;
    if (!c)
        return;
    hd_call_cancel(c);
    hd_call_unwatch(c);
    hd_client_now(conn, HD_CLIENT_IDLE);
    if (c->working && hd_jobs_cancel(c->api->jobs, &c->job))
        c->working = false;
    c->completed = c->gone = true;
    c->suspended = false;
    hd_call_free_if_done(c);
}

/* ---- Threads ---- */

void hd_call_work(struct hd_call *c, const struct hd_job *job)
{
    c->job = *job;
    c->job.arg = c;
    c->working = true;
    hd_call_watch(c);
    hd_jobs_add(c->api->jobs, &c->job);
}

bool hd_call_worked(struct hd_call *c)
{
    struct hd_api *a = c->api;
    c->working = false;
    free_body(c);
    if (!c->completed)
        return !c->gone;
    hd_call_free_if_done(c);
    hd_api_maybe_closed(a);
    return false;
}

/* ---- Replies --------------------------------------------------------------------------------*/
static const char out_of_memory[] =
    "{\"error\":{\"message\":\"Out of memory.\",\"type\":\"server_error\",\"param\":null,"
    "\"code\":null}}";

static void reply(struct hd_call *c, unsigned status, const char *type, char *text)
{
    hd_text_deinit(&c->out);
    c->out.data = text;
    c->out.len = text ? strlen(text) : 0;
    c->status = text ? status : 500;
    c->type = text ? type : NULL; /* "out of memory" is JSON */
    hd_call_wake(c);
}

void hd_call_reply(struct hd_call *c, unsigned status, json_t *object)
{
    char *text = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(object);
    reply(c, status, NULL, text);
}

void hd_call_reply_text(struct hd_call *c, const char *type, char *text)
{
    reply(c, 200, type, text);
}

void hd_call_refuse(struct hd_call *c, const struct hd_refusal *r)
{
    hd_debug(c->api->o.log, "http_refused", "status=%u message=\"%s\"", r->status, r->text);
    hd_call_reply(c, r->status, hd_refusal_json(r));
}

static void add_headers(struct MHD_Response *r, const struct hd_call *c, const char *type)
{
    hd_cors_add(c->api, c->conn, r);
    if (c->last)
        MHD_add_response_header(r, "Connection", "close");
    if (c->preflight && c->status == 204) {
        hd_cors_add_preflight(c->conn, r);
        return; /* there is no body */
    }
    MHD_add_response_header(r, "Content-Type", type);
    if (c->status == 429 || c->status == 503)
        MHD_add_response_header(r, "Retry-After", "1");
    if (c->status == 401)
        MHD_add_response_header(r, "WWW-Authenticate", "Bearer");
    if (c->status == 405)
        MHD_add_response_header(r, "Allow", c->allow ? c->allow : "GET, POST");
}

static enum MHD_Result send_reply(struct hd_call *c)
{
    bool own = c->out.len > 0; /* it may be long, and is handed over */
    void *text = own ? c->out.data : (void *)(c->status == 204 ? "" : out_of_memory);
    struct MHD_Response *r = MHD_create_response_from_buffer(
        strlen(text), text, own ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (!r)
        return MHD_NO;
    if (own)
        c->out = (struct hd_text){0};
    add_headers(r, c, c->type ? c->type : "application/json");
    enum MHD_Result rc = MHD_queue_response(c->conn, c->status, r);
    MHD_destroy_response(r);
    c->state = HD_CALL_ANSWERED;
    return rc;
}

/* libmicrohttpd asks for the stream's next bytes. */
static ssize_t read_stream(void *call, uint64_t pos, char *buf, size_t max)
{
    struct hd_call *c = call;
    size_t n = c->out.len - c->out_sent;
    if (c->gone)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (n == 0 && c->ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (n == 0) {
        suspend(c);
        return 0;
    }
    n = n < max ? n : max;
    memcpy(buf, c->out.data + c->out_sent, n);
    c->out_sent += n;
    if (c->out_sent == c->out.len) {
        hd_text_clear(&c->out);
        c->out_sent = 0;
    }
    return (ssize_t)n;
}

static enum MHD_Result send_stream(struct hd_call *c)
{
    struct MHD_Response *r =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, HD_STREAM_BLOCK, read_stream, c, NULL);
    if (!r)
        return MHD_NO;
    add_headers(r, c, "text/event-stream");
    MHD_add_response_header(r, "Cache-Control", "no-cache");
    MHD_add_response_header(r, "X-Accel-Buffering", "no"); /* proxies pass each event on at once */
    enum MHD_Result rc = MHD_queue_response(c->conn, 200, r);
    MHD_destroy_response(r);
    return rc;
}

/* ---- Requests -------------------------------------------------------------------------------*/
static int refuse_size(struct hd_call *c)
{
    return hd_refuse(&c->refusal, 413, NULL, "request_too_large",
                     "The body is larger than %zu bytes.", c->max_body);
}

static int refuse_memory(struct hd_call *c)
{
    return hd_refuse(&c->refusal, 429, NULL, "too_many_bodies",
                     "The requests that are being read have %zu bytes already; try again later.",
                     c->api->bodies);
}

/* It was taken in to be told so. */
static void turn_away(struct hd_call *c)
{
    hd_refuse(&c->refusal, 503, NULL, "too_many_connections",
              "The leader serves %u connections already; try again later.", c->api->door.places);
    c->last = true;
}

/* Nothing that comes behind such a request is served: it may be a part of it. */
static enum MHD_Result refuse_framing(struct hd_call *c, const char *fault)
{
    hd_refuse(&c->refusal, 400, NULL, "invalid_request",
              "It is not certain where this request ends: %s.", fault);
    c->last = true;
    hd_call_refuse(c, &c->refusal);
    return send_reply(c);
}

/* A body that is much too large is refused before it is sent; one that is a little too large is
 * read and dropped, so that the client surely sees the answer. */
static enum MHD_Result expect_body(struct hd_call *c)
{
    const char *length = MHD_lookup_connection_value(c->conn, MHD_HEADER_KIND, "Content-Length");
    const char *expect = MHD_lookup_connection_value(c->conn, MHD_HEADER_KIND, "Expect");
    uint64_t len = length ? strtoull(length, NULL, 10) : 0;
    if (len > c->max_body && c->refusal.status == 0)
        refuse_size(c);
    if (c->refusal.status == 0 || len <= (expect ? 0 : HD_MAX_DRAIN))
        return MHD_YES;
    hd_call_refuse(c, &c->refusal);
    return send_reply(c);
}

/* What anybody may ask does not make a connection one that stays. */
static bool is_known(const struct hd_call *c, const struct hd_head *head)
{
    return hd_api_is_guarded(head->url) || c->api->keys.api.len == 0;
}

/* Headers are there. Behind a body in chunks nothing more is taken from the connection: how a chunk
 * ends is read leniently by some, and the library does not show it. */
static enum MHD_Result begin(struct hd_api *a, struct MHD_Connection *conn,
                             const struct hd_head *head, void **call)
{
    if (a->closing)
        return MHD_NO;
    struct hd_call *c = calloc(1, sizeof *c);
    if (!c)
        return MHD_NO;
    c->api = a;
    c->conn = conn;
    c->next = a->calls;
    a->calls = c;
    *call = c;
    const char *fault = hd_framing_fault(conn, head);
    if (fault)
        return refuse_framing(c, fault);
    c->last = hd_framing_is_chunked(conn);
    c->preflight = hd_cors_is_preflight(conn, head->method);
    c->max_body = a->o.max_body;
    if (!hd_route_takes_prompts(head->url) && c->max_body > HD_SMALL_BODY)
        c->max_body = HD_SMALL_BODY;
    if (hd_client_is_turned_away(conn))
        turn_away(c);
    else if (hd_api_admit(a, c, head->url, head->method, &c->refusal) == 0 && is_known(c, head))
        hd_client_now(conn, HD_CLIENT_SENDING);
    return expect_body(c);
}

static enum MHD_Result take_body(struct hd_call *c, const char *data, size_t len)
{
    struct hd_api *a = c->api;
    if (c->refusal.status == 0 && len > c->max_body - c->body.len)
        refuse_size(c);
    if (c->refusal.status == 0 && len > a->o.max_bodies - a->bodies)
        refuse_memory(c);
    if (c->refusal.status != 0) {
        free_body(c);
        c->dropped += len;
        return c->dropped > HD_MAX_DRAIN ? MHD_NO : MHD_YES;
    }
    a->bodies += len;
    c->held += len;
    return hd_text_add(&c->body, data, len) == 0 ? MHD_YES : MHD_NO;
}

static void start(struct hd_call *c, const struct hd_head *head)
{
    c->state = HD_CALL_WAITING;
    if (c->refusal.status == 0 && is_known(c, head))
        hd_client_now(c->conn, HD_CLIENT_BUSY);
    if (c->refusal.status != 0)
        hd_call_refuse(c, &c->refusal);
    else if (c->preflight)
        c->status = 204;
    else
        hd_call_route(c, head->url, head->method);
    if (!c->working) /* else a thread has it */
        free_body(c);
}

enum MHD_Result hd_call_access(void *api, struct MHD_Connection *conn, const char *url,
                               const char *method, const char *version, const char *data,
                               size_t *len, void **call)
{
    struct hd_call *c = *call;
    const struct hd_head head = {.url = url, .method = method, .version = version};
    if (!c)
        return begin(api, conn, &head, call);
    if (*len > 0) {
        size_t n = *len;
        *len = 0;
        return take_body(c, data, n);
    }
    if (c->state == HD_CALL_READING)
        start(c, &head);
    if (c->gone)
        return MHD_NO;
    if (c->state == HD_CALL_STREAMING)
        return send_stream(c);
    if (c->status)
        return send_reply(c);
    suspend(c);
    return MHD_YES;
}
