/* resume.h - an answer that was begun elsewhere goes on here: on this leader after a restart, on
 * another one, in another cluster.
 *
 * The output is a function of (model, request, seed). So a stream that asks for `hydac` says which
 * model, prompt and seed it is of, and the ids of its tokens; the same request with
 *
 *   "hydac": {"model_digest": "...", "prompt_digest": "...", "seed": 1, "tokens": [...]}
 *
 * gets what follows those tokens, after one prefill. Another model, prompt or arithmetic is
 * refused, never continued; prompt_digest may be left out. */
#ifndef HD_API_RESUME_H
#define HD_API_RESUME_H

#include "leader/api/generation.h"

/* The digest of a prompt's ids, as it is told and compared. */
void hd_prompt_digest(const struct hd_prompt *prompt, char out[HD_DIGEST_TEXT]);

/* Whether the tokens are of what this backend serves. From the loop. 0, or HD_E_RANGE with *r. */
int hd_resume_check(const struct hd_generation *g, struct hd_refusal *r);

/* Adds to an extension what another leader needs to go on; nothing while it is not known. 0 or
 * HD_E_NOMEM. */
int hd_resume_tell(struct hd_generation *g, json_t *extension);

#endif
