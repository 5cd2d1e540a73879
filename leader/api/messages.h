/* messages.h - Anthropic's messages, in two files: what is asked (messages.c), what is answered. */
#ifndef HD_API_MESSAGES_H
#define HD_API_MESSAGES_H

#include "leader/api/items.h"

extern const struct hd_form hd_messages;
int hd_messages_read(struct hd_answer *a, json_t **body, struct hd_refusal *r);
int hd_messages_begin(struct hd_answer *a); /* 0 or HD_E_NOMEM */

#endif
