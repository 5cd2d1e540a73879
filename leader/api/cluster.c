/* cluster.c - health, status, metrics, and what changes the cluster: answers that need no engine.
 */
#include "leader/api/call.h"
#include "leader/api/handlers.h"
#include "leader/metrics/exposition.h"

void hd_get_health(struct hd_call *c, const char *rest)
{
    const struct hd_api_backend *b = &c->api->o.backend;
    const char *why = b->not_ready(b->arg), *role = b->role ? b->role(b->arg) : NULL;
    if (why)
        hd_call_reply(
            c, 503,
            json_pack("{s:s, s:s*, s:s}", "status", "unavailable", "role", role, "reason", why));
    else
        hd_call_reply(c, 200, json_pack("{s:s, s:s*}", "status", "ok", "role", role));
}

static void on_status(void *call, json_t *status)
{
    struct hd_call *c = call;
    if (hd_call_expected(c))
        hd_call_reply(c, 200, json_incref(status));
    json_decref(status);
}

void hd_get_status(struct hd_call *c, const char *rest)
{
    hd_call_expect(c);
    c->api->o.backend.status(c->api->o.backend.arg, on_status, c);
}

void hd_get_metrics(struct hd_call *c, const char *rest)
{
    const struct hd_api_backend *b = &c->api->o.backend;
    hd_call_reply_text(c, HD_EXPOSITION_TYPE, b->metrics(b->arg));
}

static void accepted(struct hd_call *c)
{
    hd_call_reply(c, 202, json_pack("{s:s}", "status", "accepted"));
}

/* {"worker": NAME} */
static void drain(struct hd_call *c, bool on)
{
    struct hd_refusal r;
    struct hd_error err = {0};
    json_t *body = json_loadb(hd_text_str(&c->body), c->body.len, 0, NULL);
    const char *worker = json_string_value(json_object_get(body, "worker"));
    if (!worker) {
        hd_refuse(&r, 400, "worker", "invalid_value",
                  "The body must be {\"worker\": NAME}, the name of a connected worker.");
        hd_call_refuse(c, &r);
    } else if (c->api->o.backend.drain(c->api->o.backend.arg, worker, on, &err) < 0) {
        hd_refuse(&r, 404, "worker", "no_such_worker", "%s", err.text);
        hd_call_refuse(c, &r);
    } else {
        accepted(c);
    }
    json_decref(body);
}

void hd_post_drain(struct hd_call *c, const char *rest)
{
    drain(c, true);
}

void hd_post_undrain(struct hd_call *c, const char *rest)
{
    drain(c, false);
}

void hd_post_rebalance(struct hd_call *c, const char *rest)
{
    c->api->o.backend.rebalance(c->api->o.backend.arg);
    accepted(c);
}
