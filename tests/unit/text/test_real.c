/* SmolLM2-135M-Instruct itself, when HYDAC_SMOLLM2 is the path of its GGUF file. */
#include "fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

Test(text_real, smollm2_gives_the_reference_ids)
{
    const char *path = getenv("HYDAC_SMOLLM2");
    struct hd_tokenizer *t;
    struct hd_error err = {0};
    json_t *fixture;

    if (!path || !*path) {
        fputs("text_real: skipped, HYDAC_SMOLLM2 is not set\n", stderr);
        cr_skip_test("HYDAC_SMOLLM2 is not set");
    }
    cr_assert_eq(fixture_open_gguf(&t, path, &err), 0, "%s", err.text);
    fixture = fixture_json("smollm2.json");
    cr_expect_eq(hd_tokenizer_vocab(t), 49152);
    cr_expect_eq(hd_tokenizer_bos(t), 1);
    cr_expect_eq(hd_tokenizer_eos(t), 2);
    cr_expect_gt(check_cases(t, fixture), 100);
    cr_expect_geq(check_chats(t, fixture), 10);
    json_decref(fixture);
    hd_tokenizer_free(t);
}
