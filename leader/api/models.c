/* models.c - what /v1/models says of the model and its aliases. */
#include "leader/api/call.h"
#include "leader/api/handlers.h"

#include <string.h>

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
    const char *w = b->aliases;
    size_t n;
    for (; rc == 0 && (w = hd_word_next(w, &n)); w += n)
        rc = json_array_append_new(list, model_json(b, w, n));
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
    hd_refuse_model(&r, name, b->model);
    hd_call_refuse(c, &r);
}
