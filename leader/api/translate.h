/* translate.h - pieces of other APIs' bodies as OpenAI's chat has them. References are new ones;
 * NULL goes in, and comes out when memory is out, which json_object_set_new and others then say. */
#ifndef HD_API_TRANSLATE_H
#define HD_API_TRANSLATE_H

#include "leader/api/refusal.h"

#include <stdbool.h>

/* The member `from` becomes `to`, unless it is null or not there. */
void hd_move_member(json_t *o, const char *from, const char *to);
/* {"type": "function", "function": {...}}; parts may be NULL. */
json_t *hd_tool_json(json_t *name, json_t *description, json_t *parameters);
/* A call in the history; `arguments`: JSON in a string, or an object. */
json_t *hd_tool_call_json(json_t *id, json_t *name, json_t *arguments);
json_t *hd_named_choice_json(const char *name);
json_t *hd_message_json(const char *role, json_t *content);
const char *hd_type_of(const json_t *o); /* its "type", or "" */

#endif
