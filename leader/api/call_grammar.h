/* call_grammar.h - the grammar of an answer that calls tools, in each family's way: the whole
 * answer where one has to be called, or from a call's mark on where one may be. */
#ifndef HD_API_CALL_GRAMMAR_H
#define HD_API_CALL_GRAMMAR_H

#include "leader/api/ignored.h"
#include "leader/api/structured.h"
#include "leader/api/tools.h"

/* Where one has to be called: 0, and *s has the text of the grammar; or nothing has to be.
 * HD_E_RANGE with *r, also when the answer has to match something else. */
int hd_call_grammar_required(const struct hd_tools *t, enum hd_call_form form,
                             const struct hd_call_marks *marks, struct hd_structured *s,
                             struct hd_refusal *r);

/* The two below: a tool whose parameters are no schema that can be held to has an object of any
 * kind as arguments, and its name is added to `loose`; where all of them together are too large,
 * those with the longest ones have. 0 or HD_E_NOMEM. */

/* ... opened. */
int hd_call_grammar_held(struct hd_grammar **out, const struct hd_tools *t, enum hd_call_form form,
                         const struct hd_call_marks *marks, const struct hd_tokenizer *tokenizer,
                         struct hd_unknown *loose);
/* Where one may be called: *out holds behind a call's mark and lets the answer be anything before.
 * `thoughts`, `inside`: of the answer, as in hd_grammar_wait. *out NULL: no tool may be called, or
 * nothing can be held to. */
int hd_call_grammar_auto(struct hd_grammar **out, const struct hd_tools *t, enum hd_call_form form,
                         const struct hd_call_marks *marks, const struct hd_tokenizer *tokenizer,
                         bool thoughts, bool inside, struct hd_unknown *loose);

#endif
