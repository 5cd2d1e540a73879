/* A synthesized model carries a tokenizer that the whole way through hd_model_open works with. */
#include "fixture.h"

#include "common/model/synth.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Test(text_synth, a_synthesized_model_has_a_tokenizer)
{
    char folder[] = "/tmp/hydac-synth-XXXXXX", path[64];
    struct turn m = {"user", "hello <|im_end|> there"};
    struct hd_model *model;
    struct hd_tokenizer *t;
    struct hd_error err = {0};
    int32_t *ids;
    size_t n;

    cr_assert_not_null(mkdtemp(folder));
    stpcpy(stpcpy(path, folder), "/tiny.gguf");
    struct hd_synth_options o = {.shape = "tiny", .type = HD_F32, .seed = 1, .out = path};
    cr_assert_eq(hd_synth_write(&o, &err), 0, "%s", err.text);
    cr_assert_eq(hd_model_open(&model, path, &err), 0, "%s", err.text);
    cr_assert_eq(hd_tokenizer_open(&t, model, NULL, &err), 0, "%s", err.text);
    cr_expect_eq(hd_tokenizer_vocab(t), model->shape.vocab);
    cr_expect(round_trips(t, "any text: \xF0\x9F\x98\x80\x00\xFF", 16));
    cr_assert_eq(encode_turns(t, &m, 1, &ids, &n, &err), 0, "%s", err.text);
    cr_expect_gt(n, 10);
    cr_expect(hd_tokenizer_is_stop(t, hd_tokenizer_eos(t)));
    free(ids);
    hd_tokenizer_free(t);
    hd_model_close(model);
    unlink(path);
    rmdir(folder);
}
