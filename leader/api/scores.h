/* scores.h - log-probabilities of tokens as JSON, in OpenAI's two shapes and in ids. */
#ifndef HD_API_SCORES_H
#define HD_API_SCORES_H

#include "leader/engine/request.h"

#include "common/text/tokenizer.h"

#include <jansson.h>

/* A token's text, special ones included; "bytes:\xe2\x80" where it is no whole UTF-8,
 * "token_id:7" without a tokenizer. */
json_t *hd_token_json(const struct hd_tokenizer *t, int32_t id);

/* An empty "logprobs" object: chat {"content": []}, else four parallel arrays. */
json_t *hd_logprobs_new(bool chat);
/* Adds one token; *characters is where its text begins, and is moved past it. 0 or HD_E_NOMEM. */
int hd_logprobs_add(json_t *logprobs, bool chat, const struct hd_tokenizer *t,
                    const struct hd_token_event *ev, size_t *characters);
/* Of a token of the prompt, as vLLM has it: {"ID": {"logprob", "rank", "decoded_token"}, ...},
 * itself and the best `top`; rank is null where it is none of these. null for the first. */
json_t *hd_prompt_score_json(const struct hd_tokenizer *t, const struct hd_token_event *ev,
                             uint32_t top);
/* {"id", "token", "logprob", "top": [{"id", "logprob"}]} */
json_t *hd_score_json(const struct hd_tokenizer *t, const struct hd_token_event *ev);

#endif
