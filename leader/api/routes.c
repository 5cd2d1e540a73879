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
    json_t *(*refusal)(const struct hd_refusal *r); /* NULL: OpenAI's */
} routes[] = {
    {"/v1/completions", "POST", hd_post_completions, .prompt = true},
    {"/v1/chat/completions", "POST", hd_post_chat, .prompt = true},
    {"/v1/models", "GET", hd_get_models},
    {"/v1/models/", "GET", hd_get_model, .below = true},
    {"/v1/hydac/requests/", "GET", hd_get_request_events, .below = true},
    {"/v1/responses", "POST", hd_post_responses, .prompt = true},
    {"/v1/embeddings", "POST", hd_post_embeddings, .prompt = true},
    {"/v1/messages", "POST", hd_post_messages, .prompt = true, .refusal = hd_messages_refusal},
    {"/v1/messages/count_tokens", "POST", hd_post_count_tokens, .prompt = true,
     .refusal = hd_messages_refusal},
    {"/api/chat", "POST", hd_post_api_chat, .prompt = true, .refusal = hd_ollama_refusal},
    {"/api/generate", "POST", hd_post_api_generate, .prompt = true, .refusal = hd_ollama_refusal},
    {"/api/embed", "POST", hd_post_api_embed, .prompt = true, .refusal = hd_ollama_refusal},
    {"/api/embeddings", "POST", hd_post_api_embeddings, .prompt = true,
     .refusal = hd_ollama_refusal},
    {"/api/tags", "GET", hd_get_tags, .refusal = hd_ollama_refusal},
    {"/api/ps", "GET", hd_get_tags, .refusal = hd_ollama_refusal},
    {"/api/show", "POST", hd_post_show, .refusal = hd_ollama_refusal},
    {"/api/version", "GET", hd_get_version, .refusal = hd_ollama_refusal},
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

json_t *(*hd_route_refusal(const char *url))(const struct hd_refusal *r)
{
    const struct route *r = find(url);
    return r && r->refusal ? r->refusal : hd_refusal_json;
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
        c->path = route->path;
        route->run(c, url + strlen(route->path));
    } else {
        c->allow = strcmp(route->method, "GET") == 0 ? "GET, HEAD" : route->method;
        hd_refuse(&r, 405, NULL, "method_not_allowed", "%s takes %s.", route->path, c->allow);
        hd_call_refuse(c, &r);
    }
}
