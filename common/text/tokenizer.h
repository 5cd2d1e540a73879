/* tokenizer.h - text to token ids and back, and conversations to prompts: from a GGUF's metadata or
 * a Hugging Face folder.
 *
 * The work is done by the crates `tokenizers` and `minijinja` (rust/), the reference for
 * tokenizer.json and the field's renderer of chat templates; their tables of Unicode are part of
 * the program, so that a text has the same ids on every machine.
 *
 * A tokenizer that is open never changes: any number of threads may use one at once. */
#ifndef HD_TEXT_TOKENIZER_H
#define HD_TEXT_TOKENIZER_H

#include "common/model/model.h"
#include "common/util/warnings.h"

#include <stdint.h>

/* Never changes once it is open: any threads may use it at once. */
struct hd_tokenizer;

/* From whatever the model carries. HD_E_NOTFOUND when it carries none (token ids still work),
 * HD_E_UNSUPPORTED for what we would do differently, HD_E_FORMAT. What is served but maybe not as
 * meant is added to `w` (may be NULL). */
int hd_tokenizer_open(struct hd_tokenizer **out, const struct hd_model *m, struct hd_warnings *w,
                      struct hd_error *err);
void hd_tokenizer_free(struct hd_tokenizer *t);

uint32_t hd_tokenizer_vocab(const struct hd_tokenizer *t);
int32_t hd_tokenizer_bos(const struct hd_tokenizer *t); /* -1: none */
int32_t hd_tokenizer_eos(const struct hd_tokenizer *t);
bool hd_tokenizer_adds_bos(const struct hd_tokenizer *t);  /* in front of a prompt of text */
int32_t hd_tokenizer_suffix(const struct hd_tokenizer *t); /* behind it, mostly EOS; -1: none */
/* True for ids that end a turn (eos, <|im_end|>, <|eot_id|>, <|end_of_text|>...). */
bool hd_tokenizer_is_stop(const struct hd_tokenizer *t, int32_t id);

/* Encode `len` bytes of UTF-8 (invalid bytes are encoded as single bytes, never refused; a byte
 * that the vocabulary has no token for is left out, as the reference does). `special`: whether the
 * text of a control token in the input becomes that token. *ids is malloc'ed, owned by the caller,
 * NULL when n is 0. Does not add BOS or EOS. HD_E_NOMEM; HD_E_LIMIT above 64 MiB; HD_E_RANGE: the
 * text has a token that the model's embedding has no row for. */
int hd_tokenizer_encode(const struct hd_tokenizer *t, const char *text, size_t len, bool special,
                        int32_t **ids, size_t *n);

/* Bytes of one token (a token may end inside a UTF-8 character), not NUL-terminated. Control
 * tokens give 0 bytes unless `special`. Valid as long as the tokenizer. Unknown id: 0 bytes. What
 * the reference does at the beginning of a whole text only (SentencePiece's first blank) is left
 * out: an answer goes on behind a prompt. */
struct hd_str hd_tokenizer_piece(const struct hd_tokenizer *t, int32_t id, bool special);

/* ---- A stream of tokens to text that is always whole UTF-8: keeps the bytes of an unfinished
 * character until the next token; bytes that belong to no character become U+FFFD (so does a NUL,
 * which would end the string). Special tokens give no text. */
struct hd_detok {
    const struct hd_tokenizer *t;
    char pending[8];
    size_t n_pending;
};
void hd_detok_init(struct hd_detok *d, const struct hd_tokenizer *t);
/* Text that became whole with this token: NUL-terminated, malloc'ed, maybe "". HD_E_NOMEM. */
int hd_detok_push(struct hd_detok *d, int32_t id, char **text);
/* What is left at the end of the stream. */
int hd_detok_finish(struct hd_detok *d, char **text);

/* ---- Chat ----------------------------------------------------------------------------------*/
/* The prompt's ids for a conversation, ending where the assistant's answer begins.
 *
 * `json`: {"messages": [{"role", "content", ...}], "tools": [...], "vars": {...}, "continues":
 * bool}, all but messages optional: what a template of transformers sees as `messages`, `tools` and
 * variables of their own names. continues: the last message is the beginning of the answer, and the
 * prompt ends where it ends (transformers' continue_final_message). It is rendered by the model's
 * own template, rendered as transformers renders it. Control tokens come from the template only:
 * text of a message never becomes one. *ids malloc'ed. HD_E_UNSUPPORTED when the model has no
 * template or one that does what we cannot do (err says which); HD_E_RANGE when the template
 * refuses the conversation (err has its words), or because of a message; HD_E_NOMEM, HD_E_LIMIT. */
int hd_chat_encode(const struct hd_tokenizer *t, const char *json, size_t len, int32_t **ids,
                   size_t *n_ids, struct hd_error *err);
/* The model's chat template, "" if there is none: what it does with tools can be seen in it. Valid
 * as long as the tokenizer. */
const char *hd_chat_template(const struct hd_tokenizer *t);

#endif
