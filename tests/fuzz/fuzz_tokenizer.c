/* fuzz_tokenizer.c - a tokenizer.json, and a text through what it describes. */
#include "common/model/model.h"
#include "common/text/tokenizer.h"
#include "fuzz.h"

#include <string.h>

static void use(const struct hd_tokenizer *t)
{
    static const char text[] = "Hello <|im_start|> w\xc3\xb6rld\n\n  123'll \xff";
    int32_t *ids = NULL;
    size_t n = 0;
    if (hd_tokenizer_encode(t, text, strlen(text), true, &ids, &n) < 0)
        return;
    for (size_t i = 0; i < n; i++) {
        FUZZ_CHECK(ids[i] >= 0 && (uint32_t)ids[i] < hd_tokenizer_vocab(t));
        hd_tokenizer_piece(t, ids[i], true);
    }
    free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hd_model m = {.shape.vocab = HD_MAX_VOCAB, .bos = -1, .eos = -1};
    struct hd_tokenizer *t = NULL;
    struct hd_error err = {0};
    fuzz_file("tokenizer.json", data, size);
    m.folder = (char *)fuzz_folder();
    if (hd_tokenizer_open(&t, &m, NULL, &err) < 0) {
        FUZZ_CHECK(err.text[0]);
        return 0;
    }
    use(t);
    hd_tokenizer_free(t);
    return 0;
}
