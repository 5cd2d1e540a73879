/* fuzz_gguf.c - a GGUF file: the container, the model in it, what of it units take, its tokenizer.
 */
#include "common/model/model.h"
#include "common/model/piece.h"
#include "common/text/tokenizer.h"
#include "fuzz.h"

static void copy_pieces(const struct hd_model *m)
{
    struct hd_units u;
    hd_model_units(m, &u);
    for (size_t i = 0; i < hd_piece_count(m, &u); i++) {
        struct hd_cuts c = hd_piece_cuts(m, &u, hd_piece_nth(m, &u, i));
        size_t bytes = hd_piece_bytes(&c);
        uint8_t *out = malloc(bytes);
        FUZZ_CHECK(out);
        hd_piece_copy(&c, 0, bytes, out);
        free(out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hd_model *m;
    struct hd_tokenizer *t = NULL;
    struct hd_error err = {0};
    if (hd_model_open(&m, fuzz_file("m.gguf", data, size), &err) < 0) {
        FUZZ_CHECK(err.text[0]);
        return 0;
    }
    const struct hd_model_shape *s = &m->shape;
    FUZZ_CHECK(s->n_layers <= HD_MAX_LAYERS && s->dim <= HD_MAX_DIM && s->vocab <= HD_MAX_VOCAB);
    copy_pieces(m);
    if (hd_tokenizer_open(&t, m, NULL, &err) == 0)
        hd_tokenizer_free(t);
    hd_model_close(m);
    return 0;
}
