/* call.c - an HTTP exchange, from its routing to its end: threads, replies, streams. */
#include "leader/api/call.h"

#include "common/util/clock.h"
#include "leader/api/again.h"
#include "leader/api/limits.h"
#include "leader/api/runs.h"

#include <stdlib.h>
#include <string.h>

void hd_call_wake(struct hd_call *c)
{
    if (c->run)
        hd_run_news(c->run);
    if (!c->suspended || (c->hold && !c->gone))
        return;
    c->suspended = false;
    if (!c->queued)
        hd_client_will_reply(c->conn);
    MHD_resume_connection(c->conn);
    hd_api_later(c->api);
}

void hd_call_release(struct hd_call *c)
{
    c->hold = false;
    hd_call_wake(c);
}

static void suspend(struct hd_call *c)
{
    c->suspended = true;
    MHD_suspend_connection(c->conn);
}

/* ---- Its life -------------------------------------------------------------------------------*/

struct hd_call *hd_call_new(struct hd_api *a, struct MHD_Connection *conn)
{
    struct hd_call *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->api = a;
    c->conn = conn;
    c->refused = hd_refusal_json;
    c->next = a->calls;
    a->calls = c;
    return c;
}

void hd_call_cancel(struct hd_call *c)
{
    c->later = false;
    if (c->work && c->work->cancel)
        c->work->cancel(c);
}

void hd_call_do_later(struct hd_call *c)
{
    if (!c->later)
        return;
    c->later = false;
    c->work->later(c);
}

void hd_call_later(struct hd_call *c)
{
    c->later = true;
    hd_api_later(c->api);
}

void hd_call_drop_body(struct hd_call *c)
{
    c->api->bodies -= c->held;
    c->held = 0;
    hd_text_deinit(&c->body);
}

static void free_if_done(struct hd_call *c)
{
    if (!c->completed || c->watch.on || c->pending || c->working)
        return;
    struct hd_call **at = &c->api->calls;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    if (c->api->draining)
        hd_api_later(c->api); /* it may have been the last */
    if (c->work)
        c->work->free(c->own);
    hd_call_drop_body(c);
    hd_text_deinit(&c->out);
    free(c->text);
    free(c->location);
    hd_again_free(c->again);
    free(c);
}

void hd_call_complete(struct hd_call *c)
{
    hd_call_cancel(c);
    hd_watch_stop(&c->watch);
    if (c->working && hd_jobs_cancel(c->api->jobs, &c->job))
        c->working = false;
    c->completed = c->gone = true;
    c->suspended = false;
    free_if_done(c);
}

/* ---- The client's end ---- */

static void on_gone(void *call)
{
    struct hd_call *c = call;
    hd_debug(c->api->o.log, "http_client_gone", "id=%s", c->id ? c->id : "");
    c->gone = true;
    hd_call_cancel(c);
    hd_call_wake(c);
}

static int socket_of(const struct hd_call *c)
{
    const union MHD_ConnectionInfo *info =
        c->conn ? MHD_get_connection_info(c->conn, MHD_CONNECTION_INFO_CONNECTION_FD) : NULL;
    return info ? info->connect_fd : -1;
}

/* It sends no more, and may wait for the answer all the same: in a stream, what keeps it alive
 * finds out, before the reply an interim one. Where there can be none it counts as gone. */
static bool on_ended(void *call)
{
    struct hd_call *c = call;
    c->spoke_us = hd_now_us();
    if (!c->queued)
        return c->asks && hd_watch_ask(socket_of(c));
    if (c->state != HD_CALL_STREAMING || c->ended)
        return true;
    bool said = c->idle && hd_text_add(&c->out, c->idle, strlen(c->idle)) == 0;
    hd_call_wake(c);
    return said;
}

static void on_unwatched(void *call)
{
    struct hd_call *c = call;
    struct hd_api *a = c->api;
    a->handles--;
    free_if_done(c);
    hd_api_maybe_closed(a);
}

void hd_call_watch(struct hd_call *c)
{
    int fd = socket_of(c);
    if (c->watch.on || fd < 0)
        return;
    c->watch.gone = on_gone;
    c->watch.ended = on_ended;
    c->watch.closed = on_unwatched;
    c->watch.arg = c;
    c->api->handles += hd_watch_start(&c->watch, c->api->o.loop, fd);
}

/* ---- Threads, and answers of the backend ---- */

void hd_call_work(struct hd_call *c, const struct hd_job *job)
{
    c->job = *job;
    c->job.arg = c;
    c->working = true;
    hd_call_watch(c);
    hd_jobs_add(c->api->jobs, &c->job);
}

void hd_call_work_on_body(struct hd_call *c, void (*run)(void *call), void (*done)(void *call))
{
    bool large = c->body.len > HD_SMALL_BODY;
    struct hd_job job = {.run = run, .done = done, .kind = large ? HD_JOBS_LARGE : HD_JOBS_SMALL};
    hd_call_work(c, &job);
}

static bool is_of_use(struct hd_call *c)
{
    struct hd_api *a = c->api;
    if (!c->completed)
        return true;
    free_if_done(c);
    hd_api_maybe_closed(a);
    return false;
}

