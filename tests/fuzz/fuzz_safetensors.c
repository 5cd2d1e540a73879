/* fuzz_safetensors.c - a safetensors file: its header, and every tensor that it names. */
#include "common/model/names.h"
#include "common/model/safetensors.h"
#include "fuzz.h"

/* The first and the last byte of a tensor are in the file. */
static void touch(const struct hd_tensor *t)
{
    volatile uint8_t sum = 0;
    size_t bytes = t->rows * t->row_bytes;
    if (bytes > 0)
        sum ^= ((const uint8_t *)t->data)[0] ^ ((const uint8_t *)t->data)[bytes - 1];
    (void)sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"a", "b", "model.embed_tokens.weight", ""};
    struct hd_safetensors *s;
    struct hd_tensor t;
    struct hd_error err = {0};
    fuzz_file("model.safetensors", data, size);
    if (hd_safetensors_open(&s, fuzz_folder(), NULL, &err) < 0) {
        FUZZ_CHECK(err.text[0]);
        return 0;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (hd_safetensors_tensor(s, names[i], &t) == 0)
            touch(&t);
    hd_safetensors_close(s);
    return 0;
}
