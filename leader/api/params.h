/* params.h - what a client's JSON asks for, checked.
 *
 * Every member is looked up in one table: it is taken, or accepted because its value changes
 * nothing (user, suffix ""...), or, where it would change the answer and cannot be done, refused by
 * name. What the table does not know is left out with a warning in the log: programs send fields
 * of other servers to everybody. */
#ifndef HD_API_PARAMS_H
#define HD_API_PARAMS_H

#include "leader/api/api.h"
#include "leader/api/structured.h"
#include "leader/api/tools.h"
#include "leader/api/text.h"

/* An answer that is an error, in OpenAI's words. */
struct hd_refusal {
    unsigned status;  /* HTTP */
    const char *type; /* static */
    const char *code; /* static, NULL = null */
    char param[64];   /* "" = null */
    char text[512];
};
/* Fills *r; the type follows from the status. Returns HD_E_RANGE, so that callers return it. */
int hd_refuse(struct hd_refusal *r, unsigned status, const char *param, const char *code,
              const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* {"error": {...}}, NULL when memory is out. */
json_t *hd_refusal_json(const struct hd_refusal *r);

#define HD_MAX_BIAS     1024 /* tokens in logit_bias */
#define HD_MAX_IGNORED  8    /* names that are told of one request */
#define HD_IGNORED_NAME 40

struct hd_params {
    bool chat; /* set by the caller before hd_params_read */
    bool stream, include_usage, echo, hydac, ignore_eos, logprobs;
    bool has_max_tokens, has_seed;
    uint32_t max_tokens, top_logprobs;
    struct hd_sampling sampling;
    const char *stops[HD_MAX_STOPS]; /* borrowed from the JSON */
    size_t n_stops;
    struct hd_token_bias *bias;      /* sampling.bias; malloc'ed */
    struct hd_structured structured; /* what the answer must match */
    struct hd_tools tools;
    char ignored[HD_MAX_IGNORED][HD_IGNORED_NAME]; /* names that nothing is known of */
    size_t n_ignored;
};
/* Reads all but prompt and messages. 0 or HD_E_RANGE with *r filled; hd_params_deinit is right in
 * both cases. */
int hd_params_read(struct hd_params *p, const json_t *body, const struct hd_api_backend *b,
                   struct hd_refusal *r);
void hd_params_deinit(struct hd_params *p);

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
/* Puts what the model wants around a text: its begin token, its end token. */
int hd_prompt_add_affixes(struct hd_prompt *out, const struct hd_tokenizer *t,
                          struct hd_refusal *r);

#endif
