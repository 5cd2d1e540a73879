/* refusal.c - errors as clients expect them: OpenAI's, Ollama's, Anthropic's. */
#include "leader/api/refusal.h"

#include "common/util/error.h"

#include <stdarg.h>
#include <stdio.h>

static const char *type_of(unsigned status)
{
    if (status == 429)
        return "rate_limit_error";
    return status >= 500 ? "server_error" : "invalid_request_error";
}

int hd_refuse(struct hd_refusal *r, unsigned status, const char *param, const char *code,
              const char *fmt, ...)
{
    r->status = status;
    r->type = type_of(status);
    r->code = code;
    snprintf(r->param, sizeof r->param, "%s", param ? param : "");
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(r->text, sizeof r->text, fmt, ap);
    va_end(ap);
    return HD_E_RANGE;
}

int hd_refuse_value(struct hd_refusal *r, const char *key, const char *what)
{
    return hd_refuse(r, 400, key, "invalid_value", "'%s' must be %s.", key, what);
}

int hd_refuse_memory(struct hd_refusal *r)
{
    return hd_refuse(r, 500, NULL, NULL, "Out of memory.");
}

int hd_refuse_model(struct hd_refusal *r, const char *name, const char *served)
{
    return hd_refuse(r, 404, "model", "model_not_found",
                     "The model '%.100s' does not exist here; this cluster serves '%s'.", name,
                     served);
}

void hd_refuse_submit(struct hd_refusal *r, int rc, const struct hd_error *err)
{
    const char *text = err->text[0] ? err->text : hd_error_name(rc);
    if (rc == HD_E_LIMIT)
        hd_refuse(r, 429, NULL, "queue_full", "%s", text);
    else if (rc == HD_E_STATE)
        hd_refuse(r, 503, NULL, "not_ready", "%s", text);
    else if (rc == HD_E_RANGE)
        hd_refuse(r, 400, NULL, "invalid_value", "%s", text);
    else
        hd_refuse(r, 500, NULL, NULL, "%s", text);
}

/* Text that may have been cut inside a character, or that holds a client's bytes. */
static json_t *lenient_string(const char *text)
{
    json_t *s = json_string(text);
    if (s)
        return s;
    char ascii[512];
    size_t n = 0;
    for (; text[n] && n + 1 < sizeof ascii; n++)
        ascii[n] = (unsigned char)text[n] < 0x80 ? text[n] : '?';
    ascii[n] = '\0';
    return json_string(ascii);
}

json_t *hd_refusal_json(const struct hd_refusal *r)
{
    return json_pack("{s:{s:o, s:s, s:o, s:s?}}", "error", "message", lenient_string(r->text),
                     "type", r->type, "param", r->param[0] ? lenient_string(r->param) : json_null(),
                     "code", r->code);
}

json_t *hd_ollama_refusal(const struct hd_refusal *r)
{
    return json_pack("{s:o}", "error", lenient_string(r->text));
}

/* Anthropic's types, by the status. */
static const char *messages_type_of(unsigned status)
{
    static const struct {
        unsigned status;
        const char *type;
    } types[] = {{401, "authentication_error"}, {403, "permission_error"},
                 {404, "not_found_error"},      {413, "request_too_large"},
                 {429, "rate_limit_error"},     {503, "overloaded_error"}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].status == status)
            return types[i].type;
    return status < 500 ? "invalid_request_error" : "api_error";
}

json_t *hd_messages_refusal(const struct hd_refusal *r)
{
    return json_pack("{s:s, s:{s:s, s:o}}", "type", "error", "error", "type",
                     messages_type_of(r->status), "message", lenient_string(r->text));
}
