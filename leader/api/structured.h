/* structured.h - what an answer must match, in the ways that clients say it: OpenAI's
 * response_format, vLLM's structured_outputs and guided_*, llama.cpp's json_schema and grammar. */
#ifndef HD_API_STRUCTURED_H
#define HD_API_STRUCTURED_H

#include "common/text/grammar.h"
#include "leader/api/refusal.h"

struct hd_structured {
    char *text; /* malloc'ed; NULL: an answer may be anything */
    enum hd_grammar_kind kind;
    const char *key; /* who asked for it, for errors; static */
};

/* Reads the member `key` (not null) of a request; neutral values ask for nothing. 0, or HD_E_RANGE
 * with *r. */
int hd_structured_take(struct hd_structured *s, const char *key, const json_t *v,
                       struct hd_refusal *r);
/* The answer must match `text`, malloc'ed and taken over; NULL: memory is out. As above; `key`,
 * static, is who wants it. */
int hd_structured_set(struct hd_structured *s, const char *key, enum hd_grammar_kind kind,
                      char *text, struct hd_refusal *r);
/* *out NULL if nothing is asked for. HD_E_RANGE with *r. */
int hd_structured_open(struct hd_grammar **out, const struct hd_structured *s,
                       const struct hd_tokenizer *t, struct hd_refusal *r);
void hd_structured_deinit(struct hd_structured *s);

#endif
