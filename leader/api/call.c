/* call.c - an HTTP exchange from its first header to its end. */
#include "leader/api/api_impl.h"

#include "common/util/clock.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

void hd_call_free_if_done(struct hd_call *c)
{
    if (!c->completed || c->watching || c->status_pending)
        return;
    struct hd_call **at = &c->api->calls;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    if (c->api->draining)
        hd_api_later(c->api); /* it may have been the last */
    hd_generation_deinit(&c->gen);
    hd_text_deinit(&c->body);
    hd_text_deinit(&c->out);
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
    hd_client_busy(conn, false);
    c->completed = c->gone = true;
    c->suspended = false;
    hd_call_free_if_done(c);
}

/* ---- Replies --------------------------------------------------------------------------------*/
static const char out_of_memory[] =
    "{\"error\":{\"message\":\"Out of memory.\",\"type\":\"server_error\",\"param\":null,"
    "\"code\":null}}";

static void reply(struct hd_call *c, unsigned status, const char *type, char *text)
{
    hd_text_clear(&c->out);
    c->status = status;
    c->type = type;
    if (!text || hd_text_add(&c->out, text, strlen(text)) < 0) {
        c->status = 500;
        c->type = NULL; /* it says so in JSON */
    }
    free(text);
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
    MHD_add_response_header(r, "Content-Type", type);
    if (c->status == 429)
        MHD_add_response_header(r, "Retry-After", "1");
    if (c->status == 401)
        MHD_add_response_header(r, "WWW-Authenticate", "Bearer");
    if (c->status == 405)
        MHD_add_response_header(r, "Allow", "GET, POST");
}

static enum MHD_Result send_reply(struct hd_call *c)
{
    const char *text = c->out.len > 0 ? c->out.data : out_of_memory;
    struct MHD_Response *r =
        MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_MUST_COPY);
    if (!r)
        return MHD_NO;
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
static void refuse_size(struct hd_call *c)
{
    struct hd_refusal r;
    hd_refuse(&r, 413, NULL, "request_too_large", "The body is larger than %zu bytes.",
              c->api->o.max_body);
    hd_call_refuse(c, &r);
}

/* One sentence for a key that is wrong and for one that is missing. */
static void refuse_key(struct hd_call *c)
{
    struct hd_refusal r;
    hd_refuse(&r, 401, NULL, "invalid_api_key",
              "This needs the API key of the leader; send it as Authorization: Bearer KEY, or as "
              "X-Api-Key: KEY.");
    hd_call_refuse(c, &r);
}

/* Headers are there. A body that is much too large is refused before it is sent; one that is a
 * little too large is read and dropped, so that the client surely sees the answer. */
static enum MHD_Result begin(struct hd_api *a, struct MHD_Connection *conn, const char *url,
                             void **call)
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
    c->denied = !hd_api_allows(a, conn, url);
    const char *length = MHD_lookup_connection_value(conn, MHD_HEADER_KIND, "Content-Length");
    const char *expect = MHD_lookup_connection_value(conn, MHD_HEADER_KIND, "Expect");
    uint64_t len = length ? strtoull(length, NULL, 10) : 0;
    uint64_t most = (c->denied ? 0 : a->o.max_body) + (expect ? 0 : HD_MAX_DRAIN);
    if (len <= most)
        return MHD_YES;
    if (c->denied)
        refuse_key(c);
    else
        refuse_size(c);
    return send_reply(c);
}

static enum MHD_Result take_body(struct hd_call *c, const char *data, size_t len)
{
    if (c->denied || c->too_large || len > c->api->o.max_body - c->body.len) {
        c->too_large = !c->denied;
        c->dropped += len;
        return c->dropped > HD_MAX_DRAIN ? MHD_NO : MHD_YES;
    }
    return hd_text_add(&c->body, data, len) == 0 ? MHD_YES : MHD_NO;
}

static void start(struct hd_call *c, const char *url, const char *method)
{
    c->state = HD_CALL_WAITING;
    /* What anybody may ask does not make a connection one that stays. */
    if (!c->denied && (hd_api_needs_key(c->api, url) || c->api->keys.len == 0))
        hd_client_busy(c->conn, true);
    if (c->denied)
        refuse_key(c);
    else if (c->too_large)
        refuse_size(c);
    else
        hd_call_route(c, url, method);
    hd_text_deinit(&c->body);
}

enum MHD_Result hd_call_access(void *api, struct MHD_Connection *conn, const char *url,
                               const char *method, const char *version, const char *data,
                               size_t *len, void **call)
{
    struct hd_call *c = *call;
    if (!c)
        return begin(api, conn, url, call);
    if (*len > 0) {
        size_t n = *len;
        *len = 0;
        return take_body(c, data, n);
    }
    if (c->state == HD_CALL_READING)
        start(c, url, method);
    if (c->gone)
        return MHD_NO;
    if (c->state == HD_CALL_STREAMING)
        return send_stream(c);
    if (c->status)
        return send_reply(c);
    suspend(c);
    return MHD_YES;
}
