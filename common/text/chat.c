/* Conversations to prompts, by the model's own template. */
#include "common/text/encoder.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

int hd_chat_none(struct hd_tokenizer *t, const char *why, struct hd_error *err)
{
    char *copy = strdup(why);

    if (!copy)
        return hd_fail(err, HD_E_NOMEM, "tokenizer: no memory for a sentence");
    free(t->no_chat);
    t->no_chat = copy;
    return 0;
}

int hd_chat_init(struct hd_tokenizer *t, struct hd_str source, const json_t *vars,
                 struct hd_warnings *w, struct hd_error *err)
{
    struct hd_error why = {0};
    char *text = vars ? json_dumps(vars, JSON_COMPACT) : strdup("{}");
    char reason[sizeof why.text + 64];
    int rc;

    if (!text)
        return hd_fail(err, HD_E_NOMEM, "tokenizer: no memory for the chat template's variables");
    rc = hdt_set_template(t->core, source, (struct hd_str){text, strlen(text)}, &why);
    free(text);
    if (rc == 0) {
        free(t->no_chat);
        t->no_chat = NULL;
        free(t->chat_template);
        t->chat_template = strndup(source.data, source.len);
        return t->chat_template ? 0
                                : hd_fail(err, HD_E_NOMEM, "tokenizer: no memory for a template");
    }
    snprintf(reason, sizeof reason, "the model's chat template cannot be used: %s", why.text);
    hd_warnings_add(w, "tokenizer: %s; only plain completions are served", reason);
    return hd_chat_none(t, reason, err);
}

const char *hd_chat_template(const struct hd_tokenizer *t)
{
    return t->chat_template && !t->no_chat ? t->chat_template : "";
}

int hd_chat_encode(const struct hd_tokenizer *t, const char *json, size_t len, int32_t **ids,
                   size_t *n_ids, struct hd_error *err)
{
    *ids = NULL;
    *n_ids = 0;
    if (t->no_chat)
        return hd_fail(err, HD_E_UNSUPPORTED, "%s; use a plain completion", t->no_chat);
    if (len > HD_TEXT_MAX_BYTES)
        return hd_fail(err, HD_E_LIMIT, "chat: the messages are longer than %zu MiB",
                       HD_TEXT_MAX_BYTES >> 20);
    return hdt_chat(t->core, (struct hd_str){json, len}, (int64_t)time(NULL), ids, n_ids, err);
}
