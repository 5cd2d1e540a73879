/* Vocabularies and merges by hand: ranks, specials, gaps, refusals. */
#include "fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define S(text)                                                                                    \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }
#define N(text)                                                                                    \
    {                                                                                              \
        S(text), HD_TOKEN_NORMAL                                                                   \
    }

static struct hd_tokenizer *build(const struct hd_vocab_source *s)
{
    struct hd_tokenizer *t;
    struct hd_error err = {0};

    cr_assert_eq(hd_tokenizer_build(&t, s, &err), 0, "%s", err.text);
    return t;
}

static void expect_ids(const struct hd_tokenizer *t, const char *text, bool special, size_t n_want,
                       const int32_t *want)
{
    int32_t *ids;
    size_t n;

    cr_assert_eq(hd_tokenizer_encode(t, text, strlen(text), special, &ids, &n), 0);
    cr_assert_eq(n, n_want, "\"%s\" gives %zu ids", text, n);
    for (size_t i = 0; i < n; i++)
        cr_expect_eq(ids[i], want[i], "\"%s\": id %zu is %d", text, i, ids[i]);
    free(ids);
}

#define EXPECT_IDS(t, text, special, ...)                                                          \
    expect_ids(t, text, special, sizeof((int32_t[]){__VA_ARGS__}) / sizeof(int32_t),               \
               (const int32_t[]){__VA_ARGS__})

Test(text_build, merges_go_by_rank_then_from_the_left)
{
    const struct hdt_entry entries[] = {N("a"),  N("b"),  N("c"),   N("ab"),
                                        N("bc"), N("aa"), N("abc"), N("aaa")};
    const struct hdt_merge merges[] = {
        {S("b"), S("c")}, {S("a"), S("b")}, {S("a"), S("a")}, {S("a"), S("bc")}, {S("aa"), S("a")}};
    struct hd_tokenizer *t = build(&(struct hd_vocab_source){
        .parts = {.entries = entries, .n_entries = 8, .merges = merges, .n_merges = 5, .unk = -1},
        .bos = -1,
        .eos = -1});

    EXPECT_IDS(t, "abc", false, 6);
    EXPECT_IDS(t, "ab", false, 3);
    EXPECT_IDS(t, "aaaa", false, 5, 5);
    EXPECT_IDS(t, "aaaaa", false, 5, 7);
    EXPECT_IDS(t, "abbc", false, 3, 4);
    hd_tokenizer_free(t);
}

Test(text_build, a_whole_word_skips_its_merges_when_the_model_says_so)
{
    const struct hdt_entry entries[] = {N("a"), N("b"), N("ab"), N("aba")};
    const struct hdt_merge merges[] = {{S("a"), S("b")}};
    struct hd_vocab_source s = {
        .parts = {.entries = entries, .n_entries = 4, .merges = merges, .n_merges = 1, .unk = -1},
        .bos = -1,
        .eos = -1};
    struct hd_tokenizer *t = build(&s);

    EXPECT_IDS(t, "aba", false, 2, 0);
    hd_tokenizer_free(t);
    s.parts.ignore_merges = true;
    t = build(&s);
    EXPECT_IDS(t, "aba", false, 3);
    EXPECT_IDS(t, "abab", false, 2, 2);
    hd_tokenizer_free(t);
}

Test(text_build, the_longest_special_wins)
{
    const struct hdt_entry entries[] = {N("<"),
                                        N("x"),
                                        N(">"),
                                        {S("<x"), HD_TOKEN_CONTROL},
                                        {S("<x>"), HD_TOKEN_CONTROL},
                                        {S("<x>xx>"), HD_TOKEN_CONTROL},
                                        {S(">>"), HD_TOKEN_USER}};
    struct hd_tokenizer *t = build(&(struct hd_vocab_source){
        .parts = {.entries = entries, .n_entries = 7, .unk = -1}, .bos = 3, .eos = 4});

    EXPECT_IDS(t, "<x<x>x<x>xx>", true, 3, 4, 1, 5);
    EXPECT_IDS(t, "<x>xx", true, 4, 1, 1);
    EXPECT_IDS(t, "<<x", true, 0, 3);
    EXPECT_IDS(t, "x>>", false, 1, 6);        /* not a control token: found in any text */
    EXPECT_IDS(t, "<x>>", false, 0, 1, 2, 2); /* as the reference: <x> is seen, and left as text */
    cr_expect(hd_tokenizer_is_stop(t, 4));
    cr_expect_not(hd_tokenizer_is_stop(t, 3) || hd_tokenizer_is_stop(t, -1) ||
                  hd_tokenizer_is_stop(t, 7));
    cr_expect_eq(hd_tokenizer_bos(t), 3);
    cr_expect_eq(hd_tokenizer_eos(t), 4);
    hd_tokenizer_free(t);
}

