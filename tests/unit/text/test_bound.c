/* A bound that is cheap is of use only if it is never wrong. */
#include "common/text/bound.h"
#include "fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static size_t tokens(const struct hd_tokenizer *t, const char *text, size_t len)
{
    int32_t *ids = NULL;
    size_t n = 0;
    cr_assert_eq(hd_tokenizer_encode(t, text, len, true, &ids, &n), 0);
    free(ids);
    return n;
}

static void expect_holds(const struct hd_token_bound *b, const struct hd_tokenizer *t,
                         const char *text, size_t len)
{
    size_t n = tokens(t, text, len), fewest = hd_token_bound_fewest(b, text, len);
    cr_expect_leq(fewest, n, "%zu bytes are %zu tokens, not %zu", len, n, fewest);
}

Test(text_bound, never_more_than_there_are)
{
    enum { BYTES = 20000 };
    struct hd_tokenizer *both[] = {fixture_folder("smollm"), fixture_folder("llama3")};
    char *text = malloc(BYTES);
    uint64_t state = 11;
    for (size_t i = 0; i < 2; i++) {
        struct hd_tokenizer *t = both[i];
        struct hd_token_bound b;
        hd_token_bound_init(&b, t);
        cr_assert_gt(b.most, 0);
        for (int c = 0; c < 256; c++) { /* runs, also of bytes that have no token */
            memset(text, c, BYTES);
            expect_holds(&b, t, text, BYTES);
        }
        for (int32_t id = 0; (uint32_t)id < hd_tokenizer_vocab(t); id++) { /* runs of a token */
            struct hd_str s = hd_tokenizer_piece(t, id, true);
            size_t n = 0;
            for (; s.len > 0 && n + s.len <= 2000; n += s.len)
                memcpy(text + n, s.data, s.len);
            expect_holds(&b, t, text, n);
        }
        for (size_t k = 0; k < BYTES; k++)
            text[k] = (char)next_random(&state);
        expect_holds(&b, t, text, BYTES);
        hd_tokenizer_free(t);
    }
    free(text);
}

/* ... and only if it says something about what is far too long. */
Test(text_bound, tells_a_book_from_a_page)
{
    enum { BYTES = 1 << 20 };
    struct hd_tokenizer *t = fixture_folder("smollm");
    struct hd_token_bound b;
    char *text = malloc(BYTES);
    hd_token_bound_init(&b, t);
    memset(text, 'a', BYTES);
    cr_expect_gt(hd_token_bound_fewest(&b, text, BYTES), 2048);
    cr_expect_eq(hd_token_bound_fewest(&b, text, 100), 100 / b.most);
    cr_expect_eq(hd_token_bound_fewest(&b, text, 0), 0);
    b.kept['a'] = false;
    cr_expect_eq(hd_token_bound_fewest(&b, text, BYTES), 0);
    free(text);
    hd_tokenizer_free(t);
}
