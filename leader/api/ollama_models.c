/* ollama_models.c - Ollama's /api/tags, /api/ps, /api/show and /api/version: the one model that is
 * served, always loaded. */
#include "leader/api/call.h"
#include "leader/api/handlers.h"
#include "leader/api/ollama.h"

#include <string.h>

static json_t *details_json(void)
{
    return json_pack("{s:s, s:s, s:s, s:[], s:s, s:s}", "parent_model", "", "format", "gguf",
                     "family", "", "families", "parameter_size", "", "quantization_level", "");
}

static json_t *model_json(const struct hd_api_backend *b)
{
    char at[32];
    hd_ollama_time(b->created, at);
    return json_pack("{s:s, s:s, s:s, s:i, s:s, s:o}", "name", b->model, "model", b->model,
                     "modified_at", at, "size", 0, "digest", "", "details", details_json());
}

void hd_get_tags(struct hd_call *c, const char *rest)
{
    hd_call_reply(c, 200, json_pack("{s:[o]}", "models", model_json(&c->api->o.backend)));
}

void hd_get_version(struct hd_call *c, const char *rest)
{
    hd_call_reply(c, 200, json_pack("{s:s}", "version", HYDAC_VERSION));
}

static json_t *show_json(const struct hd_api_backend *b)
{
    const char *template = b->tokenizer ? hd_chat_template(b->tokenizer) : NULL;
    bool tools = template && strstr(template, "tools");
    bool thinks = template && strstr(template, "<think>");
    bool embeds = b->pooled && b->pooled->pooling != HD_POOLING_NONE;
    json_t *can = json_array();
    char at[32];
    hd_ollama_time(b->created, at);
    if (!embeds || !b->pooled->only)
        json_array_append_new(can, json_string("completion"));
    if (embeds)
        json_array_append_new(can, json_string("embedding"));
    if (tools)
        json_array_append_new(can, json_string("tools"));
    if (thinks)
        json_array_append_new(can, json_string("thinking"));
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:{s:s, s:I}, s:o, s:s}", "modelfile", "",
                     "parameters", "", "template", template ? template : "", "license", "",
                     "details", details_json(), "model_info", "general.architecture", "hydac",
                     "hydac.context_length", (json_int_t)b->context, "capabilities", can,
                     "modified_at", at);
}

/* {"model": NAME}; "name" in old clients. */
void hd_post_show(struct hd_call *c, const char *rest)
{
    const struct hd_api_backend *b = &c->api->o.backend;
    json_t *body = json_loadb(hd_text_str(&c->body), c->body.len, 0, NULL);
    const char *name = json_string_value(json_object_get(body, "model"));
    name = name ? name : json_string_value(json_object_get(body, "name"));
    struct hd_refusal r;
    if (name && (b->any_model || hd_api_is_model(b, name))) {
        hd_call_reply(c, 200, show_json(b));
    } else {
        hd_refuse_model(&r, name ? name : "", b->model);
        hd_call_refuse(c, &r);
    }
    json_decref(body);
}
