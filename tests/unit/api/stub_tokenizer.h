/* stub_tokenizer.h - a tokenizer without a model, that can be made to take its time. */
#ifndef HD_TESTS_API_STUB_TOKENIZER_H
#define HD_TESTS_API_STUB_TOKENIZER_H

#include "common/text/tokenizer.h"

#include <pthread.h>
#include <stdatomic.h>

#define STUB_WAITS "WAIT" /* a text that begins so is encoded when stub_release was called */

extern struct hd_tokenizer *const stub_tokenizer;
extern atomic_uint stub_encoded; /* texts and conversations, begun */
extern atomic_uint stub_inside;  /* that wait now */
extern atomic_uint stub_on_loop; /* by the thread that called stub_begin */
void stub_begin(void);
void stub_release(void); /* one of them, also one that comes later */

/* The model's chat template, and the last conversation that was encoded, as JSON. */
extern const char *stub_template;
extern char stub_conversation[4096];

/* What hd_grammar_open was given: a digit for the kind, then the text. */
struct hd_grammar;
const char *stub_grammar(const struct hd_grammar *g);
extern char stub_waits[4096]; /* behind which marks the last one holds, "~" between */

#endif
