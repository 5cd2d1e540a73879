/* conversation.h - a client's messages as a model's template sees them. */
#ifndef HD_API_CONVERSATION_H
#define HD_API_CONVERSATION_H

#include "leader/api/tools.h"

/* What hd_chat_encode takes: of the body's `messages`, `chat_template_kwargs` and
 * `reasoning_effort`, and of `tools` (NULL: none are offered). A last message of the assistant is
 * one that goes on. For a template that knows no tools (`native` false) they are told in the system
 * message, and calls and results in the history are text. *last: the question's text, where the
 * last message is one, else NULL; both new references. 0 or HD_E_RANGE with *r. */
int hd_conversation_read(json_t **out, json_t **last, const json_t *body,
                         const struct hd_tools *tools, bool native, struct hd_refusal *r);

#endif
