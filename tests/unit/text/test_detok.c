/* Tokens to text: always whole UTF-8, whatever the tokens cut through. */
#include "fixture.h"

#include "common/text/utf8.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define REPLACED "\xEF\xBF\xBD"

struct ids {
    int32_t *v;
    size_t n;
};

/* The ids of a text, byte by byte: the most cuts there can be. */
static struct ids byte_ids(const struct hd_tokenizer *t, const char *text, size_t len)
{
    struct ids ids = {malloc(len * sizeof *ids.v), len};

    for (size_t i = 0; i < len; i++) {
        int32_t *one;
        size_t n;

        cr_assert_eq(hd_tokenizer_encode(t, text + i, 1, false, &one, &n), 0);
        cr_assert_eq(n, 1);
        ids.v[i] = *one;
        free(one);
    }
    return ids;
}

static bool whole_utf8(const char *s)
{
    size_t len = strlen(s);

    for (size_t i = 0; i < len;) {
        int step = hd_utf8_next(s + i, len - i);

        if (step <= 0)
            return false;
        i += (size_t)step;
    }
    return true;
}

/* Everything that a stream of ids gives, each part checked. */
static char *stream(const struct hd_tokenizer *t, const struct ids *ids)
{
    struct hd_detok d;
    char *all = calloc(1, 1), *part;

    hd_detok_init(&d, t);
    for (size_t i = 0; i <= ids->n; i++) {
        cr_assert_eq(i < ids->n ? hd_detok_push(&d, ids->v[i], &part) : hd_detok_finish(&d, &part),
                     0);
        cr_assert(whole_utf8(part), "part %zu", i);
        all = realloc(all, strlen(all) + strlen(part) + 1);
        strcat(all, part);
        free(part);
    }
    return all;
}

static void expect_text(const char *in, size_t len, const char *want)
{
    struct hd_tokenizer *t = fixture_folder("smollm");
    struct ids ids = byte_ids(t, in, len);
    char *text = stream(t, &ids);

    cr_expect_str_eq(text, want);
    free(text);
    free(ids.v);
    hd_tokenizer_free(t);
}

Test(text_detok, characters_wait_until_they_are_whole)
{
    static const char text[] = "a\u00e9\u20ac\U0001F600z";

    expect_text(text, sizeof text - 1, text);
}

Test(text_detok, damage_is_replaced)
{
    expect_text("x\xFFy", 3, "x" REPLACED "y");
    expect_text("\xE2\x82x", 3, REPLACED "x");                  /* cut by another character */
    expect_text("\xE2\x82", 2, REPLACED);                       /* cut by the end */
    expect_text("\xC0\xAF", 2, REPLACED REPLACED);              /* overlong */
    expect_text("\xED\xA0\x80", 3, REPLACED REPLACED REPLACED); /* surrogate */
    expect_text("\xF4\x90\x80\x80", 4, REPLACED REPLACED REPLACED REPLACED);
    expect_text("a\0b", 3, "a" REPLACED "b");
}

Test(text_detok, a_partial_character_gives_no_text_yet)
{
    struct hd_tokenizer *t = fixture_folder("smollm");
    struct ids ids = byte_ids(t, "\xF0\x9F\x98\x80", 4);
    struct hd_detok d;
    char *part;

    hd_detok_init(&d, t);
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(hd_detok_push(&d, ids.v[i], &part), 0);
        cr_expect_str_eq(part, i < 3 ? "" : "\xF0\x9F\x98\x80");
        free(part);
    }
    free(ids.v);
    hd_tokenizer_free(t);
}

Test(text_detok, specials_and_unknown_ids_give_no_text)
{
    struct hd_tokenizer *t = fixture_folder("smollm");
    int32_t list[] = {1, -1, INT32_MAX, (int32_t)hd_tokenizer_vocab(t), 2};
    struct ids ids = {list, 5};
    char *text = stream(t, &ids);

    cr_expect_str_eq(text, "");
    cr_expect_eq(hd_tokenizer_piece(t, 1, true).len, strlen("<|im_start|>"));
    cr_expect_eq(hd_tokenizer_piece(t, 1, false).len, 0);
    free(text);
    hd_tokenizer_free(t);
}

Test(text_detok, random_tokens_give_whole_utf8)
{
    struct hd_tokenizer *t = fixture_folder("llama3");
    uint64_t state = 3;
    int32_t list[200];
    struct ids ids = {list, 200};

    for (int round = 0; round < 50; round++) {
        for (size_t i = 0; i < ids.n; i++)
            list[i] = (int32_t)(next_random(&state) % hd_tokenizer_vocab(t));
        free(stream(t, &ids));
    }
    hd_tokenizer_free(t);
}