Test(text_build, bytes_without_a_token_are_dropped_or_unknown)
{
    const struct hdt_entry entries[] = {
        N("a"), {S("<unk>"), HD_TOKEN_CONTROL}, {{NULL, 0}, HD_TOKEN_ABSENT}};
    struct hd_vocab_source s = {
        .parts = {.entries = entries, .n_entries = 3, .unk = -1}, .bos = -1, .eos = -1};
    struct hd_tokenizer *t = build(&s);

    EXPECT_IDS(t, "aba", false, 0, 0);
    hd_tokenizer_free(t);
    s.parts.unk = 1;
    t = build(&s);
    EXPECT_IDS(t, "aba", false, 0, 1, 0);
    cr_expect_eq(hd_tokenizer_piece(t, 2, true).len, 0);
    hd_tokenizer_free(t);
}

static void expect_refusal(const struct hd_vocab_source *s, int code)
{
    struct hd_tokenizer *t;
    struct hd_error err = {0};

    cr_expect_eq(hd_tokenizer_build(&t, s, &err), code, "%s", err.text);
    cr_expect_null(t);
    cr_expect_eq(err.code, code);
    cr_expect(err.text[0]);
}

Test(text_build, contradictions_are_refused)
{
    const struct hdt_entry twice[] = {N("a"), N("b"), N("a")};
    const struct hdt_entry specials[] = {{S("<x>"), HD_TOKEN_CONTROL}, {S("<x>"), HD_TOKEN_USER}};
    const struct hdt_entry good[] = {N("a"), N("b"), N("ab")};
    const struct hdt_merge unknown[] = {{S("a"), S("c")}};
    const struct hdt_merge no_result[] = {{S("b"), S("a")}};
    const char *broken[] = {"(unclosed"};
    const int32_t stop = 3;

#define SOURCE(list, n, ...)                                                                       \
    &(struct hd_vocab_source){.parts = {.entries = list, .n_entries = n, .unk = -1}, __VA_ARGS__}
    expect_refusal(SOURCE(twice, 3, .bos = -1), HD_E_FORMAT);
    expect_refusal(SOURCE(specials, 2, .bos = -1), HD_E_FORMAT);
    expect_refusal(SOURCE(good, 0, .bos = -1), HD_E_LIMIT);
    expect_refusal(SOURCE(good, HD_MAX_VOCAB + 1, .bos = -1), HD_E_LIMIT);
    struct hd_vocab_source s = {
        .parts = {.entries = good, .n_entries = 3, .n_merges = 1, .unk = -1}};
    s.parts.merges = unknown;
    expect_refusal(&s, HD_E_FORMAT);
    s.parts.merges = no_result;
    expect_refusal(&s, HD_E_FORMAT);
    s.parts.n_merges = 13;
    expect_refusal(&s, HD_E_LIMIT);
    s = (struct hd_vocab_source){
        .parts = {.entries = good, .n_entries = 3, .patterns = broken, .n_patterns = 1}};
    expect_refusal(&s, HD_E_FORMAT);
    s.parts.n_patterns = HD_PRESPLIT_MAX + 1;
    expect_refusal(&s, HD_E_LIMIT);
    expect_refusal(SOURCE(good, 3, .eos = 3), HD_E_FORMAT);
    expect_refusal(SOURCE(good, 3, .bos = 3), HD_E_FORMAT);
    expect_refusal(SOURCE(good, 3, .stops = &stop, .n_stops = 1), HD_E_FORMAT);
}
