/* prompt.h - a client's prompt or conversation as token ids. */
#ifndef HD_API_PROMPT_H
#define HD_API_PROMPT_H

#include "leader/api/backend.h"
#include "leader/api/refusal.h"
#include "leader/api/tools.h"

/* The prompt's ids, malloc'ed; a conversation's with what the template says of `tools`, where they
 * are offered (NULL: none are). *echo_text: the prompt's text if it was given as text and `echo` is
 * wanted (borrowed from the JSON), else NULL. 0 or HD_E_RANGE. */
struct hd_prompt {
    int32_t *ids;
    size_t n;
    const char *text;
};
int hd_prompt_read(struct hd_prompt *out, const json_t *body, bool chat,
                   const struct hd_tools *tools, const struct hd_api_backend *b,
                   struct hd_refusal *r);
/* One text that stands alone: a string or an array of ids, which `key` has. Likewise; one that does
 * not fit the context is refused. */
int hd_prompt_of(struct hd_prompt *out, const json_t *v, const char *key,
                 const struct hd_api_backend *b, struct hd_refusal *r);
/* Puts what the model wants around a text: its begin token, its end token. */
int hd_prompt_add_affixes(struct hd_prompt *out, const struct hd_tokenizer *t,
                          struct hd_refusal *r);

#endif
