/* tools.h - the tools that a client offers: read, and told to the model. */
#ifndef HD_API_TOOLS_H
#define HD_API_TOOLS_H

#include "leader/api/calls.h"
#include "leader/api/refusal.h"

enum hd_tool_choice { HD_TOOL_AUTO, HD_TOOL_NONE, HD_TOOL_REQUIRED, HD_TOOL_NAMED };

#define HD_MAX_TOOLS 128 /* OpenAI's */

struct hd_tools {
    json_t *list; /* as the client has it; NULL: none */
    enum hd_tool_choice choice;
    char name[65]; /* HD_TOOL_NAMED */
    bool only_one; /* parallel_tool_calls: false */
};

/* Read the members `tools`, `tool_choice` and `parallel_tool_calls`. 0 or HD_E_RANGE with *r. */
int hd_tools_take(struct hd_tools *t, const json_t *v, struct hd_refusal *r);
int hd_tools_take_choice(struct hd_tools *t, const json_t *v, struct hd_refusal *r);
int hd_tools_take_parallel(struct hd_tools *t, const json_t *v, struct hd_refusal *r);
/* What only the members together can tell. */
int hd_tools_check(const struct hd_tools *t, struct hd_refusal *r);
const char *hd_tool_name(const json_t *tool); /* NULL: it has none */
/* The model hears of them and may call them. */
bool hd_tools_are_offered(const struct hd_tools *t);
void hd_tools_deinit(struct hd_tools *t);

/* For a template that knows no tools: the sentences that tell them, and how to call them. Adds to
 * `out`; 0 or HD_E_NOMEM. */
int hd_tools_tell(const struct hd_tools *t, struct hd_text *out);

#endif
