/* A valid byte-level BPE tokenizer for models of random weights: three special tokens, the 256
 * bytes, then merges of letters into syllables, in a fixed order, and unused ids up to the
 * vocabulary. Nothing is learned from any text. */
#include "common/model/synth_impl.h"

#include <stdio.h>
#include <string.h>

#define FIRST_MERGED (HD_SYNTH_FIRST_TEXT + 256)
#define TEXT_END_MAX 4096 /* more merges would not make the text of a random model any better */

static const char letters[] = "etaoinshrdlucmfwygpbvk";
#define N_LETTERS ((uint32_t)(sizeof letters - 1))
#define N_PAIRS   (N_LETTERS * N_LETTERS)
#define BLANK     "\xC4\xA0" /* U+0120, the alphabet's 0x20 */

enum token_type { TOKEN_NORMAL = 1, TOKEN_CONTROL = 3, TOKEN_UNUSED = 5 };

/* What SmolLM2's template does, for another default. */
static const char chat_template[] =
    "{% for message in messages %}"
    "{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}"
    "{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

uint32_t hd_synth_text_end(uint32_t vocab)
{
    return vocab < TEXT_END_MAX ? vocab : TEXT_END_MAX;
}

/* Merge `n` as "left" and "right". First a blank and a letter, then pairs of letters, a blank and
 * a pair, and three letters: each made of parts that come before it. */
static void merge(uint32_t n, char left[8], char right[8])
{
    if (n < N_LETTERS) {
        snprintf(left, 8, BLANK);
        snprintf(right, 8, "%c", letters[n]);
        return;
    }
    n -= N_LETTERS;
    if (n < N_PAIRS) {
        snprintf(left, 8, "%c", letters[n / N_LETTERS]);
        snprintf(right, 8, "%c", letters[n % N_LETTERS]);
        return;
    }
    n -= N_PAIRS;
    if (n < N_PAIRS) {
        snprintf(left, 8, BLANK "%c", letters[n / N_LETTERS]);
        snprintf(right, 8, "%c", letters[n % N_LETTERS]);
        return;
    }
    n -= N_PAIRS;
    uint32_t pair = n / N_LETTERS % N_PAIRS;
    snprintf(left, 8, "%c%c", letters[pair / N_LETTERS], letters[pair % N_LETTERS]);
    snprintf(right, 8, "%c", letters[n % N_LETTERS]);
}

/* GPT-2's character for a byte, in UTF-8: printable Latin-1 bytes stand for themselves, the others
 * are U+0100 onwards in their order. */
static void byte_token(uint32_t byte, char out[8])
{
    uint32_t c = byte;

    if (byte < 0x21)
        c = 0x100 + byte;
    else if (byte >= 0x7F && byte < 0xA1)
        c = 0x121 + byte - 0x7F;
    else if (byte == 0xAD)
        c = 0x143;
    if (c < 0x80)
        snprintf(out, 8, "%c", (char)c);
    else
        snprintf(out, 8, "%c%c", (char)(0xC0 | c >> 6), (char)(0x80 | (c & 0x3F)));
}

static void token_text(uint32_t id, uint32_t text_end, char out[32])
{
    static const char *const specials[HD_SYNTH_FIRST_TEXT] = {"<|endoftext|>", "<|im_start|>",
                                                              "<|im_end|>"};
    char left[8], right[8];

    if (id < HD_SYNTH_FIRST_TEXT) {
        snprintf(out, 32, "%s", specials[id]);
    } else if (id < FIRST_MERGED) {
        byte_token(id - HD_SYNTH_FIRST_TEXT, out);
    } else if (id < text_end) {
        merge(id - FIRST_MERGED, left, right);
        snprintf(out, 32, "%s%s", left, right);
    } else {
        snprintf(out, 32, "<|unused_%u|>", id);
    }
}

static void put_lists(struct hd_gguf_writer *w, uint32_t vocab)
{
    uint32_t text_end = hd_synth_text_end(vocab);

    hd_gguf_put_array(w, "tokenizer.ggml.tokens", GGUF_STRING, vocab);
    for (uint32_t id = 0; id < vocab; id++) {
        char text[32];

        token_text(id, text_end, text);
        hd_gguf_element_str(w, text);
    }
    hd_gguf_put_array(w, "tokenizer.ggml.token_type", GGUF_I32, vocab);
    for (uint32_t id = 0; id < vocab; id++)
        hd_gguf_element_i32(w, id < HD_SYNTH_FIRST_TEXT ? TOKEN_CONTROL
                               : id < text_end          ? TOKEN_NORMAL
                                                        : TOKEN_UNUSED);
    hd_gguf_put_array(w, "tokenizer.ggml.merges", GGUF_STRING, text_end - FIRST_MERGED);
    for (uint32_t n = 0; n < text_end - FIRST_MERGED; n++) {
        char left[8], right[8], text[32];

        merge(n, left, right);
        snprintf(text, sizeof text, "%s %s", left, right);
        hd_gguf_element_str(w, text);
    }
}

void hd_synth_put_tokenizer(struct hd_gguf_writer *w, uint32_t vocab)
{
    hd_gguf_put_str(w, "tokenizer.ggml.model", "gpt2");
    hd_gguf_put_str(w, "tokenizer.ggml.pre", "smollm");
    put_lists(w, vocab);
    hd_gguf_put_u32(w, "tokenizer.ggml.bos_token_id", 1);
    hd_gguf_put_u32(w, "tokenizer.ggml.eos_token_id", 2);
    hd_gguf_put_u32(w, "tokenizer.ggml.unknown_token_id", 0);
    hd_gguf_put_u32(w, "tokenizer.ggml.padding_token_id", 2);
    hd_gguf_put_bool(w, "tokenizer.ggml.add_bos_token", false);
    hd_gguf_put_str(w, "tokenizer.chat_template", chat_template);
}