bool hd_call_worked(struct hd_call *c)
{
    c->working = false;
    hd_call_drop_body(c);
    return is_of_use(c) && !c->gone;
}

json_t *hd_call_body(struct hd_call *c)
{
    json_error_t bad;
    json_t *body = json_loadb(hd_text_str(&c->body), c->body.len, JSON_REJECT_DUPLICATES, &bad);
    hd_text_deinit(&c->body);
    if (!body)
        hd_refuse(&c->refusal, 400, NULL, "invalid_json",
                  "The body is not valid JSON: line %d, column %d: %s", bad.line, bad.column,
                  bad.text);
    else if (!json_is_object(body))
        hd_refuse(&c->refusal, 400, NULL, "invalid_json", "The body must be a JSON object.");
    if (c->refusal.status == 0)
        return body;
    json_decref(body);
    return NULL;
}

void hd_call_expect(struct hd_call *c)
{
    c->pending = true;
}

bool hd_call_expected(struct hd_call *c)
{
    c->pending = false;
    return is_of_use(c);
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
    hd_call_reply(c, r->status, c->refused(r));
}

void hd_call_reply_worked(void *call)
{
    struct hd_call *c = call;
    if (!hd_call_worked(c))
        return;
    if (c->refusal.status != 0) {
        hd_call_refuse(c, &c->refusal);
        return;
    }
    hd_call_reply_text(c, NULL, c->text);
    c->text = NULL;
}

#define MAX_ECHO 128

/* As it came, so that a client or a proxy finds its request in its own logs. */
static void echo_id(struct MHD_Response *r, struct MHD_Connection *conn)
{
    const char *id = MHD_lookup_connection_value(conn, MHD_HEADER_KIND, "X-Request-Id");
    size_t n = id ? strlen(id) : 0;
    bool printable = n > 0 && n <= MAX_ECHO;
    for (size_t i = 0; i < n && printable; i++)
        printable = id[i] >= ' ' && id[i] <= '~';
    if (printable)
        MHD_add_response_header(r, "X-Request-Id", id);
}

static void add_headers(struct MHD_Response *r, const struct hd_call *c, const char *type)
{
    hd_cors_add(&c->api->origins, c->conn, r);
    echo_id(r, c->conn);
    if (c->last)
        MHD_add_response_header(r, "Connection", "close");
    if (c->preflight && c->status == 204) {
        hd_cors_add_preflight(c->conn, r);
        return; /* there is no body */
    }
    MHD_add_response_header(r, "Content-Type", type);
    if (c->more_headers)
        c->more_headers(r, c);
    if (c->status == 429 || c->status == 503)
        MHD_add_response_header(r, "Retry-After", "1");
    if (c->location)
        MHD_add_response_header(r, "Location", c->location);
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
    if (n == 0 && c->ended && !c->hold)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (n == 0 || c->hold) {
        suspend(c);
        return 0;
    }
    n = n < max ? n : max;
    c->spoke_us = hd_now_us();
    memcpy(buf, c->out.data + c->out_sent, n);
    c->out_sent += n;
    if (c->out_sent == c->out.len) {
        hd_text_clear(&c->out);
        c->out_sent = 0;
    }
    return (ssize_t)n;
}

/* Of who only listens nothing more is seen, should it leave: it is asked again and again. */
void hd_call_keep_alive(struct hd_call *c, uint64_t now_us)
{
    bool waits = c->state == HD_CALL_STREAMING && c->suspended && !c->ended && !c->gone;
    bool listens = c->watch.on && c->watch.half && !c->queued && !c->gone;
    if (now_us - c->spoke_us < c->api->o.keep_alive_ms * UINT64_C(1000))
        return;
    if (listens) {
        c->spoke_us = now_us;
        hd_watch_ask(socket_of(c));
    } else if (waits && c->idle && hd_text_add(&c->out, c->idle, strlen(c->idle)) == 0) {
        hd_call_wake(c);
    }
}

static enum MHD_Result send_stream(struct hd_call *c)
{
    c->spoke_us = hd_now_us();
    struct MHD_Response *r =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, HD_STREAM_BLOCK, read_stream, c, NULL);
    if (!r)
        return MHD_NO;
    add_headers(r, c, c->type ? c->type : "text/event-stream");
    MHD_add_response_header(r, "Cache-Control", "no-cache");
    MHD_add_response_header(r, "X-Accel-Buffering", "no"); /* proxies pass each event on at once */
    enum MHD_Result rc = MHD_queue_response(c->conn, 200, r);
    MHD_destroy_response(r);
    return rc;
}

enum MHD_Result hd_call_send(struct hd_call *c)
{
    if (c->gone)
        return MHD_NO;
    c->queued = c->state == HD_CALL_STREAMING || (c->status && !c->hold);
    if (!c->queued) {
        suspend(c);
        return MHD_YES;
    }
    hd_client_replies(c->conn);
    return c->state == HD_CALL_STREAMING ? send_stream(c) : send_reply(c);
}
