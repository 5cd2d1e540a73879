/* params.h - what a client's JSON asks for, checked.
 *
 * Every member is looked up in one table: it is taken, or accepted because its value changes
 * nothing (user, suffix ""...), or, where it would change the answer and cannot be done, refused by
 * name. What the table does not know is left out with a warning in the log: programs send fields
 * of other servers to everybody. */
#ifndef HD_API_PARAMS_H
#define HD_API_PARAMS_H

#include "leader/api/backend.h"
#include "leader/api/ignored.h"
#include "leader/api/refusal.h"
#include "leader/api/structured.h"
#include "leader/api/tools.h"
#include "leader/api/text.h"

/* Of an answer that goes on (resume.h). */
#define HD_DIGEST_TEXT 17 /* 16 hexadecimal digits */
struct hd_resume {
    bool given;
    uint64_t seed;
    char model_digest[HD_DIGEST_TEXT], prompt_digest[HD_DIGEST_TEXT]; /* "" = not given */
    int32_t *tokens; /* malloc'ed; all are in the vocabulary */
    size_t n;
};
/* From the body's `hydac`. 0 or HD_E_RANGE with *r; hd_resume_deinit is right in both cases. */
int hd_resume_take(struct hd_resume *out, const json_t *v, uint32_t vocab, struct hd_refusal *r);
void hd_resume_deinit(struct hd_resume *s);

struct hd_params {
    bool chat; /* set by the caller before hd_params_read */
    bool stream, include_usage, echo, hydac, ignore_eos, logprobs;
    bool progress;      /* a stream tells how far the prompt is */
    bool scores_prompt; /* vLLM's prompt_logprobs, with prompt_top alternatives */
    bool has_max_tokens, has_seed;
    uint32_t max_tokens, top_logprobs, prompt_top;
    uint32_t n, best_of;  /* answers that are given back; that are generated, 0: as many */
    uint64_t cache_scope; /* of cache_salt: who gives another one shares nothing */
    struct hd_sampling sampling;
    const char *stops[HD_MAX_STOPS]; /* borrowed from the JSON */
    size_t n_stops;
    struct hd_token_bias *bias;      /* sampling.bias; malloc'ed */
    struct hd_structured structured; /* what the answer must match */
    struct hd_tools tools;
    struct hd_resume resume;
    struct hd_unknown unknown; /* members of which nothing is known */
};
/* Reads all but prompt and messages. 0 or HD_E_RANGE with *r filled; hd_params_deinit is right in
 * both cases. */
int hd_params_read(struct hd_params *p, const json_t *body, const struct hd_api_backend *b,
                   struct hd_refusal *r);
void hd_params_deinit(struct hd_params *p);
/* A number for a salt, which is a string; 0: it is none, or empty. */
uint64_t hd_cache_scope(const json_t *salt);

#endif
