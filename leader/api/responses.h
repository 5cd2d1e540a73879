/* responses.h - OpenAI's responses, in two files: what is asked (responses.c), what is answered. */
#ifndef HD_API_RESPONSES_H
#define HD_API_RESPONSES_H

#include "leader/api/items.h"

extern const struct hd_form hd_responses;
int hd_responses_read(struct hd_answer *a, json_t **body, struct hd_refusal *r);
int hd_responses_begin(struct hd_answer *a); /* 0 or HD_E_NOMEM */

#endif
