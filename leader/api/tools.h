/* tools.h - the tools that a client offers: read, told to the model, and what an answer must be
 * when one has to be called. */
#ifndef HD_API_TOOLS_H
#define HD_API_TOOLS_H

#include "leader/api/calls.h"
#include "leader/api/structured.h"

enum hd_tool_choice { HD_TOOL_AUTO, HD_TOOL_NONE, HD_TOOL_REQUIRED, HD_TOOL_NAMED };

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
/* The model hears of them and may call them. */
bool hd_tools_are_offered(const struct hd_tools *t);
void hd_tools_deinit(struct hd_tools *t);

/* Where one has to be called: the grammar of an answer that does. 0; HD_E_RANGE with *r, also when
 * the answer has to match something else. */
int hd_tools_structure(const struct hd_tools *t, enum hd_call_form form,
                       const struct hd_call_marks *marks, struct hd_structured *s,
                       struct hd_refusal *r);
/* For a template that knows no tools: the sentences that tell them, and how to call them. Adds to
 * `out`; 0 or HD_E_NOMEM. */
int hd_tools_tell(const struct hd_tools *t, struct hd_text *out);

#endif
