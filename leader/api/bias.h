/* bias.h - OpenAI's logit_bias. */
#ifndef HD_API_BIAS_H
#define HD_API_BIAS_H

#include "leader/api/refusal.h"
#include "leader/engine/request.h"

#define HD_MAX_BIAS 1024 /* tokens in logit_bias */

/* {"50256": -100}; clients that have no object send [] or null. *out is malloc'ed, also where it is
 * refused. 0 or HD_E_RANGE with *r. */
int hd_bias_take(struct hd_token_bias **out, size_t *n, const json_t *v, uint32_t vocab,
                 struct hd_refusal *r);

#endif
