/* tokenizer.h - byte-level BPE (GPT-2 family), from a GGUF's metadata or a tokenizer.json.
 *
 * Text -> special tokens cut out -> the model's pre-split regular expression(s) (PCRE2) -> bytes
 * mapped to the GPT-2 alphabet -> merges in rank order -> ids. */
#ifndef HD_TEXT_TOKENIZER_H
#define HD_TEXT_TOKENIZER_H

#include "common/model/model.h"

#include <stdint.h>

/* Never changes once it is open: any threads may use it at once. */
struct hd_tokenizer;

/* From whatever the model carries. HD_E_NOTFOUND when it carries none (token ids still work),
 * HD_E_UNSUPPORTED for a family we do not know (SentencePiece...), HD_E_FORMAT. */
int hd_tokenizer_open(struct hd_tokenizer **out, const struct hd_model *m, struct hd_error *err);
void hd_tokenizer_free(struct hd_tokenizer *t);

uint32_t hd_tokenizer_vocab(const struct hd_tokenizer *t);
int32_t hd_tokenizer_bos(const struct hd_tokenizer *t); /* -1: none */
int32_t hd_tokenizer_eos(const struct hd_tokenizer *t);
bool hd_tokenizer_adds_bos(const struct hd_tokenizer *t);
/* True for ids that end a turn (eos, <|im_end|>, <|eot_id|>, <|end_of_text|>...). */
bool hd_tokenizer_is_stop(const struct hd_tokenizer *t, int32_t id);

/* Encode `len` bytes of UTF-8 (invalid bytes are encoded as bytes, never refused; a byte that the
 * vocabulary has no token for is left out, as the reference does). `special`: whether the text of a
 * special token in the input becomes that token. *ids is malloc'ed, owned by the caller, NULL when
 * n is 0. Does not add BOS. HD_E_NOMEM; HD_E_LIMIT above 64 MiB. */
int hd_tokenizer_encode(const struct hd_tokenizer *t, const char *text, size_t len, bool special,
                        int32_t **ids, size_t *n);

/* Bytes of one token (a token may end inside a UTF-8 character), not NUL-terminated. Special
 * tokens give 0 bytes unless `special`. Valid as long as the tokenizer. Unknown id: 0 bytes. */
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
struct hd_chat_message {
    const char *role; /* "system", "user", "assistant", ... */
    const char *content;
};
enum hd_chat_family { HD_CHAT_NONE, HD_CHAT_CHATML, HD_CHAT_LLAMA3 };
/* The family that the model's own template belongs to (by its markers). */
enum hd_chat_family hd_tokenizer_chat_family(const struct hd_tokenizer *t);
/* The prompt's ids for a conversation, ending where the assistant's answer begins. Special tokens
 * come from the template only: text of a message never becomes a control token. SmolLM2's default
 * system message is added as its template does. *ids malloc'ed. HD_E_UNSUPPORTED when the model
 * has no template we know; HD_E_NOMEM, HD_E_LIMIT. Where a template adds a date (Llama 3.1), it is
 * the one that the template itself falls back to, not today's. */
int hd_chat_encode(const struct hd_tokenizer *t, const struct hd_chat_message *messages, size_t n,
                   int32_t **ids, size_t *n_ids, struct hd_error *err);

#endif
