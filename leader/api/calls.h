/* calls.h - how models write calls of tools, and these calls found in an answer's text.
 *
 * Each family has a way of its own; which one is seen in the model's chat template. Text comes in
 * pieces; what is no part of a call goes on at once, but for what may be the beginning of one. */
#ifndef HD_API_CALLS_H
#define HD_API_CALLS_H

#include "common/text/grammar.h"
#include "leader/api/text.h"

#include <jansson.h>
#include <stdint.h>

#define HD_MARK_CALL      "<tool_call>"
#define HD_MARK_CALL_END  "</tool_call>"
#define HD_MARK_LIST      "[TOOL_CALLS]"
#define HD_MARK_ARGS      "[ARGS]"
#define HD_MARK_BARE      "<|python_tag|>"
#define HD_MARK_CHANNEL   HD_GRAMMAR_CONTROL "<|channel|>"
#define HD_MARK_MESSAGE   HD_GRAMMAR_CONTROL "<|message|>"
#define HD_MARK_START     HD_GRAMMAR_CONTROL "<|start|>"
#define HD_MARK_END       HD_GRAMMAR_CONTROL "<|end|>"
#define HD_MARK_CONSTRAIN HD_GRAMMAR_CONTROL "<|constrain|>"
#define HD_MARK_TO_TOOL   HD_GRAMMAR_CONTROL "<|call|>"
#define HD_MARK_RETURN    HD_GRAMMAR_CONTROL "<|return|>"

enum hd_call_form {
    /* <tool_call>\n{"name": N, "arguments": {...}}\n</tool_call>, any number, also behind text:
     * Hermes, Qwen and many others; also for models whose template knows no tools */
    HD_CALLS_TAGGED,
    /* the whole answer is {"name": N, "parameters": {...}}, or several with ";" between them, maybe
     * behind <|python_tag|>: Llama 3.1 */
    HD_CALLS_BARE,
    /* [TOOL_CALLS] [{"name": N, "arguments": {...}}, ...]: Mistral */
    HD_CALLS_LIST,
    /* [TOOL_CALLS]N[ARGS]{...}, any number: later ones of Mistral */
    HD_CALLS_ARGS,
    /* messages in channels, one to "functions.N": gpt-oss (channels.h) */
    HD_CALLS_CHANNELS,
};
/* By what a template has in it. *native false: it knows no tools, they must be told otherwise. */
enum hd_call_form hd_call_form_of(const char *template, bool *native);

#define HD_MAX_MARKS 12
/* Control tokens that are part of a call: they have no text in an answer, and are seen here. */
struct hd_call_marks {
    int32_t id[HD_MAX_MARKS]; /* -1: it is no control token */
};
void hd_call_marks_init(struct hd_call_marks *m, const struct hd_tokenizer *t);
/* The text of such a token, NULL for all others. Static. Those of channels begin with
 * HD_GRAMMAR_CONTROL. */
const char *hd_call_mark(const struct hd_call_marks *m, int32_t id);
/* How a grammar (llguidance's Lark) says the mark `text`: a token, or text. Appends. */
int hd_call_mark_grammar(struct hd_text *out, const struct hd_call_marks *m, const char *text);
/* It is a control token, not text. */
bool hd_call_mark_is_control(const struct hd_call_marks *m, const char *text);

struct hd_calls {
    enum hd_call_form form;
    struct hd_text held; /* may be a call */
    bool begun;          /* something that is no blank came */
    bool inside;         /* `held` is a call's inside */
    size_t n;            /* calls found */
    uint64_t seed;       /* of which ids are made */
};
/* Adds one, found elsewhere, to `calls`. 0 or HD_E_NOMEM. */
int hd_calls_add(struct hd_calls *c, json_t *calls, const char *name, const json_t *arguments);
/* `out`: text that is no call is added; `calls`: an array to which calls are added, as OpenAI has
 * them, with `index`. 0 or HD_E_NOMEM. */
int hd_calls_push(struct hd_calls *c, const char *text, struct hd_text *out, json_t *calls);
/* The answer has ended: what was held is a call, or text. */
int hd_calls_finish(struct hd_calls *c, struct hd_text *out, json_t *calls);
void hd_calls_deinit(struct hd_calls *c);

#endif
