/* bias.h - OpenAI's logit_bias, and llama.cpp's. */
#ifndef HD_API_BIAS_H
#define HD_API_BIAS_H

#include "leader/api/refusal.h"
#include "leader/engine/request.h"

#include "common/text/tokenizer.h"

#define HD_MAX_BIAS 1024 /* tokens in logit_bias */

/* {"50256": -100} or [[50256, -100]]; a text instead of an id is all of its tokens, and false is a
 * bias that forbids. A token that comes twice has both. `t` may be NULL: then there are no texts.
 * *out is malloc'ed, also where it is refused. 0 or HD_E_RANGE with *r. */
int hd_bias_take(struct hd_token_bias **out, size_t *n, const json_t *v, uint32_t vocab,
                 const struct hd_tokenizer *t, struct hd_refusal *r);

#endif
