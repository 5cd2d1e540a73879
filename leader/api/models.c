/* models.c - the model's name and its aliases: who is meant, and what /v1/models says of them. */
#include "leader/api/api_impl.h"

#include <stdio.h>
#include <string.h>

bool hd_api_is_model(const struct hd_api_backend *b, const char *name)
{
    size_t len = strlen(name);
    if (strcmp(b->model, name) == 0)
        return true;
    for (const char *w = b->aliases ? b->aliases : ""; *w; w += *w == ' ') {
        size_t n = strcspn(w, " ");
        if (n == len && memcmp(w, name, n) == 0)
            return true;
        w += n;
    }
    return false;
}

static json_t *model_json(const struct hd_api_backend *b, const char *name, size_t len)
{
    return json_pack("{s:s%, s:s, s:I, s:s, s:I}", "id", name, len, "object", "model", "created",
                     (json_int_t)b->created, "owned_by", "hydac", "max_model_len",
                     (json_int_t)b->context);
}

void hd_get_models(struct hd_call *c, const char *rest)
{
    const struct hd_api_backend *b = &c->api->o.backend;
    json_t *list = json_array();
    int rc = json_array_append_new(list, model_json(b, b->model, strlen(b->model)));
    for (const char *w = b->aliases ? b->aliases : ""; rc == 0 && *w; w += *w == ' ') {
        size_t n = strcspn(w, " ");
        rc = json_array_append_new(list, model_json(b, w, n));
        w += n;
    }
    hd_call_reply(c, 200, json_pack("{s:s, s:o}", "object", "list", "data", list));
}

/* A name may have slashes. */
void hd_get_model(struct hd_call *c, const char *name)
{
    const struct hd_api_backend *b = &c->api->o.backend;
    struct hd_refusal r;
    if (hd_api_is_model(b, name)) {
        hd_call_reply(c, 200, model_json(b, name, strlen(name)));
        return;
    }
    hd_refuse(&r, 404, "model", "model_not_found",
              "The model '%.100s' does not exist here; this cluster serves '%s'.", name, b->model);
    hd_call_refuse(c, &r);
}
