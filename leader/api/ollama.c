/* ollama.c - Ollama's /api/chat and /api/generate: what is asked, as OpenAI's chat or completion. A
 * prompt that is not "raw" is one message. */
#include "leader/api/ollama.h"

#include "leader/api/handlers.h"
#include "leader/api/sse.h"
#include "leader/api/translate.h"

#include <string.h>

static int refuse_images(struct hd_refusal *r)
{
    return hd_refuse(r, 400, "images", "unsupported_value", "This model sees no images.");
}

/* Names of "options" that mean the same under another name; what is not here is passed on as it is,
 * or is about the machine (num_ctx, num_gpu ...) and left out. */
static void read_options(json_t *body)
{
    static const char *const names[][2] = {{"num_predict", "max_tokens"},
                                           {"repeat_penalty", "repetition_penalty"},
                                           {"temperature", "temperature"},
                                           {"top_p", "top_p"},
                                           {"top_k", "top_k"},
                                           {"min_p", "min_p"},
                                           {"typical_p", "typical_p"},
                                           {"seed", "seed"},
                                           {"stop", "stop"},
                                           {"presence_penalty", "presence_penalty"},
                                           {"frequency_penalty", "frequency_penalty"}};
    json_t *options = json_incref(json_object_get(body, "options"));
    json_object_del(body, "options");
    json_object_del(body, "keep_alive");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        json_t *v = json_object_get(options, names[i][0]);
        bool endless = i == 0 && json_integer_value(v) < 0; /* until it ends by itself */
        if (v && !endless)
            json_object_set(body, names[i][1], v);
    }
    json_decref(options);
    if (!json_object_get(body, "stream"))
        json_object_set_new(body, "stream", json_true());
}

/* "format": "json", or a schema. */
static void read_format(json_t *body)
{
    json_t *format = json_incref(json_object_get(body, "format"));
    const char *word = json_string_value(format);
    json_object_del(body, "format");
    if (word && strcmp(word, "json") == 0)
        json_object_set_new(body, "response_format", json_pack("{s:s}", "type", "json_object"));
    else if (json_is_object(format))
        json_object_set(body, "json_schema", format);
    json_decref(format);
}

/* true, false, or how much. */
static void read_think(json_t *body)
{
    json_t *think = json_incref(json_object_get(body, "think"));
    json_object_del(body, "think");
    if (json_is_boolean(think))
        json_object_set_new(body, "chat_template_kwargs",
                            json_pack("{s:O}", "enable_thinking", think));
    else if (json_is_string(think))
        json_object_set(body, "reasoning_effort", think);
    json_decref(think);
}

static int read_message(json_t *m, struct hd_refusal *r)
{
    if (json_array_size(json_object_get(m, "images")) > 0)
        return refuse_images(r);
    hd_move_member(m, "thinking", "reasoning_content");
    hd_move_member(m, "tool_name", "name");
    json_object_del(m, "images");
    return 0;
}

static int read_chat(json_t *body, struct hd_refusal *r)
{
    const json_t *messages = json_object_get(body, "messages");
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < json_array_size(messages); i++)
        rc = read_message(json_array_get(messages, i), r);
    return rc;
}

/* Without a prompt a model is loaded. */
static bool is_for_loading(const json_t *body)
{
    return json_string_length(json_object_get(body, "prompt")) == 0 &&
           json_array_size(json_object_get(body, "messages")) == 0;
}

static int reply_loaded(struct hd_answer *a, struct hd_refusal *r)
{
    const struct hd_api_backend *b = &a->call->api->o.backend;
    char at[32];
    hd_ollama_time(b->created, at);
    a->call->text =
        hd_json_text(json_pack("{s:s, s:s, s:s, s:b, s:s}", "model", b->model, "created_at", at,
                               "response", "", "done", true, "done_reason", "load"));
    return a->call->text ? 0 : hd_refuse_memory(r);
}

static int read_raw(struct hd_answer *a, json_t *body)
{
    a->chat = false;
    json_object_del(body, "raw");
    return 0;
}

static int read_generate(json_t *body, struct hd_refusal *r)
{
    static const char *const others[] = {"prompt", "system", "images", "raw", "template"};
    json_t *messages = json_array(), *system = json_object_get(body, "system");
    json_t *template = json_object_get(body, "template"), *suffix = json_object_get(body, "suffix");
    if (json_array_size(json_object_get(body, "images")) > 0)
        return json_decref(messages), refuse_images(r);
    if (json_string_length(template) > 0 || json_string_length(suffix) > 0)
        return json_decref(messages),
               hd_refuse(r, 400, "template", "unsupported_value",
                         "'template' and 'suffix' are not known here; use 'raw'.");
    if (json_string_length(system) > 0)
        json_array_append_new(messages, hd_message_json("system", system));
    json_array_append_new(messages, hd_message_json("user", json_object_get(body, "prompt")));
    json_object_set_new(body, "messages", messages);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        json_object_del(body, others[i]);
    return 0;
}

int hd_ollama_read(struct hd_answer *a, json_t **body, struct hd_refusal *r)
{
    json_t *o = *body;
    read_options(o);
    read_format(o);
    read_think(o);
    json_object_del(o, "context");
    if (is_for_loading(o))
        return reply_loaded(a, r);
    if (a->form == &hd_ollama_chat)
        return read_chat(o, r);
    return json_is_true(json_object_get(o, "raw")) ? read_raw(a, o) : read_generate(o, r);
}

void hd_post_api_chat(struct hd_call *c, const char *rest)
{
    hd_answer_start(c, &hd_ollama_chat);
}

void hd_post_api_generate(struct hd_call *c, const char *rest)
{
    hd_answer_start(c, &hd_ollama_generate);
}
