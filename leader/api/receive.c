/* receive.c - what comes in of an exchange, until a handler has it. */
#include "leader/api/receive.h"

#include "leader/api/call.h"
#include "leader/api/framing.h"
#include "leader/api/limits.h"
#include "leader/api/routes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int refuse_size(struct hd_call *c)
{
    return hd_refuse(&c->refusal, 413, NULL, "request_too_large",
                     "The body is larger than %zu bytes.", c->max_body);
}

static int refuse_bodies(struct hd_call *c)
{
    return hd_refuse(&c->refusal, 429, NULL, "too_many_bodies",
                     "The requests that are being read have %zu bytes already; try again later.",
                     c->api->bodies);
}

/* Of the first line alone, or with all headers. */
static int check_headers(struct hd_call *c, const struct hd_head *head)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c->conn, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    if (!info || info->header_size <= HD_MAX_HEADERS)
        return 0;
    c->last = true;
    if ((size_t)(head->version - head->method) > HD_MAX_HEADERS)
        return hd_refuse(&c->refusal, 414, NULL, "uri_too_long",
                         "The request's first line is longer than %u bytes.", HD_MAX_HEADERS);
    return hd_refuse(&c->refusal, 431, NULL, "headers_too_large",
                     "The request's headers are larger than %u bytes together.", HD_MAX_HEADERS);
}

/* It was taken in to be told so. */
static void turn_away(struct hd_call *c)
{
    hd_refuse(&c->refusal, 503, NULL, "too_many_connections",
              "The leader serves %u connections already; try again later.",
              c->api->listener.places);
    c->last = true;
}

/* Nothing that comes behind such a request is served: it may be a part of it. */
static enum MHD_Result refuse_framing(struct hd_call *c, const char *fault)
{
    hd_refuse(&c->refusal, 400, NULL, "invalid_request",
              "It is not certain where this request ends: %s.", fault);
    c->last = true;
    hd_call_refuse(c, &c->refusal);
    return hd_call_send(c);
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
    return hd_call_send(c);
}

/* What anybody may ask does not make a connection one that stays. */
static bool is_known(const struct hd_call *c, const struct hd_head *head)
{
    return hd_api_is_guarded(head->url) || c->api->keys.api.len == 0;
}

static int admit(struct hd_call *c, const struct hd_head *head)
{
    const struct hd_ask ask = {.conn = c->conn,
                               .url = head->url,
                               .method = head->method,
                               .admin = hd_route_is_admin(head->url),
                               .preflight = c->preflight};
    return hd_api_admit(&c->api->keys, &c->api->origins, &ask, &c->refusal);
}

/* Another leader serves, and it is known where. */
static bool is_elsewhere(struct hd_call *c, const struct hd_head *head)
{
    const struct hd_api_backend *b = &c->api->o.backend;
    const char *where = b->elsewhere ? b->elsewhere(b->arg) : NULL;
    if (!where || c->preflight || strncmp(head->url, "/v1/", 4) != 0)
        return false;
    if (asprintf(&c->location, "%s%s", where, head->url) < 0)
        c->location = NULL;
    hd_refuse(&c->refusal, 307, NULL, "standby", "This leader is a standby; ask at %s.", where);
    return true;
}

/* Headers are there. Behind a body in chunks nothing more is taken from the connection: how a chunk
 * ends is read leniently by some, and the library does not show it. */
static enum MHD_Result begin(struct hd_api *a, struct MHD_Connection *conn,
                             const struct hd_head *head, void **call)
{
    struct hd_call *c = a->closing ? NULL : hd_call_new(a, conn);
    if (!c)
        return MHD_NO;
    *call = c;
    c->refused = hd_route_refusal(head->url);
    c->key = hd_api_key_shown(&a->keys, conn);
    c->asks = strcmp(head->version, "HTTP/1.1") == 0 && !a->keys.cert;
    hd_api_owner(&a->keys, conn, c->owner);
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
    else if (check_headers(c, head) == 0 && admit(c, head) == 0 && is_known(c, head) &&
             !is_elsewhere(c, head))
        hd_client_now(conn, HD_CLIENT_SENDING);
    return expect_body(c);
}

static enum MHD_Result take_body(struct hd_call *c, const char *data, size_t len)
{
    struct hd_api *a = c->api;
    if (c->refusal.status == 0 && len > c->max_body - c->body.len)
        refuse_size(c);
    if (c->refusal.status == 0 && len > a->o.max_bodies - a->bodies)
        refuse_bodies(c);
    if (c->refusal.status != 0) {
        hd_call_drop_body(c);
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
        hd_call_drop_body(c);
}

enum MHD_Result hd_receive(void *api, struct MHD_Connection *conn, const char *url,
                           const char *method, const char *version, const char *data, size_t *len,
                           void **call)
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
    return hd_call_send(c);
}

void hd_receive_completed(void *api, struct MHD_Connection *conn, void **call,
                          enum MHD_RequestTerminationCode why)
{
    struct hd_call *c = *call;
    *call = NULL;
    if (!c)
        return;
    hd_client_now(conn, HD_CLIENT_IDLE);
    hd_call_complete(c);
}
