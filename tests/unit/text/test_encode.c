/* Texts to ids, against the reference's tables; and what must hold for any text. */
#include "fixture.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((size_t)1 << 20)

static void check_fixture(const char *name, struct hd_tokenizer *t)
{
    json_t *fixture = fixture_json(name);

    cr_expect_gt(check_cases(t, fixture), 40);
    json_decref(fixture);
    hd_tokenizer_free(t);
}

Test(text_encode, smollm_folder_gives_the_reference_ids)
{
    check_fixture("smollm.json", fixture_folder("smollm"));
}

Test(text_encode, llama3_folder_gives_the_reference_ids)
{
    check_fixture("llama3.json", fixture_folder("llama3"));
}

Test(text_encode, smollm_gguf_gives_the_reference_ids)
{
    struct hd_tokenizer *t;
    struct hd_error err = {0};
    char path[PATH_MAX];

    cr_assert_eq(fixture_open_gguf(&t, fixture_path(path, "smollm.gguf"), &err), 0, "%s", err.text);
    check_fixture("smollm.json", t);
}

Test(text_encode, random_bytes_come_back)
{
    struct hd_tokenizer *both[] = {fixture_folder("smollm"), fixture_folder("llama3")};
    uint64_t state = 7;
    char text[257];

    for (int round = 0; round < 4000; round++) {
        size_t len = next_random(&state) % sizeof text;
        /* All bytes, or mostly letters and blanks with damage in between. */
        uint64_t plain = next_random(&state) % 4;

        for (size_t i = 0; i < len; i++) {
            uint64_t r = next_random(&state);
            text[i] = (char)(plain && r % 16 > plain ? "abe t\n.\xC3\xA9\xE2\x82\xAC 1"[r / 16 % 13]
                                                     : (int)(r >> 32 & 0xFF));
        }
        for (size_t k = 0; k < 2; k++)
            cr_assert(round_trips(both[k], text, len), "round %d", round);
    }
    hd_tokenizer_free(both[0]);
    hd_tokenizer_free(both[1]);
}

Test(text_encode, damaged_utf8_does_not_change_its_neighbours)
{
    struct hd_tokenizer *t = fixture_folder("smollm");
    static const char text[] = "hello world\xFF\xFE\xC3 hello world";
    int32_t *ids, *clean;
    size_t n, n_clean;

    cr_assert_eq(hd_tokenizer_encode(t, text, sizeof text - 1, false, &ids, &n), 0);
    cr_assert_eq(hd_tokenizer_encode(t, text, 11, false, &clean, &n_clean), 0);
    cr_expect_gt(n, n_clean + 3);
    cr_expect_arr_eq(ids, clean, n_clean * sizeof *ids);
    free(ids);
    free(clean);
    cr_expect(round_trips(t, text, sizeof text - 1));
    cr_expect(round_trips(t, "cut \xF0\x9F\x98", 7));
    hd_tokenizer_free(t);
}

Test(text_encode, nothing_gives_nothing)
{
    struct hd_tokenizer *t = fixture_folder("smollm");
    int32_t *ids = (int32_t *)&t;
    size_t n = 9;

    cr_expect_eq(hd_tokenizer_encode(t, "", 0, true, &ids, &n), 0);
    cr_expect_null(ids);
    cr_expect_eq(n, 0);
    cr_expect_eq(hd_tokenizer_encode(t, NULL, 0, true, &ids, &n), 0);
    cr_expect_eq(n, 0);
    hd_tokenizer_free(t);
}

Test(text_encode, a_text_above_the_limit_is_refused)
{
    struct hd_tokenizer *t = fixture_folder("smollm");
    int32_t *ids;
    size_t n;

    /* The length is looked at before the text. */
    cr_expect_eq(hd_tokenizer_encode(t, "x", HD_TEXT_MAX_BYTES + 1, true, &ids, &n), HD_E_LIMIT);
    cr_expect_null(ids);
    hd_tokenizer_free(t);
}

/* ---- Time grows with the text, not with its square -------------------------------------------*/

/* What a MiB of text is filled with. */
struct fill {
    char unit[16];
};

ParameterizedTestParameters(text_encode, a_mebibyte_is_encoded)
{
    static struct fill fills[] = {{"a"},  {" "},    {"\n"},   {" \n"},      {"ab "},
                                  {"7"},  {"'s"},   {"<|"},   {"\xC3\xA9"}, {"\xFF"},
                                  {"e "}, {"the "}, {"\r\n"}, {" x\t "},    {"<|im_start"}};

    return cr_make_param_array(struct fill, fills, sizeof fills / sizeof *fills);
}

/* Work that grew with the square would take hours here, and meet the test's own time limit. */
ParameterizedTest(struct fill *f, text_encode, a_mebibyte_is_encoded)
{
    struct hd_tokenizer *both[] = {fixture_folder("smollm"), fixture_folder("llama3")};
    char *text = malloc(MIB);
    size_t unit = strlen(f->unit);

    cr_assert_not_null(text);
    for (size_t i = 0; i < MIB; i++)
        text[i] = f->unit[i % unit];
    for (size_t k = 0; k < 2; k++) {
        cr_expect(round_trips(both[k], text, MIB));
        hd_tokenizer_free(both[k]);
    }
    free(text);
}
