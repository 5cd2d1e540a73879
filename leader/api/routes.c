/* routes.c - paths and methods, and the answers that need no engine. */
#include "leader/api/api_impl.h"

#include "leader/metrics/exposition.h"

#include <string.h>

static void get_health(struct hd_call *c, const char *rest)
{
    const char *why = c->api->o.backend.not_ready(c->api->o.backend.arg);
    if (why)
        hd_call_reply(c, 503, json_pack("{s:s, s:s}", "status", "unavailable", "reason", why));
    else
        hd_call_reply(c, 200, json_pack("{s:s}", "status", "ok"));
}

static void on_status(void *call, json_t *status)
{
    struct hd_call *c = call;
    struct hd_api *a = c->api;
    c->status_pending = false;
    if (c->completed)
        hd_call_free_if_done(c);
    else
        hd_call_reply(c, 200, json_incref(status));
    json_decref(status);
    hd_api_maybe_closed(a);
}

static void get_status(struct hd_call *c, const char *rest)
{
    c->status_pending = true;
    c->api->o.backend.status(c->api->o.backend.arg, on_status, c);
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
    json_t *body = json_loadb(c->body.data ? c->body.data : "", c->body.len, 0, NULL);
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

static void post_drain(struct hd_call *c, const char *rest)
{
    drain(c, true);
}

static void post_undrain(struct hd_call *c, const char *rest)
{
    drain(c, false);
}

static void post_rebalance(struct hd_call *c, const char *rest)
{
    c->api->o.backend.rebalance(c->api->o.backend.arg);
    accepted(c);
}

static void get_metrics(struct hd_call *c, const char *rest)
{
    const struct hd_api_backend *b = &c->api->o.backend;
    hd_call_reply_text(c, HD_EXPOSITION_TYPE, b->metrics(b->arg));
}

static void post_completions(struct hd_call *c, const char *rest)
{
    hd_call_generate(c, false);
}

static void post_chat(struct hd_call *c, const char *rest)
{
    hd_call_generate(c, true);
}

static const struct route {
    const char *path, *method;
    void (*run)(struct hd_call *c, const char *rest);
    bool admin;  /* it changes the cluster */
    bool prompt; /* its body is one, and may be large */
    bool below;  /* path ends with "/", and `rest` is what stands behind it */
} routes[] = {
    {"/v1/completions", "POST", post_completions, .prompt = true},
    {"/v1/chat/completions", "POST", post_chat, .prompt = true},
    {"/v1/models", "GET", hd_get_models},
    {"/v1/models/", "GET", hd_get_model, .below = true},
    {"/tokenize", "POST", hd_post_tokenize, .prompt = true},
    {"/detokenize", "POST", hd_post_detokenize, .prompt = true},
    {"/health", "GET", get_health},
    {"/hydac/status", "GET", get_status},
    {"/hydac/drain", "POST", post_drain, .admin = true},
    {"/hydac/undrain", "POST", post_undrain, .admin = true},
    {"/hydac/rebalance", "POST", post_rebalance, .admin = true},
    {"/metrics", "GET", get_metrics},
};

static const struct route *find(const char *url)
{
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        const struct route *r = &routes[i];
        size_t n = strlen(r->path);
        if (r->below ? strncmp(r->path, url, n) == 0 && url[n] : strcmp(r->path, url) == 0)
            return r;
    }
    return NULL;
}

bool hd_route_is_admin(const char *url)
{
    const struct route *r = find(url);
    return r && r->admin;
}

bool hd_route_takes_prompts(const char *url)
{
    const struct route *r = find(url);
    return r && r->prompt;
}

void hd_call_route(struct hd_call *c, const char *url, const char *method)
{
    const struct route *route = find(url);
    struct hd_refusal r;
    if (!route) {
        hd_refuse(&r, 404, NULL, "unknown_url", "There is nothing at this path.");
        hd_call_refuse(c, &r);
    } else if (strcmp(route->method, strcmp(method, "HEAD") == 0 ? "GET" : method) == 0) {
        route->run(c, url + strlen(route->path));
    } else {
        c->allow = strcmp(route->method, "GET") == 0 ? "GET, HEAD" : route->method;
        hd_refuse(&r, 405, NULL, "method_not_allowed", "%s takes %s.", route->path, c->allow);
        hd_call_refuse(c, &r);
    }
}
