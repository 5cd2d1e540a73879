/* routes.c - the table of paths: a row an endpoint. */
#include "leader/api/routes.h"

#include "leader/api/handlers.h"

#include <string.h>

static const struct route {
    const char *path, *method;
    void (*run)(struct hd_call *c, const char *rest);
    bool admin;  /* it changes the cluster */
    bool prompt; /* its body is one, and may be large */
    bool below;  /* path ends with "/", and `rest` is what stands behind it */
} routes[] = {
    {"/v1/completions", "POST", hd_post_completions, .prompt = true},
    {"/v1/chat/completions", "POST", hd_post_chat, .prompt = true},
    {"/v1/models", "GET", hd_get_models},
    {"/v1/models/", "GET", hd_get_model, .below = true},
    {"/tokenize", "POST", hd_post_tokenize, .prompt = true},
    {"/detokenize", "POST", hd_post_detokenize, .prompt = true},
    {"/", "GET", hd_get_page},
    {"/health", "GET", hd_get_health},
    {"/hydac/status", "GET", hd_get_status},
    {"/hydac/events", "GET", hd_get_events},
    {"/hydac/drain", "POST", hd_post_drain, .admin = true},
    {"/hydac/undrain", "POST", hd_post_undrain, .admin = true},
    {"/hydac/rebalance", "POST", hd_post_rebalance, .admin = true},
    {"/metrics", "GET", hd_get_metrics},
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
